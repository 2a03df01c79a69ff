"""Figures of order edges: how far the measured ones lie from their polynomials, and the lamp across the orders."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.plots.style import ACCENT, INK, MUTED, new_figure, order_colour, robust_limits

__all__ = ["figure_cross_sections", "figure_edge_residuals"]

_SECTIONS = (0.1, 0.5, 0.9)  # of the frame's length along the dispersion
_HALF_BAND = 4  # px averaged along the dispersion


def figure_edge_residuals(samples: Mapping[str, np.ndarray], table: OrderTable, title: str) -> Figure:
    """Measured edges minus the polynomials, and the length of the slit along each order.

    Parameters
    ----------
    samples : mapping of column name -> ndarray (n,)
        `ORDER`, `SIDE` (negative: lower), `ALONG`, `EDGE`, `ERROR` [px], `DETECTED`, `USED`.
    table : OrderTable
    title : str
    """
    figure, axes = new_figure(title, rows=3, size=(12, 9), sharex=True)
    order, side = np.asarray(samples["ORDER"]), np.asarray(samples["SIDE"])
    used, detected = np.asarray(samples["USED"], bool), np.asarray(samples["DETECTED"], bool)
    residual = np.full(order.shape, np.nan)
    for position, trace in enumerate(table.traces):
        colour = order_colour(position)
        along = np.linspace(*trace.along_domain, 300)
        low, high = trace.edges_at(along)
        axes[2, 0].plot(along, high - low, color=colour, lw=0.9)
        for lower, axis in ((True, axes[0, 0]), (False, axes[1, 0])):
            own = (order == trace.order) & ((side < 0) == lower) & detected
            fitted = trace.edges_at(samples["ALONG"][own])[0 if lower else 1]
            residual[own] = samples["EDGE"][own] - fitted
            axis.scatter(samples["ALONG"][own & used], residual[own & used], s=5, lw=0, color=colour)
            axis.scatter(
                samples["ALONG"][own & ~used], residual[own & ~used], s=14, lw=0.7, marker="x", color=ACCENT
            )
    limits = robust_limits(residual[used], 0.1, 99.9, 0.4)
    for axis, name, lower in ((axes[0, 0], "lower", True), (axes[1, 0], "upper", False)):
        chosen = used & detected & ((side < 0) == lower)
        rms = float(np.sqrt(np.mean(residual[chosen] ** 2))) if chosen.any() else np.nan
        _name(axis, f"{name} edges: rms {rms:.3f} px, × left out")
        axis.axhline(0, color=MUTED, lw=0.6)
        axis.set_ylim(*limits)
        axis.set_ylabel("measured $-$ fitted [px]")
    axes[2, 0].set_ylabel("length of the slit [px]")
    axes[2, 0].set_xlabel(f"{'y' if table.dispersion_axis == 0 else 'x'} [px], along the dispersion")
    return figure


def _name(axis: Axes, text: str) -> None:
    """Above the data, inside the axes: what stands close by leaves no room for a title."""
    axis.text(0.01, 0.95, text, transform=axis.transAxes, fontsize=9, color=INK, va="top")


def figure_cross_sections(image: np.ndarray, table: OrderTable, title: str) -> Figure:
    """The lamp's light across the orders at three places, with the edges that were found.

    Parameters
    ----------
    image : ndarray (ny, nx) [e-]
        A flat before the blaze was divided out.
    table : OrderTable
    title : str
    """
    figure, axes = new_figure(title, rows=len(_SECTIONS), size=(12, 9), sharex=True)
    axis_of_dispersion = table.dispersion_axis
    length = image.shape[axis_of_dispersion]
    for axis, part in zip(axes[:, 0], _SECTIONS, strict=True):
        middle = int(part * (length - 1))
        band = slice(max(middle - _HALF_BAND, 0), middle + _HALF_BAND + 1)
        light = np.mean(image[band] if axis_of_dispersion == 0 else image[:, band], axis=axis_of_dispersion)
        axis.plot(light, color=INK, lw=0.7)
        axis.set_ylim(*robust_limits(light, 0.5, 99.5, 0.12))
        for position, trace in enumerate(table.traces):
            low, high = trace.along_domain
            if not low <= middle <= high:
                continue
            for edge in trace.edges_at(np.array([float(middle)])):
                axis.axvline(float(edge[0]), color=order_colour(position), lw=0.8)
        name = "y" if axis_of_dispersion == 0 else "x"
        _name(axis, f"{name} = {middle} px")
        axis.set_ylabel("lamp [e$^-$]")
    axes[-1, 0].set_xlabel(f"{'x' if axis_of_dispersion == 0 else 'y'} [px], across the orders")
    return figure
