import collections
import contextlib
import functools
import os
import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from fake_recipes import DECLARATIONS

from soxs_recipes.cascade import run
from soxs_recipes.cascade.night import open_workspace, prepare
from soxs_recipes.cascade.plan import PlanInputs
from soxs_recipes.cascade.results import JOB_FILE, look_after
from soxs_recipes.cascade.run import NightRun, RunOptions
from soxs_recipes.errors import InputError
from soxs_recipes.instrument import load_instrument

TASKS_OF_A_NIGHT = 18


class Runner:
    """One workspace that is run again and again, each time with fresh processes as a user would."""

    def __init__(self, folder, output=None):
        self.folder, self.output = folder, output
        self.events = []

    def run(self, level=None, declarations=DECLARATIONS, **options):
        options = {"workers": 2, "plots": False, "target": "fake_calls:run", **options}
        levels = level or {}
        workspace = open_workspace(self.folder, self.output)
        try:
            with workspace.locked():
                inputs = PlanInputs(
                    prepare(workspace).frames,
                    declarations,
                    lambda r, a: {"level": levels.get((r, a), 3)},
                    lambda tag: None,
                )
                night = NightRun(workspace, inputs, RunOptions(**options), self.events.append)
                night.run()
        finally:
            workspace.close()
        return night


@pytest.fixture
def runner(complete_night):
    return Runner(complete_night.folder)


def tasks_of(names):
    return collections.Counter(name.split("/")[1] for name in names)


def status_of(night, task, arm):
    (result,) = [r for r in night.results.values() if r["task"] == task and r["arm"] == arm]
    return result


def flat_of(night, arm):
    (link,) = [link for link in status_of(night, "science", arm)["inputs"] if link["name"] == "flat"]
    return link["jobs"][0]


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def test_a_night_runs_whole(runner):
    night = runner.run()
    assert len(night.ran) == TASKS_OF_A_NIGHT
    assert {result["status"] for result in night.results.values()} == {"COMPLETE"}
    for result in night.results.values():
        folder = Path(result["folder"])
        assert (folder / JOB_FILE).is_file()
        assert all((folder / product["name"]).stat().st_size > 0 for product in result["products"])
        assert result["folder"].endswith(result["job"])
    science = status_of(night, "science", "VIS")
    text = (Path(science["folder"]) / "SCI_SLIT_ORDER1D_VIS.fits").read_text().split()
    assert text == ["BP_MAP_RP_VIS.fits", "DISP_TAB_2D_VIS.fits", "MASTER_BIAS_VIS.fits", "MASTER_FLAT_VIS.fits",
                    "ORDER_TAB_EDGES_VIS.fits", "RESP_TAB_VIS.fits", "SOXS.vis_SN2026abc.01.fits",
                    "SOXS.vis_SN2026abc.02.fits", "SOXS.vis_SN2026abc.03.fits"]  # fmt: skip
    assert not (runner.folder / "soxs" / "tmp").exists()


def test_of_what_is_ready_the_longest_chain_begins(runner):
    night = runner.run(workers=1)
    jobs = {job.name: job for job in night.plan.jobs}
    arms = {arm.name: arm for arm in load_instrument().arms}

    @functools.cache
    def chain(name):
        own = jobs[name].task.expected(len(jobs[name].frames), arms[jobs[name].arm])[0]
        return own + max((chain(after) for after, job in jobs.items() if name in job.upstream), default=0.0)

    begun = [event.job for event in runner.events if event.kind == "start"]
    assert len(begun) == TASKS_OF_A_NIGHT
    for count, name in enumerate(begun):
        ready = [n for n in begun[count:] if set(jobs[n].upstream) <= set(begun[:count])]
        assert chain(name) == pytest.approx(max(chain(other) for other in ready))
    standards = [name for name in begun if "/standard/" in name]
    assert ["NIR" in name for name in standards] == [True, False]  # more orders, more work


def test_raw_frames_stay_untouched(runner):
    before = snapshot(runner.folder)
    runner.run()
    after = {path: time for path, time in snapshot(runner.folder).items() if "soxs" not in path.parent.parts[-4:]}
    assert {path: after.get(path) for path in before} == before


def test_the_second_run_does_nothing(runner):
    runner.run()
    before = {p: t for p, t in snapshot(runner.folder / "soxs").items() if "soxs." not in p.name}
    night = runner.run()
    assert night.ran == []
    assert {p: t for p, t in snapshot(runner.folder / "soxs").items() if "soxs." not in p.name} == before


