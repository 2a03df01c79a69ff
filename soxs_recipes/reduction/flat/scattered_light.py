"""Light between the orders that came by no grating order: a smooth surface under the whole frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve, eigh

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.quality import UNUSABLE
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flat.scattered_light_kernels import cell_means, mark_gaps, surface_products
from soxs_recipes.reduction.orders.cross_sections import along_first
from soxs_recipes.reduction.orders.order_edges import edge_curves

__all__ = ["ScatteredLight", "between_orders", "fit_scattered_light"]

_CELL = (64, 24)  # px along and across the dispersion
_WIDEST_MARGIN = 10.0  # px that are kept clear of an edge where there is room
_NARROWEST_MARGIN = 3.0
_MOST_PIXELS = 600_000  # more add nothing to a surface of a hundred coefficients
_FEWEST_CELLS = 12
_REWEIGHTINGS = 3


class ScatteredLight(NamedTuple):
    """A model of the light between the orders, continued under them.

    Attributes
    ----------
    model : ndarray (ny, nx) float32 [e-]
        May be negative: nothing is clipped.
    variance : ndarray (ny, nx) float32 [e-^2] or None
        Of the model; its errors are the same over large areas.
    """

    model: np.ndarray
    variance: np.ndarray | None


def between_orders(order_table: OrderTable, shape: tuple[int, int]) -> np.ndarray:
    """Number of the gap that each pixel lies in, counted from 1; 0 in orders and close to their edges.

    Pixels nearer than 10 px to an edge are left out where there is room, and never fewer than 3 px: the wings
    of the order's own light reach there. A gap that leaves no pixel has none.

    Returns
    -------
    ndarray (ny, nx) int16
    """
    axis = order_table.dispersion_axis
    length, width = shape if axis == 0 else shape[::-1]
    curves = [edge_curves(trace, length) for trace in order_table.traces]
    curves.sort(key=lambda pair: float(np.median(pair[0])))
    # Far outside, so that the detector's own borders keep no margin.
    starts = [np.full(length, -2.0 * _WIDEST_MARGIN), *(upper for _, upper in curves)]
    ends = [*(lower for lower, _ in curves), np.full(length, width + 2.0 * _WIDEST_MARGIN)]
    margins = [
        np.clip(0.5 * (end - start) - 2.5, _NARROWEST_MARGIN, _WIDEST_MARGIN)
        for start, end in zip(starts, ends, strict=True)
    ]
    low = np.array([start + margin for start, margin in zip(starts, margins, strict=True)])
    high = np.array([end - margin for end, margin in zip(ends, margins, strict=True)])
    # Orders may cross a neighbour's gap where one is extrapolated.
    lit_low = np.array([lower for lower, _ in curves]) - _NARROWEST_MARGIN
    lit_high = np.array([upper for _, upper in curves]) + _NARROWEST_MARGIN
    gaps = np.zeros((length, width), dtype=np.int16)
    mark_gaps(gaps, low, high, lit_low, lit_high)
    return along_first(gaps, axis)


def fit_scattered_light(
    frame: Frame,
    order_table: OrderTable,
    *,
    coefficients: tuple[int, int] = (14, 18),
    clip_sigma: float = 4.5,
    with_variance: bool = True,
) -> ScatteredLight:
    """Fit a smooth surface to the pixels between the orders.

    Clipped means of cells (64 px along the dispersion, a gap or 24 px across) are fitted by a penalised cubic
    tensor B-spline (P-spline; Eilers & Marx 1996, Statist. Sci. 11, 89) whose smoothness generalised
    cross-validation chooses, with Huber weights for cells that ghosts or hits disturb.

    Parameters
    ----------
    frame : Frame
        Bias- or dark-subtracted, not flat-fielded, in electrons. Masked pixels take no part.
    order_table : OrderTable
        With edges.
    coefficients : (along, across)
        Number of spline coefficients in each direction, at least 4.
    clip_sigma : float
    with_variance : bool
        Whether the model's variance is wanted.

    Raises
    ------
    AlgorithmError
        When fewer than 12 cells between the orders can be measured.
    """
    axis = order_table.dispersion_axis
    gaps = along_first(between_orders(order_table, frame.shape), axis)
    value, quality = along_first(frame.data, axis), along_first(frame.quality, axis)
    along, across, mean, error = _cells(value, quality, gaps, clip_sigma)
    if mean.size < _FEWEST_CELLS:
        raise AlgorithmError("too little room between the orders to see scattered light", cells=float(mean.size))
    surface = _Surface(gaps.shape, coefficients)
    solution, covariance = _penalised_fit(surface, along, across, mean, error)
    variance = surface.variance(covariance, axis) if with_variance else None
    return ScatteredLight(surface.image(solution, axis), variance)


def _cells(value, quality, gaps, clip_sigma):
    """(along, across, mean, error) of cells with enough pixels."""
    stride = max(1, -(-np.count_nonzero(gaps) // _MOST_PIXELS))
    fewest = max(40 // stride, 8)
    return cell_means(value, quality, int(UNUSABLE), gaps, _CELL, stride, clip_sigma, fewest).T


class _Surface:
    """Tensor product of cubic B-splines over a frame."""

    def __init__(self, shape, coefficients):
        self.shape = shape
        self.counts = coefficients
        self._knots = [
            np.concatenate([[-0.5] * 3, np.linspace(-0.5, size - 0.5, count - 2), [size - 0.5] * 3])
            for size, count in zip(shape, coefficients, strict=True)
        ]

    def _basis(self, axis, position):
        return BSpline.design_matrix(position, self._knots[axis], 3).toarray()

    def design(self, along, across):
        """(points, coefficients)."""
        parts = self._basis(0, along)[:, :, None] * self._basis(1, across)[:, None, :]
        return parts.reshape(along.size, self.counts[0] * self.counts[1])

    def splines(self, along, across):
        """(first spline of each point along and across (points, 2), values of it and of the next three)."""
        rows = [BSpline.design_matrix(place, self._knots[k], 3) for k, place in enumerate((along, across))]
        first = np.stack([row.indices.reshape(-1, 4)[:, 0] for row in rows], axis=1).astype(np.int64)
        return first, np.stack([row.data.reshape(-1, 4) for row in rows], axis=1)

    def penalty(self):
        """Squared second differences along each direction."""
        along, across = (_second_differences(count) for count in self.counts)
        return np.kron(along, np.eye(self.counts[1])) + np.kron(np.eye(self.counts[0]), across)

    def image(self, solution, axis):
        """(ny, nx), the dispersion along `axis`."""
        # A part in a million of scattered light is nothing: single precision does.
        rows, columns = (
            self._basis(k, np.arange(self.shape[k], dtype=np.float64)).astype(np.float32) for k in (0, 1)
        )
        return _product(rows, solution.reshape(self.counts).astype(np.float32), columns, axis)

    def variance(self, covariance, axis):
        """As `image`, on a coarse grid, interpolated linearly: it is as smooth as the surface."""
        grids = [np.linspace(0, size - 1, 25) for size in self.shape]
        mesh = np.meshgrid(*grids, indexing="ij")
        design = self.design(mesh[0].ravel(), mesh[1].ravel())
        coarse = ((design @ covariance) * design).sum(axis=1).reshape(25, 25)
        weights = [_linear_weights(grid, size) for grid, size in zip(grids, self.shape, strict=True)]
        return _product(weights[0], coarse.astype(np.float32), weights[1], axis)


def _product(along, values, across, axis):
    """Values on a grid times weights of both directions; contiguous for either axis."""
    half = along @ values
    return half @ across.T if axis == 0 else across @ half.T


def _second_differences(count):
    difference = np.diff(np.eye(count), n=2, axis=0)
    return difference.T @ difference


def _linear_weights(grid, size):
    position = np.arange(size)
    return np.stack([np.interp(position, grid, unit) for unit in np.eye(grid.size)], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Means of cells, and the splines that describe them; see `_Surface`."""

    mean: np.ndarray
    design: np.ndarray
    first: np.ndarray
    values: np.ndarray
    across: int

    @classmethod
    def on(cls, surface, along, across, mean):
        return cls(mean, surface.design(along, across), *surface.splines(along, across), surface.counts[1])

    def normal_equations(self, weight):
        """(matrix, right side), the matrix with a ridge that keeps it from being singular."""
        size = self.design.shape[1]
        normal, right = np.zeros((size, size)), np.zeros(size)
        surface_products(self.first, self.values, self.across, self.mean, weight, normal, right)
        normal += 1e-7 * np.trace(normal) / size * np.eye(size)
        return normal, right

    def residual(self, solution):
        return self.mean - self.design @ solution


