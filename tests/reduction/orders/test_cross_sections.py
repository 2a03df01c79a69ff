"""Many small fits of cross sections."""

import numpy as np
import pytest
from scipy.stats import norm

from soxs_recipes.reduction.numerics.gaussian_kernels import fit_cross_sections
from soxs_recipes.reduction.orders.cross_sections import fit_legendre

ROWS = 8
START = [2000.0, 0.0, 1.5, 0.0]


@pytest.fixture
def sections():
    """(truth, offsets, noisy values, variance without light) of 300 blocks of a curve that crosses pixels."""
    random = np.random.default_rng(1)
    count = 300
    truth = np.stack(
        [
            random.uniform(500.0, 20000.0, count),
            random.uniform(-2.0, 2.0, count),
            random.uniform(0.6, 2.0, count),
            random.uniform(-20.0, 20.0, count),
        ],
        axis=1,
    )
    offset = np.arange(-8.0, 9.0) + random.uniform(-0.5, 0.5, (count, ROWS, 1))
    flux, centre, sigma, level = (column[:, None, None] for column in truth.T)
    light = flux * (norm.cdf((offset + 0.5 - centre) / sigma) - norm.cdf((offset - 0.5 - centre) / sigma))
    value = light + level + random.normal(0.0, np.sqrt(light + 25.0))
    return truth, offset, value, np.full(count, 25.0)


def fit(offset, value, floor, good=None):
    good = np.ones(value.shape, dtype=bool) if good is None else good
    parameters = np.tile(START, (len(value), 1))
    error, converged = fit_cross_sections(offset, value, good, floor, parameters, 3)
    return parameters, error, converged


def test_errors_are_those_of_the_parameters(sections):
    truth, offset, value, floor = sections
    parameters, error, converged = fit(offset, value, floor)
    assert converged.all()
    pulls = (parameters - truth) / error
    assert pulls.shape == (300, 4)
    assert np.abs(pulls.mean(axis=0)).max() < 4.0 / np.sqrt(300)
    # Errors are never less than the scatter says, and so a little larger than it on the average.
    assert pulls.std(axis=0) == pytest.approx(np.ones(4), abs=0.12)


def test_hits_and_masked_pixels_take_no_part(sections):
    _, offset, value, floor = sections
    clean, error, _ = fit(offset, value, floor)
    value[:, 2, 10] += 3000.0
    hit, _, _ = fit(offset, value, floor)
    assert np.median(np.abs((hit - clean) / error)[:, 1]) < 0.5
    good = np.ones(value.shape, dtype=bool)
    good[:, 2, 10] = False
    masked, _, _ = fit(offset, value, floor, good)
    assert np.median(np.abs((masked - clean) / error)[:, 1]) < 0.5
    start = np.tile(START, (300, 1))
    fit_cross_sections(offset, value, np.ones_like(good), floor, start, 1)
    assert np.median(np.abs((start - clean) / error)[:, 1]) > 3.0


def test_blocks_without_enough_pixels_have_not_converged(sections):
    _, offset, value, floor = sections
    good = np.ones(value.shape, dtype=bool)
    good[3] = False
    good[5] = False
    good[5, 0, :4] = True
    _, error, converged = fit(offset, value, floor, good)
    assert list(np.flatnonzero(~converged)) == [3, 5]
    assert np.isfinite(error).all()
    empty = fit(offset[:0], value[:0], floor[:0])
    assert empty[0].shape == empty[1].shape == (0, 4)


def lines_with_outliers(count):
    """Fits of straight lines by 60 points, of which six are far off and two lost; true (height, slope) 3, 2."""
    random, places = np.random.default_rng(4), np.linspace(0.0, 10.0, 60)
    for _ in range(count):
        error = random.uniform(0.5, 2.0, places.size)
        value = 3.0 + 2.0 * (places / 5.0 - 1.0) + random.normal(0.0, error)
        value[5::10] += 30.0
        value[[2, 40]] = np.nan
        yield fit_legendre(places, value, error, (0.0, 10.0), 6)


def test_lines_are_true_whatever_outliers_there_are():
    fits = list(lines_with_outliers(200))
    straight = [fit for fit in fits if fit.coefficients.size == 2]
    assert len(straight) > 170  # a higher degree must be worth it
    used = np.ones(60, dtype=bool)
    used[5::10] = used[[2, 40]] = False
    assert np.mean([np.array_equal(fit.used, used) for fit in fits]) > 0.9
    pulls = np.array([(fit.coefficients - [3.0, 2.0]) / np.sqrt(np.diag(fit.covariance)) for fit in straight])
    assert np.abs(pulls.mean(axis=0)).max() < 0.25
    assert pulls.std(axis=0) == pytest.approx(0.93, abs=0.15)  # stated errors never shrink by a small scatter


def test_errors_grow_with_a_scatter_beyond_what_is_stated():
    random, places = np.random.default_rng(6), np.linspace(0.0, 10.0, 80)
    pulls = []
    for _ in range(200):
        value = 3.0 + 2.0 * (places / 5.0 - 1.0) + random.normal(0.0, 1.5, places.size)
        found = fit_legendre(places, value, np.full(places.size, 0.5), (0.0, 10.0), 1, min_degree=1)
        pulls.append((found.coefficients - [3.0, 2.0]) / np.sqrt(np.diag(found.covariance)))
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(2), abs=0.15)
