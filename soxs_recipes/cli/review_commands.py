"""`soxs review`: a step in a window."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from soxs_recipes.cli.options import interruptible, plots_option, settings_option, talk_options
from soxs_recipes.errors import InputError, SoxsError

if TYPE_CHECKING:
    from soxs_recipes.recipes.framework.declarations import Declaration
    from soxs_recipes.review.acceptance import Kept

__all__ = ["review"]


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="[RECIPE] INPUTS...")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=".", show_default=True,
              help="Folder for the result that is kept.")  # fmt: skip
@settings_option
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Value of a parameter to begin with.")
@click.option("--screenshot", type=click.Path(path_type=Path), metavar="FILE.png",
              help="Write a picture of the window instead of opening it.")  # fmt: skip
@click.option("--page", default="", metavar="NAME", help="Page that the picture shows.")
@plots_option
@talk_options
def review(
    what: tuple[str, ...],
    output: Path,
    settings_file: Path | None,
    given: tuple[str, ...],
    screenshot: Path | None,
    page: str,
    plots: bool,
    quiet: bool,
) -> int:
    """Judge a step of the reduction in a window, change its parameters and repeat it.

    \b
    soxs review mflat flat.sof                 a recipe on a SOF, a folder or frames
    soxs review soxs/products/…/MASTER_FLAT…   a product of a workspace, with the frames that made it

    The window shows what the recipe made, runs it again with other parameters (in a process of its own), and tells
    which QC values got better. "Use this result" puts the products into the output folder and the parameters into
    soxs.yaml there, for `soxs reduce all -s soxs.yaml`, and into a .rc file for EsoRex.
    """  # noqa: D301 - click wants the character
    from soxs_recipes.cli.recipe_commands import plots_of, recipe_settings
    from soxs_recipes.review.screen import open_window, write_screenshot
    from soxs_recipes.review.session import ReviewSession

    declaration, frames, products, settings = _subject(what)
    settings |= recipe_settings(declaration, settings_file, {}, None, _pairs(given), frames)
    with interruptible(), ReviewSession(declaration, frames, settings, output, products=products) as session:
        if screenshot is not None:
            write_screenshot(session, screenshot, page)
            return 0
        open_window(session)
        kept = session.kept
    if kept is not None:
        _tell_kept(kept, plots_of(kept.products, output) if plots else [], quiet=quiet)
    return 0


def _tell_kept(kept: Kept, plots: Sequence[str], *, quiet: bool) -> None:
    if quiet:
        return
    for path in (*kept.products, *plots, kept.settings, kept.rc):
        click.echo(path)
    click.echo(f"a night reduced that way: soxs reduce all NIGHT -s {shlex.quote(str(kept.settings))}")


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: write NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _subject(what: Sequence[str]) -> tuple[Declaration, list[tuple[str, str]], list[Path], dict[str, object]]:
    """(declaration, frames, products that are there, settings that made them) of the words of the command."""
    from soxs_recipes.cli.companions import with_companions
    from soxs_recipes.cli.recipe_inputs import gather_frames, recipe_for_sof
    from soxs_recipes.recipes.framework.registry import recipe_class

    first, paths = what[0], [Path(word) for word in what[1:]]
    if Path(first).exists():
        paths = [Path(word) for word in what]
        if len(paths) == 1 and (made := _made_in_workspace(paths[0])) is not None:
            return made
        name = recipe_for_sof(paths[0], "soxs review")
    else:
        name = first
    declaration = recipe_class(name).declaration
    if not paths:
        raise InputError(f"soxs review {name}: give a SOF, a folder or frames, too")
    frames, _ = with_companions(declaration, gather_frames(paths, declaration))
    if not frames:
        tags = ", ".join(raw.tag for raw in declaration.raws)
        raise InputError(f"{', '.join(map(str, paths))}: none of {tags} among the frames")
    return declaration, frames, [], {}


def _made_in_workspace(path: Path):
    """What made a product of a workspace, None when this is none."""
    from soxs_recipes.cascade.results import read_job_file
    from soxs_recipes.cli.companions import frames_of_the_call
    from soxs_recipes.recipes.framework.registry import recipe_class

    folder = path.absolute() if path.is_dir() else path.absolute().parent
    try:
        job = read_job_file(folder)
    except SoxsError:
        job = None
    if job is None:
        return None
    products = sorted(folder.glob("*.fits"))
    frames = frames_of_the_call(products[0]) if products else []
    if not frames:
        raise InputError(f"{folder}: the set of frames that made this is not in the workspace any more")
    declaration = recipe_class(str(job["recipe"])).declaration
    settings = _not_default(declaration, str(job.get("arm", "")), job.get("parts", {}).get("parameters", {}))
    return declaration, frames, products, settings


def _not_default(declaration: Declaration, arm_name: str, values: dict) -> dict[str, object]:
    """Values of a job that are neither the default nor what `auto` means in its arm."""
    from soxs_recipes.instrument import load_instrument
    from soxs_recipes.recipes.framework.declarations import automatic_value

    arm = load_instrument().arm(arm_name)
    changed = {}
    for name, value in values.items():
        parameter = declaration.parameter(name)
        usual = automatic_value(declaration, parameter, arm) if parameter.is_auto else parameter.default
        if parameter.checked(value) != parameter.checked(usual):
            changed[parameter.name] = value
    return changed
