"""Weighted least squares for interleaved B-splines: banded normal equations, their solution and its covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.banded_kernels import (
    banded_inverse,
    fill_terms,
    normal_equations,
    spans,
    spline_and_derivatives,
    spline_sums,
)

__all__ = ["BandedSystem", "SplineBasis", "SplineTerms", "interleaved", "spline_terms", "uniform_basis"]

_DEGREE = 3
_SHARES = np.arange(4) / 3.0  # of the way between two knots: where four values tell a cubic


@dataclass(frozen=True, slots=True)
class SplineBasis:
    """A cubic B-spline basis.

    Attributes
    ----------
    knots : ndarray (n + 4,) float64
        Full knot vector, ends repeated or continued.
    """

    knots: np.ndarray
    _pieces: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "_pieces", _pieces(self.knots))

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.knots.size - _DEGREE - 1

    @property
    def sites(self) -> np.ndarray:
        """Centre of each coefficient's influence (Greville abscissa)."""
        t = self.knots
        return (t[1:-3] + t[2:-2] + t[3:-1]) / 3.0

    @property
    def _inner(self):
        return self.knots[_DEGREE:-_DEGREE]

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The four basis functions that are not zero at each x.

        Values outside the knots' range are those at its ends.

        Returns
        -------
        first : ndarray (n,) int
            Index of the first of the four.
        values : ndarray (4, n)
        """
        terms = spline_terms([self], [x], [np.ones(np.size(x))])
        return terms.first[:, 0], terms.values.T

    def fill(self, x: np.ndarray, factor: np.ndarray, first: np.ndarray, values: np.ndarray) -> None:
        """Fill `first` (n,) int32 and `values` (n, 4) with the same times a factor (n,)."""
        fill_terms(self._inner, self._pieces, np.asarray(x, dtype=np.float64), factor, first, values)

    def at(self, x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The spline with given coefficients at x; beyond the knots' range its value at the end."""
        return self._everything(x, coefficients)[0]

    def derivatives(self, x: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative at x of the spline with given coefficients."""
        _, slope, curvature = self._everything(x, coefficients)
        return slope, curvature

    def _everything(self, x, coefficients):
        own = np.lib.stride_tricks.sliding_window_view(coefficients, _DEGREE + 1)
        cubics = np.einsum("mk,mkp->mp", own, self._pieces)
        return spline_and_derivatives(self._inner, cubics, np.asarray(x, dtype=np.float64))

    def spline(self, coefficients: np.ndarray) -> BSpline:
        """The spline with given coefficients."""
        return BSpline(self.knots, coefficients, _DEGREE)


def _pieces(knots):
    """Polynomials of the four functions in every interval, in the share of the way; 0 where two knots are one."""
    intervals = np.arange(_DEGREE, knots.size - _DEGREE - 1)
    pieces = np.zeros((intervals.size, _DEGREE + 1, _DEGREE + 1))
    steps = knots[intervals + 1] - knots[intervals]
    wide = steps > 0
    x = knots[intervals[wide], None] + _SHARES * steps[wide, None]
    values = _values(knots, x.ravel(), np.repeat(intervals[wide], _SHARES.size))
    values = values.reshape(_DEGREE + 1, -1, _SHARES.size).transpose(1, 0, 2)
    pieces[wide] = values @ np.linalg.inv(np.vander(_SHARES, increasing=True)).T
    return pieces


def _values(t, x, interval):
    """All four functions by the recurrence of de Boor (1972, J. Approx. Theory 6, 50), all points at once."""
    values = np.empty((_DEGREE + 1, x.size))
    values[0] = 1.0
    above = [t.take(interval + r) - x for r in range(1, _DEGREE + 1)]
    below = [x - t.take(interval - r) for r in range(_DEGREE)]
    for degree in range(1, _DEGREE + 1):
        saved = np.zeros(x.size)
        for r in range(degree):
            part = values[r] / (above[r] + below[degree - 1 - r])
            np.multiply(above[r], part, out=values[r])
            values[r] += saved
            saved = np.multiply(below[degree - 1 - r], part, out=part)
        values[degree] = saved
    return values


@lru_cache(maxsize=64)
def uniform_basis(count: int, spacing: float = 1.0) -> SplineBasis:
    """Evenly spaced knots, about `spacing` bins apart, over bins 0 ... count - 1 and one more on either side."""
    intervals = max(round((count + 1) / spacing), 1)
    step = (count + 1) / intervals
    return SplineBasis(-1.0 + step * np.arange(-_DEGREE, intervals + _DEGREE + 1))


def interleaved(bases: list[SplineBasis]) -> list[np.ndarray]:
    """Rank of every coefficient of every basis in one common sequence along the axis."""
    sites = np.concatenate([basis.sites for basis in bases])
    rank = np.empty(sites.size, dtype=np.int32)
    rank[np.argsort(sites, kind="stable")] = np.arange(sites.size, dtype=np.int32)
    return np.split(rank, np.cumsum([basis.size for basis in bases])[:-1])


@dataclass(frozen=True, slots=True)
class SplineTerms:
    """What several splines add to the model of every pixel: four neighbouring coefficients of each times factors.

    Attributes
    ----------
    first : ndarray (pixels, splines) int32
        First of the four coefficients.
    values : ndarray (pixels, 4 * splines)
    """

    first: np.ndarray
    values: np.ndarray

    def sums(self, coefficients: Sequence[np.ndarray]) -> np.ndarray:
        """What each spline adds to every pixel (splines, pixels), with its own coefficients."""
        return spline_sums(self.first, self.values, _stacked(coefficients, float))


def spline_terms(
    bases: Sequence[SplineBasis], places: Sequence[np.ndarray], factors: Sequence[np.ndarray]
) -> SplineTerms:
    """Terms of splines at their places (pixels,), each times a factor (pixels,)."""
    first = np.empty((np.size(places[0]), len(bases)), np.int32)
    values = np.empty((len(first), 4 * len(bases)))
    for k, (basis, place, factor) in enumerate(zip(bases, places, factors, strict=True)):
        basis.fill(place, factor, first[:, k], values[:, 4 * k : 4 * k + 4])
    return SplineTerms(first, values)


def _stacked(rows, dtype):
    """Rows of different length as one array, zeros behind the shorter ones."""
    result = np.zeros((len(rows), max(row.size for row in rows)), dtype)
    for row, values in zip(result, rows, strict=True):
        row[: values.size] = values
    return result


class BandedSystem:
    """Normal equations A c = b with A symmetric, positive and banded.

    Parameters
    ----------
    terms : SplineTerms
    ranks : sequence of ndarray (m,) int
        Rank of each of the splines' coefficients in the system.

    Attributes
    ----------
    band : ndarray (size, bandwidth + 1)
        band[i, k] = A[i + k, i].
    """

    def __init__(self, terms: SplineTerms, ranks: Sequence[np.ndarray]):
        self._terms = terms
        self._ranks = _stacked(ranks, np.int32)
        self.size = sum(rank.size for rank in ranks)
        self.band = np.zeros((self.size, 1))
        self.right = np.zeros(self.size)
        self._factor: np.ndarray | None = None
        self._inverse = np.zeros((self.size, 0))

    def accumulate(self, weight: np.ndarray, data: np.ndarray) -> None:
        """Set up the equations for pixels with weights 1/variance (0 leaves a pixel out)."""
        terms = self._terms
        place, width = spans(terms.first, self._ranks)
        # Small integers are sorted in linear time.
        order = np.argsort(place.astype(np.uint16 if self.size < 1 << 16 else np.int32), kind="stable")
        self.band, self.right = normal_equations(
            place, order, terms.first, terms.values, self._ranks, weight, data, self.size, width
        )

    def release(self) -> None:
        """Let go of what only `accumulate` and `solve` need."""
        self._terms, self.band = None, np.zeros((self.size, 1))

    def regularise(self, ridge: np.ndarray | float) -> None:
        """Add a prior of mean zero and precision `ridge` to the coefficients."""
        self.band[:, 0] += ridge

    def solve(self) -> np.ndarray:
        """Coefficients; AlgorithmError when the equations hold no unique answer."""
        try:
            factor = cholesky_banded(self.band.T, lower=True)
        except LinAlgError as error:
            raise AlgorithmError("the sky and object equations are singular", size=self.size) from error
        self._factor = np.ascontiguousarray(factor.T)
        return cho_solve_banded((factor, True), self.right)

    def covariance(self, width: int) -> np.ndarray:
        """Covariance of every coefficient with itself and the next ones, after `solve`: (size, width + 1 or more).

        Kept until `release_covariance`, and found anew when more of it is asked for.
        """
        if self._inverse.shape[1] <= width:
            self._inverse = banded_inverse(self._factor, max(width, self._factor.shape[1] - 1))
        return self._inverse

    def release_covariance(self) -> None:
        """Let go of the covariance: megabytes an order."""
        self._inverse = np.zeros((self.size, 0))
