"""Results of recipe calls on disk: `job.json` beside the products is the truth, the index only remembers it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from soxs_recipes import __version__
from soxs_recipes.cascade.plan import Job
from soxs_recipes.cascade.workspace import Workspace
from soxs_recipes.errors import SoxsError

__all__ = ["JOB_FILE", "failure", "find_results", "look_after", "publish", "restore", "success"]

JOB_FILE = "job.json"
_log = logging.getLogger(__name__)


def success(job: Job, answer: dict[str, object], *, left_out: list[str], folder: Path) -> dict[str, object]:
    """Record of a call that made products."""
    return _record(job, answer, left_out) | {
        "status": answer["status"],
        "folder": str(folder),
        "products": answer["products"],
        "texts": answer.get("texts", []),
        "reasons": list(dict.fromkeys(answer.get("reasons", []))),
        "notes": list(answer.get("notes", [])),
    }


def failure(job: Job, answer: dict[str, object], *, left_out: list[str]) -> dict[str, object]:
    """Record of a call that failed."""
    return _record(job, answer, left_out) | {
        "error": str(answer.get("error") or "failed without a word"),
        "error_class": str(answer.get("error_class") or "SoxsError"),
    }


def _record(job: Job, answer: dict[str, object], left_out: list[str]) -> dict[str, object]:
    return {
        "job": job.name,
        "task": job.task.name,
        "recipe": job.recipe,
        "arm": job.arm,
        "target": job.facts.get("target"),
        "night": job.facts.get("night"),
        "key": job.key,
        "parts": job.parts,
        "marks": list(job.marks),
        "left_out": left_out,
        "inputs": [
            {
                "name": link.name,
                "jobs": list(link.jobs),
                "files": [frame.path for frame in link.frames],
                "level": link.level,
                "age": link.age,
                "mark": link.mark,
            }
            for link in job.links
        ],
        "frames": [frame.path for frame in job.frames],
        "seconds": float(answer.get("seconds") or 0.0),
        "cpu_seconds": float(answer.get("cpu_seconds") or 0.0),
        "peak_mb": float(answer.get("peak_mb") or 0.0),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "status": "FAILED",
        "folder": "",
        "products": [],
        "texts": [],
        "reasons": [],
        "notes": [],
        "error": "",
        "error_class": "",
    }


def publish(workspace: Workspace, result: dict[str, object], made_in: Path) -> None:
    """Move the products of a call to their place, whole or not at all; what stood there is kept as superseded.

    `job.json` is written last, before the move: a folder that holds it is complete.
    """
    target = Path(str(result["folder"]))
    result["files"] = _files(made_in, result)
    write_job_file(made_in, result)
    target.parent.mkdir(parents=True, exist_ok=True)
    _supersede(workspace, target)
    made_in.replace(target)


def _files(folder: Path, result: Mapping[str, object]) -> dict[str, list[int]]:
    """Size and time of the products that are there: while they stay, a product is as it was made."""
    found = {}
    for product in result["products"]:
        with contextlib.suppress(OSError):
            status = (folder / str(product["name"])).stat()
            found[str(product["name"])] = [status.st_size, status.st_mtime_ns]
    return found


def look_after(result: dict[str, object]) -> bool:
    """Look at products whose size or time changed; whether they were no more than copied, which is then noted.

    Those that are not what was written are listed in `damaged`.
    """
    before, now = result.get("files"), _files(Path(str(result["folder"])), result)
    changed = [name for name, file in now.items() if before is not None and before.get(name) != file]
    result["damaged"] = [name for name in changed if _is_damaged(Path(str(result["folder"])) / name)]
    if not changed or result["damaged"]:
        return False
    result["files"] = now
    return True


def _is_damaged(path: Path) -> bool:
    from soxs_recipes.fits_files.reading import open_product

    try:
        open_product(path).close()
    except SoxsError as error:
        _log.warning("%s", error)
        return True
    return False


def write_job_file(folder: Path, result: dict[str, object]) -> None:
    """Write `job.json` so that it is there whole or not at all."""
    temporary = folder / f".{JOB_FILE}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(result, stream, indent=1, default=str)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / JOB_FILE)


def _supersede(workspace: Workspace, target: Path) -> None:
    if not target.exists():
        return
    old = read_job_file(target)
    if old is None:
        shutil.rmtree(target)
        return
    shelf = workspace.folder / "superseded" / str(old["key"])
    shutil.rmtree(shelf, ignore_errors=True)
    shelf.parent.mkdir(parents=True, exist_ok=True)
    target.replace(shelf)
    _drop_older(workspace, str(old["job"]), keep=shelf)


def _drop_older(workspace: Workspace, job_name: str, keep: Path) -> None:
    """One superseded result a call is kept: enough to go back, bounded on disk."""
    for folder in (workspace.folder / "superseded").iterdir():
        record = read_job_file(folder) if folder != keep else None
        if record is not None and record["job"] == job_name:
            shutil.rmtree(folder, ignore_errors=True)


def restore(workspace: Workspace, job: Job) -> dict[str, object] | None:
    """Bring a superseded result of this very key back to its place; None when there is none."""
    shelf = workspace.folder / "superseded" / job.key
    result = read_job_file(shelf)
    if result is None or result["job"] != job.name:
        return None
    if not all((shelf / str(product["name"])).is_file() for product in result["products"]):
        return None
    target = workspace.place("products", job.name)
    aside = workspace.scratch / job.key
    aside.parent.mkdir(parents=True, exist_ok=True)
    shelf.replace(aside)
    _supersede(workspace, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside.replace(target)
    # Its plots were drawn over by those of the result it now replaces.
    result.pop("plots", None)
    write_job_file(target, result)
    return result


def read_job_file(folder: Path) -> dict[str, object] | None:
    """`job.json` of a folder, None when there is none that can be read."""
    try:
        result = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and {"job", "key", "products"} <= set(result) else None


def find_results(workspace: Workspace) -> Iterator[dict[str, object]]:
    """All complete results on disk, from which the index can be rebuilt; folders follow the workspace."""
    for path in sorted(workspace.products.glob(f"*/*/*/{JOB_FILE}")):
        result = read_job_file(path.parent)
        if result is not None:
            yield result | {"folder": str(path.parent)}