def test_a_parameter_reruns_exactly_its_dependents_and_going_back_none(runner):
    runner.run()
    changed = runner.run(level={("soxs_spatial_solution", "NIR"): 4})
    assert tasks_of(changed.ran) == {"spatial_solution": 1, "standard": 1, "response": 1, "science": 1}
    assert all("/NIR" in name for name in changed.ran)
    assert runner.run(level={("soxs_spatial_solution", "NIR"): 4}).ran == []
    assert runner.run().ran == []


def test_why_is_told(runner):
    night = runner.run()
    workspace = open_workspace(runner.folder)
    inputs = PlanInputs(
        prepare(workspace).frames,
        DECLARATIONS,
        lambda r, a: {"level": 4 if r == "soxs_mflat" else 3},
        lambda t: None,
    )
    again = NightRun(workspace, inputs)
    again._settle()
    workspace.close()
    why = {job.task.name: again.states[job.name].why for job in again.plan.jobs if job.arm == "VIS"}
    assert why["flat"] == "parameter level 3 -> 4"
    assert why["science"] == "2-D solution changed; flat changed; response changed"
    assert why["bias"] == "nothing changed"
    assert len(night.ran) == TASKS_OF_A_NIGHT


def test_a_replaced_frame_invalidates_its_dependents(runner, complete_night):
    runner.run()
    complete_night.add("vis_order", "VIS", ("CALIB", "LAMP,FLAT", "ECHELLE,PINHOLE"), at=-0.26, slit="PINHOLE",
                       exptime=15.0, start=f"order{complete_night.mjd}")  # fmt: skip
    night = runner.run()
    once = ("order_centres", "spatial_solution", "standard", "response", "science")
    assert tasks_of(night.ran) == {**dict.fromkeys(once, 1), "flat": 2}


def test_a_product_that_was_deleted_is_made_again(runner):
    night = runner.run()
    flat = status_of(night, "disp_solution", "VIS")
    (Path(flat["folder"]) / flat["products"][0]["name"]).unlink()
    assert runner.run().ran == [flat["job"]]


def test_a_result_that_was_changed_is_made_again(runner):
    """Nobody reads it, so its size and time must tell."""
    night = runner.run()
    science = status_of(night, "science", "VIS")
    changed = Path(science["folder"]) / science["products"][0]["name"]
    written = changed.read_bytes()
    changed.write_bytes(b"X" + written[1:])
    assert sorted(runner.run().ran)[:1] == [science["job"]]
    assert changed.read_bytes() == written
    assert runner.run().ran == []


def test_a_result_that_was_copied_is_not_made_again(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.arange(100.0)).writeto(path, checksum=True)
    result = {"folder": str(tmp_path), "products": [{"name": "a.fits"}, {"name": "gone.fits"}], "files": {}}
    assert look_after(result)  # not as it is remembered, and sound
    assert (list(result["files"]), result["damaged"]) == (["a.fits"], [])
    assert not look_after(result)
    content = bytearray(path.read_bytes())
    content[2880 + 80] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    before = dict(result["files"])
    assert not look_after(result)
    assert (result["files"], result["damaged"]) == (before, ["a.fits"])
    old = {"folder": str(tmp_path), "products": [{"name": "a.fits"}]}  # written before sizes and times were
    assert not look_after(old)
    assert old["damaged"] == []


def test_a_damaged_product_is_made_again_when_it_is_needed(runner):
    night = runner.run()
    flat = status_of(night, "spatial_solution", "NIR")
    damaged = Path(flat["folder"]) / flat["products"][0]["name"]
    before = damaged.stat()
    damaged.write_bytes(bytes(before.st_size))
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk damages files
    science = status_of(night, "science", "NIR")["job"]
    runner.events.clear()
    again = runner.run(force=(science,))
    assert sorted(again.ran) == sorted([flat["job"], science])
    assert damaged.read_bytes() != bytes(before.st_size)
    assert [event.result["why"] for event in runner.events if event.kind == "again"] == [
        "DISP_TAB_2D_NIR.fits is damaged and is made again"
    ]
    assert {result["status"] for result in again.results.values()} == {"COMPLETE"}


def test_a_failed_recipe_hands_its_dependents_to_the_ladder(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "soxs_spatial_solution VIS fail")
    night = runner.run()
    spatial = status_of(night, "spatial_solution", "VIS")
    assert (spatial["status"], spatial["error_class"]) == ("FAILED", "AlgorithmError")
    assert "the fit went nowhere" in spatial["error"]
    science = status_of(night, "science", "VIS")
    assert science["status"] == "PARTIAL"
    assert science["reasons"] == ["no multi-pinhole arc: dispersion solution without slit term"]
    assert status_of(night, "science", "NIR")["status"] == "COMPLETE"
    assert not (night.workspace.products / spatial["job"]).exists()
    assert runner.run().ran == []


