"""Wavelength, slit position and order of every pixel: the dispersion solution read backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.polynomial.legendre import Legendre

from soxs_recipes.data.dispersion_solution import DispersionSolution, OrderSurface
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.pixel_maps import OrderLines, OrderMaps, PixelMaps
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.dispersion.pixel_map_kernels import invert_places, order_lines, still_owned

__all__ = ["invert_surface", "order_maps", "pixel_maps"]

_NODES = (24, 6)  # along the dispersion, along the slit
_FINER_NODES = (60, 9)
_CLOSURE = 1.0e-4  # [px] aimed at
_WORST_CLOSURE = 5.0e-3  # [px] accepted
_NEWTON_STEPS = 30
_CURVE_DEGREE = 8
_TILT_ALLOWANCE = 0.015  # of an order's wavelength range


@dataclass(frozen=True, slots=True)
class _Strip:
    """An order on the detector: middle and half width across, as functions of the place along the dispersion."""

    first: int
    last: int
    middle: Legendre
    half: Legendre


def pixel_maps(solution: DispersionSolution, shape: tuple[int, int], **settings) -> PixelMaps:
    """`order_maps`, its parameters and errors, as images: NaN and 0 outside the orders, no hole inside."""
    maps = order_maps(solution, shape, **settings)
    wavelength, slit, order = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int16)
    for number, lines in maps.lines.items():
        for image, values in ((wavelength, lines.wavelength), (slit, lines.slit), (order, number)):
            image.reshape(-1)[lines.index] = values
    return PixelMaps(wavelength, slit, order)


def order_maps(
    solution: DispersionSolution,
    shape: tuple[int, int],
    *,
    dispersion_axis: int,
    order_table: OrderTable | None = None,
    slit_half_length: float = 6.0,
    margin: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    wavelength_ranges: Mapping[int, tuple[float, float]] | None = None,
) -> OrderMaps:
    """Wavelength and slit position at every pixel centre inside the orders.

    Parameters
    ----------
    solution : DispersionSolution
    shape : (ny, nx)
    dispersion_axis : int
    order_table : OrderTable, optional
        With edges: pixels between them belong to the order. Otherwise those within `slit_half_length` of
        mid-slit do.
    slit_half_length : float [arcsec]
    margin : float [px]
        The strip is made wider by this much on both sides.
    shift : (dx, dy) [px]
        Of this exposure against the solution (and the edges), as by flexure.
    wavelength_ranges : mapping of int to (low, high) [nm], optional
        Per order; pixels beyond are left out. Default: the solution's wavelength domain. Where edges are given,
        the range in which the order was traced decides instead.

    Returns
    -------
    OrderMaps
        Closed (place -> wavelength, slit -> place) to 1e-4 px as a rule and 0.005 px always.

    Raises
    ------
    AlgorithmError
        When an order cannot be inverted to that accuracy.

    Notes
    -----
    On each order's strip, straightened by its own edges, the inverse is as smooth as the solution: it is found by
    Newton's method at Chebyshev nodes and evaluated everywhere as a product of one-dimensional series.
    """
    moved = solution.shifted(*shift)
    owner, found = np.zeros(shape[0] * shape[1], dtype=np.int16), {}
    across_shift = shift[0] if dispersion_axis == 0 else shift[1]
    along_shift = shift[1] if dispersion_axis == 0 else shift[0]
    for number in moved.orders:
        surface = moved.surface(number)
        limits = (wavelength_ranges or {}).get(number, surface.wavelength_domain)
        by_edges = (
            order_table is not None and number in order_table.orders and order_table[number].lower is not None
        )
        if by_edges:  # the order's own extent decides, and a tilted slit reaches over both ends
            limits = _widened(limits, _TILT_ALLOWANCE)
        limits = _monotonic(surface, limits, dispersion_axis)
        if by_edges:
            trace = order_table[number]
            strip = _strip_of_edges(
                trace, surface, limits, shape, dispersion_axis, margin, along_shift, across_shift
            )
        else:
            strip = _strip_of_slit(surface, limits, shape, dispersion_axis, slit_half_length, margin)
        if strip is not None:
            found[number] = _lines(number, surface, strip, limits, dispersion_axis, owner, shape)
    return OrderMaps(
        {number: lines for number in sorted(found) if (lines := _trimmed(owner, number, found[number]))}, shape
    )


def _trimmed(owner, number, lines) -> OrderLines | None:
    """What is left to an order where several meet, without empty lines at its ends; None when that is nothing."""
    index, start, wavelength, slit = still_owned(owner, number, *lines)
    filled = np.flatnonzero(np.diff(start))
    if not filled.size:
        return None
    return OrderLines(index, start[filled[0] : filled[-1] + 2], wavelength, slit)


def _axes(values, dispersion_axis):
    """(along, across) of a pair (x, y)."""
    return (values[1], values[0]) if dispersion_axis == 0 else (values[0], values[1])


def _widened(limits, share):
    extra = share * (limits[1] - limits[0])
    return limits[0] - extra, limits[1] + extra


def _monotonic(surface, limits, dispersion_axis):
    """The part of a wavelength range, about its middle, in which the order never turns back."""
    wavelength = np.linspace(*limits, 401)
    ends = np.array([[-6.0], [0.0], [6.0]])
    slope = _axes(surface.wavelength_derivative(wavelength[None, :], ends), dispersion_axis)[0]
    forward = (np.sign(slope) == np.sign(slope[1, 200])).all(axis=0)
    wrong = np.flatnonzero(~forward)
    low, high = wrong[wrong < 200], wrong[wrong >= 200]
    first = int(low[-1]) + 2 if low.size else 0
    last = int(high[0]) - 2 if high.size else 400
    if last - first < 200:
        raise AlgorithmError("the dispersion solution turns back inside an order's wavelength range")
    return float(wavelength[first]), float(wavelength[last])


def _curve(surface, limits, slit, dispersion_axis):
    """(along, across) of one slit position, along ascending."""
    wavelength = np.linspace(*limits, 200)
    along, across = _axes(surface.evaluate(wavelength, np.full(200, slit)), dispersion_axis)
    if along[0] > along[-1]:
        along, across = along[::-1], across[::-1]
    return along, across


def _span(curves, pixels):
    """First pixel along the dispersion that any slit position reaches, and the one after the last."""
    low = min(float(along[0]) for along in curves)
    high = max(float(along[-1]) for along in curves)
    return max(int(np.ceil(low)), 0), min(int(np.floor(high)) + 1, pixels)


def _strip_of_slit(surface, limits, shape, dispersion_axis, half_length, margin):
    """Strip between both ends of the slit; None where the order lies off the frame."""
    lower = _curve(surface, limits, -half_length, dispersion_axis)
    upper = _curve(surface, limits, half_length, dispersion_axis)
    first, last = _span((lower[0], upper[0]), shape[dispersion_axis])
    if last - first < 2:
        return None
    domain = (min(lower[0][0], upper[0][0]), max(lower[0][-1], upper[0][-1]))
    ends = [Legendre.fit(*curve, _CURVE_DEGREE, domain=domain) for curve in (lower, upper)]
    if ends[0](0.5 * (first + last)) > ends[1](0.5 * (first + last)):
        ends.reverse()
    return _Strip(first, last, 0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]) + margin)


def _strip_of_edges(trace, surface, limits, shape, dispersion_axis, margin, along_shift, across_shift):
    """Strip between the edges of a slit flat."""
    curve = _curve(surface, limits, 0.0, dispersion_axis)
    tilt = _curve(surface, limits, 6.0, dispersion_axis), _curve(surface, limits, -6.0, dispersion_axis)
    first, last = _span((curve[0], tilt[0][0], tilt[1][0]), shape[dispersion_axis])
    domain = tuple(limit + along_shift for limit in trace.along_domain)
    first = max(first, int(np.ceil(domain[0] - 0.5)))
    last = min(last, int(np.floor(domain[1] + 0.5)) + 1)
    if last - first < 2:
        return None
    lower, upper = (Legendre(coefficients, domain=domain) for coefficients in (trace.lower, trace.upper))
    degree = max(lower.degree(), upper.degree())
    lower, upper = (Legendre(np.pad(c.coef, (0, degree - c.degree())), domain=domain) for c in (lower, upper))
    return _Strip(first, last, 0.5 * (lower + upper) + across_shift, 0.5 * (upper - lower) + margin)


def _lines(number, surface, strip, limits, dispersion_axis, owner, shape):
    """`order_lines` of one order."""
    coefficients, span = _inverse_series(surface, strip, limits, dispersion_axis)
    along = np.arange(strip.first, strip.last, dtype=np.float64)
    u = (2.0 * along - span[0] - span[1]) / (span[1] - span[0])
    series = np.array([chebvander(u, c.shape[0] - 1) @ c for c in coefficients])
    steps = (shape[1], 1, shape[1]) if dispersion_axis == 0 else (1, shape[1], shape[0])
    return order_lines(owner, steps, number, series, strip.first, strip.middle(along), strip.half(along), limits)


def _inverse_series(surface, strip, limits, dispersion_axis):
    """Chebyshev coefficients of wavelength and slit position on the strip, and the range along that u spans."""
    span = (strip.first - 1.0, float(strip.last))
    worst = np.inf
    for nodes in (_NODES, _FINER_NODES):
        u, v = (np.cos(np.pi * (np.arange(n) + 0.5) / n) for n in nodes)
        wavelength, slit = _at_nodes(surface, strip, span, u, v, limits, dispersion_axis)
        inverse = [_interpolation(n) for n in nodes]
        coefficients = [inverse[0] @ values @ inverse[1].T for values in (wavelength, slit)]
        worst = _closure(surface, strip, span, coefficients, dispersion_axis)
        if worst < _CLOSURE:
            break
    if not worst < _WORST_CLOSURE:
        raise AlgorithmError("the dispersion solution could not be inverted", closure_pixels=worst)
    return coefficients, span


def _interpolation(n):
    """Matrix from values at n Chebyshev nodes to coefficients."""
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    matrix = chebvander(nodes, n - 1).T * (2.0 / n)
    matrix[0] *= 0.5
    return matrix


def _places(strip, span, u, v):
    along = 0.5 * (span[0] + span[1]) + 0.5 * (span[1] - span[0]) * u
    across = strip.middle(along)[:, None] + strip.half(along)[:, None] * v[None, :]
    return np.broadcast_to(along[:, None], across.shape), across


def _at_nodes(surface, strip, span, u, v, limits, dispersion_axis):
    along, across = _places(strip, span, u, v)
    x, y = (across, along) if dispersion_axis == 0 else (along, across)
    return invert_surface(surface, x, y, limits, dispersion_axis=dispersion_axis)


def _closure(surface, strip, span, coefficients, dispersion_axis):
    """Largest distance [px] between places and the solution at the wavelength and slit position given to them."""
    u, v = np.linspace(-1.0, 1.0, 101), np.linspace(-1.0, 1.0, 11)
    along, across = _places(strip, span, u, v)
    wavelength, slit = (chebvander(u, c.shape[0] - 1) @ c @ chebvander(v, c.shape[1] - 1).T for c in coefficients)
    found_along, found_across = _axes(surface.evaluate(wavelength, slit), dispersion_axis)
    return float(np.hypot(found_along - along, found_across - across).max())


def invert_surface(
    surface: OrderSurface,
    x: np.ndarray,
    y: np.ndarray,
    limits: tuple[float, float],
    *,
    dispersion_axis: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength [nm] and slit position [arcsec] of places on the detector, by Newton's method.

    Parameters
    ----------
    surface : OrderSurface
    x, y : ndarray [px]
    limits : (low, high) [nm]
        Range in which the start is looked for; the answer may lie beyond.
    dispersion_axis : int

    Returns
    -------
    wavelength, slit : ndarray, the shape of `x`
        To 1e-9 px; NaN where the iteration did not converge.
    """
    x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    start = _start(surface, x, y, limits, dispersion_axis)
    found = invert_places(
        np.array([surface.x_matrix, surface.y_matrix]),
        np.array([surface.wavelength_domain, surface.slit_domain], dtype=np.float64),
        np.array([x.ravel(), y.ravel()]),
        start.ravel(),
        limits[1] - limits[0],
        _NEWTON_STEPS,
    )
    return found[0].reshape(x.shape), found[1].reshape(x.shape)


def _start(surface, x, y, limits, dispersion_axis):
    """Wavelength of mid-slit at the same place along the dispersion."""
    along = y if dispersion_axis == 0 else x
    grid = np.linspace(*limits, 200)
    curve = _axes(surface.evaluate(grid, np.zeros(200)), dispersion_axis)[0]
    ascending = np.argsort(curve, kind="stable")
    return np.interp(along, curve[ascending], grid[ascending])
