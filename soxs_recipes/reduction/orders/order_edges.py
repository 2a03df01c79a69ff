"""Where the slit ends in each order: half-flux points of the slit function, measured on slit flats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legfit

from soxs_recipes.data.dispersion_solution import scaled
from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.orders.cross_sections import (
    along_first,
    block_cross_sections,
    fit_legendre,
    masked_quantile,
)
from soxs_recipes.reduction.orders.edge_kernels import fit_steps, median_profiles

__all__ = ["EdgeSamples", "OrderEdges", "centres_from_edges", "edge_curves", "find_edges"]

_ROWS = 8  # rows of a block
_INSIDE, _OUTSIDE = 12, 7  # px of a cross section that an edge fit takes on either side
_CORE = 6  # half width [px] of the middle that gives a row its flux level
_ERROR_FLOOR = 0.005  # px
# Of edge, blur, plateau, slope, level.
_BOUNDS = np.array([-5.0, 0.2, 0.0, -0.2, -0.5]), np.array([5.0, 5.0, 5.0, 0.2, 2.0])
_FARTHEST = 90  # px from centre to edge at most


@dataclass(frozen=True, slots=True)
class EdgeSamples:
    """Measured edges, one row a block of detector rows and side.

    Attributes
    ----------
    order : ndarray (n,) int16
    side : ndarray (n,) int8
        -1 for the lower pixel coordinate, +1 for the upper.
    along, edge, error, blur : ndarray (n,) float64 [px]
        `blur` is the Gaussian sigma of the step.
    detected, used : ndarray (n,) bool
    """

    order: np.ndarray
    side: np.ndarray
    along: np.ndarray
    edge: np.ndarray
    error: np.ndarray
    blur: np.ndarray
    detected: np.ndarray
    used: np.ndarray


@dataclass(frozen=True, slots=True)
class OrderEdges:
    """What `find_edges` found.

    Attributes
    ----------
    table : OrderTable
        The input's centres, with edges.
    samples : EdgeSamples
    residual : dict (order, side) -> float [px]
        rms of the kept samples about the polynomial.
    unmeasured : tuple of (order, side)
        Edges taken from the neighbouring orders' slit length.
    """

    table: OrderTable
    samples: EdgeSamples
    residual: dict[tuple[int, int], float]
    unmeasured: tuple[tuple[int, int], ...]


def find_edges(
    frame: Frame, order_table: OrderTable, *, max_degree: int = 5, clip_sigma: float = 5.0
) -> OrderEdges:
    """Measure the edges of each order on a slit flat.

    Each edge is a step blurred by a Gaussian, integrated over pixels, times an illumination that may slope,
    on a level of its own; so neither uneven illumination nor scattered light nor a neighbouring order moves
    the half-flux point. The distance from centre to edge is a robust Legendre polynomial along the dispersion.

    Parameters
    ----------
    frame : Frame
        Slit flat in electrons, bias or dark subtracted.
    order_table : OrderTable
        With centres; edges in it are not used.
    max_degree : int
        Of the distance from centre to edge.
    clip_sigma : float

    Raises
    ------
    AlgorithmError
        When no edge at all is found.
    """
    axis = order_table.dispersion_axis
    image = _Image.of(frame, axis)
    centres = [trace.centre_at(image.clamped_rows(trace)) for trace in order_table.traces]
    reach = _reach(order_table, centres)
    fits, pieces = {}, []
    for trace, centre, limits in zip(order_table.traces, centres, reach, strict=True):
        normalised = image.normalised(trace, centre)
        for side in (-1, 1):
            guess = _first_guess(image, normalised, trace, centre, side, limits[side])
            if guess is None:
                continue
            piece = _measure(image, normalised, trace, centre, guess, side, limits[side])
            fit = _fit_side(piece, trace, guess, max_degree, clip_sigma)
            pieces.append(piece if fit is None else {**piece, "used": piece["detected"] & fit.used})
            if fit is not None:
                fits[trace.order, side] = fit
    if not fits:
        raise AlgorithmError("no order edge is seen in the slit flat", orders=float(len(order_table.traces)))
    return _assembled(order_table, fits, pieces)


@dataclass(frozen=True, slots=True)
class _Image:
    value: np.ndarray
    variance: np.ndarray
    usable: np.ndarray

    @classmethod
    def of(cls, frame, axis):
        value, variance = along_first(frame.data, axis), along_first(frame.variance, axis)
        return cls(value, variance, along_first(frame.usable, axis) & np.isfinite(value) & (variance > 0))

    def clamped_rows(self, trace):
        return np.clip(np.arange(self.value.shape[0], dtype=np.float64), *trace.along_domain)

    def rows(self, trace):
        low, high = trace.along_domain
        return max(int(np.ceil(low)), 0), min(int(high) + 1, self.value.shape[0])

    def normalised(self, trace, centre):
        """Flux level [e-] of each row at the middle of the slit; NaN where too few pixels or too little light."""
        cut = block_cross_sections(
            self.value, self.variance, self.usable, centre, (0, self.value.shape[0]), 1, (-_CORE, _CORE)
        )
        _, value, variance, good = cut.flattened()
        count = good.sum(axis=1)
        enough = count > _CORE
        level = np.where(enough, masked_quantile(value, good, 0.5), np.nan)
        error = 1.25 * np.sqrt((variance * good).sum(axis=1)) / np.maximum(count, 1)
        first, last = self.rows(trace)
        inside = (np.arange(level.size) >= first) & (np.arange(level.size) < last)
        return np.where(inside & (level > 5.0 * error), level, np.nan)


def _reach(table: OrderTable, centres) -> list[dict[int, float]]:
    """How far [px] from its centre each order may extend, per side: not past the neighbour's near half."""
    middles = np.array([np.median(centre) for centre in centres])
    reach = []
    for index in range(len(table.traces)):
        limits = {}
        for side in (-1, 1):
            other = [k for k in range(middles.size) if side * (middles[k] - middles[index]) > 0]
            nearest = min(other, key=lambda k: abs(middles[k] - middles[index]), default=None)
            distance = np.inf if nearest is None else _distance(table, centres, index, nearest)
            limits[side] = min(distance, 2.0 * _FARTHEST)
        reach.append(limits)
    return reach


