"""The smooth part of a slit flat: lamp times blaze along the spectrum, illumination along the slit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter1d, map_coordinates, median_filter

from soxs_recipes.reduction.banded import SplineBasis

__all__ = ["OrderPixels", "SmoothFlat", "fit_smooth_flat"]

_BEND = 0.25  # second derivative of ln(flux) times knot interval squared, at most
_SHORTEST = 24.0  # px between knots at least
_SLIT_SPLINE = 11  # coefficients along the slit
_DRIFT = 3  # coefficients along the spectrum of each of them
_TABLE = (65, 241)  # points along and across, between which the illumination is linear to 1e-5
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
        if self.line_along.size < 2:
            return smooth
        return smooth * np.interp(along, self.line_along, self.line_factor, left=1.0, right=1.0)

    def blaze_error(self, along: np.ndarray) -> np.ndarray:
        """Relative error of `blaze`."""
        design = _design(self.knots, np.clip(along, *self.domain))
        return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", design, self.covariance, design), 0.0))

    def illumination(self, slit: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Illumination of the slit, 1 at mid-slit; continued constant past its ends."""
        rows, places = np.linspace(*self.domain, _TABLE[0]), np.linspace(-1.0, 1.0, _TABLE[1])
        series = _design(_open_knots(self.domain, _DRIFT, 2), rows, 2) @ self.slit_coefficients
        table = series @ _design(_open_knots((-1.0, 1.0), _SLIT_SPLINE), places).T
        table /= (table @ self._at_middle(places))[:, None]
        at_row = (np.clip(along, *self.domain) - rows[0]) / (rows[1] - rows[0])
        at_place = (np.clip(slit, -1.0, 1.0) + 1.0) / (places[1] - places[0])
        return map_coordinates(table, [at_row, at_place], order=1, mode="nearest")

    def _at_middle(self, places):
        """Weights that give a curve's value at the middle by a parabola through its inner half: less noisy."""
        near = np.abs(places - self.middle) <= 0.5
        design = np.vander(places[near] - self.middle, 3, increasing=True)
        weights = np.zeros(places.size)
        weights[near] = np.linalg.pinv(design)[0]
        return weights


def _open_knots(domain, count, degree=3):
    inner = np.linspace(*domain, count - degree + 1)
    return np.concatenate([[inner[0]] * degree, inner, [inner[-1]] * degree])


def _design(knots, position, degree=3):
    return BSpline.design_matrix(np.asarray(position, dtype=np.float64), knots, degree).toarray()


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
    row_design = _design(knots, rows)
    # The faint ends of the first curve are noise: they only start the fit.
    coefficients = _weighted(row_design, np.log(curve), np.minimum(curve / curve.max(), 0.1) + 1e-3)[0]
    slit = np.ones((_DRIFT, _SLIT_SPLINE))
    model = SmoothFlat(knots, coefficients, np.eye(coefficients.size), slit, domain, middle, 0.01)
    kept = pixels.usable
    for iteration in range(6):
        slit_light = model.illumination(pixels.slit, pixels.along)
        expected = np.maximum(model.blaze(pixels.along) * slit_light, 1e-3)
        noise = pixels.background_variance + pixels.photon_factor * expected
        ratio = pixels.value / expected - 1.0
        relative = noise / expected**2
        spread = model.spread
        if iteration >= 1:
            limit = clip_sigma * np.sqrt(relative + spread**2)
            kept = pixels.usable & (np.abs(ratio) < np.maximum(limit, 0.3 if iteration < 3 else 0.0))
        spread = _response_spread(ratio[kept], relative[kept], spread)
        weight = np.where(kept, 1.0 / (relative + max(spread, 1e-3) ** 2), 0.0)
        model = _refined(model, pixels, slit_light, ratio, weight, rows, row_design, spread)
    return model


