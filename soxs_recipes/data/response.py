"""The response of an arm: what turns counts into flux."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Response"]


@dataclass(frozen=True, slots=True)
class Response:
    """Response per order, sampled in wavelength.

    flux [erg/s/cm2/A above the atmosphere] = density [e-/nm] / exposure time [s] * response * extinction factor.

    Attributes
    ----------
    order : ndarray (n,) int16
        0 where the sample is of all orders of the arm together.
    wavelength : ndarray (n,) float64 [nm, vacuum]
    response : ndarray (n,) float64 [erg s-1 cm-2 A-1 / (e- s-1 nm-1)]
    error : ndarray (n,) float64
        1 sigma of `response`.
    efficiency : ndarray (n,) float64
        Photons detected over photons on the primary mirror, atmosphere removed.
    quality : ndarray (n,) int32
        TELLURIC, EXTRAPOLATED.
    """

    order: np.ndarray
    wavelength: np.ndarray
    response: np.ndarray
    error: np.ndarray
    efficiency: np.ndarray
    quality: np.ndarray
