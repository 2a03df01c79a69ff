"""soxs_mapping: a field with two stars, of which each position shows one, comes out where it is on the sky."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.fits_files import read_slit_map, read_table
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.product_plots import for_products
from soxs_recipes.recipes.mapping import Mapping
from soxs_recipes.simulator import simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.headers import Offset

START = Time("2026-03-02T01:00:00")
STARS = {-2.0: 1.5, 2.0: -1.0}  # arcsec across: along
ANOTHER = (-2.0, -3.0)  # beside the first


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two positions, each upon one of the stars; binned and short, to be quick."""
    folder = tmp_path_factory.mktemp("raw")
    paths = []
    for number, across in enumerate(STARS):
        start = START + TimeDelta(number * 400.0, format="sec")
        stars = [supernova(16.5 + k, slit_position=y) for k, y in enumerate((*STARS.values(), ANOTHER[1]))]
        places = (*STARS, ANOTHER[0])
        data, header, _ = simulate_frame(
            "science", "VIS", seed=3, exposure_time=300.0, binning=(2, 2), index=number, start=start,
            sources=tuple(star.displaced(0.0, x - across) for star, x in zip(stars, places, strict=True)),
            offset=Offset("MAP", "M", x=-across), position_angle=35.0, target="SN2026abc",
        )  # fmt: skip
        path = folder / f"SOXS.{start.isot}.fits"
        fits.PrimaryHDU(data, header).writeto(path)
        paths.append(str(path))
    return run_recipe(Mapping, paths, {}, str(tmp_path_factory.mktemp("out")))


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
        assert abs(slit_map.along[np.argmax(profile)] - y) < 1.2
        assert profile.max() > 50
    (picture,) = for_products([_map(run)], tmp_path)
    assert picture.stat().st_size > 20_000
