"""Maps of slit exposures: places on the sky, light along the slit, columns; and their FITS form."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from soxs_recipes.fits_files import read_slit_map, slit_map_hdus, write_product
from soxs_recipes.reduction.exposures.slit_map import (
    SlitLight,
    build_map,
    offsets_on_slit,
    place_on_sky,
    slit_light,
)
from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.request import ExtractionSettings

CENTRE = (150.0, -62.0)


@pytest.mark.parametrize("angle", [0.0, 35.0, -120.0])
def test_places_are_those_of_an_independent_calculation(angle):
    across, along = np.array([0.0, 5.0, -3.0, 400.0]), np.array([0.0, -2.0, 6.0, -900.0])
    ra, dec = place_on_sky(across, along, CENTRE, angle)
    centre = SkyCoord(*CENTRE, unit="deg")
    for x, y, place in zip(across, along, SkyCoord(ra, dec, unit="deg"), strict=True):
        # Along the slit is the position angle, across it 90 degrees on to the east.
        toward = np.degrees(np.arctan2(x, y)) + angle
        expected = centre.directional_offset_by(toward * units.deg, np.hypot(x, y) * units.arcsec)
        assert place.separation(expected).arcsec < 0.01
    back = offsets_on_slit(ra, dec, CENTRE, angle)
    assert np.allclose(back, [across, along], atol=1e-6)


@pytest.mark.parametrize("position", [0.35, -1.4])
def test_light_along_the_slit_is_that_of_the_object(scene_of, width_of, position):
    scene = scene_of(position=position, drift=0.0, emission=False, flux_level=900.0)
    result = extract_exposure(
        scene.frame,
        scene.maps,
        0,
        bands={1: "a", 2: "b"},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(),
    )
    along = 0.28 * (np.arange(37) - 18)
    pulls = []
    for fit in result.fits:
        light = slit_light(fit, "a", along, np.ones(fit.pixels.grid.size), moved=1.0)
        # The truth by pixels: objects' light over the area of a bin and arcsec; sky noise varies along the order.
        objects = (scene.mean - scene.sky).ravel()[fit.pixels.index] / fit.sensitivity
        cell = np.rint((fit.pixels.slit + 1.0 - along[0]) / 0.28).astype(int)
        sigma = np.sqrt(light.variance)
        brightest = along[np.argmax(light.flux)]
        assert abs(brightest - 1.0 - position) < 0.2
        for k in range(5, along.size - 5):
            here = cell == k
            if not np.isfinite(sigma[k]) or here.sum() < 200:
                continue
            pulls.append((light.flux[k] - objects[here].mean()) / np.hypot(sigma[k], 0.04 * objects[here].mean()))
        total = light.flux.sum() * 0.28
        assert total == pytest.approx(900.0, rel=0.06)
    assert len(pulls) > 30
    assert np.abs(pulls).max() < 6.0
    assert width_of(np.array(pulls)) < 1.6


def test_light_of_an_empty_slit_scatters_as_its_errors_say(scene_of, width_of):
    """In whatever unit; and what cosmic rays hit has no part in it."""
    along, pulls = 0.28 * (np.arange(37) - 18), []
    for seed in (1, 2, 3):
        scene = scene_of(seed=seed, flux_level=1e-3, emission=False, line_peak=1e-9, length=200)
        result = extract_exposure(
            scene.frame,
            scene.maps,
            0,
            bands={1: "a", 2: "b"},
            base_variance=scene.base_variance,
            flat=scene.flat,
            settings=ExtractionSettings(),
        )
        for fit in result.fits:
            factor = np.full(fit.pixels.grid.size, 5.0)
            light = slit_light(fit, "a", along, factor)
            known = np.isfinite(light.variance)
            assert known.sum() > 30
            pulls.append((light.flux / np.sqrt(light.variance))[known])
            hit = np.arange(fit.data.size) % 50 == 7
            fit.hits |= hit
            fit.data = np.where(hit, fit.data + 1e5, fit.data)
            spoilt = slit_light(fit, "a", along, factor)
            assert np.abs((spoilt.flux - light.flux) / np.sqrt(light.variance))[known].max() < 2.0
    pulls = np.concatenate(pulls)
    assert pulls.size > 180
    assert abs(pulls.mean()) < 0.3
    assert width_of(pulls) == pytest.approx(1.0, abs=0.2)


def _light(order, flux, size=5):
    return SlitLight(order, f"b{order}", np.full(size, float(flux)), np.full(size, 4.0))


def test_positions_become_columns():
    along = 0.3 * np.arange(5)
    lights = [[_light(1, 10.0), _light(2, 1.0)], [_light(1, 20.0)], [_light(1, 40.0), _light(2, 3.0)]]
    slit_map, regular = build_map(lights, np.array([1.0, 0.0, 1.02]), along, CENTRE, 10.0, "u")
    assert regular
    assert slit_map.flux.shape == (2, 5, 2)
    assert np.allclose(slit_map.flux[0], [20.0, 25.0])  # two exposures at the second place
    assert np.allclose(slit_map.error[0], [2.0, np.sqrt(2.0)])
    assert np.isnan(slit_map.flux[1, :, 0]).all()
    assert slit_map.bands == ("b1", "b2")
    single, _ = build_map(lights[:1], np.array([3.0]), along, CENTRE, 10.0, "u", width=1.5)
    assert single.across.tolist() == [3.0]


def test_uneven_positions_are_told():
    lights = [[_light(1, k)] for k in range(4)]
    _, regular = build_map(lights, np.array([0.0, 1.0, 2.0, 3.45]), 0.3 * np.arange(5), CENTRE, 0.0, "u")
    assert not regular


def test_the_file_holds_the_map_and_its_place_on_the_sky(tmp_path):
    lights = [[_light(1, 10.0 * k), _light(3, 1.0)] for k in range(1, 4)]
    across, along = np.array([-1.0, 0.0, 1.0]), 0.3 * (np.arange(5) - 2.0)
    slit_map, _ = build_map(lights, across, along, CENTRE, 35.0, "electron / (s nm arcsec)")
    path = write_product(tmp_path / "map.fits", slit_map_hdus(slit_map))
    again = read_slit_map(path)
    assert again.orders == (1, 3)
    assert again.bands == slit_map.bands
    assert again.unit == slit_map.unit
    for name in ("across", "along", "flux", "error"):
        assert np.allclose(getattr(again, name), getattr(slit_map, name), atol=1e-5)
    with fits.open(path) as hdus:
        wcs = WCS(hdus[0].header).celestial
    ra, dec = wcs.pixel_to_world_values(2, 0)
    assert np.allclose((ra, dec), place_on_sky(1.0, -0.6, CENTRE, 35.0), atol=1e-8)
