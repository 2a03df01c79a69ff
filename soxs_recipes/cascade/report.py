"""What came of a night: a row a target, what stands on which calibration, what is partial or missing and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from soxs_recipes.cascade.plan import Job, Plan
from soxs_recipes.cascade.run import best_spectra
from soxs_recipes.cascade.state import BLOCKED, DONE, FAILED, State
from soxs_recipes.cascade.workspace import Workspace
from soxs_recipes.instrument.times import iso_from_mjd

__all__ = ["explain_job", "night_report"]

# QC keywords of the extraction recipes, best first.
_SNR = ("ESO QC SNR MEDIAN", "ESO QC SNR")
_SEEING = ("ESO QC SEEING", "ESO QC SEEING MEDIAN", "ESO QC SLIT FWHM", "ESO QC TRACE FWHM")
_POSITION = ("ESO QC SLIT POSITION", "ESO QC SLIT POS", "ESO QC TARGET POSITION", "ESO QC OBJECT POSITION")
_MAP = "SCI_MAP_"

Result = Mapping[str, object]


def night_report(
    workspace: Workspace, plan: Plan, states: Mapping[str, State], results: Mapping[str, Result], frames: Sequence
) -> dict[str, object]:
    """Everything that the closing table shows, in plain values."""
    return {
        "schema": 1,
        "workspace": str(workspace.folder),
        "targets": [_target_row(job, states[job.name], results, workspace) for job in plan.jobs if _is_shown(job)],
        "calls": [_call_row(job, states[job.name], results) for job in plan.jobs],
        "unusable": [{"file": f.path, "reason": f.problem} for f in frames if f.problem],
        "unused": [{"file": path, "reason": reason} for path, reason in plan.unused.items()],
        "times": _times(plan.jobs, states, results),
        "products": str(workspace.products),
        "plots": str(workspace.folder / "plots"),
    }


def _is_shown(job: Job) -> bool:
    return job.task.is_target or job.task.is_standard


def _target_row(job: Job, state: State, results: Mapping[str, Result], workspace: Workspace) -> dict[str, object]:
    done = state.kind == DONE
    whole = results.get(job.name, {}) if done else {}
    maps = [product["name"] for product in whole.get("products", []) if product["tag"].startswith(_MAP)]
    result = _brightest_position(whole) if maps else whole
    qc = _target_qc(result)
    spectra = best_spectra([result]) if done else []
    return {
        "target": job.facts.get("target"),
        "kind": job.task.name,
        "mode": _mode(job),
        "begin": iso_from_mjd(float(job.facts["start"])),
        "night": job.facts.get("night"),
        "arm": job.arm,
        "slit": job.facts.get("slit"),
        "exposures": len(job.frames),
        "seconds": sum(float(frame.facts.get("exptime") or 0.0) for frame in job.frames),
        "snr": _first(qc, _SNR),
        "seeing": _first(qc, _SEEING),
        "slit_position": _first(qc, _POSITION),
        "status": result.get("status", state.kind.upper()),
        "why": list(result.get("reasons", [])) if done else [state.why],
        "calibrations": _calibrations(job, results),
        "spectrum": spectra[0] if spectra else "",
        "texts": [str(Path(str(result["folder"])) / name) for name in _best_texts(result, spectra)],
        "map": str(Path(str(whole["folder"])) / maps[0]) if maps else "",
        "plots": str(workspace.place("plots", job.name)) if result.get("plots") else "",
        "call": job.name,
    }


def _mode(job: Job) -> str:
    """How the telescope moved: the end of the task's name, none for a stare."""
    return job.task.name.partition("_")[2] or "stare"


