"""Smooth curves through positive data: a penalised B-spline of the logarithm, fitted robustly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve

from soxs_recipes.errors import AlgorithmError

__all__ = ["LogSpline", "fit_log_spline"]

_DEGREE = 3
_PENALTY_ORDER = 3  # straight lines and parabolas in the logarithm cost nothing: a blaze nearly is one
_SMOOTHINGS = 10.0 ** np.arange(-4.0, 4.1, 1.0)
_GCV_WEIGHT = 1.4  # above 1, against following correlated errors
_TUKEY = 4.685


@dataclass(frozen=True, slots=True)
class LogSpline:
    """data = template * exp(spline(x) + linear terms).

    Attributes
    ----------
    knots, coefficients : ndarray float64
    covariance : ndarray (k, k)
        Of `coefficients`, scaled by the reduced chi-square where that exceeds 1.
    linear, linear_error : ndarray (m,)
        Coefficients of the additional columns and their errors.
    model : ndarray (n,)
        At the data.
    weight : ndarray (n,)
        Robust weights, 0 for rejected and masked data.
    reduced_chi_square : float
    smoothing : float
    """

    knots: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    linear: np.ndarray
    linear_error: np.ndarray
    model: np.ndarray
    weight: np.ndarray
    reduced_chi_square: float
    smoothing: float

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(spline, 1 sigma) at x, in the logarithm; beyond the ends of the data the last value is held."""
        basis = _basis(np.asarray(x, dtype=np.float64), self.knots)
        spread = basis @ self.covariance
        sigma = np.sqrt(np.maximum(np.asarray(basis.multiply(spread).sum(axis=1)).ravel(), 0.0))
        return basis @ self.coefficients, sigma


def _basis(x: np.ndarray, knots: np.ndarray) -> sparse.csr_array:
    """Four B-splines a row. Sparse: dense products of this size only keep the threads of a BLAS waiting."""
    inside = np.clip(x, knots[_DEGREE], knots[-_DEGREE - 1])
    return sparse.csr_array(BSpline.design_matrix(inside, knots, _DEGREE))


def _difference_penalty(count: int) -> np.ndarray:
    differences = np.diff(np.eye(count), n=_PENALTY_ORDER, axis=0)
    return differences.T @ differences


def _start(x: np.ndarray, ratio: np.ndarray, use: np.ndarray, intervals: int) -> np.ndarray:
    """Logarithm of running medians of data/template, as a first guess at the data."""
    edges = np.linspace(x[0], x[-1], intervals + 1)
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, intervals - 1)
    centres, levels = [], []
    for number in np.unique(bins[use]):
        own = use & (bins == number)
        centres.append(x[own].mean())
        levels.append(np.median(ratio[own]))
    levels = np.array(levels)
    positive = levels > 0
    if positive.sum() < 4:
        raise AlgorithmError("too little signal for a smooth curve", bins=float(positive.sum()))
    levels = np.maximum(levels, 1e-3 * levels.max())
    return np.interp(x, centres, np.log(levels))


def fit_log_spline(
    x: np.ndarray,
    data: np.ndarray,
    variance: np.ndarray,
    template: np.ndarray,
    *,
    use: np.ndarray,
    intervals: int,
    columns: np.ndarray | None = None,
    priors: tuple[np.ndarray, np.ndarray] | None = None,
    model_error: np.ndarray | float = 0.0,
    smoothing: float | None = None,
) -> LogSpline:
    """Fit data = template * exp(spline(x) + columns @ a).

    Parameters
    ----------
    x : ndarray (n,)
        Ascending.
    data, variance, template : ndarray (n,)
        The data keep their Gaussian errors: values at or below 0 are welcome. `template` > 0.
    use : ndarray (n,) bool
        Which data take part.
    intervals : int
        Of the uniform cubic B-spline.
    columns : ndarray (n, m) or None
        Further terms of the exponent.
    priors : (mean, sigma), ndarray (m,) each
        Gaussian priors of their coefficients.
    model_error : ndarray (n,) or float
        Relative error of the template, independent from datum to datum.
    smoothing : float or None
        Weight of the penalty, relative to the data's; None finds it by generalised cross-validation.

    Raises
    ------
    AlgorithmError
        Fewer usable data than twice the number of intervals, or no signal.

    Notes
    -----
    P-splines (Eilers & Marx 1996, Stat. Sci. 11, 89) on a log link by iteratively reweighted least squares, with
    Tukey's biweight against outliers.
    """
    if use.sum() < 2 * intervals:
        raise AlgorithmError("too few usable values for a smooth curve", usable=float(use.sum()))
    step = (x[-1] - x[0]) / intervals
    knots = x[0] + step * np.arange(-_DEGREE, intervals + _DEGREE + 1)
    splines = _basis(x, knots)
    columns = np.zeros((len(x), 0)) if columns is None else columns
    priors = (np.zeros(columns.shape[1]), np.ones(columns.shape[1])) if priors is None else priors
    design = sparse.csr_array(sparse.hstack([splines, sparse.csr_array(columns)]))
    error = np.broadcast_to(model_error, x.shape)[use]
    problem = _Problem(design[use], data[use], variance[use], template[use], error, splines.shape[1], priors)
    start = _start(x, data / template, use, intervals)
    start = np.concatenate([_projection(splines, start), priors[0]])
    best, parameters, weights = None, start, np.ones(int(use.sum()))
    for candidate in _SMOOTHINGS[::-1] if smoothing is None else (smoothing,):
        parameters, weights, score = problem.solve(parameters, weights, candidate)
        if best is None or score < best[0]:
            best = (score, parameters, weights, candidate)
    return problem.result(best, knots, design, template, use)


