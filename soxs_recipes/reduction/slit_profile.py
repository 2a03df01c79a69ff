"""How a source's light spreads along the slit.

A Moffat function, that of a star before the slit, blurred by the optics behind it, with smooth parameters and a
correction by the data. A Moffat function alone gives up its wings to follow the blurred core, and with them a part
in five hundred of the light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legval, legvander
from scipy.fft import dct, idct
from scipy.special import gammaln

from soxs_recipes.reduction.order_pixels import OrderPixels
from soxs_recipes.reduction.slit_profile_kernels import (
    CORE,
    DENSITY,
    PARTS,
    averages,
    averages_with_derivatives,
    correction_at,
    correction_products,
)

__all__ = ["ProfileAverages", "SlitProfile", "fit_correction", "moffat"]

# Three-point Gauss-Legendre rule on [-1/2, 1/2]: the pixel averages the profile.
_NODES = np.array([-0.3872983346207417, 0.0, 0.3872983346207417])
_NODE_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0
_TAIL_STEP, _OPTICS_STEP = 0.02, 0.002
_MOST_OPTICS = 0.72  # of an image's squared width
_FWHM = 2.3548200450309493  # of a Gaussian's sigma
_DISTANCE = np.arange(1921) / 160.0  # FWHM, on which images are made
# A Moffat function holds nothing finer than a tenth of its width: this many times wider steps tell its transform.
_COARSER = 8
_FREQUENCY = np.pi * np.arange(_DISTANCE[::_COARSER].size) / _DISTANCE[-1]
_REACH = 2.2  # FWHM on either side that the empirical correction covers.
TAIL_RANGE = (0.02, 0.55)  # 1/beta of the Moffat function: near-Gaussian ... beta 1.8
OPTICS_RANGE = (0.0, 0.13)  # arcsec^2


def moffat(distance: np.ndarray, fwhm: np.ndarray | float, tail: float) -> np.ndarray:
    """Moffat function of unit integral; `tail` is 1/beta, so that 0 is a Gaussian.

    Moffat 1969, A&A 3, 455, equation 7, in one dimension.
    """
    beta = 1.0 / tail
    spread = np.expm1(tail * np.log(2.0))
    alpha = 0.5 * fwhm / np.sqrt(spread)
    norm = np.exp(gammaln(beta) - gammaln(beta - 0.5)) / np.sqrt(np.pi)
    return norm / alpha * np.exp(-beta * np.log1p((distance / alpha) ** 2))


def _images(
    sizes: np.ndarray, tail: float | np.ndarray, optics: float | np.ndarray, *, on_pixels: bool = True
) -> np.ndarray:
    """Images of unit FWHM at `_DISTANCE`: a Moffat function blurred by optics and averaged over pixels.

    `sizes` (n,) are those of a pixel in FWHM, the variance `optics` is in squares of it; tail and optics are the
    same for all or (n, 1).
    """
    size = np.asarray(sizes)[:, None]
    share = np.minimum(optics * (_FWHM * size) ** 2, _MOST_OPTICS)
    # Widths add in quadrature but for the tail: fitted to blurred Moffat functions, good to 0.2 % of the width.
    inner = np.sqrt(1.0 - share) * (1.0 - tail * share * (0.544 + 0.136 * share))
    transform = dct(moffat(_DISTANCE[::_COARSER], inner, tail), 1)
    transform *= np.exp(-0.5 * share * (_FREQUENCY / _FWHM) ** 2)
    if on_pixels:
        transform *= np.sinc(0.5 / np.pi * size * _FREQUENCY)
    return idct(transform * _COARSER, 1, _DISTANCE.size)


@dataclass(frozen=True, slots=True)
class SlitProfile:
    """The profile of one source in one order.

    Attributes
    ----------
    centre : ndarray
        Legendre coefficients [arcsec] in the position scaled to [-1, 1].
    log_width : ndarray
        Same, of ln(FWHM [arcsec]) before the pixel's own averaging, with the optics' blur.
    tail : float
        1/beta, of the star before the optics blur it.
    bins : int
    correction : ndarray (k, 2) or None
        B-spline coefficients over distance/FWHM, constant and linear along the order, in units of 1/FWHM.
    correction_step : float
        Knot spacing in FWHM.
    optics : float [arcsec^2]
        Variance of a point's image behind the slit, along it.
    """

    centre: np.ndarray
    log_width: np.ndarray
    tail: float
    bins: int
    correction: np.ndarray | None = None
    correction_step: float = 0.4
    optics: float = 0.05

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
        """Largest difference of centre [arcsec], ln width, tail and optics at both ends and the middle."""
        position = np.array([0.0, 0.5, 1.0]) * self.bins
        centre = self.centre_at(position) - other.centre_at(position)
        swell = np.log(self.fwhm_at(position) / other.fwhm_at(position))
        return float(np.abs([*centre, *swell, self.tail - other.tail, self.optics - other.optics]).max())

    def evaluate(self, pixels: OrderPixels) -> np.ndarray:
        """Profile in every pixel [1/arcsec], averaged over the pixel, of unit integral over the slit."""
        return self.averages(pixels).values(pixels)

    def with_derivatives(self, pixels: OrderPixels, which: np.ndarray) -> np.ndarray:
        """`evaluate` and its derivatives by centre [1/arcsec^2], ln width, tail, optics [1/arcsec]: (5, n).

        In the pixels `which` (n,) int. That the integral over the slit changes, too, is left out: it changes the
        amplitude only.
        """
        return self.averages(pixels).with_derivatives(pixels, which)

    def averages(self, pixels: OrderPixels) -> ProfileAverages:
        """Tables for `evaluate` and `with_derivatives`, of these pixels or some of them."""
        return ProfileAverages(self, pixels)

    def centre_in_bins(self) -> np.ndarray:
        """Slit position [arcsec] in every bin (bins,)."""
        return _polynomials_in_bins(self.bins, self.centre.size) @ self.centre

    def fwhm_in_bins(self) -> np.ndarray:
        """FWHM [arcsec] in every bin (bins,)."""
        return np.exp(_polynomials_in_bins(self.bins, self.log_width.size) @ self.log_width)

    def _at(self, u, t, image):
        """The profile of unit FWHM at the distance u from its centre: an image, corrected."""
        values = np.interp(np.abs(u), _DISTANCE, image)
        if self.correction is not None:
            constant, slope = self._correction_at(u)
            values += constant + t * slope
        return values

    def _correction_at(self, u):
        """The correction at mid-order and its slope along the order, (2, ...) as u."""
        values = correction_at(np.ravel(u), self.correction, _REACH)
        return values.T.reshape(2, *u.shape)

    def _over_slit(self, pixels):
        """Nodes [bins] along the order, the profile at each over the slit (nodes, 300), and the step [arcsec]."""
        nodes = np.linspace(0.0, self.bins, 5)
        grid = np.linspace(*pixels.slit_range, 300)
        centre, fwhm = self.centre_at(nodes)[:, None], self.fwhm_at(nodes)[:, None]
        image = _images([1.0 / fwhm[2, 0]], self.tail, self.optics, on_pixels=False)[0]
        values = self._at((grid - centre) / fwhm, self.scaled(nodes)[:, None], image) / fwhm
        return nodes, values, grid[1] - grid[0]

    def effective_width(self, pixels: OrderPixels, position: np.ndarray) -> np.ndarray:
        """Noise-equivalent width [arcsec]: 1 / integral of the squared profile."""
        nodes, values, step = self._over_slit(pixels)
        values = values / (values.sum(axis=1, keepdims=True) * step)
        return np.interp(position, nodes, 1.0 / ((values**2).sum(axis=1) * step))

    def moved(
        self, *, centre: float = 0.0, log_width: float = 0.0, tail: float = 0.0, optics: float = 0.0
    ) -> SlitProfile:
        """A copy with its parameters changed by constants."""
        new_centre, new_width = self.centre.copy(), self.log_width.copy()
        new_centre[0] += centre
        new_width[0] += log_width
        shape = {"tail": self.tail + tail, "optics": self.optics + optics}
        return replace(self, centre=new_centre, log_width=new_width, **shape)


@lru_cache(maxsize=64)
def _polynomials_in_bins(bins: int, terms: int) -> np.ndarray:
    """Legendre polynomials of every bin, with the order from -1 to 1 (bins, terms)."""
    return legvander(2.0 * np.arange(bins) / bins - 1.0, terms - 1)


class ProfileAverages:
    """A profile averaged over the pixels of an order, from tables that are made once.

    Parameters
    ----------
    profile : SlitProfile
    pixels : OrderPixels

    Attributes
    ----------
    courses : ndarray (bins + 1, 3) [arcsec, 1/arcsec, 1]
        Centre, 1/FWHM and 1/integral over the slit in every bin; the last row twice.
    """

    def __init__(self, profile: SlitProfile, pixels: OrderPixels):
        centre, inverse = profile.centre_in_bins(), 1.0 / profile.fwhm_in_bins()
        nodes, over_slit, step = profile._over_slit(pixels)
        # Integral over the slit, slowly varying along the order.
        integral = np.interp(np.arange(profile.bins), nodes, over_slit.sum(axis=1) * step)
        self.courses = np.empty((profile.bins + 1, 3))
        self.courses[:-1].T[:] = centre, inverse, 1.0 / integral
        self.courses[-1] = self.courses[-2]
        sizes, ends = pixels.sizes, np.array(pixels.ends)[:, None]
        smallest, largest = (sizes[0] * inverse.min()) ** 2, (sizes[1] * inverse.max()) ** 2
        blurs = np.linspace(smallest, max(largest, smallest + 1e-9), 3)
        self._table = _AverageTable(profile, float(np.abs((ends - centre) * inverse).max()), blurs, sizes[2])
        self._values = self._table.values()

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `slit_profile_kernels.averages` takes beside the pixels: courses, table and sizes."""
        return self.courses, np.stack(self._values, axis=1), self._table.blurs[:2]

    def values(self, pixels: OrderPixels) -> np.ndarray:
        """Profile in every pixel [1/arcsec]."""
        return averages(pixels.slit, pixels.position, pixels.footprint, *self.tables())

    def with_derivatives(self, pixels: OrderPixels, which: np.ndarray) -> np.ndarray:
        """The same in the pixels `which`, and its derivatives: as `SlitProfile.with_derivatives`."""
        table = np.stack([*self._values, *self._table.derivatives()], axis=1)
        places = pixels.slit, pixels.position, pixels.footprint
        return averages_with_derivatives(*places, which, self.courses, table, self._table.blurs[:2])