def _brightest_position(result: Result) -> Result:
    """What came of the position of a map where the target is seen best; its products begin with one date."""
    seen = [
        (float(product["qc"][keyword]), product["name"])
        for product in result["products"]
        for keyword in _SNR[:1]
        if keyword in product.get("qc", {})
    ]
    date = max(seen)[1].split("_")[0] if seen else ""
    products = [product for product in result["products"] if product["name"].startswith(date)]
    return {**result, "products": products, "texts": [name for name in result["texts"] if name.startswith(date)]}


def _target_qc(result: Result) -> dict[str, float]:
    """QC of all products of a call; what the last (combined) product says wins."""
    merged: dict[str, float] = {}
    for product in result.get("products", []):
        merged |= {key: value for key, value in product.get("qc", {}).items() if " ORD" not in key}
    return merged


def _best_texts(result: Result, spectra: Sequence[str]) -> list[str]:
    texts = list(result.get("texts", []))
    same = [name for name in texts if spectra and Path(name).stem == Path(spectra[0]).stem]
    return same or texts[-1:]


def _first(qc: Mapping[str, float], names: Iterable[str]) -> float | None:
    return next((float(qc[name]) for name in names if name in qc), None)


def _calibrations(job: Job, results: Mapping[str, Result]) -> list[dict[str, object]]:
    rows = []
    for link in job.links:
        made = [results[name] for name in link.jobs if name in results]
        files = sorted(frame.name for frame in link.frames)
        rows.append(
            {
                "name": link.name,
                "from": ", ".join(link.jobs) or _several(files) or link.tags[0],
                "level": link.level,
                "age": None if link.age is None else round(link.age, 3),
                "mark": link.mark,
                "status": "PARTIAL" if any(result["status"] == "PARTIAL" for result in made) else "",
                "why": [reason for result in made for reason in result["reasons"]],
            }
        )
    return rows


def _several(files: Sequence[str]) -> str:
    return f"{files[0]} and {len(files) - 1} more" if len(files) > 2 else ", ".join(files)


def _call_row(job: Job, state: State, results: Mapping[str, Result]) -> dict[str, object]:
    result = results.get(job.name, {}) if state.kind in (DONE, FAILED) else {}
    return {
        "call": job.name,
        "recipe": job.recipe,
        "state": state.kind,
        "status": result.get("status", ""),
        "why": state.why if state.kind != DONE else "; ".join(result.get("reasons", [])),
        "left_out": list(result.get("left_out", [])),
        "seconds": result.get("seconds"),
        "cpu_seconds": result.get("cpu_seconds"),
        "plots_cpu_seconds": result.get("plots_cpu_seconds"),
        "peak_mb": result.get("peak_mb"),
        "folder": result.get("folder", ""),
    }


def _times(
    jobs: Sequence[Job], states: Mapping[str, State], results: Mapping[str, Result]
) -> list[dict[str, object]]:
    """Number of calls, seconds and peak memory a recipe and arm."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for job in jobs:
        if states[job.name].kind != DONE:
            continue
        result = results[job.name]
        empty = {"recipe": job.recipe, "arm": job.arm, "calls": 0, "seconds": 0.0, "plots_seconds": 0.0}
        row = rows.setdefault((job.recipe, job.arm), {**empty, "peak_mb": 0.0})
        row["calls"] += 1
        row["seconds"] += float(result["seconds"])
        row["plots_seconds"] += float(result.get("plots_seconds") or 0.0)
        row["peak_mb"] = max(row["peak_mb"], float(result["peak_mb"]))
    return list(rows.values())


def explain_job(job: Job, state: State, results: Mapping[str, Result]) -> dict[str, object]:
    """All about one call: its frames, its calibrations with level and age, its state and why."""
    return _call_row(job, state, results) | {
        "frames": [
            {"file": frame.path, "tag": frame.tag, "warnings": list(frame.warnings)} for frame in job.frames
        ],
        "calibrations": _calibrations(job, results),
        "marks": list(job.marks),
        "blocked": job.blocked if state.kind == BLOCKED else "",
        "parameters": dict(job.parameters),
        "key": job.key,
    }
