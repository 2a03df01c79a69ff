"""Plans with a purpose: synchronised arms, flexure between arcs, faint and empty slits, the linearity series."""

import re
from pathlib import Path

import numpy as np
import pytest

from soxs_recipes.instrument.classify import classify
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.detector import detector_state, mean_curvature
from soxs_recipes.simulator.frames import SHUTTER_DELAY, FrameMaker, faint_star, pointing_of
from soxs_recipes.simulator.hardware import ARMS
from soxs_recipes.simulator.headers import raw_header
from soxs_recipes.simulator.light import arc_scene
from soxs_recipes.simulator.night import exposures
from soxs_recipes.simulator.plans import PLANS
from soxs_recipes.simulator.spectrograph import SLIT_LENGTH


def _exposures(plan, kind=None, arm="VIS", seed=3):
    return [
        e for e in exposures(plan, seed, Effects()) if e.request.arm == arm and kind in (None, e.request.kind.name)
    ]


def _middle(exposure):
    return exposure.sequence.start.mjd * 86400.0 + 0.5 * exposure.request.exposure_time


def _tag(exposure):
    request = exposure.request
    hardware = ARMS[request.arm]
    header = raw_header(
        request.kind, hardware, request.exposure_time, exposure.sequence, pointing_of(request), request.slit
    )
    return classify(header).tag


def test_synchronised_exposures_share_their_mid_times():
    arms = [_exposures("synchronised", "science", arm) for arm in ("VIS", "NIR")]
    assert [len(found) for found in arms] == [3, 3]
    middles = np.array([[_middle(e) for e in found] for found in arms])
    assert np.abs(middles[0] - middles[1]).max() < 2e-3
    assert {e.request.exposure_time for e in arms[0]} != {e.request.exposure_time for e in arms[1]}
    assert arms[0][0].sequence.template_start != arms[1][0].sequence.template_start
    last = _exposures("synchronised", "standard")[-1]
    assert _middle(last) + 60.0 < arms[0][0].sequence.start.mjd * 86400.0


@pytest.mark.parametrize(
    ("plan", "kind", "tag"),
    [("user-arcs", "slit_arc", "WAVE_SLIT_VIS"), ("user-pinhole-arcs", "pinhole_arc", "WAVE_PIN_VIS")],
)
def test_flexure_between_the_users_arcs_is_linear_in_time(plan, kind, tag):
    found = _exposures(plan)[-3:]
    assert [e.request.kind.name for e in found] == [kind, "science", kind]
    assert _tag(found[0]) == tag
    times = np.array([_middle(e) for e in found])
    flexure = np.array([e.request.flexure for e in found])
    share = (times[1] - times[0]) / (times[2] - times[0])
    assert 0.2 < share < 0.8
    np.testing.assert_allclose(flexure[1], flexure[0] + share * (flexure[2] - flexure[0]), atol=1e-6)
    assert 0.9 < np.hypot(*(flexure[2] - flexure[0])) < 1.5


def test_a_pixel_of_flexure_in_both_axes():
    sides = set()
    for seed in range(6):
        for exposure in _exposures("flexure", "science", seed=seed):
            assert np.abs(exposure.request.flexure) == pytest.approx([1.0, 1.0], abs=0.4)
            sides.add(tuple(np.sign(exposure.request.flexure)))
        afternoon = _exposures("flexure", "slit_flat", seed=seed)[0]
        assert np.abs(afternoon.request.flexure).max() < 0.3
    assert len(sides) > 1


def test_a_faint_target_for_an_hour_without_moon():
    for arm in ("VIS", "NIR"):
        science = [e.request for e in _exposures("faint", "science", arm)]
        assert sum(r.exposure_time for r in science) == 3600.0
        assert {r.observation.moon for r in science} == {0.0}
    star = faint_star()
    flux = np.interp(622.0, star.wavelength, star.flux)  # erg/s/cm2/Angstrom
    assert -2.5 * np.log10(flux * 6220.0**2 / 2.99792458e18) - 48.6 == pytest.approx(20.0, abs=1e-3)


def test_an_empty_slit_keeps_its_target():
    (science,) = _exposures("empty", "science")
    assert science.request.sources == ()
    assert pointing_of(science.request).target == "SN2026abc"