class _AverageTable:
    """The profile averaged over pixels, as table over the distance u from its centre in FWHM.

    Dense in the core and wide in the wings: evenly spaced in u / (1 + |u| / 3). The average depends on the pixel's
    size in FWHM, too, by its square nearly as a parabola, known from three squared sizes.
    """

    def __init__(self, profile: SlitProfile, reach: float, blurs: np.ndarray, pixel: float):
        self.tail, self.optics, self.blurs, self.pixel = profile.tail, profile.optics, blurs, pixel
        half = int(reach / (1.0 + reach / CORE) * DENSITY) + 2
        inner = np.arange(half + 1) / DENSITY
        self.beside = inner / np.maximum(1.0 - inner / CORE, 1e-3)
        self.grid = np.concatenate([-self.beside[:0:-1], self.beside])
        self.averages = self._without_correction(blurs)
        self._plain = self.averages[1]
        self.ends = [np.zeros(self.grid.size)] * 2
        if profile.correction is not None:
            shifted = self.grid + np.sqrt(blurs)[:, None, None] * _NODES[:, None]
            constants, slopes = np.tensordot(_NODE_WEIGHTS, profile._correction_at(shifted), (0, 2))
            self.averages = [a + constant for a, constant in zip(self.averages, constants, strict=True)]
            self.ends = [slopes[0], slopes[2]]

    def values(self) -> list[np.ndarray]:
        """Newton's form of the parabola at mid-order; what the end adds: first value and derivative by size."""
        first, second, third = self.averages
        step = max(self.blurs[1] - self.blurs[0], 1e-12)
        begin, end = self.ends
        return [
            first,
            (second - first) / step,
            (third - 2.0 * second + first) / (2.0 * step**2),
            begin,
            (end - begin) / max(self.blurs[2] - self.blurs[0], 1e-12),
        ]

    def derivatives(self) -> list[np.ndarray]:
        """By u of the average, its derivative by size and what the end adds; by the tail and the optics."""
        first, second, _, begin, _ = self.values()
        step, middle = _TAIL_STEP if self.tail < 0.3 else -_TAIL_STEP, self.blurs[1:2]
        moved = self._without_correction(middle, np.array([[step], [0.0]]), np.array([[0.0], [_OPTICS_STEP]]))
        by_tail, by_optics = (moved[0] - self._plain) / step, (moved[1] - self._plain) / _OPTICS_STEP
        return [*np.gradient(np.stack([first, second, begin]), self.grid, axis=1), by_tail, by_optics]

    def _without_correction(self, blurs, tail=0.0, optics=0.0):
        """The average over pixels of several sizes; with steps of tail and optics beyond the profile's."""
        images = _images(np.sqrt(blurs), self.tail + tail, (self.optics + optics) / self.pixel**2)
        halves = (np.interp(self.beside, _DISTANCE, image) for image in images)
        return [np.concatenate([half[:0:-1], half]) for half in halves]


