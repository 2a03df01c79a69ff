"""Profiles of all orders moved together."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from soxs_recipes.reduction.profiles.object_trace import (
    ChunkEquations,
    _chunk_products,
    start_profiles,
    update_profiles,
)

BINS = 2000
MIDDLES = (np.arange(12) + 0.5) / 12


@dataclass
class Grid:
    """Wavelengths of an order, bent as dispersion bends them."""

    wavelength: np.ndarray

    @property
    def size(self):
        return self.wavelength.size


def grids():
    share = np.arange(BINS) / BINS
    return [
        Grid(middle * (0.86 + 0.28 * (share + 0.15 * share**2 - 0.12 * share**3))) for middle in (450, 600, 800)
    ]


def equations_of(grid, profile, target, information):
    """What pixels of that information tell of a profile whose truth is `target`, in twelve chunks."""
    place = MIDDLES * BINS
    unit = 2 * MIDDLES - 1
    away = np.stack(
        [
            legval(unit, target.centre) - profile.centre_at(place),
            legval(unit, target.log_width) - np.log(profile.fwhm_at(place)),
            np.full(12, target.tail - profile.tail),
            np.full(12, target.optics - profile.optics),
        ],
        axis=1,
    )
    curvature = np.tile(np.diag(information), (12, 1, 1))
    wavelength = np.interp(place, np.arange(BINS), grid.wavelength)
    return ChunkEquations(curvature, away * information, np.zeros((12, 4)), np.ones(12), place, wavelength)


def test_steps_come_to_rest_at_the_truth():
    """What the chunks are told and what is done to the profiles must agree: else the difference grows."""
    rng = np.random.default_rng(5)
    start = start_profiles(grids(), 0.3, 1.0)
    targets = [
        profile.moved(centre=0.1 + rng.normal(0, 0.02), log_width=rng.normal(0, 0.01), tail=0.05, optics=0.004)
        for profile in start
    ]
    information = np.array([1e6, 1e6, 1e5, 1e7])
    profiles, moves = start, []
    for _ in range(40):
        equations = [
            equations_of(grid, profile, target, information)
            for grid, profile, target in zip(grids(), profiles, targets, strict=True)
        ]
        moved, quality, *_ = update_profiles(profiles, equations, start=start)
        moves.append(max(new.differs(old) for new, old in zip(moved, profiles, strict=True)))
        profiles = moved
    assert len(quality) == 3
    assert moves[0] > 0.05
    assert max(moves[3:]) < 1e-6
    sigma = 1 / np.sqrt(12 * information)
    for profile, target in zip(profiles, targets, strict=True):
        assert profile.centre[0] == pytest.approx(target.centre[0], abs=sigma[0])
        assert profile.log_width[0] == pytest.approx(target.log_width[0], abs=sigma[1])
        assert profile.tail == pytest.approx(target.tail, abs=sigma[2])
        assert np.abs(profile.log_width[3:]).max(initial=0.0) < 1e-9


def test_products_of_chunks_are_those_of_plain_algebra():
    """Two sources, two further lights; chunks of several blocks of pixels, of a part of one, and of none."""
    rng = np.random.default_rng(5)
    ends = np.array([0, 300, 300, 437])
    near = rng.permutation(600)[:437]
    profiles, scales = rng.normal(size=(2, 5, 437)), rng.uniform(1.0, 2.0, (2, 600))
    nuisance, residual, weight = rng.normal(size=(2, 600)), rng.normal(size=600), rng.uniform(0.5, 1.0, 600)
    products = _chunk_products(near, ends, profiles, scales, nuisance, residual, weight)
    own = scales[:, None, near] * profiles
    columns = np.concatenate(
        [
            own[:, 1:].sum(axis=0),
            own[:, 0],
            scales[None, :, near].sum(axis=1),
            nuisance[:, near],
            residual[None, near],
        ]
    )
    assert products.shape == (3, 10, 10)
    for chunk, found in enumerate(products):
        here = columns[:, ends[chunk] : ends[chunk + 1]]
        assert found == pytest.approx((here * weight[near[ends[chunk] : ends[chunk + 1]]]) @ here.T)


def test_the_gain_is_what_chi2_falls_by():
    start = start_profiles(grids(), 0.3, 1.0)
    targets = [profile.moved(centre=0.01, log_width=0.02, tail=0.01, optics=0.001) for profile in start]
    information = np.array([1e6, 1e6, 1e5, 1e7])

    def equations(profiles):
        return [equations_of(*each, information) for each in zip(grids(), profiles, targets, strict=True)]

    def chi2(profiles):
        away = [item.gradient / information for item in equations(profiles)]
        return float(sum((information * each**2).sum() for each in away))

    step = update_profiles(start, equations(start), start=start)
    assert chi2(start) > 10_000.0
    assert step.gain == pytest.approx(chi2(start) - chi2(step.profiles), rel=1e-3)
    rest = update_profiles(step.profiles, equations(step.profiles), start=step.profiles)
    assert rest.gain < 1e-3 * step.gain
