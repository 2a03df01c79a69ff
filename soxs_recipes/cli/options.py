"""Options that several commands share, and how much a command says."""

from __future__ import annotations

import functools
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from soxs_recipes.errors import Interrupted

__all__ = [
    "break_lock_option",
    "emit_json",
    "folder_argument",
    "interruptible",
    "json_option",
    "output_option",
    "plots_option",
    "session_option",
    "set_up_log",
    "settings_option",
    "talk_options",
    "workers_option",
]

_PATH = click.Path(path_type=Path)

folder_argument = click.argument("folder", type=_PATH, default=".")
output_option = click.option(
    "-o", "--output", type=_PATH, help="Folder of the results [default: soxs/ in FOLDER]."
)
settings_option = click.option("-s", "--settings", "settings_file", type=_PATH, help="Settings file (YAML).")
session_option = click.option("--session", help="Session to work in [default: the one chosen last].")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
plots_option = click.option(
    "--plots/--no-plots", default=True, show_default=True, help="Draw plots of the products."
)
workers_option = click.option(
    "-j", "--jobs", "workers", type=click.IntRange(1), help="Recipes at a time [default: one a processor]."
)
break_lock_option = click.option(
    "--break-lock", is_flag=True, help="Take a workspace that a run on another host did not release."
)


def talk_options(command: Callable) -> Callable:
    """Add -V and -q, and set up the log before the command runs."""

    @click.option("-V", "--verbose", is_flag=True, help="Show the log, and where an error arose.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
    @functools.wraps(command)
    def talking(*args, verbose: bool, quiet: bool, **options):
        set_up_log(logging.DEBUG if verbose else logging.CRITICAL if quiet else logging.WARNING)
        return command(*args, quiet=quiet, **options)

    return talking


def set_up_log(level: int) -> None:
    """Show the log of the package on standard error from `level` on; DEBUG names the levels, too."""
    is_all = level <= logging.DEBUG
    package = logging.getLogger("soxs_recipes")
    for handler in [handler for handler in package.handlers if getattr(handler, "of_the_command", False)]:
        package.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.of_the_command = True
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s" if is_all else "%(message)s"))
    handler.setLevel(level)
    if not is_all:
        # Errors reach the user as the one line of the command; the log would say them twice.
        handler.addFilter(lambda record: record.levelno < logging.ERROR)
    package.addHandler(handler)
    package.setLevel(logging.DEBUG if is_all else logging.INFO)


def emit_json(document: dict[str, object]) -> None:
    """Print a JSON document; what JSON cannot hold becomes text, what is not finite null."""
    click.echo(json.dumps(_finite(document), indent=1, default=str))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP become `Interrupted`, so that everything in between is put in order."""

    def stop(number: int, _frame: object) -> None:
        for one in previous:
            signal.signal(one, signal.SIG_IGN)
        error = Interrupted(
            f"stopped by {signal.Signals(number).name}; what was finished is kept, run it again to go on"
        )
        error.signal_code = 128 + number
        raise error

    watched = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    previous = {number: signal.getsignal(number) for number in watched}
    try:
        for number in watched:
            signal.signal(number, stop)
        yield
    except BaseException:
        from soxs_recipes.cascade.pool import drop_ahead

        drop_ahead()
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
