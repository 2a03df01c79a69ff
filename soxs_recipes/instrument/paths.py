"""Where what is shipped beside the code is: inside the package when installed, at the top level in a checkout."""

from __future__ import annotations

from pathlib import Path

from soxs_recipes.errors import CalibrationMissing, InputError, SoxsError

__all__ = [
    "edps_workflow_folder",
    "reflex_workflow_folder",
    "static_calibration_folder",
    "static_calibration_path",
    "static_calibration_tags",
]

_PACKAGE = Path(__file__).resolve().parent.parent


def _shipped(name: str, missing: type[SoxsError]) -> Path:
    """A folder that the wheel carries inside the package."""
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise missing(f"no {name} folder in or beside {_PACKAGE}: install soxs-recipes again")


def static_calibration_folder() -> Path:
    """Folder of the static tables; CalibrationMissing when the installation holds none."""
    return _shipped("static_calib", CalibrationMissing)


def edps_workflow_folder() -> Path:
    """Folder that EDPS's `workflow_dir` names; InputError when the installation holds none."""
    return _shipped("edps_workflow", InputError)


def reflex_workflow_folder() -> Path:
    """Folder of the Reflex workflow, its rules and scripts; InputError when the installation holds none."""
    return _shipped("workflows", InputError)


def static_calibration_tags() -> tuple[str, ...]:
    """Tags of the static tables that are there, sorted."""
    return tuple(sorted(path.stem for path in static_calibration_folder().glob("*.fits")))


def static_calibration_path(tag: str) -> Path:
    """File of one static calibration, such as "SKY_LINE_LIST"; CalibrationMissing lists the tags there are."""
    path = static_calibration_folder() / f"{tag}.fits"
    if not path.is_file():
        known = ", ".join(static_calibration_tags()) or "none"
        raise CalibrationMissing(f"no static calibration {tag!r}; there are: {known}")
    return path
