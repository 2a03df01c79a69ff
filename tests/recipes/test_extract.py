"""soxs_extract from 2-D products: the same spectrum as from the raw frame, and what a person may ask for."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.fits_files import (
    read_merged_spectrum,
    read_order_spectra,
    read_table,
    response_hdus,
    write_product,
)
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.extract import Extract
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.inputs import gather_inputs
from soxs_recipes.recipes.framework.product_plots import for_products
from soxs_recipes.recipes.framework.trace_tables import read_profiles, read_slit_light
from soxs_recipes.recipes.stare import Stare
from soxs_recipes.recipes.steps.spectroscopy import find_geometry
from soxs_recipes.recipes.steps.two_dimensional import geometry_as_stated, product_exposures
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


def _both(run):
    """The two 2-D products that an extraction starts from."""
    return [str(product(run, tag)) for tag in ("SCI_SLIT_SKYSUB", "SCI_SLIT_SKYMODEL")]


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
    inputs = _both(stare)
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


def test_a_sum_is_over_all_its_time_and_a_useless_product_is_left_out(stare, tmp_path):
    summed, dead = [], []
    for path in _both(stare):
        with fits.open(path) as hdus:
            hdus["ERRS"].header["EXPTIME"] = 1800.0
            summed.append(str(tmp_path / f"sum_{len(summed)}.fits"))
            hdus.writeto(summed[-1], checksum=True)
            hdus[0].header["DATE-OBS"] = "2026-03-02T05:00:00.000"
            hdus["QUAL"].data[:] = QualityFlag.NO_DATA
            dead.append(str(tmp_path / f"dead_{len(dead)}.fits"))
            hdus.writeto(dead[-1], checksum=True)
    run = run_recipe(Extract, [*summed, *dead], {"at": "0.0", "use-lacosmic": False}, str(tmp_path / "out"))
    assert run.status == "PARTIAL", run.message
    assert any("left out: dead_0" in reason for reason in run.reasons)
    header = fits.getheader(product(run, "SCI_SLIT_ORDER1D"))
    assert (header["TEXPTIME"], header["EXPTIME"]) == (1800.0, 1800.0)
    nothing = run_recipe(Extract, [*dead], {"at": "0.0"}, str(tmp_path / "nothing"))
    assert nothing.status == "FAILED"


def test_flux_is_counts_over_the_time_of_the_exposure(stare, tmp_path):
    orders = load_instrument().arm("VIS").orders
    wavelength = np.concatenate([np.linspace(o.wavelength_min_full, o.wavelength_max_full, 50) for o in orders])
    number = np.repeat([order.number for order in orders], 50).astype(np.int16)
    ones = np.ones(wavelength.size)
    curve = Response(number, wavelength, 1e-17 * ones, 1e-19 * ones, ones, np.zeros(wavelength.size, np.int32))
    cards = fits.Header({"INSTRUME": "SOXS"})
    cards["HIERARCH ESO PRO CATG"] = "RESP_TAB_VIS"
    response = write_product(tmp_path / "response.fits", response_hdus(curve), cards)
    run = run_recipe(Extract, [*_both(stare), str(response)], {}, str(tmp_path / "out"))
    counts, flux = (read_order_spectra(product(run, f"SCI_SLIT_{name}")) for name in ("ORDER1D", "FLUX_ORDER1D"))
    assert len(flux) == 4
    for one, other in zip(counts, flux, strict=True):
        known = np.isfinite(other.variance) & (one.flux > 50.0)
        assert known.sum() > 300
        rate = one.flux[known] / (600.0 * one.bin_width[known])
        given_back = other.flux[known] / (1e-17 * rate)  # what the atmosphere took
        assert given_back.min() > 1.0
        assert given_back.max() < 4.0


def test_cosmic_rays_found_earlier_are_known_on_request(stare):
    inputs = gather_inputs(Extract.declaration, [(path, "") for path in _both(stare)])
    (again,), (known,) = (
        list(product_exposures(inputs, inputs.all_raw, keep_hits=keep)) for keep in (False, True)
    )
    flag = np.int32(QualityFlag.COSMIC_RAY)
    assert not (again.frame.quality & flag).any()
    assert ((known.frame.quality & flag) != 0).sum() > 100
    assert np.array_equal(again.frame.data, known.frame.data)
    # What is known before the fit holds no photons.
    assert np.percentile(again.base_variance, 99) < 0.5 * np.percentile(again.frame.variance, 99)


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


def test_two_places_give_two_spectra_and_limits(stare, tmp_path):
    """One place is the source's own, the other empty."""
    inputs = _both(stare)
    place = fits.getheader(product(stare, "SCI_SLIT_MERGE1D"))["ESO QC SLIT POSITION"]
    run = run_recipe(
        Extract, inputs, {"at": f"{place:.3f},-4.0", "limit-width": 40.0, "follow-trace": True}, str(tmp_path)
    )
    assert run.status == "PARTIAL"
    named = {path.name.split("_VIS_")[1]: path for path in run.paths}
    assert len(named) == 8
    (first,), (second,) = (
        [p for n, p in named.items() if "SLIT_MERGE1D" in n and n.endswith(f"{k}.fits")] for k in ("S1", "S2")
    )
    there = read_merged_spectrum(product(stare, "SCI_SLIT_MERGE1D"))
    again, empty = read_merged_spectrum(first), read_merged_spectrum(second)
    good = np.isfinite(there.variance) & np.isfinite(again.variance)
    assert good.sum() > 5000
    assert np.median((again.flux / there.flux)[good & (there.flux > 0)]) == pytest.approx(1.0, abs=0.01)
    assert abs(np.median((empty.flux / np.sqrt(empty.variance))[np.isfinite(empty.variance)])) < 0.3
    limits = [read_table(named[f"SCI_SLIT_TRACE_S{k}.fits"], "LIMITS") for k in (1, 2)]
    assert all(table["ORDER"].size > 8 for table in limits)
    assert np.median(limits[0]["SIGNIFICANCE"]) > 20
    assert np.abs(limits[1]["COUNTS"]).max() < 0.08 * np.median(limits[0]["COUNTS"])
    assert np.all(limits[1]["COUNTS_LIMIT"] >= 3.0 * limits[1]["COUNTS_ERR"] - 1e-9)
    assert np.isnan(limits[1]["AB_LIMIT"]).all()  # no response was given
    sources = read_table(named["SCI_SLIT_TRACE_S2.fits"], "SOURCES")
    assert sources["SLIT_POSITION"][sources["TARGET"]] == pytest.approx([-4.0])
    header = fits.getheader(named["SCI_SLIT_TRACE_S2.fits"])
    assert "ESO QC ORD1 LIMIT COUNTS" in header
    assert abs(header["ESO QC ORD1 SIGNIFICANCE"]) < 15


