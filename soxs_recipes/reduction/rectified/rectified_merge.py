"""Straightened orders made one image of the arm, in counts or in flux; no bin is resampled again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import median_filter

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.rectified_image import RectifiedImage
from soxs_recipes.data.response import Response
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flux.flux_calibration import FLUX_UNIT, ExtinctionCurve, response_at
from soxs_recipes.reduction.rectified.rectify import SEGMENT

__all__ = ["flux_calibrate_image", "merge_images"]

_SMOOTHING = 61  # columns over which weights are smoothed, so that noise does not choose between orders
_LEAST_WEIGHT = 0.01  # of the best order's: what weighs less has only noise to give
_LEAST_COVER = 0.6  # share of a bin that must be covered
_WHOLE, _FRAGMENT = 0.99, 1.0e-4  # what is covered less than the one weighs as the other against what is whole
_MERGED_UNIT = {"electron": "electron / nm"}


def flux_calibrate_image(
    image: RectifiedImage,
    response: Response,
    extinction: ExtinctionCurve,
    airmass: float,
    exposure_time: float,
) -> RectifiedImage:
    """Flux density above the atmosphere of a straightened order in electrons.

    Parameters
    ----------
    image : RectifiedImage
        In electrons; ValueError for another unit.
    response : Response
    extinction : ExtinctionCurve
    airmass : float
        Mean over the exposure.
    exposure_time : float [s]

    Returns
    -------
    RectifiedImage
        [erg s-1 cm-2 Angstrom-1] in each row, so that rows add up to a spectrum. Variances hold the response's
        error. Columns that the response does not reach have NO_DATA.
    """
    if image.unit != "electron" or not exposure_time > 0:
        raise ValueError(f"needs electrons and a time above 0 s, not {image.unit!r} and {exposure_time}")
    wavelength = image.wavelength
    value, relative, quality = response_at(response, image.order, wavelength, image.wavelength_step)
    scale = value * extinction.factor(wavelength, airmass) / (exposure_time * image.wavelength_step)
    return image.scaled(scale, relative, quality, FLUX_UNIT)


def merge_images(orders: Sequence[RectifiedImage]) -> RectifiedImage:
    """Average straightened orders where they overlap.

    Parameters
    ----------
    orders : sequence of RectifiedImage
        On one grid, in one unit.

    Returns
    -------
    RectifiedImage
        Electrons become a density per nm. Orders are weighted by the smoothed inverse variance of their columns,
        as in the merging of spectra. Bins less than 60 % covered take no part.

    Raises
    ------
    AlgorithmError
        No order holds a measurement.
    """
    parts = [(order, _column_weight(order)) for order in orders]
    parts = [(order, weight) for order, weight in parts if weight.any()]
    if not parts:
        raise AlgorithmError("no order holds a measurement", orders=len(orders))
    step = parts[0][0].wavelength_step
    firsts = [round(order.wavelength_start / step) for order, _ in parts]
    first = min(firsts)
    rows = parts[0][0].shape[0]
    columns = max(begin - first + order.shape[1] for begin, (order, _) in zip(firsts, parts, strict=True))
    sums = {name: np.zeros((rows, columns)) for name in ("weight", "flux", "sky", "variance", "sum_variance")}
    quality, coverage = np.zeros((rows, columns), np.int32), np.zeros((rows, columns), np.float32)
    parts = _without_faint_ends(parts, [begin - first for begin in firsts], columns)
    kernels = _KernelSum(columns, [order.correlation.shape[1:] for order, _ in parts])
    density = 1.0 / step if parts[0][0].unit == "electron" else 1.0
    for begin, (order, column_weight) in zip(firsts, parts, strict=True):
        window = (slice(None), slice(begin - first, begin - first + order.shape[1]))
        part = order.known & (order.coverage >= _LEAST_COVER)
        weight = np.where(part, column_weight, 0.0) * np.where(order.coverage > _WHOLE, 1.0, _FRAGMENT)
        scale = np.where(part, (density if order.unit else 1.0) / _full(order), 0.0)
        sums["weight"][window] += weight
        sums["flux"][window] += weight * scale * order.flux
        if order.sky is not None:
            sums["sky"][window] += weight * scale * order.sky
        for name in ("variance", "sum_variance"):
            plane = np.where(part, getattr(order, name), 0.0)
            sums[name][window] += (weight * scale) ** 2 * plane
        kernels.add(
            begin - first, order.correlation, ((weight * scale) ** 2 * np.where(part, order.variance, 0.0))
        )
        quality[window] |= np.where(part, order.quality, 0)
        coverage[window] = np.maximum(coverage[window], np.where(part, order.coverage, 0.0))
    return _merged(parts[0][0], first, sums, quality, coverage, kernels.mean())


def _without_faint_ends(parts, begins, columns):
    """The orders with their weights, 0 where another one's is far larger: they would only fill its blank bins."""
    best = np.zeros(columns)
    for begin, (order, weight) in zip(begins, parts, strict=True):
        window = slice(begin, begin + order.shape[1])
        best[window] = np.maximum(best[window], weight)
    return [
        (order, np.where(weight >= _LEAST_WEIGHT * best[begin : begin + order.shape[1]], weight, 0.0))
        for begin, (order, weight) in zip(begins, parts, strict=True)
    ]


