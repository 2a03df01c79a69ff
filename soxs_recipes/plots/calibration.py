"""Figures of dispersion solutions and responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from soxs_recipes.data.response import Response
from soxs_recipes.plots.style import (
    ACCENT,
    ERROR,
    MUTED,
    label_decades,
    new_figure,
    order_colour,
    robust_limits,
    shade_bands,
)

__all__ = ["figure_line_residuals", "figure_response"]


def figure_line_residuals(lines: Mapping[str, np.ndarray], title: str) -> Figure:
    """Where the arc lines lie and how far the solution misses them.

    Parameters
    ----------
    lines : mapping of column name -> ndarray (n,)
        `order`, `x`, `y` [px], `x_residual`, `y_residual` [px], `wavelength` [nm], `kept` (bool), `fwhm` [px].
    title : str
    """
    figure, axes = new_figure(title, rows=2, columns=2, size=(13, 9))
    kept = np.asarray(lines["kept"], bool)
    order = np.asarray(lines["order"])
    where, cloud, along, width = axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]
    for position, number in enumerate(np.unique(order)):
        chosen, colour = (order == number) & kept, order_colour(position)
        style = {"color": colour, "s": 6, "lw": 0}
        where.scatter(lines["x"][chosen], lines["y"][chosen], **style)
        cloud.scatter(lines["x_residual"][chosen], lines["y_residual"][chosen], **style)
        along.scatter(lines["wavelength"][chosen], lines["x_residual"][chosen], **style)
        along.scatter(
            lines["wavelength"][chosen], lines["y_residual"][chosen], marker="x", color=colour, s=7, lw=0.6
        )
        width.scatter(lines["wavelength"][chosen], lines["fwhm"][chosen], **style)
    where.scatter(lines["x"][~kept], lines["y"][~kept], color=ACCENT, marker="x", s=12, lw=0.7, label="rejected")
    where.set(xlabel="x [px]", ylabel="y [px]")
    where.set_title(f"{kept.sum()} lines used, {(~kept).sum()} rejected", fontsize=9, loc="left")
    where.legend(fontsize=8, frameon=False, loc="upper right")
    rms = [
        float(np.sqrt(np.mean(lines[name][kept] ** 2))) if kept.any() else np.nan
        for name in ("x_residual", "y_residual")
    ]
    cloud.set_title(f"rms x {rms[0]:.3f} px, y {rms[1]:.3f} px", fontsize=9, loc="left")
    cloud.set(xlabel="x residual [px]", ylabel="y residual [px]")
    for axis in (cloud, along):
        axis.axhline(0, color=MUTED, lw=0.6)
    cloud.axvline(0, color=MUTED, lw=0.6)
    width.sharex(along)
    along.set(xlabel="wavelength [nm, vacuum]", ylabel="residual [px]   • x   × y")
    along.set_ylim(
        *robust_limits(np.concatenate([lines["x_residual"][kept], lines["y_residual"][kept]]), 0.2, 99.8, 0.2)
    )
    width.set(xlabel="wavelength [nm, vacuum]", ylabel="FWHM [px]")
    width.set_ylim(*robust_limits(lines["fwhm"][kept], 1, 99, 0.3))
    return figure


def figure_response(
    response: Response,
    title: str,
    telluric_bands: Sequence[tuple[float, float]] = (),
    earlier: Response | None = None,
) -> Figure:
    """Response per order with its error, the efficiency, and both beside the median of earlier nights.

    Parameters
    ----------
    earlier : Response or None
        The archive's median; its error is the scatter of a night, level included.
    """
    rows = 2 if earlier is None else 3
    figure, axes = new_figure(title, rows=rows, size=(12, 3.75 * rows), sharex=True)
    curve, efficiency = axes[:2, 0]
    for position, number in enumerate(np.unique(response.order)):
        chosen = (response.order == number) & np.isfinite(response.response) & (response.response > 0)
        if not chosen.any():
            continue
        colour, wavelength = order_colour(position), response.wavelength[chosen]
        value, error = response.response[chosen], response.error[chosen]
        curve.fill_between(wavelength, np.maximum(value - error, 0.01 * value), value + error, color=ERROR, lw=0)
        curve.plot(wavelength, value, color=colour, lw=0.9)
        efficiency.plot(wavelength, 100 * response.efficiency[chosen], color=colour, lw=0.9)
        if earlier is not None:
            _beside_earlier(axes[:, 0], response, earlier, int(number), colour)
    curve.set_yscale("log")
    label_decades(curve.yaxis)
    curve.set_ylabel("response [erg cm⁻² Å⁻¹ / (e⁻ nm⁻¹)]")
    efficiency.set_ylabel("efficiency above\nthe atmosphere [%]")
    efficiency.set_ylim(0, robust_limits(100 * response.efficiency, 0, 99.5, 0.15)[1])
    if earlier is not None:
        axes[2, 0].axhline(1.0, color=MUTED, lw=0.6)
        axes[2, 0].set_ylabel("sensitivity over the\nearlier nights' median")
        axes[2, 0].set_ylim(0.8, 1.2)
    axes[-1, 0].set_xlabel("wavelength [nm, vacuum]")
    for axis in axes[:, 0]:
        shade_bands(axis, telluric_bands, "telluric bands")
    return figure


def _beside_earlier(axes, response: Response, earlier: Response, number: int, colour: str) -> None:
    """One order of the earlier nights' median behind the new curve, and the ratio of both."""
    own, other = response.order == number, earlier.order == number
    if other.sum() < 2:
        return
    wavelength, median = earlier.wavelength[other], earlier.response[other]
    relative = earlier.error[other] / median
    axes[0].fill_between(
        wavelength, median / (1 + relative), median * (1 + relative), color=MUTED, lw=0, alpha=0.3
    )
    at = response.wavelength[own]
    inside = (at >= wavelength[0]) & (at <= wavelength[-1])
    ratio = np.interp(at[inside], wavelength, median) / response.response[own][inside]
    axes[2].fill_between(wavelength, 1 - relative, 1 + relative, color=ERROR, lw=0)
    axes[2].plot(at[inside], ratio, color=colour, lw=0.9)
