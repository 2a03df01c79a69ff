import json
import os
import signal
import time

from soxs_recipes.cascade.watch import watcher
from soxs_recipes.cli import watch_commands

BIAS = ("CALIB", "BIAS", "IMAGE")


def test_start_status_stop(soxs, night):
    """Frames of zeros: every call fails, and the watch goes on."""
    night.add("bias", "VIS", BIAS, 3, exptime=0.0)
    assert soxs("watch", "status", night.folder)[0] == 1
    code, out, err = soxs("watch", "start", night.folder, "--interval", "0.2", "--no-plots", "-j", "1")
    assert (code, err) == (0, "")
    try:
        assert "watches" in out
        code, _, err = soxs("watch", "start", night.folder)
        assert code == 20
        assert "watched already" in err
        deadline = time.monotonic() + 60
        while not (last := json.loads(soxs("watch", "status", night.folder, "--json")[1]).get("last")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert (last["ran"], last["calls"], last["done"]) == (1, 1, 0)
        assert len(last["troubles"]) == 1
        assert last["troubles"][0] in soxs("watch", "status", night.folder)[1]
        assert last["troubles"][0] in (night.folder / "soxs" / "logs" / "watch.log").read_text()
    finally:
        code, out, _ = soxs("watch", "stop", night.folder)
    assert code == 0
    assert "has ended" in out
    last_line = (night.folder / "soxs" / "logs" / "watch.log").read_text().splitlines()[-1]
    assert "stopped by SIGTERM" in last_line
    assert "error" not in last_line
    assert soxs("watch", "status", night.folder)[0] == 1
    assert "nobody watches" in soxs("watch", "stop", night.folder)[1]


def test_a_watch_has_ended_only_when_its_last_line_is_written(soxs, night, monkeypatch):
    """Whoever stops it reads the log next."""
    night.add("bias", "VIS", BIAS, 1, exptime=0.0)
    monkeypatch.setattr(watch_commands, "_seen", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    still = []
    monkeypatch.setattr(watch_commands, "_now", lambda: still.append(watcher(night.folder / "soxs")) or "now")
    code, out, err = soxs("watch", "start", night.folder, "--foreground", "--interval", "0.1", "--passes", "3")
    assert (code, err) == (0, "")
    assert out.startswith("now  stopped by SIGTERM")
    assert [note["pid"] for note in still] == [os.getpid()]
    assert watcher(night.folder / "soxs") is None


def test_a_watch_in_the_foreground_reduces_what_arrives(soxs, night, fake_recipes):
    night.add("bias", "VIS", BIAS, 3, exptime=0.0)
    words = ("watch", "start", night.folder, "--foreground", "--interval", "0.1", "--passes", "2", "--no-plots")
    code, out, _ = soxs(*words)
    assert code == 0
    assert "1 recipe calls run, 1 of 1 done" in out
    assert len(list((night.folder / "soxs" / "products").glob("*/bias/*/job.json"))) == 1
    night.science("VIS")
    code, out, _ = soxs(*words)
    assert code == 0
    assert "SN2026abc  VIS  SLIT1.0  3 x 300 s  S/N " in out
    assert len(list((night.folder / "soxs" / "products").glob("*/science/*/job.json"))) == 1
