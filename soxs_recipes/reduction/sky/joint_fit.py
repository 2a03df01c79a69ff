"""Sky and objects of one order in one least-squares fit on unresampled detector pixels.

Every pixel's model is

    flat * footprint * [ illumination(s) * sky(p) + sum_k profile_k(s, p) * flux_k(p) ]

with p the position among the wavelength bins and s along the slit. Sky and fluxes are cubic B-splines in p;
ordered by p, all their coefficients share one banded normal matrix, so the covariance of the flux holds what the
sky fit costs, masked pixels only lower the information, and tilt costs no resolution. With one sky parameter a
wavelength this is the optimal extraction of Horne (1986, PASP 98, 609) with simultaneous sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soxs_recipes.reduction.numerics.banded import (
    BandedSystem,
    SplineBasis,
    interleaved,
    spline_terms,
    uniform_basis,
)
from soxs_recipes.reduction.numerics.banded_kernels import covariances

__all__ = ["JointModel", "JointSolution"]

_LAGS = 4
# With a knot every bin the spline could follow noise that no line spread function lets light have (bins are a
# pixel, lines two or more); a little wider costs nothing for lines of 1.5 bins FWHM and takes that noise away.
_FLUX_KNOTS = 1.04  # bins


@dataclass(frozen=True, slots=True)
class JointSolution:
    """Result of one joint fit.

    Attributes
    ----------
    sky_coefficients : ndarray (m,) [e-/bin/arcsec]
    flux : ndarray (sources, bins) [e-/bin]
    sky : ndarray (pixels,) [e-]
        Sky in every pixel, flat included.
    objects : ndarray (sources, pixels) [e-]
    """

    sky_coefficients: np.ndarray
    flux: np.ndarray
    sky: np.ndarray
    objects: np.ndarray

    @property
    def model(self) -> np.ndarray:
        """Everything in every pixel [e-]."""
        return sum(self.objects, self.sky)


class JointModel:
    """The linear model of one order.

    Parameters
    ----------
    position : ndarray (pixels,) [bins]
    bins : int
    sensitivity : ndarray (pixels,)
        flat * footprint.
    illumination : ndarray (pixels,)
        Relative sky brightness along the slit, about 1.
    profiles : sequence (sources) of ndarray (pixels,) [1/arcsec]
        Each of unit integral along the slit.
    sky_basis : SplineBasis
    offsets : sequence of float or None [bins]
        Added to the positions of each source's light, which may come from an exposure with other flexure.
    background : ndarray (terms, pixels) or None
        Curves along the slit of further light that counts as sky: each times a spectrum of its own, as fine as
        the sky's.

    Attributes
    ----------
    position
        As given.
    """

    def __init__(
        self,
        position,
        bins,
        sensitivity,
        illumination,
        profiles,
        sky_basis: SplineBasis,
        *,
        offsets=None,
        background=None,
    ):
        self.bins = bins
        self.sky_basis = sky_basis
        self.position = position
        self._flux_basis = uniform_basis(bins, _FLUX_KNOTS)
        self._at_bins = self._flux_basis.evaluate(np.arange(bins, dtype=np.float64))
        skies = [illumination] if background is None else [illumination, *background]
        self._skies = len(skies)
        bases = [sky_basis] * self._skies + [self._flux_basis] * len(profiles)
        shifts = [0.0] * len(profiles) if offsets is None else offsets
        self._ranks = interleaved(bases)
        factors = np.empty((len(bases), position.size))
        for row, curve in zip(factors, (*skies, *profiles), strict=True):
            np.multiply(sensitivity, curve, out=row)
        self._terms = spline_terms(bases, position, [0.0] * self._skies + list(shifts), factors)
        self._system = BandedSystem(self._terms, self._ranks)

    def solve(self, data: np.ndarray, weight: np.ndarray) -> JointSolution:
        """Least squares with weights 1/variance; weight 0 leaves a pixel out. To be called once."""
        self._system.accumulate(weight, data)
        diagonal = self._system.band[:, 0]
        informed = diagonal > 0
        typical = np.median(diagonal[informed]) if informed.any() else 1.0
        self._system.regularise(1e-7 * typical)
        solution = self._unpack(self._system.solve())
        # Hundreds of megabytes over all orders; covariances need the factor only.
        self._system.release()
        self._terms = None
        return solution

    def _unpack(self, coefficients) -> JointSolution:
        own = [coefficients[rank] for rank in self._ranks]
        light = self._terms.sums(own)
        sky_coefficients, sky = own[0], sum(light[1 : self._skies], light[0])
        own, objects = own[self._skies :], light[self._skies :]
        first, values = self._at_bins
        flux = [sum(values[k] * row[first + k] for k in range(4)) for row in own]
        return JointSolution(
            sky_coefficients,
            np.array(flux).reshape(len(own), self.bins),
            sky,
            objects,
        )

    def flux_covariance(
        self, source: int, other: int | None = None, lags: int = _LAGS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Variance of one source's flux per bin and its covariance with the next bins, after `solve`.

        With `other` the covariance of the source's flux with that of the other, in the same bin and the next.

        Returns
        -------
        variance : ndarray (bins,) [e-^2]
        covariance : ndarray (lags, bins) [e-^2]
            With bins i + 1 ... i + lags; 0 beyond the last bin.
        """
        first, values = self._at_bins
        indices = first + np.arange(4)[:, None]
        where = self._ranks[self._skies + source][indices]
        beside = where if other is None else self._ranks[self._skies + other][indices]
        result = self._covariance(where, beside, values, lags)
        return result[0], result[1:]

    def sky_covariance(self) -> np.ndarray:
        """Covariance of the sky at mid-slit on a lattice of half bins, after `solve`.

        Returns
        -------
        ndarray (11, 2 * bins) [(e-/bin/arcsec)^2]
            Row k is that of lattice point i (position i / 2) with i + k; 0 beyond the last.
        """
        first, values = self.sky_basis.evaluate(0.5 * np.arange(2 * self.bins))
        where = self._ranks[0][first + np.arange(4)[:, None]]
        return self._covariance(where, where, values, 2 * _LAGS + 2)

    def _covariance(self, where, beside, values, lags):
        """Of sums over coefficients `where` with later ones over `beside`, both with weights `values`."""
        # Ranks rise along each spline: those of the outermost of its four coefficients are the furthest apart.
        last = where.shape[1] - lags
        apart = max(
            np.abs(where[::3, None] - beside[::3]).max(),
            np.abs(where[::3, None, :last] - beside[::3, lags:]).max(initial=0),
        )
        return covariances(self._system.covariance(int(apart)), where, beside, values, lags)

    def beam_correlation(self) -> np.ndarray:
        """Correlation (5, bins) of the noise of source 0 with that of source 1 in the same bin and the next four.

        Source 1 is the negative beam and counted positive.
        """
        both, later = self.flux_covariance(0, 1)
        first, second = (self.flux_covariance(source, lags=0)[0] for source in (0, 1))
        result = np.zeros((_LAGS + 1, self.bins))
        for lag, covariance in enumerate([both, *later]):
            last = self.bins - lag
            product = first[:last] * second[lag:]
            known = np.isfinite(product) & (product > 0)
            values = -covariance[:last] / np.sqrt(np.where(known, product, 1.0))
            result[lag, :last] = np.where(known, np.clip(values, -1.0, 1.0), 0.0)
        return result

    def release_covariance(self) -> None:
        """Let go of what covariances were read from: megabytes an order."""
        self._system.release_covariance()
