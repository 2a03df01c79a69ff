"""One spectrum of an arm from the spectra of its orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import median_filter

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.exposures.merge_kernels import bin_means, covariances_of_means, means
from soxs_recipes.reduction.extraction.order_spectrum import correlations

__all__ = ["merge_orders", "merged_grid"]

_LAGS = 4
_SMOOTHING = 61  # bins over which weights are smoothed, so that noise does not choose between orders
_LEAST_COVER = 0.6  # share of an output bin that must be covered
_MERGED_UNIT = {"electron": "electron / nm"}


def merged_grid(orders: Sequence[OrderSpectrum], step: float) -> np.ndarray:
    """Bin centres [nm] at whole multiples of `step` from the bluest to the reddest bin of all orders."""
    known = [order.wavelength[np.isfinite(order.variance)] for order in orders]
    known = [wavelength for wavelength in known if wavelength.size]
    if not known:
        raise AlgorithmError("no order holds a measurement", orders=len(orders))
    first = np.ceil(min(w.min() for w in known) / step)
    last = np.floor(max(w.max() for w in known) / step)
    return np.arange(first, last + 1) * step


def merge_orders(
    orders: Sequence[OrderSpectrum], step: float, *, grid: np.ndarray | None = None
) -> MergedSpectrum:
    """Resample every order once, conserving flux, and average where they overlap.

    Parameters
    ----------
    orders : sequence of OrderSpectrum
        All in one unit.
    step : float [nm]
    grid : ndarray or None [nm]
        Bin centres; default `merged_grid`.

    Returns
    -------
    MergedSpectrum
        Density per nm of counts, or the calibrated flux itself. Each order is integrated over the output bins,
        the covariance with it; orders are weighted by their smoothed inverse variance.

    Raises
    ------
    AlgorithmError
        No order holds a measurement.
    """
    grid = merged_grid(orders, step) if grid is None else grid
    counts = orders[0].flux_unit == "electron"
    size = grid.size
    flux, sky, weight_sum = np.zeros(size), np.zeros(size), np.zeros(size)
    quality, main, best = np.zeros(size, np.int32), np.zeros(size, np.int16), np.zeros(size)
    parts = []
    for order in orders:
        part = _resample(order, grid, step, counts)
        if part is None:
            continue
        density, sky_density, covariance, weight, bits = part
        flux += weight * density
        sky += weight * sky_density
        weight_sum += weight
        quality |= np.where(weight > 0, bits, 0).astype(np.int32)
        stronger = weight > best
        main[stronger], best[stronger] = order.order, weight[stronger]
        parts.append((weight, covariance))
    reached = weight_sum > 0
    total = np.where(reached, weight_sum, 1.0)
    lags = _mean_covariance([(weight / total, covariance) for weight, covariance in parts], size)
    quality[~reached] = np.int32(QualityFlag.NO_DATA)
    return MergedSpectrum(
        wavelength=grid,
        bin_width=np.full(size, step),
        flux=np.where(reached, flux / total, 0.0),
        variance=np.where(reached, lags[0], np.inf),
        sky=np.where(reached, sky / total, 0.0),
        quality=quality,
        order=main,
        correlation=correlations(lags[0], lags[1:], reached & (lags[0] > 0)),
        flux_unit=_MERGED_UNIT.get(orders[0].flux_unit, orders[0].flux_unit),
    )


def _resample(order: OrderSpectrum, grid, step, counts):
    """Density, sky, covariance with the next bins, weight and quality of one order; None when it is empty."""
    known = np.isfinite(order.variance) & (order.variance > 0)
    if known.sum() < 5:
        return None
    ascending = np.argsort(order.wavelength)
    width, known = order.bin_width[ascending], known[ascending]
    low = order.wavelength[ascending] - 0.5 * width
    quality = order.quality[ascending].astype(np.int32)
    begin, weights, bits = bin_means(low, width, known, quality, grid - 0.5 * step, step, _LEAST_COVER * step)
    scale = 1.0 / width if counts else np.ones_like(width)
    values = np.where(known, order.flux[ascending] * scale, 0.0)
    variance = np.where(known, order.variance[ascending], 0.0) * scale**2
    bands = _covariance_bands(variance, order.correlation, ascending)
    smooth = median_filter(np.where(known, variance, np.median(variance[known])), _SMOOTHING, mode="nearest")
    sky = np.where(known, order.sky[ascending] * scale, 0.0)
    density, sky_density, spread = means(begin, weights, np.stack([values, sky, smooth]))
    weight = np.where(begin >= 0, 1.0 / np.maximum(spread, 1e-300), 0.0)
    return density, sky_density, covariances_of_means(begin, weights, bands, _LAGS), weight, bits


def _mean_covariance(parts, size: int):
    """Covariance (lags + 1, size) of weighted means with the next ones, from each part's (shares, covariance)."""
    lags = np.zeros((_LAGS + 1, size))
    for share, covariance in parts:
        for lag in range(_LAGS + 1):
            lags[lag, : size - lag] += share[: size - lag] * share[lag:] * covariance[lag, : size - lag]
    return lags


def _covariance_bands(variance, correlation, ascending):
    """Covariance (lags + 1, n) of bins in ascending order with the next ones, from correlations in their own."""
    sigma = np.sqrt(variance)
    bands = np.zeros((len(correlation) + 1, sigma.size))
    bands[0] = variance
    for lag, coefficients in enumerate(correlation, start=1):
        if lag < sigma.size and np.any(coefficients):
            # A pair's coefficient stands at whichever of its bins came first.
            first = np.minimum(ascending[:-lag], ascending[lag:])
            bands[lag, :-lag] = coefficients[first] * sigma[:-lag] * sigma[lag:]
    return bands
