"""Shift and scale of an arm from its lines, with true errors, whichever way wavelengths run."""

import numpy as np
import pytest

from soxs_recipes.reduction.flexure.zero_point import (
    LineResiduals,
    SkyLines,
    SkySpectrum,
    ZeroPoint,
    _first_shift,
    combine_residuals,
    measure_lines,
)

SHIFT, SCALE = -0.8, 0.3  # px, in the middle and added at the end of rising coordinate


def residuals(rng, scatter, stated):
    """A hundred lines in two orders that scatter by one number and state another."""
    place = rng.uniform(-1.0, 1.0, 100)
    shift = SHIFT + SCALE * place + rng.normal(0.0, scatter, place.size)
    ones = np.ones(place.size)
    order = np.repeat([1, 2], 50)
    return LineResiduals(order, 600.0 * ones, place, shift, stated * ones, 0.04 * ones, 3.0 * ones, ones > 0)


@pytest.mark.parametrize("scatter", [0.08, 0.25])
def test_errors_of_shift_and_scale_are_those_of_the_scatter(scatter):
    """Also where lines scatter by three times what they state; the scale itself widens the shift's a little."""
    rng, pulls = np.random.default_rng(2), []
    for _ in range(200):
        found = combine_residuals(residuals(rng, scatter, 0.08))
        pulls.append([(found.shift - SHIFT) / found.error, (found.scale - SCALE) / found.scale_error])
    pulls = np.array(pulls)
    assert np.abs(pulls.mean(axis=0)).max() < 0.3
    assert pulls.std(axis=0) == pytest.approx(np.ones(2), abs=0.2)


def spectrum(rng, direction, listed, shift=SHIFT, scale=SCALE):
    """An order of 1500 bins with lines moved in pixel coordinates, which run with wavelength or against it."""
    wavelength = 600.0 + 0.04 * np.arange(1500)
    bins = (listed - 600.0) / 0.04
    coordinate = direction * (2.0 * bins / 1499.0 - 1.0)
    places = bins + direction * (shift + scale * coordinate)
    clean = 50.0 + sum(900.0 * np.exp(-0.5 * ((np.arange(1500) - place) / 1.2) ** 2) for place in places)
    error = np.sqrt(clean + 30.0)
    return SkySpectrum(
        1 if direction > 0 else 2,
        wavelength,
        np.full(1500, 0.04),
        clean + rng.normal(0.0, error),
        error,
        direction=direction,
    )


@pytest.mark.parametrize("directions", [(1.0,), (-1.0,), (1.0, -1.0)])
def test_shift_and_scale_count_towards_rising_coordinates(directions):
    rng = np.random.default_rng(5)
    listed = 600.0 + 0.04 * (np.arange(30, 1470, 40) + rng.uniform(-3.0, 3.0, 36))
    lines = SkyLines(listed, np.full(listed.size, 1e-4))
    spectra = [spectrum(rng, direction, listed) for direction in directions]
    found = combine_residuals(measure_lines(spectra, lines))
    assert found.lines > 33 * len(directions)
    assert found.shift == pytest.approx(SHIFT, abs=4 * found.error)
    assert found.scale == pytest.approx(SCALE, abs=4 * found.scale_error)
    assert found.scale_error < 0.04
    for shift, error, _ in found.order_shift.values():
        assert shift == pytest.approx(SHIFT, abs=0.03 + 4 * error)


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("shift", [-2.4, 0.3, 1.7])
def test_all_orders_together_tell_first_what_the_shift_is_about(direction, shift):
    rng = np.random.default_rng(6)
    listed = 600.0 + 0.04 * (np.arange(30, 1470, 40) + rng.uniform(-3.0, 3.0, 36))
    lines = SkyLines(listed, np.full(listed.size, 1e-4))
    found = _first_shift([spectrum(rng, direction, listed, shift, 0.0)], lines, 3.0)
    assert found == pytest.approx(shift, abs=0.25)


@pytest.mark.parametrize(
    ("shift", "error", "lines", "by_template", "expected"),
    [
        (0.2, 0.05, 5, False, True),
        (-0.2, 0.05, 5, False, True),
        (0.2, 0.12, 5, False, False),  # within 2 sigma
        (0.04, 0.01, 50, False, False),  # no harm
        (1.0, 0.3, 5, False, False),  # too uncertain to be corrected by
        (0.2, 0.05, 2, False, False),
        (0.2, 0.05, 1, True, True),  # all lines of an order as one
        (float("nan"), float("nan"), 0, False, False),
    ],
)
def test_what_is_corrected(shift, error, lines, by_template, expected):
    zero = ZeroPoint(shift, error, lines, {}, 0.1, 3.0, by_template=by_template)
    assert zero.is_significant is expected
