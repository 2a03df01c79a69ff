"""Frames and nights as files, with their truth."""

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from soxs_recipes.errors import InputError
from soxs_recipes.simulator import Effects, expected_light, load_truth, reproduce, simulate_frame, simulate_night
from soxs_recipes.simulator import night as night_module
from soxs_recipes.simulator.__main__ import main
from soxs_recipes.simulator.catalogues import lamp_lines
from soxs_recipes.simulator.frames import default_request
from soxs_recipes.simulator.night import PLANS, Template, night_plan

_TEMPLATES = [
    Template("VIS", "bias", 2),
    Template("VIS", "pinhole_arc"),
    Template("NIR", "pinhole_flat", 1, off_count=1),
    Template("NIR", "science", 2, slit="SLIT1.0"),
]


@pytest.fixture(scope="module")
def small_night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(night_module.PLANS, "small", lambda: _TEMPLATES)
        return simulate_night(folder, seed=7, plan="small")


def test_files_are_named_by_their_dates_and_signed(small_night):
    assert len(small_night.frames) == 7
    for record in small_night.frames:
        path = small_night.path(record)
        with fits.open(path, checksum=True) as hdus:
            header = hdus[0].header
            assert path.name == f"SOXS.{header['DATE-OBS']}.fits"
            assert hdus[0].data.dtype == np.uint16
            assert {"CHECKSUM", "DATASUM"} <= set(header)


def test_templates_have_starts_of_their_own_and_count_their_frames(small_night):
    seen = {}
    for record in small_night.frames:
        header = fits.getheader(small_night.path(record))
        seen.setdefault(header["ESO TPL START"], []).append((header["ESO TPL EXPNO"], header["ESO TPL NEXP"]))
    assert sorted(map(sorted, seen.values())) == [
        [(1, 1)], [(1, 2), (2, 2)], [(1, 2), (2, 2)], [(1, 2), (2, 2)],
    ]  # fmt: skip


def test_truth_is_found_again(small_night):
    loaded = load_truth(small_night.folder)
    assert loaded.frames == small_night.frames
    assert loaded.effects == Effects()
    science = loaded.select("science", "NIR")
    assert len(science) == 2
    assert science[0].flexure != science[1].flexure
    x, y = loaded.model(science[0]).evaluate(15, 1300.0, 0.0)
    x2, y2 = loaded.model(science[1].file).evaluate(15, 1300.0, 0.0)
    assert 0.0 < np.hypot(x - x2, y - y2) < 0.5
    tables = loaded.tables(science[0])
    assert tables.truth_counts(15, np.array([1280.0, 1320.0]))[0] > 1000.0
    with pytest.raises(InputError, match="no such truth file"):
        loaded.tables(loaded.select("bias")[0])
    with pytest.raises(InputError, match="not a frame of"):
        loaded.record("SOXS.1999-01-01T00:00:00.000.fits")


def test_a_frame_of_the_night_is_made_again_bit_by_bit(small_night, monkeypatch):
    monkeypatch.setitem(night_module.PLANS, "small", lambda: _TEMPLATES)
    record = small_night.select("pinhole_arc", "VIS")[0]
    again = reproduce(small_night, record)
    np.testing.assert_array_equal(fits.getdata(small_night.path(record)), again.data)
    assert again.truth.electrons.max() > 1000.0


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be made"):
        simulate_night(tmp_path / "file" / "night", plan="tiny")


def test_a_failure_stops_both_arms(tmp_path, monkeypatch):
    monkeypatch.setitem(night_module.PLANS, "small", lambda: [*_TEMPLATES, Template("VIS", "bias", 500)])

    def fail(done, total, name):
        raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="SOXS"):
        simulate_night(tmp_path, seed=7, plan="small", progress=fail)
    assert len(list(tmp_path.glob("SOXS.*.fits"))) < 10


def test_light_of_object_and_sky_come_apart(small_night, monkeypatch):
    monkeypatch.setitem(night_module.PLANS, "small", lambda: _TEMPLATES)
    record = small_night.select("science", "NIR")[0]
    total, sky = expected_light(small_night, record)
    tables = small_night.tables(record).tables
    assert total.shape == sky.shape == (2040, 2040)
    # Scattered light and fringes are a few percent of it.
    assert (total - sky).sum(dtype=float) == pytest.approx(tables["object_electrons"].sum(), rel=0.05)
    dark, _ = expected_light(small_night, small_night.select("bias", "VIS")[0])
    assert dark.max() == 0.0


