"""The words that tell about the program itself: recipes, man, settings, completion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from soxs_recipes.cli.options import emit_json, json_option
from soxs_recipes.cli.show import print_table
from soxs_recipes.errors import InputError

if TYPE_CHECKING:
    from soxs_recipes.recipes.framework.declarations import Declaration

__all__ = ["completion", "man", "recipes", "settings", "show_manual"]


@click.command(short_help="List the recipes.")
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes, in the order in which a night needs them."""
    from soxs_recipes.recipes.framework.registry import all_declarations, recipe_entry

    rows = [(d.name, ", ".join(recipe_entry(d.name).commands), d.synopsis) for d in all_declarations()]
    if as_json:
        document = [{"name": name, "commands": words.split(", "), "synopsis": line} for name, words, line in rows]
        emit_json({"schema": 1, "recipes": document})
        return
    print_table("Recipes", ("recipe", "words", "what it does"), rows)


def _recipe_words(_context: click.Context, _parameter: click.Parameter, begin: str) -> list[str]:
    """Recipes whose word begins so, for completion in a shell."""
    from soxs_recipes.recipes.framework.registry import command_names

    return [word for word in command_names() if word.startswith(begin)]


@click.command(short_help="Show the manual of a recipe.")
@click.argument("recipe", shell_complete=_recipe_words)
@json_option
def man(recipe: str, as_json: bool) -> None:
    """Show the manual of RECIPE: inputs, calibrations, parameters, products, QC."""
    from soxs_recipes.recipes.framework.registry import recipe_class

    show_manual(recipe_class(recipe).declaration, as_json=as_json)


def show_manual(declaration: Declaration, *, as_json: bool) -> None:
    """Show the manual of a recipe, page by page on a terminal."""
    from soxs_recipes.recipes.framework.man import man_page

    if as_json:
        emit_json({"schema": 1, "recipe": declaration.name, "manual": man_page(declaration)})
        return
    click.echo_via_pager(man_page(declaration))


@click.command(short_help="Write a settings file with every parameter explained.")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("-x", "--overwrite", is_flag=True, help="Replace a file that is there.")
def settings(path: Path | None, overwrite: bool) -> None:
    """Write a settings file to PATH (or show it): every parameter at its default, explained.

    Keep the lines that you change; a value may be given for each arm.

    \b
    soxs settings soxs.yaml
    soxs reduce all . -s soxs.yaml
    """  # noqa: D301 - click wants the character
    from soxs_recipes.recipes.framework.registry import all_declarations
    from soxs_recipes.recipes.framework.settings import settings_text

    text = settings_text(all_declarations())
    if path is None:
        click.echo(text, nl=False)
        return
    if path.exists() and not overwrite:
        raise InputError(f"{path}: is there already; -x replaces it")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    click.echo(f"wrote {path}")


@click.command(short_help="Print the script that completes words in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script: `eval "$(soxs completion bash)"` in ~/.bashrc puts it to work."""
    from click.shell_completion import get_completion_class

    from soxs_recipes.cli.main import soxs

    made = get_completion_class(shell)(soxs, {}, "soxs", "_SOXS_COMPLETE")
    # `source` asks the shell for its version; the script itself does not depend on it.
    click.echo(made.source_template % made.source_vars())