def _penalised_fit(surface, along, across, mean, error):
    """(solution, covariance) with the smoothness of least generalised cross-validation score."""
    cells, penalty = _Cells.on(surface, along, across, np.ascontiguousarray(mean)), surface.penalty()
    # Cells of many pixels see structure finer than any surface: their errors are not below a tenth of the median.
    error = np.hypot(error, 0.3 * np.median(error))
    weight, scale = error**-2.0, 1.0
    solution, inverse, chi2, freedom, smoothness = _least_score(cells, penalty, weight)
    for number in range(_REWEIGHTINGS):
        pull = np.abs(cells.residual(solution)) / error
        scale = max(1.0, 1.4826 * float(np.median(pull)))
        huber = np.minimum(1.0, 2.5 * scale / np.maximum(pull, 1e-12))
        huber = np.where(pull > 8.0 * scale, 0.0, huber)
        if number < _REWEIGHTINGS - 1:  # the smoothness hardly changes: it is chosen anew at the end
            solution = _solution(cells, penalty, weight * huber, smoothness)
        else:
            solution, inverse, chi2, freedom, _ = _least_score(cells, penalty, weight * huber)
    pull = np.abs(cells.residual(solution)) / error
    scale = max(1.0, 1.4826 * float(np.median(pull)))
    return solution, inverse * max(1.0, scale**2, chi2 / max(freedom, 1.0))


