"""The words that need no telescope: simulate and demo."""

from __future__ import annotations

from pathlib import Path

import click

from soxs_recipes.cli.options import (
    emit_json,
    interruptible,
    json_option,
    plots_option,
    talk_options,
    workers_option,
)
from soxs_recipes.cli.show import counting
from soxs_recipes.errors import InputError

__all__ = ["demo", "simulate"]


@click.command(short_help="Write raw frames of a simulated night, with the truth beside them.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write."
)
@click.option("--seed", default=1, show_default=True, help="Instrument, sky and noise are functions of it.")
@click.option("--plan", default="demo", show_default=True, metavar="NAME", help="What to observe.")
@click.option("--effect", "effects", multiple=True, metavar="NAME=STRENGTH", help="Scale an effect; 0 is off.")
@json_option
@talk_options
def simulate(output: Path, seed: int, plan: str, effects: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Write raw frames of a simulated night, with the truth beside them.

    \b
    soxs simulate -o night --plan modes --seed 3
    soxs simulate -o night --effect cosmic_rays=10 --effect fringing=0

    \b
    Plans: demo, full; vis, nir, tiny (a part of demo); modes (stare, nod, offset);
    nod, offset, offset-sky, generic-offset, mapping, synchronised; user-arcs,
    user-pinhole-arcs; flexure, faint, empty, lingain; with something missing:
    no-standard, no-wide-flat, dead-xenon-lamp, dead-arc-lamps, dead-flat-lamp.

    An effect that does not exist lists those that do.
    """  # noqa: D301 - click wants the character
    from soxs_recipes.simulator import PLAN_EFFECTS, PLANS, Effects

    if plan not in PLANS:
        raise InputError(f"there is no plan {plan!r}; there are {', '.join(PLANS)}")
    chosen = Effects.from_mapping({**PLAN_EFFECTS.get(plan, {}), **dict(map(_strength, effects))})
    frames = _simulated(output, seed, plan, chosen, quiet=quiet or as_json)
    if as_json:
        emit_json({"schema": 1, "folder": str(output), "plan": plan, "seed": seed, "frames": frames})
    elif not quiet:
        click.echo(f"{frames} frames of plan {plan}, seed {seed}, in {output}")


def _strength(item: str) -> tuple[str, float]:
    name, _, value = item.partition("=")
    try:
        return name.strip().replace("-", "_"), float(value)
    except ValueError:
        raise InputError(f"--effect {item}: write it as NAME=STRENGTH, such as fringing=0") from None


def _simulated(output: Path, seed: int, plan: str, effects, *, quiet: bool) -> int:
    from soxs_recipes.simulator import simulate_night

    with interruptible(), counting("Simulating", quiet=quiet) as progress:
        night = simulate_night(output, seed, plan, effects, progress=lambda done, total, _: progress(done, total))
    return len(night.frames)


@click.command(short_help="Simulate one small night and reduce it.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="demo",
              show_default=True, help="Folder of the raw frames; results go to soxs/ in it.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="Which night.")
@workers_option
@plots_option
@json_option
@talk_options
def demo(output: Path, seed: int, workers: int | None, plots: bool, as_json: bool, quiet: bool) -> int:
    """Simulate one small night (both arms, a standard and a supernova) and reduce it to calibrated spectra."""
    from soxs_recipes.cli.night_commands import reduce_folder

    if _is_there(output, seed):
        if not quiet and not as_json:
            click.echo(f"the night of seed {seed} is in {output} already")
    else:
        frames = _simulated(output, seed, "demo", None, quiet=quiet or as_json)
        if not quiet and not as_json:
            click.echo(f"{frames} raw frames in {output}")
    return reduce_folder(output, workers=workers, plots=plots, as_json=as_json, quiet=quiet)


def _is_there(output: Path, seed: int) -> bool:
    """Whether this very night was simulated there; InputError when something else is in the way."""
    import json

    if not output.is_dir() or not any(output.glob("*.fits")):
        return False
    try:
        night = json.loads((output / "truth" / "night.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        night = {}
    if night.get("seed") != seed or night.get("plan") != "demo":
        raise InputError(f"{output}: holds frames of something else; choose another folder with -o")
    return True
