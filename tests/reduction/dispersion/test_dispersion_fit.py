from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.dispersion_solution import DispersionSolution
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.dispersion.dispersion_fit import LineSample, block_of_one_order, fit_dispersion


def sample(layout, seed, *, lines=40, displacement=0.003, error=0.01, span=(0.0, 1.0), orders=None):
    """Lines measured with known errors on a layout."""
    random = np.random.default_rng(seed)
    columns = []
    for number in orders or layout.ranges:
        low, high = layout.ranges[number]
        width = high - low
        w = np.sort(random.uniform(low + span[0] * width, low + span[1] * width, lines))
        x, y = layout.place(number, w + random.normal(0.0, 1.0, lines) * displacement, np.zeros(lines))
        columns.append((np.full(lines, number), w, np.zeros(lines), x, y))
    order, w, slit, x, y = (np.concatenate(c) for c in zip(*columns, strict=True))
    noise = random.normal(0.0, error, (2, x.size))
    sigma = np.full(x.size, error)
    return LineSample(order, w, slit, x + noise[0], y + noise[1], sigma, sigma)


def differences(layout, solution, number, low, high):
    w = np.linspace(low, high, 30)
    true, found = layout.place(number, w, 0 * w), solution.surface(number).evaluate(w, 0 * w)
    predicted = solution.prediction_error(np.full(30, number), w, 0 * w)
    return [f - t for f, t in zip(found, true, strict=True)], predicted


def test_predicted_errors_are_true(arc_layout):
    layout = arc_layout("bands")
    pulls, scatter = [], []
    for seed in range(15):
        lines = sample(layout, seed)
        fit = fit_dispersion(layout.prior().shifted(-2.0, 3.0), lines, dispersion_axis=0)
        scatter += list(fit.wavelength_scatter.values())
        for number in layout.ranges:
            own = lines.wavelength[lines.order == number]
            error, predicted = differences(layout, fit.solution, number, own.min(), own.max())
            pulls.append([np.mean((e / p) ** 2) for e, p in zip(error, predicted, strict=True)])
    assert len(pulls) == 45
    assert np.all(np.sqrt(np.mean(pulls, axis=0)) < 1.5)
    assert np.all(np.sqrt(np.median(pulls, axis=0)) > 0.7)
    assert np.median(scatter) == pytest.approx(0.003, rel=0.2)


def test_wrong_lines_are_written_down_as_rejected(arc_layout):
    layout = arc_layout("bands")
    lines = sample(layout, 4)
    along, across = np.arange(len(lines)) % 20 == 7, np.arange(len(lines)) % 40 == 13
    moved = replace(lines, y=lines.y + np.where(along, 4.0, 0.0), x=lines.x + np.where(across, 1.0, 0.0))
    fit, plain = (fit_dispersion(layout.prior(), data, dispersion_axis=0) for data in (moved, lines))
    wrong = along | across
    assert wrong.sum() == 9
    assert not fit.kept[wrong].any()
    assert fit.kept[~wrong].mean() > 0.97
    # Whichever coordinate tells.
    assert fit.weight[wrong].max() < 0.1
    assert np.median(fit.weight[~wrong]) > 0.7
    assert np.abs(fit.y_residual[along]) == pytest.approx(4.0, abs=0.5)
    for number in layout.ranges:
        own = lines.wavelength[lines.order == number]
        error, predicted = differences(layout, fit.solution, number, own.min(), own.max())
        without, _ = differences(layout, plain.solution, number, own.min(), own.max())
        assert all(np.all(np.abs(e - w) < 2.0 * p) for e, w, p in zip(error, without, predicted, strict=True))


def test_extrapolation_follows_the_format(arc_layout):
    layout = arc_layout("bands", wobble=0.1)
    lines = sample(layout, 3, displacement=0.0005, span=(0.08, 0.92))
    fit = fit_dispersion(layout.prior().shifted(-2.0, 3.0), lines, dispersion_axis=0)
    for number, (low, high) in layout.ranges.items():
        error, _ = differences(layout, fit.solution, number, low, high)
        assert np.abs(error).max() < 0.25
    # The polynomial of the same degree without the format swings further away.
    own = lines.order == 1
    free = np.polynomial.Legendre.fit(lines.wavelength[own], lines.y[own], 9)
    w = np.linspace(*layout.ranges[1], 30)
    assert np.abs(free(w) - layout.place(1, w, 0 * w)[1]).max() > 0.25


