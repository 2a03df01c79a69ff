"""Counts to flux above the atmosphere, with a response and an extinction curve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum

__all__ = ["FLUX_UNIT", "ExtinctionCurve", "flux_calibrate", "response_at"]

FLUX_UNIT = "erg / (s cm2 Angstrom)"


@dataclass(frozen=True, slots=True)
class ExtinctionCurve:
    """Atmospheric extinction: wavelength [nm] ascending, extinction [mag per airmass]."""

    wavelength: np.ndarray
    extinction: np.ndarray

    def factor(self, wavelength: np.ndarray, airmass: float) -> np.ndarray:
        """What the atmosphere took, as a factor >= 1 that gives it back; the ends of the curve are held."""
        magnitudes = np.interp(wavelength, self.wavelength, self.extinction)
        return 10.0 ** (0.4 * airmass * magnitudes)


def response_at(
    response: Response, order: np.ndarray | int, wavelength: np.ndarray, bin_width: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Response between its samples.

    Parameters
    ----------
    response : Response
    order : int or ndarray (n,) int
        Which order each wavelength belongs to.
    wavelength : ndarray (n,) [nm]
    bin_width : ndarray (n,) or float [nm]
        A bin that holds an end of the samples is reached. They end on bins of the standard, so that no bin of
        another exposure comes and goes with the last digits of its wavelength.

    Returns
    -------
    value : ndarray (n,) float64
        Straight lines in the logarithm, the ends held; 0 where the response holds no sample of the order around.
    relative_error : ndarray (n,) float64
        0 where value is 0.
    quality : ndarray (n,) int32
        Bits of the nearest sample; EXTRAPOLATED and NO_DATA where value is 0.
    """
    wavelength = np.asarray(wavelength, dtype=np.float64)
    order = np.broadcast_to(np.asarray(order), wavelength.shape)
    lower, upper = wavelength - 0.5 * np.asarray(bin_width), wavelength + 0.5 * np.asarray(bin_width)
    value, relative = np.zeros(wavelength.shape), np.zeros(wavelength.shape)
    quality = np.full(wavelength.shape, int(QualityFlag.NO_DATA | QualityFlag.EXTRAPOLATED), dtype=np.int32)
    for number in np.unique(order):
        samples = np.flatnonzero((response.order == number) & (response.response > 0))
        if samples.size < 2:
            continue
        samples = samples[np.argsort(response.wavelength[samples])]
        grid = response.wavelength[samples]
        chosen = np.flatnonzero((order == number) & (upper >= grid[0]) & (lower <= grid[-1]))
        at = wavelength[chosen]
        value[chosen] = np.exp(np.interp(at, grid, np.log(response.response[samples])))
        relative[chosen] = np.interp(at, grid, response.error[samples] / response.response[samples])
        nearest = np.clip(np.searchsorted(0.5 * (grid[1:] + grid[:-1]), at), 0, samples.size - 1)
        quality[chosen] = response.quality[samples[nearest]]
    return value, relative, quality


def flux_calibrate(
    spectrum: OrderSpectrum | MergedSpectrum,
    response: Response,
    extinction: ExtinctionCurve,
    airmass: float,
    exposure_time: float,
) -> OrderSpectrum | MergedSpectrum:
    """Flux density above the atmosphere of an extracted spectrum.

    Parameters
    ----------
    spectrum : OrderSpectrum or MergedSpectrum
        In electrons (a bin) or electrons / nm; ValueError for anything else. Orders are best calibrated before
        they are merged: a merged spectrum takes, in each bin, the response of the order of largest weight.
    response : Response
    extinction : ExtinctionCurve
    airmass : float
        Mean over the exposure.
    exposure_time : float [s]

    Returns
    -------
    OrderSpectrum or MergedSpectrum
        [erg s-1 cm-2 Angstrom-1]. The variance includes the response's error, which is one error for all
        exposures calibrated with it. Bins that the response does not reach have flux 0, variance inf, NO_DATA.
    """
    if not exposure_time > 0:
        raise ValueError(f"exposure time must be above 0 s, not {exposure_time}")
    order = spectrum.order
    value, relative, quality = response_at(response, order, spectrum.wavelength, spectrum.bin_width)
    scale = value * extinction.factor(spectrum.wavelength, airmass) / exposure_time
    quality = (spectrum.quality | quality).astype(np.int32)
    if isinstance(spectrum, MergedSpectrum):
        _check_unit(spectrum.flux_unit, "electron / nm")
        flux, variance = _scaled(spectrum.flux, spectrum.variance, scale, relative)
        return replace(
            spectrum, flux=flux, variance=variance, sky=spectrum.sky * scale, quality=quality, flux_unit=FLUX_UNIT
        )
    _check_unit(spectrum.flux_unit, "electron")
    scale = scale / spectrum.bin_width
    flux, variance = _scaled(spectrum.flux, spectrum.variance, scale, relative)
    boxcar, boxcar_variance = _scaled(spectrum.boxcar_flux, spectrum.boxcar_variance, scale, relative)
    known = np.isfinite(variance)
    return replace(
        spectrum,
        flux=flux,
        variance=variance,
        boxcar_flux=boxcar,
        boxcar_variance=boxcar_variance,
        sky=spectrum.sky * scale,
        background_variance=np.where(known, spectrum.background_variance, 1.0) * np.where(known, scale**2, np.inf),
        quality=quality,
        flux_unit=FLUX_UNIT,
    )


def _check_unit(unit: str, expected: str) -> None:
    if unit != expected:
        raise ValueError(f"flux calibration takes {expected!r}, not {unit!r}")


def _scaled(
    flux: np.ndarray, variance: np.ndarray, scale: np.ndarray, relative: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    reached = (scale > 0) & np.isfinite(variance)
    scaled_flux = np.where(reached, flux * scale, 0.0)
    factor = np.where(reached, scale, 1.0) ** 2
    own = np.where(reached, variance, 1.0) * factor
    return scaled_flux, np.where(reached, own + (scaled_flux * relative) ** 2, np.inf)
