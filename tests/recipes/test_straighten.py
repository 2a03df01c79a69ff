"""soxs_straighten from products: what it makes of exposures and flats, and that the stated shift is used."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import median_filter

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.response import Response
from soxs_recipes.fits_files import image_hdus, read_rectified_images, response_hdus, write_product
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.straighten import Straighten, _flat_fielded
from soxs_recipes.simulator import Effects, simulate_frame

ARM = load_instrument().arm("VIS")


@pytest.fixture(scope="module")
def light():
    """Expected light of a science exposure and its header; the optics stand where the spectral format says."""
    _, header, truth = simulate_frame("science", "VIS", seed=3, exposure_time=600.0, effects=Effects.none())
    return truth.electrons.astype(np.float32), header


def product(folder, name, tag, data, header, *, level=1.0, **cards):
    """A 2-D product as soxs_stare writes it."""
    meta = FrameMeta(name=name, exposure_time=600.0, mjd_start=61101.0, airmass=1.2)
    quality = np.zeros(data.shape, np.int32)
    frame = Frame(data, np.full(data.shape, level, np.float32) + np.maximum(data, 0), quality, meta)
    primary = fits.Header()
    for key in ("INSTRUME", "DATE-OBS", "OBJECT", "ESO SEQ ARM", "ESO INS VISE NAME"):
        primary[f"HIERARCH {key}" if key.startswith("ESO") else key] = header[key]
    primary["MJD-OBS"], primary["EXPTIME"] = 61101.0, 600.0
    primary["HIERARCH ESO TEL AIRM START"] = 1.2
    primary["HIERARCH ESO PRO CATG"] = tag
    for key, value in cards.items():
        primary["HIERARCH ESO QC " + key.replace("_", " ")] = value
    return write_product(folder / name, image_hdus(frame), primary)


def response(folder):
    wavelength = np.concatenate(
        [np.linspace(o.wavelength_min_full, o.wavelength_max_full, 50) for o in ARM.orders]
    )
    number = np.repeat([order.number for order in ARM.orders], 50).astype(np.int16)
    ones = np.ones(wavelength.size)
    curve = Response(number, wavelength, 1e-17 * ones, 1e-19 * ones, ones, np.zeros(wavelength.size, np.int32))
    cards = fits.Header({"INSTRUME": "SOXS"})
    cards["HIERARCH ESO PRO CATG"] = "RESP_TAB_VIS"
    return write_product(folder / "response.fits", response_hdus(curve), cards)


@pytest.fixture(scope="module")
def run(light, tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    data, header = light
    sky = np.full(data.shape, 20.0, np.float32)
    sky[:100] = 0.0
    flat = np.full(data.shape, 0.8, np.float32)
    paths = [
        product(folder, "a.fits", "SCI_SLIT_SKYSUB_VIS", data, header),
        product(folder, "b.fits", "SCI_SLIT_SKYMODEL_VIS", sky, header),
        product(folder, "c.fits", "MASTER_FLAT_VIS", flat, header, level=1e-6),
        response(folder),
    ]
    return run_recipe(Straighten, [str(path) for path in paths], {}, str(tmp_path_factory.mktemp("out")))


def images(result, tag):
    (path,) = [item.path for item in result.products if item.tag == tag]
    return read_rectified_images(path)


def test_products_of_an_exposure(run, light):
    assert run.error is None, run.message
    tags = {item.tag for item in run.products}
    assert tags == {"SCI_SLIT_ORDER2D_VIS", "SCI_SLIT_MERGE2D_VIS", "SCI_SLIT_FLUX_MERGE2D_VIS"}
    orders = images(run, "SCI_SLIT_ORDER2D_VIS")
    assert [order.order for order in orders] == [1, 2, 3, 4]
    merged, flux = images(run, "SCI_SLIT_MERGE2D_VIS")[0], images(run, "SCI_SLIT_FLUX_MERGE2D_VIS")[0]
    assert merged.wavelength[0] < 360 < 840 < merged.wavelength[-1]
    assert (merged.unit, flux.unit) == ("electron / nm", "erg / (s cm2 Angstrom)")
    # Divided by the flat, and the sky with it.
    total = sum(order.flux.sum(dtype=float) for order in orders)
    assert total == pytest.approx(light[0].sum(dtype=float) / 0.8, rel=0.1)
    sky = orders[0].sky[orders[0].coverage > 0.999]
    assert np.median(sky[sky > 0]) == pytest.approx(20.0 / 0.8 * 0.75, rel=0.15)
    # Where no sky was subtracted nothing is told.
    assert not np.isfinite(orders[0].variance[orders[0].sky == 0]).any()
    both = merged.known & flux.known & (merged.flux > 100)
    ratio = flux.flux[both] / merged.flux[both] / 1e-17 * 600.0
    assert 1.0 < np.median(ratio) < 1.5


def test_header_states_axes_and_noise(run):
    (path,) = [item.path for item in run.products if item.tag == "SCI_SLIT_MERGE2D_VIS"]
    header = fits.getheader(path)
    assert (header["CTYPE1"], header["CUNIT1"], header["CTYPE2"]) == ("WAVE", "nm", "LINEAR")
    assert header["CDELT1"] == ARM.wavelength_step
    assert 1.2 < header["NOISEFAC"] < 2.0
    assert header["ESO QC N ORDERS"] == 4
    assert header["ESO QC STATUS"] == "PARTIAL"  # by the spectral format, and without edges


def test_the_shift_of_the_exposure_is_used(light, tmp_path):
    data, header = light
    results = []
    # Four rows up the detector, and told so; then not told.
    for name, moved, shift in (
        ("a", data, 0.0),
        ("b", np.roll(data, 4, axis=0), 4.0),
        ("c", np.roll(data, 4, 0), 0.0),
    ):
        path = product(tmp_path, f"{name}.fits", "SCI_SLIT_SKYSUB_VIS", moved, header, ZP_APPLIED=shift)
        result = run_recipe(Straighten, [str(path)], {}, str(tmp_path / name))
        assert result.error is None, result.message
        results.append(images(result, "SCI_SLIT_MERGE2D_VIS")[0])
        assert result.qc["ESO QC ZP APPLIED"] == shift
    still, followed, lost = (
        image.flux[10:-10, (image.wavelength > 360.0) & (image.wavelength < 840.0)] for image in results
    )
    assert still.size > 100_000
    # The frame's first rows came round from its last; they reach the ends of orders only.
    same = np.abs(followed - still) < 1e-3 * np.maximum(still, 1.0)
    assert same.mean() > 0.99
    bright = still > np.percentile(still, 90)
    assert np.median((np.abs(lost - still) / still)[bright]) > 3 * np.median(
        (np.abs(followed - still) / still)[bright]
    )


def test_each_order_of_a_poor_solution_is_moved_as_it_was(light, tmp_path):
    data, header = light
    cards = {"ZP_APPLIED": 2.0, "ORD1_ZP_SHIFT": 40.0, "ORD1_ZP_ERR": 0.01, "ORD1_ZP_N_LINES": 9}
    path = product(tmp_path, "a.fits", "SCI_SLIT_SKYSUB_VIS", data, header, **cards)
    result = run_recipe(Straighten, [str(path)], {}, str(tmp_path / "out"))
    own = product(tmp_path, "b.fits", "SCI_SLIT_SKYSUB_VIS", np.roll(data, -38, axis=0), header, ZP_APPLIED=2.0)
    rolled = run_recipe(Straighten, [str(own)], {}, str(tmp_path / "rolled"))
    first, second = (images(run, "SCI_SLIT_ORDER2D_VIS")[0] for run in (result, rolled))
    middle = [image.flux[10:-10, (image.wavelength > 560) & (image.wavelength < 640)] for image in (first, second)]
    assert middle[0].size > 40_000
    np.testing.assert_allclose(*middle, rtol=2e-3, atol=0.5)


def test_a_flat_alone_is_laid_straight(light, tmp_path):
    data, header = light
    path = product(tmp_path, "c.fits", "MASTER_FLAT_VIS", np.full(data.shape, 0.9, np.float32), header, level=1e-4)
    result = run_recipe(Straighten, [str(path)], {"slit-step": 0.5}, str(tmp_path / "out"))
    assert {item.tag for item in result.products} == {"FLAT_SLIT_ORDER2D_VIS", "FLAT_SLIT_MERGE2D_VIS"}
    merged = images(result, "FLAT_SLIT_MERGE2D_VIS")[0]
    assert merged.slit_step == 0.5
    assert merged.known.sum() > 100_000
    np.testing.assert_allclose(merged.flux[merged.known], 0.9, rtol=1e-4)


def test_a_raw_flat_shows_what_flat_fielding_leaves(tmp_path):
    data, header, truth = simulate_frame("slit_flat", "VIS", seed=3, effects=Effects(cosmic_rays=0))
    raw = tmp_path / "SOXS.2026-03-01T18:00:00.000.fits"
    fits.PrimaryHDU(data, header).writeto(raw)
    response = np.where(truth.detector.dead, 1.0, truth.detector.response).astype(np.float32)
    flat = product(tmp_path, "c.fits", "MASTER_FLAT_VIS", response, header, level=1e-6)
    # A column of dirt that only the lamp saw.
    with fits.open(raw, mode="update") as hdus:
        level = np.median(hdus[0].data[:, :50])
        hdus[0].data[2000] = level + 0.9 * (hdus[0].data[2000] - level)
    result = run_recipe(Straighten, [str(raw), str(flat)], {}, str(tmp_path / "out"))
    assert {item.tag for item in result.products} == {"FLAT_SLIT_ORDER2D_VIS", "FLAT_SLIT_MERGE2D_VIS"}
    image = images(result, "FLAT_SLIT_ORDER2D_VIS")[0]
    spectrum = np.median(image.flux[15:-15], axis=0)  # a few bins stand on dead pixels
    smooth = median_filter(spectrum, 61)
    inner = slice(400, -400)
    ratio = spectrum[inner] / smooth[inner]
    assert ratio.min() < 0.96
    dip = np.flatnonzero(ratio < 0.98)
    assert 1 <= dip.size < 20
    assert np.ptp(dip) < 20
    assert np.median(np.abs(ratio - 1.0)) < 0.004


def test_the_error_of_the_flat_does_not_count_twice(light, tmp_path):
    data, header = light
    path = product(tmp_path, "c.fits", "MASTER_FLAT_VIS", np.full(data.shape, 0.8, np.float32), header, level=0.1)
    frame = Frame(data, data + 25.0, np.zeros(data.shape, np.int32), FrameMeta(name="a", exposure_time=600.0))
    divided, sky = _flat_fielded(None, frame, 20.0 + 0.0 * data, path)
    np.testing.assert_allclose(divided.data, data / 0.8, rtol=1e-5)
    np.testing.assert_allclose(divided.variance, (data + 25.0) / 0.64, rtol=1e-5)
    np.testing.assert_allclose(sky, 25.0, rtol=1e-5)


def test_nothing_to_lay_straight_is_an_input_error(tmp_path):
    result = run_recipe(Straighten, [str(response(tmp_path))], {}, str(tmp_path / "out"))
    assert result.status == "FAILED"
    assert "SKYSUB" in result.message
