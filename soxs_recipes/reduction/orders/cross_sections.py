"""Cross sections of spectral orders, and the robust polynomials through what is measured on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legval, legvander

from soxs_recipes.data.dispersion_solution import scaled

__all__ = [
    "CrossSections",
    "LegendreFit",
    "along_first",
    "block_cross_sections",
    "fit_legendre",
    "masked_quantile",
    "robust_scale",
]


def along_first(image: np.ndarray, dispersion_axis: int) -> np.ndarray:
    """View of an image with the dispersion along axis 0 and the slit along axis 1."""
    return image if dispersion_axis == 0 else image.T


def robust_scale(values: np.ndarray) -> float:
    """Standard deviation by the median absolute deviation; NaN for no values."""
    if values.size == 0:
        return float("nan")
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def masked_quantile(values: np.ndarray, good: np.ndarray, fraction: float) -> np.ndarray:
    """Quantile over the last axis of the `good` values, interpolated between ranks; 0 where there is none."""
    ranked = np.sort(np.where(good, values, np.inf), axis=-1)
    count = good.sum(axis=-1)
    rank = fraction * np.maximum(count - 1, 0)
    low = rank.astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    lower, upper = (np.take_along_axis(ranked, index[..., None], axis=-1)[..., 0] for index in (low, high))
    seen = count > 0
    lower, upper = np.where(seen, lower, 0.0), np.where(seen, upper, 0.0)
    return lower + (rank - low) * (upper - lower)


@dataclass(frozen=True, slots=True)
class CrossSections:
    """Pixels around a curve, in blocks of rows along the dispersion.

    Attributes
    ----------
    along : ndarray (blocks,) float64 [px]
        Mean row of each block.
    offset : ndarray (blocks, rows, columns) float64 [px]
        Pixel centre minus curve, across the dispersion.
    value, variance : ndarray (blocks, rows, columns) float64
        0 and 1 where not usable.
    usable : ndarray (blocks, rows, columns) bool
        On the detector, inside the asked rows, and not masked.
    """

    along: np.ndarray
    offset: np.ndarray
    value: np.ndarray
    variance: np.ndarray
    usable: np.ndarray

    def flattened(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(offset, value, variance, usable), each (blocks, rows * columns)."""
        shape = (self.along.size, -1)
        return tuple(a.reshape(shape) for a in (self.offset, self.value, self.variance, self.usable))


