"""How a night is shown on a terminal: progress while it runs, a table when it has ended, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

__all__ = [
    "NO_FRAMES",
    "Progress",
    "counting",
    "print_report",
    "print_table",
    "target_cells",
    "told_apart",
    "troubles",
    "unusable_lines",
    "when_taken",
]

NO_FRAMES = "{}: no FITS files are there; name the folder that holds the raw frames"
_EACH_NAMED = 10  # files of one reason
_BETWEEN_LINES = 10.0  # s


def _console(*, error: bool = False):
    from rich.console import Console

    return Console(stderr=error, highlight=False)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()
) -> None:
    """A table; on anything but a terminal its cells stand between tabs, a row a line."""
    console = _console()
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        click.echo(f"# {title}")
        click.echo("\t".join(columns))
        for row in texts:
            click.echo("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    for row in texts:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    console.print(table)


def _style(cell: str) -> str:
    return {"COMPLETE": "green", "PARTIAL": "yellow", "FAILED": "red", "BLOCKED": "red"}.get(cell, "")


@contextmanager
def counting(label: str, *, quiet: bool) -> Iterator:
    """A function (done, total) that shows a bar on a terminal and elsewhere a line now and then."""
    console = _console(error=True)
    if quiet:
        yield lambda done, total: None
        return
    if not console.is_terminal:
        yield _Lines(label)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    with Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
             console=console, transient=True) as bar:  # fmt: skip
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Tells how far it is, once in ten seconds at most."""

    def __init__(self, label: str):
        self.label, self.told = label, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Take note that so many are done."""
        now = time.monotonic()
        if now - self.told >= _BETWEEN_LINES:
            self.told = now
            click.echo(f"{self.label}: {done}/{total}", err=True)


class Progress:
    """Shows the events of a night: a bar and what is at work on a terminal, a line a call elsewhere."""

    def __init__(self, *, quiet: bool):
        self.console = _console(error=True)
        self.quiet = quiet
        self.running: list[str] = []
        self.bar = None

    def __enter__(self) -> Progress:
        if not self.quiet and self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
            self.bar = Bar(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("starting", total=None)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, event) -> None:
        """Take one event of the run."""
        if event.kind == "start":
            self.running.append(event.job)
        elif event.kind == "end" and event.job in self.running:
            self.running.remove(event.job)
        line = self._line(event)
        if line and not self.quiet:
            (self.bar.console.print if self.bar else click.echo)(
                line, **({"markup": False} if self.bar else {"err": True})
            )
        if self.bar is not None:
            now = ", ".join("/".join(name.split("/")[1:]) for name in self.running) or "plots"
            self.bar.update(self.task, completed=event.done, total=event.total, description=now)

    def _line(self, event) -> str:
        if event.kind == "again":
            return f"        {event.job}: {event.result['why']}"
        if event.kind == "plots" and event.result["status"] == "FAILED":
            return f"        no plots of {event.job or 'all arms'}: {event.result['error']}"
        if event.kind != "end":
            return ""
        result = event.result
        head = f"{event.done:3d}/{event.total:<3d} {result['status']:8s} {result['seconds']:5.1f} s  {event.job}"
        why = result["error"] if result["status"] == "FAILED" else "; ".join(result["reasons"])
        return f"{head}: {why}" if why else head


# -- the closing table --------------------------------------------------------------------------------------
def print_report(report: Mapping[str, object]) -> None:
    """Targets, the calibrations they stand on, what is partial or failed and why, times, places."""
    targets = told_apart(report["targets"])
    if targets:
        print_table(
            "Targets",
            ("target", "arm", "slit", "exposures", "S/N", "seeing", "at slit", "status"),
            [target_cells(row) for row in targets],
            right=(3, 4, 5, 6),
        )
        print_table(
            "Calibrations used (level 0: as planned, 1: good, 2: acceptable, 3: risky)",
            ("target", "arm", "calibration", "from", "level", "taken", "remark"),
            [cells for row in targets for cells in _calibration_cells(row)],
            right=(4, 5),
        )
    _print_troubles(report)
    if report["times"]:
        print_table(
            "Time of each recipe",
            ("recipe", "arm", "calls", "seconds", "each", "plots", "peak MB"),
            [_time_cells(row) for row in report["times"]],
            right=(2, 3, 4, 5, 6),
        )
    for row in targets:
        if row["map"]:
            click.echo(f"{row['target']} {row['arm']}: {row['map']}")
        for text in row["texts"]:
            click.echo(f"{row['target']} {row['arm']}: {text}")
    click.echo(f"products: {report['products']}")
    if Path(str(report["plots"])).is_dir():
        click.echo(f"plots:    {report['plots']}")


def told_apart(targets: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The targets' rows, their names with what tells them apart.

    The night where there are several; the mode, and then the time, where a target was observed more than once.
    """
    names = [str(row["target"]) for row in targets]
    if len({row["night"] for row in targets}) > 1:
        names = [f"{name} {row['night']}" for name, row in zip(names, targets, strict=True)]
    for further in ("mode", "begin"):
        rows = [(name, row["arm"]) for name, row in zip(names, targets, strict=True)]
        words = [str(row[further]).partition("T")[2][:5] or str(row[further]) for row in targets]
        different = {place: {w for w, r in zip(words, rows, strict=True) if r == place} for place in set(rows)}
        names = [
            f"{name} {word}" if len(different[place]) > 1 else name
            for name, word, place in zip(names, words, rows, strict=True)
        ]
    return [{**row, "target": name} for row, name in zip(targets, names, strict=True)]


