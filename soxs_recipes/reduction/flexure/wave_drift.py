"""Shift of an arm as a function of time, from arcs taken before and after an exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ArcShift", "DriftPoint", "interpolated_shift"]

_SAME_TIME = 1e-5  # days


@dataclass(frozen=True, slots=True)
class ArcShift:
    """Shift of an arc against the dispersion solution.

    Attributes
    ----------
    time : float [MJD]
        Middle of the exposure.
    along, along_error, across, across_error : float [px]
        Towards rising pixel coordinates.
    """

    time: float
    along: float
    along_error: float
    across: float
    across_error: float


@dataclass(frozen=True, slots=True)
class DriftPoint:
    """Shift at one time.

    Attributes
    ----------
    along, along_error, across, across_error : float [px]
    how : str
        "interpolated" between two arcs, "nearest" outside of all, "single" with one.
    distance : float [h]
        From the nearest arc.
    """

    along: float
    along_error: float
    across: float
    across_error: float
    how: str
    distance: float


def interpolated_shift(arcs: Sequence[ArcShift], time: float) -> DriftPoint:
    """Linear in time between the two arcs that enclose `time`; the nearest arc where they do not.

    Arcs taken at one time count as one, their mean weighted by their errors.

    Parameters
    ----------
    arcs : sequence of ArcShift
        In any order; at least one.
    time : float [MJD]

    Raises
    ------
    ValueError
        Without any arc, or when `time` is not finite.
    """
    if not arcs or not np.isfinite(time):
        raise ValueError("a shift at a time needs an arc and the time")
    merged = _merged(sorted(arcs, key=lambda arc: arc.time))
    times = np.array([arc.time for arc in merged])
    distance = 24.0 * float(np.abs(times - time).min())
    after = int(np.searchsorted(times, time))
    if not 0 < after < times.size:
        nearest = merged[int(np.abs(times - time).argmin())]
        how = "interpolated" if distance < 24.0 * _SAME_TIME else "nearest" if times.size > 1 else "single"
        return DriftPoint(nearest.along, nearest.along_error, nearest.across, nearest.across_error, how, distance)
    one, two = merged[after - 1], merged[after]
    part = (time - one.time) / (two.time - one.time)
    values = [(1.0 - part) * getattr(one, name) + part * getattr(two, name) for name in ("along", "across")]
    errors = [
        float(np.hypot((1.0 - part) * getattr(one, name), part * getattr(two, name)))
        for name in ("along_error", "across_error")
    ]
    return DriftPoint(values[0], errors[0], values[1], errors[1], "interpolated", distance)


def _merged(arcs: list[ArcShift]) -> list[ArcShift]:
    groups: list[list[ArcShift]] = []
    for arc in arcs:
        if groups and arc.time - groups[-1][-1].time < _SAME_TIME:
            groups[-1].append(arc)
        else:
            groups.append([arc])
    return [group[0] if len(group) == 1 else _mean(group) for group in groups]


def _mean(group: list[ArcShift]) -> ArcShift:
    values = []
    for name in ("along", "across"):
        weights = np.array([getattr(arc, f"{name}_error") for arc in group]) ** -2.0
        shifts = np.array([getattr(arc, name) for arc in group])
        values += [float((weights * shifts).sum() / weights.sum()), float(weights.sum() ** -0.5)]
    return ArcShift(float(np.mean([arc.time for arc in group])), *values)
