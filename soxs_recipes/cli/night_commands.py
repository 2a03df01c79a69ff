"""The words that work on a folder: prep, reduce, session."""

from __future__ import annotations

import collections
from contextlib import closing
from pathlib import Path

import click

from soxs_recipes.cascade.tasks import OPTIONAL_TASKS
from soxs_recipes.cli.options import (
    break_lock_option,
    emit_json,
    folder_argument,
    interruptible,
    json_option,
    output_option,
    plots_option,
    session_option,
    settings_option,
    talk_options,
    workers_option,
)
from soxs_recipes.cli.show import NO_FRAMES, Progress, counting, print_report, print_table, unusable_lines
from soxs_recipes.compiled import FIRST_RUN, is_machine_code_kept
from soxs_recipes.errors import InputError

__all__ = ["prep", "reduce_folder", "reduce_group", "reduced_folder", "session"]


@click.command(short_help="Learn what frames a folder holds.")
@folder_argument
@output_option
@session_option
@click.option("--refresh", is_flag=True, help="Read every header again, changed or not.")
@json_option
@break_lock_option
@talk_options
def prep(
    folder: Path,
    output: Path | None,
    session: str | None,
    refresh: bool,
    as_json: bool,
    break_lock: bool,
    quiet: bool,
) -> None:
    """Learn what the frames in FOLDER are, and what can be made of them.

    Raw frames are neither moved nor changed. Results go to FOLDER/soxs unless -o names another place.

    \b
    soxs prep .                     the frames of this folder, by night and kind
    soxs prep /data/raw -o ~/work   a folder in which nothing may be written
    """  # noqa: D301 - click wants the character
    from soxs_recipes.cascade.night import open_workspace, prepare

    workspace = open_workspace(folder, output, session)
    try:
        with interruptible(), workspace.locked(break_lock=break_lock):
            with counting("Reading headers", quiet=quiet or as_json) as progress:
                scan = prepare(workspace, progress, refresh=refresh)
            _write_settings(workspace)
    finally:
        workspace.close()
    counts = collections.Counter((frame.facts.get("night"), frame.tag) for frame in scan.usable)
    if as_json:
        emit_json(
            {
                "schema": 1,
                "workspace": str(workspace.folder),
                "raw_folder": str(workspace.raw_folder),
                "frames": len(scan.usable),
                "seconds": scan.seconds,
                "tags": [{"night": night, "tag": tag, "frames": n} for (night, tag), n in sorted(counts.items())],
                "unusable": [{"file": frame.path, "reason": frame.problem} for frame in scan.unusable],
                "warnings": {frame.path: list(frame.warnings) for frame in scan.usable if frame.warnings},
            }
        )
        return
    if quiet:
        return
    print_table("Frames", ("night", "tag", "frames"), [(*key, n) for key, n in sorted(counts.items())], right=(2,))
    _print_scan_remarks(scan)
    if not scan.frames:
        click.echo(NO_FRAMES.format(workspace.raw_folder), err=True)
    click.echo(
        f"{len(scan.usable)} frames in {scan.seconds:.1f} s, {len(scan.unusable)} unusable; {workspace.folder}"
    )


def _print_scan_remarks(scan) -> None:
    for line in unusable_lines([{"file": frame.path, "reason": frame.problem} for frame in scan.unusable]):
        click.echo(line, err=True)
    warned = collections.Counter(warning for frame in scan.usable for warning in frame.warnings)
    for warning, number in warned.most_common():
        click.echo(f"warning: {number} frame(s): {warning}", err=True)


def _write_settings(workspace) -> None:
    """The settings file of a new workspace: every parameter at its default, explained."""
    from soxs_recipes.cascade.night import recipe_declarations
    from soxs_recipes.fits_files import write_text_atomic
    from soxs_recipes.recipes.framework.settings import settings_text

    if not workspace.settings.exists():
        write_text_atomic(workspace.settings, settings_text(recipe_declarations().values()))


@click.group(name="reduce", short_help="Reduce a whole folder (all) or one set of frames (sof).")
def reduce_group() -> None:
    """Reduce frames."""


@reduce_group.command(name="all")
@folder_argument
@output_option
@settings_option
@session_option
@workers_option
@plots_option
@click.option("-x", "--overwrite", is_flag=True, help="Run every recipe again, changed or not.")
@click.option("-m", "--multiprocess", is_flag=True, hidden=True, help="As always.")
@click.option("--redo", multiple=True, metavar="WORD", help="Run again the calls whose name holds WORD.")
@click.option(
    "--also",
    type=click.Choice([*OPTIONAL_TASKS, "none"]),
    multiple=True,
    help="Products that are made only when asked for: straighten (rectified 2-D images). The workspace remembers "
    "it; none forgets it.",
)
@click.option("--timeout", default=900.0, show_default=True, help="Longest time of one recipe [s].")
@json_option
@break_lock_option
@talk_options
def reduce_all(folder: Path, output: Path | None, session: str | None, **options) -> int:
    """Reduce all frames in FOLDER to flux-calibrated spectra.

    What was done before and has not changed is not done again; a changed setting repeats what depends on it.

    \b
    soxs reduce all .                    everything, to soxs/products, soxs/plots
    soxs reduce all . -s soxs.yaml       with your own settings (`soxs settings`)
    soxs reduce all . --redo science     again what `soxs plan` calls so
    soxs reduce all . --also straighten  rectified 2-D images, too

    Exit code: 0 when every target has a spectrum (partial ones are named), else 1.
    """  # noqa: D301 - click wants the character
    options.pop("multiprocess")
    return reduce_folder(folder, output, session, **options)


