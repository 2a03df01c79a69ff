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

from soxs_recipes.reduction.profiles.slit_profile_kernels import (
    CORE,
    DENSITY,
    SAMPLES,
    averages,
    averages_with_derivatives,
    fill_tables,
    over_slit,
)
from soxs_recipes.reduction.sky.order_pixels import OrderPixels

__all__ = [
    "REACH",
    "ProfileAverages",
    "SlitProfile",
    "legendre_matrix",
    "moffat",
    "profile_averages",
    "series_at",
]

_TAIL_STEP, _OPTICS_STEP = 0.02, 0.002
_MOST_OPTICS = 0.72  # of an image's squared width
_FWHM = 2.3548200450309493  # of a Gaussian's sigma
_DISTANCE = np.arange(12 * SAMPLES + 1) / SAMPLES  # FWHM, on which images are made
# A Moffat function holds nothing finer than a tenth of its width: this many times wider steps tell its transform.
_COARSER = 2
_FREQUENCY = np.pi * np.arange(_DISTANCE[::_COARSER].size) / _DISTANCE[-1]
REACH = 2.2  # FWHM on either side that the empirical correction covers.
TAIL_RANGE = (0.02, 0.55)  # 1/beta of the Moffat function: near-Gaussian ... beta 1.8
OPTICS_RANGE = (0.0, 0.13)  # arcsec^2
_WHOLE = np.linspace(-1.0, 1.0, 5)  # where along an order the integral over the slit is taken
# Where polynomials along an order are told, what makes them of values there, and what leads there.
_TOLD = np.cos(np.pi * (np.arange(8) + 0.5) / 8.0)
_TO_POWERS = np.linalg.inv(np.vander(_TOLD, increasing=True))
_FROM_WHOLE = np.vander(_TOLD, _WHOLE.size) @ np.linalg.inv(np.vander(_WHOLE))
_NO_CORRECTION = np.zeros((0, 2))
_MOST_TERMS = 16  # of a Legendre series


def legendre_matrix(places: np.ndarray) -> np.ndarray:
    """Legendre polynomials at places of the order, from -1 to 1, for `series_at`."""
    return legvander(places, _MOST_TERMS - 1)


def series_at(matrix: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """A Legendre series at the places of a matrix; far quicker than `legval` for a few of them."""
    return matrix[:, : coefficients.size] @ coefficients


_AT_ENDS, _AT_TOLD, _AT_WHOLE = (legendre_matrix(places) for places in ([-1.0, 0.0, 1.0], _TOLD, _WHOLE))


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
    sizes: np.ndarray,
    tail: float | np.ndarray,
    optics: float | np.ndarray,
    *,
    on_pixels: bool | np.ndarray = True,
) -> np.ndarray:
    """Images of unit FWHM at `_DISTANCE`: a Moffat function blurred by optics and averaged over pixels.

    `sizes` (n,) are those of a pixel in FWHM, the variance `optics` is in squares of it; tail, optics and whether
    pixels average are the same for all or (n, 1).
    """
    size = np.asarray(sizes)[:, None]
    share = np.minimum(optics * (_FWHM * size) ** 2, _MOST_OPTICS)
    # Widths add in quadrature but for the tail: fitted to blurred Moffat functions, good to 0.2 % of the width.
    inner = np.sqrt(1.0 - share) * (1.0 - tail * share * (0.544 + 0.136 * share))
    transform = dct(moffat(_DISTANCE[::_COARSER], inner, tail), 1)
    transform *= np.exp(-0.5 * share * (_FREQUENCY / _FWHM) ** 2)
    transform *= np.sinc(0.5 / np.pi * size * on_pixels * _FREQUENCY)
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
        centre = series_at(_AT_ENDS, self.centre) - series_at(_AT_ENDS, other.centre)
        swell = series_at(_AT_ENDS, self.log_width) - series_at(_AT_ENDS, other.log_width)
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
        return profile_averages([self], [pixels])[0]

    def centre_in_bins(self) -> np.ndarray:
        """Slit position [arcsec] in every bin (bins,)."""
        return _polynomials_in_bins(self.bins, self.centre.size) @ self.centre

    def fwhm_in_bins(self) -> np.ndarray:
        """FWHM [arcsec] in every bin (bins,)."""
        return np.exp(_polynomials_in_bins(self.bins, self.log_width.size) @ self.log_width)

    def _over_slit(self, slit_range, image):
        """The profile, of this image, at nodes along the order over the slit (5, 300), and the step [arcsec]."""
        grid = np.linspace(*slit_range, 300)
        centre, width = series_at(_AT_WHOLE, self.centre), np.exp(series_at(_AT_WHOLE, self.log_width))
        correction = _NO_CORRECTION if self.correction is None else self.correction
        return over_slit(image, correction, REACH, centre, width, grid), grid[1] - grid[0]

    def effective_width(self, pixels: OrderPixels, position: np.ndarray) -> np.ndarray:
        """Noise-equivalent width [arcsec]: 1 / integral of the squared profile."""
        size = float(np.exp(-legval(0.0, self.log_width)))
        image = _images([size], self.tail, self.optics, on_pixels=False)[0]
        values, step = self._over_slit(pixels.slit_range, image)
        values = values / (values.sum(axis=1, keepdims=True) * step)
        return np.interp(self.scaled(position), _WHOLE, 1.0 / ((values**2).sum(axis=1) * step))

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


