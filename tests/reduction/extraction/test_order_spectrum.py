"""Sums over the pixels of a bin, beside plain numpy."""

import numpy as np
import pytest

from soxs_recipes.reduction.extraction.order_spectrum import _BinSums, _shared_sums, _sky_pulls
from soxs_recipes.reduction.sky.order_pixels import bins_around

_BINS = 30


@pytest.fixture(name="pixels")
def _pixels():
    """Random pixels, some beyond both ends, as `_shared_sums` takes them."""
    rng = np.random.default_rng(5)
    size = 4000
    position = rng.uniform(-1.4, _BINS + 0.4, size)
    position[:4] = -0.99, _BINS - 0.01, 7.0, _BINS - 1.0
    slit = rng.uniform(-5.0, 5.0, size)
    return {
        "position": position,
        "place": bins_around(position + 0.1, _BINS),
        "slit": slit,
        "footprint": rng.uniform(0.2, 0.3, size),
        "profile": np.exp(-0.5 * (slit / 0.6) ** 2),
        "flat": rng.uniform(0.0, 1.2, size),
        "good": rng.random(size) > 0.2,
        "variance": rng.uniform(20.0, 30.0, size),
        "photons": rng.uniform(-5.0, 35.0, size),
        "masters": rng.uniform(0.0, 3.0, size),
        "residual": rng.normal(0.0, 5.0, size),
        "own": rng.uniform(0.0, 100.0, size),
        "courses": np.stack([np.linspace(-0.5, 0.5, _BINS), np.linspace(1.0, 1.4, _BINS)]),
    }


def _shared_out(position, values):
    sums = np.zeros(_BINS + 4)
    low = np.floor(position).astype(int)
    np.add.at(sums, low + 2, values * (1.0 - (position - low)))
    np.add.at(sums, low + 3, values * (position - low))
    return sums[2:-2]


def test_sums_of_a_bin_are_those_of_numpy(pixels):
    found = _BinSums(*_shared_sums(*pixels.values()).T)
    position, good, variance, flat = (pixels[name] for name in ("position", "good", "variance", "flat"))
    expected = pixels["profile"] * pixels["footprint"]
    weight = good / variance * (expected * flat) ** 2
    away = expected < 0.1 * expected.max()
    centre, half = (np.interp(position + 0.1, np.arange(_BINS), course) for course in pixels["courses"])
    inside = np.clip((half - np.abs(pixels["slit"] - centre)) / pixels["footprint"] + 0.5, 0.0, 1.0)
    light = np.where(good, pixels["own"] + pixels["residual"], pixels["own"])
    truth = _BinSums(
        coverage=good * expected,
        weight=weight,
        background=weight * (1.0 - np.clip(pixels["photons"] / variance, 0.0, 1.0)),
        masters=weight * pixels["masters"] / variance,
        away=away.astype(float),
        away_good=(away & good).astype(float),
        light=inside * light / np.maximum(flat, 0.02),
        noise=inside**2 * variance / np.maximum(flat, 0.02) ** 2,
        inside=inside,
        beside=(good & (inside == 0)).astype(float),
    )
    assert len(truth) == 10
    for name, values in truth._asdict().items():
        sums = _shared_out(position, values)
        assert sums.min() > 0.0, name
        assert np.allclose(getattr(found, name), sums, rtol=1e-10), name


def test_a_bin_without_pixels_has_no_sums(pixels):
    nothing = {name: values[:0] for name, values in pixels.items() if name not in ("place", "courses")}
    place = bins_around(np.zeros(0), _BINS)
    sums = _shared_sums(*(pixels | nothing | {"place": place}).values())
    assert sums.shape == (_BINS, 10)
    assert not sums.any()


def test_pulls_of_the_sky_leave_out_what_is_masked_or_holds_objects(pixels):
    rng = np.random.default_rng(6)
    sky, size = rng.uniform(0.0, 100.0, pixels["slit"].size), pixels["slit"].size
    objects = rng.normal(0.0, 0.2, (2, size)) * (rng.random(size) > 0.3)
    level = rng.uniform(0.0, 10.0, _BINS)
    good, variance, residual = (pixels[name] for name in ("good", "variance", "residual"))
    on, off = _sky_pulls(pixels["place"], level, 5.0, good, variance, sky, residual, objects)
    away = good & (np.abs(objects).sum(axis=0) < 0.02 * np.sqrt(variance) + 0.01 * sky)
    bright = np.interp(pixels["position"] + 0.1, np.arange(_BINS), level) > 5.0
    assert min((away & bright).sum(), (away & ~bright).sum(), (good & ~away).sum()) > 300
    assert np.allclose(on, (residual / np.sqrt(variance))[away & bright])
    assert np.allclose(off, (residual / np.sqrt(variance))[away & ~bright])
