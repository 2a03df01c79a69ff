"""Workers for recipes share what they load."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest

from soxs_recipes.cascade.pool import Pool, _own_modules, drop_ahead, load_ahead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")

_REQUEST = {"recipe": "soxs_mbias", "frames": [("/none.fits", "BIAS")], "settings": {}, "folder": ".", "key": "k",
            "notes": [], "partial": []}  # fmt: skip


def _status(pid, word):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{word}:"))


def _answers(pool, count):
    found = {}
    for _ in range(60):
        found |= dict(pool.wait())
        if len(found) == count:
            break
    return found


def test_workers_are_forked_from_one_process_that_has_loaded_what_recipes_need(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    load_ahead()
    with Pool(2) as pool:
        for ticket in range(2):
            pool.submit(ticket, "recipe", _REQUEST, 60.0)
        pids = [worker.process.pid for worker in pool._workers]
        answers = _answers(pool, 2)
        parents = [int(_status(pid, "PPid")) for pid in pids]
        mapped = [Path(f"/proc/{pid}/maps").read_text() for pid in pids]
        threads = [Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in pids]
    assert [answers[ticket]["error_class"] for ticket in range(2)] == ["InputError"] * 2
    assert len(set(pids)) == 2
    assert parents[0] == parents[1]
    assert os.getpid() not in parents
    for libraries, environment in zip(mapped, threads, strict=True):
        assert all(f"/{name}/" in libraries for name in ("numba", "scipy/ndimage", "matplotlib"))
        assert b"OMP_NUM_THREADS=1" in environment


def test_what_is_loaded_ahead_holds_the_algorithms():
    names = _own_modules()
    assert len(names) > 150
    assert all(importlib.util.find_spec(name) for name in names)
    assert any(name.startswith("soxs_recipes.reduction.") and name.endswith(".order_fit") for name in names)


def test_a_forked_worker_that_is_killed_is_told_of_and_replaced():
    with Pool(1) as pool:
        pool.start()
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        pool.submit("first", "recipe", _REQUEST, 60.0)
        assert "SIGKILL" in _answers(pool, 1)["first"]["error"]
        pool.submit("second", "recipe", _REQUEST, 60.0)
        assert _answers(pool, 1)["second"]["error_class"] == "InputError"


def test_the_process_of_which_workers_are_forked_ends_at_once_and_may_begin_again():
    load_ahead()
    pid = forkserver._forkserver._forkserver_pid
    os.kill(pid, 0)
    drop_ahead()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    drop_ahead()  # there is none
    with Pool(1) as pool:
        pool.submit("again", "recipe", _REQUEST, 60.0)
        assert _answers(pool, 1)["again"]["error_class"] == "InputError"


def test_the_process_of_which_living_workers_were_forked_stays():
    with Pool(1) as pool:
        pool.submit("first", "recipe", _REQUEST, 60.0)
        assert _answers(pool, 1)["first"]["error_class"] == "InputError"
        drop_ahead()
        pool.submit("second", "recipe", _REQUEST, 60.0)
        assert _answers(pool, 1)["second"]["error_class"] == "InputError"


_LOADS = """
import sys, time
from soxs_recipes.cascade.pool import load_ahead
from soxs_recipes.cli.options import interruptible
from soxs_recipes.errors import Interrupted

if __name__ == "__main__":
    try:
        with interruptible():
            load_ahead()
            print("loading", flush=True)
            time.sleep(60.0)
    except Interrupted as error:
        sys.exit(error.signal_code)
"""


@pytest.mark.parametrize("later", [0.05, 0.5])
def test_ctrl_c_at_a_terminal_while_workers_load_leaves_no_traceback(tmp_path, later):
    """All processes of a terminal hear it."""
    script = tmp_path / "loads.py"
    script.write_text(_LOADS)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "loading\n"
            time.sleep(later)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "")