def _solution(cells, penalty, weight, smoothness):
    """Coefficients with a smoothness in units of the normal matrix."""
    normal, target = cells.normal_equations(weight)
    strength = smoothness * np.trace(normal) / np.trace(penalty)
    return cho_solve(cho_factor(normal + strength * penalty, check_finite=False), target, check_finite=False)


def _least_score(cells, penalty, weight):
    """Coefficients, their covariance, chi^2, degrees of freedom and smoothness of least score."""
    normal, target = cells.normal_equations(weight)
    # A cell's weight in units of the normal matrix makes the smoothing parameter free of units.
    unit = np.trace(normal) / np.trace(penalty)
    # In the modes that both matrices share every smoothness costs one division.
    stiffness, modes = eigh(penalty, normal, driver="gvd", check_finite=False)
    coordinates = modes.T @ target
    mean = cells.mean
    total = float((weight * mean**2).sum())
    best = None
    for smoothness in 10.0 ** np.arange(-7.0, 3.5, 0.5):
        shrink = 1.0 / (1.0 + unit * smoothness * np.maximum(stiffness, 0.0))
        chi2 = max(total - float((coordinates**2 * shrink * (2.0 - shrink)).sum()), 1e-300)
        freedom = max(mean.size - float(shrink.sum()), 1.0)
        score = mean.size * chi2 / freedom**2
        if best is None or score < best[0]:
            best = (score, shrink, chi2, freedom, smoothness)
    _, shrink, chi2, freedom, smoothness = best
    return modes @ (shrink * coordinates), (modes * shrink) @ modes.T, chi2, freedom, smoothness