def test_an_arc_through_the_slit_fills_it(clean_vis):
    scene = arc_scene(clean_vis, None, 1.0, "", 1.0)
    tables = scene.tables
    inner = (tables["line_order"] == 1) & (tables["line_y"] > 100) & (tables["line_y"] < 3900)
    assert inner.sum() > 30
    geometry = clean_vis.geometry(1)
    columns = geometry.first_across[:, None] + np.arange(geometry.v.shape[1])
    rows = np.broadcast_to(np.arange(columns.shape[0])[:, None], columns.shape)
    between = (geometry.v >= 100) & (geometry.v < 3900)
    light = scene.electrons[rows[between], columns[between]].sum()
    v = clean_vis.model.evaluate_axes(1, tables["line_wavelength"][tables["line_order"] == 1], 0.0)[0]
    counts = tables["line_electrons"][tables["line_order"] == 1]
    assert light == pytest.approx(SLIT_LENGTH * counts[(v >= 100) & (v < 3900)].sum(), rel=0.01)
    assert "pinhole_positions" not in tables


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_linearity_series_are_pairs_that_reach_saturation(arm):
    series = _exposures("lingain", "linearity", arm)
    lit = [e.request for e in series if not e.request.lamps_off]
    times = [r.exposure_time for r in lit]
    assert len(times) >= 22
    assert times[::2] == times[1::2] == sorted(times[::2])
    assert 60000.0 * max(times) / 20.0 * (1.0 if arm == "VIS" else 0.75) > ARMS[arm].full_well * 0.85
    assert len({r.lamp_scale for r in lit}) == len(lit)
    assert np.std([r.lamp_scale for r in lit]) < 5e-4
    assert _tag(series[0]) == ("DETLIN_VIS" if arm == "VIS" else "DETLIN_NIR_ON")
    assert [_tag(e) for e in series if e.request.lamps_off] == (["DETLIN_NIR_OFF"] * 6 if arm == "NIR" else [])


def test_light_of_the_series_rises_with_time_and_the_shutters_delay():
    maker = FrameMaker("VIS", 3, Effects.none())
    requests = [e.request for e in _exposures("lingain", "linearity")][:6:2]
    levels = [float(maker.scene(r).electrons.max()) / r.lamp_scale for r in requests]
    times = np.array([r.exposure_time for r in requests]) + SHUTTER_DELAY["VIS"]
    np.testing.assert_allclose(levels, levels[0] * times / times[0], rtol=1e-5)
    truth = maker.scene(requests[1]).tables["lamp_electrons"].max()
    assert truth == pytest.approx(
        maker.scene(requests[0]).tables["lamp_electrons"].max() * levels[1] / levels[0], rel=1e-3
    )


def test_curvature_bends_the_signal_and_some_pixels_more():
    effects = Effects.from_mapping({"curvature": 1.0})
    state = detector_state("NIR", 3, effects)
    well = state.hardware.full_well
    mean = mean_curvature("NIR", 3, effects)
    assert 0.039 < mean < 0.061
    lost = 1.0 - state.recorded(np.full(state.response.shape, 0.8 * well, np.float32)) / (0.8 * well)
    usual = ~state.deviating
    assert np.median(lost[usual]) == pytest.approx(mean * (0.8 + 0.35 * 0.512) / 1.35, rel=1e-3)
    assert lost[usual].std() / lost[usual].mean() == pytest.approx(0.02, rel=0.1)
    assert 1000 < state.deviating.sum() < 2500
    assert np.abs(lost[state.deviating] / np.median(lost) - 1.0).min() > 0.8
    plain = detector_state("NIR", 3, Effects())
    assert plain.curvature is None
    assert not plain.deviating.any()


def test_frames_of_a_curved_detector_hold_less():
    usual = {"effects": Effects.none(), "lamp_scale": 1.5}
    straight = simulate_frame("slit_flat", "VIS", seed=2, **usual)
    curved = simulate_frame(
        "slit_flat",
        "VIS",
        seed=2,
        effects=Effects(**{**Effects.none().as_dict(), "curvature": 1.0}),
        lamp_scale=1.5,
    )
    bright = straight.truth.electrons > 80000.0
    assert bright.sum() > 1000
    difference = (straight.data - curved.data.astype(float))[:, 50:858] * 2.0
    expected = straight.truth.electrons - curved.truth.detector.recorded(straight.truth.electrons)
    np.testing.assert_allclose(difference[bright], expected[bright], atol=2.1)


def test_the_page_names_every_plan():
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    table = page[page.index("| plan |") : page.index("In the plans from")]
    assert set(re.findall(r"`([a-z-]+)`", "".join(row.split("|")[1] for row in table.splitlines() if row))) == set(
        PLANS
    )
