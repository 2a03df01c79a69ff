"""Cosmic rays found between exposures of one field.

What an exposure holds beyond its own model of sky and sources is compared with what the others hold beyond theirs.
Seeing, transparency, flexure and the sky's lines are in the models and change from exposure to exposure without
harm; where a model is wrong, it is wrong in the same way in all. What only one has is a hit, however blunt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.ndimage import binary_dilation

from soxs_recipes.reduction.extraction.cosmic_rays import grow_hits
from soxs_recipes.reduction.extraction.extraction import ExposureResult

__all__ = ["ExposureResiduals", "exposure_residuals", "hits_between"]

_COMMON_ERROR = 0.3  # Share of a single exposure's tolerance that is left between exposures.
_SUSPECT = 3.0  # sigma: bins so far above what the others predict, and their neighbours, get the others' flux.
_FLUX_ERROR = 0.02  # Relative: throughput may change with wavelength.
_SHIFT_ERROR = 0.15  # bins, between exposures


@dataclass(frozen=True, slots=True)
class OrderResiduals:
    """Pixels of one order of one exposure; all arrays (pixels,) but the spectrum's.

    Attributes
    ----------
    index : ndarray int32
        Into the flattened frame.
    residual, sigma, tolerance : ndarray float32 [e-]
        Data minus model, its noise, and by how much the model may be wrong.
    response : ndarray float32
        What a flux of one in the target's spectrum leaves in the pixel.
    position : ndarray float32 [bins]
    usable, hit : ndarray bool
        `hit`: found in the exposure by itself.
    flux, variance : ndarray (bins,) [e-], [e-^2]
        The target's.
    """

    index: np.ndarray
    residual: np.ndarray
    sigma: np.ndarray
    tolerance: np.ndarray
    response: np.ndarray
    position: np.ndarray
    usable: np.ndarray
    hit: np.ndarray
    flux: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, slots=True)
class ExposureResiduals:
    """Pixels of all orders of one exposure.

    Attributes
    ----------
    orders : dict order -> OrderResiduals
    shape : (ny, nx)
    """

    orders: dict[int, OrderResiduals]
    shape: tuple[int, int]


def exposure_residuals(result: ExposureResult) -> ExposureResiduals:
    """What comparing needs of an extraction; `result` must still hold its fits."""
    orders = {}
    for fit, item in zip(result.fits, result.orders, strict=True):
        pixels = fit.pixels
        orders[pixels.order] = OrderResiduals(
            index=pixels.index.astype(np.int32),
            residual=fit.residual.astype(np.float32),
            sigma=np.sqrt(fit.variance).astype(np.float32),
            tolerance=(_COMMON_ERROR * fit.tolerance).astype(np.float32),
            response=(fit.profile_values(0) * fit.sensitivity).astype(np.float32),
            position=pixels.position.astype(np.float32),
            usable=fit.usable,
            hit=fit.hits,
            flux=item.spectrum.flux,
            variance=item.spectrum.variance,
        )
    return ExposureResiduals(orders, result.quality.shape)


def hits_between(
    exposures: Sequence[ExposureResiduals], times: Sequence[float], *, threshold: float = 5.0, growth: float = 1.8
) -> list[np.ndarray]:
    """Pixels of each exposure hit by cosmic rays.

    Parameters
    ----------
    exposures : sequence of ExposureResiduals
        Two or more.
    times : sequence of float [s]
        What is wrong with a model, or with a pixel, grows with the exposure time.
    threshold : float [sigma]
        Above the mean of the others, by noise of both.
    growth : float [sigma]
        Neighbours of a hit above this are part of it.

    Returns
    -------
    list of ndarray (ny, nx) bool
        What an exposure found by itself stays where there is nothing to compare with, or where the comparison
        leaves it above `growth`: sharp features that all exposures share are let go.
    """
    shape, scale = exposures[0].shape, np.asarray(times, dtype=np.float64)
    found = [np.zeros(shape, dtype=bool) for _ in exposures]
    near = [np.zeros(shape, dtype=bool) for _ in exposures]
    for order in sorted(set().union(*(item.orders for item in exposures))):
        rows = [k for k, item in enumerate(exposures) if order in item.orders]
        parts = [exposures[k].orders[order] for k in rows]
        index, places = _common_pixels([part.index for part in parts])
        pull, comparable = _pulls(parts, scale[rows], places, index.size, threshold)
        for k, row_pull, row_known, part, place in zip(rows, pull, comparable, parts, places, strict=True):
            alone = np.zeros(index.size, dtype=bool)
            alone[place[part.hit]] = True
            above = ~row_known | (row_pull > growth)
            hit = (row_known & (row_pull > threshold)) | (alone & above)
            found[k].reshape(-1)[index[hit]] = True
            near[k].reshape(-1)[index[row_known & above]] = True
    for hits, more in zip(found, near, strict=True):
        grow_hits(hits, lambda y, x, more=more: more[y, x])
    return found


def _common_pixels(indices: Sequence[np.ndarray]):
    """Pixels that are in any of several lists, ascending, and where among them those of each list are."""
    first, last = min(int(index.min()) for index in indices), max(int(index.max()) for index in indices)
    present = np.zeros(last - first + 1, dtype=bool)
    for index in indices:
        present[index - first] = True
    place = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present) + first, [place[index - first] for index in indices]


def _pulls(parts: Sequence[OrderResiduals], scale: np.ndarray, places, size: int, threshold: float):
    """(pull of each exposure against the others, whether there was one to compare with), each (exposures, size).

    `places` are those of each part's pixels among all.
    """
    value = np.zeros((len(parts), size), dtype=np.float32)
    variance = np.full(value.shape, np.inf, dtype=np.float32)
    for row, (part, place, excess) in enumerate(zip(parts, places, _excess_flux(parts, scale), strict=True)):
        where = place[part.usable]
        bins = np.arange(excess.size)
        residual = part.residual + part.response * np.interp(part.position, bins, excess).astype(np.float32)
        value[row, where] = residual[part.usable] / scale[row]
        spread = part.sigma**2 + part.tolerance**2
        variance[row, where] = spread[part.usable] / scale[row] ** 2
    return _against_others(value, 1.0 / variance, threshold)


def _against_others(value: np.ndarray, weight: np.ndarray, threshold: float):
    """Pull of each row over the weighted mean of the others, the brightest left out of the means in turn.

    value, weight : ndarray (exposures, pixels); weight 0 where nothing is known.
    """
    result = np.zeros(value.shape, dtype=np.float32)
    known = np.zeros(value.shape, dtype=bool)
    alive = weight.copy()
    columns = np.arange(value.shape[1])
    for _ in range(len(value) - 1):
        total, first = alive.sum(axis=0), (alive * value).sum(axis=0)
        others = total - alive
        comparable = (alive > 0) & (others > 1e-6 * total)
        divisor = np.where(comparable, others, 1.0)
        mean = (first - alive * value) / divisor
        noise = np.sqrt(1.0 / np.where(comparable, alive, 1.0) + 1.0 / divisor)
        pull = np.where(comparable, (value - mean) / noise, -np.inf)
        open_rows = alive > 0
        result = np.where(open_rows & comparable, pull, result)
        known |= comparable
        worst = pull.argmax(axis=0)
        out = pull[worst, columns] > threshold
        if not out.any():
            break
        alive[worst[out], columns[out]] = 0.0
    return result, known


def _excess_flux(parts: Sequence[OrderResiduals], scale: np.ndarray) -> list[np.ndarray]:
    """By how much each spectrum stands above what the others predict, where significantly [e-], else 0.

    A hit on the target raises the flux that was fitted, and so hides in the model.
    """
    flux = np.array([part.flux for part in parts])
    variance = np.array([part.variance for part in parts])
    known = np.isfinite(variance) & (variance > 0)
    rate = np.where(known, flux, 0.0) / scale[:, None]
    weight = np.where(known, scale[:, None] ** 2 / np.where(known, variance, 1.0), 0.0)
    reference = np.median(rate, axis=0)
    curve = _curve_of_ratio(rate, reference, weight)
    rate, weight = rate / curve, weight * curve**2
    total = weight.sum(axis=0)
    result = []
    for row in range(len(parts)):
        others = total - weight[row]
        both = (weight[row] > 0) & (others > 1e-6 * total)
        divisor = np.where(both, others, 1.0)
        mean = ((weight * rate).sum(axis=0) - weight[row] * rate[row]) / divisor
        error = _FLUX_ERROR * np.abs(mean) + _SHIFT_ERROR * np.abs(np.gradient(mean))
        noise = np.sqrt(1.0 / np.where(both, weight[row], 1.0) + 1.0 / divisor + error**2)
        pull = np.where(both, (rate[row] - mean) / noise, 0.0)
        suspect = binary_dilation(pull > _SUSPECT, iterations=2) & (pull > 0.5)
        excess = np.where(suspect, rate[row] - mean, 0.0)
        result.append(excess * curve[row] * scale[row])
    return result


def _curve_of_ratio(rate: np.ndarray, reference: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each spectrum over the reference, as a parabola: throughput, slit losses, extinction. 1 without signal."""
    design = legvander(np.linspace(-1.0, 1.0, reference.size), 2) * reference[:, None]
    shape = np.ones(rate.shape)
    for row in range(len(rate)):
        used = weight[row].copy()
        signal = np.sqrt((used * reference**2).sum())
        if signal < 50.0:
            continue
        for _ in range(3):
            normal = (design * used[:, None]).T @ design
            coefficients = np.linalg.solve(
                normal + 1e-9 * np.trace(normal) * np.eye(3), design.T @ (used * rate[row])
            )
            pull = (rate[row] - design @ coefficients) * np.sqrt(weight[row])
            used = np.where(np.abs(pull) < 4.0, weight[row], 0.0)
        ratio = legvander(np.linspace(-1.0, 1.0, reference.size), 2) @ coefficients
        shape[row] = np.clip(ratio, 0.2, 5.0)
    return shape
