"""The user's own wavelength calibration: arcs, and the geometry that they give at the time of an exposure."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import AlgorithmError, InputError, UnprocessableData
from soxs_recipes.recipes.steps.spectroscopy import Geometry, prepare_exposures, slit_image_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.steps.spectroscopy import Exposure
    from soxs_recipes.reduction.flexure.wave_drift import ArcShift, DriftPoint
    from soxs_recipes.reduction.flexure.zero_point import ZeroPoint

__all__ = ["ARC_TAGS", "MeasuredArc", "drift_table", "geometry_at", "measure_arcs", "shift_at"]

_log = logging.getLogger(__name__)

ARC_TAGS = ("WAVE_SLIT", "WAVE_PIN", "WAVE_PIN_ON")
_FAINT_NEIGHBOUR = 0.03  # of a line's strength: what a neighbour may have
_APART = 2.5  # resolution elements
_LISTED_ERROR = 3e-4  # nm
_KNOWN = 0.15  # px: a shift across that is less certain is taken as none
_SEARCH = 5.0  # px
_THIRDS = ((-6.5, -2.0), (2.0, 6.5))  # arcsec


@dataclass(frozen=True, slots=True)
class MeasuredArc:
    """An arc measured against the 2-D solution.

    Attributes
    ----------
    path : Path
    shift : ArcShift
    zero_point : ZeroPoint
    tilt : float [px]
        By how much more a line is shifted at the upper end of the slit than in its middle; NaN for a pinhole.
    boxes : int
        How often a pixel's width is in the lines' FWHM.
    """

    path: Path
    shift: ArcShift
    zero_point: ZeroPoint = field(repr=False)
    tilt: float
    boxes: int


def measure_arcs(inputs: Inputs, paths: Sequence[Path], geometry: Geometry) -> list[MeasuredArc]:
    """Shift of every arc; one that cannot be measured is named and left out, frames without lamps are passed over.

    Raises
    ------
    UnprocessableData
        No arc of those given shows its lines.
    """
    arcs = []
    lit = [path for path in paths if not _lamps_off(inputs, path)]
    for path in lit:
        try:
            arcs.append(_measure(inputs, path, geometry))
        except (UnprocessableData, AlgorithmError, InputError) as error:
            inputs.mark_partial(f"left out: {path.name}: {error}")
    if lit and not arcs:
        raise UnprocessableData(f"{inputs.declaration.name}: no arc shows lines where the solution expects them")
    return arcs


def _lamps_off(inputs: Inputs, path: Path) -> bool:
    technique = str(inputs.keyword("DPR_TECH", path, "") or "").upper()
    return "IMAGE" in technique and "ECHELLE" not in technique


def _measure(inputs: Inputs, path: Path, geometry: Geometry) -> MeasuredArc:
    time = inputs.mid_time(path)
    if not math.isfinite(time):
        raise InputError("its time is unknown (MJD-OBS, DATE-OBS)")
    exposure = next(prepare_exposures(inputs, [path], None))
    technique = str(inputs.keyword("DPR_TECH", path, "") or "").upper()
    if "PINHOLE" in technique or "PINHOLE" in str(inputs.keyword("SLIT", path, "") or "").upper():
        return _through_pinhole(inputs, exposure, geometry, time)
    return _through_slit(inputs, exposure, geometry, time)


def _through_slit(inputs: Inputs, exposure: Exposure, geometry: Geometry, time: float) -> MeasuredArc:
    """As the sky is measured: lines all along the slit, and its ends in their light."""
    from soxs_recipes.reduction.extraction.extraction import make_grids
    from soxs_recipes.reduction.flexure.flexure import sky_pixels, sky_spectra, zero_point_of_spectra
    from soxs_recipes.reduction.flexure.slit_ends import edge_shift
    from soxs_recipes.reduction.flexure.wave_drift import ArcShift

    frame, axis = exposure.frame, inputs.arm.dispersion_axis
    maps = geometry.maps(inputs, frame.shape)
    grids = make_grids(maps, axis)
    places = sky_pixels(maps, grids, axis)
    spectra = sky_spectra(frame, places, base_variance=exposure.base_variance)
    ends = None
    if geometry.table is not None:
        ends = edge_shift(frame, geometry.table, maps, spectra, base_variance=exposure.base_variance)
    told = ends is not None and math.isfinite(ends.shift) and ends.error < _KNOWN
    across = (ends.shift, ends.error) if told else (0.0, _KNOWN)
    width = slit_image_width(inputs, exposure.path, frame.meta.binning)
    settings = {"search": _SEARCH, "slit_image": width, "across": across[0]}
    lines = _lines_for(inputs, width)
    zero = zero_point_of_spectra(spectra, lines, **settings)
    if not math.isfinite(zero.shift):
        raise UnprocessableData("no line of the lamps is seen")
    if told:
        ends = ends.given_along(zero.shift)
        across = ends.shift, ends.error
    parts = [
        zero_point_of_spectra(
            sky_spectra(frame, places, base_variance=exposure.base_variance, slit_range=part),
            lines,
            **settings,
        ).shift
        for part in _THIRDS
    ]
    # Thirds lie at some 0.7 of the half length.
    tilt = 0.5 * (parts[1] - parts[0]) / 0.7
    return MeasuredArc(exposure.path, ArcShift(time, zero.shift, zero.error, *across), zero, tilt, 2)


def _lines_for(inputs: Inputs, width: float):
    """Lamp lines that stand alone at the resolution of a slit whose image is `width` pixels wide."""
    import numpy as np

    from soxs_recipes.recipes.steps.arc_frames import line_list
    from soxs_recipes.reduction.flexure.zero_point import SkyLines

    listed = line_list(inputs)
    wavelength, first = np.unique(listed.wavelength, return_index=True)
    strength, blend = listed.intensity[first], listed.blend[first]
    # A slit of 1 arcsec gives the arm's resolving power; wider ones less.
    nominal = 1.0 / inputs.arm.pixel_scale
    reach = _APART * wavelength / inputs.arm.resolution * max(width / nominal, 1.0)
    alone = ~blend
    for step in (-3, -2, -1, 1, 2, 3):
        neighbour = np.clip(np.arange(wavelength.size) + step, 0, wavelength.size - 1)
        near = (np.abs(wavelength[neighbour] - wavelength) < reach) & (neighbour != np.arange(wavelength.size))
        alone &= ~(near & (strength[neighbour] > _FAINT_NEIGHBOUR * strength))
    return SkyLines(wavelength, np.full(wavelength.size, _LISTED_ERROR), alone, strength)


def _through_pinhole(inputs: Inputs, exposure: Exposure, geometry: Geometry, time: float) -> MeasuredArc:
    """Spots at mid-slit against where the solution has them."""
    import numpy as np

    from soxs_recipes.recipes.steps.arc_frames import line_list
    from soxs_recipes.reduction.dispersion.arc_lines import ArcSettings, solve_arc
    from soxs_recipes.reduction.flexure.wave_drift import ArcShift
    from soxs_recipes.reduction.flexure.zero_point import LineResiduals, combine_residuals, robust_mean

    frame, axis = exposure.frame, inputs.arm.dispersion_axis
    photons = exposure.base_variance + np.maximum(frame.data, 0.0)
    measured = solve_arc(
        frame.data,
        photons,
        frame.usable,
        geometry.solution,
        line_list(inputs),
        dispersion_axis=axis,
        common_shift=True,
        smooth_orders=inputs.arm.echelle,
        settings=ArcSettings(search=2.0 * _SEARCH),
    ).lines
    kept = measured.kept
    if kept.sum() < 5:
        raise UnprocessableData("hardly a line of the lamps is seen")
    shifts = [getattr(measured, name)[kept] - getattr(measured, f"{name}_predicted")[kept] for name in "xy"]
    errors = [np.maximum(getattr(measured, f"{name}_error")[kept], 0.01) for name in "xy"]
    along, across = (1, 0) if axis == 0 else (0, 1)
    place = (measured.y if axis == 0 else measured.x)[kept]
    surfaces = {int(order): geometry.solution.surface(int(order)) for order in np.unique(measured.order[kept])}
    slope = np.array(
        [
            surfaces[int(order)].wavelength_derivative(np.array([wave]), np.zeros(1))[along][0]
            for order, wave in zip(measured.order[kept], measured.wavelength[kept], strict=True)
        ]
    )
    residuals = LineResiduals(
        order=measured.order[kept],
        wavelength=measured.wavelength[kept],
        coordinate=2.0 * place / (frame.shape[axis] - 1.0) - 1.0,
        shift=shifts[along],
        error=errors[along],
        pixel=1.0 / slope,
        fwhm=measured.fwhm_along[kept],
        used=np.ones(int(kept.sum()), dtype=bool),
    )
    zero = combine_residuals(residuals)
    moved, error, _ = robust_mean(shifts[across], errors[across])
    return MeasuredArc(exposure.path, ArcShift(time, zero.shift, zero.error, moved, error), zero, math.nan, 0)


def shift_at(inputs: Inputs, arcs: Sequence[MeasuredArc], time: float, name: str) -> DriftPoint:
    """Shift at a time, and what is to be said of it."""
    from soxs_recipes.reduction.flexure.wave_drift import interpolated_shift

    point = interpolated_shift([arc.shift for arc in arcs], time)
    if point.how == "single":
        inputs.mark_partial(f"{name}: one arc alone, {point.distance:.2f} h away, is used as it is")
    if point.how == "nearest":
        inputs.mark_partial(f"{name}: not between arcs; the nearest, {point.distance:.2f} h away, is used")
    return point


def geometry_at(inputs: Inputs, geometry: Geometry, point: DriftPoint) -> Geometry:
    """Solution and edges moved to where they are at the time of `point`."""
    moves = (point.across, point.along) if inputs.arm.dispersion_axis == 0 else (point.along, point.across)
    table = None if geometry.table is None else geometry.table.shifted(point.along, point.across)
    return replace(geometry, solution=geometry.solution.shifted(*moves), table=table)


def drift_table(arcs: Sequence[MeasuredArc], point: DriftPoint, time: float):
    """Extension DRIFT: every arc's shift, and the one that was taken at the time of the exposure."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    rows = [
        (arc.path.name, *(getattr(arc.shift, name) for name in arc.shift.__slots__), arc.zero_point.lines)
        for arc in arcs
    ]
    rows.append((point.how, time, point.along, point.along_error, point.across, point.across_error, 0))
    names = ("FRAME", "MJD", "ALONG", "ALONG_ERROR", "ACROSS", "ACROSS_ERROR", "N_LINES")
    columns = {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    columns["N_LINES"] = columns["N_LINES"].astype(np.int32)
    units = dict.fromkeys(names[2:6], "pix") | {"MJD": "d"}
    return table_hdu("DRIFT", columns, units, {"FRAME": "arc; in the last row: how the shift was found"})
