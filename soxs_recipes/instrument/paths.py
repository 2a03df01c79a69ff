"""Where the static calibrations are: inside the package when installed, at the top level in a checkout."""

from __future__ import annotations

from pathlib import Path

from soxs_recipes.errors import CalibrationMissing

__all__ = ["static_calibration_folder", "static_calibration_path", "static_calibration_tags"]

_PACKAGE = Path(__file__).resolve().parent.parent


def static_calibration_folder() -> Path:
    """Folder of the static tables; CalibrationMissing when the installation holds none."""
    for folder in (_PACKAGE / "static_calib", _PACKAGE.parent / "static_calib"):
        if folder.is_dir():
            return folder
    raise CalibrationMissing(f"no static_calib folder in or beside {_PACKAGE}: install soxs-recipes again")


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