def _projection(splines: sparse.csr_array, values: np.ndarray) -> np.ndarray:
    normal = (splines.T @ splines).toarray()
    normal += 1e-6 * np.trace(normal) / len(normal) * _difference_penalty(len(normal))
    return np.linalg.solve(normal + 1e-12 * np.eye(len(normal)), splines.T @ values)


class _Problem:
    """The normal equations of one fit, for any smoothing."""

    def __init__(self, design, data, variance, template, model_error, spline_count, priors):
        self.design, self.data, self.variance, self.template = design, data, variance, template
        self.transposed = design.T.tocsr()
        self.model_error = model_error
        self.spline_count = spline_count
        size = design.shape[1]
        self.penalty = np.zeros((size, size))
        self.penalty[:spline_count, :spline_count] = _difference_penalty(spline_count)
        self.prior = np.zeros((size, size))
        inverse = 1.0 / priors[1] ** 2
        self.prior[range(spline_count, size), range(spline_count, size)] = inverse
        self.prior_pull = np.concatenate([np.zeros(spline_count), inverse * priors[0]])

    def _working(self, parameters, robust):
        """Model, working weights and working response of the log link."""
        exponent = self.design @ parameters
        model = self.template * np.exp(np.clip(exponent, -700.0, 700.0))
        weight = robust / (self.variance + (self.model_error * model) ** 2)
        return exponent, model, weight

    def solve(self, parameters, robust, smoothing, iterations=20):
        """(parameters, robust weights, GCV score) for one smoothing, from a start nearby."""
        for iteration in range(iterations):
            exponent, model, weight = self._working(parameters, robust)
            working = weight * model**2
            # The working response may not leap: far from the solution 1/model does.
            residual = np.clip((self.data - model) / model, -0.9, 2.0)
            normal, factor = self._factor(working, smoothing)
            change = (
                cho_solve(factor, self.transposed @ (working * (exponent + residual)) + self.prior_pull)
                - parameters
            )
            parameters = parameters + change
            _, model, weight = self._working(parameters, np.ones(len(self.data)))
            pull = (self.data - model) * np.sqrt(weight)
            scale = max(1.4826 * np.median(np.abs(pull)), 1.0)
            if iteration >= 1:
                robust = np.maximum(1.0 - (pull / (_TUKEY * scale)) ** 2, 0.0) ** 2
            if iteration >= 2 and np.abs(change).max() < 1e-5:
                break
        _, model, weight = self._working(parameters, robust)
        normal, factor = self._factor(weight * model**2, smoothing)
        freedom = np.trace(cho_solve(factor, normal))
        count = float((robust > 0).sum())
        chi_square = float(np.sum(weight * (self.data - model) ** 2))
        score = count * chi_square / max(count - _GCV_WEIGHT * freedom, 1.0) ** 2
        return parameters, robust, score

    def _factor(self, working, smoothing):
        weighted = self.design.copy()
        weighted.data *= np.repeat(working, np.diff(weighted.indptr))
        normal = (self.transposed @ weighted).toarray()
        # Relative to the data's own weight, so that one scale of smoothing serves bright and faint stars.
        unit = np.trace(normal[: self.spline_count, : self.spline_count]) / self.spline_count
        ridge = 1e-12 * unit * np.eye(len(normal))
        return normal, cho_factor(normal + smoothing * unit * self.penalty + self.prior + ridge)

    def result(self, best, knots, full_design, template, use):
        _, parameters, robust, smoothing = best
        _, model, weight = self._working(parameters, robust)
        normal, factor = self._factor(weight * model**2, smoothing)
        covariance = cho_solve(factor, np.eye(len(normal)))
        freedom = max(float((robust > 0).sum()) - np.trace(covariance @ normal), 1.0)
        # Biweights below 1 shrink the sum; the median of Gaussian pulls gives the factor back.
        reduced = float(np.sum(weight * (self.data - model) ** 2)) / freedom
        covariance = covariance * max(reduced, 1.0)
        weights = np.zeros(len(use))
        weights[use] = robust
        m = self.spline_count
        return LogSpline(
            knots=knots,
            coefficients=parameters[:m],
            covariance=covariance[:m, :m],
            linear=parameters[m:],
            linear_error=np.sqrt(np.diag(covariance)[m:]),
            model=template * np.exp(np.clip(full_design @ parameters, -700.0, 700.0)),
            weight=weights,
            reduced_chi_square=reduced,
            smoothing=float(smoothing),
        )
