"""soxs_extract from 2-D products: the same spectrum as from the raw frame, and what a person may ask for."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.fits_files import read_order_spectra
from soxs_recipes.recipes.base import run_recipe
from soxs_recipes.recipes.extract import Extract
from soxs_recipes.recipes.stare import Stare
from soxs_recipes.simulator import simulate_frame


@pytest.fixture(scope="module")
def stare(tmp_path_factory):
    """What soxs_stare makes of a raw exposure with cosmic rays."""
    folder = tmp_path_factory.mktemp("raw")
    data, header, _ = simulate_frame("science", "VIS", seed=3, exposure_time=600.0)
    path = folder / "SOXS.2026-03-02T01:00:00.000.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    run = run_recipe(Stare, [str(path)], {}, str(tmp_path_factory.mktemp("stare")))
    assert run.status == "PARTIAL"
    return run


def product(run, tag):
    (path,) = [item.path for item in run.products if item.tag == f"{tag}_VIS"]
    return path


def largest_difference(ours, theirs):
    """Largest difference of two sets of spectra in sigma; masks must be equal."""
    assert [item.order for item in ours] == [item.order for item in theirs]
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        known = np.isfinite(one.variance)
        assert np.array_equal(known, np.isfinite(other.variance))
        assert known.sum() > 1000
        assert np.array_equal(one.quality, other.quality)
        sigma = np.sqrt(one.variance[known])
        worst = max(worst, float(np.abs((one.flux - other.flux)[known] / sigma).max()))
        worst = max(worst, float(np.abs(np.sqrt(other.variance[known]) / sigma - 1.0).max()))
    return worst


def test_the_products_of_stare_give_the_same_spectrum(stare, tmp_path):
    inputs = [str(product(stare, tag)) for tag in ("SCI_SLIT_SKYSUB", "SCI_SLIT_SKYMODEL")]
    again = run_recipe(Extract, inputs, {}, str(tmp_path))
    assert again.status == "PARTIAL"
    assert {item.tag for item in again.products} == {
        item.tag for item in stare.products if "SKYSUB" not in item.tag and "SKYMODEL" not in item.tag
    }
    spectra = [read_order_spectra(product(run, "SCI_SLIT_ORDER1D")) for run in (again, stare)]
    assert largest_difference(*spectra) < 1e-4
    ours, theirs = (fits.getheader(product(run, "SCI_SLIT_MERGE1D")) for run in (again, stare))
    for keyword in ("EXPTIME", "MJD-OBS", "MJD-END", "TEXPTIME", "ESO QC SNR MEDIAN", "ESO QC ZP APPLIED"):
        assert ours[keyword] == pytest.approx(theirs[keyword], rel=1e-6)


def test_without_its_sky_model_an_exposure_is_extracted_and_marked(stare, tmp_path):
    run = run_recipe(Extract, [str(product(stare, "SCI_SLIT_SKYSUB"))], {"refine-sky": False}, str(tmp_path))
    assert run.status == "PARTIAL"
    assert any("no SKYMODEL" in reason for reason in run.reasons)
    ours, theirs = (read_order_spectra(product(one, "SCI_SLIT_ORDER1D")) for one in (run, stare))
    for one, other in zip(ours, theirs, strict=True):
        known = np.isfinite(one.variance) & np.isfinite(other.variance)
        assert known.sum() > 1000
        pulls = (one.flux - other.flux)[known] / np.sqrt(other.variance[known])
        assert abs(np.median(pulls)) < 0.2


def test_a_model_of_other_pixels_is_refused(stare, tmp_path):
    model = tmp_path / "model.fits"
    with fits.open(product(stare, "SCI_SLIT_SKYMODEL")) as hdus:
        cut = fits.HDUList([hdus[0].copy(), *(hdu.copy() for hdu in hdus[1:])])
        for hdu in cut:
            hdu.data = hdu.data[:100]
        cut.writeto(model, checksum=True)
    run = run_recipe(Extract, [str(product(stare, "SCI_SLIT_SKYSUB")), str(model)], {}, str(tmp_path / "out"))
    assert run.status == "FAILED"
    assert run.error_class == "InputError"
    assert "model.fits" in run.message
