"""Where the orders run: centres measured on the flat of a single pinhole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legfit, legval, legvander
from scipy.ndimage import uniform_filter1d

from soxs_recipes.data.dispersion_solution import DispersionSolution, scaled
from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.numerics.gaussian_kernels import fit_cross_sections
from soxs_recipes.reduction.orders.cross_sections import (
    along_first,
    block_cross_sections,
    fit_legendre,
    masked_quantile,
    robust_scale,
)

__all__ = ["OrderTracing", "TraceSamples", "locate_slit_orders", "predict_centres", "trace_orders"]

_PEAK_ROWS = 16  # rows of a block in the first, coarse search
_FIT_ROWS = 8  # rows of a block in the profile fits
_FIT_HALF_WIDTH = 8
_ROUNDS = 3  # of fits with weights from the last one
_ERROR_FLOOR = 0.003  # px; pixel response and profile shape, below which no centre is trusted


@dataclass(frozen=True, slots=True)
class TraceSamples:
    """Measured centres, one row a block of detector rows.

    Attributes
    ----------
    order : ndarray (n,) int16
    along, centre, error, sigma : ndarray (n,) float64 [px]
        Position along the dispersion, centre across it, its error, and the width of the Gaussian.
    amplitude : ndarray (n,) float64 [e-]
        Flux of the cross section.
    detected : ndarray (n,) bool
        The profile stands out and its fit is sound.
    used : ndarray (n,) bool
        Kept by the robust polynomial.
    """

    order: np.ndarray
    along: np.ndarray
    centre: np.ndarray
    error: np.ndarray
    sigma: np.ndarray
    amplitude: np.ndarray
    detected: np.ndarray
    used: np.ndarray


@dataclass(frozen=True, slots=True)
class OrderTracing:
    """What `trace_orders` found.

    Attributes
    ----------
    table : OrderTable
        Centres only.
    samples : TraceSamples
    shift : float [px]
        Median of measured minus predicted centre.
    bridged : tuple of int
        Orders too faint to be measured: their trace is the prediction moved as their neighbours moved.
    """

    table: OrderTable
    samples: TraceSamples
    shift: float
    bridged: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Prediction:
    order: int
    rows: tuple[int, int]
    curve: np.ndarray


def predict_centres(
    solution: DispersionSolution,
    wavelength_ranges: Mapping[int, tuple[float, float]],
    shape: tuple[int, int],
    dispersion_axis: int,
    *,
    degree: int = 6,
) -> OrderTable:
    """Traces of the orders at mid-slit, as a dispersion solution has them.

    Parameters
    ----------
    solution : DispersionSolution
    wavelength_ranges : mapping order -> (low, high) [nm, vacuum]
        Full range of each order; what falls off the detector is cut. Orders off it entirely are left out.
    shape : (ny, nx)
        Of the trimmed frame, in the pixels of `solution`.
    dispersion_axis : int
    degree : int
        Of the Legendre polynomials.
    """
    traces = []
    last_row = shape[dispersion_axis] - 1.0
    for order in solution.orders:
        if order not in wavelength_ranges:
            continue
        wavelength = np.linspace(*wavelength_ranges[order], 512)
        x, y = solution.surface(order).evaluate(wavelength, np.zeros_like(wavelength))
        along, across = (y, x) if dispersion_axis == 0 else (x, y)
        inside = (
            (along > -1.0) & (along < last_row + 1.0) & (across > -20) & (across < shape[1 - dispersion_axis] + 20)
        )
        if inside.sum() < 2 * degree:
            continue
        domain = (max(float(along[inside].min()), 0.0), min(float(along[inside].max()), last_row))
        centre = legfit(scaled(along[inside], domain), across[inside], degree)
        traces.append(OrderTrace(order=order, along_domain=domain, centre=centre))
    return OrderTable(tuple(traces), dispersion_axis, solution.binning)


def trace_orders(
    frame: Frame,
    predicted: OrderTable,
    *,
    max_degree: int = 11,
    search: float = 25.0,
    detection_sigma: float = 5.0,
    clip_sigma: float = 5.0,
) -> OrderTracing:
    """Measure order centres on the flat of a single pinhole.

    The offset from the prediction is found as a whole, then as a smooth function over the detector, then
    pixel-integrated Gaussians are fitted to blocks of rows (the block's rows follow the curve, none is
    shifted or averaged) and a robust weighted Legendre polynomial runs through the centres of each order.

    Parameters
    ----------
    frame : Frame
        Bias- or dark-subtracted, in electrons. Masked pixels take no part.
    predicted : OrderTable
        Centres expected; `along_domain` says where each order is.
    max_degree : int
        Highest polynomial degree along the dispersion; the data choose within it.
    search : float [px]
        Largest shift looked for, further limited to just under half the distance of neighbouring orders.
    detection_sigma : float
        Flux over its error that makes a cross section count.
    clip_sigma : float

    Raises
    ------
    AlgorithmError
        When no order is seen.
    """
    axis = predicted.dispersion_axis
    value, variance = along_first(frame.data, axis), along_first(frame.variance, axis)
    usable = along_first(frame.usable, axis) & np.isfinite(value) & (variance > 0)
    expected = [_prediction(trace, value.shape[0]) for trace in predicted.traces]
    moved = _coarse_offsets(value, variance, usable, expected, search)
    samples = None
    for _ in range(2):
        pieces = [_measure(value, variance, usable, one, detection_sigma) for one in moved]
        fits = [_fit_order(piece, one, max_degree, clip_sigma) for piece, one in zip(pieces, moved, strict=True)]
        samples = _joined(pieces, fits)
        moved = [_updated(one, fit) for one, fit in zip(moved, fits, strict=True)]
    if not any(fit is not None for fit in fits):
        raise AlgorithmError("no order is seen in the pinhole flat", detected=float(samples.detected.sum()))
    traces = tuple(_trace(one, fit) for one, fit in zip(moved, fits, strict=True))
    before = np.concatenate([_curve_at(e, p["along"]) for e, p in zip(expected, pieces, strict=True)])
    shift = float(np.median((samples.centre - before)[samples.used]))
    bridged = tuple(one.order for one, fit in zip(moved, fits, strict=True) if fit is None)
    return OrderTracing(OrderTable(traces, axis, frame.meta.binning), samples, shift, bridged)


def locate_slit_orders(
    frame: Frame, predicted: OrderTable, slit_lengths: Mapping[int, float], *, search: float = 25.0
) -> OrderTable:
    """Orders' middles to a pixel or two on a slit flat, where no pinhole flat has given centres.

    Parameters
    ----------
    frame : Frame
        Slit flat in electrons.
    predicted : OrderTable
        Traces of the middle of the slit.
    slit_lengths : mapping order -> px
    search : float [px]
    """
    axis = predicted.dispersion_axis
    value, variance = along_first(frame.data, axis), along_first(frame.variance, axis)
    usable = along_first(frame.usable, axis) & np.isfinite(value) & (variance > 0)
    expected = [_prediction(trace, value.shape[0]) for trace in predicted.traces]
    widths = [max(int(slit_lengths[one.order]), 3) for one in expected]
    moved = _coarse_offsets(value, variance, usable, expected, search, widths)
    return OrderTable(tuple(_trace(one, None) for one in moved), axis, frame.meta.binning)


def _prediction(trace: OrderTrace, length: int) -> _Prediction:
    rows = np.arange(length, dtype=np.float64)
    low, high = trace.along_domain
    curve = trace.centre_at(np.clip(rows, low, high))
    return _Prediction(trace.order, (max(int(np.ceil(low)), 0), min(int(high) + 1, length)), curve)


def _curve_at(prediction, along):
    return np.interp(along, np.arange(prediction.curve.size), prediction.curve)


def _search_limit(expected: list[_Prediction], search: float) -> int:
    """Largest offset that cannot confuse two neighbouring orders."""
    middles = np.sort([np.median(one.curve[slice(*one.rows)]) for one in expected])
    gap = np.diff(middles).min() if middles.size > 1 else np.inf
    return int(max(min(search, 0.48 * gap), 3.0))


def _coarse_offsets(value, variance, usable, expected, search, widths=None) -> list[_Prediction]:
    """Predictions moved by a smooth function of detector position that brings them onto the light.

    `widths` [px] are those of the orders' light: of a pinhole when None.
    """
    limit = _search_limit(expected, search)
    widths = widths or [3] * len(expected)
    reach = limit + 8 + max(widths) // 2
    profiles = [
        _peak_profiles(value, variance, usable, one, reach, width)
        for one, width in zip(expected, widths, strict=True)
    ]
    stacked = np.concatenate([significance for _, significance, _ in profiles])
    offsets = profiles[0][2]
    # The square root keeps one bright order from outvoting the rest.
    score = uniform_filter1d(np.sqrt(np.clip(stacked, 0.0, None)).sum(axis=0), 3)
    inner = np.abs(offsets) <= limit
    shift = offsets[inner][np.argmax(score[inner])]
    near = np.abs(offsets - shift) <= min(8, limit)
    along, across, offset, number = [], [], [], []
    for index, (rows, significance, _) in enumerate(profiles):
        window = significance[:, near]
        peak = np.argmax(window, axis=1)
        seen = window[np.arange(rows.size), peak] > 5.0
        along.append(rows[seen])
        across.append(_curve_at(expected[index], rows[seen]))
        offset.append(offsets[near][peak[seen]])
        number.append(np.full(seen.sum(), index))
    found = [np.concatenate(part) for part in (along, across, offset, number)]
    return _smoothly_moved(expected, value.shape, float(shift), *found)


def _peak_profiles(value, variance, usable, prediction, half_width, width):
    """(rows, significance (blocks, offsets), offsets): median cross sections above their surroundings."""
    cut = block_cross_sections(
        value, variance, usable, prediction.curve, prediction.rows, _PEAK_ROWS, (-half_width, half_width)
    )
    present = cut.usable.any(axis=1)
    profile = masked_quantile(cut.value.transpose(0, 2, 1), cut.usable.transpose(0, 2, 1), 0.5)
    level = np.percentile(profile, 30, axis=1, keepdims=True)
    below = np.minimum(profile - level, 0.0)
    # One noise for a block: a noise of each column would favour the light's borders.
    mean_variance = (cut.variance * cut.usable).sum(axis=(1, 2)) / np.maximum(cut.usable.sum(axis=(1, 2)), 1)
    noise = np.sqrt(mean_variance / _PEAK_ROWS)[:, None]
    noise = np.hypot(1.25 * noise, np.sqrt((below**2).mean(axis=1, keepdims=True)))
    significance = uniform_filter1d(profile - level, width, axis=1) / np.maximum(noise, 1e-6)
    return cut.along, np.where(present, significance, 0.0), np.arange(-half_width, half_width + 1)


def _smoothly_moved(expected, shape, shift, along, across, offset, number):
    u, v = scaled(along, (0, shape[0] - 1)), scaled(across, (0, shape[1] - 1))
    degrees = (2, 1) if len(expected) > 1 else (2, 0)

    def basis(rows, columns):
        parts = legvander(rows, degrees[0])[:, :, None] * legvander(columns, degrees[1])[:, None, :]
        return parts.reshape(rows.size, (degrees[0] + 1) * (degrees[1] + 1))

    coefficients = np.zeros((degrees[0] + 1) * (degrees[1] + 1))
    coefficients[0] = shift
    matrix = basis(u, v)
    # Pull towards a plain shift where few peaks are seen.
    ridge = np.eye(coefficients.size) * 3.0
    ridge[0, 0] = 1e-6
    for scale in (6.0, 4.0, 3.0, 2.0, 2.0):
        residual = offset - matrix @ coefficients
        weight = np.clip(1.0 - (residual / (3.0 * scale)) ** 2, 0.0, None) ** 2
        normal = matrix.T @ (matrix * weight[:, None]) + ridge
        target = matrix.T @ (weight * offset) + ridge[:, 0] * shift
        coefficients = np.linalg.solve(normal, target)
    residual = offset - matrix @ coefficients
    rows = np.arange(shape[0])
    moved = []
    for index, one in enumerate(expected):
        correction = basis(scaled(rows, (0, shape[0] - 1)), scaled(one.curve, (0, shape[1] - 1))) @ coefficients
        mine = (number == index) & (np.abs(residual) < 5.0)
        if mine.sum() >= 12:
            # Peaks of whole pixels: no error below a third of one.
            fit = fit_legendre(along[mine], residual[mine], np.full(mine.sum(), 0.5), (0, shape[0] - 1.0), 2)
            near = np.clip(rows, along[mine].min(), along[mine].max())
            correction = correction + fit.at(near, (0, shape[0] - 1.0))
        moved.append(_Prediction(one.order, one.rows, one.curve + correction))
    return moved


def _measure(value, variance, usable, prediction, detection_sigma) -> dict[str, np.ndarray]:
    """Profile fits of one order; a dict of columns, one row a block."""
    cut = block_cross_sections(
        value, variance, usable, prediction.curve, prediction.rows, _FIT_ROWS, (-_FIT_HALF_WIDTH, _FIT_HALF_WIDTH)
    )
    offset, data, noise, good = cut.flattened()
    parameters, floor = _start_values(offset, data, noise, good)
    errors, converged = fit_cross_sections(cut.offset, cut.value, cut.usable, floor, parameters, _ROUNDS)
    flux, centre, sigma, _ = parameters.T
    error = np.hypot(errors[:, 1], _ERROR_FLOOR)
    covered = (good & (np.abs(offset) < 3.0)).sum(axis=1) > 2 * _FIT_ROWS
    detected = (
        converged
        & covered
        & (flux > detection_sigma * errors[:, 0])
        & (np.abs(centre) < 5.0)
        & (sigma > 0.18)
        & (sigma < 5.0)
        & (error < 0.5)
    )
    detected &= _ordinary_width(sigma, detected)
    return {
        "order": np.full(flux.size, prediction.order, dtype=np.int16),
        "along": cut.along,
        "offset": centre,
        "centre": _curve_at(prediction, cut.along) + centre,
        "error": error,
        "sigma": sigma,
        "amplitude": flux,
        "detected": detected,
    }


def _start_values(offset, data, noise, good):
    """Rough (flux, centre, sigma, level), and the variance that does not come from the light itself."""
    level = masked_quantile(data, good, 0.25)
    excess = np.where(good, np.clip(data - level[:, None], 0.0, None), 0.0)
    total = np.maximum(excess.sum(axis=1), 1e-6)
    centre = np.clip((excess * offset).sum(axis=1) / total, -4, 4)
    floor = masked_quantile(noise, good, 0.2)
    start = np.column_stack([total / _FIT_ROWS, centre, np.full(centre.size, 1.3), level])
    return start, np.maximum(floor, 1e-3)


def _ordinary_width(sigma, detected):
    if detected.sum() < 5:
        return detected
    typical = np.median(sigma[detected])
    spread = max(robust_scale(sigma[detected]), 0.05 * typical)
    return np.abs(sigma - typical) < 8.0 * spread


def _fit_order(piece, prediction, max_degree, clip_sigma):
    """Legendre fit of one order's centres, or None when too little of it is seen."""
    good = piece["detected"]
    first, last = prediction.rows
    if good.sum() < 12 or np.ptp(piece["along"][good]) < 0.2 * (last - first):
        return None
    value = np.where(good, piece["centre"], np.nan)
    # Where nothing is seen at an end, the moved prediction holds the polynomial with a loose hand.
    along = piece["along"]
    bare = (along < along[good].min() - 3 * _FIT_ROWS) | (along > along[good].max() + 3 * _FIT_ROWS)
    value = np.where(bare, _curve_at(prediction, along), value)
    error = np.where(bare, 0.5, piece["error"])
    domain = (float(first), float(last - 1))
    return fit_legendre(along, value, error, domain, max_degree, min_degree=2, clip=clip_sigma)


def _updated(prediction, fit):
    if fit is None:
        return prediction
    first, last = prediction.rows
    domain = (float(first), float(last - 1))
    rows = np.clip(np.arange(prediction.curve.size), *domain)
    return _Prediction(prediction.order, prediction.rows, legval(scaled(rows, domain), fit.coefficients))


def _trace(prediction, fit) -> OrderTrace:
    first, last = prediction.rows
    domain = (float(first), float(last - 1))
    if fit is not None:
        return OrderTrace(prediction.order, domain, fit.coefficients, residual=fit.rms)
    rows = np.arange(first, last)
    return OrderTrace(prediction.order, domain, legfit(scaled(rows, domain), prediction.curve[first:last], 6))


def _joined(pieces, fits) -> TraceSamples:
    used = [
        piece["detected"] & fit.used if fit is not None else np.zeros(piece["along"].size, dtype=bool)
        for piece, fit in zip(pieces, fits, strict=True)
    ]
    names = ("order", "along", "centre", "error", "sigma", "amplitude", "detected")
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in names}
    return TraceSamples(**columns, used=np.concatenate(used))
