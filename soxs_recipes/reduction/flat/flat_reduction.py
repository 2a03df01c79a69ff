"""From prepared slit flats to edges, scattered light and master flat: the steps in their order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import maximum_filter1d

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.reduction.flat.flat_combination import CombinedExposures, combine_exposures
from soxs_recipes.reduction.flat.flat_field import LampFlat, MasterFlat, master_flat
from soxs_recipes.reduction.flat.scattered_light import ScatteredLight, fit_scattered_light
from soxs_recipes.reduction.orders.cross_sections import along_first
from soxs_recipes.reduction.orders.order_edges import OrderEdges, centres_from_edges, find_edges
from soxs_recipes.reduction.orders.order_tracing import locate_slit_orders

__all__ = ["FlatReduction", "LampExposures", "near_centres", "reduce_flats"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LampExposures:
    """Exposures of one lamp.

    Attributes
    ----------
    name : str
    frames : sequence of Frame
        Bias-subtracted; dark-subtracted when `off` is empty. Variance without photon noise.
    off : sequence of Frame
        The same with the lamp off.
    """

    name: str
    frames: Sequence[Frame]
    off: Sequence[Frame] = ()


@dataclass(frozen=True, slots=True)
class FlatReduction:
    """What `reduce_flats` made.

    Attributes
    ----------
    edges : OrderEdges
    master : MasterFlat
    scattered : Frame
        Light between the orders of a mean exposure, lamps added [e-].
    light : ndarray (ny, nx) float32 [e-]
        Mean exposure, lamps added, scattered light subtracted.
    levels : dict lamp name -> ndarray
        Level of each exposure in units of its lamp's mean.
    rejected : int
        Values that were left out as hits.
    dark_lamps, dark_exposures : tuple of str
        Lamps without light, and single exposures without; left out.
    """

    edges: OrderEdges
    master: MasterFlat
    scattered: Frame
    light: np.ndarray
    levels: dict[str, np.ndarray]
    rejected: int
    dark_lamps: tuple[str, ...]
    dark_exposures: tuple[str, ...]


def near_centres(order_table: OrderTable, shape: tuple[int, int], half_width: int = 5) -> np.ndarray:
    """Boolean (ny, nx): pixels within `half_width` px of an order's centre."""
    mask = np.zeros(shape, dtype=bool)
    view = along_first(mask, order_table.dispersion_axis)
    for trace in order_table.traces:
        low, high = trace.along_domain
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(high) + 1, view.shape[0]))
        columns = np.rint(trace.centre_at(rows)).astype(np.int64)[:, None] + np.arange(-half_width, half_width + 1)
        inside = (columns >= 0) & (columns < view.shape[1])
        view[np.broadcast_to(rows[:, None], columns.shape)[inside], columns[inside]] = True
    return mask


def reduce_flats(
    lamps: Iterable[LampExposures],
    order_table: OrderTable,
    *,
    tilts: Mapping[int, np.ndarray] | None = None,
    clip_sigma: float = 6.0,
    edge_degree: int = 5,
    edge_clip_sigma: float = 5.0,
    subtract_scattered: bool = True,
    knot_spacing: float = 256.0,
    denoise: bool = True,
    low_sensitivity: float = 0.5,
    lamp_line_limit: float = 0.12,
    slit_lengths: Mapping[int, float] | None = None,
) -> FlatReduction:
    """Combine, find edges, subtract scattered light, divide by the blaze.

    Lamps are taken one after the other, so that a generator needs to hold one at a time. A lamp without light is
    left out and named; `order_table` gives centres. With `slit_lengths` (order -> px) it
    is only a prediction: the orders are looked for on the flats, and their centres are half-way between the
    edges. See the functions of each step for the other parameters.

    Raises
    ------
    UnprocessableData
        No lamp gives light.
    """
    combined, dark, metas = _combined(lamps, order_table if slit_lengths is None else None, clip_sigma)
    meta = metas[0]
    exposures = sum(one.levels.size + len(one.dropped) for one in combined.values())
    frames = {name: _as_frame(one, meta) for name, one in combined.items()}
    whole = _added(frames, order_table)
    if slit_lengths is not None:
        order_table = locate_slit_orders(whole, order_table, slit_lengths)
    edges = find_edges(whole, order_table, max_degree=edge_degree, clip_sigma=edge_clip_sigma)
    if slit_lengths is not None:
        edges = replace(edges, table=centres_from_edges(edges.table))
    surfaces = {name: _surface(frame, edges.table, subtract_scattered) for name, frame in frames.items()}
    master = master_flat(
        [LampFlat(combined[name], surfaces[name]) for name in combined],
        edges.table,
        tilts=tilts,
        knot_spacing=knot_spacing,
        denoise=denoise,
        low_sensitivity=low_sensitivity,
        lamp_line_limit=lamp_line_limit,
        meta=replace(meta, combined=exposures, exposure_time=_mean_exposure_time(metas)),
    )
    model = sum(surface.model for surface in surfaces.values())
    scattered = Frame(
        model, sum(s.variance for s in surfaces.values()), np.zeros(model.shape, dtype=np.int32), master.frame.meta
    )
    light = sum(frame.data for frame in frames.values()) - model
    levels = {name: one.levels for name, one in combined.items()}
    rejected = sum(one.rejected for one in combined.values())
    dropped = tuple(name for one in combined.values() for name in one.dropped)
    return FlatReduction(edges, master, scattered, light, levels, rejected, tuple(dark), dropped)


