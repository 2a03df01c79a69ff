"""A review without a window: parameters, runs, comparison, what is kept, and what goes wrong."""

import os
import time

import numpy as np
import pytest

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files import read_header
from soxs_recipes.recipes.framework.registry import all_declarations, recipe_class
from soxs_recipes.recipes.framework.settings import read_settings
from soxs_recipes.recipes.mflat import MasterFlat
from soxs_recipes.review.comparison import compare_qc
from soxs_recipes.review.session import FAILED, STOPPED, ReviewSession

REVIEWED = ("disp_solution", "spatial_solution", "mflat", "stare", "nod", "offset", "response", "order_centres")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_parameter_stands_in_a_group():
    count = 0
    for name in REVIEWED:
        for parameter in recipe_class(name).declaration.parameters:
            assert parameter.group, f"{name}: {parameter.name}"
            count += 1
    assert count > 80


def test_groups_hold_all_parameters_once(fake_session):
    names = [parameter.name for group in fake_session.groups.values() for parameter in group]
    assert sorted(names) == sorted(parameter.name for parameter in MasterFlat.declaration.parameters)
    assert [p.name for p in fake_session.groups["order edges"]] == ["edge-degree", "edge-sigma"]


def test_a_refused_value_is_told_and_changes_nothing(fake_session):
    assert "from 0 to 10" in fake_session.set("edge-degree", "40")
    assert fake_session.value("edge-degree") == 5
    assert "whole number" in fake_session.set("edge-degree", "many")
    with pytest.raises(InputError, match=r"put this right first.*edge-degree"):
        fake_session.start()
    assert fake_session.set("edge-degree", "7") == ""
    assert fake_session.refused == {}
    assert fake_session.settings == {"edge-degree": 7}
    assert fake_session.set("edge-degree", 5) == ""
    assert fake_session.settings == {}


def test_what_auto_means_is_explained(fake_session):
    text = fake_session.explain("blaze-knot-spacing")
    assert "px" in text
    assert "20 or more" in text
    assert "auto, " in text
    assert "UV-VIS" in text
    assert fake_session.set("blaze-knot-spacing", "10") != ""
    assert fake_session.set("blaze-knot-spacing", "AUTO") == ""
    assert fake_session.settings == {}


def test_two_runs_are_compared(fake_session, finish):
    fake_session.start()
    first = finish(fake_session)
    assert first.status == "PARTIAL"
    assert fake_session.shown is first
    assert fake_session.beside is None
    assert {row.verdict for row in fake_session.comparison()} == {""}
    fake_session.set("edge-degree", "8")
    second = fake_session.start()
    assert finish(fake_session) is second
    rows = {row.name: row for row in fake_session.comparison()}
    assert rows["EDGE RES SD"].before == pytest.approx(0.2)
    assert rows["EDGE RES SD"].after == pytest.approx(0.125)
    verdicts = {name: row.verdict for name, row in rows.items()}
    assert verdicts == {
        "EDGE RES SD": "better",
        "EDGE SAMPLES FRAC": "better",
        "N ORDERS": "same",
        "BKG MEDIAN": "",
        "ORD2 EDGE RES SD": "better",
    }
    assert not rows["EDGE SAMPLES FRAC"].is_inside  # 0.58, below the acceptable range
    assert not rows["ORD2 EDGE RES SD"].is_inside or rows["ORD2 EDGE RES SD"].after <= 0.3
    fake_session.show(first)
    rows = {row.name: row.verdict for row in fake_session.comparison()}
    assert rows["EDGE RES SD"] == "worse"


@pytest.mark.parametrize(
    ("better", "before", "after", "verdict"),
    [
        ("lower", 2.0, 1.0, "better"),
        ("lower", 1.0, 2.0, "worse"),
        ("higher", 1.0, 2.0, "better"),
        ("higher", 1.0, 1.00001, "same"),
        (1.0, 0.8, 1.1, "better"),
        (1.0, 1.1, 0.8, "worse"),
        ("", 1.0, 2.0, ""),
    ],
)
def test_verdicts(better, before, after, verdict):
    from soxs_recipes.data.qc import QCDefinition
    from soxs_recipes.recipes.framework.declarations import Declaration, Product, RawInput

    declaration = Declaration(
        "soxs_x", "x", "x", (RawInput("BIAS_<ARM>", "b"),), (Product("X_<ARM>", "x"),),
        qc=(QCDefinition("VALUE", "px", "A value.", better=better),),
    )  # fmt: skip
    (row,) = compare_qc(declaration, "VIS", {"ESO QC VALUE": before}, {"ESO QC VALUE": after})
    assert row.verdict == verdict


def test_what_is_better_is_declared_in_known_words():
    kinds = [entry.better for declaration in all_declarations() for entry in declaration.qc]
    assert set(kinds) == {"", "lower", "higher", 1.0}
    assert kinds.count("lower") > 50
    assert kinds.count("higher") > 20


def test_a_failing_recipe_leaves_the_session_alive(fake_session, finish):
    fake_session.set("edge-degree", 1)
    fake_session.start()
    failed = finish(fake_session)
    assert failed.status == FAILED
    assert "no edge was found" in failed.error
    assert fake_session.shown is None
    with pytest.raises(InputError, match="no result to keep"):
        fake_session.keep()
    fake_session.set("edge-degree", 2)
    fake_session.start()
    crashed = finish(fake_session)
    assert crashed.status == FAILED
    assert "crashed" in crashed.error
    fake_session.reset()
    fake_session.start()
    assert finish(fake_session).has_products
    assert [run.number for run in fake_session.runs] == [1, 2, 3]


