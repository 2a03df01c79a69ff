"""Loops over pixels before the joint fit, beside what they say in plain numpy."""

import numpy as np
import pytest

from soxs_recipes.reduction.extraction.preview_kernels import add_light, core_light, core_pixels, first_weights
from soxs_recipes.reduction.profiles.object_trace import _AT_ONCE, _chunk_products, _near_by_chunk
from soxs_recipes.reduction.sky.order_pixels import bins_around

_BINS = 40


@pytest.fixture(name="pixels")
def _pixels():
    """Random pixels beyond both ends, too: what a kernel takes by name."""
    random = np.random.default_rng(4)
    size = 3000
    position = random.uniform(-0.5, _BINS - 0.5, size)
    return {
        "place": bins_around(position, _BINS),
        "position": position,
        "slit": random.uniform(-6.0, 6.0, size),
        "footprint": random.uniform(0.2, 0.3, size),
        "good": random.uniform(size=size) > 0.1,
        "data": random.normal(20.0, 30.0, size),
        "variance": random.uniform(5.0, 10.0, size),
        "response": random.uniform(0.2, 0.4, size),
    }


def _along(course, position):
    return np.interp(position, np.arange(course.size), course)


def test_light_near_the_core_is_that_of_good_pixels_there(pixels):
    courses = np.stack([np.linspace(-1.0, 2.0, _BINS), np.linspace(0.1, 1.0, _BINS)])
    courses[1, :10] = 0.0  # narrower than a pixel
    pixels["response"][::20] = 0.0  # of a dead flat
    near = core_pixels(*(pixels[name] for name in ("place", "slit", "footprint", "good")), courses)
    centre, reach = (_along(course, pixels["position"]) for course in courses)
    core = np.abs(pixels["slit"] - centre) < np.maximum(reach, 1.3 * pixels["footprint"])
    core &= pixels["good"]
    assert 200 < core.sum() < 1000
    assert (core & (reach < pixels["footprint"])).sum() > 20
    assert np.array_equal(near, np.flatnonzero(core))

    random = np.random.default_rng(9)
    sky, others = random.uniform(-5.0, 50.0, _BINS), random.normal(20.0, 100.0, (1, _BINS))
    profiles = random.uniform(0.1, 0.6, (2, near.size))
    sensitivity, position = pixels["response"], pixels["position"][near]
    names = ("data", "response", "variance")
    found, flux, noise = core_light(
        pixels["place"], near, *(pixels[name] for name in names), sky, others, profiles
    )
    beneath = _along(sky, position) * sensitivity[near]
    light = pixels["data"][near] - beneath - _along(others[0], position) * profiles[0] * sensitivity[near]
    response = np.maximum(profiles[1] * sensitivity[near], 1e-6)
    assert (response == 1e-6).sum() > 5
    assert np.array_equal(found, np.clip(np.rint(position), 0, _BINS - 1))
    assert np.allclose(flux, light / response)
    assert np.allclose(noise, np.sqrt(pixels["variance"][near] + np.maximum(beneath, 0.0)) / response)


def test_light_is_added_where_it_falls(pixels):
    flux, model = np.random.default_rng(5).normal(size=_BINS), np.ones(pixels["slit"].size)
    add_light(pixels["place"], flux, pixels["response"], model)
    assert np.allclose(model, 1.0 + _along(flux, pixels["position"]) * pixels["response"])


@pytest.mark.parametrize("of_difference", [False, True])
def test_first_weights_are_those_of_unhit_pixels(pixels, of_difference):
    random = np.random.default_rng(6)
    position, sensitivity, base = pixels["position"], pixels["response"], pixels["variance"]
    skies, fluxes = random.uniform(5.0, 50.0, (2, _BINS)), random.normal(20.0, 100.0, (2, _BINS))
    profiles = random.uniform(0.0, 0.6, (2, position.size))
    beneath = random.uniform(10.0, 90.0, position.size) if of_difference else np.zeros(0)
    flat_share = np.full(position.size, 1e-4)
    residual, weight = first_weights(
        pixels["place"], pixels["good"], pixels["data"], sensitivity, base, flat_share, beneath, skies, fluxes,
        profiles, 1, 2.0,
    )  # fmt: skip
    sky, steep = (_along(course, position) * sensitivity for course in skies)
    light = np.array([_along(flux, position) * sensitivity for flux in fluxes])
    objects = (light * profiles).sum(axis=0)
    model = sky + objects
    photons = beneath + np.abs(objects) if of_difference else np.maximum(model, 0.0)
    variance = base + photons + model**2 * flat_share + steep**2
    used = pixels["good"] & (np.abs(pixels["data"] - model) < 2.0 * np.sqrt(variance + (0.2 * objects) ** 2))
    assert 500 < used.sum() < 2600
    assert np.allclose(residual, pixels["data"] - model)
    assert np.allclose(weight, np.where(used, 1.0 / (variance + (0.02 * light[1]) ** 2), 0.0))


def test_pixels_near_any_source_come_chunk_by_chunk(pixels):
    position, slit, weight = pixels["position"], pixels["slit"], np.where(pixels["good"], 1.0, 0.0)
    along = np.arange(_BINS)
    courses = np.stack([[0.02 * along - 3.0, np.full(_BINS, 1.0)], [0.05 * along, 0.5 + 0.01 * along]])
    near, ends = _near_by_chunk(*pixels["place"], position, slit, weight, courses, 5)
    inside = [np.abs(slit - _along(centre, position)) < _along(reach, position) for centre, reach in courses]
    expected = np.flatnonzero(np.any(inside, axis=0) & (weight > 0))
    assert expected.size > 150
    chunk = np.clip((position / _BINS * 5).astype(int), 0, 4)[expected]
    assert np.array_equal(near, expected[np.argsort(chunk, kind="stable")])
    assert np.array_equal(np.diff(ends), np.bincount(chunk, minlength=5))
    nothing, ends = _near_by_chunk(*pixels["place"], position, slit, 0.0 * weight, courses, 5)
    assert nothing.size == 0
    assert not ends.any()


@pytest.mark.parametrize(("sources", "others"), [(1, 0), (2, 3)])
def test_products_of_chunks_are_those_of_their_columns(sources, others):
    random = np.random.default_rng(7)
    ends = np.array([0, 3, 3, 3 + 2 * _AT_ONCE + 5, 3 + 3 * _AT_ONCE + 5])  # the second chunk is empty
    near, size = random.permutation(900)[: ends[-1]], 900
    profiles, scales = random.normal(size=(sources, 5, near.size)), random.uniform(1.0, 2.0, (sources, size))
    nuisance, residual = random.normal(size=(others, size)), random.normal(size=size)
    weight = random.uniform(0.0, 1.0, size)
    found = _chunk_products(near, ends, profiles, scales, nuisance, residual, weight)
    scale = scales[:, near]
    columns = np.concatenate(
        [
            (profiles[:, 1:] * scale[:, None]).sum(axis=0),
            profiles[:, 0] * scale,
            scale.sum(axis=0, keepdims=True),
            nuisance[:, near],
            residual[None, near],
        ]
    )
    assert found.shape == (4, len(columns), len(columns))
    for chunk, own in enumerate(found):
        mine = columns[:, ends[chunk] : ends[chunk + 1]]
        assert np.allclose(own, (mine * weight[near[ends[chunk] : ends[chunk + 1]]]) @ mine.T)
    assert not found[1].any()
