"""The word that puts the Reflex workflow in place."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from soxs_recipes.cli.options import emit_json, json_option

__all__ = ["install_workflows"]


@click.command("install-workflows", short_help="Put the Reflex workflow in place, for your folders of data.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Where the workflow goes [default: your data folder].",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("~/reflex_data"),
    show_default=True,
    help="Where Reflex reads raw frames (reflex_input/soxs) and writes; the folders are made.",
)
@click.option(
    "--calibrations",
    type=click.Path(path_type=Path),
    help="Folder of your own calibrations [default: the pipeline's tables].",
)
@json_option
def install_workflows(folder: Path | None, data: Path, calibrations: Path | None, as_json: bool) -> None:
    """Put the Reflex workflow, its rules and scripts in place, and tell how to open it.

    Reflex comes from ESO. It runs the recipes by EsoRex: see `soxs install-plugins`. Repeat it after an upgrade.
    """
    from soxs_recipes.integration import install

    done = install.install_workflow(folder or install.default_folder(), data, calibrations)
    if as_json:
        places = ("workflow", "raw", "calibrations", "products")
        entries = {name: str(getattr(done, name)) for name in places}
        emit_json({"schema": 1, **entries, "files": [str(path) for path in done.files]})
        return
    click.echo(f"raw frames     {done.raw}")
    click.echo(f"calibrations   {done.calibrations}")
    click.echo(f"results        {done.products}")
    click.echo("# Let Reflex's EsoRex find the recipes (soxs install-plugins --runner esorex), then:")
    click.echo(f"esoreflex {shlex.quote(str(done.workflow))}")
