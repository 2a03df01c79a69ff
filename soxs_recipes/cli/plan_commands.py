"""The words that look at a night and change nothing: plan, explain, check, list, raw."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from soxs_recipes.cli.options import (
    emit_json,
    folder_argument,
    json_option,
    output_option,
    session_option,
    settings_option,
    talk_options,
)
from soxs_recipes.cli.show import NO_FRAMES, print_table, unusable_lines, when_taken
from soxs_recipes.errors import InputError

__all__ = ["check", "explain", "list_group", "plan", "raw_group"]

_UNKNOWN = "{}: neither of the frames in {} nor of what was made from them; --folder names another night"


@dataclass
class Night:
    """A planned night: what the words here look at."""

    workspace: object
    scan: object
    plan: object
    states: Mapping[str, object]
    results: Mapping[str, Mapping[str, object]]


def planned_night(
    folder: Path, output: Path | None = None, session: str | None = None, settings_file: Path | None = None
) -> Night:
    """Scan and plan a folder; the workspace is closed again and only its names are used."""
    from soxs_recipes.cascade.night import known_results, looked_at, plan_inputs, prepare
    from soxs_recipes.cascade.state import settle

    with looked_at(folder, output, session) as workspace:
        scan = prepare(workspace)
        results = known_results(workspace)
        plan, states = settle(plan_inputs(workspace, scan, settings_file), results)
    if not scan.frames:
        click.echo(NO_FRAMES.format(workspace.raw_folder), err=True)
    return Night(workspace, scan, plan, states, results)


@click.command(short_help="Show which recipe calls a folder needs; --why tells the reason of each.")
@folder_argument
@output_option
@settings_option
@session_option
@click.option("--why", is_flag=True, help="Tell why each call runs or not, and what it stands on.")
@json_option
@talk_options
def plan(
    folder: Path,
    output: Path | None,
    settings_file: Path | None,
    session: str | None,
    why: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the recipe calls that FOLDER needs, in an order in which they can run.

    With --why: why each runs or not, and what it stands on (level 0: as planned, 1: good, 2: acceptable,
    3: risky). Frames that serve nothing are named.
    """
    from soxs_recipes.cascade.report import explain_job

    night = planned_night(folder, output, session, settings_file)
    calls = [explain_job(job, night.states[job.name], night.results) for job in night.plan.jobs]
    if as_json:
        emit_json({"schema": 1, "calls": calls, "unused": night.plan.unused, "unusable": _unusable(night)})
        return
    rows = [(c["call"], c["recipe"], len(c["frames"]), c["state"], c["why"] if why else "") for c in calls]
    columns = ("call", "recipe", "frames", "state", "why")
    print_table("Plan", columns[: None if why else 4], [row[: None if why else 4] for row in rows], right=(2,))
    if why:
        rows = [
            (c["call"], link["name"], link["from"], link["level"], when_taken(link["age"]), link["mark"])
            for c in calls
            for link in c["calibrations"]
        ]
        print_table("What each stands on", ("call", "calibration", "from", "level", "taken", "remark"), rows)
    for path, reason in night.plan.unused.items():
        click.echo(f"not used: {Path(path).name}: {reason}")
    for line in unusable_lines(_unusable(night)):
        click.echo(line)
    todo = sum(call["state"] == "to do" for call in calls)
    click.echo(f"{len(calls)} recipe calls, {todo} to do")


def _unusable(night: Night) -> list[dict[str, str]]:
    return [{"file": frame.path, "reason": frame.problem} for frame in night.scan.unusable]


@click.command(short_help="Tell all about one frame or product.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Folder of raw frames, or workspace [default: PATH's]."
)
@output_option
@session_option
@json_option
@talk_options
def explain(
    path: Path, folder: Path | None, output: Path | None, session: str | None, as_json: bool, quiet: bool
) -> None:
    """Tell what PATH is, what uses it or made it, and what that stands on.

    PATH is a raw frame, or a product, plot, log, SOF or folder of a call in the workspace.

    \b
    soxs explain SOXS.2026-03-02T02:02:50.037.fits
    soxs explain soxs/products/2026-03-01/flat/VIS_SLIT1.0/*_MASTER_FLAT.fits
    """  # noqa: D301 - click wants the character
    from soxs_recipes.cascade.report import explain_job

    path = path.expanduser()
    night = _night_around(path, folder, output, session)
    document = _explained(night, path.resolve(), explain_job)
    if as_json:
        emit_json({"schema": 1, "file": str(path)} | document)
        return
    click.echo(str(path))
    for key in ("tag", "unusable", "reason"):
        if document.get(key):
            click.echo(f"  {key}: {document[key]}")
    for name, value in document.get("facts", {}).items():
        if value is not None:
            click.echo(f"  {name}: {value}")
    for warning in document.get("warnings", []):
        click.echo(f"  inferred: {warning}")
    for call in document["calls"]:
        _print_call(call)


