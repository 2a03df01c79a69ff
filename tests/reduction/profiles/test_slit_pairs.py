"""Two stars that look like one peak along the slit, and single ones that must stay single."""

import numpy as np
import pytest

from soxs_recipes.reduction.profiles import slit_pairs
from soxs_recipes.reduction.profiles.slit_blends import Component
from soxs_recipes.reduction.profiles.slit_profile import moffat
from soxs_recipes.reduction.profiles.slit_sources import find_sources

GRID = np.arange(-5.5, 5.5, 0.15)
ORDERS, CHUNKS = 4, 12


def cells(stars, rng, *, noise=0.3, moves=0.0, widens=0.0):
    """Light of stars (position, FWHM, flux) in cells of parts of orders, and its weights.

    From the first part to the last all stars move by `moves` arcsec and widen by the factor 1 + `widens`.
    """
    rows = []
    for t in np.linspace(-0.5, 0.5, ORDERS * CHUNKS):
        light = sum(
            flux * moffat(GRID - position - moves * t, fwhm * (1.0 + widens * (t + 0.5)), 0.25)
            for position, fwhm, flux in stars
        )
        rows.append(light + rng.normal(0.0, noise, GRID.size))
    return np.array(rows), np.full((len(rows), GRID.size), noise**-2)


@pytest.mark.parametrize("apart", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("moves", [0.0, 0.5])
def test_two_stars_are_found(apart, share, moves):
    stars = ((-0.4, 0.95, 30.0), (-0.4 + 0.95 * apart, 0.95, 30.0 * share))
    found = find_sources(*cells(stars, np.random.default_rng(1), moves=moves), GRID)
    assert len(found) == 2
    for source, (position, fwhm, flux) in zip(sorted(found, key=lambda s: s.position), stars, strict=True):
        assert source.position == pytest.approx(position, abs=0.1)
        assert source.fwhm == pytest.approx(fwhm, abs=0.5)
        # Where both peaks are seen each one's light holds some of the other's: the fits only start from it.
        assert 0.8 * flux < source.brightness < 0.8 * flux + 35.0


@pytest.mark.parametrize(
    ("fwhm", "changes"),
    [
        (0.7, {}),
        (1.3, {}),
        (2.1, {}),
        (0.8, {"moves": 1.6}),
        (1.1, {"moves": 1.0, "widens": 0.5}),
        (0.9, {"widens": 1.0}),
    ],
)
@pytest.mark.parametrize("flux", [30.0, 3000.0])
def test_a_star_is_one_whatever_it_does_along_the_orders(fwhm, changes, flux):
    star = ((0.2, fwhm, flux),)
    found = [find_sources(*cells(star, np.random.default_rng(seed), **changes), GRID) for seed in range(4)]
    assert [len(sources) for sources in found] == [1] * 4


@pytest.mark.parametrize(
    ("star", "is_pair"),
    [
        ((0.9, 1.1, 30.0), True),
        ((0.9, 1.1, 2.0), True),
        ((0.4, 1.1, 30.0), False),  # too near
        ((0.9, 1.5, 30.0), False),  # wider: no star
        ((0.9, 1.1, 1.0), False),  # a bump in the wings
        ((0.9, 1.1, -5.0), False),
    ],
)
def test_two_stars_are_of_one_width_and_apart(star, is_pair):
    pair = Component(0.0, 1.0, 30.0), Component(*star)
    assert [slit_pairs._is_pair(*pair), slit_pairs._is_pair(*pair[::-1])] == [is_pair] * 2
    wide = [Component(2.5 * one.position, 2.5 * one.fwhm, one.flux) for one in pair]
    assert not slit_pairs._is_pair(*wide)


def test_a_broad_source_of_no_star_is_no_pair():
    stars = ((0.2, 3.5, 60.0),)
    found = find_sources(*cells(stars, np.random.default_rng(3)), GRID)
    assert len(found) == 1
    assert found[0].fwhm == pytest.approx(3.5, abs=0.4)


@pytest.mark.parametrize("apart", [1.7, 2.5])
def test_a_star_is_not_widened_by_its_neighbour(apart):
    stars = ((-0.8, 1.4, 30.0), (-0.8 + 1.4 * apart, 1.4, 29.0))
    found = find_sources(*cells(stars, np.random.default_rng(4)), GRID, pairs=False)
    assert len(found) == 2
    assert max(source.fwhm for source in found) < 2.0
