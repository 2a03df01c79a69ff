"""Figures of gain and linearity: the photon-transfer curve and what a detector's curve leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soxs_recipes.data.linearity import LinearityCurve
from soxs_recipes.plots.style import ACCENT, INK, MUTED, label_decades, new_figure, order_colour, robust_limits

__all__ = ["figure_linearity", "figure_photon_transfer"]


def figure_photon_transfer(
    points: Mapping[str, np.ndarray], amplifiers: Mapping[str, np.ndarray], title: str
) -> Figure:
    """Variance against signal of every amplifier, and its departure from the fit.

    Parameters
    ----------
    points : mapping of column name -> ndarray (n,)
        `AMPLIFIER`, `LEVEL` [ADU], `VARIANCE`, `ERROR`, `MODEL` [ADU2], `USED` (bool).
    amplifiers : mapping of column name -> ndarray (amplifiers,)
        `AMPLIFIER`, `GAIN`, `GAIN_ERR` [e-/ADU], `READ_NOISE`, `FULL_WELL` [e-].
    title : str
    """
    figure, axes = new_figure(title, rows=2, size=(11, 8), sharex=True, gridspec_kw={"height_ratios": [2.2, 1.0]})
    curve, residual = axes[:, 0]
    for position, number in enumerate(amplifiers["AMPLIFIER"]):
        mine = np.asarray(points["AMPLIFIER"]) == number
        used = mine & np.asarray(points["USED"], bool) & np.isfinite(points["MODEL"])
        colour = order_colour(position)
        level, variance = points["LEVEL"], points["VARIANCE"]
        left_out = mine & ~used
        curve.scatter(level[left_out], variance[left_out], s=8, color=MUTED, marker="x", lw=0.6)
        curve.scatter(
            level[used], variance[used], s=7, color=colour, lw=0, label=_amplifier_text(amplifiers, position)
        )
        order = np.flatnonzero(used)[np.argsort(level[used])]
        curve.plot(level[order], points["MODEL"][order], color=INK, lw=0.8)
        residual.scatter(
            level[used], (variance[used] - points["MODEL"][used]) / points["ERROR"][used], s=6, color=colour, lw=0
        )
    curve.scatter([], [], s=12, color=MUTED, marker="x", lw=0.8, label="saturated or beyond the curve")
    curve.plot([], [], color=INK, lw=0.8, label="fit, the detector's curve included")
    curve.set(xscale="log", yscale="log", ylabel="variance of an exposure [ADU²]")
    for axis in (curve.xaxis, curve.yaxis):
        label_decades(axis)
    curve.legend(fontsize=8, frameon=False, loc="upper left")
    residual.axhline(0, color=MUTED, lw=0.7)
    residual.set(ylabel="(variance − fit) / error", xlabel="signal as read [ADU]", ylim=(-6, 6))
    return figure


def _amplifier_text(amplifiers: Mapping[str, np.ndarray], row: int) -> str:
    """What is said of an amplifier in the legend."""
    one = {name: values[row] for name, values in amplifiers.items()}
    text = f"output {one['AMPLIFIER']}: {one['GAIN']:.4f} ± {one['GAIN_ERR']:.4f} e⁻/ADU, "
    text += f"read noise {one['READ_NOISE']:.2f} e⁻"
    if np.isfinite(one["FULL_WELL"]):
        text += f", stops at {one['FULL_WELL'] / 1000.0:.1f} ke⁻"
    return text


def figure_linearity(points: Mapping[str, np.ndarray], curves: Sequence[LinearityCurve], title: str) -> Figure:
    """Departure from linearity of signals as read, and what the correction leaves.

    Parameters
    ----------
    points : mapping of column name -> ndarray (n,)
        `AMPLIFIER`, `EXPTIME` [s], `LEVEL` [ADU], `RESIDUAL`.
    curves : sequence of LinearityCurve
        One an amplifier.
    title : str
    """
    figure, axes = new_figure(title, rows=2, size=(11, 8), sharex=True)
    departure, left = axes[:, 0]
    for position, curve in enumerate(curves):
        colour = order_colour(position)
        mine = (np.asarray(points["AMPLIFIER"]) == position + 1) & np.isfinite(points["RESIDUAL"])
        signal = np.linspace(0.0, curve.limit, 300)[1:]
        label = f"output {position + 1}, to {curve.limit:.0f} ADU"
        departure.plot(signal, 100.0 * curve.deviation(signal), color=colour, lw=1.2, label=label)
        departure.axvline(curve.limit, color=colour, lw=0.6, ls=":")
        level, residual = points["LEVEL"][mine], 100.0 * points["RESIDUAL"][mine]
        departure.scatter(level, residual + 100.0 * curve.deviation(level), s=5, color=colour, lw=0, alpha=0.6)
        left.scatter(level, residual, s=5, color=colour, lw=0, alpha=0.5)
        _draw_means(left, level, residual, colour)
    departure.set_ylabel("signal as read:\ndeparture from linearity [%]")
    departure.legend(fontsize=8, frameon=False, loc="upper right")
    shown = 100.0 * np.asarray(points["RESIDUAL"])
    bottom, top = robust_limits(
        shown[np.asarray(points["LEVEL"]) > 0.05 * max(c.limit for c in curves)], 1, 99, 0.4
    )
    reach = max(abs(bottom), abs(top), 0.12)
    left.set(ylabel="corrected: residual [%]", xlabel="signal as read [ADU]", ylim=(-reach, reach))
    for bound in (-0.1, 0.1):
        left.axhline(bound, color=ACCENT, lw=0.7, ls="--", label="± 0.1 %" if bound > 0 else None)
    left.legend(fontsize=8, frameon=False, loc="lower right")
    for axis in (departure, left):
        axis.axhline(0, color=MUTED, lw=0.7)
    return figure


def _draw_means(axis: Axes, level: np.ndarray, residual: np.ndarray, colour: str) -> None:
    """Means in twelfths of the range."""
    if level.size == 0:
        return
    edges = np.linspace(0.0, float(level.max()) * 1.0001, 13)
    place = np.digitize(level, edges) - 1
    counts = np.bincount(place, minlength=12)[:12]
    there = counts > 0
    means = np.bincount(place, residual, minlength=12)[:12][there] / counts[there]
    axis.plot(0.5 * (edges[1:] + edges[:-1])[there], means, "o-", color=colour, mec=INK, ms=5, lw=0.9)