def _explained(night: Night, path: Path, explain_job) -> dict[str, object]:
    frame = next((f for f in night.scan.frames if Path(f.path).resolve() == path), None)
    made_by = _calls_of(night, path)
    if frame is None and not made_by:
        raise InputError(_UNKNOWN.format(path, night.workspace.raw_folder))
    using = [
        job.name
        for job in night.plan.jobs
        if frame
        and any(f.path == frame.path for f in (*job.frames, *(f for link in job.links for f in link.frames)))
    ]
    planned = {job.name: job for job in night.plan.jobs}
    calls = [
        explain_job(planned[n], night.states[n], night.results)
        | {"role": "made by" if n in made_by else "used by"}
        for n in dict.fromkeys([*made_by, *using])
        if n in planned
    ]
    document: dict[str, object] = {"calls": calls}
    if frame is not None:
        document |= {"tag": frame.tag, "facts": dict(frame.facts), "warnings": list(frame.warnings)}
        document["unusable"] = frame.problem
        document["reason"] = night.plan.unused.get(frame.path, "")
    return document


def _print_call(call: Mapping[str, object]) -> None:
    state = "; ".join(filter(None, (call["status"] or call["state"], call["why"])))
    click.echo(f"{call['role']} {call['call']} ({call['recipe']}): {state}")
    for frame in call["frames"]:
        click.echo(f"  {frame['tag']:20s} {Path(frame['file']).name}")
    for link in call["calibrations"]:
        taken = "" if link["age"] is None else f"level {link['level']}, {when_taken(link['age'])}"
        click.echo(f"  {link['name']:20s} {link['from']}  {taken}  {link['mark']}".rstrip())


def _night_around(
    path: Path, folder: Path | None, output: Path | None = None, session: str | None = None
) -> Night:
    """The night that a path belongs to: that of a folder, else of the workspace, else of the frames beside it."""
    from soxs_recipes.cascade.scan import FITS_SUFFIXES

    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    folder = folder or _workspace_above(path)
    if folder is None and not path.name.endswith(FITS_SUFFIXES):
        raise InputError(f"{path}: not in a workspace, and no FITS file")
    return planned_night(folder or path.parent, output, session)


def _calls_of(night: Night, path: Path) -> list[str]:
    """Names of the calls that a path belongs to: a result, plot, log or SOF, or the folder of such."""
    place, above = night.workspace.place, {path, *path.parents}
    return [
        name
        for name, result in night.results.items()
        if path in (place("sof", f"{name}.sof"), place("logs", f"{name}.log"))
        or above & {Path(str(result["folder"])), place("plots", name)}
    ]


def _workspace_above(path: Path) -> Path | None:
    from soxs_recipes.cascade.workspace import is_workspace

    return next((folder for folder in path.resolve().parents if is_workspace(folder)), None)


@click.command(short_help="Check that every target has its calibrations.")
@folder_argument
@output_option
@session_option
@json_option
@talk_options
def check(folder: Path, output: Path | None, session: str | None, as_json: bool, quiet: bool) -> int:
    """Check that every target in FOLDER has its calibrations; exit code 1 when one lacks something."""
    night = planned_night(folder, output, session)
    rows = []
    for job in night.plan.jobs:
        if not (job.task.is_target or job.task.is_standard):
            continue
        worst = max((link.level for link in job.links if link.level is not None), default=0)
        lacking = [job.blocked, *job.marks] if job.blocked else list(job.marks)
        lacking += [
            f"{link.name} is of level {link.level}"
            for link in job.links
            if (link.level or 0) >= 2 and not link.mark
        ]
        rows.append(
            {"target": job.facts.get("target"), "arm": job.arm, "call": job.name, "level": worst, "lacks": lacking}
        )
    if as_json:
        emit_json({"schema": 1, "targets": rows, "unusable": _unusable(night)})
    elif not quiet:
        cells = [(r["target"], r["arm"], r["level"], "; ".join(r["lacks"]) or "complete") for r in rows]
        print_table("Calibrations of each target", ("target", "arm", "worst level", "lacks"), cells, right=(2,))
        for line in unusable_lines(_unusable(night)):
            click.echo(line)
    return int(any(row["lacks"] for row in rows))