def test_frames_of_equal_seed_are_equal_and_of_another_index_independent():
    one = simulate_frame("pinhole_arc", "VIS", seed=5)
    two = simulate_frame("pinhole_arc", "VIS", seed=5)
    other = simulate_frame("pinhole_arc", "VIS", seed=5, index=1)
    np.testing.assert_array_equal(one.data, two.data)
    assert (one.data != other.data).mean() > 0.5
    assert repr(one.header) == repr(two.header)


def test_raw_counts_are_the_truth_with_noise():
    """Pull distribution of a whole frame against its own truth; a response that is left out would show."""
    frame = simulate_frame(
        "pinhole_flat", "NIR", seed=5, effects=Effects(cosmic_rays=0, persistence=0, bias_drift=0)
    )
    detector = frame.truth.detector
    hardware = detector.hardware
    y0, y1, x0, x1 = hardware.window
    expected = frame.truth.electrons * detector.response + detector.dark * frame.header["EXPTIME"]
    expected = np.minimum(expected, hardware.full_well)
    signal = frame.data[y0:y1, x0:x1] * hardware.gain - detector.bias[y0:y1, x0:x1]
    sigma = np.sqrt(expected + hardware.read_noise**2 + hardware.gain**2 / 12.0)
    pull = (signal - expected) / sigma
    assert abs(pull.mean()) < 0.01
    assert pull.std() == pytest.approx(1.0, abs=0.005)
    bright = expected > 5000.0
    assert bright.sum() > 10000
    without_response = (signal - frame.truth.electrons)[bright] / sigma[bright]
    assert without_response.std() > 1.1
    assert pull[bright].std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("plan", sorted(PLANS))
def test_plans_hold_what_their_names_say(plan):
    templates = night_plan(plan)
    kinds = {(t.arm, t.kind) for t in templates}
    arms = {"vis": {"VIS"}, "nir": {"NIR"}}.get(plan, {"VIS", "NIR"})
    assert {t.arm for t in templates} == arms
    assert all((arm, "linearity" if plan == "lingain" else "science") in kinds for arm in arms)
    without = ("no-standard", "nir", "user-arcs", "user-pinhole-arcs", "lingain")
    assert (("VIS", "standard") in kinds) == (plan not in without)
    wide = [t for t in templates if t.kind == "slit_flat" and t.slit == "SLIT5.0"]
    assert bool(wide) == (plan not in ("no-wide-flat", "lingain"))


@pytest.mark.parametrize(
    ("plan", "kind", "attribute", "value"),
    [
        ("dead-xenon-lamp", "pinhole_arc", "dead_lamp", "Xe"),
        ("dead-arc-lamps", "multi_pinhole_arc", "lamp_scale", 1e-6),
        ("dead-flat-lamp", "slit_flat", "lamp_scale", 1e-6),
    ],
)
def test_lamps_of_the_infrared_arm_fail_where_the_plan_says(plan, kind, attribute, value):
    for arm, expected in (("NIR", value), ("VIS", getattr(default_request(kind, "VIS"), attribute))):
        found = {
            getattr(e.request, attribute)
            for e in night_module.exposures(plan, 1, Effects())
            if (e.request.arm, e.request.kind.name) == (arm, kind)
        }
        assert found == {expected}


def test_a_dead_lamp_takes_its_lines_away():
    lines = lamp_lines("NIR", 1, Effects())
    left = lines.without("Xe")
    assert 0 < left.wavelength.size < lines.wavelength.size
    assert not any(name.startswith("Xe") for name in left.species)
    assert {"ArI", "HgI", "NeI"} <= set(left.species)


def test_command_line_reports_errors_in_one_line(tmp_path):
    runner = CliRunner()
    wrong = runner.invoke(main, ["--output", str(tmp_path), "--effect", "fringes=1"])
    assert wrong.exit_code == 1
    assert "no effect 'fringes'" in wrong.output
    assert "NAME=STRENGTH" in runner.invoke(main, ["--output", str(tmp_path), "--effect", "fringing"]).output
    assert runner.invoke(main, ["--output", str(tmp_path), "--plan", "moon"]).exit_code == 2
    with pytest.raises(InputError, match="no plan 'moon'"):
        night_plan("moon")


def test_command_line_writes_a_night(tmp_path, monkeypatch):
    monkeypatch.setitem(night_module.PLANS, "demo", lambda: [Template("VIS", "bias", 1)])
    result = CliRunner().invoke(main, ["--output", str(tmp_path / "n"), "--seed", "2"])
    assert result.exit_code == 0, result.output
    assert "1 frames of plan demo, seed 2" in result.output
    assert len(list((tmp_path / "n").glob("SOXS.*.fits"))) == 1
