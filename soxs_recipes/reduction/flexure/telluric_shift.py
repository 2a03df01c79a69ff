"""Shift of a target's spectrum against the absorption that the atmosphere puts into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

__all__ = ["AbsorptionShift", "telluric_shift"]

_FINE = 8  # samples of the template a bin
_STEP = 0.25  # bins
_CHUNK = 96  # bins that share one strength of the absorption and one sloping continuum
_LEAST_DEPTH = 0.03
_LEAST_GAIN = 60.0  # fall of chi^2 from which a spectrum tells its shift
_FLOOR = 0.04  # bins: the template is of another night


@dataclass(frozen=True, slots=True)
class AbsorptionShift:
    """Shift of one spectrum.

    Attributes
    ----------
    shift, error : float [bins]
        Towards longer wavelengths; NaN when the spectrum does not tell.
    gain : float
        Fall of chi^2.
    """

    shift: float
    error: float
    gain: float


def telluric_shift(
    wavelength: np.ndarray,
    flux: np.ndarray,
    variance: np.ndarray,
    template: tuple[np.ndarray, np.ndarray],
    *,
    airmass: float = 1.0,
    blur: float = 1.2,
    search: float = 3.0,
) -> AbsorptionShift:
    """Cross-correlate a spectrum with the transmission of the atmosphere.

    Parameters
    ----------
    wavelength : ndarray (n,) [nm, vacuum]
        Ascending, a bin about a pixel.
    flux, variance : ndarray (n,)
        Variance inf where there is nothing.
    template : (wavelength [nm, vacuum], transmission at the zenith)
    airmass : float
    blur : float [bins]
        Gaussian sigma that brings the template to the spectrum's resolution.
    search : float [bins]

    Notes
    -----
    In chunks the spectrum is continuum (a straight line) times 1 - a (1 - T); a is free, for the columns of the
    night are not known. The shift is where chi^2, summed over chunks, is least; its error follows from the
    curvature there, chi^2 being scaled to its own minimum where the template does not fit to the noise.
    """
    nothing = AbsorptionShift(float("nan"), float("nan"), 0.0)
    size = flux.size // _CHUNK * _CHUNK
    if size == 0:
        return nothing
    shifts = np.arange(-search, search + 0.5 * _STEP, _STEP)
    depth = _absorption(wavelength, template, airmass, blur, shifts)[:, :size].reshape(shifts.size, -1, _CHUNK)
    chosen = depth[shifts.size // 2].max(axis=1) > _LEAST_DEPTH
    good = np.isfinite(flux) & (variance > 0) & np.isfinite(variance)
    weight = np.where(good, 1.0 / np.where(good, variance, 1.0), 0.0)[:size].reshape(-1, _CHUNK)
    data = np.where(good, flux, 0.0)[:size].reshape(-1, _CHUNK)
    chosen &= (weight > 0).sum(axis=1) > _CHUNK // 2
    if not chosen.any():
        return nothing
    gains, residual, freedom = _gains(data[chosen], weight[chosen], depth[:, chosen])
    return _peak(shifts, gains, residual / max(freedom, 1))


def _absorption(wavelength, template, airmass, blur, shifts):
    """1 - T in every bin for every shift."""
    reach = float(np.abs(shifts).max()) + 1.0
    bins = np.arange(wavelength.size, dtype=np.float64)
    fine = np.arange(-reach, wavelength.size - 1 + reach, 1.0 / _FINE)
    # Wavelengths go on beyond both ends as they run there.
    step = (wavelength[1] - wavelength[0], wavelength[-1] - wavelength[-2])
    place = np.interp(fine, bins, wavelength)
    place += np.minimum(fine, 0.0) * step[0] + np.maximum(fine - bins[-1], 0.0) * step[1]
    through = np.interp(place, *template)
    depth = 1.0 - gaussian_filter1d(np.clip(through, 1e-6, 1.0) ** airmass, blur * _FINE)
    return np.stack([np.interp(bins - shift, fine, depth) for shift in shifts])


def _gains(data, weight, depth):
    """(fall of chi^2 for every shift, least chi^2, degrees of freedom)."""
    level = (data * weight).sum(axis=1) / weight.sum(axis=1)
    ramp = np.broadcast_to(np.linspace(-1.0, 1.0, _CHUNK), data.shape)
    gains, chi = np.zeros(depth.shape[0]), np.zeros(depth.shape[0])
    total = float((weight * data * data).sum())
    for k, absorbed in enumerate(depth):
        design = np.stack([np.ones_like(data), ramp, -absorbed * level[:, None]], axis=2)
        normal = np.einsum("nki,nk,nkj->nij", design, weight, design)
        normal += (1e-10 * np.trace(normal, axis1=1, axis2=2) + 1e-30)[:, None, None] * np.eye(3)
        right = np.einsum("nki,nk,nk->ni", design, weight, data)
        solution = np.linalg.solve(normal, right[..., None])[..., 0]
        spread = np.linalg.inv(normal)[:, 2, 2]
        gains[k] = np.where(solution[:, 2] * level > 0, solution[:, 2] ** 2 / spread, 0.0).sum()
        chi[k] = total - float((solution * right).sum())
    freedom = int((weight > 0).sum()) - 3 * data.shape[0]
    return gains, max(float(chi.min()), 0.0), freedom


def _peak(shifts, gains, reduced) -> AbsorptionShift:
    top = int(np.argmax(gains))
    gain = float(gains[top]) / max(reduced, 1.0)
    nothing = AbsorptionShift(float("nan"), float("nan"), gain)
    if gain < _LEAST_GAIN or not 0 < top < shifts.size - 1:
        return nothing
    before, here, after = gains[top - 1 : top + 2]
    bend = before - 2.0 * here + after
    if bend >= 0:
        return nothing
    error = _STEP * np.sqrt(-2.0 * max(reduced, 1.0) / bend)
    shift = shifts[top] + _STEP * 0.5 * (before - after) / bend
    return AbsorptionShift(float(shift), float(np.hypot(error, _FLOOR)), gain)
