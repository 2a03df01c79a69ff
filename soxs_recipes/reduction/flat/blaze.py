"""The smooth part of a slit flat: lamp times blaze along the spectrum, illumination along the slit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import PPoly
from scipy.ndimage import gaussian_filter1d, median_filter

from soxs_recipes.reduction.flat.blaze_kernels import deviations, light_at, ranked_middles, row_sums, slit_sums
from soxs_recipes.reduction.numerics.banded import SplineBasis

__all__ = ["OrderPixels", "SmoothFlat", "fit_smooth_flat"]

_BEND = 0.25  # second derivative of ln(flux) times knot interval squared, at most
_SHORTEST = 24.0  # px between knots at least
_SLIT_SPLINE = 11  # coefficients along the slit
_DRIFT = 3  # coefficients along the spectrum of each of them: a parabola
_TABLE = (65, 241)  # points along and across, between which the illumination is linear to 1e-5
_SLIT_CELLS = (24, 48)  # along and across, by whose means the illumination is fitted
_SAMPLE = 20_000  # pixels that tell the spread of an order's
_ROUNDS, _FIRST_ROUNDS = 6, 4  # of the fit, and how many of them take a part of the pixels
_PART, _LEAST_PIXELS = 4, 20_000  # every 4th pixel, where so many are left
_FAINTEST = 1e-3  # of the brightest, below which the logarithm is not followed


@dataclass(frozen=True, slots=True)
class OrderPixels:
    """The pixels of one order as flat arrays (n,).

    Attributes
    ----------
    along : ndarray float64 [px]
        Row at mid-slit of the pixel's wavelength: row, straightened by the slit's tilt.
    slit : ndarray float64
        -1 at the lower edge, 1 at the upper.
    value : ndarray float64 [e-]
    background_variance, photon_factor : ndarray float64
        Variance is background_variance + photon_factor * expected signal.
    usable : ndarray bool
        May take part in the fit: good, and not at the slit's ends.
    """

    along: np.ndarray
    slit: np.ndarray
    value: np.ndarray
    background_variance: np.ndarray
    photon_factor: np.ndarray
    usable: np.ndarray

    def thinned(self, step: int) -> OrderPixels:
        """Every `step`-th pixel."""
        arrays = (getattr(self, name) for name in OrderPixels.__dataclass_fields__)
        return OrderPixels(*(values[::step].copy() for values in arrays))

    def compare(
        self, blaze: np.ndarray, illumination: np.ndarray, ratio: np.ndarray, relative: np.ndarray
    ) -> None:
        """Fill `ratio` with value over expected light, minus 1, and `relative` with its variance."""
        noise = self.background_variance, self.photon_factor
        deviations(self.value, *noise, blaze, illumination, ratio, relative)


@dataclass(frozen=True, slots=True)
class SmoothFlat:
    """Model of one order: blaze(along) * illumination(slit, along).

    Attributes
    ----------
    knots : ndarray
        Of the cubic spline of ln(blaze).
    coefficients, covariance : ndarray
    slit_coefficients : ndarray (along, slit)
        Tensor spline of the illumination, 1 at `middle`.
    domain : (low, high) [px]
    middle : float
        Slit coordinate at which the illumination is 1.
    spread : float
        Robust relative scatter of good pixels about the model, photon noise removed: the pixel response.
    line_along, line_factor : ndarray
        Positions [px] and factors by which sharp features of the lamp change the blaze (see `lamp_lines`).
    """

    knots: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    slit_coefficients: np.ndarray
    domain: tuple[float, float]
    middle: float
    spread: float
    line_along: np.ndarray = field(default_factory=lambda: np.zeros(1))
    line_factor: np.ndarray = field(default_factory=lambda: np.ones(1))

    def blaze(self, along: np.ndarray) -> np.ndarray:
        """Signal [e-] at mid-slit."""
        smooth = np.exp(SplineBasis(self.knots).at(np.clip(along, *self.domain), self.coefficients))
        return smooth * self._lines(along)

    def _lines(self, along):
        if self.line_along.size < 2:
            return 1.0
        return np.interp(along, self.line_along, self.line_factor, left=1.0, right=1.0)

    def light(self, along: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(blaze [e-], illumination) of pixels: the latter 1 at mid-slit, continued constant past the ends."""
        low, high = self.domain
        blaze, illumination = np.empty((2, along.size))
        rows = low + np.arange(int(high - low) + 2)
        start = np.clip(np.searchsorted(self.knots, rows, side="right") - 1, 3, self.knots.size - 5)
        pieces = PPoly.from_spline((self.knots, self.coefficients, 3)).c
        pieces = np.ascontiguousarray(pieces[:, : self.knots.size - 4])
        table = self._illumination_table()
        light_at(along, slit, self.knots, start, pieces, table, self.domain, blaze, illumination)
        blaze *= self._lines(along)
        return blaze, illumination

    def blaze_error(self, along: np.ndarray) -> np.ndarray:
        """Relative error of `blaze`."""
        design = _design(SplineBasis(self.knots), np.clip(along, *self.domain))
        return np.sqrt(np.maximum(((design @ self.covariance) * design).sum(axis=1), 0.0))

    def _illumination_table(self):
        along, across = _table_designs(self.domain)
        table = along @ self.slit_coefficients @ across
        return table / (table @ _at_middle(self.middle))[:, None]