@click.group(name="list", short_help="List observing blocks (ob), sets of frames (sof) or frames.")
def list_group() -> None:
    """List what a folder holds."""


@list_group.command(name="frames")
@folder_argument
@output_option
@json_option
@talk_options
def list_frames(folder: Path, output: Path | None, as_json: bool, quiet: bool) -> None:
    """List all frames with their tags."""
    night = planned_night(folder, output)
    if as_json:
        emit_json({"schema": 1, "frames": [frame.as_mapping() for frame in night.scan.frames]})
        return
    rows = [
        (
            f.name,
            f.tag or f"unusable: {f.problem}",
            *(f.facts.get(n) for n in ("night", "exptime", "slit", "target")),
        )
        for f in sorted(night.scan.frames, key=lambda f: (f.mjd, f.path))
    ]
    print_table("Frames", ("file", "tag", "night", "exptime [s]", "slit", "object"), rows, right=(3,))


@list_group.command(name="ob")
@folder_argument
@output_option
@json_option
@talk_options
def list_blocks(folder: Path, output: Path | None, as_json: bool, quiet: bool) -> None:
    """List the observing blocks of targets and standards."""
    night = planned_night(folder, output)
    blocks: dict[tuple, dict[str, object]] = {}
    for job in night.plan.jobs:
        if job.task.is_target or job.task.is_standard:
            block = str(job.facts.get("observation") or "").split("|")[0]
            key = (job.facts["night"], block, job.facts.get("target"))
            row = blocks.setdefault(
                key, {"night": key[0], "ob": key[1], "target": key[2], "kind": job.task.name, "arms": {}}
            )
            row["arms"][job.arm] = len(job.frames)
    if as_json:
        emit_json({"schema": 1, "blocks": list(blocks.values())})
        return
    rows = [
        (b["night"], b["ob"], b["target"], b["kind"], ", ".join(f"{arm} {n}" for arm, n in b["arms"].items()))
        for b in blocks.values()
    ]
    print_table("Observing blocks", ("night", "ob", "target", "kind", "exposures"), rows)


@list_group.command(name="sof")
@folder_argument
@output_option
@session_option
@json_option
@talk_options
def list_sofs(folder: Path, output: Path | None, session: str | None, as_json: bool, quiet: bool) -> None:
    """List the sets of frames that recipes were run on."""
    from soxs_recipes.cascade.night import looked_at

    with looked_at(folder, output, session) as workspace:
        paths = sorted((workspace.folder / "sof").glob("**/*.sof"))
    if as_json:
        emit_json({"schema": 1, "sof": [str(path) for path in paths]})
        return
    for path in paths:
        click.echo(str(path))


@click.group(name="raw", short_help="List or gather the raw frames behind a product (raw sof).")
def raw_group() -> None:
    """Raw frames behind results."""


@raw_group.command(name="sof")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Folder of raw frames, or workspace [default: PATH's]."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Copy the frames there.")
@json_option
@talk_options
def raw_sof(path: Path, folder: Path | None, output: Path | None, as_json: bool, quiet: bool) -> None:
    """List or copy all raw frames behind PATH.

    PATH is a product or a SOF of the workspace; frames of the calibrations are among those listed.

    \b
    soxs raw sof soxs/products/…/*_SCI_SLIT_FLUX_MERGE1D_*.fits -o all_behind_it
    """  # noqa: D301 - click wants the character
    path = path.expanduser().resolve()
    night = _night_around(path, folder)
    names = _calls_of(night, path)
    if not names:
        raise InputError(_UNKNOWN.format(path, night.workspace.raw_folder))
    frames = raw_frames_behind(names[0], night.results)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for frame in frames:
            shutil.copy2(frame, output / Path(frame).name)
    if as_json:
        emit_json({"schema": 1, "call": names[0], "frames": frames, "copied_to": str(output) if output else None})
        return
    for frame in frames:
        click.echo(frame)


def raw_frames_behind(name: str, results: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Paths of the raw frames that a call and the calls before it took, sorted."""
    frames: set[str] = set()
    waiting, seen = [name], set()
    while waiting:
        current = waiting.pop()
        if current in seen or current not in results:
            continue
        seen.add(current)
        frames |= set(results[current]["frames"])
        for link in results[current]["inputs"]:
            frames |= set(link["files"])
            waiting += link["jobs"]
    return sorted(frames)
