"""The picture of a map: the field in several bands, and the light along the slit at each position."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from soxs_recipes.data.slit_map import SlitMap
from soxs_recipes.plots.style import ACCENT, INK, MUTED, new_figure, order_colour

__all__ = ["figure_slit_map"]

_PANELS = 4
_UNITS = {
    "electron / (s nm arcsec)": "e⁻ s⁻¹ nm⁻¹ arcsec⁻¹",
    "erg / (s cm2 Angstrom arcsec)": "erg s⁻¹ cm⁻² Å⁻¹ arcsec⁻¹",
}


def figure_slit_map(
    slit_map: SlitMap, positions: Mapping[str, np.ndarray], sources: Mapping[str, np.ndarray], title: str
) -> Figure:
    """Up to four bands of a map, with sources marked, and profiles along the slit.

    Parameters
    ----------
    slit_map : SlitMap
    positions : mapping
        Columns EXPOSURE, ACROSS, ALONG [arcsec].
    sources : mapping
        Columns EXPOSURE, SLIT_POSITION [arcsec], TARGET, SIGNIFICANCE.
    title : str
    """
    planes = _chosen(slit_map)
    ratios = [*[1.0] * len(planes), 1.6]
    figure, axes = new_figure(
        title, columns=len(planes) + 1, size=(13, 6.5), layout="constrained", width_ratios=ratios
    )
    for axis, plane in zip(axes[0], planes, strict=False):
        shown = _image(axis, slit_map, plane)
        _mark(axis, positions, sources)
    axes[0, 0].set_ylabel("along the slit [arcsec]")
    _compass(axes[0, 0], slit_map.position_angle)
    bar = figure.colorbar(shown, ax=list(axes[0, : len(planes)]), location="bottom", fraction=0.04, aspect=60)
    bar.set_label("brightness over that of the brightest cell of the band", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    _profiles(axes[0, -1], slit_map, planes[-1], positions)
    return figure


def _chosen(slit_map: SlitMap) -> list[int]:
    """Planes by rising wavelength as far as order numbers tell, evenly spread, only those with light."""
    lit = [plane for plane in range(len(slit_map.orders)) if np.nanmax(_signal(slit_map, plane)) > 5.0]
    lit = lit or list(range(len(slit_map.orders)))
    places = np.unique(np.linspace(0, len(lit) - 1, min(_PANELS, len(lit))).round().astype(int))
    return [lit[place] for place in places]


def _name(slit_map: SlitMap, plane: int) -> str:
    """The order, with its band where that has a name of its own."""
    order, band = f"order {slit_map.orders[plane]}", slit_map.bands[plane]
    return order if band == str(slit_map.orders[plane]) else f"{band} ({order})"


def _signal(slit_map: SlitMap, plane: int) -> np.ndarray:
    ratio = slit_map.flux[plane] / slit_map.error[plane]
    return np.where(np.isfinite(ratio), ratio, -np.inf)


def _image(axis: Axes, slit_map: SlitMap, plane: int):
    image = slit_map.flux[plane]
    peak = np.nanmax(image) if np.isfinite(image).any() else 1.0
    half_x, half_y = 0.5 * slit_map.across_step, 0.5 * slit_map.along_step
    extent = (
        slit_map.across[0] - half_x,
        slit_map.across[-1] + half_x,
        slit_map.along[0] - half_y,
        slit_map.along[-1] + half_y,
    )
    shown = axis.imshow(
        image / (peak if peak > 0 else 1.0),
        origin="lower",
        extent=extent,
        norm=AsinhNorm(0.05, vmin=-0.02, vmax=1.0),
        cmap="viridis",
        aspect="equal",
        interpolation="nearest",
    )
    axis.grid(visible=False)
    axis.set_title(_name(slit_map, plane), fontsize=9, color=INK)
    axis.set_xlabel("across the slit [arcsec]")
    return shown


def _mark(axis: Axes, positions, sources) -> None:
    """Sources as circles, the targets' filled."""
    row = {int(number): k for k, number in enumerate(positions["EXPOSURE"])}
    for number, place, target, seen in zip(
        sources["EXPOSURE"], sources["SLIT_POSITION"], sources["TARGET"], sources["SIGNIFICANCE"], strict=True
    ):
        if seen <= 0:
            continue
        k = row[int(number)]
        axis.plot(
            positions["ACROSS"][k],
            positions["ALONG"][k] + place,
            "o",
            ms=5 if target else 4,
            mfc=ACCENT if target else "none",
            mec=ACCENT,
            mew=0.9,
        )


def _compass(axis: Axes, position_angle: float) -> None:
    """North and east."""
    angle = np.radians(position_angle)
    for label, dx, dy in (("N", -np.sin(angle), np.cos(angle)), ("E", np.cos(angle), np.sin(angle))):
        axis.annotate(
            label,
            xy=(0.5, 0.1),
            xytext=(26.0 * dx, 26.0 * dy),
            xycoords="axes fraction",
            textcoords="offset points",
            color="white",
            fontsize=8,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "<-", "color": "white", "lw": 0.8},
        )


def _profiles(axis: Axes, slit_map: SlitMap, plane: int, positions) -> None:
    """Light along the slit of each column of the last band drawn."""
    for column, across in enumerate(slit_map.across):
        flux, error = slit_map.flux[plane, :, column], slit_map.error[plane, :, column]
        colour = order_colour(column)
        style = ("-", "--", ":")[(column // 4) % 3]
        axis.plot(slit_map.along, flux, style, color=colour, lw=0.9, label=f"{round(across, 1) + 0.0:+.1f} arcsec")
        axis.fill_between(slit_map.along, flux - error, flux + error, color=colour, alpha=0.25, lw=0)
    axis.axhline(0.0, color=MUTED, lw=0.6)
    count = len(positions["EXPOSURE"])
    axis.set_title(f"{_name(slit_map, plane)}: {count} positions", fontsize=9, color=INK)
    axis.set_xlabel("along the slit [arcsec]")
    axis.set_ylabel(_UNITS.get(slit_map.unit, slit_map.unit))
    axis.legend(fontsize=7, frameon=False, title="across", title_fontsize=7, loc="upper right")
