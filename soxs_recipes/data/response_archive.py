"""Responses of many nights, kept to judge a new one and to stand in where there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["ResponseArchive"]


@dataclass(frozen=True, slots=True)
class ResponseArchive:
    """Curves of one arm on the same samples, a row a night's standard.

    Attributes
    ----------
    order : ndarray (n,) int16
    wavelength : ndarray (n,) float64 [nm, vacuum]
    photons : ndarray (n,) float64
        Efficiency times response, which depends on the wavelength only.
    quality : ndarray (n,) int32
        TELLURIC, EXTRAPOLATED: of any curve.
    curves : ndarray (m, n) float64 [erg s-1 cm-2 A-1 / (e- s-1 nm-1)]
        NaN where a night has none.
    errors : ndarray (m, n) float64
        1 sigma of `curves`.
    mjd : ndarray (m,) float64
        Of the exposures, ascending.
    stars : tuple of str (m)
    """

    order: np.ndarray
    wavelength: np.ndarray
    photons: np.ndarray = field(repr=False)
    quality: np.ndarray = field(repr=False)
    curves: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)
    mjd: np.ndarray
    stars: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of curves."""
        return self.curves.shape[0]
