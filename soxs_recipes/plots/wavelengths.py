"""Figures of how well wavelengths hold: against the night sky, and between arcs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from soxs_recipes.plots.style import (
    ACCENT,
    ERROR,
    INK,
    MUTED,
    label_places,
    new_figure,
    order_colour,
    robust_limits,
    shade_bands,
)

__all__ = ["figure_drift", "figure_line_check"]

_LIGHT_SPEED = 299792.458  # km/s


def figure_line_check(
    lines: Mapping[str, np.ndarray],
    orders: Mapping[str, np.ndarray],
    title: str,
    telluric_bands: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Shift of every order with its error, and what every line is off by.

    Parameters
    ----------
    lines : mapping of column name -> ndarray (n,)
        `ORDER`, `WAVELENGTH` [nm], `RESIDUAL`, `ERROR` [nm], `USED`.
    orders : mapping of column name -> ndarray (m,)
        `ORDER`, `BAND`, `WAVELENGTH` [nm], `SHIFT`, `ERROR` [px], `N_LINES`, `R_SKY`, `TELL_SHIFT`,
        `TELL_ERROR`, `TEMPLATE_SHIFT`, `TEMPLATE_ERROR`, `SOURCE`.
    title : str
    telluric_bands : sequence of (low, high) [nm]
    """
    figure, axes = new_figure(title, rows=3, size=(12, 10))
    shifts, residuals, power = axes[:, 0]
    sequence = np.argsort(orders["WAVELENGTH"])
    columns = {name: np.asarray(values)[sequence] for name, values in orders.items()}
    _order_shifts(shifts, columns)
    _residuals(residuals, lines, columns["ORDER"])
    _resolving_powers(power, columns)
    for axis in (residuals, power):
        axis.set_xlim(*robust_limits(np.concatenate([lines["WAVELENGTH"], columns["WAVELENGTH"]]), 0, 100, 0.03))
        shade_bands(axis, telluric_bands, "telluric bands")
    residuals.legend(fontsize=8, frameon=False, ncols=3, loc="upper right")
    return figure


def _order_shifts(axis, columns):
    place = np.arange(columns["ORDER"].size)
    own = ~np.char.startswith(columns["SOURCE"].astype(str), "arm")
    shown = {"fmt": "o", "ms": 5, "lw": 1.2, "capsize": 2}
    axis.errorbar(place[own], columns["SHIFT"][own], columns["ERROR"][own], color=INK, label="sky lines", **shown)
    axis.plot(
        place[~own], columns["SHIFT"][~own], "o", mfc="none", color=MUTED, label="no lines: shift of the arm"
    )
    for name, aside, colour, label in (
        ("TELL", 0.18, ACCENT, "telluric bands in the target"),
        ("TEMPLATE", -0.18, MUTED, "faint lines together"),
    ):
        told = np.isfinite(columns[f"{name}_SHIFT"])
        if told.any():
            values, errors = columns[f"{name}_SHIFT"][told], columns[f"{name}_ERROR"][told]
            axis.errorbar(place[told] + aside, values, errors, color=colour, label=label, **shown)
    axis.axhline(0, color=MUTED, lw=0.6)
    labels = [f"{band}\n{count} lines" for band, count in zip(columns["BAND"], columns["N_LINES"], strict=True)]
    label_places(axis.xaxis, place, labels)
    finite = np.concatenate(
        [columns["SHIFT"] - columns["ERROR"], columns["SHIFT"] + columns["ERROR"], [-0.1, 0.1]]
    )
    axis.set_ylim(*robust_limits(finite, 0, 100, 0.25))
    axis.set_xlabel("order")
    axis.set_ylabel("shift along the dispersion [px]")
    axis.legend(fontsize=8, frameon=False, ncols=4, loc="upper right")


def _resolving_powers(axis, columns):
    for position, (number, wavelength, value) in enumerate(
        zip(columns["ORDER"], columns["WAVELENGTH"], columns["R_SKY"], strict=True)
    ):
        if np.isfinite(value):
            axis.plot(wavelength, value, "o", color=order_colour(position))
            axis.annotate(
                str(number),
                (wavelength, value),
                textcoords="offset points",
                xytext=(5, 4),
                fontsize=7,
                color=MUTED,
            )
    axis.set_ylabel("resolving power by sky lines")
    axis.set_xlabel("wavelength [nm, vacuum]")


def _residuals(axis, lines, numbers):
    order, used = np.asarray(lines["ORDER"]), np.asarray(lines["USED"], bool)
    velocity = _LIGHT_SPEED * lines["RESIDUAL"] / lines["WAVELENGTH"]
    error = _LIGHT_SPEED * lines["ERROR"] / lines["WAVELENGTH"]
    axis.errorbar(lines["WAVELENGTH"], velocity, error, fmt="none", ecolor=ERROR, lw=0.8, zorder=1)
    for position, number in enumerate(numbers):
        chosen = used & (order == number)
        axis.scatter(
            lines["WAVELENGTH"][chosen], velocity[chosen], s=9, lw=0, color=order_colour(position), zorder=2
        )
    axis.scatter(
        lines["WAVELENGTH"][~used],
        velocity[~used],
        marker="x",
        s=14,
        lw=0.8,
        color=ACCENT,
        label="left out",
        zorder=2,
    )
    axis.axhline(0, color=MUTED, lw=0.6)
    axis.set_ylim(*robust_limits(velocity[used], 0, 100, 0.2))
    axis.set_ylabel("measured − listed [km/s]")
    axis.set_xlabel("wavelength [nm, vacuum]")
    axis.set_title(f"{used.sum()} lines used, {(~used).sum()} left out", fontsize=9, loc="left")


def figure_drift(rows: Mapping[str, np.ndarray], title: str) -> Figure:
    """Shifts of the user's arcs in time, and the one taken at the time of the exposure.

    Parameters
    ----------
    rows : mapping of column name -> ndarray (n,)
        `FRAME`, `MJD`, `ALONG`, `ALONG_ERROR`, `ACROSS`, `ACROSS_ERROR` [px]; the last row is the exposure.
    title : str
    """
    figure, axes = new_figure(title, rows=2, size=(10, 7), sharex=True)
    hours = 24.0 * (rows["MJD"] - rows["MJD"][-1])
    arcs = np.argsort(hours[:-1])
    for axis, name, direction in zip(axes[:, 0], ("ALONG", "ACROSS"), ("along", "across"), strict=True):
        value, error = rows[name], rows[f"{name}_ERROR"]
        axis.plot(hours[arcs], value[arcs], color=MUTED, lw=0.8, ls="--", zorder=1)
        style = {"fmt": "o", "ms": 6, "lw": 1.3, "capsize": 3}
        axis.errorbar(hours[arcs], value[arcs], error[arcs], color=INK, label="arcs", **style)
        axis.errorbar(
            hours[-1:], value[-1:], error[-1:], color=ACCENT, label=f"exposure ({rows['FRAME'][-1]})", **style
        )
        axis.set_ylabel(f"shift {direction} the\ndispersion [px]")
        axis.axvline(0.0, color=ERROR, lw=0.8, zorder=0)
    axes[0, 0].legend(fontsize=8, frameon=False, ncols=2, loc="upper right")
    axes[1, 0].set_xlabel("time from the middle of the exposure [h]")
    return figure
