"""Exposures that come back from the pipeline's own 2-D products, so that no raw frame is needed.

<KIND>_SLIT_SKYSUB holds the light above the sky, <KIND>_SLIT_SKYMODEL the sky and, as ERRS and QUAL, the noise and
the quality that were known before sky and objects were fitted. Their sum is the prepared exposure again.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError, SoxsError, UnprocessableData
from soxs_recipes.recipes.steps.spectroscopy import Exposure, Location, locate_exposure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.steps.spectroscopy import Geometry
    from soxs_recipes.reduction.sky.order_pixels import OrderGrid

__all__ = [
    "BASE_ERRORS",
    "BEAM_ERRORS",
    "are_differences",
    "geometry_as_stated",
    "locate_again",
    "product_exposures",
]

_log = logging.getLogger(__name__)

# Card of a SKYMODEL's ERRS that says that photons of sky and objects are left out.
BASE_ERRORS = ("ERRKIND", "BASE", "photons of sky and objects left out")
# Its value where exposures were subtracted from one another and the sky's photons are counted.
BEAM_ERRORS = "BEAMS"


def product_exposures(inputs: Inputs, paths: Sequence[Path], *, keep_hits: bool = False) -> Iterator[Exposure]:
    """Exposures of 2-D products, one in memory at a time; one that cannot be read is named and left out.

    Cosmic rays found earlier count as known with `keep_hits`; otherwise they are to be found again. With a single
    path its error is raised; UnprocessableData when none of several can be used.
    """
    models = {_moment(inputs, path): path for path in inputs.calibrations("SLIT_SKYMODEL")}
    read = 0
    for path in paths:
        try:
            exposure = _restored(inputs, path, models.get(_moment(inputs, path)), keep_hits)
        except SoxsError as error:
            if len(paths) == 1:
                raise
            inputs.mark_partial(f"left out: {error}")
            continue
        read += 1
        yield exposure
    if not read:
        raise UnprocessableData(f"{inputs.declaration.name}: no product holds anything to work on")


def _moment(inputs: Inputs, path: Path) -> str:
    """What a sky-subtracted exposure and its sky have in common."""
    return str(inputs.header(path).get("DATE-OBS") or Path(path).name)


def _restored(inputs: Inputs, path: Path, model_path: Path | None, keep_hits: bool) -> Exposure:
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag
    from soxs_recipes.fits_files import read_frame

    subtracted = read_frame(path)
    if model_path is None:
        inputs.mark_partial(f"no SKYMODEL of {path.name}: cosmic rays found earlier stay, errors are too large")
        return Exposure(path, subtracted, subtracted.variance)
    model = read_frame(model_path)
    if model.shape != subtracted.shape:
        raise InputError(f"{model_path.name}: its pixels {model.shape} do not fit {path.name} {subtracted.shape}")
    data = (subtracted.data.astype(np.float64) + model.data).astype(np.float32)
    if _kind_of_errors(model_path) not in (BASE_ERRORS[1], BEAM_ERRORS):
        inputs.mark_partial(f"{model_path.name} holds the errors of sky and objects, too: errors are too large")
    # What the extraction flagged is found again; what a person masked in either file stays so.
    found_again = QualityFlag.OUTLIER if keep_hits else QualityFlag.OUTLIER | QualityFlag.COSMIC_RAY
    quality = model.quality | (subtracted.quality & ~np.int32(found_again))
    return Exposure(path, replace(subtracted, data=data, quality=quality), model.variance)


def are_differences(inputs: Inputs) -> bool:
    """Whether the products are exposures subtracted from one another, with beams of either sign."""
    return any(_kind_of_errors(path) == BEAM_ERRORS for path in inputs.calibrations("SLIT_SKYMODEL"))


def _kind_of_errors(path: Path) -> str:
    from soxs_recipes.fits_files.reading import open_mapped

    with open_mapped(path) as hdus:
        return str(hdus["ERRS"].header.get(BASE_ERRORS[0], "")).strip() if "ERRS" in hdus else ""


def locate_again(
    inputs: Inputs,
    exposure: Exposure,
    geometry: Geometry,
    grids: Sequence[OrderGrid] | None,
    *,
    correct: bool,
    measure: bool,
) -> Location:
    """Pixel maps with the shift that the product's header states.

    Parameters
    ----------
    correct : bool
        Whether maps are shifted at all.
    measure : bool
        Find the shift anew, as for a raw exposure. It is done, too, where the header states none, or that of a
        solution on another rung of the ladder.
    """
    header = inputs.header(exposure.path)
    stated = [header.get(f"ESO QC {name} APPLIED") for name in ("ZP", "EDGE")]
    told = all(isinstance(value, (int, float)) for value in stated)
    if measure or not told or header.get("ESO QC DISP RUNG", 0) != geometry.rung:
        return locate_exposure(inputs, exposure, geometry, grids, correct=correct)
    applied = (float(stated[0]), float(stated[1])) if correct else (0.0, 0.0)
    moved, shift = geometry_as_stated(inputs, geometry, exposure.path, applied)
    _log.info("%s: maps shifted by (%.3f, %.3f) px as its header says", exposure.path.name, *shift)
    return Location(moved.maps(inputs, exposure.frame.shape, shift), None, None, applied)


def geometry_as_stated(
    inputs: Inputs, geometry: Geometry, path: Path, applied: tuple[float, float]
) -> tuple[Geometry, tuple[float, float]]:
    """(geometry, shift (dx, dy) [px]) of a 2-D product; a poor solution's orders were moved each by its own lines.

    `applied` (along, across) [px] is what the product's header states of all orders together.
    """
    from soxs_recipes.recipes.steps.spectroscopy import moved_orders
    from soxs_recipes.reduction.flexure.zero_point import ZeroPoint

    axis, header = inputs.arm.dispersion_axis, inputs.header(path)
    told = header.get("ESO QC ARCS ALONG")
    by_arcs = float(told) if isinstance(told, (int, float)) else 0.0
    of_sky = applied[0] - by_arcs
    # What the sky moves is 0.05 px or more; less is what rounding left.
    if geometry.rung == 0 or inputs.arm.echelle or not any(applied) or abs(of_sky) < 0.01:
        return geometry, (applied[::-1] if axis == 0 else applied)
    own = {}
    for order in geometry.solution.orders:
        values = [header.get(f"ESO QC ORD{order} ZP {name}") for name in ("SHIFT", "ERR", "N LINES")]
        if all(isinstance(value, (int, float)) for value in values):
            own[order] = (float(values[0]), float(values[1]), int(values[2]))
    zero = ZeroPoint(of_sky, math.nan, len(own), own, math.nan, math.nan)
    before = (by_arcs, applied[1])
    return moved_orders(geometry, zero, axis), (before[::-1] if axis == 0 else before)
