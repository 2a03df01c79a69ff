"""The word that tells how ESO's EDPS runs the pipeline."""

from __future__ import annotations

import click

from soxs_recipes.cli.options import emit_json, json_option

__all__ = ["edps"]


@click.command("edps", short_help="Tell the settings by which ESO's EDPS runs the pipeline.")
@json_option
def edps(as_json: bool) -> None:
    """Tell what goes into EDPS's application.properties; the workflow is used where it lies.

    EDPS comes from ESO. It runs the recipes by pyesorex: see `soxs install-plugins --runner pyesorex`.
    """
    from soxs_recipes.integration.edps import application_properties, workflow_tasks

    properties = application_properties()
    if as_json:
        sections = {name: {key: str(value) for key, value in lines.items()} for name, lines in properties.items()}
        emit_json({"schema": 1, "properties": sections, "tasks": workflow_tasks()})
        return
    click.echo("# in ~/.edps/application.properties; then `edps -shutdown`, so that it is read anew")
    for section, lines in properties.items():
        click.echo(f"[{section}]")
        for key, value in lines.items():
            click.echo(f"{key}={value}")
    click.echo("# after `soxs install-plugins --runner pyesorex` and what that tells you to set:")
    click.echo("edps -w soxs.soxs_wkf -i FOLDER -c    # what each frame is")
    click.echo("edps -w soxs.soxs_wkf -i FOLDER -o RESULTS    # reduce it")
