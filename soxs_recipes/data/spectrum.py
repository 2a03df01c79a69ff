"""Extracted spectra: per order, and merged over the orders of an arm."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["MergedSpectrum", "OrderSpectrum"]


@dataclass(frozen=True, slots=True)
class OrderSpectrum:
    """The spectrum of one object in one order, a value a wavelength bin.

    All arrays have one length n; a bin without information has flux 0, variance inf and NO_DATA.

    Attributes
    ----------
    order : int
    band : str
        Name of the order (`"g"`, `"13"`).
    wavelength : ndarray (n,) float64 [nm, vacuum, as observed]
        Bin centres.
    bin_width : ndarray (n,) float64 [nm]
    flux : ndarray (n,) float64
        Optimal extraction; unit in `flux_unit`: "electron" (counts in the bin over the whole exposure) or
        "erg / (s cm2 Angstrom)".
    variance : ndarray (n,) float64
        Of `flux`, from the model; neighbouring bins' covariance is in `correlation`.
    boxcar_flux, boxcar_variance : ndarray (n,) float64
    sky : ndarray (n,) float64
        Sky that lay under the object's profile, same unit as flux.
    background_variance : ndarray (n,) float64
        Part of `variance` that does not come from the object's own photons.
    quality : ndarray (n,) int32
    trace : ndarray (n,) float64 [arcsec]
        Object's position on the slit.
    correlation : ndarray (k, n) float64
        Correlation coefficients of each bin's flux with those of the next 1..k bins; no rows when independent.
    flux_unit : str
    """

    order: int
    band: str
    wavelength: np.ndarray
    bin_width: np.ndarray
    flux: np.ndarray
    variance: np.ndarray
    boxcar_flux: np.ndarray
    boxcar_variance: np.ndarray
    sky: np.ndarray
    background_variance: np.ndarray
    quality: np.ndarray
    trace: np.ndarray
    correlation: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    flux_unit: str = "electron"


@dataclass(frozen=True, slots=True)
class MergedSpectrum:
    """The spectrum of one object over all orders of an arm, on one grid.

    `flux` and `sky` are densities (per nm for counts, per Angstrom for calibrated flux).

    Attributes
    ----------
    wavelength, bin_width : ndarray (n,) float64 [nm, vacuum, as observed]
    flux, variance, sky : ndarray (n,) float64
        NaN flux never; a bin that no order reaches has flux 0, variance inf and NO_DATA.
    quality : ndarray (n,) int32
    order : ndarray (n,) int16
        The order of largest weight in each bin, 0 for none.
    correlation : ndarray (k, n) float64
        Correlation coefficients of each bin's flux with those of the next 1..k bins; no rows when independent.
    flux_unit : str
        "electron / nm" or "erg / (s cm2 Angstrom)".
    """

    wavelength: np.ndarray
    bin_width: np.ndarray
    flux: np.ndarray
    variance: np.ndarray
    sky: np.ndarray
    quality: np.ndarray
    order: np.ndarray
    correlation: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    flux_unit: str = "electron / nm"
