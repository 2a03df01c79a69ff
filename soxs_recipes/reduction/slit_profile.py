"""How a source's light spreads along the slit: a Moffat function with smooth parameters, corrected by the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legval
from scipy.special import gammaln

from soxs_recipes.reduction.banded import SplineBasis
from soxs_recipes.reduction.order_pixels import OrderPixels, between_bins, bins_around

__all__ = ["SlitProfile", "fit_correction", "moffat"]

# Three-point Gauss-Legendre rule on [-1/2, 1/2]: the pixel averages the profile.
_NODES = np.array([-0.3872983346207417, 0.0, 0.3872983346207417])
_NODE_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0
_DENSITY = 400  # table entries per FWHM in the core: linear interpolation is good to 1e-5 of the peak
_CORE = 3.0  # FWHM
_TAIL_STEP = 0.02
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

    def differs(self, other: SlitProfile) -> float:
        """Largest difference of centre [arcsec], ln width and tail at both ends and the middle of the order."""
        position = np.array([0.0, 0.5, 1.0]) * self.bins
        centre = self.centre_at(position) - other.centre_at(position)
        swell = np.log(self.fwhm_at(position) / other.fwhm_at(position))
        return float(np.abs([*centre, *swell, self.tail - other.tail]).max())

    def evaluate(self, pixels: OrderPixels) -> np.ndarray:
        """Profile in every pixel [1/arcsec], averaged over the pixel, of unit integral over the slit."""
        return _Averages(self, pixels).values()

    def with_derivatives(self, pixels: OrderPixels) -> tuple[np.ndarray, np.ndarray]:
        """`evaluate`, and its derivatives (3, pixels) by centre [1/arcsec^2], ln width and tail [1/arcsec].

        That the integral over the slit changes, too, is left out: it changes the amplitude only.
        """
        averages = _Averages(self, pixels)
        return averages.values(), averages.derivatives()

    def _at(self, u, t):
        """The profile of unit FWHM at the distance u from its centre."""
        values = moffat(u, 1.0, self.tail)
        if self.correction is not None:
            constant, slope = self._correction_tables()
            values += np.interp(u, _TABLE, constant, 0.0, 0.0) + t * np.interp(u, _TABLE, slope, 0.0, 0.0)
        return values

    def _correction_tables(self):
        """The correction and its slope along the order on `_TABLE`; beyond it they are 0."""
        first, basis = _correction_basis(self.correction_step).evaluate(_TABLE)
        return [sum(basis[k] * row[first + k] for k in range(4)) for row in self.correction.T]

    def _over_slit(self, pixels):
        """Nodes [bins] along the order, the profile at each over the slit (nodes, 300), and the step [arcsec]."""
        nodes = np.linspace(0.0, self.bins, 5)
        grid = np.linspace(*pixels.slit_range, 300)
        centre, fwhm = self.centre_at(nodes)[:, None], self.fwhm_at(nodes)[:, None]
        values = self._at((grid - centre) / fwhm, self.scaled(nodes)[:, None]) / fwhm
        return nodes, values, grid[1] - grid[0]

    def effective_width(self, pixels: OrderPixels, position: np.ndarray) -> np.ndarray:
        """Noise-equivalent width [arcsec]: 1 / integral of the squared profile."""
        nodes, values, step = self._over_slit(pixels)
        values = values / (values.sum(axis=1, keepdims=True) * step)
        return np.interp(position, nodes, 1.0 / ((values**2).sum(axis=1) * step))

    def moved(self, *, centre: float = 0.0, log_width: float = 0.0, tail: float = 0.0) -> SlitProfile:
        """A copy with its parameters changed by constants."""
        new_centre, new_width = self.centre.copy(), self.log_width.copy()
        new_centre[0] += centre
        new_width[0] += log_width
        return replace(self, centre=new_centre, log_width=new_width, tail=self.tail + tail)


class _Averages:
    """A profile averaged over every pixel, from tables over the distance u from the centre in FWHM.

    The tables are dense in the core and wide in the wings: evenly spaced in u / (1 + |u| / 3). The average depends
    on the pixel's size in FWHM, too, by its square nearly as a parabola.
    """

    def __init__(self, profile: SlitProfile, pixels: OrderPixels):
        self.profile, self.pixels = profile, pixels
        bins = np.arange(pixels.grid.size, dtype=np.float64)
        self.inverse = pixels.interpolate(1.0 / profile.fwhm_at(bins))
        self.u = pixels.slit - pixels.interpolate(profile.centre_at(bins))
        self.u *= self.inverse
        self.blur = (pixels.footprint * self.inverse) ** 2
        self.blurs = np.linspace(self.blur.min(initial=1e3), max(self.blur.max(initial=0.0), 1e-6), 3)
        inner = self.u / (1.0 + np.abs(self.u) / _CORE)
        half = int(np.abs(inner).max(initial=0.0) * _DENSITY) + 2
        grid = np.arange(-half, half + 1) / _DENSITY
        self.grid = grid / np.maximum(1.0 - np.abs(grid) / _CORE, 1e-3)
        inner *= _DENSITY
        inner += half
        self.place = bins_around(inner, self.grid.size)
        nodes, over_slit, step = profile._over_slit(pixels)
        # Integral over the slit, slowly varying along the order.
        self.factor = self.inverse * pixels.interpolate(1.0 / np.interp(bins, nodes, over_slit.sum(axis=1) * step))
        self.corrections = None if profile.correction is None else profile._correction_tables()
        # Newton's form of the parabola.
        first, second, third = (self._averaged(blur) for blur in self.blurs)
        step = max(self.blurs[1] - self.blurs[0], 1e-12)
        self.tables = first, (second - first) / step, (third - 2.0 * second + first) / (2.0 * step**2)

        if self.corrections is not None:
            self.slopes = self._slope_tables()

    def values(self) -> np.ndarray:
        """Average over every pixel [1/arcsec]."""
        return self._shape() * self.factor

    def _shape(self):
        first, second, third = self.tables
        shape = self.blur - self.blurs[1]
        shape *= between_bins(third, *self.place)
        shape += between_bins(second, *self.place)
        shape *= self.blur - self.blurs[0]
        shape += between_bins(first, *self.place)
        if self.corrections is not None:
            slope = between_bins(self.slopes[1], *self.place)
            slope *= self.blur - self.blurs[0]
            slope += between_bins(self.slopes[0], *self.place)
            shape += slope * self.profile.scaled(self.pixels.position)
        return shape

    def _averaged(self, blur):
        """Table of the profile at mid-order, averaged over pixels of one size."""
        table = self._over_pixel(lambda u: moffat(u, 1.0, self.profile.tail), blur)
        if self.corrections is not None:
            table += self._over_pixel(lambda u: np.interp(u, _TABLE, self.corrections[0], 0.0, 0.0), blur)
        return table

    def _slope_tables(self):
        """What the correction adds to it from mid-order to the end: first value and derivative by size."""
        ends = [
            self._over_pixel(lambda u: np.interp(u, _TABLE, self.corrections[1], 0.0, 0.0), blur)
            for blur in self.blurs[[0, 2]]
        ]
        return ends[0], (ends[1] - ends[0]) / max(self.blurs[2] - self.blurs[0], 1e-12)

    def _over_pixel(self, function, blur):
        size = np.sqrt(blur)
        pairs = zip(_NODES, _NODE_WEIGHTS, strict=True)
        return sum(weight * function(self.grid + node * size) for node, weight in pairs)

    def derivatives(self) -> np.ndarray:
        """By centre, ln width and tail (3, pixels)."""
        first, second, _ = (np.gradient(table, self.grid) for table in self.tables)
        slope = (self.blur - self.blurs[0]) * between_bins(second, *self.place)
        slope += between_bins(first, *self.place)
        if self.corrections is not None:
            tilt = between_bins(np.gradient(self.slopes[0], self.grid), *self.place)
            slope += self.profile.scaled(self.pixels.position) * tilt
        spread = -self._shape() - self.u * slope - 2.0 * self.blur * between_bins(self.tables[1], *self.place)
        tail = self.profile.tail
        other = tail + (_TAIL_STEP if tail < 0.3 else -_TAIL_STEP)
        change = self._over_pixel(lambda u: moffat(u, 1.0, other) - moffat(u, 1.0, tail), self.blurs[1])
        by_tail = between_bins(change / (other - tail), *self.place)
        return np.stack([-slope * self.inverse, spread, by_tail]) * self.factor


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
    other_light: Sequence[np.ndarray] = (),
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
    other_light : sequence of ndarray (pixels,) [e-]
        Of neighbours; it may change in brightness, too, rather than this profile in shape.
    """
    bins = np.arange(pixels.grid.size, dtype=np.float64)
    widths = profile.fwhm_at(bins)
    fwhm = pixels.interpolate(widths)
    u = (pixels.slit - pixels.interpolate(profile.centre_at(bins))) / fwhm
    step = max(0.33, 0.6 * float(np.median(pixels.footprint)) / float(np.median(widths)))
    if profile.correction is not None:
        step = profile.correction_step
    basis = _correction_basis(step)
    near = np.flatnonzero((np.abs(u) < _REACH) & (weight > 0))
    first, values = basis.evaluate(u.take(near))
    # With the root of the weight on both sides products are symmetric, which takes half the time.
    root = np.sqrt(weight.take(near))
    scale, residual = scale.take(near) * root, residual.take(near) * root
    values *= scale / fwhm.take(near)
    # Outermost three on either side are held at zero, so that the correction fades into the Moffat wings.
    free = np.arange(3, basis.size - 3)
    dense = np.zeros((basis.size, near.size))
    for k in range(4):
        dense[first + k, np.arange(near.size)] = values[k]
    # A pedestal in proportion to the flux belongs to the sky, a factor to the flux: neither may leak in.
    nuisance = [
        scale,
        scale * profile.evaluate(pixels).take(near),
        *(light.take(near) * root for light in other_light),
    ]
    even = np.concatenate([dense[free], nuisance])
    full = np.concatenate([even, even * profile.scaled(pixels.position.take(near))])
    count = 2 * free.size
    held = np.zeros(count) if profile.correction is None else profile.correction[free].T.ravel()
    precision = np.concatenate([np.full(count, prior**-2), np.full(2 * len(nuisance), 1e-6)])
    first_corrections = _corrections_first(free.size, len(nuisance))
    right = (full @ residual)[first_corrections]
    right[:count] -= precision[:count] * held
    normal = (full @ full.T)[np.ix_(first_corrections, first_corrections)]
    normal[np.diag_indices_from(normal)] += precision + 1e-12 * np.trace(normal)
    solution = held + np.linalg.solve(normal, right)[:count]
    coefficients = np.zeros((basis.size, 2))
    coefficients[free, 0], coefficients[free, 1] = solution[: free.size], solution[free.size :]
    return replace(profile, correction=coefficients, correction_step=step)


def _corrections_first(free: int, nuisances: int) -> np.ndarray:
    """Order of the rows in which the nuisances, behind each half of the corrections, come last."""
    rows = np.arange(2 * (free + nuisances))
    nuisance = rows % (free + nuisances) >= free
    return np.concatenate([rows[~nuisance], rows[nuisance]])
