"""Mean flux in bands with its error, and what a source that is not seen can have at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum

__all__ = ["BandLimit", "ab_magnitude", "band_limits", "bands_of"]

_LEAST_BINS = 5
_LIGHT_SPEED = 2.99792458e18  # Angstrom / s


@dataclass(frozen=True, slots=True)
class BandLimit:
    """What a band says.

    Attributes
    ----------
    order : int
    low, high : float [nm]
    flux, error : float
        Mean flux density, weighted by information, and its error with the covariance of the bins: per nm for
        counts, per Angstrom for calibrated flux.
    limit : float
        The flux that a source does not exceed, at the number of sigma that was asked for.
    """

    order: int
    low: float
    high: float
    flux: float
    error: float
    limit: float

    @property
    def significance(self) -> float:
        """Mean flux over its error."""
        return self.flux / self.error

    @property
    def wavelength(self) -> float:
        """Middle of the band [nm]."""
        return 0.5 * (self.low + self.high)


def bands_of(orders: Sequence[OrderSpectrum], width: float = 0.0) -> list[tuple[int, float, float]]:
    """(order, low, high) [nm] of bands of about `width`; 0 takes each order whole."""
    bands = []
    for order in orders:
        known = _known(order)
        if known.any():
            low, high = order.wavelength[known].min(), order.wavelength[known].max()
            count = max(round((high - low) / width), 1) if width > 0 else 1
            edges = np.linspace(low, np.nextafter(high, np.inf), count + 1)
            bands += [(order.order, float(edges[k]), float(edges[k + 1])) for k in range(count)]
    return bands


def band_limits(
    orders: Sequence[OrderSpectrum], bands: Sequence[tuple[int, float, float]], sigma: float = 3.0
) -> list[BandLimit | None]:
    """Mean flux and limit of each band; None where fewer than five bins are known.

    A flux above sigma * error happens by chance as seldom as the normal distribution says; the limit adds what was
    measured, where that is above zero, to sigma * error, so that a source of that brightness is seldom missed.

    Parameters
    ----------
    orders : sequence of OrderSpectrum
    bands : sequence of (order, low, high) [nm]
    sigma : float
    """
    by_number = {order.order: order for order in orders}
    limits: list[BandLimit | None] = []
    for number, low, high in bands:
        order = by_number.get(number)
        chosen = None if order is None else _known(order) & (order.wavelength >= low) & (order.wavelength < high)
        if chosen is None or chosen.sum() < _LEAST_BINS:
            limits.append(None)
            continue
        flux, error = _mean(order, chosen)
        limits.append(BandLimit(number, low, high, flux, error, max(flux, 0.0) + sigma * error))
    return limits


def _known(order: OrderSpectrum) -> np.ndarray:
    known = np.isfinite(order.variance) & (order.variance > 0)
    return known & ((order.quality & np.int32(QualityFlag.NO_DATA)) == 0)


def _mean(order: OrderSpectrum, chosen) -> tuple[float, float]:
    """Mean density by inverse variance, and its error."""
    width = order.bin_width if order.flux_unit == "electron" else np.ones(order.flux.size)
    variance = np.where(chosen, order.variance, 1.0) / width**2
    weight = np.where(chosen, 1.0 / variance, 0.0)
    total = weight.sum()
    deviation = weight * np.sqrt(variance)
    square = (deviation**2).sum()
    for lag, coefficient in enumerate(order.correlation, start=1):
        square += 2.0 * (coefficient[:-lag] * deviation[:-lag] * deviation[lag:]).sum()
    flux = (weight * np.where(chosen, order.flux, 0.0) / width).sum() / total
    return float(flux), float(np.sqrt(max(square, 0.0)) / total)


def ab_magnitude(flux: float, wavelength: float) -> float:
    """AB magnitude of a flux density [erg/s/cm2/Angstrom] at a wavelength [nm]; NaN for none."""
    if not flux > 0:
        return float("nan")
    return float(-2.5 * np.log10(flux * (10.0 * wavelength) ** 2 / _LIGHT_SPEED) - 48.6)
