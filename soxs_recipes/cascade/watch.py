"""Watch a folder that fills: look again and again, and reduce whenever new frames have settled."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from soxs_recipes.errors import InputError, Interrupted, SoxsError

__all__ = ["stop_watcher", "watch", "watcher", "watching"]

_NOTE, _LOCK = "soxs.watch.json", "soxs.watch.lock"
_STEP_SECONDS, _MOMENT_SECONDS = 0.2, 0.5


def watcher(folder: Path) -> dict[str, object] | None:
    """What the process that watches a workspace wrote of itself; None when none does.

    The lock, which the system takes from a process that dies, tells whether there is one; the note says who.
    """
    from filelock import FileLock, Timeout

    if not (folder / _LOCK).is_file():
        return None
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return _read_note(folder)
    lock.release()
    return None


def _read_note(folder: Path) -> dict[str, object]:
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(folder: Path, **values: object) -> None:
    temporary = folder / f".{_NOTE}.{os.getpid()}"
    temporary.write_text(json.dumps(values, default=str), encoding="utf-8")
    temporary.replace(folder / _NOTE)


@contextmanager
def watching(folder: Path) -> Iterator[None]:
    """Be the only process that watches a workspace; whoever stops it waits until this is left.

    InputError when another process watches already.
    """
    from filelock import FileLock, Timeout

    # Who only asks, by `watcher`, holds it for a moment.
    lock = FileLock(folder / _LOCK, timeout=_MOMENT_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        note = _read_note(folder)
        raise InputError(
            f"{folder}: watched already, by process {note.get('pid')} on {note.get('host')}"
        ) from error
    try:
        yield
    finally:
        (folder / _NOTE).unlink(missing_ok=True)
        lock.release()


def watch(
    folder: Path,
    look: Callable[[], object],
    reduce: Callable[[], Mapping[str, object]],
    *,
    interval: float,
    passes: int | None = None,
    patience: float = 60.0,
) -> None:
    """Look, and reduce when what is seen is new and was the same twice; within `watching`.

    Frames may come faster than one looks, or a link may be down for a while: what is new is not waited for longer
    than `patience`, and an error of a look or a reduction is noted and tried again.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    look : callable
        What there is, as a value that changes when it does.
    reduce : callable
        Reduces it and tells what came of it.
    interval : float [s]
    passes : int or None
        How often to look; None: until a signal ends it.
    patience : float [s]
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"pid": os.getpid(), "host": socket.gethostname(), "started": started, "interval": interval}
    previous, reduced = object(), object()
    last: dict[str, object] = {}
    since: float | None = None
    for number in itertools.count() if passes is None else range(passes):
        _write_note(folder, **about, passes=number, last=last)
        try:
            seen = look()
            if seen == reduced:
                since = None
            else:
                since = time.monotonic() if since is None else since
                if seen == previous or time.monotonic() - since >= patience:
                    came = reduce()
                    last = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **came}
                    reduced, since = seen, None
            previous = seen
        except Interrupted:
            raise
        # A frame or a disk may be in the way now and not later: the watch goes on.
        except (SoxsError, OSError) as error:
            last = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "error": str(error)}
        time.sleep(interval)


def stop_watcher(folder: Path, patience: float = 20.0) -> dict[str, object] | None:
    """End the process that watches a workspace and wait for its end; its note, None when there was none.

    InputError when it runs on another host or does not end.
    """
    note = watcher(folder)
    if note is None:
        return None
    if note.get("host") != socket.gethostname() or not isinstance(note.get("pid"), int):
        raise InputError(f"{folder}: watched by process {note.get('pid')} on {note.get('host')}; stop it there")
    with contextlib.suppress(ProcessLookupError):
        os.kill(note["pid"], signal.SIGTERM)
    deadline = time.monotonic() + patience
    while watcher(folder) is not None:
        if time.monotonic() > deadline:
            raise InputError(f"{folder}: process {note['pid']} does not stop")
        time.sleep(_STEP_SECONDS)
    return note