def _first_curve(pixels, domain):
    """(rows, smooth positive curve through the middle of the slit), None when there is no light."""
    low, high = int(np.floor(domain[0])), int(np.ceil(domain[1]))
    rows = np.clip(np.arange(low, high + 1, dtype=np.float64), *domain)
    core = pixels.usable & (np.abs(pixels.slit) < 0.5)
    index = np.clip(np.rint(pixels.along[core]).astype(np.int64) - low, 0, rows.size - 1)
    # Clipped at each row's own median, so that one hit does not stand.
    count = np.bincount(index, minlength=rows.size)
    order = np.lexsort((pixels.value[core], index))
    first = np.cumsum(count) - count
    if core.sum() < 4 * rows.size // 3 or (count > 0).sum() < 0.3 * rows.size:
        return None
    ranked = pixels.value[core][order]
    median = ranked[np.minimum(first + count // 2, ranked.size - 1)]
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


def _response_spread(ratio, relative, before):
    """Relative scatter that photon noise does not explain, from the better half of the pixels."""
    if ratio.size < 200:
        return before
    best = relative <= np.median(relative)
    scatter = 1.4826 * np.median(np.abs(ratio[best] - np.median(ratio[best])))
    return float(np.sqrt(max(scatter**2 - np.median(relative[best]), 1e-6)))


def _refined(model, pixels, slit_light, ratio, weight, rows, row_design, spread):
    """One step: blaze from row means of the ratio, then illumination from what is left."""
    index = np.clip(np.rint(pixels.along).astype(np.int64) - round(float(rows[0])), 0, rows.size - 1)
    row_weight = np.bincount(index, weights=weight, minlength=rows.size)
    row_mean = np.bincount(index, weights=weight * ratio, minlength=rows.size) / np.maximum(row_weight, 1e-300)
    step, covariance = _weighted(row_design, np.clip(row_mean, -0.8, 4.0), row_weight)
    coefficients = model.coefficients + np.where(np.abs(step) < 2.0, step, 2.0 * np.sign(step))
    correction = (row_design @ (coefficients - model.coefficients))[index]
    slit = _slit_fit(model, pixels, slit_light * (1.0 + ratio) * np.exp(-np.clip(correction, -2, 2)), weight)
    return SmoothFlat(model.knots, coefficients, covariance, slit, model.domain, model.middle, spread)


def _slit_fit(model, pixels, light, weight):
    """Tensor coefficients of the illumination, from cells of what light it leaves."""
    cells = (24, 48)
    low, high = model.domain
    along = np.clip(((pixels.along - low) / (high - low) * cells[0]).astype(np.int64), 0, cells[0] - 1)
    slit = np.clip(((pixels.slit + 1.0) / 2.0 * cells[1]).astype(np.int64), 0, cells[1] - 1)
    label = along * cells[1] + slit
    size = cells[0] * cells[1]
    total = np.bincount(label, weights=weight, minlength=size)
    seen = total > 0
    safe = np.where(seen, total, 1.0)
    value, at_slit, at_along = (
        np.bincount(label, weights=weight * column, minlength=size) / safe
        for column in (light, pixels.slit, pixels.along)
    )
    along_design = _design(_open_knots(model.domain, _DRIFT, 2), np.clip(at_along, low, high)[seen], 2)
    slit_design = _design(_open_knots((-1.0, 1.0), _SLIT_SPLINE), np.clip(at_slit, -1.0, 1.0)[seen])
    design = (along_design[:, :, None] * slit_design[:, None, :]).reshape(seen.sum(), -1)
    stiffness = np.kron(np.eye(_DRIFT), _curvature(_SLIT_SPLINE)) + np.kron(
        _curvature(_DRIFT), np.eye(_SLIT_SPLINE)
    )
    normal = design.T @ (design * total[seen][:, None])
    scale = np.trace(normal) / normal.shape[0]
    normal = normal + scale * (1e-4 * stiffness + 1e-9 * np.eye(normal.shape[0]))
    solution = np.linalg.solve(normal, design.T @ (total[seen] * value[seen]))
    return np.clip(solution.reshape(_DRIFT, _SLIT_SPLINE), 0.05, 5.0)


def _curvature(count):
    difference = np.diff(np.eye(count), n=2, axis=0)
    return difference.T @ difference
