"""Sources on the slit, and the choice of the target."""

import numpy as np
import pytest

from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.profiles.slit_sources import SlitSource, choose_target, find_sources, slit_samples
from soxs_recipes.reduction.sky.order_pixels import cut_order, make_order_grid


def _source(position, brightness=100.0, significance=50.0):
    return SlitSource(position, 1.0, brightness, significance)


def test_the_target_is_where_it_is_expected_not_the_brightest():
    choice = choose_target((_source(4.0, 1e5, 900.0), _source(0.3, 20.0, 8.0)), 0.0)
    assert choice.sources[choice.index].position == 0.3
    assert choice.detected
    assert not choice.doubtful


def test_a_lone_bright_star_elsewhere_is_taken_and_marked():
    choice = choose_target((_source(3.5),), 0.0)
    assert choice.sources[choice.index].position == 3.5
    assert choice.doubtful


def test_nothing_at_the_place_is_extracted_there_all_the_same():
    choice = choose_target((_source(4.0), _source(-4.0)), 0.5)
    assert choice.sources[choice.index].position == 0.5
    assert not choice.detected
    assert choice.doubtful
    assert "+0.50" in choice.reason


def test_blank_slits_hold_no_sources():
    grid = np.arange(-5.5, 5.5, 0.15)
    rng = np.random.default_rng(3)
    found = [find_sources(rng.normal(0, 1, (24, grid.size)), np.ones((24, grid.size)), grid) for _ in range(100)]
    assert sum(len(sources) for sources in found) <= 1


def test_cells_take_nearly_all_information_and_no_hits(scene_of, width_of):
    scene = scene_of(noise=False, length=300)
    pixels = cut_order(scene.maps, make_order_grid(scene.maps, 1, 0), 0)
    rng, grid = np.random.default_rng(4), np.arange(-5.5, 5.5, 0.15)
    variance = np.where(rng.random(pixels.index.size) < 0.4, 400.0, 1.0)  # pixels on bright lines know little
    light = 0.3 + np.sqrt(variance) * rng.standard_normal(variance.size)
    light[rng.random(variance.size) < 0.005] += 5000.0
    value, weight = slit_samples(pixels, light, variance, grid, weighted=True)
    known = weight > 0
    assert known.sum() > 500
    pulls = (value - 0.3)[known] * np.sqrt(weight[known])
    assert width_of(pulls) == pytest.approx(1.0, abs=0.12)
    assert abs(np.mean(pulls)) < 0.25
    assert weight.sum() > 0.85 * (1.0 / variance).sum()  # a median would have a tenth of it


@pytest.mark.parametrize("position", [-2.2, 0.07, 3.1])
def test_a_source_is_placed_and_measured(position):
    grid = np.arange(-5.5, 5.5, 0.15)
    rng = np.random.default_rng(3)
    shape = 10.0 * np.exp(-0.5 * ((grid - position) / 0.45) ** 2)
    (source,) = find_sources(rng.normal(shape, 1, (24, grid.size)), np.ones((24, grid.size)), grid)
    assert source.position == pytest.approx(position, abs=0.06)
    assert source.fwhm == pytest.approx(1.06, abs=0.3)


@pytest.mark.parametrize("position", [5.45, -5.6, 5.9])
def test_a_bright_star_on_the_slits_end_is_seen(position):
    grid = np.arange(-5.5, 5.5, 0.15)
    rng = np.random.default_rng(3)
    shape = 10.0 * np.exp(-0.5 * ((grid - position) / 0.45) ** 2)
    (source,) = find_sources(rng.normal(shape, 1, (24, grid.size)), np.ones((24, grid.size)), grid)
    assert source.position == pytest.approx(position, abs=0.5)
    assert source.fwhm < 1.6


def test_a_neighbour_is_told_apart_and_does_not_leak(scene_of, width_of):
    scene = scene_of(others=((3.0, 5.0, 1.0),), seed=7)
    result = extract_exposure(
        scene.frame, scene.maps, 0, bands={}, base_variance=scene.base_variance, settings=ExtractionSettings()
    )
    assert len(result.choice.sources) == 2
    assert result.choice.sources[0].position == pytest.approx(0.35, abs=0.15)
    assert len(result.others) == 1
    pulls = []
    for item in result.orders:
        spectrum, truth = item.spectrum, scene.truth(item.spectrum)
        pulls.append(((spectrum.flux - truth) / np.sqrt(spectrum.variance))[10:-10])
    pulls = np.concatenate(pulls)
    assert abs(np.median(pulls)) < 0.15
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("host", [(1.2, 3.0, 4.0), (0.35, 1.0, 5.0)])
def test_a_supernova_is_told_from_its_galaxy(scene_of, host):
    # Galaxy: three times as bright, 3.4 arcsec wide and aside; or as bright, 4.2 arcsec wide and right beneath.
    scene = scene_of(others=(host,), seed=7, length=800)
    result = extract_exposure(scene.frame, scene.maps, 0, bands={}, base_variance=scene.base_variance)
    target = result.choice.sources[0]
    assert len(result.choice.sources) == 2
    assert target.position == pytest.approx(0.35, abs=0.15)
    assert target.fwhm < 1.3
    assert result.choice.sources[1].fwhm > 2.2
    ratios = [(item.spectrum.flux / scene.truth(item.spectrum))[10:-10] for item in result.orders]
    assert np.median(np.concatenate(ratios)) == pytest.approx(1.0, abs=0.12)


def test_a_star_with_wings_is_one_source(scene_of):
    scene = scene_of(flux_level=3e4, beta=2.8)
    result = extract_exposure(scene.frame, scene.maps, 0, bands={}, base_variance=scene.base_variance)
    assert len(result.choice.sources) == 1
