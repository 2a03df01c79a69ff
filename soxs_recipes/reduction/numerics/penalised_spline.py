"""Smooth curves through positive data: a penalised B-spline of the logarithm, fitted robustly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import median_filter

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.numerics.penalised_spline_kernels import linearise, weighted_products

__all__ = ["LogSpline", "fit_log_spline"]

_DEGREE = 3
_PENALTY_ORDER = 3  # straight lines and parabolas in the logarithm cost nothing: a blaze nearly is one
_SMOOTHINGS = 10.0 ** np.arange(-4.0, 4.1, 1.0)
_GCV_WEIGHT = 1.4  # above 1, against following correlated errors
_TUKEY = 4.685
_NEIGHBOURS = 31  # data: an outlier is one against its neighbours, not against a curve that is still too stiff
_REFINEMENTS = 5
_REFINING_SMOOTHING = 0.01
_MISFIT = 4.0  # sigma of an interval's mean residual that asks for finer knots
_FEWEST = 16  # data in an interval that may be divided


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
        basis = _Design.of(np.asarray(x, dtype=np.float64), self.knots)
        own = basis.own
        covariance = self.covariance[own[:, :, None], own[:, None, :]]
        variance = np.einsum("ni,nij,nj->n", basis.values, covariance, basis.values)
        return basis.exponent(self.coefficients), np.sqrt(np.maximum(variance, 0.0))


@dataclass(frozen=True, slots=True)
class _Design:
    """Four B-splines a datum, and further columns; `first` is the index of the first of the four."""

    first: np.ndarray
    values: np.ndarray
    columns: np.ndarray
    splines: int

    @classmethod
    def of(cls, x: np.ndarray, knots: np.ndarray, columns: np.ndarray | None = None) -> _Design:
        inside = np.clip(x, knots[_DEGREE], knots[-_DEGREE - 1])
        rows = BSpline.design_matrix(inside, knots, _DEGREE)
        first = rows.indices.reshape(-1, _DEGREE + 1)[:, 0].astype(np.int64)
        columns = np.zeros((x.size, 0)) if columns is None else np.ascontiguousarray(columns, dtype=np.float64)
        return cls(first, rows.data.reshape(-1, _DEGREE + 1), columns, knots.size - _DEGREE - 1)

    @property
    def own(self) -> np.ndarray:
        """Indices (n, 4) of the splines."""
        return self.first[:, None] + np.arange(_DEGREE + 1)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As the kernels take them."""
        return self.first, self.values, self.columns

    def exponent(self, parameters: np.ndarray) -> np.ndarray:
        """Sum of all terms (n,)."""
        splines = (self.values * parameters[self.own]).sum(axis=1)
        return splines + self.columns @ parameters[self.splines :]

    def part(self, use: np.ndarray) -> _Design:
        """Some of the data."""
        return _Design(self.first[use], self.values[use], self.columns[use], self.splines)

    def products(self, weight: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(normal matrix, right side) of weighted least squares."""
        return weighted_products(*self.arrays, self.splines, weight, target)


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
    may_refine: np.ndarray | None = None,
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
        Of the cubic B-spline to begin with, all of one width.
    columns : ndarray (n, m) or None
        Further terms of the exponent.
    priors : (mean, sigma), ndarray (m,) each
        Gaussian priors of their coefficients.
    model_error : ndarray (n,) or float
        Relative error of the template, independent from datum to datum.
    smoothing : float or None
        Weight of the penalty, relative to the data's; None finds it by generalised cross-validation.
    may_refine : ndarray (n,) bool or None
        Data that may ask for finer knots: intervals whose residuals have a mean significantly off 0 are divided.
        The penalty is on coefficients, so the curve bends more freely where knots are dense. None: no refinement.

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
    columns = np.zeros((len(x), 0)) if columns is None else columns
    priors = (np.zeros(columns.shape[1]), np.ones(columns.shape[1])) if priors is None else priors
    error = np.broadcast_to(model_error, x.shape)
    data_set = _DataSet(x, data, variance, template, use, columns, priors, error)
    edges = np.linspace(x[0], x[-1], intervals + 1)
    curve = _start(x, data / template, use, intervals)
    if may_refine is not None:
        edges, curve = _refined(data_set, edges, curve, may_refine & use)
    return data_set.fit(edges, curve, _SMOOTHINGS[::-1] if smoothing is None else (smoothing,))


def _refined(data_set: _DataSet, edges: np.ndarray, curve: np.ndarray, may: np.ndarray):
    """(edges, spline at the data) after intervals that the curve cannot follow have been divided."""
    for _ in range(_REFINEMENTS):
        found = data_set.fit(edges, curve, (_REFINING_SMOOTHING,))
        curve = found.evaluate(data_set.x)[0]
        sigma = np.sqrt(data_set.variance + (data_set.error * found.model) ** 2)
        part = may & (found.weight > 0)
        pull = np.where(part, (data_set.data - found.model) / sigma, 0.0)
        interval = np.clip(np.searchsorted(edges, data_set.x, side="right") - 1, 0, len(edges) - 2)
        # Halves, too: a step through the middle has a mean of 0.
        half = 2 * interval + (data_set.x > 0.5 * (edges[interval] + edges[interval + 1]))
        count = np.bincount(half, part, 2 * len(edges) - 2)
        mean = np.bincount(half, pull, 2 * len(edges) - 2) / np.sqrt(np.maximum(count, 1.0))
        misfit = np.abs(mean).reshape(-1, 2).max(axis=1)
        divided = (misfit > _MISFIT) & (count.reshape(-1, 2).sum(axis=1) >= _FEWEST)
        if not divided.any():
            break
        edges = np.sort(np.concatenate([edges, 0.5 * (edges[1:] + edges[:-1])[divided]]))
    return edges, curve


@dataclass(frozen=True, slots=True)
class _DataSet:
    """What is fitted, on whatever knots."""

    x: np.ndarray
    data: np.ndarray
    variance: np.ndarray
    template: np.ndarray
    use: np.ndarray
    columns: np.ndarray
    priors: tuple[np.ndarray, np.ndarray]
    error: np.ndarray

    def fit(self, edges: np.ndarray, curve: np.ndarray, smoothings: Sequence[float]) -> LogSpline:
        """Fit on intervals with these edges from a curve nearby, with the smoothing that predicts best."""
        first, last = edges[1] - edges[0], edges[-1] - edges[-2]
        below = edges[0] - first * np.arange(_DEGREE, 0, -1)
        knots = np.concatenate([below, edges, edges[-1] + last * np.arange(1, _DEGREE + 1)])
        design, use = _Design.of(self.x, knots, self.columns), self.use
        problem = _Problem(
            design.part(use),
            self.data[use],
            self.variance[use],
            self.template[use],
            self.error[use],
            self.priors,
        )
        parameters = np.concatenate([_projection(_Design.of(self.x, knots), curve), self.priors[0]])
        best, weights = None, np.ones(int(use.sum()))
        for smoothing in smoothings:
            parameters, weights, score = problem.solve(parameters, weights, smoothing)
            if best is None or score < best[0]:
                best = (score, parameters, weights, smoothing)
        return problem.result(best, knots, design, self.template, use)


def _projection(splines: _Design, values: np.ndarray) -> np.ndarray:
    normal, right = splines.products(np.ones(len(values)), values)
    normal += 1e-6 * np.trace(normal) / len(normal) * _difference_penalty(len(normal))
    return np.linalg.solve(normal + 1e-12 * np.eye(len(normal)), right)


class _Problem:
    """The normal equations of one fit, for any smoothing."""

    def __init__(self, design, data, variance, template, model_error, priors):
        self.design, self.data, self.variance, self.template = design, data, variance, template
        self.model_error = model_error
        self.spline_count = design.splines
        size = design.splines + design.columns.shape[1]
        self.penalty = np.zeros((size, size))
        self.penalty[: design.splines, : design.splines] = _difference_penalty(design.splines)
        self.prior = np.zeros((size, size))
        inverse = 1.0 / priors[1] ** 2
        self.prior[range(design.splines, size), range(design.splines, size)] = inverse
        self.prior_pull = np.concatenate([np.zeros(design.splines), inverse * priors[0]])

    def _linearised(self, parameters):
        """Model, pulls, inverse variance of the logarithm and working response of the log link."""
        filled = np.empty((4, len(self.data)))
        known = self.data, self.variance, self.template, self.model_error
        linearise(*self.design.arrays, parameters, *known, *filled)
        return filled

    def solve(self, parameters, robust, smoothing, iterations=20):
        """(parameters, robust weights, GCV score) for one smoothing, from a start nearby."""
        _, pull, sensitivity, response = self._linearised(parameters)
        for iteration in range(iterations):
            _, right, factor = self._factor(robust * sensitivity, response, smoothing)
            change = cho_solve(factor, right + self.prior_pull) - parameters
            parameters = parameters + change
            _, pull, sensitivity, response = self._linearised(parameters)
            if iteration >= 1:
                deviation = pull - median_filter(pull, _NEIGHBOURS, mode="nearest")
                scale = max(1.4826 * np.median(np.abs(deviation)), 1.0)
                robust = np.maximum(1.0 - (deviation / (_TUKEY * scale)) ** 2, 0.0) ** 2
            if iteration >= 2 and np.abs(change).max() < 1e-5:
                break
        normal, _, factor = self._factor(robust * sensitivity, response, smoothing)
        freedom = np.trace(cho_solve(factor, normal))
        count = float((robust > 0).sum())
        chi_square = float(np.sum(robust * pull**2))
        score = count * chi_square / max(count - _GCV_WEIGHT * freedom, 1.0) ** 2
        return parameters, robust, score

    def _factor(self, working, response, smoothing):
        """Normal matrix and right side of the data alone, and the Cholesky factor with penalty and prior."""
        normal, right = self.design.products(working, response)
        # Relative to the data's own weight, so that one scale of smoothing serves bright and faint stars.
        unit = np.trace(normal[: self.spline_count, : self.spline_count]) / self.spline_count
        ridge = 1e-12 * unit * np.eye(len(normal))
        return normal, right, cho_factor(normal + smoothing * unit * self.penalty + self.prior + ridge)

    def result(self, best, knots, full_design, template, use):
        _, parameters, robust, smoothing = best
        _, pull, sensitivity, response = self._linearised(parameters)
        normal, _, factor = self._factor(robust * sensitivity, response, smoothing)
        covariance = cho_solve(factor, np.eye(len(normal)))
        freedom = max(float((robust > 0).sum()) - np.trace(covariance @ normal), 1.0)
        # Biweights below 1 shrink the sum; the median of Gaussian pulls gives the factor back.
        reduced = float(np.sum(robust * pull**2)) / freedom
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
            model=template * np.exp(np.clip(full_design.exponent(parameters), -700.0, 700.0)),
            weight=weights,
            reduced_chi_square=reduced,
            smoothing=float(smoothing),
        )