def test_an_order_that_departs_gets_its_own_correction(arc_layout):
    layout = arc_layout("echelle")
    lines = sample(layout, 5, displacement=0.0)
    odd = lines.order == 14
    x = lines.x + np.where(odd, 0.4 * np.sign(lines.wavelength - np.median(lines.wavelength[odd])), 0.0)
    departed = LineSample(lines.order, lines.wavelength, lines.slit, x, lines.y, lines.x_error, lines.y_error)
    prior, degrees = layout.prior().shifted(3.0, -2.0), {"order_degrees": (2, 2)}
    step = fit_dispersion(prior, departed, dispersion_axis=1, **degrees)
    plain = fit_dispersion(prior, lines, dispersion_axis=1, **degrees)
    assert not any("14" in note for note in plain.notes)
    assert any("14" in note for note in step.notes)
    assert step.solution.orders == plain.solution.orders


def test_one_order_of_a_block_is_the_same_surface(arc_layout):
    block = arc_layout("echelle").prior().blocks[0]
    single = block_of_one_order(block, 14)
    w, s = np.meshgrid(np.linspace(1360.0, 1425.0, 7), (-3.0, 0.0, 4.0))
    for first, second in zip(
        block.order_surface(14).evaluate(w, s), single.order_surface(14).evaluate(w, s), strict=True
    ):
        assert np.abs(first - second).max() < 1e-9


def test_one_order_of_a_block_is_as_uncertain_as_it_was(arc_layout):
    block = arc_layout("echelle").prior().blocks[0]
    random = np.random.default_rng(2)
    roots = random.normal(0.0, 0.01, (2, len(block.terms), len(block.terms)))
    block = replace(block, x_covariance=roots[0] @ roots[0].T, y_covariance=roots[1] @ roots[1].T)
    w, s = (grid.ravel() for grid in np.meshgrid(np.linspace(1360.0, 1425.0, 7), (-3.0, 0.0, 4.0)))
    order = np.full(w.size, 14)
    errors = [
        DispersionSolution((one,)).prediction_error(order, w, s) for one in (block, block_of_one_order(block, 14))
    ]
    for first, second in zip(*errors, strict=True):
        assert first.min() > 0
        np.testing.assert_allclose(first, second, rtol=1e-9)


@pytest.mark.parametrize("lines", [2, 5])
def test_few_lines_give_a_modest_correction(arc_layout, lines):
    layout = arc_layout("bands", wobble=0.1)
    fit = fit_dispersion(layout.prior(), sample(layout, 1, lines=lines, displacement=0.0), dispersion_axis=0)
    for number, (low, high) in layout.ranges.items():
        error, _ = differences(layout, fit.solution, number, low, high)
        assert np.abs(error).max() < 3.0
    if lines == 2:
        assert any("only" in note for note in fit.notes)


def test_no_lines_is_an_error(arc_layout):
    layout = arc_layout("bands")
    with pytest.raises(AlgorithmError, match="too few"):
        fit_dispersion(layout.prior(), sample(layout, 1, lines=1), dispersion_axis=0)


def test_rebinned_solution_points_at_the_same_light(arc_layout):
    solution = arc_layout("bands").prior()
    binned = solution.rebinned((2, 1))
    x, y = solution.evaluate(1, np.array([520.0]), 0.0)
    x2, y2 = binned.evaluate(1, np.array([520.0]), 0.0)
    assert x2 == pytest.approx(x, abs=1e-9)
    assert y2 == pytest.approx((y + 0.5) / 2.0 - 0.5, abs=1e-9)
    assert binned.rebinned((1, 1)).evaluate(1, 520.0, 0.0)[1] == pytest.approx(float(y[0]), abs=1e-9)