def test_profiles_and_light_along_the_slit_come_back(stare):
    trace = product(stare, "SCI_SLIT_TRACE")
    profiles = read_profiles(trace)
    assert sorted(profiles) == [1, 2, 3, 4]
    spectra = {item.order: item for item in read_order_spectra(product(stare, "SCI_SLIT_ORDER1D"))}
    for order, profile in profiles.items():
        bins = np.arange(profile.bins, dtype=float)
        assert profile.bins == spectra[order].wavelength.size
        np.testing.assert_allclose(profile.centre_at(bins), spectra[order].trace, atol=1e-6)
        assert profile.correction.shape[1] == 2
    light = read_slit_light(trace)
    assert [item.order for item in light] == [0, 1, 2, 3, 4]
    known = np.isfinite(light[0].light)
    assert known.sum() > 40
    pulls = ((light[0].light - light[0].sources[0]) / light[0].error)[known]
    assert np.median(np.abs(pulls)) < 3
    figures = for_products([trace], trace.parent / "plots")
    assert [path.suffix for path in figures] == [".png"]


def test_an_aperture_holds_the_light_of_the_source(stare, tmp_path):
    inputs = _both(stare)
    run = run_recipe(Extract, inputs, {"aperture": "-3,3", "background": "-5.5,-3.4,3.4,5.5"}, str(tmp_path))
    assert run.status == "PARTIAL"
    ours, theirs = (read_merged_spectrum(product(one, "SCI_SLIT_MERGE1D")) for one in (run, stare))
    common = np.isin(ours.wavelength.round(4), theirs.wavelength.round(4))
    flux, variance = ours.flux[common], ours.variance[common]
    kept = np.isin(theirs.wavelength.round(4), ours.wavelength.round(4))
    good = np.isfinite(variance) & np.isfinite(theirs.variance[kept])
    assert good.sum() > 5000
    weight = 1.0 / variance[good]
    ratio = (weight * flux[good]).sum() / (weight * theirs.flux[kept][good]).sum()
    assert ratio == pytest.approx(1.0, abs=0.02)
    assert variance[good].sum() > theirs.variance[kept][good].sum()


@pytest.mark.parametrize(
    ("masked", "flag", "left"),
    [
        (0, QualityFlag.NO_DATA, [2, 3, 4]),
        (1, QualityFlag.NO_DATA, [2, 3, 4]),
        (0, QualityFlag.OUTLIER, [1, 2, 3, 4]),
    ],
)
def test_an_order_without_sky_beside_an_aperture_is_named(stare, tmp_path, masked, flag, left):
    """In the first order all but the source is masked, in either file; outliers are found again."""
    frame, *_ = paths = _both(stare)
    inputs = gather_inputs(Extract.declaration, [(frame, "")])
    header = fits.getheader(frame)
    applied = tuple(header[f"ESO QC {name} APPLIED"] for name in ("ZP", "EDGE"))
    moved, shift = geometry_as_stated(inputs, find_geometry(inputs, (1, 1)), frame, applied)
    maps = moved.maps(inputs, (header["NAXIS2"], header["NAXIS1"]), shift)
    useless = (maps.order == 1) & (np.abs(maps.slit) > 2.7)
    assert useless.sum() > 10_000
    with fits.open(paths[masked]) as hdus:
        hdus["QUAL"].data[useless] |= flag
        paths[masked] = str(tmp_path / "part.fits")
        hdus.writeto(paths[masked], checksum=True)
    run = run_recipe(Extract, paths, {"aperture": "-3,3"}, str(tmp_path / "out"))
    assert run.status == "PARTIAL", run.message
    assert any("orders without a spectrum: 1" in reason for reason in run.reasons) == (1 not in left)
    assert [item.order for item in read_order_spectra(product(run, "SCI_SLIT_ORDER1D"))] == left


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"at": "one"}, "numbers with commas"),
        ({"at": "1,20"}, "off the slit"),
        ({"aperture": "1,2,3"}, "pairs"),
        ({"background": "2,1"}, "pairs"),
        ({"aperture": "-1,1", "at": "0"}, "either"),
        ({"profile": "standard"}, "SLIT_TRACE"),
    ],
)
def test_wishes_that_cannot_be_are_told(stare, tmp_path, parameters, told):
    run = run_recipe(Extract, [str(product(stare, "SCI_SLIT_SKYSUB"))], parameters, str(tmp_path))
    assert run.status == "FAILED"
    assert run.error_class == "InputError"
    assert told in run.message
