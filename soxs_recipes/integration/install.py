"""Put the Reflex workflow where a user wants it, with the folders of the user's data filled in."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from soxs_recipes.errors import InputError
from soxs_recipes.instrument import reflex_workflow_folder, static_calibration_folder
from soxs_recipes.integration.reflex import TOKENS
from soxs_recipes.plugins.install import default_folder as plugin_folder

__all__ = ["InstalledWorkflow", "default_folder", "install_workflow"]

# Folders below that of the data in which the workflow reads and writes.
_DATA_FOLDERS = ("reflex_input/soxs", "reflex_book_keeping/soxs", "reflex_logs/soxs", "reflex_tmp_products/soxs")
_DATA_FOLDERS += ("reflex_end_products",)
_SCRIPTS = ("review", "scripts")


@dataclass(frozen=True, slots=True)
class InstalledWorkflow:
    """Where the workflow is, and the folders that it works in.

    Attributes
    ----------
    workflow : Path
        `soxs.xml`.
    files : tuple of Path
        All that was written.
    raw, calibrations, products : Path
        Where raw frames are looked for, where calibrations are, where results go.
    """

    workflow: Path
    files: tuple[Path, ...]
    raw: Path
    calibrations: Path
    products: Path


def default_folder() -> Path:
    """The user's own place for data of programs."""
    return plugin_folder().parent / "reflex"


def install_workflow(folder: Path, data: Path, calibrations: Path | None = None) -> InstalledWorkflow:
    """Copy the workflow, its rules and scripts into `folder`; older copies are replaced.

    Parameters
    ----------
    folder : Path
        Made when missing.
    data : Path
        Where the workflow reads raw frames and writes; folders for both are made in it.
    calibrations : Path or None
        Where static tables and the user's own calibrations are; None for the pipeline's tables.

    Raises
    ------
    InputError
        A folder cannot be made or written, or its name holds a `$`; `calibrations` is no folder.
    """
    folder, data = (path.expanduser().absolute() for path in (folder, data))
    calibrations = (calibrations or static_calibration_folder()).expanduser().absolute()
    if not calibrations.is_dir():
        raise InputError(f"{calibrations}: no such folder; give the folder of your calibrations or leave it out")
    odd = [path for path in (folder, data, calibrations) if "$" in str(path)]
    if odd:
        raise InputError(f"{odd[0]}: Reflex reads $ as the beginning of a variable; choose another folder")
    values = {"ROOT_DATA_DIR": data, "CALIB_DATA_DIR": calibrations, "WORKFLOW_DIR": folder}
    place = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = _copied(reflex_workflow_folder(), folder, values)
        for name in _DATA_FOLDERS:
            place = data / name
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror}); choose another folder") from error
    return InstalledWorkflow(
        folder / "soxs.xml", tuple(files), data / _DATA_FOLDERS[0], calibrations, data / _DATA_FOLDERS[-1]
    )


def _copied(source: Path, folder: Path, values: Mapping[str, Path]) -> list[Path]:
    text = (source / "soxs.xml").read_text(encoding="utf-8")
    for variable, token in TOKENS.items():
        text = text.replace(token, escape(str(values[variable]), {'"': "&quot;"}))
    workflow = folder / "soxs.xml"
    workflow.write_text(text, encoding="utf-8")
    files = [workflow, Path(shutil.copyfile(source / "soxs.oca", folder / "soxs.oca"))]
    for name in _SCRIPTS:
        (folder / name).mkdir(exist_ok=True)
        files += [Path(shutil.copyfile(path, folder / name / path.name)) for path in (source / name).glob("*.py")]
    return files
