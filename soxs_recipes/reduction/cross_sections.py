"""Cross sections of spectral orders, and the small batched and robust fits that are made on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.polynomial.legendre import legval, legvander

from soxs_recipes.data.dispersion_solution import scaled

__all__ = [
    "BatchFit",
    "CrossSections",
    "LegendreFit",
    "along_first",
    "block_cross_sections",
    "fit_batch",
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


_ARRIVED = 0.3  # share of a batch from which fits that have converged are set aside


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
class BatchFit:
    """Many independent least-squares fits.

    Attributes
    ----------
    parameters, errors : ndarray (n, p) float64
        Errors include the square root of reduced chi-squared where that exceeds 1.
    reduced_chi2 : ndarray (n,)
    converged : ndarray (n,) bool
    """

    parameters: np.ndarray
    errors: np.ndarray
    reduced_chi2: np.ndarray
    converged: np.ndarray


Model = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def fit_batch(
    model: Model,
    start: np.ndarray,
    offset: np.ndarray,
    value: np.ndarray,
    weight: np.ndarray,
    *,
    bounds: tuple[np.ndarray, np.ndarray],
    iterations: int = 25,
) -> BatchFit:
    """Levenberg-Marquardt on all rows at once.

    Parameters
    ----------
    model : callable (parameters (n, p), offset (n, m)) -> (values (n, m), derivatives (n, m, p))
    start : ndarray (n, p)
    offset, value, weight : ndarray (n, m)
        Weight is the inverse variance, 0 for a pixel that is out.
    bounds : (low (p,), high (p,))
        Parameters are kept inside.
    """
    low, high = bounds
    state = _BatchState.begin(model, np.clip(start.astype(np.float64), low, high), offset, value, weight)
    parts = []
    for _ in range(iterations):
        gradient, hessian = _normal_equations(state.jacobian, state.weight, state.value - state.prediction)
        trial = np.clip(state.parameters + _damped_step(hessian, gradient, state.damping), low, high)
        state.take(trial, *model(trial, state.offset))
        # Those that have arrived need not wait for the slowest.
        if state.converged.mean() > _ARRIVED:
            parts.append(state.part(state.converged))
            state = state.part(~state.converged)
            if state.row.size == 0:
                break
    parts.append(state)
    row = np.concatenate([part.row for part in parts])
    hessians = [_normal_equations(part.jacobian, part.weight, part.value - part.prediction)[1] for part in parts]
    back = np.argsort(row)
    parameters, hessian, chi2, converged = (
        np.concatenate(columns)[back]
        for columns in (
            [part.parameters for part in parts],
            hessians,
            [part.chi2 for part in parts],
            [part.converged for part in parts],
        )
    )
    return _finish(parameters, hessian, chi2, (weight > 0).sum(axis=1) - start.shape[1], converged)


@dataclass(slots=True)
class _BatchState:
    """Fits on their way."""

    row: np.ndarray
    offset: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    parameters: np.ndarray
    prediction: np.ndarray
    jacobian: np.ndarray
    chi2: np.ndarray
    damping: np.ndarray
    converged: np.ndarray

    @classmethod
    def begin(cls, model, parameters, offset, value, weight):
        count = len(parameters)
        prediction, jacobian = model(parameters, offset)
        chi2 = (weight * (value - prediction) ** 2).sum(axis=1)
        arrays = (np.arange(count), offset, value, weight, parameters, prediction, jacobian, chi2)
        return cls(*arrays, np.full(count, 1e-2), np.zeros(count, dtype=bool))

    def take(self, trial, prediction, jacobian):
        """Go to the trial parameters where they are no worse."""
        chi2 = (self.weight * (self.value - prediction) ** 2).sum(axis=1)
        better = chi2 <= self.chi2
        self.converged |= better & (self.chi2 - chi2 < 1e-6 * self.chi2 + 1e-9)
        self.parameters[better] = trial[better]
        if better.all():
            self.prediction, self.jacobian = prediction, jacobian
        else:
            self.prediction[better], self.jacobian[better] = prediction[better], jacobian[better]
        self.chi2 = np.where(better, chi2, self.chi2)
        self.damping = np.clip(np.where(better, self.damping * 0.2, self.damping * 8.0), 1e-9, 1e9)

    def part(self, chosen):
        return _BatchState(*(getattr(self, item.name)[chosen] for item in fields(self)))


def _normal_equations(jacobian, weight, residual):
    weighted = jacobian * weight[:, :, None]
    hessian = np.matmul(weighted.transpose(0, 2, 1), jacobian)
    gradient = np.matmul(weighted.transpose(0, 2, 1), residual[:, :, None])[:, :, 0]
    return gradient, hessian


def _damped_step(hessian, gradient, damping):
    diagonal = np.einsum("nii->ni", hessian)
    scale = np.where(diagonal > 0, diagonal, 1.0)
    # Scaled to unit diagonal, so that units do not decide how singular a matrix is.
    root = np.sqrt(scale)
    matrix = hessian / (root[:, :, None] * root[:, None, :])
    matrix = matrix + (damping[:, None] + 1e-10)[:, :, None] * np.eye(hessian.shape[1])
    return np.linalg.solve(matrix, (gradient / root)[:, :, None])[:, :, 0] / root


def _finish(parameters, hessian, chi2, freedom, converged):
    diagonal = np.einsum("nii->ni", hessian)
    # A parameter that no pixel feels has no error to give.
    felt = diagonal > 1e-30
    enough = (freedom > 0) & felt.all(axis=1)
    root = np.sqrt(np.where(felt, diagonal, 1.0))
    matrix = hessian / (root[:, :, None] * root[:, None, :])
    matrix = np.where(enough[:, None, None], matrix, np.eye(hessian.shape[1])) + 1e-12 * np.eye(hessian.shape[1])
    covariance = np.einsum("nii->ni", np.linalg.inv(matrix)) / root**2
    reduced = chi2 / np.maximum(freedom, 1)
    errors = np.sqrt(np.maximum(covariance, 0.0) * np.maximum(reduced, 1.0)[:, None])
    return BatchFit(parameters, errors, reduced, converged & enough)


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