def test_a_failed_standard_leaves_counts(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "soxs_response NIR fail")
    science = status_of(runner.run(), "science", "NIR")
    assert science["reasons"] == ["no standard star: spectrum in counts"]


@pytest.mark.parametrize(
    ("way", "kind", "word"), [("crash", "Crash", "SIGSEGV"), ("raise", "OSError", "something odd")]
)
def test_a_crash_is_reported_and_the_night_goes_on(runner, monkeypatch, way, kind, word):
    monkeypatch.setenv("FAKE", f"soxs_mdark NIR {way}")
    night = runner.run()
    dark = status_of(night, "dark", "NIR")
    assert (dark["status"], dark["error_class"]) == ("FAILED", kind)
    assert word in dark["error"]
    assert (night.workspace.folder / "sof" / f"{dark['job']}.sof").is_file()
    science = status_of(night, "science", "NIR")
    assert science["status"] == "PARTIAL"
    assert any("dark" in reason for reason in science["reasons"])
    monkeypatch.setenv("FAKE", "")
    assert dark["job"] in runner.run().ran
    assert status_of(runner.run(), "science", "NIR")["status"] == "COMPLETE"


def test_a_call_whose_process_was_killed_is_repeated_once(runner, monkeypatch):
    """As the system does for want of memory, which may have passed."""
    monkeypatch.setenv("FAKE", "soxs_mdark NIR killed-once")
    night = runner.run()
    assert status_of(night, "dark", "NIR")["status"] == "COMPLETE"
    assert status_of(night, "science", "NIR")["status"] == "COMPLETE"
    again = [event for event in runner.events if event.kind == "again"]
    assert len(again) == 1
    assert "SIGKILL, perhaps for want of memory); repeated once" in again[0].result["why"]


def test_a_call_whose_process_is_always_killed_fails(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "soxs_mdark NIR killed")
    night = runner.run()
    assert "SIGKILL" in status_of(night, "dark", "NIR")["error"]
    assert status_of(night, "science", "NIR")["status"] == "PARTIAL"


def test_a_call_that_hangs_is_stopped(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "soxs_response VIS hang")
    begin = time.monotonic()
    night = runner.run(timeout=2.0)
    assert time.monotonic() - begin < 30.0
    response = status_of(night, "response", "VIS")
    assert (response["error_class"], response["status"]) == ("Timeout", "FAILED")
    assert status_of(night, "science", "VIS")["status"] == "PARTIAL"


def test_a_bad_frame_is_left_out_and_named(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "bad SOXS.vis_bias.03.fits")
    night = runner.run()
    bias = status_of(night, "bias", "VIS")
    assert bias["status"] == "PARTIAL"
    assert bias["left_out"] == ["SOXS.vis_bias.03.fits left out: all pixels are NaN"]
    made = (Path(bias["folder"]) / "MASTER_BIAS_VIS.fits").read_text()
    assert len(made.split()) == 4
    assert "SOXS.vis_bias.03" not in made
    assert status_of(night, "science", "VIS")["status"] == "COMPLETE"
    assert runner.run().ran == []


def test_files_are_known_in_errors_by_whole_names_only():
    assert run._is_named("bias1.fits", "/data/bias1.fits: all zero")
    assert run._is_named("bias1.fits.gz", "bias1: all zero")
    assert run._is_named("SOXS.2026-03-01T18:16:44.555.fits", "SOXS.2026-03-01T18:16:44.555: all zero")
    assert not run._is_named("bias1.fits", "bias10.fits: all zero")
    assert not run._is_named("bias1.fits", "mybias1.fits: all zero")
    assert run._cause("/data/bias1.fits: all zero", "bias1.fits") == "all zero"
    assert run._cause("bias1: all zero", "bias1.fits.gz") == "all zero"


def test_a_call_of_bad_frames_only_fails(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "bad SOXS.nir_std")
    standard = status_of(runner.run(), "standard", "NIR")
    assert standard["status"] == "FAILED"
    assert "all pixels are NaN" in standard["error"]


def test_a_missing_product_sends_dependents_down_the_ladder(runner, monkeypatch):
    monkeypatch.setenv("FAKE", "no DISP_TAB_2D;")
    night = runner.run()
    for arm in ("VIS", "NIR"):
        science = status_of(night, "science", arm)
        assert science["reasons"] == ["no multi-pinhole arc: dispersion solution without slit term"]
    monkeypatch.setenv("FAKE", "")
    assert runner.run().ran == []


