"""Figures of extracted, merged and flux-calibrated spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
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

__all__ = ["figure_all_arms", "figure_merged", "figure_orders"]

_UNIT_LABELS = {
    "electron": "counts [e⁻ / bin]",
    "electron / nm": "counts [e⁻ nm⁻¹]",
    "erg / (s cm2 Angstrom)": "flux [erg s⁻¹ cm⁻² Å⁻¹]",
}
_WAVELENGTH_LABEL = "wavelength [nm, vacuum, topocentric]"


def figure_merged(
    spectrum: MergedSpectrum, title: str, telluric_bands: Sequence[tuple[float, float]] = (), smooth: int = 1
) -> Figure:
    """Flux with its 1-sigma error above, signal-to-noise below.

    Parameters
    ----------
    spectrum : MergedSpectrum
    title : str
    telluric_bands : sequence of (low, high) [nm]
        Shaded.
    smooth : int
        Bins averaged (inverse variance) for display.
    """
    figure, axes = new_figure(title, rows=2, size=(12, 6.5), sharex=True, height_ratios=(3, 1))
    flux_axis, noise_axis = axes[:, 0]
    wavelength, flux, error = binned(spectrum, smooth)
    good = np.isfinite(flux)
    flux_axis.set_xlim(wavelength[0], wavelength[-1])
    flux_axis.fill_between(wavelength, flux - error, flux + error, color=ERROR, lw=0, label="1 σ", step="mid")
    flux_axis.step(wavelength, flux, where="mid", color=INK, lw=0.7, label="flux")
    flux_axis.axhline(0, color=MUTED, lw=0.6)
    flux_axis.set_ylim(*flux_limits(flux, error))
    flux_axis.set_ylabel(_UNIT_LABELS.get(spectrum.flux_unit, spectrum.flux_unit))
    ratio = np.full(flux.shape, np.nan)
    ratio[good] = flux[good] / error[good]
    noise_axis.step(wavelength, ratio, where="mid", color=ACCENT, lw=0.6)
    noise_axis.set_ylim(min(0.0, robust_limits(ratio)[0]), robust_limits(ratio)[1])
    noise_axis.set_ylabel("S/N per bin")
    noise_axis.set_xlabel(_WAVELENGTH_LABEL)
    for axis in (flux_axis, noise_axis):
        shade_bands(axis, telluric_bands, "telluric bands")
    flux_axis.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def figure_all_arms(
    spectra: Sequence[tuple[str, MergedSpectrum]],
    title: str,
    telluric_bands: Sequence[tuple[float, float]] = (),
    smooth: int = 5,
) -> Figure:
    """All arms of one object in one panel, logarithmic in wavelength; arm labels name the colours."""
    figure, axes = new_figure(title, size=(13, 5.5))
    axis = axes[0, 0]
    axis.set_xscale("log")
    fluxes, errors = [], []
    for position, (label, spectrum) in enumerate(spectra):
        wavelength, flux, error = binned(spectrum, smooth)
        axis.fill_between(wavelength, flux - error, flux + error, color=ERROR, lw=0, step="mid")
        axis.step(wavelength, flux, where="mid", color=order_colour(position), lw=0.7, label=label)
        fluxes.append(flux)
        errors.append(error)
    axis.set_xlim(
        min(spectrum.wavelength[0] for _, spectrum in spectra), max(s.wavelength[-1] for _, s in spectra)
    )
    axis.set_ylim(*flux_limits(np.concatenate(fluxes), np.concatenate(errors)))
    axis.axhline(0, color=MUTED, lw=0.6)
    ticks = [value for value in (350, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000) if within(axis, value)]
    label_places(axis.xaxis, ticks, [str(value) for value in ticks])
    axis.minorticks_off()
    axis.set_xlabel(_WAVELENGTH_LABEL)
    axis.set_ylabel(_UNIT_LABELS.get(spectra[0][1].flux_unit, spectra[0][1].flux_unit))
    shade_bands(axis, telluric_bands, "telluric bands")
    axis.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def figure_orders(orders: Sequence[OrderSpectrum], title: str) -> Figure:
    """Each order's counts, sky and signal-to-noise on common axes; alternate colours tell orders apart."""
    figure, axes = new_figure(title, rows=3, size=(12, 8.5), sharex=True, height_ratios=(3, 2, 2))
    flux_axis, sky_axis, noise_axis = axes[:, 0]
    all_flux, all_ratio, all_sky = [], [], []
    for position, order in enumerate(orders):
        good = np.isfinite(order.variance) & (order.variance > 0) & ((order.quality & QualityFlag.NO_DATA) == 0)
        if not good.any():
            continue
        colour = order_colour(position)
        density = np.where(good, order.flux / order.bin_width, np.nan)
        ratio = np.where(good, order.flux / np.sqrt(np.where(good, order.variance, 1.0)), np.nan)
        sky = np.where(good, order.sky / order.bin_width, np.nan)
        flux_axis.plot(order.wavelength, density, color=colour, lw=0.6)
        sky_axis.plot(order.wavelength, sky, color=colour, lw=0.6)
        noise_axis.plot(order.wavelength, ratio, color=colour, lw=0.6)
        flux_axis.annotate(
            order.band,
            (float(np.median(order.wavelength[good])), 0.98),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            color=colour,
            ha="center",
            va="top",
        )
        all_flux.append(density)
        all_ratio.append(ratio)
        all_sky.append(sky)
    if all_flux:
        flux_axis.set_ylim(*robust_limits(np.concatenate(all_flux), 0.5, 99.7, 0.12))
        noise_axis.set_ylim(*robust_limits(np.concatenate(all_ratio), 0.5, 99.8, 0.1))
        sky_axis.set_ylim(*robust_limits(np.concatenate(all_sky), 0.5, 99.0, 0.1))
    flux_axis.set_ylabel("object [e⁻ nm⁻¹]")
    sky_axis.set_ylabel("sky below object [e⁻ nm⁻¹]")
    noise_axis.set_ylabel("S/N per bin")
    noise_axis.set_xlabel(_WAVELENGTH_LABEL)
    return figure


