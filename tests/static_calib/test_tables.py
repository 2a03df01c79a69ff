import re
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.units import Unit

from soxs_recipes.fits_files import read_quality
from soxs_recipes.instrument import load_instrument, static_calibration_folder, static_calibration_path

EXPECTED = {
    "ARC_LINE_LIST_NIR",
    "ARC_LINE_LIST_VIS",
    "BP_MAP_REF_NIR",
    "BP_MAP_REF_VIS",
    "EXTCOEFF_TABLE",
    "FLUX_STD_CATALOG",
    "SKY_CONTINUUM",
    "SKY_LINE_LIST",
    "SPECTRAL_FORMAT_NIR",
    "SPECTRAL_FORMAT_VIS",
    "TELLURIC_TRANSMISSION",
}
WITHOUT_UNIT = {
    *("ALIASES", "BAND", "BLEND", "BLOCK", "ECHELLE", "EXTENSION", "INTENSITY", "ION", "ISOLATED", "MEASURED"),
    *("MOLECULES", "NAME", "N_TERMS", "ORDER", "ORDERS", "ORDER_DEGREE", "ORDER_HIGH", "ORDER_LOW", "OZONE"),
    *("SCATTERING", "SEEN", "SLIT_DEGREE", "WAVELENGTH_DEGREE"),
}


def test_the_set_is_complete_and_small():
    paths = sorted(static_calibration_folder().glob("*.fits"))
    assert {path.stem for path in paths} == EXPECTED
    assert sum(path.stat().st_size for path in paths) < 3_000_000


@pytest.mark.parametrize("tag", sorted(EXPECTED))
def test_checksums_sources_and_units(tag):
    with warnings.catch_warnings(), fits.open(static_calibration_path(tag), checksum=True) as hdus:
        header = hdus[0].header
        assert header["ESO PRO CATG"] == tag
        assert header["ORIGIN"] == "soxs-recipes"
        history = "\n".join(str(line) for line in header["HISTORY"])
        if not tag.startswith("BP_MAP"):
            assert re.search(r"sha256: [0-9a-f]{64}", history)
        tables = [
            hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU) and not isinstance(hdu, fits.CompImageHDU)
        ]
        assert len(tables) >= 1 or tag.startswith("BP_MAP")
        for hdu in tables:
            assert "CHECKSUM" in hdu.header
            assert len(hdu.data) > 0
            for column in hdu.columns:
                assert column.unit or column.name in WITHOUT_UNIT, (tag, column.name)
                if column.unit:
                    Unit(column.unit)
                if hdu.data[column.name].dtype.kind == "f" and column.name != "VELOCITY":
                    assert np.isfinite(hdu.data[column.name]).all()


@pytest.mark.parametrize("arm", load_instrument().arms, ids=lambda arm: arm.name)
def test_reference_bad_pixels_fit_the_detector(arm):
    quality = read_quality(static_calibration_path(f"BP_MAP_REF_{arm.name}"))
    assert quality.shape == arm.detector.science_shape()
    assert quality.dtype == np.int32


def test_extinction():
    table = fits.getdata(static_calibration_path("EXTCOEFF_TABLE"), 1)
    wavelength, extinction = table["WAVELENGTH"], table["EXTINCTION"]
    assert wavelength[0] <= 300.0
    assert wavelength[-1] >= 2500.0
    assert np.all(np.diff(wavelength) > 0)
    assert np.all(extinction > 0)
    # ESO's curve: 0.30 mag at 400 nm, 0.09 at 600 nm; beyond 900 nm it falls and stays below 0.02.
    assert np.interp([400.0, 600.0], wavelength, extinction) == pytest.approx([0.30, 0.09], abs=0.015)
    beyond = extinction[wavelength > 900.0]
    assert len(beyond) > 50
    assert np.all(np.diff(beyond) < 0)
    assert beyond.max() < 0.02


def _sky():
    return fits.getdata(static_calibration_path("SKY_LINE_LIST"), 1)


@pytest.mark.parametrize(("low", "high", "total"), [(350, 850, 67.0), (800, 1350, 1420.0), (1350, 2050, 6400.0)])
def test_airglow_adds_up_to_skycalc(low, high, total):
    """Totals that SkyCalc states, photon/s/m2/arcsec2; the list lacks the faintest lines."""
    sky = _sky()
    own = sky["FLUX"][(sky["WAVELENGTH"] > low) & (sky["WAVELENGTH"] < high)].astype(float)
    assert 0.88 * total < own.sum() < 1.05 * total


def test_sky_lines_are_vacuum_single_and_isolated_where_said():
    sky = _sky()
    wavelength, flux = sky["WAVELENGTH"].astype(float), sky["FLUX"].astype(float)
    assert np.all(np.diff(wavelength) > 0.0)
    # [O I] 557.7340 and 630.0304 nm in air.
    for line, tolerance in ((557.8890, 0.002), (630.2047, 0.002)):
        assert np.abs(wavelength - line).min() < tolerance
    chosen = np.flatnonzero(sky["ISOLATED"])
    assert len(chosen) > 150
    for i in chosen:
        near = np.abs(wavelength - wavelength[i]) < wavelength[i] / 4500.0
        near[i] = False
        assert flux[near].sum() < 0.05 * flux[i]


def test_isolated_sky_lines_serve_most_orders():
    sky = _sky()
    wavelength = sky["WAVELENGTH"][sky["ISOLATED"]]
    orders = [order for arm in load_instrument().arms for order in arm.orders]

    def count(order):
        return ((wavelength > order.wavelength_min) & (wavelength < order.wavelength_max)).sum()

    lacking = {order.band for order in orders if count(order) < 3}
    # No airglow stands out in u and g.
    assert lacking <= {"u", "g"}


def test_transmission_shows_the_known_bands():
    table = fits.getdata(static_calibration_path("TELLURIC_TRANSMISSION"), 1)
    wavelength, molecules = table["WAVELENGTH"], table["MOLECULES"]

    def mean(low, high):
        inside = (wavelength > low) & (wavelength < high)
        assert inside.sum() > 5
        return molecules[inside].mean()

    assert mean(760.0, 762.0) < 0.5  # O2 A, vacuum
    assert mean(1350.0, 1400.0) < 0.4
    assert mean(1050.0, 1060.0) > 0.98
    assert np.all((molecules >= 0) & (molecules <= 1.0001))