def fit_correction(
    profile: SlitProfile,
    pixels: OrderPixels,
    residual: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    *,
    tables: ProfileAverages | None = None,
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
    tables : ProfileAverages or None
        Of the profile in these pixels, if they are at hand.
    prior : float
        Expected size of the change, in 1/FWHM; a Gaussian prior, so noise alone changes little.
    other_light : sequence of ndarray (pixels,) [e-]
        Of neighbours; it may change in brightness, too, rather than this profile in shape.
    """
    step = profile.correction_step
    if profile.correction is None:
        step = max(0.33, 0.6 * float(np.median(pixels.footprint) / np.median(profile.fwhm_in_bins())))
    size = max(round(2.0 * _REACH / step), 4) + 3
    # A pedestal in proportion to the flux belongs to the sky, a factor to the flux: neither may leak in.
    light = np.array([scale, *other_light])
    rivals = 1 + len(light)
    products, right = correction_products(
        pixels.slit,
        pixels.position,
        pixels.footprint,
        *(tables or profile.averages(pixels)).tables(),
        weight,
        light,
        residual,
        _REACH,
        size,
    )
    # Outermost three on either side are held at zero, so that the correction fades into the Moffat wings.
    free = np.arange(3, size - 3)
    held = np.zeros(2 * free.size) if profile.correction is None else profile.correction[free].T.ravel()
    normal, right = _equations(products, right, free, rivals)
    count = 2 * free.size
    precision = np.concatenate([np.full(count, prior**-2), np.full(2 * rivals, 1e-6)])
    right[:count] -= precision[:count] * held
    normal[np.diag_indices_from(normal)] += precision + 1e-12 * np.trace(normal)
    solution = held + np.linalg.solve(normal, right)[:count]
    coefficients = np.zeros((size, 2))
    coefficients[free, 0], coefficients[free, 1] = solution[: free.size], solution[free.size :]
    return replace(profile, correction=coefficients, correction_step=step)


def _equations(products, right, free, rivals):
    """Normal equations of constant and linear corrections, then of constant and linear rivals."""
    size = products.shape[1] - rivals
    rows = np.concatenate([free, np.arange(size, size + rivals)])
    along = (2.0 * np.arange(PARTS) + 1.0) / PARTS - 1.0
    powers = along ** np.arange(3)[:, None]
    products, right = np.tensordot(powers, products, 1), (powers[:2] @ right)[:, rows]
    full = np.tril(products) + np.swapaxes(np.tril(products, -1), 1, 2)
    full = full[:, rows[:, None], rows]
    normal = np.block([[full[0], full[1]], [full[1], full[2]]])
    # The rivals stand behind each half.
    place = np.arange(2 * rows.size)
    rival = place % rows.size >= free.size
    place = np.concatenate([place[~rival], place[rival]])
    return normal[np.ix_(place, place)], right.ravel()[place]