def _time_cells(row: Mapping[str, object]) -> tuple:
    seconds = [f"{value:.1f}" for value in (row["seconds"], row["seconds"] / row["calls"], row["plots_seconds"])]
    return row["recipe"], row["arm"], row["calls"], *seconds, f"{row['peak_mb']:.0f}"


def target_cells(row: Mapping[str, object]) -> tuple:
    """Target, arm, slit, exposures, S/N, seeing, slit position and status of a row of the report."""
    exposures = f"{row['exposures']} x {row['seconds'] / max(1, row['exposures']):g} s"
    numbers = [_number(row["snr"], ".1f"), _number(row["seeing"], '.2f"'), _number(row["slit_position"], '+.2f"')]
    return row["target"], row["arm"], row["slit"], exposures, *numbers, row["status"]


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    unit = '"' if form.endswith('"') else ""
    return f"{value:{form.rstrip(chr(34))}}{unit}"


def _calibration_cells(row: Mapping[str, object]) -> Iterator[tuple]:
    for link in row["calibrations"]:
        level = "" if link["level"] is None else link["level"]
        remark = link["mark"] or (
            "" if link["status"] in ("", "COMPLETE") else f"{link['status']}: {_short(link['why'])}"
        )
        yield row["target"], row["arm"], link["name"], link["from"], level, when_taken(link["age"]), remark


def when_taken(days: float | None) -> str:
    """`8.1 h before` for a calibration of -0.34 days against the frames that use it; nothing for None."""
    if days is None:
        return ""
    length = f"{abs(days) * 24:.1f} h" if abs(days) < 2 else f"{abs(days):.1f} d"
    return f"{length} {'after' if days > 0 else 'before'}"


def _short(reasons: Sequence[str]) -> str:
    more = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}" if reasons else ""


def troubles(report: Mapping[str, object]) -> list[str]:
    """A line for each call that is partial, failed or waits, and why."""
    lines = []
    for call in report["calls"]:
        name = call["call"]
        if call["state"] in ("failed", "blocked", "to do") or call["status"] == "PARTIAL":
            label = call["status"] or call["state"].upper()
            lines.append(f"{label:8s} {name}: {call['why']}")
    return lines


def unusable_lines(unusable: Sequence[Mapping[str, str]]) -> list[str]:
    """A line a file (`file`, `reason`); one for all of a reason where they are many, as in a folder of others."""
    files: dict[str, list[str]] = {}
    for frame in unusable:
        files.setdefault(frame["reason"], []).append(frame["file"])
    lines = []
    for reason, names in files.items():
        if len(names) > _EACH_NAMED:
            lines.append(f"unusable: {len(names)} files (soxs list frames), first {names[0]}: {reason}")
        else:
            lines += [f"unusable: {name}: {reason}" for name in names]
    return lines


def _print_troubles(report: Mapping[str, object]) -> None:
    lines = troubles(report)
    lines += unusable_lines(report["unusable"])
    unused: dict[str, list[str]] = {}
    for frame in report["unused"]:
        unused.setdefault(frame["reason"], []).append(Path(frame["file"]).name)
    lines += [f"not used {len(names)} frame(s), first {names[0]}: {why}" for why, names in unused.items()]
    if lines:
        click.echo("What is partial or missing, and why")
        for line in lines:
            click.echo(f"  {line}")
        click.echo("")
