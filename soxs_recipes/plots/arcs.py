"""Figures of arc frames: which lines were identified where, and where a solution puts wavelength and slit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soxs_recipes.data.dispersion_solution import DispersionSolution
from soxs_recipes.plots.style import ACCENT, INK, MUTED, new_figure, order_colour, robust_limits, show_image

__all__ = ["draw_line_cutout", "figure_identified_lines", "figure_solution_map"]

_TICKS = 9  # wavelengths that are named along an order
_ENDS_OF_SLIT = 5.0  # arcsec from mid-slit: where the slit's image is drawn to
_MANY = 2000  # lines, of which marks are small
_HALF_CUT = 12  # px about a line


def figure_identified_lines(image: np.ndarray, lines: Mapping[str, np.ndarray], title: str) -> Figure:
    """The arc frame with the lines that hold the solution, those left out, and those not found.

    Parameters
    ----------
    image : ndarray (ny, nx) [e-]
    lines : mapping of column name -> ndarray (n,)
        `x`, `y`, `x_predicted`, `y_predicted` [px], `kept` (bool), `reason`.
    title : str
    """
    figure, axes = new_figure(title, size=(11, 9), bars=True)
    axis = axes[0, 0]
    low, high = robust_limits(image[::3, ::3], 5, 99.3)
    show_image(axis, image, "e$^-$", (low, high), cmap="gray_r")
    kept, reason = np.asarray(lines["kept"], bool), np.asarray(lines["reason"]).astype(str)
    missed = np.char.strip(reason) == "NOT_FOUND"
    marks = (
        (kept, "x", "y", "o", order_colour(0), "used"),
        (~kept & ~missed & np.isfinite(lines["x"]), "x", "y", "s", ACCENT, "measured, left out"),
        (missed, "x_predicted", "y_predicted", "+", order_colour(2), "expected, not found"),
    )
    for chosen, x, y, marker, colour, label in marks:
        face = {"color": colour} if marker == "+" else {"facecolor": "none", "edgecolor": colour}
        text = f"{label} ({chosen.sum()})"
        size = 26 if kept.size < _MANY else 7
        axis.scatter(lines[x][chosen], lines[y][chosen], s=size, marker=marker, lw=0.8, label=text, **face)
    axis.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(-0.5, image.shape[0] - 0.5))
    axis.legend(fontsize=8, loc="upper right", framealpha=0.85)
    return figure


def figure_solution_map(
    solution: DispersionSolution, ranges: Sequence[tuple[int, float, float]], shape: tuple[int, int], title: str
) -> Figure:
    """Where each order lies, with wavelengths named along it and the slit's image at each of them.

    Parameters
    ----------
    solution : DispersionSolution
    ranges : sequence of (order, first, last wavelength [nm])
    shape : (ny, nx) of the frame
    title : str
    """
    figure, axes = new_figure(title, size=(10, 8))
    axis = axes[0, 0]
    for position, (order, first, last) in enumerate(ranges):
        if order not in solution.orders:
            continue
        colour = order_colour(position)
        wavelength = np.linspace(first, last, 200)
        axis.plot(*solution.evaluate(order, wavelength, 0.0), color=colour, lw=0.8)
        for value in _round_values(first, last):
            x, y = solution.evaluate(order, value, np.linspace(-_ENDS_OF_SLIT, _ENDS_OF_SLIT, 9))
            axis.plot(x, y, color=colour, lw=1.2)
            if 0 <= x[4] < shape[1] and 0 <= y[4] < shape[0]:
                end = int(np.argmax(x))
                axis.annotate(
                    f"{value:g}",
                    (x[end], y[end]),
                    textcoords="offset points",
                    xytext=(2, 2),
                    fontsize=6,
                    color=INK,
                )
    axis.set(xlim=(-0.5, shape[1] - 0.5), ylim=(-0.5, shape[0] - 0.5), xlabel="x [px]", ylabel="y [px]")
    axis.set_title("wavelengths [nm, vacuum] and the slit's image at each", fontsize=9, loc="left")
    return figure


def _round_values(first: float, last: float) -> np.ndarray:
    """Round wavelengths between two, some `_TICKS` of them."""
    raw = (last - first) / _TICKS
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return np.arange(np.ceil(first / step) * step, last, step)


def draw_line_cutout(axis: Axes, image: np.ndarray, line: Mapping[str, object]) -> None:
    """The pixels about one line with its measured, fitted and predicted place.

    Parameters
    ----------
    axis : Axes
    image : ndarray (ny, nx)
    line : mapping
        One row of the line table.
    """
    x, y = (float(line[name]) for name in ("x", "y"))
    if not np.isfinite([x, y]).all():
        x, y = float(line["x_predicted"]), float(line["y_predicted"])
    left, bottom = (max(round(value) - _HALF_CUT, 0) for value in (x, y))
    cut = image[bottom : bottom + 2 * _HALF_CUT + 1, left : left + 2 * _HALF_CUT + 1]
    height, width = cut.shape
    low, high = robust_limits(cut, 2, 99.8)
    extent = (left - 0.5, left + width - 0.5, bottom - 0.5, bottom + height - 0.5)
    axis.imshow(cut, origin="lower", cmap="gray_r", vmin=low, vmax=high, extent=extent, interpolation="nearest")
    for names, marker, colour, label in (
        (("x_predicted", "y_predicted"), "+", MUTED, "predicted"),
        (("x_fit", "y_fit"), "x", order_colour(0), "solution"),
        (("x", "y"), "o", ACCENT, "measured"),
    ):
        place = [float(line[name]) for name in names]
        if np.isfinite(place).all():
            face = {"facecolor": "none", "edgecolor": colour} if marker == "o" else {"color": colour}
            axis.scatter(*place, marker=marker, s=60, lw=1.2, label=label, **face)
    axis.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    axis.legend(fontsize=6, loc="lower center", ncols=3, framealpha=0.8, handletextpad=0.1, columnspacing=0.6)
