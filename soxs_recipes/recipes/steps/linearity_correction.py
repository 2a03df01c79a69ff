"""The correction of a detector's curve, applied to raw signals when a user asks for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.recipes.framework.declarations import CalibrationInput, Parameter

if TYPE_CHECKING:
    import numpy as np

    from soxs_recipes.data.linearity import LinearityCurve
    from soxs_recipes.recipes.framework.inputs import Inputs

__all__ = ["CORRECT_LINEARITY", "LINEARITY_CALIBRATIONS", "curves_of", "known_bad_pixels"]

LINEARITY_CALIBRATIONS = (
    CalibrationInput(
        "LINEARITY_COEFF_<ARM>",
        "linearity curves of the read mode, used with `correct-linearity`",
        ladder="signals stay as they were read",
        made_by="soxs_lingain",
        agree_binning=False,
        agree=("READ_MODE_ID",),
    ),
    CalibrationInput(
        "BP_MAP_NL_<ARM>",
        "non-linear pixels, used with `correct-linearity`",
        ladder="non-linear pixels are not marked",
        made_by="soxs_lingain",
        agree_binning=False,
    ),
)
CORRECT_LINEARITY = Parameter(
    "correct-linearity",
    bool,
    False,
    "",
    "Make signals linear by LINEARITY_COEFF before anything else, and mark the pixels of BP_MAP_NL.",
    group="detector",
)


def curves_of(inputs: Inputs) -> tuple[LinearityCurve, ...]:
    """Curves to apply to raw signals; none unless the user asked for them, and said when they are missing."""
    if not _asked(inputs):
        return ()
    path = inputs.calibration("LINEARITY_COEFF")
    if path is None:
        inputs.mark_partial("no LINEARITY_COEFF: signals are not made linear")
        return ()
    return _read(Path(path), Path(path).stat().st_mtime_ns)


def known_bad_pixels(inputs: Inputs) -> Path | np.ndarray | None:
    """Bad pixels that are known beforehand, with the non-linear ones where these are asked for."""
    known = inputs.calibration("BP_MAP_REF")
    non_linear = inputs.calibration("BP_MAP_NL") if _asked(inputs) else None
    if non_linear is None or known is None:
        return non_linear or known
    from soxs_recipes.fits_files import read_quality

    first, second = read_quality(known), read_quality(non_linear)
    if first.shape != second.shape:
        inputs.mark_partial(f"BP_MAP_NL of {second.shape} pixels does not fit the known bad pixels: left out")
        return first
    return first | second


def _asked(inputs: Inputs) -> bool:
    return bool(inputs.parameters.get("correct-linearity", False))


@lru_cache(maxsize=2)
def _read(path: Path, _changed: int) -> tuple[LinearityCurve, ...]:
    from soxs_recipes.fits_files import read_linearity

    return read_linearity(path)
