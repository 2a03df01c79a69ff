"""What belongs to a product that is reduced further: the sky model beside it, calibrations in the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soxs_recipes.recipes.framework.declarations import OBSERVED_KINDS, Declaration, resolved_tag

__all__ = ["frames_of_the_call", "with_companions"]

_MAIN = "_SLIT_SKYSUB_"


def with_companions(
    declaration: Declaration, frames: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The frames, and those that a recipe on 2-D products wants with them and that are found by themselves.

    Of each sky-subtracted exposure the sky model lies beside it, and in a workspace the set of frames of the call
    that made it names the calibrations. A tag of which a frame was given is left to the giver.

    Parameters
    ----------
    declaration : Declaration
    frames : sequence of (path, tag)

    Returns
    -------
    frames : list of (path, tag)
    added : list of str
        Tag and file of each frame that was found.
    """
    if not any(_MAIN in raw.tag for raw in declaration.raws):
        return list(frames), []
    tagged = [(path, tag or _tag_of(path)) for path, tag in frames]
    given = {_short(tag) for _, tag in tagged}
    wanted = {
        resolved_tag(entry.tag, arm, kind)
        for entry in (*declaration.calibrations, *declaration.raws)
        for arm in {tag.rsplit("_", 1)[-1] for _, tag in tagged if _MAIN in tag}
        for kind in OBSERVED_KINDS
        if _MAIN not in entry.tag
    }
    found: dict[str, str] = {}
    for path, tag in tagged:
        if _MAIN in tag:
            for other, its_tag in (*_beside(Path(path), tag), *frames_of_the_call(Path(path))):
                if its_tag in wanted and _short(its_tag) not in given:
                    found.setdefault(str(other), its_tag)
    added = [f"{tag} {Path(path).name}" for path, tag in found.items()]
    return [*frames, *found.items()], added


def _short(tag: str) -> str:
    """Tag without the kind of object."""
    first, _, rest = tag.partition("_")
    return rest if first in OBSERVED_KINDS else tag


def _tag_of(path: str) -> str:
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument.classify import classify

    try:
        return classify(read_header(path)).tag
    except SoxsError:
        return ""


def _beside(path: Path, tag: str) -> list[tuple[Path, str]]:
    """The sky model of an exposure."""
    model = path.with_name(path.name.replace("SKYSUB", "SKYMODEL"))
    return [(model.absolute(), tag.replace("SKYSUB", "SKYMODEL"))] if model != path and model.is_file() else []


def frames_of_the_call(path: Path) -> list[tuple[Path, str]]:
    """Frames of the call that made a product of a workspace, those that are still there."""
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.eso.sof import read_sof

    path = path.absolute()
    for folder in path.parents:
        if folder.name == "products":
            sof = folder.parent / "sof" / f"{path.parent.relative_to(folder)}.sof"
            if not sof.is_file():
                return []
            try:
                return [(entry.path, entry.tag) for entry in read_sof(sof) if Path(entry.path).is_file()]
            except SoxsError:
                return []
    return []
