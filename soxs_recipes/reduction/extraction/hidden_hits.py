"""Cosmic rays that a fit took for a line of the object.

Where a track covers most of the core in a few bins, the fit gives them its light. The pixels beside it, which hold
none of it, then look too faint and are rejected in its place; what is left of such bins draws the profile to the
track's shape, and the next rounds move them by many sigma. But a line lights all pixels of the core, a track some.
So bins that stand out of their neighbours beside rejected pixels are looked at twice: as they were fitted, and
with the course of their neighbours and hits upon it. What leaves less unexplained is believed.
"""

from __future__ import annotations

import numpy as np

__all__ = ["course_beside", "explained_better", "suspected_runs"]

_STANDS_OUT = 5.0  # sigma of a bin
_REACH = 2  # bins about a rejected pixel, and about a bin that stands out
_BESIDE = 6  # bins on either side that tell the course
_MOST = 6.0  # sigma: what is worse is an outlier, however bad


def suspected_runs(flux: np.ndarray, information: np.ndarray, doubted: np.ndarray) -> list[tuple[int, int]]:
    """Runs of bins that stand out of their course near bins where pixels are masked.

    Parameters
    ----------
    flux, information : ndarray (bins,) [e-, e-^-2]
        As fitted, and 1/variance.
    doubted : ndarray (n,) int
        Bins in which pixels of the source are masked.

    Returns
    -------
    list of (first, last)
        Bins that belong to the run, neighbours included.
    """
    if not doubted.size:
        return []
    bins = _spread(doubted, flux.size)
    around, last = np.abs(bins[:, None] + np.arange(-_BESIDE, _BESIDE + 1)), flux.size - 1
    beside = flux[np.abs(last - np.abs(last - around))]  # mirrored at the ends
    course = np.partition(beside, _BESIDE, axis=1)[:, _BESIDE]
    standing = bins[np.abs(flux[bins] - course) * np.sqrt(information[bins]) > _STANDS_OUT]
    if not standing.size:
        return []
    members = _spread(standing, flux.size)
    parts = np.split(members, np.flatnonzero(np.diff(members) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


def _spread(bins, size):
    """The bins and those near them, each once, ascending."""
    near = np.zeros(size + 2 * _REACH, dtype=bool)
    for step in range(2 * _REACH + 1):
        near[bins + step] = True
    return np.flatnonzero(near[_REACH : size + _REACH])


def course_beside(flux: np.ndarray, first: int, last: int) -> float:
    """Median of the bins on either side of a run; 0 when there are none."""
    beside = np.concatenate([flux[max(first - _BESIDE, 0) : first], flux[last + 1 : last + 1 + _BESIDE]])
    return float(np.median(beside)) if beside.size else 0.0


def explained_better(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether the second description of some pixels leaves less unexplained than the first.

    Each is residuals [e-] and their variances [e-^2]; pixels of either that are outliers count alike.
    """
    costs = [np.minimum(residual**2 / variance, _MOST**2).sum() for residual, variance in (first, second)]
    return bool(costs[1] < costs[0])
