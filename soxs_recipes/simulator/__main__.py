"""`python -m soxs_recipes.simulator`: write a simulated night."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.night import simulate_night
from soxs_recipes.simulator.plans import PLAN_EFFECTS, PLANS


@click.command()
@click.option("--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write.")
@click.option("--seed", default=1, show_default=True, help="Instrument, sky and noise are functions of it.")
@click.option("--plan", default="demo", show_default=True, type=click.Choice(list(PLANS)), help="What to observe.")
@click.option("--effect", "effects", multiple=True, metavar="NAME=STRENGTH", help="Scale an effect; 0 is off.")
@click.option("--keep-images", is_flag=True, help="Keep the expected electrons of every pixel, too.")
def main(output: Path, seed: int, plan: str, effects: tuple[str, ...], keep_images: bool) -> None:
    """Write raw frames of a simulated night, with the truth beside them."""
    console = Console(stderr=True)
    try:
        chosen = Effects.from_mapping({**PLAN_EFFECTS.get(plan, {}), **_strengths(effects)})
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as bar:
            task = bar.add_task("Simulating", total=None)

            def advance(done: int, total: int, name: str) -> None:
                bar.update(task, completed=done, total=total, description=name)
                if not console.is_terminal:
                    console.print(f"{done}/{total} {name}", highlight=False)

            night = simulate_night(output, seed, plan, chosen, keep_images, advance)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(night.frames)} frames of plan {plan}, seed {seed}, in {output}")


def _strengths(effects: tuple[str, ...]) -> dict[str, float]:
    strengths = {}
    for item in effects:
        name, separator, value = item.partition("=")
        try:
            strengths[name.strip().replace("-", "_")] = float(value)
        except ValueError:
            raise InputError(f"--effect {item}: write it as NAME=STRENGTH, such as fringing=0") from None
        if not separator:
            raise InputError(f"--effect {item}: write it as NAME=STRENGTH, such as fringing=0")
    return strengths


if __name__ == "__main__":
    main()
