"""Bring the results of a workflow from its working folders to where a person looks for them."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from soxs_recipes.cascade.workspace import safe_name
from soxs_recipes.errors import InputError
from soxs_recipes.fits_files import read_header
from soxs_recipes.fits_files.writing import write_bytes_atomic

__all__ = ["COPY_MODES", "keep_products"]

COPY_MODES = ("copy", "link")


def keep_products(
    files: Iterable[Path], folder: Path, subfolder: str = "", mode: str = "copy", now: datetime | None = None
) -> dict[Path, Path]:
    """Copy or link products to `<folder>/<subfolder>/<object>/<their name>`.

    Parameters
    ----------
    files : iterable of Path
        FITS files; those that are gone are left out.
    folder : Path
        Made when missing.
    subfolder : str
        "" for the date and time.
    mode : {"copy", "link"}
    now : datetime or None
        For tests.

    Returns
    -------
    dict of Path to Path
        Where each came from -> where it is. One that is there already with the same content stays; beside one with
        another content it gets a number.

    Raises
    ------
    InputError
        The mode is unknown, a file is no FITS file, or the folder cannot be written.
    """
    if mode not in COPY_MODES:
        raise InputError(f"mode {mode}: must be one of {', '.join(COPY_MODES)}")
    moment = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H_%M_%S")
    kept = {}
    for file in files:
        if not file.is_file():
            continue
        place = (
            folder / (safe_name(subfolder) if subfolder else moment) / safe_name(read_header(file).get("OBJECT"))
        )
        try:
            kept[file] = _kept(file, place, mode)
        except OSError as error:
            raise InputError(f"{place}: cannot be written ({error.strerror}); choose another folder") from error
    return kept


def _kept(file: Path, place: Path, mode: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    target, version = place / file.name, 1
    while target.exists() or target.is_symlink():
        if target.exists() and filecmp.cmp(file, target, shallow=False):
            return target
        version += 1
        target = place / f"{file.stem}_{version}{file.suffix}"
    if mode == "link":
        target.symlink_to(file.resolve())
        return target
    return write_bytes_atomic(target, file.read_bytes())
