"""soxs_stare from raw frames: with nothing but a raw frame, and with what is wrong said in one line."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files import read_merged_spectrum, read_order_spectra, read_table
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.inputs import gather_inputs
from soxs_recipes.recipes.stare import Stare
from soxs_recipes.recipes.steps.object_products import mid_times_told
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.truth import TableTruth


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A raw exposure and its truth; the optics stand where the spectral format says."""
    folder = tmp_path_factory.mktemp("raw")
    data, header, truth = simulate_frame(
        "science", "VIS", seed=3, exposure_time=600.0, effects=Effects(cosmic_rays=0)
    )
    path = folder / "SOXS.2026-03-02T01:00:00.000.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    return path, truth


@pytest.fixture(scope="module")
def bare(raw, tmp_path_factory):
    """The recipe's run without any calibration but those that the pipeline carries."""
    return run_recipe(Stare, [str(raw[0])], {}, str(tmp_path_factory.mktemp("out")))


def _product(run, tag):
    (path,) = [product.path for product in run.products if product.tag == f"{tag}_VIS"]
    return path


def test_science_is_extracted_even_without_calibrations_and_says_what_is_missing(bare, raw):
    assert bare.status == "PARTIAL"
    reasons = " | ".join(bare.reasons)
    for word in ("MASTER_BIAS", "MASTER_FLAT", "ORDER_TAB_EDGES", "dispersion", "RESP_TAB"):
        assert word in reasons
    spectra = read_order_spectra(_product(bare, "SCI_SLIT_ORDER1D"))
    assert [spectrum.order for spectrum in spectra] == [1, 2, 3, 4]
    truth = TableTruth(raw[1].tables)
    for spectrum in spectra:
        edges = np.append(spectrum.wavelength - 0.5 * spectrum.bin_width, spectrum.wavelength[-1])
        light = np.nan_to_num(truth.truth_counts(spectrum.order, edges, which="object"))
        kept = np.isfinite(spectrum.variance) & (light > 0.3 * light.max())
        # No flat and a shifted format: a few per cent, but the same object.
        assert kept.sum() > 1000
        assert np.median((spectrum.flux / np.maximum(light, 1e-9))[kept]) == pytest.approx(1.0, abs=0.06)


def test_products_are_whole(bare):
    tags = {product.tag for product in bare.products}
    wanted = ("ORDER1D", "MERGE1D", "SKYSUB", "SKYMODEL", "SKY1D", "TRACE")
    assert tags == {f"SCI_SLIT_{name}_VIS" for name in wanted}
    merged = read_merged_spectrum(_product(bare, "SCI_SLIT_MERGE1D"))
    assert merged.flux_unit == "electron / nm"
    assert np.isfinite(merged.flux[np.isfinite(merged.variance)]).all()
    sources = read_table(_product(bare, "SCI_SLIT_TRACE"), "SOURCES")
    assert np.count_nonzero(sources["TARGET"]) == 1
    header = fits.getheader(_product(bare, "SCI_SLIT_MERGE1D"))
    assert header["SPECSYS"] == "TOPOCENT"
    assert header["ESO QC SNR MEDIAN"] > 1
    assert header["ESO QC ORD1 SNR MEDIAN"] > 1
    assert header["ESO QC N ORDERS"] == 4
    assert header["ESO QC STATUS"] == "PARTIAL"
    errors = [header[f"ESO QC ORD{order} PROFILE ERR"] for order in (1, 2, 3, 4)]
    assert 0.01 < header["ESO QC PROFILE ERR"] < min(*errors, 1.0)


def test_a_position_can_be_forced(raw, tmp_path):
    parameters = {"target-position": -3.0, "force-position": True, "force-fwhm": 0.8, "use-lacosmic": False}
    run = run_recipe(Stare, [str(raw[0])], parameters, str(tmp_path))
    trace = read_table(_product(run, "SCI_SLIT_TRACE"), "TRACE")
    assert np.allclose(trace["SLIT_POSITION"], -3.0)
    spectra = read_order_spectra(_product(run, "SCI_SLIT_ORDER1D"))
    pulls = np.concatenate([(s.flux / np.sqrt(s.variance))[np.isfinite(s.variance)][50:-50] for s in spectra])
    assert pulls.size > 8000
    assert abs(np.median(pulls)) < 0.3


