"""The words that watch a folder: start, stop, status."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from soxs_recipes.cli.options import (
    emit_json,
    folder_argument,
    interruptible,
    json_option,
    output_option,
    plots_option,
    talk_options,
    workers_option,
)
from soxs_recipes.errors import InputError, Interrupted

__all__ = ["watch_group"]

_START_SECONDS = 20.0
# Before target, arm, slit, exposures, S/N, seeing, slit position and status of a line.
_SAID_BEFORE = ("", "", "", "", "S/N ", "seeing ", "at slit ", "")


@click.group(name="watch", short_help="Reduce frames as they arrive (start, stop, status).")
def watch_group() -> None:
    """Reduce frames as they arrive."""


def _workspace_folder(folder: Path, output: Path | None) -> Path:
    from soxs_recipes.cascade.night import looked_at

    with looked_at(folder, output) as workspace:
        return workspace.folder


@watch_group.command()
@folder_argument
@output_option
@workers_option
@plots_option
@click.option(
    "--interval", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Time between looks [s]."
)
@click.option("--foreground", is_flag=True, help="Watch in this process, until it is interrupted.")
@click.option("--passes", type=click.IntRange(1), hidden=True, help="How often to look.")
@talk_options
def start(
    folder: Path, output: Path | None, workers: int | None, plots: bool, interval: float, foreground: bool,
    passes: int | None, quiet: bool,
) -> None:  # fmt: skip
    """Watch FOLDER: whenever new frames have settled, reduce what they allow.

    The watch goes on in the background: `soxs watch status FOLDER` tells what it did, `soxs watch stop FOLDER`
    ends it.
    """
    from soxs_recipes.cascade.night import open_workspace
    from soxs_recipes.cascade.watch import watch, watching

    with contextlib.closing(open_workspace(folder, output)) as workspace:
        place = workspace.folder
    if not foreground:
        _start_behind(folder, output, workers, plots, interval, place, quiet=quiet)
        return
    # The last line is written and workers are gone before whoever stops the watch takes it for ended.
    with watching(place), _until_a_signal():
        watch(
            place,
            lambda: _seen(folder, output),
            lambda: _reduced(folder, output, workers, plots),
            interval=interval,
            passes=passes,
        )


@contextlib.contextmanager
def _until_a_signal() -> Iterator[None]:
    """Say which signal came: nothing else ends a watch, so it is no error."""
    try:
        with interruptible():
            yield
    except Interrupted as end:
        click.echo(f"{_now()}  {end}")
        sys.stdout.flush()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _seen(folder: Path, output: Path | None) -> object:
    """Files of the raw folder with size and time; headers are read only when these change."""
    from soxs_recipes.cascade.scan import find_fits_files
    from soxs_recipes.cascade.workspace import find_workspace

    raw, root = find_workspace(folder, output)
    files, _ = find_fits_files(raw, root)
    seen = []
    for path in files:
        # A frame may be renamed while one looks.
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            seen.append((str(path), status.st_size, status.st_mtime_ns))
    return seen


def _reduced(folder: Path, output: Path | None, workers: int | None, plots: bool) -> dict[str, object]:
    """What came of a reduction, for the note; a line a target that is new goes to the log."""
    from soxs_recipes.cli.night_commands import reduced_folder
    from soxs_recipes.cli.show import target_cells, told_apart, troubles

    report = reduced_folder(folder, output, workers=workers, plots=plots, quiet=True)
    states = [call["state"] for call in report["calls"]]
    rows = told_apart(report["targets"])
    targets = ["  ".join(map("{}{}".format, _SAID_BEFORE, target_cells(row))) for row in rows]
    trouble = troubles(report)
    now = _now()
    for line in (
        f"{len(report['ran'])} recipe calls run, {states.count('done')} of {len(states)} done",
        *(text for row, text in zip(rows, targets, strict=True) if row["call"] in report["ran"]),
        *(line for line in trouble if any(name in line for name in report["ran"])),
    ):
        click.echo(f"{now}  {line}")
    sys.stdout.flush()
    return {
        "ran": len(report["ran"]),
        "calls": len(states),
        "done": states.count("done"),
        "targets": targets,
        "troubles": trouble,
    }


def _start_behind(
    folder: Path,
    output: Path | None,
    workers: int | None,
    plots: bool,
    interval: float,
    place: Path,
    *,
    quiet: bool,
) -> None:
    """Start the watch as a process of its own and wait until it says that it is there."""
    from soxs_recipes.cascade.watch import watcher

    note = watcher(place)
    if note is not None:
        raise InputError(f"{place}: watched already, by process {note.get('pid')} on {note.get('host')}")
    words = [sys.executable, "-m", "soxs_recipes.cli", "watch", "start", str(folder.absolute()), "--foreground"]
    words += ["--interval", str(interval), "--plots" if plots else "--no-plots"]
    words += ["-o", str(output.absolute())] if output else []
    words += ["-j", str(workers)] if workers else []
    log = place / "logs" / "watch.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        process = subprocess.Popen(  # noqa: S603 - an argument list of our own
            words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, close_fds=True
        )
    deadline = time.monotonic() + _START_SECONDS
    while (watcher(place) or {}).get("pid") != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            raise InputError(f"{place}: the watch did not start; {log} tells why")
        time.sleep(0.1)
    # It lives on by itself: nobody here waits for its end.
    process.returncode = 0
    if not quiet:
        click.echo(f"process {process.pid} watches {folder}; log in {log}")


@watch_group.command()
@folder_argument
@output_option
@talk_options
def stop(folder: Path, output: Path | None, quiet: bool) -> None:
    """End the watch over FOLDER; what was finished is kept."""
    from soxs_recipes.cascade.watch import stop_watcher

    note = stop_watcher(_workspace_folder(folder, output))
    if not quiet:
        click.echo(f"{folder}: nobody watches" if note is None else f"process {note['pid']} has ended")


@watch_group.command()
@folder_argument
@output_option
@json_option
@talk_options
def status(folder: Path, output: Path | None, as_json: bool, quiet: bool) -> int:
    """Tell whether FOLDER is watched, and what came of the last look; exit code 1 when it is not."""
    from soxs_recipes.cascade.watch import watcher

    note = watcher(_workspace_folder(folder, output))
    if as_json:
        emit_json({"schema": 1, "watched": note is not None} | (note or {}))
    elif note is None:
        click.echo(f"{folder}: nobody watches")
    else:
        click.echo(f"process {note.get('pid')} watches since {note.get('started')}, {note.get('passes')} looks")
        for name, value in (note.get("last") or {}).items():
            if isinstance(value, list):
                click.echo("".join(f"  {line}\n" for line in value), nl=False)
            else:
                click.echo(f"  {name}: {value}")
    return int(note is None)
