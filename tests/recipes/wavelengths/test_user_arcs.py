"""The user's own arcs: a drift between them is followed to the middle of an exposure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.fits_files import read_dispersion_solution, read_table
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.inputs import gather_inputs
from soxs_recipes.recipes.framework.product_plots import for_products
from soxs_recipes.recipes.stare import Stare
from soxs_recipes.recipes.steps import user_arcs
from soxs_recipes.recipes.steps.object_products import _location_qc
from soxs_recipes.recipes.steps.spectroscopy import find_geometry, locate_exposure, prepare_exposures
from soxs_recipes.recipes.steps.two_dimensional import geometry_as_stated
from soxs_recipes.recipes.wave_interpolate import WaveInterpolate, _quality
from soxs_recipes.reduction.flexure.wave_drift import ArcShift, interpolated_shift
from soxs_recipes.reduction.flexure.zero_point import ZeroPoint
from soxs_recipes.simulator import simulate_frame

SEED, START = 5, Time("2026-03-02T02:00:00.000")
BEGIN, DRIFT = np.array([-0.2, 0.3]), np.array([0.6, 0.9])  # px (x, y), px/h
SCIENCE_HOURS = 0.4


def expose(kind, arm, hours, folder, *, length, index=0):
    """A raw frame that starts after some hours, at the flexure of its middle; (path, truth)."""
    middle = hours + length / 7200.0
    flexure = tuple(BEGIN + DRIFT * middle)
    start = START + TimeDelta(3600.0 * hours, format="sec")
    data, header, truth = simulate_frame(
        kind, arm, seed=SEED, flexure=flexure, index=index, start=start, exposure_time=length
    )
    path = folder / f"SOXS.{start.isot}_{kind}.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    return path, truth


@pytest.fixture(scope="module", params=["VIS", "NIR"])
def bracket(request, tmp_path_factory, known_geometry):
    """(arm, [arc, science, arc], calibrations, truth of the science exposure)."""
    arm, folder = request.param, tmp_path_factory.mktemp(f"arcs_{request.param}")
    length = 60.0 if arm == "VIS" else 20.0
    before, _ = expose("slit_arc", arm, 0.0, folder, length=length)
    science, truth = expose("science", arm, SCIENCE_HOURS, folder, length=600.0, index=1)
    after, _ = expose("slit_arc", arm, 1.0, folder, length=length, index=2)
    return arm, [before, science, after], known_geometry(arm, SEED, folder), truth


one_arm = pytest.mark.parametrize("bracket", ["VIS"], indirect=True)  # the steps are the same in the other


def run(frames, calibrations, folder, **parameters):
    result = run_recipe(WaveInterpolate, [*((str(f), "") for f in frames), *calibrations], parameters, str(folder))
    assert result.status != "FAILED", result.message
    return result


def offsets(solution, model, arm_name):
    """(along, across) of true minus given places, median per order."""
    arm = load_instrument().arm(arm_name)
    found = []
    for order in arm.orders:
        wavelength = np.linspace(order.wavelength_min, order.wavelength_max, 20)
        true = np.array(model.evaluate(order.number, wavelength, 0.0))
        off = true - np.array(solution.surface(order.number).evaluate(wavelength, np.zeros(20)))
        found.append(np.median(off, axis=1)[:: -1 if arm.dispersion_axis == 0 else 1])
    return np.array(found)


def test_a_linear_drift_is_recovered_to_a_fiftieth_of_a_pixel(bracket, tmp_path):
    arm, frames, calibrations, truth = bracket
    result = run(frames, calibrations, tmp_path)
    (product,) = result.products
    assert product.tag == f"DISP_TAB_2D_{arm}"
    assert not any("arc" in reason for reason in result.reasons)
    off = offsets(read_dispersion_solution(product.path), truth.model, arm)
    assert off.shape == (len(load_instrument().arm(arm).orders), 2)
    # The arm as a whole; single orders keep what their lines' tilt makes of an error across.
    assert abs(np.median(off[:, 0])) < 0.02
    assert np.abs(off[:, 0]).max() < 0.04
    assert np.abs(off[:, 1]).max() < 0.1
    header = fits.getheader(product.path)
    along, across = DRIFT[::-1] if arm == "VIS" else DRIFT
    assert header["ESO QC DRIFT"] == pytest.approx(along, abs=0.02)
    assert header["ESO QC DRIFT ACROSS"] == pytest.approx(across, abs=0.1)
    assert header["ESO QC BRACKETED"] is True
    assert header["ESO QC N LINES"] > 50
    assert header["ESO QC R SLIT"] > 3000
    assert abs(header["ESO QC SLIT TILT CHANGE"]) < 0.06
    drift = read_table(product.path, "DRIFT")
    assert list(drift["FRAME"]) == [frames[0].name, frames[2].name, "interpolated"]
    # Without the arcs the solution would be off by far more than it is.
    unmoved = offsets(read_dispersion_solution(calibrations[0][0]), truth.model, arm)
    assert np.abs(np.median(unmoved[:, 0])) > 0.08
    assert [path.suffix for path in for_products([product.path], tmp_path / "plots")] == [".png"]


@one_arm
def test_one_arc_alone_is_used_and_marked_and_so_is_a_time_outside(bracket, tmp_path):
    _, frames, calibrations, _ = bracket
    single = run(frames[:2], calibrations, tmp_path / "single")
    assert single.status == "PARTIAL"
    assert any("one arc alone" in reason for reason in single.reasons)
    late = run([frames[0], frames[2]], calibrations, tmp_path / "late", mjd=START.mjd + 0.5)
    assert any("not between arcs" in reason for reason in late.reasons)
    header = fits.getheader(late.products[0].path)
    assert header["ESO QC BRACKETED"] is False
    assert header["ESO QC SHIFT"] == pytest.approx(BEGIN[1] + DRIFT[1], abs=0.05)


@one_arm
def test_the_tilt_of_an_arc_counts_towards_the_upper_end_of_the_slit(bracket, monkeypatch):
    _, frames, calibrations, _ = bracket
    inputs = gather_inputs(WaveInterpolate.declaration, [(str(frames[0]), ""), *calibrations])
    geometry = find_geometry(inputs, (1, 1))
    exposure = next(prepare_exposures(inputs, [frames[0]], None))
    # Light moved up by 0.4 px at the upper end of the slit, down as much at the lower one.
    half = 0.5 * inputs.arm.slit_length
    move = 0.4 * np.nan_to_num(geometry.maps(inputs, exposure.frame.shape).slit) / half
    rows = np.arange(move.shape[0], dtype=float)[:, None] - move
    low = np.clip(np.floor(rows).astype(int), 0, move.shape[0] - 2)
    columns, part = np.arange(move.shape[1])[None, :], rows - low
    light = exposure.frame.data
    sheared = (1.0 - part) * light[low, columns] + part * light[low + 1, columns]
    tilts = []
    for data in (light, sheared.astype(np.float32)):
        changed = replace(exposure, frame=exposure.frame.with_arrays(data=data))
        monkeypatch.setattr(user_arcs, "prepare_exposures", lambda *_, changed=changed: iter([changed]))
        (arc,) = user_arcs.measure_arcs(inputs, [frames[0]], geometry)
        tilts.append(arc.tilt)
    assert tilts[1] - tilts[0] == pytest.approx(0.4, abs=0.06)


def test_arcs_through_the_pinhole_serve_as_well(tmp_path, known_geometry):
    arcs = [
        expose("pinhole_arc", "VIS", hours, tmp_path, length=30.0, index=i)[0] for i, hours in enumerate((0, 1))
    ]
    middle = START.mjd + (0.5 + 30.0 / 7200.0) / 24.0
    result = run(arcs, known_geometry("VIS", SEED, tmp_path), tmp_path / "out", mjd=middle)
    header = fits.getheader(result.products[0].path)
    flexure = BEGIN + DRIFT * (0.5 + 30.0 / 7200.0)
    assert header["ESO QC N LINES"] > 50
    assert header["ESO QC SHIFT"] == pytest.approx(flexure[1], abs=0.02)
    assert header["ESO QC ACROSS"] == pytest.approx(flexure[0], abs=0.02)
    assert header["ESO QC DRIFT"] == pytest.approx(DRIFT[1], abs=0.02)
    assert header["ESO QC DRIFT ACROSS"] == pytest.approx(DRIFT[0], abs=0.02)
    assert 3000 < header["ESO QC R SLIT"] < 20000


def test_the_largest_change_of_tilt_is_told_by_the_arcs_that_have_one():
    zero = ZeroPoint(0.0, 0.01, 9, {}, 0.02, 3.0)
    arcs = [
        user_arcs.MeasuredArc(None, ArcShift(61000.0 + 0.1 * number, 0.0, 0.01, 0.0, 0.01), zero, tilt, 2)
        for number, tilt in enumerate((np.nan, 0.02, -0.05))
    ]
    point = interpolated_shift([arc.shift for arc in arcs], 61000.05)
    values = {item.name: item.value for item in _quality(None, arcs, point)}
    assert values["SLIT TILT CHANGE"] == -0.05
    alone = {item.name: item.value for item in _quality(None, arcs[:1], point)}
    assert np.isnan(alone["SLIT TILT CHANGE"])


@one_arm
def test_lines_that_are_taken_stand_alone_at_the_resolution_of_the_slit(bracket):
    _, frames, calibrations, _ = bracket
    inputs = gather_inputs(WaveInterpolate.declaration, [(str(frames[0]), ""), *calibrations])
    counts = []
    for slits in (1.0, 1.5):  # wider ones are measured by a template of all lines
        lines = user_arcs._lines_for(inputs, slits / inputs.arm.pixel_scale)
        element = slits * lines.wavelength / inputs.arm.resolution
        apart = np.abs(lines.wavelength[:, None] - lines.wavelength)
        np.fill_diagonal(apart, np.inf)
        rival = lines.brightness[None, :] > 0.03 * lines.brightness[:, None]
        crowded = (rival & (apart < 2.4 * element[:, None])).any(axis=1)
        assert crowded.any()
        assert not (lines.isolated & crowded).any()
        counts.append(lines.isolated.sum())
    assert counts[0] > counts[1] > 5


@one_arm
def test_neither_exposure_nor_time_is_an_error_that_says_so(bracket, tmp_path):
    _, frames, calibrations, _ = bracket
    frames = [(str(frames[0]), ""), *calibrations]
    result = run_recipe(WaveInterpolate, frames, {}, str(tmp_path))
    assert result.status == "FAILED"
    assert "mjd" in result.message


@one_arm
def test_an_arc_without_light_is_left_out(bracket, tmp_path):
    _, frames, calibrations, _ = bracket
    dark = tmp_path / "dark.fits"
    with fits.open(frames[2]) as hdus:
        hdus[0].data = np.full_like(hdus[0].data, 500) + np.arange(4, dtype=np.uint16)[:, None].repeat(1024, 0)
        hdus.writeto(dark)
    result = run([*frames[:2], dark], calibrations, tmp_path / "out")
    assert any("left out" in reason and "dark.fits" in reason for reason in result.reasons)
    assert any("one arc alone" in reason for reason in result.reasons)


@one_arm
def test_arcs_that_show_nothing_do_not_stop_an_exposure(bracket, tmp_path):
    arm, frames, calibrations, _ = bracket
    dark = tmp_path / "dark.fits"
    with fits.open(frames[2]) as hdus:
        hdus[0].data = np.full_like(hdus[0].data, 500) + np.arange(4, dtype=np.uint16)[:, None].repeat(1024, 0)
        hdus.writeto(dark)
    inputs = gather_inputs(
        Stare.declaration, [(str(frames[1]), ""), *calibrations, (str(dark), f"WAVE_SLIT_{arm}")]
    )
    assert find_geometry(inputs, (1, 1), arcs=True).arcs == ()
    assert any("arcs beside the exposures are not used" in reason for reason in inputs.partial_reasons)


@pytest.mark.parametrize("bracket", ["NIR"], indirect=True)
def test_arcs_with_the_lamps_off_are_refused(bracket, tmp_path):
    arm, frames, calibrations, _ = bracket
    off = tmp_path / "off.fits"
    with fits.open(frames[0]) as hdus:
        hdus[0].header["ESO DPR TECH"] = "IMAGE"
        hdus.writeto(off)
    given = [(str(off), f"WAVE_SLIT_{arm}"), (str(frames[1]), ""), *calibrations]
    result = run_recipe(WaveInterpolate, given, {}, str(tmp_path / "out"))
    assert result.error_class == "InputError", result.message
    assert "lamps were off" in result.message


@one_arm
def test_arcs_among_the_frames_of_an_exposure_move_its_maps(bracket):
    arm, frames, calibrations, _ = bracket
    given = [(str(frames[1]), ""), *calibrations]
    given += [(str(frames[i]), f"WAVE_SLIT_{arm}") for i in (0, 2)]
    inputs = gather_inputs(Stare.declaration, given)
    geometry = find_geometry(inputs, (1, 1), arcs=True)
    assert len(geometry.arcs) == 2
    exposure = next(prepare_exposures(inputs, [frames[1]], None))
    location = locate_exposure(inputs, exposure, geometry, None, correct=True)
    flexure = BEGIN + DRIFT * (SCIENCE_HOURS + 600.0 / 7200.0)
    assert location.applied[0] == pytest.approx(flexure[1], abs=0.05)
    assert location.applied[1] == pytest.approx(flexure[0], abs=0.1)
    # What the sky then finds is little: the arcs have told it.
    assert abs(location.zero_point.shift) < 0.06
    plain = find_geometry(inputs, (1, 1))
    assert plain.arcs == ()


@one_arm
@pytest.mark.parametrize("untold", [0.0, -0.6])
def test_a_poor_solution_that_arcs_and_sky_moved_is_found_again_from_the_header(bracket, monkeypatch, untold):
    """The arcs' shift holds for all orders; what they do not tell, each order's own lines do."""
    arm, frames, calibrations, _ = bracket
    given = [(str(frames[1]), ""), *calibrations, *((str(frames[i]), f"WAVE_SLIT_{arm}") for i in (0, 2))]
    inputs = gather_inputs(Stare.declaration, given)
    poor = replace(find_geometry(inputs, (1, 1), arcs=True), rung=1)
    arcs = tuple(replace(a, shift=replace(a.shift, along=a.shift.along + untold)) for a in poor.arcs)
    exposure = next(prepare_exposures(inputs, [frames[1]], None))
    location = locate_exposure(inputs, exposure, replace(poor, arcs=arcs), None, correct=True)
    assert location.zero_point.is_significant == bool(untold)
    flexure = BEGIN + DRIFT * (SCIENCE_HOURS + 600.0 / 7200.0)
    assert location.applied[0] == pytest.approx(flexure[1], abs=0.05)
    header = inputs.header(frames[1]).copy()
    for one in _location_qc(location):
        header[f"HIERARCH {one.keyword}"] = round(one.value, 8)
    monkeypatch.setitem(inputs._headers, frames[1], header)
    moved, shift = geometry_as_stated(inputs, replace(poor, arcs=()), frames[1], location.applied)
    again = moved.maps(inputs, exposure.frame.shape, shift)
    both = (again.order > 0) & (again.order == location.maps.order)
    assert both.sum() > 0.999 * (location.maps.order > 0).sum()
    assert np.abs(again.wavelength - location.maps.wavelength)[both].max() < 1e-4  # nm; a pixel is 0.05 nm
    assert np.abs(again.slit - location.maps.slit)[both].max() < 1e-3


@one_arm
def test_arcs_of_the_day_are_not_taken_for_the_users_own(bracket, tmp_path):
    arm, frames, calibrations, _ = bracket
    early = tmp_path / "early.fits"
    with fits.open(frames[0]) as hdus:
        hdus[0].header["MJD-OBS"] = START.mjd - 0.4
        hdus.writeto(early)
    inputs = gather_inputs(Stare.declaration, [(str(frames[1]), ""), *calibrations, (str(early), "")])
    assert inputs.calibrations(f"WAVE_SLIT_{arm}") == [early]
    assert find_geometry(inputs, (1, 1), arcs=True).arcs == ()
    assert any("arcs more than 3 h" in note for note in inputs.notes)


def test_order_tables_move_along_and_across():
    trace = OrderTrace(3, (0.0, 99.0), np.array([20.0, 5.0]), np.array([10.0, 5.0]), np.array([30.0, 5.0]))
    moved = OrderTable((trace,), 0).shifted(4.0, -1.5)[3]
    along = np.array([10.0, 60.0])
    assert np.allclose(moved.centre_at(along + 4.0), trace.centre_at(along) - 1.5)
    for edge, before in zip(moved.edges_at(along + 4.0), trace.edges_at(along), strict=True):
        assert np.allclose(edge, before - 1.5)
