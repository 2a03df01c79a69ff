"""Run a command and measure what it costs: wall and CPU seconds, peak memory, also by the part that is at work."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Cost", "run_measured"]

_TICKS = os.sysconf("SC_CLK_TCK")
_INTERVAL = 0.2  # s


@dataclass
class Cost:
    """What a run cost.

    Attributes
    ----------
    seconds, cpu_seconds : float
    peak_mb : float
        Largest resident memory of any one of its processes.
    exit_code : int
    parts : mapping label -> Cost
        The same by what was at work, where the caller can tell.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    exit_code: int = 0
    parts: dict[str, Cost] = field(default_factory=dict)


def run_measured(
    command: Sequence[str | Path],
    folder: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    label: Callable[[], str] = lambda: "",
) -> Cost:
    """Run a command in a folder, its output in `log`; `label` names the part that is at work, "" for none.

    Linux only: processes are watched through /proc, five times a second.
    """
    started = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        cost = Cost()
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, cost, label, stop), daemon=True)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        stop.set()
        watcher.join()
    cost.seconds = time.monotonic() - started
    # What it began but did not wait for, as the process from which workers are forked, is known by looks alone.
    cost.cpu_seconds = max(cost.cpu_seconds, usage.ru_utime + usage.ru_stime)
    cost.peak_mb = max(cost.peak_mb, usage.ru_maxrss * 1024e-6)
    cost.exit_code = os.waitstatus_to_exitcode(status)
    return cost


def _watch(root: int, cost: Cost, label: Callable[[], str], stop: threading.Event) -> None:
    before_time, before_cpu = time.monotonic(), 0.0
    while not stop.wait(_INTERVAL):
        cpu, peak = _usage(root)
        now = time.monotonic()
        cost.cpu_seconds, cost.peak_mb = max(cost.cpu_seconds, cpu), max(cost.peak_mb, peak)
        name = label()
        if name:
            part = cost.parts.setdefault(name, Cost())
            part.seconds += now - before_time
            part.cpu_seconds += max(cpu - before_cpu, 0.0)
            part.peak_mb = max(part.peak_mb, peak)
        before_time, before_cpu = now, cpu


def _usage(root: int) -> tuple[float, float]:
    """(CPU seconds of a process and all below it, largest resident memory of one of them now [MB])."""
    cpu, largest = 0.0, 0.0
    parents, values = {}, {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        # utime, stime, those of children that ended; resident pages
        values[pid] = (sum(int(ticks) for ticks in fields[11:15]) / _TICKS, int(fields[21]))
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    for pid, (seconds, pages) in values.items():
        ancestor = pid
        while ancestor not in (root, 0):
            ancestor = parents.get(ancestor, 0)
        if ancestor == root:
            cpu += seconds
            largest = max(largest, pages * page)
    return cpu, largest
