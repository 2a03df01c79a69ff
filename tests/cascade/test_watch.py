import json
import os
import socket
import threading

import pytest
from filelock import FileLock

from soxs_recipes.cascade.watch import stop_watcher, watch, watcher, watching
from soxs_recipes.errors import InputError, Interrupted


class Night:
    """A folder that fills as it is looked at, and a reduction that counts."""

    def __init__(self, sights, folder, fail=()):
        self.sights, self.folder, self.fail = iter(sights), folder, list(fail)
        self.reduced, self.notes = [], []

    def look(self):
        self.notes.append(json.loads((self.folder / "soxs.watch.json").read_text()))
        self.now = next(self.sights)
        return self.now

    def reduce(self):
        self.reduced.append(self.now)
        if self.fail:
            raise self.fail.pop()
        return {"ran": len(self.reduced)}


def run(sights, folder, fail=()):
    sights = list(sights)
    night = Night(sights, folder, fail)
    with watching(folder):
        watch(folder, night.look, night.reduce, interval=0.0, passes=len(sights))
    return night


def test_what_is_new_and_settled_is_reduced_once(tmp_path):
    assert run([1, 2, 3, 3, 3, 3, 4, 4, 4], tmp_path).reduced == [3, 4]


def test_what_still_changes_is_waited_for(tmp_path):
    assert run(range(8), tmp_path).reduced == []


def test_an_error_is_noted_and_tried_again(tmp_path):
    night = run([1, 1, 1, 1, 1], tmp_path, [InputError("the workspace is in use")])
    assert night.reduced == [1, 1]
    assert [note["last"].get("error") for note in night.notes[2:]] == ["the workspace is in use", None, None]
    assert night.notes[-1]["last"]["ran"] == 2


def test_what_never_settles_is_reduced_when_patience_ends(tmp_path, monkeypatch):
    """Frames may come faster than one looks, all night long."""
    seconds = iter(range(1000))
    monkeypatch.setattr("soxs_recipes.cascade.watch.time.monotonic", lambda: next(seconds))
    night = Night(range(12), tmp_path)
    with watching(tmp_path):
        watch(tmp_path, night.look, night.reduce, interval=0.0, passes=12, patience=6.0)
    assert len(night.reduced) in (2, 3)
    assert night.reduced[0] >= 2


def test_a_look_that_fails_is_noted_and_tried_again(tmp_path):
    night = Night([1, 1, 2, 2], tmp_path)
    looks = iter([None, OSError("the link is down"), None, None, None])

    def look():
        error = next(looks)
        if error is not None:
            raise error
        return night.look()

    with watching(tmp_path):
        watch(tmp_path, look, night.reduce, interval=0.0, passes=5)
    assert night.reduced == [1, 2]
    assert [note["last"].get("error") for note in night.notes] == [None, "the link is down", None, None]


def test_an_interruption_ends_the_watch(tmp_path):
    with pytest.raises(Interrupted):
        run([1, 1, 1], tmp_path, [Interrupted("stopped")])
    assert watcher(tmp_path) is None
    assert not (tmp_path / "soxs.watch.json").exists()


def test_a_defect_is_not_hidden(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run([1, 1], tmp_path, [ZeroDivisionError()])


def test_only_one_watches(tmp_path):
    with watching(tmp_path):
        watch(tmp_path, lambda: None, dict, interval=0.0, passes=1)
        found = watcher(tmp_path)
        assert (found["pid"], found["host"]) == (os.getpid(), socket.gethostname())
        with pytest.raises(InputError, match=f"watched already, by process {os.getpid()}"), watching(tmp_path):
            pytest.fail("two watch")
    assert watcher(tmp_path) is None


def test_who_asks_at_that_moment_does_not_keep_a_watch_from_beginning(tmp_path):
    asking = FileLock(tmp_path / "soxs.watch.lock", thread_local=False)
    asking.acquire()
    asked = threading.Timer(0.1, asking.release)
    asked.start()
    with watching(tmp_path):
        assert not asking.is_locked
    asked.join()


def test_the_note_of_a_dead_watcher_is_no_watcher(tmp_path):
    (tmp_path / "soxs.watch.json").write_text('{"pid": 1}')
    (tmp_path / "soxs.watch.lock").touch()
    assert watcher(tmp_path) is None
    assert stop_watcher(tmp_path) is None


def test_a_watcher_elsewhere_is_not_ours_to_stop(tmp_path):
    (tmp_path / "soxs.watch.json").write_text('{"pid": 1, "host": "elsewhere"}')
    with (
        FileLock(tmp_path / "soxs.watch.lock"),
        pytest.raises(InputError, match="process 1 on elsewhere; stop it there"),
    ):
        stop_watcher(tmp_path)