@lru_cache(maxsize=4)
def _table_designs(domain):
    """Basis of the illumination at the table's points: (rows, coefficients) and (coefficients, places)."""
    along = _drift_design(domain, np.linspace(*domain, _TABLE[0]))
    return along, _design(_slit_basis(), np.linspace(-1.0, 1.0, _TABLE[1])).T


@lru_cache(maxsize=4)
def _at_middle(middle):
    """Weights that give a curve's value at the middle by a parabola through its inner half: less noisy."""
    places = np.linspace(-1.0, 1.0, _TABLE[1])
    near = np.abs(places - middle) <= 0.5
    weights = np.zeros(places.size)
    weights[near] = np.linalg.pinv(np.vander(places[near] - middle, 3, increasing=True))[0]
    return weights


def _open_knots(domain, count):
    inner = np.linspace(*domain, count - 2)
    return np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])


@lru_cache(maxsize=1)
def _slit_basis():
    return SplineBasis(_open_knots((-1.0, 1.0), _SLIT_SPLINE))


def _design(basis, position):
    """Cubic B-splines at some positions (positions, coefficients)."""
    first, values = basis.evaluate(position)
    design = np.zeros((first.size, basis.size))
    design[np.arange(first.size), first + np.arange(4)[:, None]] = values
    return design


def _drift_design(domain, along):
    """Parabola over the domain by the quadratic Bernstein polynomials (positions, 3)."""
    share = (np.clip(along, *domain) - domain[0]) / (domain[1] - domain[0])
    return np.stack([(1.0 - share) ** 2, 2.0 * share * (1.0 - share), share**2], axis=1)


