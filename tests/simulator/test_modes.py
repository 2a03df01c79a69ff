"""Nods, offsets and maps: the target moves as the header says, the light follows, the sky changes."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from soxs_recipes.instrument.classify import classify
from soxs_recipes.simulator import Effects, load_truth, simulate_night
from soxs_recipes.simulator import night as night_module
from soxs_recipes.simulator.catalogues import airglow_family
from soxs_recipes.simulator.conditions import varied
from soxs_recipes.simulator.frames import (
    default_request,
    displacement_on_sky,
    displacement_on_slit,
    pointing_of,
    supernova,
)
from soxs_recipes.simulator.hardware import ARMS
from soxs_recipes.simulator.headers import Offset, Sequence, raw_header
from soxs_recipes.simulator.light import Observation, _StarInOrder
from soxs_recipes.simulator.night import Template, exposures
from soxs_recipes.simulator.plans import PLANS
from soxs_recipes.simulator.truth import TableTruth

_OBSERVATION = Observation(600.0, airmass=1.2, seeing=0.9, slit_width=1.0)
_ON_SKY = {
    name: [e for e in exposures(name, 3, Effects()) if e.request.kind.on_sky]
    for name in ("modes", "nod", "offset", "offset-sky", "generic-offset", "mapping")
}


def _header(request):
    start = Time("2026-03-02T01:02:03.456", precision=3)
    place = Sequence(start, start)
    hardware = ARMS[request.arm]
    return raw_header(request.kind, hardware, 60.0, place, pointing_of(request), request.slit)


@pytest.mark.parametrize(
    ("plan", "tags"),
    [
        ("nod", {"STD_FLUX_NOD_VIS": 2, "OBJECT_NOD_VIS": 4}),
        ("offset", {"STD_FLUX_OFFSET_VIS": 2, "OBJECT_OFFSET_VIS": 4}),
        ("offset-sky", {"STD_FLUX_OFFSET_VIS": 2, "OBJECT_OFFSET_VIS": 2, "SKY_OFFSET_VIS": 2}),
        ("generic-offset", {"STD_FLUX_STARE_VIS": 1, "OBJECT_OFFSET_VIS": 4}),
        ("mapping", {"STD_FLUX_STARE_VIS": 1, "OBJECT_MAP_VIS": 5}),
        (
            "modes",
            {"STD_FLUX_STARE_VIS": 1, "OBJECT_STARE_VIS": 2, "OBJECT_NOD_VIS": 4, "OBJECT_OFFSET_VIS": 4},
        ),
    ],
)
def test_exposures_are_classified_as_their_mode(plan, tags):
    found = {}
    for exposure in _ON_SKY[plan]:
        tag = classify(_header(exposure.request)).tag
        found[tag] = found.get(tag, 0) + 1
    both = {**tags, **{tag.replace("VIS", "NIR"): count for tag, count in tags.items()}}
    assert found == both


def test_the_night_of_all_modes_is_of_a_fair_size():
    assert len(list(exposures("modes", 1, Effects()))) == 81


def test_nods_are_pairs_about_the_target():
    nod = [e for e in _ON_SKY["nod"] if e.request.kind.name == "science" and e.request.arm == "NIR"]
    offsets = [e.request.offset for e in nod]
    assert "".join(o.beam for o in offsets) == "ABBA"
    assert [o.y > 0 for o in offsets] == [True, False, False, True]
    assert offsets[0].y - offsets[1].y == pytest.approx(5.0)
    assert offsets[3].y - offsets[2].y == pytest.approx(5.0)
    assert 0.0 < abs(offsets[0].y - offsets[3].y) < 1.0  # jitter
    assert [(e.sequence.number, e.sequence.count) for e in nod] == [(n, 4) for n in (1, 2, 3, 4)]
    positions = [e.request.sources[0].slit_position for e in nod]
    np.testing.assert_allclose(np.diff(positions), np.diff([o.y for o in offsets]), atol=1e-9)
    header = _header(nod[1].request)
    assert header["ESO SEQ CUMOFF Y"] == offsets[1].y
    assert (header["ESO SEQ NOD THROW"], header["ESO SEQ JITTER WIDTH"]) == (5.0, 1.0)


def test_both_arms_see_one_sky_and_one_pattern_but_other_template_starts():
    for plan, found in _ON_SKY.items():
        arms = {arm: [e for e in found if e.request.arm == arm] for arm in ("VIS", "NIR")}
        assert [e.request.offset for e in arms["VIS"]] == [e.request.offset for e in arms["NIR"]], plan
        starts = {arm: {e.sequence.template_start.isot for e in arms[arm]} for arm in arms}
        assert not starts["VIS"] & starts["NIR"]


def test_sky_exposures_are_empty_and_say_where_they_look():
    offset = [e.request for e in _ON_SKY["offset"] if e.request.kind.name == "science" and e.request.arm == "VIS"]
    assert [bool(r.sources) for r in offset] == [True, False, False, True]
    headers = [_header(r) for r in offset]
    assert [h["ESO SEQ FIXOFF RA"] + h["ESO SEQ FIXOFF DEC"] for h in headers] == [-40.0, 40.0, 40.0, -40.0]
    assert {h["OBJECT"] for h in headers} == {"SN2026abc"}
    target = headers[0]
    east = (headers[1]["RA"] - target["RA"]) * 3600.0 * np.cos(np.radians(target["DEC"]))
    north = (headers[1]["DEC"] - target["DEC"]) * 3600.0
    jitter = headers[0]["ESO SEQ CUMOFF Y"]
    assert (east, north) == pytest.approx((25.0, 15.0), abs=0.01)
    assert headers[1]["ESO SEQ CUMOFF Y"] == pytest.approx(jitter - 15.0)
    typed = [e.request for e in _ON_SKY["offset-sky"] if e.request.offset.typed_sky]
    assert len(typed) == 4
    assert _header(typed[0])["OBJECT"] == "SKY"
    generic = [_header(e.request) for e in _ON_SKY["generic-offset"] if e.request.offset.mode == "OFFSET"]
    assert len(generic) == 8
    assert not any("ESO SEQ FIXOFF RA" in header for header in generic)


def test_a_map_steps_across_its_target():
    steps = [e.request for e in _ON_SKY["mapping"] if e.request.offset.mode == "MAP" and e.request.arm == "NIR"]
    assert [r.sources[0].cross_position for r in steps] == [-2.0, -1.0, 0.0, 1.0, 2.0]
    angle = steps[0].position_angle
    assert abs(angle) > 1.0
    header = _header(steps[4])
    assert header["ESO ADA POSANG"] == angle
    middle = pointing_of(steps[2])
    east = (header["RA"] - middle.ra) * 3600.0 * np.cos(np.radians(middle.dec))
    north = (header["DEC"] - middle.dec) * 3600.0
    # The target went 2 arcsec across the slit, so the telescope went the other way.
    assert displacement_on_slit(east, north, angle) == pytest.approx((-2.0, 0.0), abs=0.01)


def test_displacements_turn_with_the_slit():
    assert displacement_on_sky(Offset(y=1.0), 90.0) == pytest.approx((1.0, 0.0))
    assert displacement_on_sky(Offset(x=1.0), 0.0) == pytest.approx((1.0, 0.0))
    assert displacement_on_slit(*displacement_on_sky(Offset(x=0.3, y=-1.2), 37.0), 37.0) == pytest.approx(
        (0.3, -1.2)
    )


@pytest.mark.parametrize(("across", "extent"), [(0.0, 0.0), (0.4, 0.0), (1.0, 2.0)])
def test_light_through_the_slit_is_that_of_the_image_on_it(clean_vis, across, extent):
    """Against a sum over the two-dimensional image."""
    source = replace(supernova(slit_position=0.0), cross_position=across, extent=extent)
    star = _StarInOrder(clean_vis, 1, source, _OBSERVATION)
    wavelength = np.array([600.0, 601.0])
    fwhm = np.hypot(0.9 * 1.2**0.6 * 1.2**-0.2, extent)
    alpha = fwhm / (2.0 * np.sqrt(2.0**0.25 - 1.0))
    grid = np.arange(-60.0, 60.0, 0.02) + 0.01
    x, s = grid[:, None], grid[None, :]
    light = (1.0 + (x * x + s * s) / alpha**2) ** -4.0
    passed = light[np.abs(grid + across) < 0.5].sum() / light.sum()
    assert star.transmission(wavelength)[0] == pytest.approx(passed, rel=2e-3)


def test_a_star_beside_the_middle_of_the_slit_moves_its_lines(clean_vis):
    edges = np.linspace(668.5, 670.7, 300)
    centres = []
    for across in (-0.3, 0.0, 0.3):
        source = replace(supernova(host_line=1e-14), cross_position=across)
        star = _StarInOrder(clean_vis, 1, source, _OBSERVATION)
        counts = TableTruth(star.table()).truth_counts(1, edges)
        line = counts - np.median(counts)
        centres.append(float((line * 0.5 * (edges[1:] + edges[:-1])).sum() / line.sum()))
    steps = np.diff(centres) / 0.04  # px, with 0.04 nm a pixel
    assert np.all((steps > 0.1) & (steps < 1.1))  # at most what 0.3 arcsec are
    assert steps[0] == pytest.approx(steps[1], rel=0.1)


def test_airglow_families_are_those_of_the_bands():
    # Q branches: 3-1, 4-2, 9-6, 8-3, 6-2, 9-4; oxygen and sodium.
    wavelength = np.array([1505.0, 1582.0, 1390.0, 728.5, 834.5, 775.0, 557.89, 589.2])
    assert airglow_family(wavelength).tolist() == [3, 4, 9, 8, 6, 9, 0, 0]


def test_the_sky_changes_smoothly_and_alike_for_both_arms():
    times = np.arange(0.0, 400.0, 10.0)
    sky = [varied(_OBSERVATION, 5, minutes) for minutes in times]
    families = np.array([o.airglow for o in sky])
    assert families.shape == (40, 10)
    assert 0.015 < families.std(axis=0).mean() < 0.09
    assert 0.005 < (families - families.mean(axis=1)[:, None]).std() < 0.05
    close = varied(_OBSERVATION, 5, times[7] + 0.5)
    assert np.abs(np.array(close.airglow) - families[7]).max() < 0.02
    seeing = np.array([o.seeing for o in sky])
    assert 0.01 < seeing.std() / 0.9 < 0.15
    assert all(o.transparency <= 1.0 for o in sky)
    still = varied(_OBSERVATION, 5, 33.0, 0.0)
    assert (set(still.airglow), still.seeing, still.continuum) == ({1.0}, 0.9, 1.0)


def test_plans_that_are_measured_already_keep_their_constant_sky():
    for plan in ("demo", "full", "tiny"):
        assert not any(t.varying for t in PLANS[plan]())
    science = [e.request for e in exposures("demo", 1, Effects()) if e.request.kind.name == "science"]
    assert len({r.observation.seeing for r in science}) == 1
    assert all(not r.observation.airglow for r in science)


@pytest.fixture(scope="module")
def nod_pair(tmp_path_factory):
    (template,) = [t for t in PLANS["nod"]() if t.arm == "VIS" and t.kind == "science"]
    pair = replace(template, pattern=replace(template.pattern, beams="AB"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(night_module.PLANS, "pair", lambda: [pair])
        yield simulate_night(tmp_path_factory.mktemp("pair"), seed=4, plan="pair")


def test_a_nod_on_files_shows_the_target_where_its_record_says(nod_pair):
    night = load_truth(nod_pair.folder)
    first, second = night.frames
    assert (first.beam, second.beam, first.mode) == ("A", "B", "NOD")
    assert first.slit_position - second.slit_position == pytest.approx(5.0)
    assert first.flexure != second.flexure
    assert first.mjd_middle < second.mjd_middle
    assert first.seeing != second.seeing
    images = [fits.getdata(night.path(record)).astype(float) for record in night.frames]
    difference = images[0] - images[1]
    order, wavelength = 1, 620.0
    for record, sign in ((first, 1.0), (second, -1.0)):
        truth = night.tables(record).slit_position(order, np.array([wavelength]))
        assert truth[0] == pytest.approx(record.slit_position, abs=0.02)
        x, y = (float(v) for v in night.model(record).evaluate(order, wavelength, truth[0]))
        rows = slice(int(y) - 10, int(y) + 11)
        profile = sign * np.median(difference[rows, 50 + int(x) - 8 : 50 + int(x) + 9], axis=0)
        assert abs(int(np.argmax(profile)) + int(x) - 8 - x) < 2.0
        assert profile.max() > 10.0


def test_sky_frames_and_calibrations_have_no_slit_position():
    from soxs_recipes.simulator.night import _circumstances

    for exposure in _ON_SKY["offset"]:
        told = _circumstances(exposure)
        assert (told["slit_position"] is None) == (told["beam"] == "S")
    bias = next(exposures("offset", 1, Effects()))
    assert bias.request.kind.name == "bias"
    assert (_circumstances(bias)["mode"], _circumstances(bias)["slit_position"]) == ("", None)


def test_truth_knows_the_roughness_of_the_jaws():
    from soxs_recipes.simulator.light import source_light
    from soxs_recipes.simulator.spectrograph import Spectrograph

    effects = replace(Effects.none(), pixel_response=1.0)
    ratios, at_middle = [], []
    for position in (-2.0, 2.0):
        rough = Spectrograph.of_seed("VIS", 3, effects)
        even = Spectrograph.of_seed("VIS", 3, Effects.none())
        images = []
        for spectrograph in (rough, even):
            image = spectrograph.blank()
            table = source_light(spectrograph, image, supernova(slit_position=position), _OBSERVATION)
            chosen = table["object_order"] == 1
            images.append((image[:, 100:230].sum(), table["object_electrons"][chosen].sum()))
            edges = np.array([560.0, 660.0])
            flat_fielded = TableTruth(table).truth_counts(1, edges)
            through = TableTruth(table).truth_counts(1, edges, through_jaws=True)
            assert through / flat_fielded == pytest.approx(np.median(table["object_jaws"][chosen]), abs=1e-5)
            at_middle.append(float(flat_fielded[0]))
        (light, truth), (even_light, even_truth) = images
        assert light / even_light == pytest.approx(truth / even_truth, abs=2e-5)
        ratios.append(truth / even_truth - 1.0)
    assert 3e-4 < np.abs(ratios).max() < 3.1e-3
    middle = rough.slit_surface(1)(np.zeros(1), np.zeros(1))[0]
    # At each position first with uneven jaws, then with even ones.
    assert np.array(at_middle)[::2] / np.array(at_middle)[1::2] == pytest.approx(middle, abs=1e-5)
    assert abs(middle - 1.0) > 1e-4


def test_unknown_modes_of_calibrations_stay_as_they_are():
    request = default_request("bias", "VIS")
    assert request.kind.at(Offset("NOD", "A")) is request.kind
    assert Template("VIS", "bias", 3).exposures == 3
