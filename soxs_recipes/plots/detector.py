"""Figures of detector frames: masters, flats with their orders, sky subtraction."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.quality import is_usable
from soxs_recipes.plots.style import (
    ACCENT,
    INK,
    MUTED,
    counted,
    draw_counts,
    is_part_of_window,
    new_figure,
    order_colour,
    robust_limits,
    show_image,
)

__all__ = ["figure_master", "figure_order_table", "figure_sky_subtraction"]


def figure_master(frame: Frame, title: str, unit: str = "e⁻") -> Figure:
    """A master frame, its error map, its histogram and its mean profiles along both axes.

    Unusable pixels are left out of histogram and profiles.
    """
    figure, axes = new_figure(title, rows=2, columns=2, size=(12, 8.5), bars=True)
    show_image(axes[0, 0], frame.data, unit)
    axes[0, 0].set_title("signal", fontsize=9, loc="left")
    show_image(axes[0, 1], frame.variance, unit, cmap="magma", through=np.sqrt)
    axes[0, 1].set_title("1 σ error", fontsize=9, loc="left")
    usable = frame.usable & np.isfinite(frame.data)
    good = frame.data[usable]
    limits = robust_limits(good[:: max(1, good.size // 1_000_000)], 0.1, 99.9)
    number, edges = counted(good, limits, 200)
    draw_counts(axes[1, 0], number, edges, INK)
    axes[1, 0].set_xlabel(f"signal [{unit}]")
    axes[1, 0].set_ylabel("pixels")
    axis = axes[1, 1]
    names = (("mean of rows, along y", INK), ("mean of columns, along x", ACCENT))
    for profile, (name, colour) in zip(_mean_profiles(frame.data, usable), names, strict=True):
        axis.plot(profile, color=colour, lw=0.7, label=name)
    axis.set_xlabel("pixel")
    axis.set_ylabel(f"mean signal [{unit}]")
    axis.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def figure_order_table(image: np.ndarray | None, table: OrderTable, title: str, unit: str = "") -> Figure:
    """Order centres and edges, over the frame when there is one."""
    figure, axes = new_figure(title, size=(10, 8), bars=image is not None)
    axis = axes[0, 0]
    if image is not None:
        lit = image[image != 1.0]  # a flat is exactly 1 between its orders
        show_image(axis, image, unit, robust_limits(lit[::7], 2, 98), cmap="gray")
    for position, trace in enumerate(table.traces):
        low, high = trace.along_domain
        along = np.linspace(low, high, 200)
        colour = order_colour(position)
        curves = [(trace.centre_at(along), "--")]
        if trace.lower is not None:
            curves += [(edge, "-") for edge in trace.edges_at(along)]
        for across, dashes in curves:
            x, y = (across, along) if table.dispersion_axis == 0 else (along, across)
            axis.plot(x, y, color=colour, lw=0.9, ls=dashes)
        middle = along[along.size // 2], float(trace.centre_at(along[along.size // 2 : along.size // 2 + 1])[0])
        where = middle[::-1] if table.dispersion_axis == 0 else middle
        axis.text(*where, str(trace.order), color=colour, fontsize=8, ha="center", va="center")
    axis.set_xlabel("x [px]")
    axis.set_ylabel("y [px]")
    return figure


def figure_sky_subtraction(
    subtracted: Frame,
    sky: np.ndarray,
    title: str,
    dispersion_axis: int,
    order_image: np.ndarray | None = None,
    every: int = 1,
) -> Figure:
    """Frame before and after sky subtraction, and residuals over their error.

    Parameters
    ----------
    subtracted : Frame [e-]
    sky : ndarray (ny, nx) [e-]
        The model that was subtracted.
    title : str
    dispersion_axis : int
    order_image : ndarray (ny, nx) int, optional
        0 outside orders; the histogram takes pixels inside only.
    every : int
        Of how many pixels of the detector, along either axis, the arrays hold one.
    """
    figure, axes = new_figure(title, rows=2, columns=2, size=(13, 9), bars=True)
    shape = tuple(every * size for size in (sky.shape if dispersion_axis == 1 else sky.shape[::-1]))
    turn = (lambda image: image.T) if dispersion_axis == 0 else (lambda image: image)
    data, variance = subtracted.data, subtracted.variance
    before = data + sky
    inside = is_usable(subtracted.quality) & (variance > 0)
    if order_image is not None:
        inside &= order_image > 0
    pull = np.zeros(before.shape, np.float32)
    np.divide(data, np.sqrt(variance), out=pull, where=inside)
    show_image(axes[0, 0], turn(before), "e⁻", robust_limits(before[inside], 1, 98), shape=shape)
    axes[0, 0].set_title("before sky subtraction", fontsize=9, loc="left")
    show_image(axes[0, 1], turn(data), "e⁻", robust_limits(data[inside], 1, 99), shape=shape)
    axes[0, 1].set_title("after", fontsize=9, loc="left")
    show_image(axes[1, 0], turn(pull), "σ", (-5, 5), cmap="RdBu_r", shape=shape)
    axes[1, 0].set_title("residual / error (the object stays)", fontsize=9, loc="left")
    for axis in (axes[0, 0], axes[0, 1], axes[1, 0]):
        if axis is not axes[0, 0] and is_part_of_window():  # zoomed together
            axis.sharex(axes[0, 0])
            axis.sharey(axes[0, 0])
        if dispersion_axis == 0:
            axis.set_xlabel("y [px]")
            axis.set_ylabel("x [px]")
    _pull_histogram(axes[1, 1], pull[inside])
    return figure


def _pull_histogram(axis, pulls: np.ndarray) -> None:
    # The outermost bins hold what lies beyond.
    number, edges = counted(np.clip(pulls, -5.999, 5.999), (-6.0, 6.0), 120)
    density = number / max(pulls.size * (edges[1] - edges[0]), 1e-12)
    draw_counts(axis, density, edges, INK, "pixels in orders")
    axis.plot(edges, np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi), color=ACCENT, lw=1, label="unit normal")
    axis.set_ylim(1e-6, 1)
    axis.set_xlabel("residual / error [σ]")
    axis.set_ylabel("density")
    axis.axvline(0, color=MUTED, lw=0.6)
    axis.legend(fontsize=8, frameon=False, loc="upper left")


def _mean_profiles(data: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of the usable pixels of each row and of each column; NaN where a whole line is unusable."""
    kept, weight = np.where(usable, data, np.float32(0.0)), usable.astype(np.float32)
    ones = [np.ones(size, np.float32) for size in data.shape]
    # Products of matrices are the quickest sums; single precision is more than a figure shows.
    sums = ((kept @ ones[1], weight @ ones[1]), (ones[0] @ kept, ones[0] @ weight))
    rows, columns = (
        np.divide(total, count, out=np.full(count.shape, np.nan, np.float32), where=count > 0)
        for total, count in sums
    )
    return rows, columns
