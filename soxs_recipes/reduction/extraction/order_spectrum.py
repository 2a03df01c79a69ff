"""The spectra of the sources in one order, from a finished fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from soxs_recipes.compiled import compiled
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.sky.sky_model import binned_median

__all__ = ["ExtractedOrder", "correlations", "empty_order", "order_spectra"]

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
    profile_errors : ndarray (causes,)
        Relative errors of the flux, each the same in all bins, that the profile's own error leaves: of independent
        causes, which all orders of an exposure have in common. Not part of the variance.
    """

    spectrum: OrderSpectrum
    shared_variance: np.ndarray
    covariance: np.ndarray
    sky_residual_on: float
    sky_residual_off: float
    seeing: float
    profile_errors: np.ndarray = field(default_factory=lambda: np.zeros(0))


def empty_order(like: ExtractedOrder, causes: int) -> ExtractedOrder:
    """An order of which an exposure tells nothing, on the bins and with the trace of another exposure.

    `causes` of profile errors are those of the exposure's other orders.
    """
    zero = np.zeros(like.spectrum.flux.size)
    spectrum = replace(
        like.spectrum,
        flux=zero,
        variance=zero + np.inf,
        boxcar_flux=zero,
        boxcar_variance=zero + np.inf,
        sky=zero,
        background_variance=zero + np.inf,
        quality=np.full(zero.size, np.int32(QualityFlag.NO_DATA)),
        correlation=np.zeros_like(like.spectrum.correlation),
    )
    covariance, nothing = np.zeros_like(like.covariance), float("nan")
    return ExtractedOrder(spectrum, zero, covariance, nothing, nothing, like.seeing, np.zeros(causes))


def order_spectra(
    fit: OrderFit, band: str, *, aperture: float, shared_variance: np.ndarray | None = None
) -> list[ExtractedOrder]:
    """Bin values, errors and quality of every source.

    Parameters
    ----------
    fit : OrderFit
        After its last `solve`.
    band : str
    aperture : float
        Half-width of the boxcar in FWHM.
    shared_variance : ndarray (pixels,) or None
        Noise of bias and dark masters in the pixels.
    """
    widths = sky_residual_widths(fit)
    masters = fit.flat_part if shared_variance is None else fit.flat_part + shared_variance
    return [
        _order_spectrum(fit, source, band, _sums(fit, source, aperture, masters), widths)
        for source in range(len(fit.solution.flux))
    ]


def _order_spectrum(fit, source, band, sums: _BinSums, widths) -> ExtractedOrder:
    grid = fit.pixels.grid
    flux = fit.solution.flux[source]
    variance, covariance = fit.joint.flux_covariance(source)
    lost = (sums.coverage < _LOST) | ~(variance > 0)
    total = np.where(sums.weight > 0, sums.weight, 1.0)
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
        boxcar_flux=np.where(lost, 0.0, sums.light),
        # The sky under the aperture was measured beside it.
        boxcar_variance=sums.noise * (1.0 + sums.inside / np.maximum(sums.beside, 1.0)) + unknown,
        sky=sky,
        background_variance=np.where(lost, np.inf, variance * sums.background / total),
        quality=_bin_quality(sums, lost),
        trace=fit.profiles[source].centre_at(position),
        correlation=correlations(variance, covariance, ~lost),
    )
    return ExtractedOrder(
        spectrum,
        np.where(lost, 0.0, variance * sums.masters / total),
        np.where(lost, 0.0, covariance),
        *widths,
        float(fit.profiles[source].fwhm_at(grid.size / 2.0)),
        fit.profile_errors.get(source, np.zeros(0)),
    )


class _BinSums(NamedTuple):
    """Sums over the pixels of every bin (bins,).

    Attributes
    ----------
    coverage
        Light of the profile in pixels that take part.
    weight, background, masters
        What pixels know of the flux; the shares whose noise is not the object's photons, and that masters leave.
    away, away_good
        Pixels away from the source, and those of them that take part.
    light, noise, inside, beside
        In the aperture: plain sum [e-], its variance [e-^2] and pixels; pixels beside it that take part.
    """

    coverage: np.ndarray
    weight: np.ndarray
    background: np.ndarray
    masters: np.ndarray
    away: np.ndarray
    away_good: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    inside: np.ndarray
    beside: np.ndarray


def _sums(fit: OrderFit, source: int, aperture: float, masters: np.ndarray) -> _BinSums:
    profile, pixels = fit.profiles[source], fit.pixels
    sums = _shared_sums(
        fit.joint.position,
        pixels.place,
        pixels.slit,
        pixels.footprint,
        fit.profile_values(source),
        fit.flat,
        fit.good,
        fit.variance,
        fit.object_photons,
        masters,
        fit.residual,
        fit.solution.objects[source],
        np.stack([profile.centre_in_bins(), aperture * profile.fwhm_in_bins()]),
    )
    return _BinSums(*np.ascontiguousarray(sums.T))


