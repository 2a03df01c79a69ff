"""Warm worker processes: one thread of linear algebra each, watched for crashes and for time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path

from soxs_recipes.cascade.worker import serve
from soxs_recipes.threads import THREAD_VARIABLES

__all__ = ["KILLED", "Pool", "drop_ahead", "load_ahead"]

RECIPE_TARGET = "soxs_recipes.cascade.worker:call_recipe"
# Class of the error of a call whose process was killed from outside.
KILLED = "Killed"
_CALLS_BEFORE_RECYCLING = 400  # a second goes into every new worker
_PEAK_BEFORE_RECYCLING_MB = 1200.0
_GRACE_SECONDS = 2.0
# What recipes are made of and load late.
_OTHERS = ("numba", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "erfa")
_OWN = ("fits_files", "plots", "recipes", "reduction")


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children inherit one thread of linear algebra and no display."""
    ours = dict.fromkeys(THREAD_VARIABLES, "1") | {"MPLBACKEND": "Agg"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def load_ahead() -> None:
    """Begin to load what recipes need, in the process from which workers are forked; returns at once.

    Every worker would load the same two seconds' worth. That process ends with this one.
    """
    _ensure_ahead(_context(RECIPE_TARGET))


def _ensure_ahead(context: BaseContext) -> None:
    """Start the process from which workers are forked, if there is to be one and it does not run."""
    if context.get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    with _one_thread_each(), _without_interrupts():
        forkserver.ensure_running()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Children never hear a Ctrl-C: it is for this process, which ends them."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # only the main thread may, and only it hears one
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def drop_ahead() -> None:
    """End the process from which workers are forked, at once: else it loads everything before it finds us gone.

    While workers live it stays, for it tells how they end.
    """
    if multiprocessing.active_children():
        return
    loaded = sys.modules.get("multiprocessing.forkserver")
    pid = loaded and loaded._forkserver._forkserver_pid
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        loaded._forkserver._stop()


def _context(target: str) -> BaseContext:
    """How workers begin: forked from a process that has loaded what recipes need, where that is safe.

    Others than those for recipes are spawned, as all are where system libraries do not bear forks (macOS).
    """
    if target != RECIPE_TARGET or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_OTHERS, *_own_modules()])
    return context


def _own_modules() -> list[str]:
    """Names of the modules that recipes are made of."""
    package = Path(__file__).parents[1]
    files = (path for room in _OWN for path in sorted((package / room).rglob("*.py")) if path.stem != "__init__")
    return [".".join(("soxs_recipes", *path.relative_to(package).with_suffix("").parts)) for path in files]


@dataclass
class _Worker:
    """One process and what it is busy with."""

    process: multiprocessing.Process
    connection: object
    ticket: object = None
    deadline: float = 0.0
    calls: int = 0
    peak_mb: float = 0.0
    began: float = field(default=0.0)


class Pool:
    """Up to `size` workers; give work with `submit`, take answers with `wait`.

    Parameters
    ----------
    size : int
    target : str
        `module:function` that answers a request for a recipe.
    """

    def __init__(self, size: int, target: str = RECIPE_TARGET):
        self.size, self.target = max(1, size), target
        self._context = _context(target)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def busy(self) -> int:
        """Workers that have something to do."""
        return sum(worker.ticket is not None for worker in self._workers)

    @property
    def free(self) -> int:
        """Calls that can be taken now."""
        return self.size - self.busy

    def start(self, count: int | None = None) -> None:
        """Begin worker processes ahead of the first call."""
        while len(self._workers) < min(self.size, count or self.size):
            self._new_worker()

    def _new_worker(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self.target), daemon=True)
        _ensure_ahead(self._context)
        with _one_thread_each():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def submit(self, ticket: object, kind: str, request: Mapping[str, object], timeout: float) -> None:
        """Give a call ("recipe" or "plots") to a free worker; `ticket` comes back with the answer."""
        idle = [worker for worker in self._workers if worker.ticket is None]
        worker = idle[0] if idle else self._new_worker()
        worker.ticket, worker.began = ticket, time.monotonic()
        worker.deadline = worker.began + timeout
        worker.calls += 1
        # A worker that died idle is found by `wait`, as any crash is.
        with contextlib.suppress(OSError):
            worker.connection.send((kind, dict(request)))

    def wait(self, timeout: float = 1.0) -> list[tuple[object, dict[str, object]]]:
        """Answers that came within `timeout` [s]; crashes and calls out of time are answers, too."""
        busy = [worker for worker in self._workers if worker.ticket is not None]
        if not busy:
            return []
        until = min([timeout, *(max(0.0, worker.deadline - time.monotonic()) for worker in busy)])
        ready = wait([w.connection for w in busy] + [w.process.sentinel for w in busy], until)
        answers = []
        for worker in busy:
            answer = self._answer_of(worker, worker.connection in ready, worker.process.sentinel in ready)
            if answer is not None:
                answers.append((worker.ticket, answer))
                worker.ticket = None
                self._recycle_if_used_up(worker)
        return answers

    def _answer_of(self, worker: _Worker, has_answer: bool, has_ended: bool) -> dict[str, object] | None:
        if has_answer:
            try:
                answer = worker.connection.recv()
            except (EOFError, OSError):
                return self._crash(worker)
            worker.peak_mb = max(worker.peak_mb, float(answer.get("peak_mb") or 0.0))
            return answer
        if has_ended:
            return self._crash(worker)
        if time.monotonic() > worker.deadline:
            self._end(worker)
            return _failure(worker, "Timeout", f"stopped after {worker.deadline - worker.began:.0f} s")
        return None

    def _crash(self, worker: _Worker) -> dict[str, object]:
        worker.process.join(_GRACE_SECONDS)
        code = worker.process.exitcode
        self._end(worker)
        cause, kind = f"exit code {code}", "Crash"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                cause = f"signal {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                cause, kind = f"{cause}, perhaps for want of memory", KILLED
        return _failure(worker, kind, f"the process crashed ({cause})")

    def _recycle_if_used_up(self, worker: _Worker) -> None:
        used_up = worker.calls >= _CALLS_BEFORE_RECYCLING or worker.peak_mb > _PEAK_BEFORE_RECYCLING_MB
        if used_up and worker in self._workers:
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
        worker.connection.close()
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join(_GRACE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(_GRACE_SECONDS)

    def stop(self) -> None:
        """End all processes, at once."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        for worker in list(self._workers):
            self._end(worker)


def _failure(worker: _Worker, kind: str, text: str) -> dict[str, object]:
    seconds = time.monotonic() - worker.began
    return {"status": "FAILED", "error": text, "error_class": kind, "seconds": seconds, "peak_mb": worker.peak_mb}
