"""One spectrum of an arm from the spectra of its orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.ndimage import median_filter

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.order_spectrum import correlations

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
    lags = np.zeros((_LAGS + 1, size))
    for weight, covariance in parts:
        share = weight / total
        for lag in range(_LAGS + 1):
            lags[lag, : size - lag] += share[: size - lag] * share[lag:] * covariance.diagonal(lag)
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
    """Density, sky, covariance (sparse), weight and quality of one order on the grid; None when it is empty."""
    known = np.isfinite(order.variance) & (order.variance > 0)
    if known.sum() < 5:
        return None
    ascending = np.argsort(order.wavelength)
    width, known = order.bin_width[ascending], known[ascending]
    low = order.wavelength[ascending] - 0.5 * width
    overlap, parts = _overlap(low, width, grid - 0.5 * step, step)
    overlap = overlap @ sparse.diags(known.astype(float))
    cover = np.asarray(overlap.sum(axis=1)).ravel()
    kept = cover > _LEAST_COVER * step
    mean = sparse.diags(np.where(kept, 1.0 / np.maximum(cover, 1e-12), 0.0)) @ _reconstruction(parts, known)
    scale = 1.0 / width if counts else np.ones_like(width)
    values = np.where(known, order.flux[ascending] * scale, 0.0)
    variance = np.where(known, order.variance[ascending], 0.0) * scale**2
    covariance = mean @ _banded_covariance(variance, order.correlation, ascending) @ mean.T
    smooth = median_filter(np.where(known, variance, np.median(variance[known])), _SMOOTHING, mode="nearest")
    weight = np.where(kept, 1.0 / np.maximum(mean @ smooth, 1e-300), 0.0)
    bits = np.zeros(grid.size, np.int32)
    source = order.quality[ascending]
    for flag in np.unique(source[known]):
        for bit in range(31):
            value = 1 << bit
            if flag & value:
                touched = np.asarray(overlap @ ((source & value) != 0).astype(float)).ravel() > 0
                bits[touched] |= np.int32(value)
    return mean @ values, mean @ (order.sky[ascending] * scale), covariance.tocsr(), weight, bits


def _overlap(low, width, start, step):
    """Sparse (output bins, input bins): length [nm] that they share, and the three parts of `_reconstruction`.

    With a ... b the shared part of an input bin, counted in its width, a parabola of that bin's mean and edge
    values integrates to left * wL + mean * wC + right * wR (Colella & Woodward 1984, J. Comput. Phys. 54, 174,
    equation 1.5).
    """
    first = np.searchsorted(start + step, low, side="right")
    span = int(np.ceil(np.max(width) / step)) + 2
    inputs = np.broadcast_to(np.arange(low.size), (span, low.size)).ravel()
    rows = (first + np.arange(span)[:, None]).ravel()
    chosen = rows < start.size
    rows, inputs = rows[chosen], inputs[chosen]
    a = np.clip((start[rows] - low[inputs]) / width[inputs], 0.0, 1.0)
    b = np.clip((start[rows] + step - low[inputs]) / width[inputs], 0.0, 1.0)
    one, two, three = b - a, b**2 - a**2, b**3 - a**3
    shape = (start.size, low.size)
    values = (one, one - 2 * two + three, 3 * two - 2 * three, three - two)
    matrices = [sparse.csr_matrix((v * width[inputs], (rows, inputs)), shape=shape) for v in values]
    return matrices[0], matrices[1:]


def _reconstruction(parts, known):
    """Integrals over the output bins as a linear function of the input bins' means.

    Edge values are of third order where two bins on either side are known, else of what there is, so that nothing
    crosses a hole.
    """
    left, centre, right = parts
    size = known.size
    index = np.arange(size + 1)
    padded = np.concatenate([[False, False], known, [False, False]])
    before2, before, after, after2 = (padded[k : k + size + 1] for k in range(4))
    smooth = before2 & before & after & after2
    both = before & after & ~smooth
    weights = {
        -2: np.where(smooth, -1 / 12, 0.0),
        -1: np.where(smooth, 7 / 12, np.where(both, 0.5, np.where(before & ~after, 1.0, 0.0))),
        0: np.where(smooth, 7 / 12, np.where(both, 0.5, np.where(after & ~before, 1.0, 0.0))),
        1: np.where(smooth, -1 / 12, 0.0),
    }
    rows, columns, values = [], [], []
    for offset, weight in weights.items():
        used = weight != 0
        rows.append(index[used])
        columns.append(index[used] + offset)
        values.append(weight[used])
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    edges = sparse.csr_matrix(entries, shape=(size + 1, size))
    chosen = sparse.diags(known.astype(float))
    return left @ chosen @ edges[:-1] + centre @ chosen + right @ chosen @ edges[1:]


def _banded_covariance(variance, correlation, ascending):
    """Covariance (sparse) of bins in ascending order, from correlations in their own."""
    sigma = np.sqrt(variance)
    diagonals, offsets = [variance], [0]
    for lag, coefficients in enumerate(correlation, start=1):
        if lag < sigma.size and np.any(coefficients):
            # A pair's coefficient stands at whichever of its bins came first.
            first = np.minimum(ascending[:-lag], ascending[lag:])
            band = coefficients[first] * sigma[:-lag] * sigma[lag:]
            diagonals += [band, band]
            offsets += [lag, -lag]
    return sparse.diags(diagonals, offsets, format="csr")