@dataclass(frozen=True, slots=True)
class ProfileAverages:
    """A profile averaged over the pixels of an order, from tables that are made once: by `profile_averages`.

    Attributes
    ----------
    profile : SlitProfile
    curves : three tuples of eight floats [arcsec, 1/arcsec, 1/arcsec]
    table, slopes : ndarray (m, 5)
    sizes : (float, float)
        As `slit_profile_kernels.averages_with_derivatives` takes them.
    """

    profile: SlitProfile
    curves: tuple[tuple[float, ...], ...]
    table: np.ndarray
    slopes: np.ndarray
    sizes: tuple[float, float]

    def tables(self, *, slopes: bool = False) -> tuple:
        """What `slit_profile_kernels.averages` takes beside the pixels; with slopes, its companions."""
        middle = (self.table, self.slopes) if slopes else (self.table,)
        return self.curves, self.profile.bins, *middle, self.sizes

    def values(self, pixels: OrderPixels) -> np.ndarray:
        """Profile in every pixel [1/arcsec]."""
        return averages(pixels.slit, pixels.position, pixels.footprint, *self.tables())

    def some_values(self, pixels: OrderPixels, which: np.ndarray) -> np.ndarray:
        """The same in the pixels `which` (n,) int."""
        places = (values.take(which) for values in (pixels.slit, pixels.position, pixels.footprint))
        return averages(*places, *self.tables())

    def with_derivatives(self, pixels: OrderPixels, which: np.ndarray) -> np.ndarray:
        """The same in the pixels `which`, and its derivatives: as `SlitProfile.with_derivatives`."""
        places = pixels.slit, pixels.position, pixels.footprint
        return averages_with_derivatives(*places, which, *self.tables(slopes=True))


def profile_averages(profiles: Sequence[SlitProfile], orders: Sequence[OrderPixels]) -> list[ProfileAverages]:
    """Tables of profiles, each in the pixels of its order; far cheaper for many at once."""
    centres = np.array([series_at(_AT_TOLD, profile.centre) for profile in profiles])
    inverses = np.exp([-series_at(_AT_TOLD, profile.log_width) for profile in profiles])
    sizes, ends = (np.array([getattr(pixels, name) for pixels in orders]) for name in ("sizes", "ends"))
    smallest, largest = (sizes[:, 0] * inverses.min(1)) ** 2, (sizes[:, 1] * inverses.max(1)) ** 2
    blurs = np.linspace(smallest, np.maximum(largest, smallest + 1e-9), 3, axis=1)
    reach = np.abs((ends[:, None] - centres[:, :, None]) * inverses[:, :, None]).max((1, 2))
    steps, images = _all_images(profiles, blurs, sizes[:, 2])
    result = []
    for k, (profile, pixels) in enumerate(zip(profiles, orders, strict=True)):
        values, step = profile._over_slit(pixels.slit_range, images[k, 5])
        strength = inverses[k] / (_FROM_WHOLE @ values.sum(axis=1) * step)  # the integral varies slowly
        curves = np.stack([centres[k], inverses[k], strength]) @ _TO_POWERS.T
        correction = _NO_CORRECTION if profile.correction is None else profile.correction
        half = int(reach[k] / (1.0 + reach[k] / CORE) * DENSITY) + 2
        table, slopes = fill_tables(images[k, :5], correction, REACH, blurs[k], steps[k], half)
        curves, first = tuple(map(tuple, curves.tolist())), tuple(blurs[k, :2].tolist())
        result.append(ProfileAverages(profile, curves, table, slopes, first))
    return result


def _all_images(profiles, blurs, pixel):
    """Steps of tail and optics, and images (profiles, 6, m): as `fill_tables` takes them, and on no pixels.

    `blurs` (profiles, 3) are squared sizes of pixels in FWHM, `pixel` (profiles,) their typical size [arcsec].
    """
    steps = [(_TAIL_STEP if profile.tail < 0.3 else -_TAIL_STEP, _OPTICS_STEP) for profile in profiles]
    shape = np.array([(profile.tail, profile.optics) for profile in profiles])
    rows = np.repeat(shape[:, None], 6, axis=1)
    rows[:, 3, 0] += [step[0] for step in steps]
    rows[:, 4, 1] += _OPTICS_STEP
    rows[:, :, 1] /= pixel[:, None] ** 2
    sizes = np.sqrt(blurs[:, [0, 1, 2, 1, 1, 1]])
    on_pixels = np.tile([1.0, 1.0, 1.0, 1.0, 1.0, 0.0], len(profiles))[:, None]
    tail, optics = rows.reshape(-1, 2).T[:, :, None]
    return steps, _images(sizes.ravel(), tail, optics, on_pixels=on_pixels).reshape(len(profiles), 6, -1)