def reduce_folder(
    folder: Path, output: Path | None = None, session: str | None = None, *, quiet: bool = False, **options
) -> int:
    """Prepare and reduce a folder and show what came of it; 0 when every target has a spectrum, else 1."""
    report = reduced_folder(folder, output, session, quiet=quiet, **options)
    if options.get("as_json"):
        emit_json(report)
    elif not quiet:
        print_report(report)
        click.echo(f"{len(report['ran'])} recipe calls run, {len(report['calls']) - len(report['ran'])} as before")
    return _exit_code(report)


def reduced_folder(
    folder: Path,
    output: Path | None = None,
    session: str | None = None,
    *,
    settings_file: Path | None = None,
    workers: int | None = None,
    plots: bool = True,
    overwrite: bool = False,
    redo: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    timeout: float = 900.0,
    as_json: bool = False,
    break_lock: bool = False,
    quiet: bool = False,
) -> dict[str, object]:
    """Prepare and reduce a folder; the report of what came of it, with the names of the calls that ran."""
    from soxs_recipes.cascade.night import ask_for, open_workspace, plan_inputs, prepare
    from soxs_recipes.cascade.pool import load_ahead
    from soxs_recipes.cascade.report import night_report
    from soxs_recipes.cascade.run import NightRun, RunOptions, default_workers

    workspace = open_workspace(folder, output, session)
    try:
        with interruptible(), workspace.locked(break_lock=break_lock):
            if not workspace.index.results():  # else there may be nothing to do
                load_ahead()
            with counting("Reading headers", quiet=quiet or as_json) as progress:
                scan = prepare(workspace, progress)
            if not scan.frames:
                raise InputError(NO_FRAMES.format(workspace.raw_folder))
            if not scan.usable:
                first = scan.unusable[0]
                none = f"none of {len(scan.unusable)} FITS files can be used (soxs prep lists them)"
                raise InputError(f"{workspace.raw_folder}: {none}; first {first.name}: {first.problem}")
            _write_settings(workspace)
            if also:
                ask_for(workspace, set(also) - {"none"})
            if not quiet and not as_json and not is_machine_code_kept():
                click.echo(FIRST_RUN, err=True)
            inputs = plan_inputs(workspace, scan, settings_file)
            run = NightRun(workspace, inputs, RunOptions(workers or default_workers(), plots, timeout))
            run.force_words(("",) if overwrite else redo)
            with Progress(quiet=quiet or as_json) as shown:
                run.tell = shown
                run.run()
            report = night_report(workspace, run.plan, run.states, run.results, scan.frames)
    finally:
        workspace.close()
    return report | {"ran": run.ran}


def _exit_code(report: dict[str, object]) -> int:
    """1 when a target has no spectrum, or when nothing at all could be made."""
    if any(row["status"] not in ("COMPLETE", "PARTIAL") for row in report["targets"]):
        return 1
    return int(bool(report["calls"]) and not any(call["state"] == "done" for call in report["calls"]))


@reduce_group.command(name="sof", context_settings={"ignore_unknown_options": True})
@click.argument("sof", type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def reduce_sof(sof: Path, options: tuple[str, ...]) -> int:
    """Reduce one set of frames by the recipe for them; OPTIONS are those of that recipe.

    \b
    soxs reduce sof soxs/sof/2026-03-01/flat/VIS_SLIT1.0.sof -o out --stack-sigma=4
    """  # noqa: D301 - click wants the character
    from soxs_recipes.cli.recipe_commands import recipe_command
    from soxs_recipes.cli.recipe_inputs import recipe_for_sof

    return recipe_command(recipe_for_sof(sof, "soxs")).main([str(sof), *options], standalone_mode=False)


@click.command(short_help="List (ls), make (new) or choose a session.")
@click.argument("word")
@click.argument("name", required=False)
@click.option("--folder", type=click.Path(path_type=Path), default=".", help="Folder of raw frames, or workspace.")
@output_option
@json_option
def session(word: str, name: str | None, folder: Path, output: Path | None, as_json: bool) -> None:
    """List sessions (ls), make one (new NAME), or choose one by its NAME.

    A session has settings, products and plots of its own, for the same frames.

    \b
    soxs session new wide-sky   a new one, which the commands then work in
    soxs session ls             all, the chosen one with a star
    soxs session base           back to the first
    """  # noqa: D301 - click wants the character
    from soxs_recipes.cascade.night import looked_at, open_workspace

    with closing(open_workspace(folder, output)) if word == "new" else looked_at(folder, output) as workspace:
        current = workspace.session
        if word == "new":
            if not name:
                raise InputError("soxs session new needs a name")
            workspace.new_session(name)
            workspace.choose_session(name)
            current = name
        elif word != "ls":
            workspace.choose_session(word)
            current = word
        names = workspace.sessions()
    if as_json:
        emit_json({"schema": 1, "current": current, "sessions": names})
        return
    for one in names:
        click.echo(f"{'*' if one == current else ' '} {one}")
