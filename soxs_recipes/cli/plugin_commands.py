"""The word that makes the recipes known to ESO's runners."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from soxs_recipes.cli.options import emit_json, json_option
from soxs_recipes.errors import InputError

__all__ = ["install_plugins"]


@click.command("install-plugins", short_help="Make the recipes known to pyesorex and EsoRex.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Where to; each runner gets a folder in it [default: your data folder].",
)
@click.option("--runner", metavar="NAME", default="all", show_default=True, help="pyesorex, esorex or all.")
@json_option
def install_plugins(folder: Path | None, runner: str, as_json: bool) -> None:
    """Put the files by which pyesorex and EsoRex find the recipes in place; tells what to set in your shell.

    The runner's Python must be able to import soxs_recipes. Repeat it after an upgrade.
    """
    from soxs_recipes.plugins import install

    known = install.RUNNERS
    if runner != "all" and runner not in known:
        raise InputError(f"--runner {runner}: there are {', '.join(known)} and all")
    chosen = known.values() if runner == "all" else [known[runner]]
    done = install.install_plugins(folder or install.default_folder(), chosen)
    if as_json:
        entries = [
            {"runner": entry.runner.name, "variable": entry.runner.variable, "folder": str(entry.folder),
             "files": [str(path) for path in entry.files], "export": entry.export_line}
            for entry in done
        ]  # fmt: skip
        emit_json({"schema": 1, "installed": entries, "python": sys.executable})
        return
    for entry in done:
        name, listing = entry.runner.name, entry.runner.listing
        click.echo(f"# {name}: put this line into your shell's start-up file; then `{listing}` lists the recipes")
        click.echo(entry.export_line)
    click.echo(f"# The Python of the runner must be able to import soxs_recipes, as this one is: {sys.executable}")