def binned(spectrum: MergedSpectrum, factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(wavelength, flux, error) averaged over `factor` bins by inverse variance; NaN where nothing is known."""
    usable = np.isfinite(spectrum.variance) & (spectrum.variance > 0) & np.isfinite(spectrum.flux)
    usable &= (spectrum.quality & QualityFlag.NO_DATA) == 0
    count = spectrum.flux.size // factor * factor
    weight = np.where(usable, 1.0 / np.where(usable, spectrum.variance, 1.0), 0.0)[:count].reshape(-1, factor)
    flux = np.where(usable, spectrum.flux, 0.0)[:count].reshape(-1, factor)
    total = weight.sum(axis=1)
    known = total > 0
    mean = np.full(total.shape, np.nan)
    error = np.full(total.shape, np.nan)
    mean[known] = (weight * flux).sum(axis=1)[known] / total[known]
    error[known] = 1.0 / np.sqrt(total[known])
    return spectrum.wavelength[:count].reshape(-1, factor).mean(axis=1), mean, error


def flux_limits(flux: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Limits set by where the signal is well measured, so that noisy ends do not hide the spectrum."""
    known = np.isfinite(flux) & np.isfinite(error)
    if not known.any():
        return 0.0, 1.0
    well = known & ((error <= 3 * np.nanmedian(error[known])) | (flux > 8 * error))
    low, high = robust_limits(flux[well] if well.any() else flux[known], 0.1, 99.95, 0.06)
    return min(low, 0.0), high


def within(axis, value: float) -> bool:
    """Whether a value lies inside the x limits."""
    low, high = axis.get_xlim()
    return low <= value <= high
