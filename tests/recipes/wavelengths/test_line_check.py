"""soxs_line_check: shifts that were put in are found, corrected, and told per order and arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import curve_fit

from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.fits_files import (
    read_dispersion_solution,
    read_order_spectra,
    read_table,
    spectra_hdus,
    write_product,
)
from soxs_recipes.instrument import load_instrument, static_calibration_path
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.product_plots import for_products
from soxs_recipes.recipes.line_check import LineCheck
from soxs_recipes.recipes.steps import line_check_steps
from soxs_recipes.reduction.flexure.zero_point import ZeroPoint
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.render import line_shape
from soxs_recipes.simulator.spectrograph import Spectrograph

SEED = 4
FLEXURE = (0.8, -1.0)
C = 299792.458  # km/s
RANGES = {
    "VIS": [(1, "r", 545.0, 680.0), (4, "i", 690.0, 848.0)],
    "NIR": [(19, "19", 990.0, 1060.0), (17, "17", 1100.0, 1190.0)],
}


def check(frames, folder, **parameters):
    run = run_recipe(LineCheck, frames, parameters, str(folder))
    assert run.status != "FAILED", run.message
    return run


def product(run, stem):
    return next((item for item in run.products if item.tag.startswith(stem)), None)


def quality(run):
    header = fits.getheader(product(run, "LINE_CHECK").path)
    return lambda name: header[f"ESO QC {name}"]


@pytest.fixture(scope="module", params=["VIS", "NIR"])
def moved(request, tmp_path_factory, known_geometry):
    """A raw exposure that moved by a known amount against exact calibrations, checked."""
    arm, folder = request.param, tmp_path_factory.mktemp(f"moved_{request.param}")
    data, header, truth = simulate_frame("science", arm, seed=SEED, exposure_time=600.0, flexure=FLEXURE)
    path = folder / "SOXS.2026-03-02T01:00:00.000.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    calibrations = known_geometry(arm, SEED, folder)
    return arm, check([(str(path), ""), *calibrations], folder / "out"), truth


def test_flexure_of_a_pixel_is_found_in_both_axes(moved):
    arm, run, _ = moved
    across, along = FLEXURE if arm == "VIS" else FLEXURE[::-1]
    qc = quality(run)
    assert qc("N LINES") > 30
    assert qc("SHIFT") == pytest.approx(along, abs=max(4 * qc("ERR"), 0.05))
    assert qc("ACROSS") == pytest.approx(across, abs=max(4 * qc("ACROSS ERR"), 0.02))
    assert qc("ACROSS ERR") < {"VIS": 0.04, "NIR": 0.01}[arm]
    # An error that is much larger than what it is off by would hide a fault.
    assert qc("ERR") < 0.03
    assert abs(qc("SCALE")) < 4 * qc("SCALE ERR")


def test_the_corrected_solution_holds_to_a_twentieth_of_a_pixel_in_every_order(moved):
    arm, run, truth = moved
    solution = read_dispersion_solution(product(run, "DISP_TAB_2D").path)
    axis = load_instrument().arm(arm).dispersion_axis
    worst = []
    for order in load_instrument().arm(arm).orders:
        wavelength = np.linspace(order.wavelength_min, order.wavelength_max, 20)
        true = np.array(truth.model.evaluate(order.number, wavelength, 0.0))
        surface = solution.surface(order.number)
        off = true - np.array(surface.evaluate(wavelength, np.zeros(20)))
        by_wavelength = np.array(surface.wavelength_derivative(wavelength, np.zeros(20)))
        by_slit = np.array(surface.slit_derivative(wavelength, np.zeros(20)))
        # What a pixel's wavelength is wrong by, in pixels along the dispersion.
        wrong = np.linalg.solve(np.stack([by_wavelength, by_slit], axis=-1).transpose(1, 0, 2), off.T[..., None])
        worst.append(np.median(np.abs(wrong[:, 0, 0] * by_wavelength[1 - axis])))
    assert len(worst) == len(load_instrument().arm(arm).orders)
    assert max(worst) < 0.05


def test_orders_without_lines_take_the_shift_of_the_arm_and_say_so(moved):
    arm, run, _ = moved
    orders = read_table(product(run, "LINE_CHECK").path, "ORDERS")
    source = dict(zip(orders["BAND"], orders["SOURCE"], strict=True))
    shift = dict(zip(orders["BAND"], orders["SHIFT"], strict=True))
    lines = dict(zip(orders["BAND"], orders["N_LINES"], strict=True))
    without = [band for band, count in lines.items() if count < 2]
    if arm == "VIS":
        assert {"u", "g"} <= set(without)
    for band in without:
        assert source[band] == "arm (lines)"
        assert shift[band] == pytest.approx(quality(run)("SHIFT"))
    assert all(source[band] == "lines" for band in lines if band not in without)
    # Where the faint lines of such an order tell together, they agree.
    told = np.isfinite(orders["TEMPLATE_SHIFT"])
    assert set(orders["BAND"][told]) <= set(without)
    apart = np.abs(orders["TEMPLATE_SHIFT"] - quality(run)("SHIFT"))[told]
    assert np.all(apart < 4 * orders["TEMPLATE_ERROR"][told])


def test_resolution_is_that_of_slit_and_optics(moved):
    _, run, truth = moved
    hardware = truth.model.hardware
    lines = read_table(product(run, "LINE_CHECK").path, "LINES")
    assert lines["WAVELENGTH"].size > 30
    spectrograph = Spectrograph(truth.model, SEED, Effects())
    grid = np.linspace(-5, 5, 401)
    middle = np.array(0.5 * hardware.along)
    widths = []
    for order in np.unique(lines["ORDER"]):
        sigma = spectrograph.sigma_along(int(order))(middle)
        shape = line_shape(grid, spectrograph.box_width(1.0, middle), sigma)
        # The FWHM of the Gaussian that fits best, as the line fits have it.
        fit, _ = curve_fit(lambda x, a, s, c: a * np.exp(-0.5 * (x / s) ** 2) + c, grid, shape, [0.2, 1.4, 0.0])
        widths.append(2.3548 * fit[1])
    measured = np.sqrt(np.median(lines["FWHM"]) ** 2 - 2 * 2.3548**2 / 12)
    assert measured == pytest.approx(np.median(widths), rel=0.06)
    assert quality(run)("R SKY") > 3000


def test_the_picture_is_drawn(moved, tmp_path):
    drawn = for_products([product(moved[1], "LINE_CHECK").path], tmp_path)
    assert [path.suffix for path in drawn] == [".png"]
    assert drawn[0].stat().st_size > 20_000


# Spectra --------------------------------------------------------------------------------------------------------


def _spectrum(number, band, low, high, rng, *, shift, sky_lines, star):
    """A spectrum whose wavelengths are wrong by `shift` bins (as listed minus true)."""
    size = 2000
    wavelength = np.linspace(low, high, size)
    width = np.full(size, wavelength[1] - wavelength[0])
    lines = read_table(static_calibration_path("SKY_LINE_LIST"), 1)
    bands = read_table(static_calibration_path("TELLURIC_TRANSMISSION"), 1)
    true = wavelength - shift * width
    sky = np.full(size, 20.0)
    if sky_lines:
        inside = (lines["WAVELENGTH"] > low) & (lines["WAVELENGTH"] < high)
        bright = 4000.0 * lines["FLUX"][inside] / lines["FLUX"][inside].max()
        for centre, height in zip(lines["WAVELENGTH"][inside], bright, strict=True):
            sky += height * np.exp(-0.5 * ((true - centre) / (1.3 * width)) ** 2)
    flux = star * np.interp(true, bands["WAVELENGTH"], bands["MOLECULES"]) ** 1.2
    variance = flux + sky + 50.0
    empty = np.zeros(size)
    spectrum = OrderSpectrum(
        number, band, wavelength, width, flux, variance, flux, variance, sky, sky + 50.0,
        empty.astype(np.int32), empty,
    )  # fmt: skip
    return replace(
        spectrum,
        flux=flux + rng.normal(0, np.sqrt(variance)),
        sky=sky + rng.normal(0, 0.3 * np.sqrt(sky + 50.0)),
    )


@pytest.fixture
def write_spectra(tmp_path):
    """Write ORDER1D products of an arm whose wavelengths are off by a velocity, a few bins at most."""

    def write(arm, shift, *, sky_lines=True, star=3000.0, name="a.fits", applied=(), **others):
        rng = np.random.default_rng(8)
        spectra = [_spectrum(*order, rng, shift=shift, sky_lines=sky_lines, star=star) for order in RANGES[arm]]
        header = fits.Header()
        cards = {"INSTRUME": "SOXS", "MJD-OBS": 61100.75, "EXPTIME": 60.0, "ESO SEQ ARM": arm}
        cards |= {"ESO PRO CATG": f"SCI_SLIT_ORDER1D_{arm}", "ESO TEL AIRM START": 1.2, "ESO TEL AIRM END": 1.2}
        cards |= {f"ESO QC {key} APPLIED": value for key, value in applied}
        cards |= others
        for key, value in cards.items():
            header[f"HIERARCH {key}" if key.startswith("ESO") else key] = value
        path = write_product(tmp_path / name, spectra_hdus(spectra), header)
        return [(str(path), f"SCI_SLIT_ORDER1D_{arm}")], spectra

    return write


@pytest.mark.parametrize("shift", [0.6, -1.7, 0.0])
def test_spectra_whose_wavelengths_are_off_are_moved_back(write_spectra, tmp_path, shift):
    frames, _ = write_spectra("NIR", shift)
    run = check(frames, tmp_path / "out")
    # Wavelengths rise with x in the NIR, so a wavelength that is too large is a line too far up.
    qc = quality(run)
    assert qc("SHIFT") == pytest.approx(shift, abs=max(4 * qc("ERR"), 0.04))
    assert qc("TELL SHIFT") == pytest.approx(shift, abs=max(4 * qc("TELL ERR"), 0.1))
    corrected = product(run, "SCI_SLIT_ORDER1D")
    if not shift:
        assert corrected is None
        return
    for before, after in zip(read_order_spectra(frames[0][0]), read_order_spectra(corrected.path), strict=True):
        moved_by = (before.wavelength - after.wavelength) / before.bin_width
        assert np.allclose(moved_by, qc("APPLIED"))
        assert np.array_equal(before.flux, after.flux)


def test_where_wavelengths_fall_with_the_coordinate_shifts_have_the_other_sign(
    write_spectra, tmp_path, monkeypatch
):
    frames, _ = write_spectra("NIR", 0.6)
    right_way = line_check_steps._pixels

    def turned(*arguments):
        return {order: (middle, -width) for order, (middle, width) in right_way(*arguments).items()}

    monkeypatch.setattr(line_check_steps, "_pixels", turned)
    run = check(frames, tmp_path / "out")
    qc = quality(run)
    assert qc("SHIFT") == pytest.approx(-0.6, abs=max(4 * qc("ERR"), 0.04))
    assert qc("TELL SHIFT") == pytest.approx(-0.6, abs=max(4 * qc("TELL ERR"), 0.1))
    corrected = product(run, "SCI_SLIT_ORDER1D").path
    # Whatever the coordinate, wavelengths were too large.
    for before, after in zip(read_order_spectra(frames[0][0]), read_order_spectra(corrected), strict=True):
        assert np.allclose((before.wavelength - after.wavelength) / before.bin_width, -qc("APPLIED"))


def test_what_was_corrected_earlier_counts_too(write_spectra, tmp_path):
    frames, _ = write_spectra("NIR", 0.6, applied=(("ZP", 1.5), ("EDGE", -0.4)))
    qc = quality(check(frames, tmp_path / "out"))
    assert qc("APPLIED") == pytest.approx(1.5 + qc("SHIFT"))
    assert qc("APPLIED ACROSS") == -0.4
    left = quality(check(frames, tmp_path / "left", correct=False))
    assert left("APPLIED") == 1.5


def test_velocity_is_that_of_the_wavelengths_as_they_are_handed_on(write_spectra, tmp_path):
    frames, _ = write_spectra("NIR", 0.6)
    corrected, left = (quality(check(frames, tmp_path / str(c), correct=c)) for c in (True, False))
    assert corrected("VELOCITY") == pytest.approx(0.0, abs=1e-6)
    per_bin = C * np.mean([(high - low) / 1999.0 / (0.5 * (low + high)) for _, _, low, high in RANGES["NIR"]])
    assert left("VELOCITY") == pytest.approx(left("SHIFT") * per_bin, rel=0.05)
    assert left("VELOCITY ERR") == pytest.approx(left("ERR") * per_bin, rel=0.05)


def test_an_order_with_a_single_line_takes_the_shift_of_the_arm():
    shifts = {1: (0.52, 0.02, 6), 4: (2.9, 0.1, 1)}
    zero = ZeroPoint(0.5, 0.02, 7, shifts, 0.03, 3.0)
    pixels = {1: (600.0, 0.07), 2: (370.0, -0.04), 4: (780.0, 0.08)}
    inputs = SimpleNamespace(arm=load_instrument().arm("VIS"))
    table = line_check_steps._order_table(
        inputs, line_check_steps.Check(Path("a.fits"), zero, None, {}, pixels, {}, 1)
    ).data
    assert table["ORDER"].tolist() == [1, 2, 4]
    assert table["SHIFT"].tolist() == pytest.approx([0.52, 0.5, 0.5])
    assert table["N_LINES"].tolist() == [6, 0, 1]
    assert table["SOURCE"].tolist() == ["lines", "arm (lines)", "arm (lines)"]
    assert table["VELOCITY"].tolist() == pytest.approx(
        [C * 0.52 * 0.07 / 600, -C * 0.5 * 0.04 / 370, C * 0.04 / 780]
    )


def test_without_sky_lines_the_tellurics_of_the_target_tell(write_spectra, tmp_path):
    run = check(write_spectra("VIS", 0.8, sky_lines=False, star=50_000.0)[0], tmp_path / "out")
    orders = read_table(product(run, "LINE_CHECK").path, "ORDERS")
    assert set(orders["SOURCE"]) == {"arm (tellurics)"}
    assert quality(run)("TELL SHIFT") == pytest.approx(0.8, abs=0.1)
    assert any("telluric" in note for note in run.notes)


def test_nothing_to_hold_wavelengths_against_is_said(write_spectra, tmp_path):
    run = check(write_spectra("VIS", 0.8, sky_lines=False, star=1.0)[0], tmp_path / "out")
    assert run.status == "PARTIAL"
    assert any("unchecked" in reason for reason in run.reasons)
    assert product(run, "SCI_SLIT_ORDER1D") is None


def test_arms_are_compared(write_spectra, tmp_path):
    # 0.5 bins in one arm and none in the other, neither corrected.
    first = check(write_spectra("VIS", 0.5, name="vis.fits")[0], tmp_path / "vis", correct=False)
    frames, _ = write_spectra("NIR", 0.0, name="nir.fits")
    other = product(first, "LINE_CHECK")
    second = check([*frames, (str(other.path), other.tag)], tmp_path / "nir", correct=False)
    per_bin = C * np.mean([0.5 * 135.0 / 2000 / 612.5, 0.5 * 158.0 / 2000 / 769.0])
    assert quality(second)("ARMS DIFF") == pytest.approx(-per_bin, abs=1.5)
    errors = [quality(run)("VELOCITY ERR") for run in (first, second)]
    assert min(errors) > 0.05
    assert quality(second)("ARMS DIFF ERR") == pytest.approx(np.hypot(*errors), rel=1e-6)
    assert second.status == "PARTIAL"  # out of range: more than 3 km/s


def test_mid_times_of_arms_are_compared(write_spectra, tmp_path):
    """Of several exposures the product tells, of one its start and length."""
    frames, _ = write_spectra("VIS", 0.0, name="vis.fits", **{"ESO QC MJD MID": 61100.76})
    other = product(check(frames, tmp_path / "vis"), "LINE_CHECK")
    frames, _ = write_spectra("NIR", 0.0, name="nir.fits", EXPTIME=120.0)
    qc = quality(check([*frames, (str(other.path), other.tag)], tmp_path / "nir"))
    assert qc("MJD MID") == pytest.approx(61100.75 + 60.0 / 86400.0, abs=1e-9)
    assert qc("SYNC DIFF") == pytest.approx(60.0 - 864.0, abs=1e-3)


def test_an_arm_is_not_compared_with_itself(write_spectra, tmp_path):
    frames, _ = write_spectra("VIS", 0.5)
    own = product(check(frames, tmp_path / "first", correct=False), "LINE_CHECK")
    again = check([*frames, (str(own.path), own.tag)], tmp_path / "again", correct=False)
    assert "ESO QC ARMS DIFF" not in again.qc
    assert f"{own.path.name}: is of this arm, too; arms are not compared" in again.reasons


def test_an_emission_line_of_the_target_in_the_sky_does_not_lead(write_spectra, tmp_path):
    frames, spectra = write_spectra("NIR", 0.4)
    spoilt = []
    for item in spectra:
        sky = item.sky.copy()
        # As bright as the sky's brightest, two bins from one of its lines, and hits of cosmic rays.
        place = int(np.argmax(sky)) + 3
        sky[place - 2 : place + 3] += 4000.0
        sky[[100, 700, 1200]] += 30_000.0
        spoilt.append(replace(item, sky=sky))
    header = fits.getheader(frames[0][0])
    path = write_product(tmp_path / "spoilt.fits", spectra_hdus(spoilt), header)
    run = check([(str(path), frames[0][1])], tmp_path / "out", **{"use-tellurics": False})
    assert quality(run)("SHIFT") == pytest.approx(0.4, abs=0.05)
