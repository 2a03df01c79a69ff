"""The frames that a user gives a recipe: SOF files, folders and frames."""

from __future__ import annotations

from collections.abc import Iterable, Set
from pathlib import Path

from soxs_recipes.errors import InputError
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.declarations import OBSERVED_KINDS, Declaration, resolved_tag

__all__ = ["gather_frames", "recipe_for_sof", "recipes_for_tags"]

_SOF_SUFFIXES = (".sof", ".txt", ".ascii")


def gather_frames(inputs: Iterable[Path], declaration: Declaration | None = None) -> list[tuple[str, str]]:
    """(path, tag) of every frame that SOF files, folders and frames name; a frame named twice counts once.

    Of a folder only the frames that the declaration speaks of are taken. InputError names what is not there.
    """
    from soxs_recipes.cascade.scan import FITS_SUFFIXES, find_fits_files
    from soxs_recipes.eso.sof import read_sof

    frames: dict[str, str] = {}
    for path in inputs:
        if path.is_dir():
            found, _ = find_fits_files(path)
            if not found:
                raise InputError(f"{path}: holds no FITS files")
            for one in found if declaration is None else _of_use(found, declaration):
                frames.setdefault(str(one.absolute()), "")
        elif not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        elif path.name.endswith(FITS_SUFFIXES) and path.suffix not in _SOF_SUFFIXES:
            frames.setdefault(str(path.absolute()), "")
        else:
            for entry in read_sof(path):
                if entry.group != "PRODUCT":
                    frames[str(entry.path)] = entry.tag
    return list(frames.items())


def _of_use(paths: Iterable[Path], declaration: Declaration) -> list[Path]:
    """Files that a recipe knows the tag of; those that cannot be read stay, so that the recipe names them."""
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument.classify import classify

    chosen = []
    for path in paths:
        try:
            found = classify(read_header(path))
        except SoxsError:
            chosen.append(path)
            continue
        known = {
            resolved_tag(entry.tag, found.arm, kind)
            for entry in (*declaration.raws, *declaration.calibrations)
            for kind in OBSERVED_KINDS
        }
        if found.tag in known:
            chosen.append(path)
    return chosen


def recipe_for_sof(sof: Path, words: str) -> str:
    """The recipe for the frames of a SOF; where several could take them, that of the cascade.

    InputError when there is none, or when the user has to name it after `words`.
    """
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument.classify import classify

    tags = set()
    for path, tag in gather_frames([sof]):
        tags.add(tag or (classify(read_header(path)).tag if Path(path).is_file() else ""))
    fitting = recipes_for_tags(tags)
    if len(fitting) != 1:
        what = "more than one recipe is" if fitting else "no recipe is"
        names = f": {', '.join(fitting)}; name one: {words} RECIPE {sof}" if fitting else ""
        raise InputError(f"{sof}: {what} for its frames ({', '.join(sorted(tags)) or 'none'}){names}")
    return fitting[0]


def recipes_for_tags(tags: Set[str]) -> list[str]:
    """Recipes that the frames of a set may be for: of those that take one of them as main input the most fitting.

    That is the one by which a night is reduced, and that has a use for the most tags.
    """
    from soxs_recipes.cascade.night import recipe_declarations
    from soxs_recipes.cascade.tasks import TASKS

    known = recipe_declarations()
    fitting = [name for name, declaration in known.items() if tags & _tags(raw.tag for raw in declaration.raws)]
    planned = {task.recipe for task in TASKS if not (task.optional or task.on_demand) and tags & _tags(task.main)}
    fitting = [name for name in fitting if name in planned] or fitting
    of_use = {
        name: len(tags & _tags(entry.tag for entry in (*known[name].raws, *known[name].calibrations)))
        for name in fitting
    }
    return [name for name in fitting if of_use[name] == max(of_use.values())]


def _tags(tags: Iterable[str]) -> set[str]:
    """Tags with their placeholders filled in all ways."""
    arms = [arm.name for arm in load_instrument().arms]
    return {resolved_tag(tag, arm, kind) for tag in tags for arm in arms for kind in OBSERVED_KINDS}