def test_a_doubtful_calibration_gives_way_to_a_sound_one(runner, monkeypatch, complete_night):
    complete_night.add("vis_flat2", "VIS", ("CALIB", "LAMP,FLAT", "ECHELLE,SLIT"), 5, at=2.9, exptime=8.0)
    own = "2025-11-20/flat/VIS_SLIT1.0"
    assert flat_of(runner.run(), "VIS") == own
    monkeypatch.setenv("FAKE", f"doubtful {own}")
    night = runner.run(force=(own,))
    assert night.results[own]["status"] == "PARTIAL"
    assert flat_of(night, "VIS") == "2025-11-23/flat/VIS_SLIT1.0"
    assert runner.run().ran == []


def test_the_index_can_be_lost(runner):
    runner.run()
    for path in (runner.folder / "soxs").glob("soxs.db*"):
        path.unlink()
    (runner.folder / "soxs" / "soxs.db").touch()
    assert runner.run().ran == []


def test_a_result_that_the_index_was_not_told_of_is_found(runner):
    """A run that is killed between the two steps has products in place and no note of them."""
    runner.run()
    database = runner.folder / "soxs" / "soxs.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute("DELETE FROM results WHERE job LIKE '%/flat/%'").rowcount > 1
        older = "UPDATE results SET key = '', record = json_set(record, '$.key', '', '$.finished', '')"
        assert connection.execute(f"{older} WHERE job LIKE '%/bias/%'").rowcount > 0
    assert runner.run().ran == []


def test_a_damaged_index_is_rebuilt(runner):
    runner.run()
    database = runner.folder / "soxs" / "soxs.db"
    for path in (runner.folder / "soxs").glob("soxs.db-*"):
        path.unlink()
    database.write_bytes(b"SQLite format 3\0" + b"\x07" * 5000)
    assert runner.run().ran == []


def test_the_workspace_can_be_moved(runner, tmp_path):
    runner.run()
    shutil.move(runner.folder, tmp_path / "elsewhere")
    assert Runner(tmp_path / "elsewhere").run().ran == []


def test_a_full_disk_is_seen_before_the_start(runner, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50_000_000))
    with pytest.raises(InputError, match="GB are free; make room"):
        runner.run()


def test_a_disk_that_fills_up_ends_the_run_cleanly(runner, monkeypatch):
    usage = shutil.disk_usage("/")
    asked = []

    def free(path):
        asked.append(path)
        return usage if len(asked) == 1 else usage._replace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", free)
    monkeypatch.setenv("FAKE", "soxs_mdark NIR raise")
    with pytest.raises(InputError, match="the disk is full"):
        runner.run()
    monkeypatch.undo()
    night = runner.run()
    assert all(result["status"] == "COMPLETE" for result in night.results.values())


def test_results_can_lie_away_from_a_folder_that_is_only_read(complete_night, tmp_path):
    before = snapshot(complete_night.folder)
    away = Runner(complete_night.folder, tmp_path / "away")
    assert len(away.run().ran) == TASKS_OF_A_NIGHT
    assert snapshot(complete_night.folder) == before
    assert Runner(tmp_path / "away").run().ran == []


def test_forced_calls_run_again(runner):
    night = runner.run()
    name = status_of(night, "bias", "VIS")["job"]
    assert runner.run(force=(name,)).ran == [name]


def test_events_tell_the_story(runner):
    runner.run()
    kinds = collections.Counter(event.kind for event in runner.events)
    assert kinds == {"start": TASKS_OF_A_NIGHT, "end": TASKS_OF_A_NIGHT}
    last = runner.events[-1]
    assert (last.done, last.total) == (TASKS_OF_A_NIGHT, TASKS_OF_A_NIGHT)


def test_newer_algorithm_reruns(runner):
    runner.run()
    newer = {**DECLARATIONS, "soxs_response": replace(DECLARATIONS["soxs_response"], algorithm_version=9)}
    assert tasks_of(runner.run(declarations=newer).ran) == {"response": 2, "science": 2}


def test_plots_that_fail_do_no_harm(runner):
    night = runner.run(plots=True)
    assert {result["status"] for result in night.results.values()} == {"COMPLETE"}
    assert all(result["plots"] == [] and result["plots_error"] for result in night.results.values())
    drawn = [event for event in runner.events if event.kind == "plots"]
    # One for each call, and one for the target that both arms saw.
    assert len(drawn) == TASKS_OF_A_NIGHT + 1
    assert [event.job for event in drawn].count("") == 1
    runner.events.clear()
    assert runner.run(plots=True).ran == []
    assert runner.events == []
