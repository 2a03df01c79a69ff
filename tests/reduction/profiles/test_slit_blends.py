"""A point source told apart from the extended light beneath it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from soxs_recipes.reduction.profiles import slit_blends
from soxs_recipes.reduction.profiles.slit_blends import Component, resolve_blends
from soxs_recipes.reduction.profiles.slit_profile import moffat

GRID = np.arange(-5.5, 5.5, 0.15)
PARAMETERS = np.array([0.1, 0.4, np.log(1.1), np.log(3.5), 0.25])
WEIGHT = np.linspace(1.0, 2.0, GRID.size)


def _light(*parts):
    return sum(flux * moffat(GRID - position, fwhm, 0.2) for position, fwhm, flux in parts)


def _plain_misfit(parameters, light):
    count = (parameters.size - 1) // 2
    columns = [moffat(GRID - parameters[k], np.exp(parameters[count + k]), parameters[-1]) for k in range(count)]
    design = np.stack([*columns, np.ones_like(GRID)], axis=1) * WEIGHT[:, None]
    return design @ np.linalg.lstsq(design, light * WEIGHT, rcond=None)[0] - light * WEIGHT


def test_the_misfit_is_that_of_least_squares():
    light = _light((0.0, 1.0, 30.0), (0.5, 4.0, 60.0))
    found = slit_blends._misfit(PARAMETERS, GRID, light, WEIGHT)
    assert np.abs(found).max() > 0.05
    assert_allclose(found, _plain_misfit(PARAMETERS, light), atol=1e-10)


@pytest.mark.parametrize("room", [1.0, 0.0])
def test_its_changes_are_derivatives_at_limits_as_well(room):
    light = _light((0.0, 1.0, 30.0), (0.5, 4.0, 60.0))
    found = slit_blends._misfit_changes(PARAMETERS, GRID, light, WEIGHT, PARAMETERS + room)
    for k, step in enumerate(1e-4 * np.eye(PARAMETERS.size)):
        change = (_plain_misfit(PARAMETERS + step, light) - _plain_misfit(PARAMETERS - step, light)) / 2e-4
        assert_allclose(found[:, k], change, atol=2e-5 * np.abs(change).max())


def test_a_star_on_a_galaxy_is_two_components():
    rng = np.random.default_rng(3)
    profile = _light((0.0, 1.0, 30.0), (0.5, 4.0, 60.0)) + rng.normal(0, 0.05, GRID.size)
    found = resolve_blends(GRID, profile, np.full(GRID.size, 0.05), [Component(0.05, 1.5, 50.0)])
    assert len(found) == 2
    star, galaxy = found
    assert_allclose([star.position, star.fwhm, star.flux], [0.0, 1.0, 30.0], atol=0.3)
    assert_allclose([galaxy.position, galaxy.fwhm, galaxy.flux], [0.5, 4.0, 60.0], atol=2.0)


@pytest.mark.parametrize("noise", [0.05, 5.0])
def test_a_star_alone_stays_as_it_was_found(noise):
    rng = np.random.default_rng(4)
    profile = _light((0.0, 1.0, 30.0)) + rng.normal(0, noise, GRID.size)
    given = [Component(0.05, 1.1, 28.0)]
    assert resolve_blends(GRID, profile, np.full(GRID.size, noise), given) == given


def test_what_leaves_most_unexplained_is_no_galaxy(monkeypatch):
    """A star of which one order is wider, and cells uneven by hits: a broad component takes up some of either."""
    given = [Component(0.05, 1.2, 500.0)]
    orders = ((0.0, 1.0, 150.0), (0.1, 1.1, 150.0), (-0.1, 2.4, 150.0), (0.05, 0.95, 150.0))

    def found():
        for seed in range(4):
            rng = np.random.default_rng(seed)
            light = _light(*orders) * (1.0 + 0.06 * rng.normal(size=GRID.size)) + rng.normal(0, 0.3, GRID.size)
            yield resolve_blends(GRID, light, np.full(GRID.size, 0.3), given)

    assert list(found()) == [given] * 4
    monkeypatch.setattr(slit_blends, "_MOST_LEFT", np.inf)
    assert [len(components) for components in found()] == [2] * 4
