import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from soxs_recipes.cascade.frames import FrameRecord, mjd_in_text, night_of
from soxs_recipes.cascade.index import SCHEMA_VERSION, Index, is_network_file_system
from soxs_recipes.cascade.workspace import Workspace, find_workspace, safe_name
from soxs_recipes.errors import InputError


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "ws", tmp_path)
    yield made
    made.close()


def frame(name="a.fits", **more):
    values = {"size": 1, "modified_ns": 2, "checksum": "c", "tag": "BIAS_VIS", "facts": {"arm": "VIS", "mjd": 1.5}}
    return FrameRecord(f"/data/{name}", **{**values, **more})


def result(job="n/t/j", value=1.5):
    return {"job": job, "task": "t", "key": "k", "status": "COMPLETE", "folder": "/f", "seconds": 1.0, "error": "",
            "products": [{"name": "p.fits", "tag": "T", "qc": {"ESO QC RON": value}}]}  # fmt: skip


def test_frames_come_back_as_they_were(workspace):
    frames = [
        frame("a.fits", warnings=("inferred",)),
        frame("b'; DROP TABLE frames;--.fits", tag="", problem='"odd"'),
    ]
    workspace.index.replace_frames(frames)
    assert workspace.index.frames() == frames


def test_results_and_qc_come_back(workspace):
    workspace.index.remember_result(result())
    workspace.index.remember_result(result(value=2.5))
    assert workspace.index.results() == {"n/t/j": result(value=2.5)}
    with closing(sqlite3.connect(workspace.index.path)) as connection:
        rows = connection.execute("SELECT keyword, value FROM qc").fetchall()
    assert rows == [("ESO QC RON", 2.5)]


def test_a_failed_transaction_leaves_what_was(workspace):
    workspace.index.replace_frames([frame()])
    with pytest.raises(sqlite3.IntegrityError):
        workspace.index.replace_frames([frame(), frame()])
    assert workspace.index.frames() == [frame()]


@pytest.mark.parametrize("content", [b"", b"rubbish" * 1000, None])
def test_a_damaged_or_older_index_is_begun_anew(tmp_path, content):
    path = tmp_path / "soxs.db"
    if content is None:
        old = sqlite3.connect(path)
        old.execute("CREATE TABLE frames (path TEXT)")
        old.close()
    else:
        path.write_bytes(content)
    index = Index(path)
    index.replace_frames([frame()])
    assert index.frames() == [frame()]
    assert index.was_rebuilt == (content != b"")
    index.close()


def test_a_newer_index_is_refused(tmp_path):
    path = tmp_path / "soxs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE frames (path TEXT)")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InputError, match=f"schema 99, this one knows {SCHEMA_VERSION}"):
        Index(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_sql_takes_parameters_only():
    source = (Path(__file__).parents[2] / "soxs_recipes" / "cascade" / "index.py").read_text()
    assert source.count("execute") > 10
    assert 'execute(f"' not in source
    assert 'executemany(f"' not in source
    assert ".format(" not in source


def test_network_mounts_are_known(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path}/far nfs4 rw 0 0\n")
    assert is_network_file_system(tmp_path / "far" / "deep", mounts)
    assert not is_network_file_system(tmp_path / "near", mounts)
    assert not is_network_file_system(tmp_path, tmp_path / "no such file")


def test_one_writer_at_a_time(workspace, tmp_path):
    other = Workspace(tmp_path / "ws", tmp_path)
    owner = f"process {os.getpid()} on {socket.gethostname()}"
    with workspace.locked(), pytest.raises(InputError, match=owner), other.locked():
        pytest.fail("two writers")
    with other.locked():
        pass
    other.close()


def test_another_process_is_kept_out(workspace):
    code = (
        "import sys; from pathlib import Path; from soxs_recipes.cascade.workspace import Workspace\n"
        "w = Workspace(Path(sys.argv[1]), Path(sys.argv[1]))\n"
        "with w.locked(): pass\n"
    )
    with workspace.locked():
        done = subprocess.run(
            [sys.executable, "-c", code, str(workspace.root)], capture_output=True, text=True, check=False
        )
    assert done.returncode != 0
    assert f"in use by process {os.getpid()}" in done.stderr


def test_a_lock_of_a_dead_process_is_no_obstacle(workspace):
    note = {"pid": 2**22 + 1, "host": socket.gethostname(), "started": "yesterday"}
    (workspace.folder / "soxs.lock.json").write_text(json.dumps(note))
    with workspace.locked():
        assert json.loads((workspace.folder / "soxs.lock.json").read_text())["pid"] == os.getpid()
    assert not (workspace.folder / "soxs.lock.json").exists()


def test_a_lock_of_another_host_must_be_broken_on_purpose(workspace):
    note = {"pid": 7, "host": "elsewhere", "started": "yesterday"}
    (workspace.folder / "soxs.lock.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"process 7 on elsewhere.*--break-lock"), workspace.locked():
        pytest.fail("taken")
    with workspace.locked(break_lock=True):
        pass


def test_sessions_have_settings_of_their_own(workspace, tmp_path):
    workspace.settings.write_text("soxs_mflat: {}\n")
    workspace.index.replace_frames([frame()])
    workspace.new_session("deep")
    assert workspace.sessions() == ["base", "deep"]
    workspace.choose_session("deep")
    deep = Workspace(tmp_path / "ws", tmp_path)
    assert (deep.session, deep.settings.read_text()) == ("deep", "soxs_mflat: {}\n")
    assert deep.products != workspace.products
    assert deep.index.frames() == [frame()]
    deep.close()
    for name in ("deep", "../x", "base", "", "a b"):
        with pytest.raises(InputError):
            workspace.new_session(name)
    with pytest.raises(InputError, match="base, deep"):
        Workspace(tmp_path / "ws", tmp_path, session="shallow")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="-o FOLDER"):
        Workspace(tmp_path / "file" / "ws", tmp_path)


def test_workspaces_are_found_from_either_side(tmp_path):
    raw = tmp_path / "raw frames ü"
    raw.mkdir()
    assert find_workspace(raw) == (raw, raw / "soxs")
    assert find_workspace(raw, tmp_path / "out") == (raw, tmp_path / "out")
    made = Workspace(tmp_path / "out", raw)
    made.close()
    assert find_workspace(tmp_path / "out") == (raw, tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        find_workspace(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SN 2026abc", "SN_2026abc"), ("../../x", "x"), ("/etc/x", "etc_x"), ("", "unnamed"), ("..", "unnamed"),
        ("-rf", "rf"), ("CON", "CON_"), ("a\nb", "a_b"), ("C/2014 UN271", "C_2014_UN271"), ("\u202eabc", "abc"),
        ("SLIT1.0", "SLIT1.0"), ("x" * 300, "x" * 40),
    ],
)  # fmt: skip
def test_any_text_becomes_a_safe_name(text, name):
    assert safe_name(text) == name


@pytest.mark.parametrize(
    ("mjd", "night"),
    [(61000.0, "2025-11-20"), (60999.63, "2025-11-20"), (60999.62, "2025-11-19"), (60369.2, "2024-02-28")],
)
def test_nights_run_from_afternoon_to_morning(mjd, night):
    assert night_of(mjd) == night


def test_dates_are_read_from_text():
    assert mjd_in_text("2025-11-21T12:00:00") == pytest.approx(61000.5)
    assert mjd_in_text("SOXS.2025-11-21T06_00_00.123.fits") == pytest.approx(61000.25, abs=1e-5)
    assert mjd_in_text("no date") is None
    assert mjd_in_text("2025-13-41T12:00:00") is None
