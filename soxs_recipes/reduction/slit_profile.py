"""How a source's light spreads along the slit: a Moffat function with smooth parameters, corrected by the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legval
from scipy.special import gammaln

from soxs_recipes.reduction.banded import SplineBasis
from soxs_recipes.reduction.order_pixels import OrderPixels

__all__ = ["SlitProfile", "fit_correction", "moffat"]

# Three-point Gauss-Legendre rule on [-1/2, 1/2]: the pixel averages the profile.
_NODES = np.array([-0.3872983346207417, 0.0, 0.3872983346207417])
_NODE_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0
_REACH = 2.2  # FWHM on either side that the empirical correction covers.
_TABLE = np.linspace(-_REACH, _REACH, 1201)
TAIL_RANGE = (0.02, 0.55)  # 1/beta of the Moffat function: near-Gaussian ... beta 1.8


def moffat(distance: np.ndarray, fwhm: np.ndarray | float, tail: float) -> np.ndarray:
    """Moffat function of unit integral; `tail` is 1/beta, so that 0 is a Gaussian.

    Moffat 1969, A&A 3, 455, equation 7, in one dimension.
    """
    beta = 1.0 / tail
    spread = np.expm1(tail * np.log(2.0))
    alpha = 0.5 * fwhm / np.sqrt(spread)
    norm = np.exp(gammaln(beta) - gammaln(beta - 0.5)) / np.sqrt(np.pi)
    return norm / alpha * np.exp(-beta * np.log1p((distance / alpha) ** 2))


@dataclass(frozen=True, slots=True)
class SlitProfile:
    """The profile of one source in one order.

    Attributes
    ----------
    centre : ndarray
        Legendre coefficients [arcsec] in the position scaled to [-1, 1].
    log_width : ndarray
        Same, of ln(FWHM [arcsec]) before the pixel's own averaging.
    tail : float
        1/beta.
    bins : int
    correction : ndarray (k, 2) or None
        B-spline coefficients over distance/FWHM, constant and linear along the order, in units of 1/FWHM.
    correction_step : float
        Knot spacing in FWHM.
    """

    centre: np.ndarray
    log_width: np.ndarray
    tail: float
    bins: int
    correction: np.ndarray | None = None
    correction_step: float = 0.4

    def scaled(self, position: np.ndarray) -> np.ndarray:
        """Position in [-1, 1]."""
        return 2.0 * np.asarray(position, float) / self.bins - 1.0

    def centre_at(self, position: np.ndarray) -> np.ndarray:
        """Slit position [arcsec] at positions [bins]."""
        return legval(self.scaled(position), self.centre)

    def fwhm_at(self, position: np.ndarray) -> np.ndarray:
        """FWHM [arcsec] at positions [bins]."""
        return np.exp(legval(self.scaled(position), self.log_width))

    def evaluate(self, pixels: OrderPixels) -> np.ndarray:
        """Profile in every pixel [1/arcsec], averaged over the pixel, of unit integral over the slit."""
        position, slit = pixels.position, pixels.slit
        distance = slit - self.centre_at(position)
        fwhm = self.fwhm_at(position)
        values = np.zeros_like(distance)
        for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
            values += weight * self._at(distance + node * pixels.footprint, fwhm, position)
        return values / self._inside(pixels)

    def _at(self, distance, fwhm, position):
        values = moffat(distance, fwhm, self.tail)
        if self.correction is not None:
            u = distance / fwhm
            near = np.abs(u) < _REACH
            constant, slope = self._correction_table()
            t = self.scaled(position[near])
            change = np.interp(u[near], _TABLE, constant) + t * np.interp(u[near], _TABLE, slope)
            values[near] += change / fwhm[near]
        return values

    def _correction_table(self):
        first, basis = _correction_basis(self.correction_step).evaluate(_TABLE)
        constant, slope = self.correction.T
        return tuple(sum(basis[k] * values[first + k] for k in range(4)) for values in (constant, slope))

    def _inside(self, pixels):
        """Integral over the slit, slowly varying along the order."""
        nodes = np.linspace(0.0, self.bins, 5)
        grid = np.linspace(*pixels.slit_range, 300)
        step = grid[1] - grid[0]
        integral = []
        for node in nodes:
            centre, fwhm = self.centre_at(node), self.fwhm_at(node)
            position = np.full(grid.size, node)
            values = self._at(grid - centre, np.full(grid.size, fwhm), position)
            integral.append(values.sum() * step)
        return np.interp(pixels.position, nodes, integral)

    def effective_width(self, pixels: OrderPixels, position: np.ndarray) -> np.ndarray:
        """Noise-equivalent width [arcsec]: 1 / integral of the squared profile."""
        nodes = np.linspace(0.0, self.bins, 5)
        grid = np.linspace(*pixels.slit_range, 300)
        step = grid[1] - grid[0]
        widths = []
        for node in nodes:
            values = self._at(
                grid - self.centre_at(node), np.full(grid.size, self.fwhm_at(node)), np.full(grid.size, node)
            )
            values = values / (values.sum() * step)
            widths.append(1.0 / ((values**2).sum() * step))
        return np.interp(position, nodes, widths)

    def moved(self, *, centre: float = 0.0, log_width: float = 0.0, tail: float = 0.0) -> SlitProfile:
        """A copy with its parameters changed by constants."""
        new_centre, new_width = self.centre.copy(), self.log_width.copy()
        new_centre[0] += centre
        new_width[0] += log_width
        return replace(self, centre=new_centre, log_width=new_width, tail=self.tail + tail)


def _correction_basis(step: float) -> SplineBasis:
    count = max(round(2.0 * _REACH / step), 4)
    inner = np.linspace(-_REACH, _REACH, count + 1)
    spacing = inner[1] - inner[0]
    extra = spacing * np.arange(1, 4)
    return SplineBasis(np.concatenate([inner[0] - extra[::-1], inner, inner[-1] + extra]))


def fit_correction(
    profile: SlitProfile,
    pixels: OrderPixels,
    residual: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    *,
    prior: float = 0.006,
) -> SlitProfile:
    """Let the data change the profile's shape where their noise permits.

    Parameters
    ----------
    residual : ndarray (pixels,) [e-]
        Data minus model.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    scale : ndarray (pixels,) [e- arcsec]
        flat * footprint * flux: what a profile of 1/arcsec would leave in each pixel.
    prior : float
        Expected size of the change, in 1/FWHM; a Gaussian prior, so noise alone changes little.
    """
    position = pixels.position
    fwhm = profile.fwhm_at(position)
    u = (pixels.slit - profile.centre_at(position)) / fwhm
    footprint = float(np.median(pixels.footprint))
    step = max(0.33, 0.6 * footprint / float(np.median(fwhm)))
    if profile.correction is not None:
        step = profile.correction_step
    basis = _correction_basis(step)
    near = (np.abs(u) < _REACH) & (weight > 0)
    first, values = basis.evaluate(u[near])
    t = profile.scaled(position[near])
    factor = scale[near] / fwhm[near]
    # Outermost three on either side are held at zero, so that the correction fades into the Moffat wings.
    free = np.arange(3, basis.size - 3)
    dense = np.zeros((near.sum(), basis.size))
    dense[np.arange(first.size), first + np.arange(4)[:, None]] = values
    dense = dense[:, free] * factor[:, None]
    design = np.concatenate([dense, dense * t[:, None]], axis=1)
    # A pedestal in proportion to the flux belongs to the sky, a factor to the flux: neither may leak in.
    nuisance = np.stack([scale[near], scale[near] * profile.evaluate(pixels)[near]], axis=1)
    nuisance = np.concatenate([nuisance, nuisance * t[:, None]], axis=1)
    full = np.concatenate([design, nuisance], axis=1)
    weighted = full * weight[near][:, None]
    count = design.shape[1]
    held = np.zeros(count) if profile.correction is None else profile.correction[free].T.ravel()
    precision = np.concatenate([np.full(count, prior**-2), np.full(4, 1e-6)])
    right = weighted.T @ residual[near]
    right[:count] -= precision[:count] * held
    normal = full.T @ weighted
    normal[np.diag_indices_from(normal)] += precision + 1e-12 * np.trace(normal)
    solution = held + np.linalg.solve(normal, right)[:count]
    coefficients = np.zeros((basis.size, 2))
    coefficients[free, 0], coefficients[free, 1] = solution[: free.size], solution[free.size :]
    return replace(profile, correction=coefficients, correction_step=step)
