"""Figures of straightened images: wavelength against slit position, with the light along the slit beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure

from soxs_recipes.data.rectified_image import RectifiedImage
from soxs_recipes.plots.style import INK, MUTED, new_figure, robust_limits, set_margins

__all__ = ["figure_rectified", "figure_rectified_orders"]

_PANELS = 4
_COLUMNS = 1000  # that a panel can show
_UNITS = {
    "electron": "e⁻",
    "electron / nm": "e⁻ nm⁻¹",
    "erg / (s cm2 Angstrom)": "erg s⁻¹ cm⁻² Å⁻¹",
    "": "relative",
}


def figure_rectified(image: RectifiedImage, title: str) -> Figure:
    """The merged image in stretches of wavelength, each with its mean along the slit."""
    figure, axes = new_figure(title, rows=_PANELS, columns=2, size=(13, 9), width_ratios=(9, 1))
    place = _close_up(figure, _PANELS, 2, across=0.2)
    norm = _stretch(image)
    first, last = np.flatnonzero(image.known.any(axis=0))[[0, -1]]
    limits = np.linspace(first, last + 1, _PANELS + 1).astype(int)
    for row, (begin, end) in enumerate(pairwise(limits)):
        shown = _strip(axes[row, 0], image, slice(begin, end), norm)
        _profile(axes[row, 1], image, slice(begin, end), axes[row, 0])
    axes[-1, 0].set_xlabel("wavelength [nm, vacuum]")
    axes[-1, 1].set_xlabel("mean", fontsize=8)
    figure.supylabel("slit position [arcsec]", fontsize=9, color=INK, x=0.006)
    bar = figure.colorbar(shown, cax=place)
    bar.set_label(f"a row of {image.slit_step:g} arcsec [{_UNITS.get(image.unit, image.unit)}]", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def figure_rectified_orders(images: Sequence[RectifiedImage], title: str) -> Figure:
    """One strip an order: signal over error, or, of a flat, the relative response."""
    columns = 1 if len(images) <= 6 else 2
    rows = -(-len(images) // columns)
    figure, axes = new_figure(title, rows=rows, columns=columns, size=(13, max(1.15 * rows + 1.0, 5.0)))
    place = _close_up(figure, rows, columns, across=0.45)
    values = [_over_error(image) for image in images]
    inner = [_away_from_ends(image, value) for image, value in zip(images, values, strict=True)]
    norm = _common_stretch(inner, is_flat=images[0].unit == "")
    for axis, image, value in zip(axes.T.flat, images, values, strict=False):
        shown = _strip(axis, image, slice(0, image.shape[1]), norm, value)
        name = f"{image.order}" if image.band in ("", str(image.order)) else f"{image.order} ({image.band})"
        label = axis.text(0.007, 0.9, f"order {name}", transform=axis.transAxes, fontsize=8, color=INK, va="top")
        label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0})
    for axis in axes.T.flat[len(images) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("wavelength [nm, vacuum]")
    figure.supylabel("slit position [arcsec]", fontsize=9, color=INK, x=0.006)
    bar = figure.colorbar(shown, cax=place)
    bar.set_label("relative" if images[0].unit == "" else "signal / error of a bin", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _close_up(figure: Figure, rows: int, columns: int, *, across: float) -> Axes:
    """Little room between the axes of a grid, `across` [inches] between columns; axes of a colour bar."""
    margins = _, right, bottom, top = (0.65, 1.0, 0.55, 0.45)
    set_margins(figure, rows, columns, margins, (across, 0.35))
    width, height = figure.bbox.size / figure.dpi
    return figure.add_axes(
        (1.0 - (right - 0.15) / width, bottom / height, 0.2 / width, 1.0 - (bottom + top) / height)
    )


def _strip(axis: Axes, image: RectifiedImage, columns: slice, norm: Normalize, values: np.ndarray | None = None):
    """Draw a stretch of columns, averaged to what a screen can show; unknown bins stay white."""
    values = np.where(image.known, image.flux, np.nan) if values is None else values
    wavelength, slit = image.wavelength[columns], image.slit
    shown = axis.imshow(
        _thinned(values[:, columns]),
        origin="lower",
        cmap="viridis",
        norm=norm,
        aspect="auto",
        interpolation="nearest",
        extent=(
            wavelength[0] - 0.5 * image.wavelength_step,
            wavelength[-1] + 0.5 * image.wavelength_step,
            slit[0] - 0.5 * image.slit_step,
            slit[-1] + 0.5 * image.slit_step,
        ),
    )
    axis.grid(visible=False)
    return shown


def _thinned(values: np.ndarray) -> np.ndarray:
    """Means of neighbouring columns, over those that are known."""
    step = max(1, -(-values.shape[1] // _COLUMNS))
    size = values.shape[1] // step * step
    blocks = values[:, :size].reshape(values.shape[0], -1, step)
    known = np.isfinite(blocks)
    count = known.sum(axis=2)
    total = np.where(known, blocks, 0.0).sum(axis=2)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _profile(axis: Axes, image: RectifiedImage, columns: slice, beside: Axes) -> None:
    """Mean over a stretch of wavelength, along the slit; lines and hits cut off."""
    values = np.where(image.known[:, columns], image.flux[:, columns], np.nan)
    inside = np.isfinite(values).sum(axis=1) > 0.3 * values.shape[1]
    if not inside.any():
        return
    low, high = np.nanpercentile(values[inside], [5, 95], axis=1)[:, :, None]
    axis.plot(np.nanmean(np.clip(values[inside], low, high), axis=1), image.slit[inside], color=INK, lw=0.9)
    axis.axvline(0.0, color=MUTED, lw=0.6)
    axis.set_ylim(beside.get_ylim())
    axis.tick_params(labelleft=False, labelsize=7)
    axis.xaxis.get_offset_text().set_fontsize(6)


def _over_error(image: RectifiedImage) -> np.ndarray:
    known = image.known & (image.variance > 0)
    divisor = 1.0 if image.unit == "" else np.sqrt(np.where(known, image.variance, 1.0))
    return np.where(known, image.flux / divisor, np.nan)


def _away_from_ends(image: RectifiedImage, values: np.ndarray) -> np.ndarray:
    """The rows whose bins are covered along most of the order, without the two next to each end."""
    rows = np.flatnonzero((image.coverage > 0.99).mean(axis=1) > 0.9)
    return values[rows[2:-2]] if rows.size > 6 else values


def _stretch(image: RectifiedImage) -> Normalize:
    """Linear within the noise, logarithmic above."""
    if image.unit == "":
        return _common_stretch([_away_from_ends(image, _over_error(image))], is_flat=True)
    known = image.known & (image.variance > 0) & (image.coverage > 0.9)
    noise = float(np.median(np.sqrt(image.variance[known]))) if known.any() else 1.0
    top = float(np.percentile(image.flux[known], 99.7)) if known.any() else 1.0
    return AsinhNorm(linear_width=2.0 * noise, vmin=-3.0 * noise, vmax=max(top, 6.0 * noise))


def _common_stretch(values: Sequence[np.ndarray], *, is_flat: bool) -> Normalize:
    finite = np.concatenate([value[np.isfinite(value)][::7] for value in values])
    if is_flat:
        return Normalize(*robust_limits(finite, 2, 98))
    top = float(np.percentile(finite, 99.7)) if finite.size else 1.0
    return AsinhNorm(linear_width=3.0, vmin=-3.0, vmax=max(top, 6.0))
