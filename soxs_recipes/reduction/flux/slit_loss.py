"""How much of a star's light a slit passes, from the width of its profile along the slit."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr

__all__ = ["slit_transmission"]

_STEPS = 6
_HALF_WIDTHS = np.linspace(0.0, 3.0, 301)  # places along the slit at which the profile is followed [FWHM]


def slit_transmission(
    fwhm: np.ndarray, width: float, *, optics_fwhm: float = 0.0, beta: float = 4.0
) -> np.ndarray:
    """Share of the light of a centred star that passes a long slit.

    Parameters
    ----------
    fwhm : ndarray (n,) [arcsec]
        Of the profile along the slit, as measured on the detector.
    width : float [arcsec]
        Of the slit.
    optics_fwhm : float [arcsec]
        What the spectrograph adds to it behind the slit, in quadrature.
    beta : float
        Exponent of the Moffat function that the star's image is taken for: near 4.8 for air alone
        (Trujillo et al. 2001, MNRAS 328, 977), less with the telescope's own aberrations.

    Returns
    -------
    ndarray (n,) float64
        NaN where `fwhm` is not above `optics_fwhm`.

    Notes
    -----
    Summed along the slit, a Moffat image is a Student distribution of 2 beta - 2 degrees of freedom across it,
    whose integral between the jaws is the answer. The measured profile is the image cut by the jaws: the image's
    own width is found so that its cut has the measured one.
    """
    fwhm = np.atleast_1d(np.asarray(fwhm, dtype=np.float64))
    inner = np.sqrt(np.where(fwhm > optics_fwhm, fwhm**2 - optics_fwhm**2, np.nan))
    alpha = inner / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    for _ in range(_STEPS):
        alpha = alpha * inner / _width_of_cut(alpha, width, beta)
    freedom = 2.0 * beta - 2.0
    return 2.0 * stdtr(freedom, 0.5 * width / alpha * np.sqrt(freedom)) - 1.0


def _width_of_cut(alpha: np.ndarray, width: float, beta: float) -> np.ndarray:
    """FWHM along the slit of the light between the jaws."""
    nodes, weights = np.polynomial.legendre.leggauss(48)
    across = (0.5 * width * nodes[None, :] / alpha[:, None]) ** 2
    along = _HALF_WIDTHS**2
    light = ((1.0 + across[:, None, :] + along[None, :, None]) ** -beta) @ weights
    half = light / light[:, :1] - 0.5
    # The profile falls all along: the first place below half, and a straight line to it.
    below = np.argmax(half < 0.0, axis=1)
    rows = np.arange(alpha.size)
    upper, lower = half[rows, below - 1], half[rows, below]
    step = _HALF_WIDTHS[1]
    found = 2.0 * alpha * (_HALF_WIDTHS[below] - step * lower / (lower - upper))
    return np.where(np.isfinite(alpha), found, np.nan)
