"""From a folder to a plan: open the workspace, learn the frames, read the settings."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from soxs_recipes import __version__
from soxs_recipes.cascade.frames import FrameRecord
from soxs_recipes.cascade.plan import PlanInputs
from soxs_recipes.cascade.results import find_results, look_after
from soxs_recipes.cascade.scan import ScanResult, scan_folder
from soxs_recipes.cascade.workspace import Workspace, find_workspace, is_workspace
from soxs_recipes.errors import InputError, SoxsError
from soxs_recipes.instrument import load_instrument, static_calibration_path
from soxs_recipes.recipes.framework.declarations import Declaration
from soxs_recipes.recipes.framework.registry import RECIPES

__all__ = [
    "ask_for",
    "known_results",
    "looked_at",
    "open_workspace",
    "plan_inputs",
    "prepare",
    "recipe_declarations",
]

_log = logging.getLogger(__name__)
# Raised when the same header would be described differently: what the index remembers is then read anew.
_DESCRIPTION_VERSION = 3
_ALSO = "optional tasks"


def open_workspace(folder: Path, output: Path | None = None, session: str | None = None) -> Workspace:
    """The workspace of a folder (or the folder itself when it is one); made when there is none."""
    raw_folder, root = find_workspace(folder, output)
    return Workspace(root, raw_folder, session)


@contextmanager
def looked_at(folder: Path, output: Path | None = None, session: str | None = None) -> Iterator[Workspace]:
    """The workspace of a folder for who only looks: where there is none, an empty one that leaves no trace."""
    raw_folder, root = find_workspace(folder, output)
    with ExitStack() as stack:
        if not is_workspace(root):
            if session is not None:
                raise InputError(f"{root}: no workspace, and so no session {session!r}; soxs prep makes it")
            root = Path(stack.enter_context(TemporaryDirectory(prefix="soxs-")))
        yield stack.enter_context(closing(Workspace(root, raw_folder, session)))


def prepare(
    workspace: Workspace, progress: Callable[[int, int], None] = lambda done, total: None, *, refresh: bool = False
) -> ScanResult:
    """Learn what is in the raw folder and remember it in the index; `refresh` reads every header anew."""
    stamp = f"{__version__}/{_DESCRIPTION_VERSION}"
    fresh = workspace.index.note("description") == stamp
    known = {frame.path: frame for frame in workspace.index.frames()} if fresh and not refresh else {}
    result = scan_folder(workspace.raw_folder, exclude=workspace.root, known=known, progress=progress)
    if list(known.values()) != list(result.frames):
        workspace.index.replace_frames(result.frames)
        workspace.index.set_note("description", stamp)
    return result


def known_results(workspace: Workspace) -> dict[str, dict[str, object]]:
    """Results of all calls: what the index remembers, and what on disk is newer than its memory.

    Products on disk are the truth. The index may be new, damaged, or short of the calls whose products were in
    place when the run was killed before it could note them. Products that were changed since are looked at.
    """
    results = workspace.index.results()
    unknown = [found for found in find_results(workspace) if _is_news(found, results.get(str(found["job"])))]
    if unknown:
        _log.info("index completed by %d results on disk", len(unknown))
        for found in unknown:
            workspace.index.remember_result(found)
        results = workspace.index.results()
    for name, result in results.items():
        if result["products"]:
            result["folder"] = str(workspace.place("products", name))
            if look_after(result):
                workspace.index.remember_result(result)
    return results


def _is_news(found: Mapping[str, object], remembered: Mapping[str, object] | None) -> bool:
    return remembered is None or str(found.get("finished", "")) > str(remembered["finished"])


@cache
def recipe_declarations() -> dict[str, Declaration]:
    """Declarations of all recipes that can be loaded; of others a warning tells."""
    found = {}
    for name, entry in RECIPES.items():
        try:
            importlib.import_module(f"soxs_recipes.recipes.{entry.module}")
        except ImportError as error:
            _log.warning("recipe %s cannot be loaded: %s", name, error)
            continue
        found[name] = entry.load().declaration
    return found


@cache
def static_table(tag: str) -> FrameRecord | None:
    """Record of a static table, None when there is no such table."""
    try:
        path = static_calibration_path(tag)
    except SoxsError:
        return None
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return FrameRecord(str(path), path.stat().st_size, 0, checksum, tag, is_product=True)


def plan_inputs(workspace: Workspace, scan: ScanResult, settings_file: Path | None = None) -> PlanInputs:
    """What the plan of a workspace is made from: its frames, the recipes, and the settings of the session."""
    return PlanInputs(
        scan.frames,
        recipe_declarations(),
        _parameters(workspace, settings_file),
        static_table,
        also=frozenset((workspace.index.note(_ALSO) or "").split()),
    )


def ask_for(workspace: Workspace, tasks: Collection[str]) -> None:
    """Remember which optional tasks the workspace is to run from now on."""
    workspace.index.set_note(_ALSO, " ".join(sorted(tasks)))


def _parameters(workspace: Workspace, settings_file: Path | None) -> Callable[[str, str], Mapping[str, object]]:
    from soxs_recipes.recipes.framework.base import resolve_parameters
    from soxs_recipes.recipes.framework.settings import Settings, read_settings

    path = settings_file or (workspace.settings if workspace.settings.is_file() else None)
    settings = read_settings(path) if path is not None else Settings()
    instrument = load_instrument()

    @cache
    def parameters(recipe: str, arm_name: str) -> Mapping[str, object]:
        given = settings.of(recipe, arm_name)
        return resolve_parameters(recipe_declarations()[recipe], given, instrument.arm(arm_name))

    return parameters
