"""Figure of the light along the slit with the sources and apertures that were extracted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from soxs_recipes.plots.style import ACCENT, BAND, ERROR, INK, MUTED, new_figure, order_colour, robust_limits

__all__ = ["figure_beams", "figure_slit_light"]

_MOST_ORDERS = 16


def figure_slit_light(
    orders: Sequence,
    marks: Sequence[tuple[float, float, bool]],
    title: str,
    names: Sequence[str] = (),
) -> Figure:
    """Light along the slit over all orders with its model and residuals, and each order's light below.

    Parameters
    ----------
    orders : sequence of SlitLight
        The mean of all orders first.
    marks : sequence of (position [arcsec], FWHM [arcsec], whether it is what was extracted)
        Of each source.
    title : str
    names : sequence of str
        Of the orders after the first.
    """
    shown = list(zip(orders[1:], names, strict=False))[:_MOST_ORDERS]
    columns = 4 if len(shown) > 4 else max(len(shown), 1)
    rows = -(-len(shown) // columns)
    size, heights = (11, 5.2 + 1.9 * rows), (3, 1, *[1.3] * rows)
    figure, axes = new_figure(title, 2 + rows, columns, size, wide=2, height_ratios=heights)
    top, below = axes[:2, 0]
    _draw_mean(top, below, orders[0], marks)
    for index, axis in enumerate(axes[2:].flat):
        if index >= len(shown):
            axis.remove()
            continue
        _draw_order(axis, *shown[index])
        if index >= len(shown) - columns:
            axis.set_xlabel("slit position [arcsec]", fontsize=8)
        if index % columns == 0:
            axis.set_ylabel("e⁻ / bin / arcsec", fontsize=8)
    return figure


def _draw_mean(top, below, mean, marks) -> None:
    model, modelled = _model(mean), np.isfinite(mean.light)
    known = modelled.copy()
    top.errorbar(
        mean.slit, mean.light, mean.error, fmt="o", ms=3, color=INK, ecolor=ERROR, lw=1, label="data - sky"
    )
    for position, (place, fwhm, own) in enumerate(marks):
        colour = order_colour(position)
        label = f"{place:+.2f} arcsec, FWHM {fwhm:.2f}" + (" (extracted)" if own else "")
        if position < len(mean.sources) and np.any(np.isfinite(mean.sources[position])):
            top.plot(mean.slit, np.where(known, mean.sources[position], np.nan), color=colour, lw=1.2, label=label)
        else:
            top.axvspan(place - 0.5 * fwhm, place + 0.5 * fwhm, color=BAND, lw=0, zorder=0)
            label = f"aperture {place - 0.5 * fwhm:+.2f} to {place + 0.5 * fwhm:+.2f} arcsec"
            top.plot([], [], color=BAND, lw=6, label=label)
            modelled &= np.abs(mean.slit - place) > 0.5 * fwhm
        top.axvline(place, color=colour, lw=0.7, ls="-" if own else ":")
    if np.isfinite(mean.sources).any():
        top.plot(mean.slit, np.where(modelled, model, np.nan), color=ACCENT, lw=1.0, ls="--", label="model")
    top.axhline(0, color=MUTED, lw=0.6)
    top.set_ylabel("mean of all orders\n[e⁻ / bin / arcsec]", fontsize=9)
    top.legend(fontsize=8, frameon=False, loc="upper right")
    pull = np.where(modelled, (mean.light - model) / np.where(known, mean.error, 1.0), np.nan)
    below.axhspan(-1, 1, color=BAND, lw=0)
    below.plot(mean.slit, pull, "o", ms=3, color=INK)
    low, high = robust_limits(pull, 2, 98, 0.2)
    below.set_ylim(min(low, -3), max(high, 3))
    below.set_ylabel("residual / σ", fontsize=9)
    below.set_xlabel("slit position [arcsec]", fontsize=9)
    limits = mean.slit[known][[0, -1]] if known.any() else (-6, 6)
    for axis in (top, below):
        axis.set_xlim(limits[0] - 0.3, limits[1] + 0.3)


def _model(item) -> np.ndarray:
    """All sources together; what is not modelled counts as nothing."""
    return np.nansum(item.sources, axis=0) if len(item.sources) else np.zeros(item.slit.size)


def _draw_order(axis, item, name) -> None:
    axis.fill_between(item.slit, item.light - item.error, item.light + item.error, color=ERROR, lw=0, step="mid")
    axis.step(item.slit, item.light, where="mid", color=INK, lw=0.8)
    if np.isfinite(item.sources).any():
        axis.plot(item.slit, np.where(np.isfinite(item.light), _model(item), np.nan), color=ACCENT, lw=0.9)
    known = np.isfinite(item.light)
    if known.any():
        axis.set_xlim(item.slit[known][0] - 0.2, item.slit[known][-1] + 0.2)
        axis.set_ylim(*robust_limits(item.light, 0, 100, 0.12))
    axis.locator_params(nbins=4)
    axis.set_title(f"order {name}", fontsize=8, color=MUTED, loc="left", pad=2)


def figure_beams(
    lights: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    sources: Mapping[str, np.ndarray],
    trace: Mapping[str, np.ndarray],
    title: str,
) -> Figure:
    """Light along the slit in each difference of exposures with its sources, and the traces that were extracted.

    Parameters
    ----------
    lights : sequence of (slit [arcsec], light, error [e-/px])
        One a difference.
    sources : mapping of column name -> ndarray (n,)
        `DIFFERENCE` (from 1), `TARGET`, `SLIT_POSITION`, `FWHM` [arcsec].
    trace : mapping of column name -> ndarray (m,)
        `ORDER`, `WAVE` [nm], `SLIT_POSITION` [arcsec]; `DIFFERENCE` where several were traced.
    title : str
    """
    figure, axes = new_figure(title, rows=2, size=(12, 8))
    light_axis, trace_axis = axes[:, 0]
    for position, (slit, light, error) in enumerate(lights):
        colour = order_colour(position)
        light_axis.errorbar(
            slit,
            light,
            error,
            fmt=".-",
            ms=4,
            lw=0.9,
            color=colour,
            ecolor=ERROR,
            label=f"difference {position + 1}",
        )
        own = np.asarray(sources["DIFFERENCE"]) == position + 1
        columns = (sources[name][own] for name in ("SLIT_POSITION", "FWHM", "TARGET"))
        for place, fwhm, is_target in zip(*columns, strict=True):
            light_axis.axvspan(place - 0.5 * fwhm, place + 0.5 * fwhm, color=BAND, lw=0, zorder=0)
            light_axis.axvline(place, color=colour, lw=0.8, ls="-" if is_target else ":")
    light_axis.axhline(0, color=MUTED, lw=0.6)
    light_axis.set_ylabel("mean of all orders [e⁻ / px]")
    light_axis.set_xlabel("slit position [arcsec]")
    light_axis.set_title("shaded: sources, as wide as their FWHM; dotted: not the target", fontsize=9, loc="left")
    if lights:
        light_axis.legend(fontsize=8, frameon=False, loc="upper right")
    for position, number in enumerate(np.unique(trace["ORDER"])):
        own = np.asarray(trace["ORDER"]) == number
        trace_axis.plot(trace["WAVE"][own], trace["SLIT_POSITION"][own], ".", ms=1.5, color=order_colour(position))
    trace_axis.set_ylabel("trace on the slit [arcsec]")
    trace_axis.set_xlabel("wavelength [nm, vacuum]")
    return figure
