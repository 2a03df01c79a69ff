"""Wide slits: blended sky lines still tell the shift."""

import numpy as np
import pytest
from scipy.special import ndtr

from soxs_recipes.reduction.flexure.sky_template import template_shift


def sky(rng, shift, width, count=60, size=1500, level=40.0, noise=True, factor=1.0, variation=0.3):
    """Spectrum and error, with list positions that the spectrum is displaced from, and listed brightnesses.

    Lines have `factor` times the light of the list, give or take the `variation` of airglow.
    """
    listed = np.sort(rng.uniform(0, size, count))
    brightness = 10 ** rng.uniform(1.5, 4.0, count)
    clean = level + 0.01 * np.arange(size)
    x = np.arange(size)
    light_of_lines = factor * brightness * rng.normal(1, variation, count).clip(0.2)
    for place, light in zip(listed + shift, light_of_lines, strict=True):
        clean = clean + light / width * (ndtr((x - place + width / 2) / 1.2) - ndtr((x - place - width / 2) / 1.2))
    error = np.sqrt(np.maximum(clean, 0.0) + 50.0) / 5.0
    return (clean + rng.normal(0, error) * noise, error), (listed, brightness)


@pytest.mark.parametrize("width", [12.0, 18.0])
@pytest.mark.parametrize("shift", [0.0, 0.44, -1.3])
def test_the_shift_is_found_without_knowing_the_width_well(width, shift):
    rng = np.random.default_rng(3)
    orders = [sky(rng, shift, width) for _ in range(6)]
    found = template_shift([s for s, _ in orders], [line for _, line in orders], 1.1 * width)
    shifts = np.array([item.shift for item in found])
    assert np.isfinite(shifts).all()
    assert np.median(shifts) == pytest.approx(shift, abs=0.12)
    assert found[0].width == pytest.approx(width, rel=0.15)


def test_noise_tells_nothing():
    rng = np.random.default_rng(4)
    spectrum = (rng.normal(50, 2.0, 1500), np.full(1500, 2.0))
    (found,) = template_shift([spectrum], [sky(rng, 0.0, 16.0)[1]], 16.0)
    assert np.isnan(found.shift)


def test_absorption_where_lines_are_listed_tells_nothing():
    rng = np.random.default_rng(5)
    spectrum, lines = sky(rng, 0.5, 14.0, factor=-1.0, level=5000.0)
    assert np.isnan(template_shift([spectrum], [lines], 14.0)[0].shift)


def test_errors_are_those_of_noise_beside_their_floor():
    """Lines as bright as listed, and faint: noise alone rules."""
    pulls, errors = [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        spectrum, lines = sky(rng, 0.3, 12.0, factor=0.006, variation=0.0)
        (found,) = template_shift([spectrum], [lines], 12.0)
        if np.isfinite(found.shift):
            errors.append(found.error)
            pulls.append((found.shift - 0.3) / found.error)
    assert len(pulls) > 100
    assert np.median(errors) > 0.15
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


def test_no_spectra_no_shifts():
    assert template_shift([], [], 16.0) == []


@pytest.mark.parametrize("usable", [0, 1, 2])
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_a_stretch_without_use_does_no_harm(usable, scale):
    rng = np.random.default_rng(3)
    (spectrum, error), lines = sky(rng, 0.5, 14.0)
    error = scale * error
    error[256 + usable : 384] = np.inf
    (found,) = template_shift([(scale * spectrum, error)], [lines], 14.0)
    assert found.shift == pytest.approx(0.5, abs=0.25)