def _distance(table, centres, first, second) -> float:
    """Least distance [px] of two orders' centres over the rows that both have."""
    domains = [table.traces[k].along_domain for k in (first, second)]
    low, high = max(domain[0] for domain in domains), min(domain[1] for domain in domains)
    if high - low < 1.0:
        return np.inf
    rows = slice(int(np.ceil(low)), int(high) + 1)
    return float(np.abs(centres[second][rows] - centres[first][rows]).min())


def _first_guess(image, level, trace, centre, side, distance) -> np.ndarray | None:
    """Distance from centre to edge at each row, to about a pixel; None where no edge is seen."""
    farthest = int(min(_FARTHEST, 0.5 * distance + 3))
    first, last = image.rows(trace)
    blocks = max(-(-(last - first) // (2 * _ROWS)), 1)
    outward, noise = np.empty((blocks, farthest + 1)), np.empty(blocks)
    pixels = (image.value, image.variance, image.usable, level, centre, (first, last), 2 * _ROWS)
    median_profiles(*pixels, farthest, side, outward, noise)
    quiet = noise < 0.08
    distances = _half_crossing(outward)
    seen = quiet & np.isfinite(distances)
    if seen.sum() < 6:
        return None
    domain = trace.along_domain
    begins = first + 2 * _ROWS * np.arange(blocks)
    along = (0.5 * (begins + np.minimum(begins + 2 * _ROWS, last) - 1))[seen]
    fit = fit_legendre(along, distances[seen], np.full(along.size, 0.5), domain, 2)
    return fit.at(np.clip(image.clamped_rows(trace), along.min(), along.max()), domain)


def _half_crossing(outward: np.ndarray) -> np.ndarray:
    """First distance at which profiles fall below half-way between their plateau and what lies beyond."""
    filled = np.where(np.isfinite(outward), outward, 0.0)
    plateau = np.median(filled[:, : _CORE + 1], axis=1, keepdims=True)
    floor = filled[:, _CORE:].min(axis=1, keepdims=True)
    half = 0.5 * (plateau + floor)
    below = filled < half
    below[:, :_CORE] = False
    index = np.argmax(below, axis=1)
    row = np.arange(index.size)
    before = np.maximum(index - 1, 0)
    upper, lower = filled[row, before], filled[row, index]
    fraction = (upper - half[:, 0]) / np.where(upper > lower, upper - lower, 1.0)
    contrast = (floor < 0.5 * plateau)[:, 0] & (plateau[:, 0] > 0)
    return np.where(below.any(axis=1) & contrast, before + np.clip(fraction, 0, 1), np.nan)


def _measure(image, level, trace, centre, guess, side, distance) -> dict[str, np.ndarray]:
    """Step fits of one side of one order; a dict of columns, one row a block."""
    first, last = image.rows(trace)
    outside = int(max(2, min(_OUTSIDE, np.floor(0.5 * distance - np.median(guess) + 1))))
    inside = int(min(_INSIDE, np.floor(np.median(guess))))
    curve = centre + side * guess
    columns = (-outside, inside) if side < 0 else (-inside, outside)
    good = image.usable & np.isfinite(level)[:, None]
    cut = block_cross_sections(image.value, image.variance, good, curve, (first, last), _ROWS, columns)
    rows = np.minimum(first + np.arange(cut.along.size * _ROWS), last - 1)
    scale = np.where(np.isfinite(level), level, 1.0)[rows].reshape(cut.along.size, _ROWS)[:, :, None]
    shape = (cut.along.size, -1)
    inward = (-side * cut.offset).reshape(shape)
    value, variance = (cut.value / scale).reshape(shape), (cut.variance / scale**2).reshape(shape)
    usable = cut.usable.reshape(shape)
    parameters, error, well = _fitted_steps(inward, value, variance, usable, cut.offset.shape[2])
    offset, blur, plateau, _, base = parameters.T
    error = np.hypot(error, _ERROR_FLOOR)
    detected = well & (error < 0.5) & (np.abs(offset) < 4.5) & (plateau > 0.2)
    detected &= (blur < 4.0) & (base < 0.7 * plateau)
    guessed = np.interp(cut.along, np.arange(guess.size), guess)
    return {
        "order": np.full(offset.size, trace.order, dtype=np.int16),
        "side": np.full(offset.size, side, dtype=np.int8),
        "along": cut.along,
        "distance": guessed - offset,
        "edge": np.interp(cut.along, np.arange(centre.size), centre) + side * (guessed - offset),
        "error": error,
        "blur": blur,
        "detected": detected,
        "used": np.zeros(offset.size, dtype=bool),
    }


def _fitted_steps(inward, value, variance, usable, columns):
    """(parameters, error of the edge, whether the fit converged with enough pixels about the step) of each block.

    `columns` pixels stand side by side; parameters are edge, blur, plateau, slope, level.
    """
    floor, bright = (masked_quantile(variance, usable, fraction) for fraction in (0.1, 0.7))
    photon, floor = np.maximum(bright - floor, 0.0), np.maximum(floor, 1e-12)
    count = len(value)
    parameters = np.tile([0.0, 1.0, 1.0, 0.0, 0.0], (count, 1))
    error, converged = np.empty(count), np.empty(count, bool)
    fit_steps(inward, value, usable, floor, photon, columns, *_BOUNDS, parameters, error, converged)
    near = usable & (np.abs(inward - parameters[:, :1]) < 3.0)
    beyond = usable & (inward < parameters[:, :1] - 1.0)
    enough = (near.sum(axis=1) > 2 * _ROWS) & (beyond.sum(axis=1) >= _ROWS // 2)
    return parameters, error, converged & enough


def _fit_side(piece, trace, guess, max_degree, clip_sigma):
    good = piece["detected"]
    low, high = trace.along_domain
    if good.sum() < 8 or np.ptp(piece["along"][good]) < 0.1 * (high - low):
        return None
    along = piece["along"]
    # Ends that are too dark: the slit's projected length changes slowly, so the edge of the seen part goes on.
    bare = (along < along[good].min() - 3 * _ROWS) | (along > along[good].max() + 3 * _ROWS)
    seen = fit_legendre(
        along, np.where(good, piece["distance"], np.nan), piece["error"], (low, high), 2, clip=clip_sigma
    )
    nearest = np.clip(along, along[good].min(), along[good].max())
    value = np.where(good, piece["distance"], np.where(bare, seen.at(nearest, (low, high)), np.nan))
    error = np.where(bare & ~good, 0.5, piece["error"])
    return fit_legendre(along, value, error, (low, high), max_degree, clip=clip_sigma)


def _assembled(table: OrderTable, fits, pieces) -> OrderEdges:
    traces, unmeasured = [], []
    for trace in table.traces:
        edges = {}
        for side in (-1, 1):
            fit = fits.get((trace.order, side))
            if fit is None:
                unmeasured.append((trace.order, side))
            distance = fit.coefficients if fit is not None else np.array([_borrowed(fits, trace.order, side)])
            edges[side] = _sum(trace.centre, side * distance)
        traces.append(replace(trace, lower=edges[-1], upper=edges[1]))
    names = ("order", "side", "along", "edge", "error", "blur", "detected", "used")
    samples = EdgeSamples(**{name: np.concatenate([piece[name] for piece in pieces]) for name in names})
    residual = {key: fit.rms for key, fit in fits.items()}
    return OrderEdges(replace(table, traces=tuple(traces)), samples, residual, tuple(unmeasured))


def _borrowed(fits, order, side) -> float:
    """Mean distance from centre to edge of an order that has none of its own, from the other orders."""
    measured = {number: fit.coefficients[0] for (number, which), fit in fits.items() if which == side}
    if not measured:
        measured = {number: fit.coefficients[0] for (number, _), fit in fits.items()}
    numbers, lengths = np.array(list(measured)), np.array(list(measured.values()))
    if numbers.size < 4:
        return float(lengths[np.argmin(np.abs(numbers - order))])
    domain = (float(numbers.min()), float(numbers.max()))
    line = legfit(scaled(numbers, domain), lengths, 1)
    return float(np.polynomial.legendre.legval(scaled(np.array([float(order)]), domain), line)[0])


def _sum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = np.zeros(max(first.size, second.size))
    total[: first.size] += first
    total[: second.size] += second
    return total


def centres_from_edges(table: OrderTable, fraction: float = 0.5) -> OrderTable:
    """The table with centres at a fraction of the way from lower to upper edge."""
    traces = [
        replace(trace, centre=_sum((1.0 - fraction) * trace.lower, fraction * trace.upper))
        for trace in table.traces
    ]
    return replace(table, traces=tuple(traces))


def edge_curves(trace: OrderTrace, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(lower, upper) edge [px] at every row of a detector `length` rows long, straight past the order's ends."""
    rows = np.arange(length, dtype=np.float64)
    low, high = trace.along_domain
    inside = np.clip(rows, low, high)
    step = max(0.02 * (high - low), 1e-6)
    curves = []
    for at, before, after in zip(
        trace.edges_at(inside),
        trace.edges_at(np.array([low, low + step])),
        trace.edges_at(np.array([high - step, high])),
        strict=True,
    ):
        slope = np.where(rows < low, before[1] - before[0], after[1] - after[0]) / step
        curves.append(at + slope * (rows - inside))
    return curves[0], curves[1]
