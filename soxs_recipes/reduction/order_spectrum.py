"""The spectrum of one source in one order, from a finished fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.reduction.order_fit import OrderFit

__all__ = ["ExtractedOrder", "correlations", "order_spectrum"]

_PARTIAL = 0.95  # Share of the profile's light below which a bin is flagged ...
_LOST = 0.3  # ... and below which it holds no measurement.


@dataclass(frozen=True, slots=True)
class ExtractedOrder:
    """A spectrum and what combining exposures needs beside it.

    Attributes
    ----------
    spectrum : OrderSpectrum
    shared_variance : ndarray (n,) [e-^2]
        Part of the variance that exposures reduced with the same masters have in common.
    covariance : ndarray (4, n) [e-^2]
        Of each bin with the next four.
    sky_residual_on, sky_residual_off : float
        Robust width of (data - model)/sigma away from the object, on and off sky lines; NaN without pixels.
    seeing : float [arcsec]
        FWHM of the profile at mid-order.
    """

    spectrum: OrderSpectrum
    shared_variance: np.ndarray
    covariance: np.ndarray
    sky_residual_on: float
    sky_residual_off: float
    seeing: float


def order_spectrum(
    fit: OrderFit, source: int, band: str, *, aperture: float, shared_variance: np.ndarray | None = None
) -> ExtractedOrder:
    """Bin values, errors and quality of one source.

    Parameters
    ----------
    fit : OrderFit
        After its last `solve`.
    source : int
    band : str
    aperture : float
        Half-width of the boxcar in FWHM.
    shared_variance : ndarray (pixels,) or None
        Noise of bias and dark masters in the pixels.
    """
    grid = fit.pixels.grid
    flux = fit.solution.flux[source]
    variance, covariance = fit.joint.flux_covariance(source)
    expected = fit.profile_values(source) * fit.pixels.footprint
    coverage = fit.joint.per_bin(np.where(fit.good, expected, 0.0))
    lost = (coverage < _LOST) | ~(variance > 0)
    shares = _variance_shares(fit, source, expected, shared_variance)
    quality = _bin_quality(fit, expected, coverage, lost)
    box_flux, box_variance = _boxcar(fit, source, aperture)
    position = np.arange(grid.size, dtype=np.float64)
    width = fit.profiles[source].effective_width(fit.pixels, position)
    sky = fit.knots.spline(fit.solution.sky_coefficients)(position) * width
    unknown = np.where(lost, np.inf, 0.0)
    spectrum = OrderSpectrum(
        order=grid.order,
        band=band,
        wavelength=grid.wavelength,
        bin_width=grid.bin_width,
        flux=np.where(lost, 0.0, flux),
        variance=np.where(lost, np.inf, variance),
        boxcar_flux=np.where(lost, 0.0, box_flux),
        boxcar_variance=box_variance + unknown,
        sky=sky,
        background_variance=np.where(lost, np.inf, variance * shares[0]),
        quality=quality,
        trace=fit.profiles[source].centre_at(position),
        correlation=correlations(variance, covariance, ~lost),
    )
    on, off = sky_residual_widths(fit)
    return ExtractedOrder(
        spectrum,
        np.where(lost, 0.0, variance * shares[1]),
        np.where(lost, 0.0, covariance),
        on,
        off,
        float(fit.profiles[source].fwhm_at(grid.size / 2.0)),
    )


def _variance_shares(fit, source, expected, shared_variance):
    """Per bin: share of the variance that is not the object's photons, and share that the masters leave."""
    weight = fit.weight * (expected * fit.flat) ** 2
    total = fit.joint.per_bin(weight)
    total = np.where(total > 0, total, 1.0)
    objects = np.clip(fit.object_photons / fit.variance, 0.0, 1.0)
    background = fit.joint.per_bin(weight * (1.0 - objects)) / total
    masters = fit.flat_part if shared_variance is None else fit.flat_part + shared_variance
    shared = fit.joint.per_bin(weight * np.clip(masters / fit.variance, 0.0, 1.0)) / total
    return background, shared


def _bin_quality(fit, expected, coverage, lost):
    quality = np.zeros(coverage.size, dtype=np.int32)
    quality[coverage < _PARTIAL] |= np.int32(QualityFlag.PARTIAL_APERTURE)
    away = expected < 0.1 * expected.max()
    every = fit.joint.per_bin(away.astype(float))
    left = fit.joint.per_bin((away & fit.good).astype(float))
    quality[left < 0.3 * every] |= np.int32(QualityFlag.SKY_UNCERTAIN)
    quality[lost] |= np.int32(QualityFlag.NO_DATA)
    return quality


def _boxcar(fit: OrderFit, source: int, aperture: float):
    """Plain sum within the aperture, sky and other sources subtracted; masked pixels give their model value."""
    profile, pixels = fit.profiles[source], fit.pixels
    half = pixels.interpolate(aperture * profile.fwhm_in_bins())
    distance = np.abs(pixels.slit - pixels.interpolate(profile.centre_in_bins()))
    inside = np.clip((half - distance) / pixels.footprint + 0.5, 0.0, 1.0)
    own = fit.solution.objects[source]
    light = np.where(fit.good, fit.residual + own, own) / np.maximum(fit.flat, 0.02)
    noise = fit.variance / np.maximum(fit.flat, 0.02) ** 2
    flux = fit.joint.per_bin(inside * light)
    variance = fit.joint.per_bin(inside**2 * noise)
    # The sky under the aperture was measured beside it.
    number = fit.joint.per_bin(inside)
    beside = fit.joint.per_bin((fit.good & (inside == 0)).astype(float))
    variance = variance * (1.0 + number / np.maximum(beside, 1.0))
    return flux, variance


def correlations(variance: np.ndarray, covariance: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Correlation coefficients (k, n) from covariances (k, n) with the next bins; 0 where a bin is not known."""
    result = np.zeros(covariance.shape)
    sigma = np.sqrt(np.where(known, variance, 1.0))
    for lag in range(1, len(covariance) + 1):
        both = known[:-lag] & known[lag:]
        coefficients = covariance[lag - 1, :-lag] / (sigma[:-lag] * sigma[lag:])
        result[lag - 1, :-lag] = np.where(both, np.clip(coefficients, -1.0, 1.0), 0.0)
    return result


def sky_residual_widths(fit: OrderFit) -> tuple[float, float]:
    """Robust width of residual/sigma away from all objects: (on lines, off lines).

    A line is where the sky stands over five times its continuum; NaN where fewer than 200 pixels tell.
    """
    objects = np.abs(fit.solution.objects).sum(axis=0)
    away = fit.good & (objects < 0.02 * np.sqrt(fit.variance) + 0.01 * np.abs(fit.sky))
    sky = fit.line_sky
    continuum = np.maximum(np.percentile(sky, 30), 1e-6)
    line = fit.pixels.interpolate(sky) > 5.0 * continuum
    pull = fit.residual / np.sqrt(fit.variance)
    return _robust_width(pull[away & line]), _robust_width(pull[away & ~line])


def _robust_width(values):
    if values.size < 200:
        return float("nan")
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
