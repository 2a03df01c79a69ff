"""Figure of a standard star beside what the catalogue says of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from soxs_recipes.data.quality import is_usable
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.plots.style import INK, MUTED, new_figure, order_colour, robust_limits, shade_bands

__all__ = ["figure_standard"]

_BIN = 1.0  # nm, of the points
_MOST_OFF = 0.25  # of star over catalogue that the lower panel shows at most
_MOST_ERROR = 0.2  # relative: points that are known worse would only hide the others


def figure_standard(
    orders: Sequence[OrderSpectrum],
    model_wavelength: np.ndarray,
    model_flux: np.ndarray,
    title: str,
    telluric_bands: Sequence[tuple[float, float]] = (),
) -> Figure:
    """The star, calibrated with its own response, over the catalogue's spectrum, and the ratio of both.

    Parameters
    ----------
    orders : sequence of OrderSpectrum
        Flux-calibrated [erg s-1 cm-2 Angstrom-1].
    model_wavelength : ndarray (n,) [nm, vacuum]
    model_flux : ndarray (n,), in the same unit
    title : str
    telluric_bands : sequence of (low, high) [nm]
    """
    figure, axes = new_figure(title, rows=2, size=(12, 8), sharex=True, height_ratios=(3, 2))
    flux_axis, ratio_axis = axes[:, 0]
    low, high = min(order.wavelength.min() for order in orders), max(order.wavelength.max() for order in orders)
    inside = (model_wavelength >= low) & (model_wavelength <= high)
    flux_axis.plot(model_wavelength[inside], model_flux[inside], color=INK, lw=0.8, label="catalogue", zorder=3)
    for position, order in enumerate(orders):
        wavelength, flux, error = _means(order)
        model = np.interp(wavelength, model_wavelength, model_flux)
        good = error < _MOST_ERROR * model
        wavelength, flux, error, model = wavelength[good], flux[good], error[good], model[good]
        style = {"fmt": ".", "ms": 3, "lw": 0.7, "color": order_colour(position)}
        flux_axis.errorbar(wavelength, flux, error, **style)
        ratio_axis.errorbar(wavelength, flux / model, error / model, **style)
    flux_axis.set_xlim(low, high)
    flux_axis.set_ylim(0.0, robust_limits(model_flux[inside], 0, 99.8, 0.1)[1])
    flux_axis.set_ylabel("star times response\n" + r"[erg s$^{-1}$ cm$^{-2}$ $\mathrm{\AA}^{-1}$]")
    flux_axis.legend(fontsize=8, frameon=False, loc="upper right")
    ratio_axis.axhline(1.0, color=MUTED, lw=0.6)
    ratio_axis.set_ylim(1.0 - _MOST_OFF, 1.0 + _MOST_OFF)
    ratio_axis.set_ylabel("star over catalogue")
    ratio_axis.set_xlabel("wavelength [nm, vacuum]")
    for axis in (flux_axis, ratio_axis):
        shade_bands(axis, telluric_bands, "telluric bands")
    return figure


def _means(order: OrderSpectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(wavelength, flux, error) of usable bins averaged by inverse variance over `_BIN` nm."""
    good = is_usable(order.quality) & np.isfinite(order.variance) & (order.variance > 0)
    cell = np.floor(order.wavelength[good] / _BIN).astype(int)
    if cell.size == 0:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    cell -= cell.min()
    weight = 1.0 / order.variance[good]
    total = np.bincount(cell, weight)
    known = total > 0
    wavelength, flux = (
        np.bincount(cell, weight * values)[known] / total[known]
        for values in (order.wavelength[good], order.flux[good])
    )
    return wavelength, flux, 1.0 / np.sqrt(total[known])
