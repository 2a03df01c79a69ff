"""soxs_response on an extracted standard that was made from the catalogue, and on what users get wrong."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter1d

from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.fits_files import (
    order_spectra_hdus,
    read_response,
    read_response_archive,
    read_table,
    write_product,
)
from soxs_recipes.instrument import load_instrument, static_calibration_path
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.recipes.response import ResponseRecipe

EFFICIENCY = 0.15
SECONDS, AIRMASS = 120.0, 1.25
H_C = 1.98644586e-9  # erg nm


def blaze(order, wavelength):
    low, high = order.wavelength_min_full, order.wavelength_max_full
    return np.sinc((wavelength - 0.5 * (low + high)) / (0.75 * (high - low))) ** 2 + 0.01


def extracted_standard(arm, area, star="LTT3218", bins=700, seed=1):
    """Orders of a standard with noise; truth: EFFICIENCY times the blaze."""
    rng = np.random.default_rng(seed)
    table = read_table(static_calibration_path("FLUX_STD_CATALOG"), star)
    air = read_table(static_calibration_path("EXTCOEFF_TABLE"), 1)
    sky = read_table(static_calibration_path("TELLURIC_TRANSMISSION"), 1)
    fine = np.exp(np.arange(np.log(340.0), np.log(2060.0), 1.5e-5))
    flux = np.interp(fine / (1 + 50.0 / 299792.458), table["WAVELENGTH"], table["FLUX"])
    flux = flux * 10 ** (-0.4 * AIRMASS * np.interp(fine, air["WAVELENGTH"], air["EXTINCTION"]))
    flux = flux * np.interp(fine, sky["WAVELENGTH"], sky["MOLECULES"]) ** (1.5 * AIRMASS)
    flux = gaussian_filter1d(flux, 1 / 2.3548 / 4700.0 / 1.5e-5)
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (flux[1:] + flux[:-1]) * np.diff(fine))])
    orders = []
    for order in arm.orders:
        edges = np.linspace(order.wavelength_min_full, order.wavelength_max_full, bins + 1)
        centre, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        sensitivity = EFFICIENCY * blaze(order, centre) * area * 10.0 / (H_C / centre)
        counts = np.diff(np.interp(edges, fine, integral)) * sensitivity * SECONDS
        variance = counts + 400.0
        counts = counts + rng.normal(size=bins) * np.sqrt(variance)
        zero = np.zeros(bins)
        orders.append(
            OrderSpectrum(
                order.number,
                order.band,
                centre,
                width,
                counts,
                variance,
                counts,
                variance,
                zero,
                zero + 400.0,
                np.zeros(bins, np.int32),
                zero,
            )
        )
    return orders


def write_standard(folder, arm, orders, name="std.fits", **changes):
    values = {
        "INSTRUME": "SOXS",
        "OBJECT": "STD,FLUX",
        "RA": 130.385125 - 26.0 * 1055.0 / 3.6e6 / 0.8392,
        "DEC": -32.942472 + 26.0 * 1350.0 / 3.6e6,
        "MJD-OBS": 61041.0,
        "DATE-OBS": "2026-01-01T00:00:00.000",
        "EXPTIME": SECONDS,
        "ESO SEQ ARM": arm.name,
        "ESO PRO CATG": f"FLUX_SLIT_ORDER1D_{arm.name}",
        "ESO INS VISE NAME": "SLIT5.0",
        "ESO INS NISE NAME": "SLIT5.0",
        "ESO TEL AIRM START": AIRMASS - 0.02,
        "ESO TEL AIRM END": AIRMASS + 0.02,
        "ESO OBS TARG NAME": "",
    }
    header = fits.Header()
    for key, value in {**values, **{key.replace("__", " "): value for key, value in changes.items()}}.items():
        if value is not None:
            header[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
    return write_product(folder / name, order_spectra_hdus(orders), header)


@pytest.fixture(scope="module", params=["VIS", "NIR"])
def arm(request):
    return load_instrument().arm(request.param)


@pytest.fixture(scope="module")
def standard(arm):
    return extracted_standard(arm, load_instrument().telescope_area)


@pytest.fixture(scope="module")
def result(arm, standard, tmp_path_factory):
    folder = tmp_path_factory.mktemp("response")
    path = write_standard(folder, arm, standard)
    return run_recipe(ResponseRecipe, [path], {}, folder / "out")


def test_efficiency_and_response_are_recovered(arm, result):
    assert result.status == "COMPLETE", (result.message, result.reasons)
    assert [product.tag for product in result.products] == [
        f"{kind}_{arm.name}" for kind in ("RESP_TAB", "EFFICIENCY_TAB", "RESP_ARCHIVE")
    ]
    response = read_response(result.paths[0])
    errors = []
    for order in arm.orders:
        useful = (response.wavelength > order.wavelength_min) & (response.wavelength < order.wavelength_max)
        own = (response.order == order.number) & useful & (response.quality == 0)
        truth = EFFICIENCY * blaze(order, response.wavelength[own])
        bins = (response.wavelength[own] // 10.0).astype(int)
        error = response.efficiency[own] / truth - 1.0
        errors += [error[bins == number].mean() for number in np.unique(bins)]
    assert len(errors) > 50
    assert np.sqrt(np.mean(np.square(errors))) < 0.01
    assert np.abs(errors).max() < 0.03


def test_quality_control_stands_in_the_header(arm, result):
    header = fits.getheader(result.paths[0])
    assert header["ESO PRO CATG"] == f"RESP_TAB_{arm.name}"
    assert header["ESO QC STD NAME"] == "LTT 3218"
    assert 0.3 * EFFICIENCY < header["ESO QC EFF MEDIAN"] < EFFICIENCY
    assert header["ESO QC N ORDERS"] == len(arm.orders)
    assert header["ESO QC STAR SEPARATION"] < 1.0
    assert header["ESO QC RESP RES"] < 0.03
    number = arm.orders[1].number
    assert f"ESO QC ORD{number} EFF MEDIAN" in header
    table = read_table(result.paths[1], "EFFICIENCY")
    assert np.nanmax(table["EFFICIENCY"]) == pytest.approx(EFFICIENCY, rel=0.05)


def test_the_star_may_be_found_by_its_name(arm, standard, tmp_path):
    path = write_standard(tmp_path, arm, standard, RA=None, DEC=None, OBJECT="CD-32 5613")
    result = run_recipe(ResponseRecipe, [path], {}, tmp_path / "out")
    assert result.status == "COMPLETE", result.message
    assert any("matched by name" in note for note in result.notes)


@pytest.mark.parametrize(("offset", "status"), [(0.5, "COMPLETE"), (2.0, "PARTIAL")])
def test_a_name_that_the_pointing_contradicts_leaves_a_doubt(offset, status, arm, standard, tmp_path):
    place = {"RA": 130.38513, "DEC": -32.94247 + offset}
    path = write_standard(tmp_path, arm, standard, **place, OBJECT="CD-32 5613")
    result = run_recipe(ResponseRecipe, [path], {}, tmp_path / "out")
    assert result.status == status, result.message
    doubts = [reason for reason in result.reasons if "deg away" in reason]
    assert bool(doubts) == (status == "PARTIAL")
    assert all("LTT 3218 taken by its name, but the telescope pointed 2.0 deg away" in doubt for doubt in doubts)


def test_sexagesimal_coordinates_serve(arm, standard, tmp_path):
    path = write_standard(tmp_path, arm, standard, RA="08:41:32.43", DEC="-32:56:32.9", OBJECT="target")
    assert run_recipe(ResponseRecipe, [path], {}, tmp_path / "out").status == "COMPLETE"


def test_an_unknown_star_is_refused_by_name(arm, standard, tmp_path):
    path = write_standard(tmp_path, arm, standard, RA=10.0, DEC=10.0, OBJECT="SN 2026abc")
    result = run_recipe(ResponseRecipe, [path], {}, tmp_path / "out")
    assert result.error_class == "InputError"
    assert "SN 2026abc" in result.message
    assert "GD 71" in result.message
    assert not list((tmp_path / "out").glob("*.fits"))
    named = run_recipe(ResponseRecipe, [path], {"star": "ltt3218"}, tmp_path / "out")
    assert named.status == "COMPLETE", named.message


def test_a_narrow_slit_and_a_missing_airmass_mark_the_product(arm, standard, tmp_path):
    slit = {"ESO__INS__VISE__NAME": "SLIT1.0", "ESO__INS__NISE__NAME": "SLIT1.0"}
    airmass = {"ESO__TEL__AIRM__START": None, "ESO__TEL__AIRM__END": None}
    result = run_recipe(
        ResponseRecipe, [write_standard(tmp_path, arm, standard, **slit, **airmass)], {}, tmp_path / "out"
    )
    assert result.status == "PARTIAL"
    assert any("slit losses" in reason for reason in result.reasons)
    assert any("airmass" in reason for reason in result.reasons)


def test_no_exposure_time_is_an_input_error(arm, standard, tmp_path):
    result = run_recipe(
        ResponseRecipe, [write_standard(tmp_path, arm, standard, EXPTIME=0.0)], {}, tmp_path / "out"
    )
    assert result.error_class == "InputError"
    assert "EXPTIME" in result.message


def test_two_exposures(arm, standard, tmp_path):
    paths = [
        write_standard(tmp_path, arm, standard),
        write_standard(tmp_path, arm, scaled(standard, 0.8), "second.fits", **{"MJD-OBS": 61041.01}),
    ]
    both = run_recipe(ResponseRecipe, paths, {}, tmp_path / "out")
    assert both.status == "COMPLETE", (both.message, both.reasons)
    assert both.qc["ESO QC GREY SPREAD"] == pytest.approx(0.25, abs=0.02)


def test_counts_of_several_exposures_are_over_all_their_time(arm, standard, result, tmp_path):
    path = write_standard(tmp_path, arm, scaled(standard, 3.0), TEXPTIME=3 * SECONDS)
    summed = run_recipe(ResponseRecipe, [path], {}, tmp_path / "out")
    first, second = (read_response(run.paths[0]).response for run in (result, summed))
    assert np.median(second / first) == pytest.approx(1.0, abs=1e-3)


def scaled(orders, factor, tilt=0.0):
    """Counts that a less sensitive night, or one redder by `tilt` from end to end, would have given."""
    low, high = (pick(order.wavelength) for pick, order in ((np.min, orders[0]), (np.max, orders[0])))
    for order in orders:
        low, high = min(low, order.wavelength.min()), max(high, order.wavelength.max())
    changed = []
    for order in orders:
        share = factor * (1.0 + tilt * ((order.wavelength - low) / (high - low) - 0.5))
        changed.append(replace(order, flux=share * order.flux, variance=share**2 * order.variance))
    return changed


@pytest.fixture(scope="module")
def archive(arm, tmp_path_factory):
    """Responses of four nights, each of which took the archive of the one before."""
    folder = tmp_path_factory.mktemp("archive")
    area = load_instrument().telescope_area
    earlier = []
    for night, level in enumerate((1.0, 0.97, 1.02, 1.0)):
        orders = scaled(extracted_standard(arm, area, seed=10 + night), level)
        path = write_standard(folder, arm, orders, f"{night}.fits", **{"MJD-OBS": 61041.0 + 20 * night})
        done = run_recipe(ResponseRecipe, [path, *earlier], {}, folder / str(night))
        assert done.status == "COMPLETE", (done.message, done.reasons)
        (path,) = [item.path for item in done.products if item.tag == f"RESP_ARCHIVE_{arm.name}"]
        earlier = [(path, f"RESP_ARCHIVE_{arm.name}")]
    return path


def compared(arm, archive, orders, folder, parameters=None):
    path = write_standard(folder, arm, orders, **{"MJD-OBS": 61141.0})
    return run_recipe(
        ResponseRecipe, [path, (archive, f"RESP_ARCHIVE_{arm.name}")], parameters or {}, folder / "out"
    )


def test_the_archive_grows_and_its_median_is_a_response(arm, archive):
    found = read_response_archive(archive)
    assert found.count == 4
    assert found.mjd.tolist() == [61041.0, 61061.0, 61081.0, 61101.0]
    assert set(found.stars) == {"LTT 3218"}
    median = read_response(archive)
    for order in arm.orders:
        useful = (median.wavelength > order.wavelength_min) & (median.wavelength < order.wavelength_max)
        own = (median.order == order.number) & useful & (median.quality == 0)
        truth = EFFICIENCY * blaze(order, median.wavelength[own])
        assert np.median(median.efficiency[own] / truth) == pytest.approx(1.0, abs=0.02)


def test_a_response_like_the_others(arm, archive, standard, tmp_path):
    result = compared(arm, archive, standard, tmp_path)
    assert result.status == "COMPLETE", result.reasons
    assert result.qc["ESO QC ARCHIVE N CURVES"] == 4
    assert abs(result.qc["ESO QC ARCHIVE DRIFT"]) < 0.02
    assert result.qc["ESO QC ARCHIVE DEVIATION"] < 0.01
    assert not any("drift" in note for note in result.notes)
    (path,) = [item.path for item in result.products if item.tag == f"RESP_ARCHIVE_{arm.name}"]
    assert read_response_archive(path).count == 5


def test_a_grey_loss_is_named_as_drift(arm, archive, standard, tmp_path):
    result = compared(arm, archive, scaled(standard, 0.9), tmp_path)
    assert result.status == "COMPLETE", result.reasons
    assert result.qc["ESO QC ARCHIVE DRIFT"] == pytest.approx(-0.1, abs=0.02)
    assert result.qc["ESO QC ARCHIVE DEVIATION"] < 0.01
    (note,) = [note for note in result.notes if note.startswith("drift")]
    assert "10 % below" in note or "9 % below" in note or "11 % below" in note


def test_a_great_loss_marks(arm, archive, standard, tmp_path):
    result = compared(arm, archive, scaled(standard, 0.5), tmp_path)
    assert any("50 % below" in reason for reason in result.reasons)


def test_a_colour_error_marks_and_stays_out_of_the_archive(arm, archive, standard, tmp_path):
    result = compared(arm, archive, scaled(standard, 1.0, tilt=0.2), tmp_path)
    assert result.status == "PARTIAL"
    assert any("shape deviates" in reason for reason in result.reasons)
    assert result.qc["ESO QC ARCHIVE DEVIATION"] == pytest.approx(0.2 / np.sqrt(12), rel=0.3)
    assert result.qc["ESO QC ARCHIVE COLOUR"] == pytest.approx(0.2, rel=0.3)
    assert abs(result.qc["ESO QC ARCHIVE DRIFT"]) < 0.08
    (path,) = [item.path for item in result.products if item.tag.startswith("RESP_ARCHIVE")]
    assert read_response_archive(path).count == 4


def test_a_night_without_a_standard_takes_the_median(arm, archive, standard, tmp_path):
    from soxs_recipes.recipes.framework.inputs import gather_inputs
    from soxs_recipes.recipes.steps.flux_tables import flux_tables

    path = write_standard(tmp_path, arm, standard, **{"ESO PRO CATG": f"SCI_SLIT_SKYSUB_{arm.name}"})
    frames = [(path, f"SCI_SLIT_SKYSUB_{arm.name}"), (archive, f"RESP_ARCHIVE_{arm.name}")]
    inputs = gather_inputs(recipe_class("soxs_straighten").declaration, frames)
    response, _, airmass = flux_tables(inputs, [path])
    assert airmass == pytest.approx(AIRMASS)
    assert np.array_equal(response.response, read_response(archive).response)
    assert any("archive" in reason for reason in inputs.partial_reasons)


def test_slit_losses_are_told_and_put_back_when_asked(arm, standard, tmp_path):
    seeing = {f"ESO__QC__ORD{order.number}__SEEING": 1.2 for order in arm.orders}
    slit = {"ESO__INS__VISE__NAME": "SLIT1.0", "ESO__INS__NISE__NAME": "SLIT1.0"}
    path = write_standard(tmp_path, arm, standard, **seeing, **slit)
    told = run_recipe(ResponseRecipe, [path], {}, tmp_path / "told")
    loss = told.qc["ESO QC SLIT LOSS"]
    assert 0.3 < loss < 0.45
    assert told.status == "PARTIAL"
    mended = run_recipe(ResponseRecipe, [path], {"correct-slit-loss": True}, tmp_path / "mended")
    assert mended.status == "COMPLETE", mended.reasons
    first, second = (read_response(run.paths[0]).response for run in (told, mended))
    np.testing.assert_allclose(second, first * (1.0 - loss), rtol=2e-3)


def test_each_exposure_is_compared_with_its_own_star(arm, standard, result, tmp_path):
    other = extracted_standard(arm, load_instrument().telescope_area, star="GD71", seed=2)
    place = {"RA": "05:52:27.6", "DEC": "+15:53:13", "MJD-OBS": 61041.1}
    paths = [write_standard(tmp_path, arm, standard), write_standard(tmp_path, arm, other, "second.fits", **place)]
    both = run_recipe(ResponseRecipe, paths, {}, tmp_path / "out")
    assert both.status == "COMPLETE", (both.message, both.reasons)
    assert any("LTT 3218, GD 71" in note for note in both.notes)
    assert both.qc["ESO QC GREY SPREAD"] < 0.01
    alone, joined = (read_response(run.paths[0]) for run in (result, both))
    good = alone.quality == 0
    assert good.sum() > 500
    assert np.abs(joined.response / alone.response - 1.0)[good].max() < 0.05
