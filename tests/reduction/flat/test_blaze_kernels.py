"""Loops of the smooth flat against plain reckonings of the same."""

import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from soxs_recipes.reduction.flat.blaze import SmoothFlat
from soxs_recipes.reduction.flat.blaze_kernels import deviations, ranked_middles, row_sums, slit_sums

DOMAIN = (3.7, 410.2)


@pytest.fixture
def model():
    rng = np.random.default_rng(4)
    inner = np.array([DOMAIN[0], 40.0, 47.0, 120.0, 260.0, 263.0, 300.0, DOMAIN[1]])
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    coefficients = 8.0 + rng.normal(0.0, 0.5, knots.size - 4)
    slit = rng.uniform(0.8, 1.2, (3, 11))
    return SmoothFlat(knots, coefficients, np.eye(coefficients.size), slit, DOMAIN, 0.1, 0.01)


def places(count=4000):
    rng = np.random.default_rng(9)
    along = rng.uniform(-5.0, 420.0, count)
    along[:10] = [DOMAIN[0], DOMAIN[1], 40.0, 47.0, 120.0, 260.0, 263.0, 300.0, -5.0, 420.0]
    return along, rng.uniform(-1.2, 1.2, count)


def test_light_is_spline_times_table(model):
    along, slit = places()
    blaze, illumination = model.light(along, slit)
    inside = np.clip(along, *DOMAIN)
    assert np.allclose(blaze, np.exp(BSpline(model.knots, model.coefficients, 3)(inside)), rtol=1e-12)
    assert np.allclose(blaze, model.blaze(along), rtol=1e-12)
    table = model._illumination_table()
    at_row = (inside - DOMAIN[0]) / (DOMAIN[1] - DOMAIN[0]) * (table.shape[0] - 1)
    at_place = (np.clip(slit, -1.0, 1.0) + 1.0) / 2.0 * (table.shape[1] - 1)
    expected = map_coordinates(table, [at_row, at_place], order=1, mode="nearest")
    assert np.allclose(illumination, expected, rtol=1e-12)
    assert np.ptp(illumination) > 0.1


def test_illumination_is_one_at_the_middle(model):
    along = np.linspace(*DOMAIN, 50)
    model = SmoothFlat(*(getattr(model, name) for name in ("knots", "coefficients", "covariance")),
                       np.ones((3, 1)) * (1.0 + 0.05 * np.linspace(-1.0, 1.0, 11)), DOMAIN, 0.1, 0.01)  # fmt: skip
    assert np.allclose(model.light(along, np.full(50, 0.1))[1], 1.0, atol=1e-3)
    assert np.ptp(model.light(np.full(50, 100.0), np.linspace(-1.0, 1.0, 50))[1]) > 0.05


def test_sums_of_rows_and_cells_leave_out_what_deviates():
    rng = np.random.default_rng(2)
    along, slit = places()
    count = along.size
    value, blaze = rng.normal(1000.0, 60.0, count), np.full(count, 1000.0)
    value[::50] *= 3.0
    light, factor = rng.uniform(0.9, 1.1, count), np.full(count, 0.2)
    usable = rng.random(count) > 0.1
    ratio, relative, weight = np.empty((3, count))
    deviations(value, np.full(count, 9.0), factor, blaze, light, ratio, relative)
    assert np.allclose(ratio, value / (blaze * light) - 1.0)
    assert np.allclose(relative, (9.0 + 0.2 * blaze * light) / (blaze * light) ** 2)
    total, summed = np.zeros((2, 408))
    row_sums(along, 3, ratio, relative, usable, (5.0, 0.0), (0.06, 0.05), weight, total, summed)
    kept = usable & (np.abs(ratio) < 5.0 * np.sqrt(relative + 0.06**2))
    assert 50 < np.count_nonzero(usable & ~kept) < 100
    expected = np.where(kept, 1.0 / (relative + 0.05**2), 0.0)
    assert np.allclose(weight, expected)
    row = np.clip(np.rint(along).astype(int) - 3, 0, 407)
    assert np.allclose(total, np.bincount(row, expected, 408))
    assert np.allclose(summed, np.bincount(row, expected * ratio, 408))
    cells, row_factor = np.zeros((4, 6 * 8)), rng.uniform(0.9, 1.1, 408)
    slit_sums(along, slit, ratio, weight, light, 3, row_factor, DOMAIN, (6, 8), cells)
    share = (along - DOMAIN[0]) / (DOMAIN[1] - DOMAIN[0])
    i, j = np.clip(np.floor(share * 6), 0, 5), np.clip(np.floor((slit + 1.0) * 4.0), 0, 7)
    label = (i * 8 + j).astype(int)
    for own, column in zip(cells, (1.0, light * (1.0 + ratio) * row_factor[row], slit, along), strict=True):
        assert np.allclose(own, np.bincount(label, expected * column, 48))


def test_ranked_middles_of_groups():
    rng = np.random.default_rng(3)
    values, group = rng.normal(size=300), rng.integers(0, 12, 300)
    group[group == 5] = 6
    middle, count = ranked_middles(values, group, 13)
    assert np.array_equal(count, np.bincount(group, minlength=13))
    assert np.isnan(middle[[5, 12]]).all()
    for g in np.flatnonzero(count):
        own = np.sort(values[group == g])
        assert middle[g] == own[own.size // 2]
    assert ranked_middles(values[:0], group[:0], 2)[1].tolist() == [0, 0]