@compiled
def _shared_sums(
    position, place, slit, footprint, profile, flat, good, variance, photons, masters, residual, own, curves
):
    """The sums of `_BinSums` (bins, 10), each pixel shared out to the two bins about its position.

    Parameters
    ----------
    position : ndarray (pixels,) [bins]
    place : (below, share), each (pixels,)
        As from `order_pixels.bins_around`, for the curves.
    slit, footprint, profile, flat, good, variance
        As in `OrderFit`.
    photons, masters : ndarray (pixels,) [e-^2]
        Variance that the objects and the masters leave.
    residual, own : ndarray (pixels,) [e-]
        Data minus model, and the source's light; a masked pixel gives the latter.
    curves : ndarray (2, bins) [arcsec]
        Centre and half-width of the aperture.
    """
    below, share = place
    bins, terms = curves.shape[1], np.empty(10)
    sums, brightest = np.zeros((bins, terms.size)), 0.0
    for i in range(position.size):
        brightest = max(brightest, profile[i] * footprint[i])
    for i in range(position.size):
        expected, response = profile[i] * footprint[i], max(flat[i], 0.02)
        known = 1.0 if good[i] else 0.0
        terms[0] = known * expected
        terms[1] = known / variance[i] * (expected * flat[i]) ** 2
        terms[2] = terms[1] * (1.0 - min(max(photons[i] / variance[i], 0.0), 1.0))
        terms[3] = terms[1] * min(max(masters[i] / variance[i], 0.0), 1.0)
        terms[4] = 1.0 if expected < 0.1 * brightest else 0.0
        terms[5] = known * terms[4]
        a, b = below[i], min(below[i] + 1, bins - 1)
        centre = curves[0, a] + share[i] * (curves[0, b] - curves[0, a])
        half = curves[1, a] + share[i] * (curves[1, b] - curves[1, a])
        inside = min(max((half - abs(slit[i] - centre)) / footprint[i] + 0.5, 0.0), 1.0)
        terms[6] = inside * (own[i] + residual[i] if good[i] else own[i]) / response
        terms[7] = inside**2 * variance[i] / response**2
        terms[8] = inside
        terms[9] = known if inside == 0.0 else 0.0
        low = int(np.floor(position[i]))
        upper = position[i] - low
        if 0 <= low < bins:
            for k in range(terms.size):
                sums[low, k] += terms[k] * (1.0 - upper)
        if -1 <= low < bins - 1:
            for k in range(terms.size):
                sums[low + 1, k] += terms[k] * upper
    return sums


def _bin_quality(sums: _BinSums, lost: np.ndarray) -> np.ndarray:
    quality = np.zeros(lost.size, dtype=np.int32)
    quality[sums.coverage < _PARTIAL] |= np.int32(QualityFlag.PARTIAL_APERTURE)
    quality[sums.away_good < 0.3 * sums.away] |= np.int32(QualityFlag.SKY_UNCERTAIN)
    quality[lost] |= np.int32(QualityFlag.NO_DATA)
    return quality


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
    sky = fit.line_sky
    continuum = np.maximum(np.percentile(sky, 30), 1e-6)
    images = fit.good, fit.variance, fit.sky, fit.residual, fit.solution.objects
    on, off = _sky_pulls(fit.pixels.place, sky, 5.0 * float(continuum), *images)
    return _robust_width(on), _robust_width(off)


@compiled
def _sky_pulls(place, line_sky, limit, good, variance, sky, residual, objects):
    """Residual/sigma of pixels away from all objects: where the sky of their bin is above a limit, and elsewhere.

    Arguments as in `OrderFit`; `objects` (sources, pixels) [e-].
    """
    below, share = place
    pulls, line, count = np.empty(residual.size), np.empty(residual.size, np.bool_), 0
    for i in range(residual.size):
        light = 0.0
        for source in range(len(objects)):
            light += abs(objects[source, i])
        sigma = np.sqrt(variance[i])
        if good[i] and light < 0.02 * sigma + 0.01 * abs(sky[i]):
            here, there = line_sky[below[i]], line_sky[min(below[i] + 1, line_sky.size - 1)]
            pulls[count], line[count] = residual[i] / sigma, here + share[i] * (there - here) > limit
            count += 1
    pulls, line = pulls[:count], line[:count]
    return pulls[line], pulls[~line]


def _robust_width(values):
    if values.size < 200:
        return float("nan")
    return 1.4826 * _median(np.abs(values - _median(values)))


def _median(values):
    """As numpy's, in a third of the time."""
    return float(binned_median(np.zeros(values.size), values, 1)[0][0])
