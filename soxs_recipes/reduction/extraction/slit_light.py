"""Light along the slit, above the sky, beside the model of each source: what a person looks at to judge a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soxs_recipes.reduction.extraction.order_fit import OrderFit

__all__ = ["SlitLight", "frame_slit_light", "mean_slit_light", "slit_light"]

_STEP = 0.2  # arcsec
_MOST_SOURCES = 7


@dataclass(frozen=True, slots=True)
class SlitLight:
    """Mean light of an order along the slit.

    Attributes
    ----------
    order : int
        0 for the mean of all orders.
    slit : ndarray (m,) [arcsec]
        Cell centres, the same in all orders.
    light, error : ndarray (m,) [e-/bin/arcsec]
        Data minus sky, weighted by information; NaN where nothing is known.
    sources : ndarray (k, m) [e-/bin/arcsec]
        The model of each source.
    """

    order: int
    slit: np.ndarray
    light: np.ndarray
    error: np.ndarray
    sources: np.ndarray


def slit_light(fit: OrderFit, half_length: float = 7.0) -> SlitLight:
    """Light along the slit of a finished fit, in cells of 0.2 arcsec."""
    count = 2 * round(half_length / _STEP) + 1
    slit = _STEP * (np.arange(count) - count // 2)
    cell = np.rint(fit.pixels.slit / _STEP).astype(np.int64) + count // 2
    good = fit.good & (cell >= 0) & (cell < count)
    cell = cell[good]
    sensitivity = fit.sensitivity[good]
    weight = sensitivity**2 / fit.variance[good]
    total = np.bincount(cell, weight, minlength=count)
    known = total > 0

    def mean(values):
        summed = np.bincount(cell, weight * values[good] / sensitivity, minlength=count)
        return np.where(known, summed / np.where(known, total, 1.0), np.nan)

    objects = fit.solution.objects[:_MOST_SOURCES]
    error = np.where(known, 1.0 / np.sqrt(np.where(known, total, 1.0)), np.nan)
    sources = np.array([mean(light) for light in objects]).reshape(len(objects), count)
    return SlitLight(fit.pixels.order, slit, mean(fit.data - fit.sky), error, sources)


def mean_slit_light(orders: Sequence[SlitLight]) -> SlitLight:
    """Mean over the orders, each with the weight of its information."""
    weight = np.array([np.where(np.isfinite(item.error), item.error, np.inf) ** -2.0 for item in orders])
    total = weight.sum(axis=0)
    known = total > 0

    def mean(values):
        values = np.array(values)
        summed = (weight * np.nan_to_num(values)).sum(axis=0)
        seen = known & np.isfinite(values).any(axis=0)
        return np.where(seen, summed / np.where(known, total, 1.0), np.nan)

    count = min(len(item.sources) for item in orders)
    sources = np.array([mean([item.sources[k] for item in orders]) for k in range(count)])
    error = np.where(known, 1.0 / np.sqrt(np.where(known, total, 1.0)), np.nan)
    return SlitLight(
        0, orders[0].slit, mean([o.light for o in orders]), error, sources.reshape(count, orders[0].slit.size)
    )


def frame_slit_light(
    data: np.ndarray, variance: np.ndarray, slit: np.ndarray, half_length: float = 7.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light along the slit of a frame, all orders together, without any model.

    Parameters
    ----------
    data : ndarray (ny, nx) [e-]
    variance : ndarray (ny, nx) [e-^2]
        inf, or not above 0, where a pixel is not to be used.
    slit : ndarray (ny, nx) [arcsec]
        Slit position of each pixel; NaN outside the orders.
    half_length : float [arcsec]

    Returns
    -------
    slit : ndarray (m,) [arcsec]
        Cell centres, 0.2 arcsec apart.
    light, error : ndarray (m,) [e-/px]
        Means over the pixels of each cell, weighted by inverse variance; NaN without any.
    """
    count = 2 * round(half_length / _STEP) + 1
    centres = _STEP * (np.arange(count) - count // 2)
    good = np.isfinite(slit) & np.isfinite(data) & np.isfinite(variance) & (variance > 0)
    good &= np.abs(np.where(good, slit, 0.0)) < half_length
    cell = np.rint(slit[good] / _STEP).astype(np.int64) + count // 2
    weight = 1.0 / variance[good].astype(np.float64)
    total = np.bincount(cell, weight, minlength=count)
    known = total > 0
    safe = np.where(known, total, 1.0)
    light = np.bincount(cell, weight * data[good], minlength=count) / safe
    return centres, np.where(known, light, np.nan), np.where(known, 1.0 / np.sqrt(safe), np.nan)