def running_worker(session):
    (worker,) = session._pool._workers
    return worker.process.pid


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_a_run_is_stopped_and_nothing_of_it_stays(fake_session, finish):
    fake_session.set("edge-degree", 3)
    run = fake_session.start()
    wait_for((run.folder / "flat.fits").exists)
    assert fake_session.poll() is None
    assert run.log_lines()[-1].endswith("half done")
    with pytest.raises(InputError, match="under way"):
        fake_session.start()
    pid = running_worker(fake_session)
    fake_session.stop()
    assert run.status == STOPPED
    assert not run.folder.exists()
    assert not is_alive(pid)
    fake_session.reset()
    fake_session.start()
    assert finish(fake_session).has_products


def test_closing_during_a_run_leaves_no_process_and_no_file(fake_session):
    fake_session.set("edge-degree", 3)
    run = fake_session.start()
    wait_for((run.folder / "flat.fits").exists)
    pid = running_worker(fake_session)
    fake_session.close()
    assert not is_alive(pid)
    assert run.status == STOPPED
    assert list(fake_session.output.iterdir()) == []


def test_progress_is_measured_by_the_last_run(fake_session, finish):
    fake_session.start()
    assert fake_session.progress() is None
    finish(fake_session)
    fake_session.set("edge-degree", 3)
    run = fake_session.start()
    run.began -= 0.25
    fake_session.poll()
    assert 0.4 < fake_session.progress() <= 0.99
    fake_session.stop()


def test_kept_products_and_settings(fake_session, finish):
    output = fake_session.output
    (output / "flat.fits").write_text("older")
    (output / "soxs.yaml").write_text(
        "soxs_mflat:\n  edge-sigma: 7.0\n  NIR:\n    edge-degree: 3\nsoxs_stare:\n  refine-sky: false\n"
    )
    fake_session.set("edge-degree", 8)
    fake_session.set("blaze-knot-spacing", 300)
    fake_session.start()
    finish(fake_session)
    kept = fake_session.keep()
    assert [path.name for path in kept.products] == ["flat.fits"]
    assert kept.products[0].read_text() == "degree 8"
    assert (output / "flat.txt").read_text() == "text"
    assert not list(output.glob("*.part"))
    settings = read_settings(kept.settings)
    assert settings.of("soxs_mflat", "VIS") == {
        "edge-sigma": 5.0,  # the run had the default, whatever holds for other arms
        "edge-degree": 8,
        "blaze-knot-spacing": "300.0",
    }
    assert settings.of("soxs_mflat", "NIR") == {"edge-sigma": 7.0, "edge-degree": 3}
    assert settings.of("soxs_stare") == {"refine-sky": False}
    assert "edge-sigma: 7.0" in (output / "soxs.yaml.bak").read_text()
    assert read_settings(kept.rc).of("soxs_mflat")["edge-degree"] == 8


def test_settings_of_a_fresh_folder_name_only_what_was_changed(fake_session, finish):
    fake_session.set("edge-degree", 8)
    fake_session.start()
    finish(fake_session)
    text = fake_session.keep().settings.read_text()
    assert [line for line in text.splitlines() if line and not line.lstrip().startswith("#")] == [
        "soxs_mflat:",
        "  VIS:",
        "    edge-degree: 8",
    ]


def test_nothing_is_kept_where_nothing_can_be_written(fake_session, finish, monkeypatch):
    fake_session.start()
    finish(fake_session)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(InputError, match="No space left"):
        fake_session.keep()
    assert [path.name for path in fake_session.output.iterdir() if not path.name.startswith(".soxs-review")] == []


def test_what_a_killed_session_left_is_swept(flat_frames, tmp_path, fake_session):
    own = fake_session._scratch
    dead = own.with_name(own.name.replace(str(os.getpid()), "99999999"))
    (dead / "run1").mkdir(parents=True)
    elsewhere = own.with_name(".soxs-review-elsewhere-99999999-x")
    elsewhere.mkdir()
    with ReviewSession(MasterFlat.declaration, flat_frames, {}, own.parent):
        assert not dead.exists()
        assert own.exists()
        assert elsewhere.exists()


def test_an_output_that_is_a_file_is_refused(flat_frames, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        ReviewSession(MasterFlat.declaration, flat_frames, {}, tmp_path / "file" / "out")


def test_a_real_flat_is_repeated_and_kept(real_session, finish):
    first = real_session.shown
    assert real_session.set("edge-degree", "1") == ""
    second = real_session.start()
    assert finish(real_session, 120) is second
    assert second.error == ""
    rows = {row.name: row for row in real_session.comparison()}
    assert rows["EDGE RES SD"].before == first.qc["ESO QC EDGE RES SD"]
    assert rows["EDGE RES SD"].verdict == "worse"  # edges are no straight lines
    assert rows["EDGE RES SD"].after > 1.5 * rows["EDGE RES SD"].before
    kept = real_session.keep()
    assert len(kept.products) == 4
    header = read_header(kept.products[0])
    recorded = [str(value) for key, value in header.items() if "PARAM" in key]
    assert any("edge-degree" in value for value in recorded)
    # A session that begins with these products shows the same numbers.
    again = ReviewSession(
        MasterFlat.declaration,
        real_session.frames,
        {"edge-degree": 1},
        real_session.output,
        products=kept.products,
    )
    try:
        assert again.shown.qc.keys() == second.qc.keys()
        values = [(again.shown.qc[name], second.qc[name]) for name in second.qc]
        assert len(values) > 40
        np.testing.assert_allclose(*zip(*values, strict=True), rtol=1e-6)
        assert again.shown.settings == {"edge-degree": 1}
    finally:
        again.close()
    real_session.reset()
