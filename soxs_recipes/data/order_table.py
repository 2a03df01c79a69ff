"""Where each order runs on the detector: centre and edges as polynomials along the dispersion axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legval

from soxs_recipes.data.dispersion_solution import scaled

__all__ = ["OrderTable", "OrderTrace"]


@dataclass(frozen=True, slots=True)
class OrderTrace:
    """One order's trace.

    Attributes
    ----------
    order : int
    along_domain : (low, high) [px]
        Range along the dispersion axis in which the order was measured; also the polynomials' [-1, 1].
    centre, lower, upper : ndarray float64
        Legendre coefficients of the across-dispersion coordinate [px] of centre and edges; edges are None
        until a slit flat has given them. `lower` has the smaller pixel coordinate.
    residual : float
        rms [px] of the measured centres about the polynomial.
    """

    order: int
    along_domain: tuple[float, float]
    centre: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    residual: float = float("nan")

    def centre_at(self, along: np.ndarray) -> np.ndarray:
        """Centre [px] at positions along the dispersion axis [px]."""
        return legval(scaled(along, self.along_domain), self.centre)

    def edges_at(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(lower, upper) edge [px], half-flux points of the slit function; ValueError before edges are known."""
        if self.lower is None or self.upper is None:
            raise ValueError(f"order {self.order} has no edges yet")
        position = scaled(along, self.along_domain)
        return legval(position, self.lower), legval(position, self.upper)


@dataclass(frozen=True, slots=True)
class OrderTable:
    """All orders of an arm.

    Attributes
    ----------
    traces : tuple of OrderTrace, ascending order number
    dispersion_axis : int
        numpy axis along which wavelength runs.
    binning : (y, x)
    """

    traces: tuple[OrderTrace, ...]
    dispersion_axis: int
    binning: tuple[int, int] = (1, 1)

    @property
    def orders(self) -> tuple[int, ...]:
        """All order numbers."""
        return tuple(trace.order for trace in self.traces)

    def __getitem__(self, order: int) -> OrderTrace:
        for trace in self.traces:
            if trace.order == order:
                return trace
        raise KeyError(f"order {order} is not in this table, which holds {self.orders}")

    @property
    def has_edges(self) -> bool:
        """Whether every order has edges."""
        return all(trace.lower is not None for trace in self.traces)

    def rebinned(self, binning: tuple[int, int]) -> OrderTable:
        """The same orders in pixels of another binning (y, x)."""
        factors = [new / old for new, old in zip(binning, self.binning, strict=True)]
        along, across = factors if self.dispersion_axis == 0 else factors[::-1]
        if along == across == 1.0:
            return self
        traces = tuple(
            replace(
                trace,
                along_domain=tuple((limit + 0.5) / along - 0.5 for limit in trace.along_domain),
                residual=trace.residual / across,
                **{name: _scaled_curve(getattr(trace, name), across) for name in ("centre", "lower", "upper")},
            )
            for trace in self.traces
        )
        return replace(self, traces=traces, binning=tuple(binning))

    def shifted(self, along: float, across: float) -> OrderTable:
        """The same table moved along and across the dispersion [px], as flexure moves an exposure."""
        return replace(self, traces=tuple(_moved_trace(trace, along, across) for trace in self.traces))

    def order_image(self, shape: tuple[int, int], margin: float = 0.0) -> np.ndarray:
        """Order number of each pixel, 0 between orders.

        Parameters
        ----------
        shape : (ny, nx)
        margin : float [px]
            Edges are moved outwards by this much (inwards when negative).

        Returns
        -------
        ndarray (ny, nx) int16
            A pixel belongs to an order when its centre lies between the edges and inside `along_domain`.
        """
        image = np.zeros(shape, dtype=np.int16)
        across_axis = 1 - self.dispersion_axis
        view = image if self.dispersion_axis == 0 else image.T
        along = np.arange(shape[self.dispersion_axis], dtype=np.float64)
        across = np.arange(shape[across_axis])
        for trace in self.traces:
            lower, upper = trace.edges_at(along)
            first, last = max(int((lower - margin).min()), 0), max(int((upper + margin).max()) + 2, 0)
            span = across[first:last]
            inside = (span[None, :] >= (lower - margin)[:, None]) & (span[None, :] <= (upper + margin)[:, None])
            low, high = trace.along_domain
            inside &= ((along >= low - 0.5) & (along <= high + 0.5))[:, None]
            view[:, first:last][inside] = trace.order
        return image


def _scaled_curve(coefficients: np.ndarray | None, factor: float) -> np.ndarray | None:
    if coefficients is None:
        return None
    moved = coefficients / factor
    moved[0] += 0.5 / factor - 0.5
    return moved


def _moved_trace(trace: OrderTrace, along: float, across: float) -> OrderTrace:
    low, high = trace.along_domain
    moved = {}
    for name in ("centre", "lower", "upper"):
        curve = getattr(trace, name)
        if curve is not None:
            moved[name] = np.concatenate([[curve[0] + across], curve[1:]])
    return replace(trace, along_domain=(low + along, high + along), **moved)