def block_cross_sections(
    value: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    curve: np.ndarray,
    rows: tuple[int, int],
    rows_per_block: int,
    columns: tuple[int, int],
) -> CrossSections:
    """Gather the pixels around a curve.

    Parameters
    ----------
    value, variance, usable : ndarray (along, across)
    curve : ndarray (along,) float64 [px]
        Across-dispersion coordinate at each row.
    rows : (first, last)
        Half-open range of rows.
    rows_per_block : int
    columns : (low, high)
        Range of integer pixel offsets, both included, about the rounded curve.
    """
    first, last = rows
    count = max((last - first + rows_per_block - 1) // rows_per_block, 1)
    row = first + np.arange(count * rows_per_block).reshape(count, rows_per_block)
    in_range = row < last
    row = np.minimum(row, last - 1)
    position = curve[row]
    column = np.rint(position).astype(np.int64)[:, :, None] + np.arange(columns[0], columns[1] + 1)
    on_detector = (column >= 0) & (column < value.shape[1]) & in_range[:, :, None]
    clipped = np.clip(column, 0, value.shape[1] - 1)
    index = (row[:, :, None], clipped)
    good = on_detector & usable[index]
    return CrossSections(
        along=np.where(in_range, row, 0).sum(axis=1) / np.maximum(in_range.sum(axis=1), 1),
        offset=column - position[:, :, None],
        value=np.where(good, value[index], 0.0).astype(np.float64),
        variance=np.where(good, variance[index], 1.0).astype(np.float64),
        usable=good,
    )


@dataclass(frozen=True, slots=True)
class LegendreFit:
    """A robust weighted polynomial.

    Attributes
    ----------
    coefficients : ndarray (degree + 1,)
    covariance : ndarray (degree + 1, degree + 1)
    used : ndarray (n,) bool
        Points that were kept.
    rms : float
        Weighted rms of the kept points.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    used: np.ndarray
    rms: float

    def at(self, position: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
        """Values of the polynomial."""
        return legval(scaled(position, domain), self.coefficients)


def fit_legendre(
    position: np.ndarray,
    value: np.ndarray,
    error: np.ndarray,
    domain: tuple[float, float],
    max_degree: int,
    *,
    min_degree: int = 0,
    clip: float = 5.0,
) -> LegendreFit:
    """Robust weighted Legendre polynomial whose degree is the lowest that the data ask for.

    Outliers are found with the highest degree allowed (iterated Huber weights, then a cut at `clip` sigma of
    the larger of the stated errors and the scatter); the degree is the lowest whose corrected Akaike criterion
    comes within 2 of the best. Non-finite points are left out.
    """
    good = np.isfinite(value) & np.isfinite(error) & (error > 0)
    highest = int(min(max_degree, max(good.sum() // 3 - 1, 0)))
    basis = legvander(scaled(position, domain), highest)
    weight = np.where(good, 1.0 / np.where(good, error, 1.0) ** 2, 0.0)
    value = np.where(good, value, 0.0)
    used, scatter = _reject(basis, value, weight, good, clip)
    weight = np.where(used, weight, 0.0)
    best, degree = np.inf, highest
    scores = []
    for candidate in range(min(min_degree, highest), highest + 1):
        coefficients = _solve(basis[:, : candidate + 1], value, weight)[0]
        chi2 = (weight * (value - basis[:, : candidate + 1] @ coefficients) ** 2).sum() / scatter**2
        free = max(int(used.sum()) - candidate - 2, 1)
        score = chi2 + 2.0 * (candidate + 1) * (1.0 + (candidate + 2.0) / free)
        scores.append((candidate, score))
        best = min(best, score)
    degree = next(candidate for candidate, score in scores if score <= best + 2.0)
    coefficients, inverse = _solve(basis[:, : degree + 1], value, weight)
    residual = value - basis[:, : degree + 1] @ coefficients
    rms = float(np.sqrt((weight * residual**2).sum() / max(weight.sum(), 1e-300)))
    return LegendreFit(coefficients, inverse * scatter**2, used, rms)


def _solve(basis, value, weight):
    # A trace of ridge keeps an empty fit defined; it is far below the data's weight otherwise.
    matrix = basis.T @ (basis * weight[:, None])
    matrix = matrix + np.eye(basis.shape[1]) * max(1e-12 * np.trace(matrix), 1e-12)
    inverse = np.linalg.inv(matrix)
    return inverse @ (basis.T @ (weight * value)), inverse


def _reject(basis, value, weight, good, clip):
    """(used, scatter in units of the stated errors, at least 1)."""
    if good.sum() <= basis.shape[1]:
        return good, 1.0
    sigma = np.sqrt(np.where(weight > 0, weight, 1.0))
    factor = np.ones_like(value)
    scatter = 1.0
    for _ in range(30):
        coefficients, _ = _solve(basis, value, weight * factor)
        pull = (value - basis @ coefficients) * sigma
        scatter = max(1.0, 1.4826 * float(np.median(np.abs(pull[good]))))
        # Huber first, then a redescending cut: a cluster of wrong points must not pull for ever.
        previous = factor
        factor = np.minimum(1.0, 1.5 * scatter / np.maximum(np.abs(pull), 1e-12))
        factor = np.where(np.abs(pull) > 2.0 * clip * scatter, 0.0, factor)
        if np.max(np.abs(factor - previous)) < 1e-3:
            break
    used = good & (np.abs(pull) <= clip * scatter)
    for _ in range(10):
        coefficients, _ = _solve(basis, value, np.where(used, weight, 0.0))
        pull = (value - basis @ coefficients) * sigma
        scatter = max(1.0, 1.4826 * float(np.median(np.abs(pull[used]))))
        kept = good & (np.abs(pull) <= clip * scatter)
        if np.array_equal(kept, used) or kept.sum() <= basis.shape[1]:
            break
        used = kept
    return used, scatter
