import json
import re

import pytest
from fake_night import Night

from soxs_recipes import simulator
from soxs_recipes.cli import show


class Written:
    def __init__(self, frames):
        self.frames = frames


@pytest.fixture
def simulated(monkeypatch):
    """Nights that the simulator was asked for; it writes headers only."""
    asked = []

    def simulate_night(folder, seed=1, plan="demo", effects=None, keep_images=False, progress=None):
        asked.append((str(folder), seed, plan, effects))
        night = Night(folder).complete()
        progress(1, 1, "name")
        (folder / "truth").mkdir()
        (folder / "truth" / "night.json").write_text(json.dumps({"seed": seed, "plan": plan}))
        return Written([path for paths in night.written.values() for path in paths])

    monkeypatch.setattr(simulator, "simulate_night", simulate_night, raising=False)
    return asked


@pytest.mark.usefixtures("fake_recipes")
def test_demo_simulates_once_and_reduces(soxs, simulated, tmp_path):
    where = ("demo", "-o", tmp_path / "demo", "--seed", "7", "--no-plots")
    code, out, _ = soxs(*where)
    assert code == 0
    assert "SN2026abc\tNIR" in out
    assert "18 recipe calls run, 0 as before" in out
    code, out, _ = soxs(*where)
    assert code == 0
    assert "the night of seed 7 is in" in out
    assert "0 recipe calls run, 18 as before" in out
    assert simulated == [(str(tmp_path / "demo"), 7, "demo", None)]


@pytest.mark.usefixtures("fake_recipes")
def test_demo_does_not_touch_other_frames(soxs, simulated, tmp_path):
    Night(tmp_path / "mine").complete()
    code, _, err = soxs("demo", "-o", tmp_path / "mine")
    assert code == 20
    assert "holds frames of something else" in err
    assert simulated == []


def test_simulate_hands_its_wishes_on(soxs, simulated, tmp_path):
    code, out, _ = soxs("simulate", "-o", tmp_path / "night", "--seed", "3", "--effect", "fringing=0")
    assert code == 0
    assert "seed 3" in out
    ((_, seed, plan, effects),) = simulated
    assert (seed, plan, effects.fringing) == (3, "demo", 0.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--plan", "lunch"], "there is no plan 'lunch'"), (["--effect", "fringing"], "NAME=STRENGTH")],
)
def test_wishes_that_cannot_be_met_are_named(soxs, simulated, tmp_path, words, message):
    code, _, err = soxs("simulate", "-o", tmp_path / "night", *words)
    assert (code, simulated) == (20, [])
    assert message in err


def test_help_names_every_plan(soxs):
    code, out, _ = soxs("simulate", "--help")
    assert code == 0
    assert len(simulator.PLANS) > 15
    assert [plan for plan in simulator.PLANS if not re.search(rf"(?<![\w-]){plan}(?![\w-])", out)] == []


@pytest.mark.parametrize(
    ("days", "text"), [(-0.34, "8.2 h before"), (0.01, "0.2 h after"), (-30.0, "30.0 d before"), (None, "")]
)
def test_when_a_calibration_was_taken(days, text):
    assert show.when_taken(days) == text


def test_progress_away_from_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    times = iter([0.0, 3.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr(show.time, "monotonic", lambda: next(times))
    with show.counting("Simulating", quiet=False) as progress:
        for done in range(1, 5):
            progress(done, 4)
    assert capsys.readouterr() == ("", "Simulating: 2/4\nSimulating: 4/4\n")
    with show.counting("Simulating", quiet=True) as progress:
        progress(1, 4)
    assert capsys.readouterr() == ("", "")


def rows_of(*about):
    names = ("target", "arm", "night", "mode", "begin")
    return [dict(zip(names, row, strict=True)) for row in about]


def test_targets_of_several_nights_are_told_apart():
    rows = rows_of(*(("SN", "VIS", night, "stare", f"{night}T01:00") for night in ("2026-03-01", "2026-03-02")))
    assert [row["target"] for row in show.told_apart(rows)] == ["SN 2026-03-01", "SN 2026-03-02"]
    assert [row["target"] for row in show.told_apart(rows[:1])] == ["SN"]


def test_a_target_observed_more_than_once_is_told_apart_by_mode_then_by_time():
    rows = rows_of(
        ("SN", "VIS", "2026-03-01", "stare", "2026-03-02T01:00:05"),
        ("SN", "NIR", "2026-03-01", "stare", "2026-03-02T01:00:09"),
        ("SN", "VIS", "2026-03-01", "nod", "2026-03-02T02:00:05"),
        ("SN", "VIS", "2026-03-01", "nod", "2026-03-02T03:30:05"),
        ("other", "VIS", "2026-03-01", "nod", "2026-03-02T03:30:05"),
    )
    names = ["SN stare", "SN", "SN nod 02:00", "SN nod 03:30", "other"]
    assert [row["target"] for row in show.told_apart(rows)] == names