def fit_smooth_flat(
    pixels: OrderPixels,
    domain: tuple[float, float],
    middle: float,
    knot_spacing: float,
    *,
    clip_sigma: float = 5.0,
) -> SmoothFlat | None:
    """Fit the smooth part of a flat in one order; None when the order holds too little light.

    ln(blaze) is a cubic spline with knots every `knot_spacing` px, closer where it bends sharply, so that
    structure finer than that (fringes, pixel response) stays out of it. Weights come from the model's
    own variance (iterated quasi-likelihood), so faint ends are not biased by their noise.

    Parameters
    ----------
    pixels : OrderPixels
    domain : (low, high) [px]
        Range of `along`.
    middle : float
        Slit coordinate at which the illumination is set to 1.
    knot_spacing : float [px]
    clip_sigma : float
    """
    domain = (float(domain[0]), float(max(domain[1], domain[0] + 8.0)))
    start = _first_curve(pixels, domain)
    if start is None:
        return None
    rows, curve = start
    knots = _adaptive_knots(rows, curve, domain, knot_spacing)
    row_design = _design(SplineBasis(knots), rows)
    # The faint ends of the first curve are noise: they only start the fit.
    coefficients = _weighted(row_design, np.log(curve), np.minimum(curve / curve.max(), 0.1) + 1e-3)[0]
    slit = np.ones((_DRIFT, _SLIT_SPLINE))
    model = SmoothFlat(knots, coefficients, np.eye(coefficients.size), slit, domain, middle, 0.01)
    # What starts the fit need not be told by all pixels.
    step = max(min(_PART, pixels.value.size // _LEAST_PIXELS), 1)
    part = pixels.thinned(step)
    for iteration in range(_FIRST_ROUNDS):
        model = _improved(model, part, row_design, clip_sigma, iteration, _SAMPLE // step)
    for iteration in range(_FIRST_ROUNDS, _ROUNDS):
        model = _improved(model, pixels, row_design, clip_sigma, iteration, _SAMPLE)
    return model


def _improved(model, pixels, row_design, clip_sigma, iteration, sample):
    """The model corrected by what pixels show of it; `sample` of them tell their spread."""
    first, size = int(np.floor(model.domain[0])), len(row_design)
    ratio, relative, weight = np.empty((3, pixels.value.size))
    blaze, slit_light = model.light(pixels.along, pixels.slit)
    pixels.compare(blaze, slit_light, ratio, relative)
    clip = (clip_sigma if iteration >= 1 else np.inf, 0.3 if iteration < 3 else 0.0)
    some = np.flatnonzero(pixels.usable)
    some = some[:: max(some.size // sample, 1)]
    spread = _response_spread(ratio[some], relative[some], model.spread, clip)
    total, summed = np.zeros((2, size))
    spreads = model.spread, max(spread, 1e-3)
    row_sums(pixels.along, first, ratio, relative, pixels.usable, clip, spreads, weight, total, summed)
    model, row_factor = _with_row_means(model, row_design, total, summed)
    cells = np.zeros((4, _SLIT_CELLS[0] * _SLIT_CELLS[1]))
    places = pixels.along, pixels.slit
    slit_sums(*places, ratio, weight, slit_light, first, row_factor, model.domain, _SLIT_CELLS, cells)
    return replace(model, slit_coefficients=_slit_fit(model.domain, *cells), spread=spread)


def _first_curve(pixels, domain):
    """(rows, smooth positive curve through the middle of the slit), None when there is no light."""
    low, high = int(np.floor(domain[0])), int(np.ceil(domain[1]))
    rows = np.clip(np.arange(low, high + 1, dtype=np.float64), *domain)
    core = pixels.usable & (np.abs(pixels.slit) < 0.5)
    index = np.clip(np.rint(pixels.along[core]).astype(np.int64) - low, 0, rows.size - 1)
    if core.sum() < 4 * rows.size // 3:
        return None
    # Each row's own median, so that one hit does not stand.
    median, count = ranked_middles(pixels.value[core], index, rows.size)
    if (count > 0).sum() < 0.3 * rows.size:
        return None
    median = np.interp(rows, rows[count > 0], median[count > 0])
    curve = gaussian_filter1d(median_filter(median, size=25, mode="nearest"), 8.0, mode="nearest")
    noise = np.sqrt(np.median(pixels.background_variance[core])) / np.sqrt(max(np.median(count), 1.0) * 25.0)
    if curve.max() < 10.0 * noise:
        return None
    return rows, np.maximum(curve, max(_FAINTEST * curve.max(), noise))


def _adaptive_knots(rows, curve, domain, spacing):
    """Knots with at most `spacing` px, closer where ln(flux) bends; a straight fall needs none."""
    length = domain[1] - domain[0]
    bend = np.abs(np.gradient(np.gradient(gaussian_filter1d(np.log(curve), 24.0, mode="nearest"))))
    density = np.clip(np.sqrt(bend / _BEND), 1.0 / spacing, 1.0 / _SHORTEST)
    density = gaussian_filter1d(density, 24.0, mode="nearest")
    total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(rows))])
    count = max(int(np.ceil(total[-1])), 3)
    if length < 4 * _SHORTEST or total[-1] <= 0:
        return _open_knots(domain, 5)
    inner = np.interp(np.linspace(0.0, total[-1], count + 1), total, rows)
    return np.concatenate([[domain[0]] * 4, inner[1:-1], [domain[1]] * 4])


def _weighted(design, value, weight, stiffness=1e-6):
    """(solution, inverse of the normal matrix), with a trace of smoothness where no data weigh."""
    normal = design.T @ (design * weight[:, None])
    difference = np.diff(np.eye(design.shape[1]), n=2, axis=0)
    scale = np.trace(normal) / design.shape[1]
    normal = normal + stiffness * scale * (difference.T @ difference) + 1e-12 * scale * np.eye(design.shape[1])
    inverse = np.linalg.inv(normal)
    return inverse @ (design.T @ (weight * value)), inverse


def _response_spread(ratio, relative, before, clip):
    """Relative scatter that photon noise does not explain, from the better half of the pixels."""
    kept = np.abs(ratio) < np.maximum(clip[0] * np.sqrt(relative + before**2), clip[1])
    if np.count_nonzero(kept) < 200:
        return before
    ratio, relative = ratio[kept], relative[kept]
    best = relative <= np.median(relative)
    scatter = 1.4826 * np.median(np.abs(ratio[best] - np.median(ratio[best])))
    return float(np.sqrt(max(scatter**2 - np.median(relative[best]), 1e-6)))


def _with_row_means(model, row_design, total, summed):
    """(model with its blaze corrected by the mean ratio of each row, factor that the ratios then have)."""
    step, covariance = _weighted(row_design, np.clip(summed / np.maximum(total, 1e-300), -0.8, 4.0), total)
    step = np.clip(step, -2.0, 2.0)
    factor = np.exp(-np.clip(row_design @ step, -2.0, 2.0))
    return replace(model, coefficients=model.coefficients + step, covariance=covariance), factor


def _slit_fit(domain, total, light, slit, along):
    """Tensor coefficients of the illumination, from sums over cells of weight and of what it weighs."""
    seen = total > 0
    total = total[seen]
    value, at_slit, at_along = (summed[seen] / total for summed in (light, slit, along))
    along_design = _drift_design(domain, at_along)
    slit_design = _design(_slit_basis(), at_slit)
    design = (along_design[:, :, None] * slit_design[:, None, :]).reshape(total.size, -1)
    normal = design.T @ (design * total[:, None])
    scale = np.trace(normal) / normal.shape[0]
    normal = normal + scale * _stiffness()
    solution = np.linalg.solve(normal, design.T @ (total * value))
    return np.clip(solution.reshape(_DRIFT, _SLIT_SPLINE), 0.05, 5.0)


@lru_cache(maxsize=1)
def _stiffness():
    """What holds the illumination: its bends both ways, and a trace of every coefficient."""
    along, across = np.eye(_DRIFT), np.eye(_SLIT_SPLINE)
    bends = np.kron(along, _curvature(_SLIT_SPLINE)) + np.kron(_curvature(_DRIFT), across)
    return 1e-4 * bends + 1e-9 * np.eye(len(bends))


def _curvature(count):
    difference = np.diff(np.eye(count), n=2, axis=0)
    return difference.T @ difference
