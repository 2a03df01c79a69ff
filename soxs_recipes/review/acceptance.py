"""Keeping a run: its products in the output folder, its settings where the next reduction reads them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.declarations import Declaration
from soxs_recipes.recipes.framework.settings import (
    Settings,
    given_settings_text,
    read_settings,
    write_recipe_config,
)

if TYPE_CHECKING:
    from soxs_recipes.review.session import Run

__all__ = ["Kept", "keep_run", "write_settings"]

SETTINGS_NAME = "soxs.yaml"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was written.

    Attributes
    ----------
    run : int
        Its number.
    products : tuple of Path
    settings, rc : Path
        Settings file for `soxs ... -s`, and the same for EsoRex.
    """

    run: int
    products: tuple[Path, ...]
    settings: Path
    rc: Path


def keep_run(run: Run, declaration: Declaration, arm_name: str, output: Path) -> Kept:
    """Copy a run's products into `output`, replacing those of the same name, and write its settings.

    Every file appears whole or not at all, and none appears before all have been copied.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    sources = [*run.products, *(run.folder / name for name in run.texts)]
    staged: list[tuple[Path, Path]] = []
    try:
        for source in sources:
            target = output / source.name
            if target == source:
                continue
            part = output / f".{source.name}.{os.getpid()}.part"
            staged.append((part, target))
            shutil.copyfile(source, part)
        for part, target in staged:
            part.replace(target)
        settings, rc = write_settings(declaration, arm_name, run.settings, output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror}); nothing was kept") from error
    finally:
        for part, _ in staged:
            part.unlink(missing_ok=True)
    return Kept(run.number, tuple(output / path.name for path in run.products), settings, rc)


def write_settings(
    declaration: Declaration, arm_name: str, values: Mapping[str, object], output: Path
) -> tuple[Path, Path]:
    """Write `soxs.yaml` (what it holds of other recipes and arms stays) and `<recipe>.rc`; returns both paths.

    A settings file that was there is kept as `soxs.yaml.bak`.
    """
    from soxs_recipes.fits_files import write_text_atomic

    path = output / SETTINGS_NAME
    there = read_settings(path).values if path.is_file() else {}
    merged = {recipe: {arm: dict(entries) for arm, entries in arms.items()} for recipe, arms in there.items()}
    own = merged.setdefault(declaration.name, {})
    # What stands there for all arms must not hold for this one where the run had the default.
    of_all = own.get("", {}) if arm_name else {}
    own[arm_name] = {name: declaration.parameter(name).default for name in of_all} | dict(values)
    if path.is_file():
        shutil.copyfile(path, path.with_name(path.name + ".bak"))
    write_text_atomic(path, given_settings_text(Settings(merged)))
    return path, write_recipe_config(declaration, output / f"{declaration.name}.rc", values)
