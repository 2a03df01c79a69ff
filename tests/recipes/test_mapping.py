"""soxs_mapping: a field with two stars, of which each position shows one, comes out where it is on the sky."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.fits_files import read_slit_map, read_table
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.inputs import gather_inputs
from soxs_recipes.recipes.framework.product_plots import for_products
from soxs_recipes.recipes.mapping import Mapping
from soxs_recipes.recipes.steps.map_products import MapGrid, Position, _factor, _in_bands
from soxs_recipes.simulator import simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.headers import Offset

START = Time("2026-03-02T01:00:00")
STARS = {-2.0: 1.5, 2.0: -1.0}  # arcsec across: along
ANOTHER = (-2.0, -3.0)  # beside the first
STEP = 2.5  # arcsec along the slit from the first position to the second


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Two positions, each upon one of the stars; binned and short, to be quick."""
    folder = tmp_path_factory.mktemp("raw")
    paths = []
    for number, across in enumerate(STARS):
        start = START + TimeDelta(number * 400.0, format="sec")
        stars = [supernova(16.5 + k, slit_position=y) for k, y in enumerate((*STARS.values(), ANOTHER[1]))]
        places = (*STARS, ANOTHER[0])
        data, header, _ = simulate_frame(
            "science", "VIS", seed=3, exposure_time=300.0, binning=(2, 2), index=number, start=start,
            sources=tuple(
                star.displaced(-STEP * number, x - across) for star, x in zip(stars, places, strict=True)
            ),
            offset=Offset("MAP", "M", x=-across, y=-STEP * number), position_angle=35.0, target="SN2026abc",
        )  # fmt: skip
        path = folder / f"SOXS.{start.isot}.fits"
        fits.PrimaryHDU(data, header).writeto(path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def run(frames, tmp_path_factory):
    return run_recipe(Mapping, [str(path) for path in frames], {}, str(tmp_path_factory.mktemp("out")))


def _map(run):
    (path,) = [product.path for product in run.products if product.tag == "SCI_MAP_VIS"]
    return path


def test_each_position_gives_its_products(run):
    assert run.status == "PARTIAL"  # there are no calibrations
    tags = [product.tag for product in run.products]
    for name in ("ORDER1D", "MERGE1D", "SKYSUB", "SKYMODEL", "TRACE", "SKY1D"):
        assert tags.count(f"SCI_SLIT_{name}_VIS") == 2
    header = fits.getheader(_map(run))
    assert header["ESO QC MAP N POSITIONS"] == 2
    assert header["ESO QC MAP STEP"] == pytest.approx(4.0, abs=0.01)
    assert header["TEXPTIME"] == 600.0


def test_stars_are_where_they_are_on_the_sky(run):
    sources = read_table(_map(run), "SOURCES")
    targets = np.flatnonzero(sources["TARGET"])
    assert targets.size == 2
    # As the simulator has it: the slit's positive half points to 35 degrees from north to east.
    pointing = SkyCoord(162.4313, -21.2750, unit="deg")
    for row, (x, y) in zip(targets, STARS.items(), strict=True):
        angle = np.degrees(np.arctan2(x, y)) + 35.0
        expected = pointing.directional_offset_by(
            angle * 1.0 * pointing.ra.unit, np.hypot(x, y) / 3600.0 * pointing.ra.unit
        )
        found = SkyCoord(sources["RA"][row], sources["DEC"][row], unit="deg")
        # The spectral format alone does not know slit positions better.
        assert found.separation(expected).arcsec < 0.6
        assert sources["SNR"][row].shape == (4,)
        assert np.median(sources["SNR"][row]) > 5
    assert sources["SLIT_POSITION"][sources["EXPOSURE"] == 1] == pytest.approx([1.5, ANOTHER[1]], abs=0.6)
    spectra = read_table(_map(run), "SPECTRA")
    pairs = set(zip(spectra["EXPOSURE"].tolist(), spectra["SOURCE"].tolist(), strict=True))
    assert pairs == {(1, 1), (1, 2), (2, 1)}
    assert np.isfinite(spectra["FLUX"]).all()


def test_the_image_is_bright_at_the_stars(run, tmp_path):
    slit_map = read_slit_map(_map(run))
    assert slit_map.orders == (1, 2, 3, 4)
    assert slit_map.across == pytest.approx([-2.0, 2.0], abs=0.01)
    for column, y in enumerate(STARS.values()):
        profile = np.nansum(slit_map.flux[[0, 2]] / slit_map.error[[0, 2]], axis=0)[:, column]
        # The map's centre lies midway between the positions.
        assert abs(slit_map.along[np.argmax(profile)] - (y - 0.5 * STEP)) < 1.2
        assert profile.max() > 50
    (picture,) = for_products([_map(run)], tmp_path)
    assert picture.stat().st_size > 20_000


def test_offsets_place_positions_as_pointings_do(frames, tmp_path):
    blind = []
    for path in frames:
        with fits.open(path) as hdus:
            for key in ("RA", "DEC"):
                del hdus[0].header[key]
            hdus.writeto(tmp_path / path.name)
        blind.append(tmp_path / path.name)
    grids = []
    for paths in (frames, blind):
        inputs = gather_inputs(Mapping.declaration, [(str(path), "") for path in paths])
        grids.append((MapGrid(inputs, paths), inputs))
    (pointed, _), (told, inputs) = grids
    assert any("cumulative offsets" in reason for reason in inputs.partial_reasons)
    places = [[grid.place[path] for path in paths] for grid, paths in ((pointed, frames), (told, blind))]
    assert np.allclose(places[0], [(-2.0, -0.5 * STEP), (2.0, 0.5 * STEP)], atol=0.01)
    assert np.allclose(*places, atol=0.01)


def grid_of(*headers):
    """A grid of exposures by what their headers say, and what was complained of."""
    said = []
    inputs = SimpleNamespace(
        arm=load_instrument().arm("VIS"),
        keyword=lambda name, path=None, default=None: headers[path].get(name, default),
        mark_partial=said.append,
    )
    pointings = [{"RA": 30.0, "DEC": -20.0 + k / 3600.0} for k in range(len(headers))]
    headers = [pointing | own for pointing, own in zip(pointings, headers, strict=True)]
    return MapGrid(inputs, range(len(headers))), said


def test_a_slit_that_turns_is_told_and_one_that_points_to_the_north_does_not():
    assert grid_of({"POSITION_ANGLE": 359.8}, {"POSITION_ANGLE": 0.1})[1] == []
    assert grid_of({"POSITION_ANGLE": 10.0}, {"POSITION_ANGLE": 14.0})[1] == [
        "the slit turned by 4.0 degrees within the map"
    ]
    grid, said = grid_of({}, {})
    assert grid.position_angle == 0.0
    assert len(said) == 1


def test_cells_are_a_detector_pixel_high_and_hold_all_positions():
    arm = load_instrument().arm("VIS")
    grid, _ = grid_of({"POSITION_ANGLE": 0.0, "BINNING_X": 2}, {"POSITION_ANGLE": 0.0, "BINNING_X": 2})
    assert np.allclose(np.diff(grid.along), 2.0 * arm.pixel_scale)
    reach = 0.5 * arm.slit_length + 0.5  # the positions lie half an arcsecond off the centre
    assert grid.along[-1] + arm.pixel_scale >= reach - 1e-6
    assert grid.along[0] - arm.pixel_scale <= -reach + 1e-6


def test_photometry_is_in_the_unit_of_the_map():
    """A mean of bins, weighted by their errors."""
    size, time = 50, 20.0
    variance = np.where(np.arange(size) % 2, 4.0, 16.0)
    zeros, ones = np.zeros(size), np.ones(size)
    flux = np.where(np.arange(size) % 2, 10.0, 30.0)
    spectrum = OrderSpectrum(
        3, "g", 500.0 + 0.5 * np.arange(size), 0.5 * ones, flux, variance, flux, variance, zeros, ones,
        zeros.astype(np.int32), zeros,
    )  # fmt: skip
    factor = _factor(spectrum, None, time)
    assert np.allclose(factor, 1.0 / (20.0 * 0.5))
    found = _in_bands((1, 3), Position(None, time, (), (), ((spectrum,),), {3: factor}), 0)
    assert np.isnan(found[:, 0]).all()
    # Weights 1/4 and 1/16 of 25 bins each.
    assert found[0, 1] == pytest.approx((10.0 * 4.0 + 30.0) / 5.0 * 0.1)
    assert found[1, 1] == pytest.approx(0.1 / np.sqrt(25.0 * (1.0 / 4.0 + 1.0 / 16.0)))
    assert found[2, 1] == pytest.approx(0.5 * (5.0 + 7.5))