def _combined(lamps, order_table, clip_sigma) -> tuple[dict[str, CombinedExposures], list[str], list[FrameMeta]]:
    """(mean exposure of each lamp, names of dark lamps, what is known of each exposure)."""
    combined, dark, metas, problem = {}, [], [], None
    for lamp in lamps:
        shape = lamp.frames[0].shape
        lit = np.ones(shape, dtype=bool) if order_table is None else near_centres(order_table, shape)
        metas += [frame.meta for frame in lamp.frames]
        try:
            combined[lamp.name] = combine_exposures(lamp.frames, lit, off=lamp.off, clip_sigma=clip_sigma)
        except UnprocessableData as error:
            problem = error
            _log.warning("lamp %s is left out: %s", lamp.name, problem)
            dark.append(lamp.name)
        del lamp  # its exposures fill half a gigabyte
    if not combined and len(dark) == 1:
        raise problem
    if not combined:
        raise UnprocessableData("no lamp gives light in the slit flats; check lamps and shutter")
    return combined, dark, metas


def _as_frame(combined: CombinedExposures, meta: FrameMeta) -> Frame:
    variance = combined.variance(combined.signal).astype(np.float32)
    return Frame(combined.signal, variance, combined.quality, meta)


def _added(frames: Mapping[str, Frame], table: OrderTable) -> Frame:
    """Sum of the lamps; a lamp that saturates somewhere along the slit is left out all along the slit there."""
    if len(frames) == 1:
        return next(iter(frames.values()))
    stack = list(frames.values())
    across = 1 - table.dispersion_axis
    reach = _quarter_pitch(table)
    data, variance, quality = 0.0, 0.0, np.int32(-1)
    for frame in stack:
        saturated = (frame.quality & np.int32(QualityFlag.SATURATED)) != 0
        left_out = maximum_filter1d(saturated.view(np.uint8), 2 * reach + 1, axis=across).astype(bool)
        data = data + np.where(left_out, 0.0, frame.data)
        variance = variance + np.where(left_out, 0.0, frame.variance)
        quality = quality & (frame.quality | np.where(left_out, np.int32(QualityFlag.NO_DATA), 0))
    return stack[0].with_arrays(
        data=data.astype(np.float32), variance=variance.astype(np.float32), quality=quality.astype(np.int32)
    )


def _quarter_pitch(table: OrderTable) -> int:
    """A quarter of the least distance between orders [px]: from one end of a slit past the other, no farther."""
    middles = np.sort([float(np.median(trace.centre_at(np.array(trace.along_domain)))) for trace in table.traces])
    return max(int(0.25 * np.diff(middles).min()), 2) if middles.size > 1 else 40


def _surface(frame: Frame, table: OrderTable, wanted: bool) -> ScatteredLight:
    zeros = np.zeros(frame.shape, dtype=np.float32)
    if not wanted:
        return ScatteredLight(zeros, zeros)
    try:
        return fit_scattered_light(frame, table)
    except AlgorithmError as problem:
        _log.warning("scattered light is not subtracted: %s", problem)
        return ScatteredLight(zeros, zeros)


def _mean_exposure_time(metas) -> float:
    times = [meta.exposure_time for meta in metas]
    return float(np.mean(times))