def _full(order: RectifiedImage) -> np.ndarray:
    """What makes a partly covered bin whole: sums grow with the cover, means do not."""
    return np.maximum(order.coverage, _LEAST_COVER) if order.unit else 1.0


def _column_weight(order: RectifiedImage) -> np.ndarray:
    """Inverse variance of each column, smoothed; next to nothing where part of the slit is cut off.

    A column then comes from one order, or from all in one proportion, whole.
    """
    inside = order.known & (order.coverage >= _LEAST_COVER) & (order.variance > 0)
    any_known = inside.any(axis=0)
    if not any_known.any():
        return np.zeros(order.shape[1])
    variance = np.ma.median(np.ma.array(order.variance, mask=~inside), axis=0).filled(0.0)
    variance[~any_known] = np.median(variance[any_known])
    smooth = median_filter(variance.astype(np.float64), _SMOOTHING, mode="nearest")
    whole = order.coverage > _WHOLE
    share = whole.mean(axis=1)
    usual = share > 0.99 * share.max()
    return np.where(any_known, np.where(whole[usual].all(axis=0), 1.0, _FRAGMENT) / smooth, 0.0)


class _KernelSum:
    """Correlations of several orders averaged in stretches of columns, by the variance that each brings."""

    def __init__(self, columns: int, shapes: Sequence[tuple[int, int]]):
        self._segments = -(-columns // SEGMENT)
        self._length = -(-columns // self._segments)
        self._half = [max(shape[axis] for shape in shapes) // 2 for axis in (0, 1)]
        self._total = np.zeros((self._segments, 2 * self._half[0] + 1, 2 * self._half[1] + 1))
        self._weight = np.zeros(self._segments)

    def add(self, begin: int, kernels: np.ndarray, variance: np.ndarray) -> None:
        """`variance` (rows, columns) of an order that begins at column `begin`."""
        own = np.arange(variance.shape[1])
        pairs = np.stack([(begin + own) // self._length, own // -(-own.size // kernels.shape[0])])
        (to, source), which = np.unique(pairs, axis=1, return_inverse=True)
        weight = np.bincount(which.ravel(), variance.sum(axis=0))
        row, column = (half - size // 2 for half, size in zip(self._half, kernels.shape[1:], strict=True))
        inner = (slice(row, row + kernels.shape[1]), slice(column, column + kernels.shape[2]))
        np.add.at(self._total[:, inner[0], inner[1]], to, weight[:, None, None] * kernels[source])
        np.add.at(self._weight, to, weight)

    def mean(self) -> np.ndarray:
        known = self._weight > 0
        kernels = self._total / np.where(known, self._weight, 1.0)[:, None, None]
        kernels[~known] = self._total.sum(axis=0) / self._weight.sum()
        return kernels.astype(np.float32)


def _merged(like: RectifiedImage, first: int, sums, quality, coverage, correlation) -> RectifiedImage:
    reached = sums["weight"] > 0
    total = np.where(reached, sums["weight"], 1.0)
    quality[~reached] = np.int32(QualityFlag.NO_DATA)
    variances = (np.where(reached, sums[name] / total**2, np.inf) for name in ("variance", "sum_variance"))
    return RectifiedImage(
        order=0,
        band="",
        wavelength_start=first * like.wavelength_step,
        wavelength_step=like.wavelength_step,
        slit_start=like.slit_start,
        slit_step=like.slit_step,
        flux=(sums["flux"] / total).astype(np.float32),
        variance=next(variances),
        sum_variance=next(variances),
        quality=quality,
        coverage=coverage,
        correlation=correlation,
        unit=_MERGED_UNIT.get(like.unit, like.unit),
        sky=None if like.sky is None else (sums["sky"] / total).astype(np.float32),
    )