@pytest.mark.parametrize("value", [0, 65535])
def test_a_frame_without_content_is_named(raw, tmp_path, value):
    path = tmp_path / "SOXS.2026-03-02T02:00:00.000.fits"
    with fits.open(raw[0]) as hdus:
        fits.PrimaryHDU(np.full_like(hdus[0].data, value), hdus[0].header).writeto(path)
    run = run_recipe(Stare, [str(path)], {}, str(tmp_path / "out"))
    assert run.status == "FAILED"
    assert path.stem in run.message
    assert not list((tmp_path / "out").glob("*.fits"))


def test_a_bad_frame_among_good_ones_is_left_out(raw, tmp_path):
    path = tmp_path / "SOXS.2026-03-02T02:00:00.000.fits"
    with fits.open(raw[0]) as hdus:
        fits.PrimaryHDU(np.zeros_like(hdus[0].data), hdus[0].header).writeto(path)
    run = run_recipe(Stare, [str(raw[0]), str(path)], {"use-lacosmic": False}, str(tmp_path / "out"))
    assert run.status == "PARTIAL"
    assert any("left out" in reason and path.stem in reason for reason in run.reasons)


def test_mid_times_are_told_and_compared_with_the_other_arm(bare, raw, tmp_path):
    header = fits.getheader(_product(bare, "SCI_SLIT_MERGE1D"))
    start = header["MJD-OBS"]
    assert header["ESO QC MJD MID"] == pytest.approx(start + 300.0 / 86400.0, abs=1e-8)
    assert "ESO QC SYNC DIFF" not in header
    other = tmp_path / "other.fits"
    infrared = fits.Header({"INSTRUME": "SOXS", "EXPTIME": 540.0, "MJD-OBS": start})
    fits.PrimaryHDU(np.zeros((2, 2), np.uint16), infrared).writeto(other)
    parameters = {"force-position": True, "use-lacosmic": False, "refine-sky": False}
    parameters["synchronised-with"] = f"{start + 0.1},{other}"
    run = run_recipe(Stare, [str(raw[0])], parameters, str(tmp_path / "out"))
    for tag in ("SCI_SLIT_MERGE1D", "SCI_SLIT_SKYSUB"):
        assert fits.getheader(_product(run, tag))["ESO QC SYNC DIFF"] == pytest.approx(30.0, abs=1e-3)


def test_what_the_other_arm_does_not_tell_is_said_before_anything_is_done(raw, tmp_path):
    timeless = tmp_path / "timeless.fits"
    fits.PrimaryHDU(np.zeros((2, 2), np.uint16), fits.Header({"INSTRUME": "SOXS"})).writeto(timeless)
    inputs = gather_inputs(Stare.declaration, [(str(raw[0]), "")])
    assert mid_times_told(inputs, f"{timeless}, 61101.5") == [61101.5]
    assert any("timeless.fits" in reason for reason in inputs.partial_reasons)
    with pytest.raises(InputError, match="missing"):
        mid_times_told(inputs, str(tmp_path / "missing.fits"))
    run = run_recipe(Stare, [str(raw[0])], {"synchronised-with": "missing.fits", "use-arcs": False}, str(tmp_path))
    assert run.error_class == "InputError"
    assert not run.notes  # the exposure was not touched


def test_a_star_that_saturates_is_said(tmp_path):
    star = supernova(9.0, slit_position=0.3)
    data, header, _ = simulate_frame("science", "VIS", seed=3, exposure_time=600.0, binning=(2, 2), source=star)
    path = tmp_path / "SOXS.2026-03-02T03:00:00.000.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    run = run_recipe(Stare, [str(path)], {"use-lacosmic": False}, str(tmp_path / "out"))
    (said,) = [reason for reason in run.reasons if "no measurement" in reason]
    assert "pixels are saturated" in said
    assert all(f" {order} (" in said for order in (1, 3, 4))
