"""Weighted least squares for interleaved B-splines: banded normal equations, their solution and its covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.numerics.banded_kernels import (
    banded_inverse,
    basis_values,
    normal_equations,
    pieces_between,
    places_between,
    spline_and_derivatives,
    spline_moments,
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
        return basis_values(self._inner, self._pieces, np.asarray(x, dtype=np.float64))

    def between(self, edges: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
        """The four functions that are not zero at places between edges (m + 1,), all moved by a shift.

        Every knot inside must be among the edges less the shift.

        Returns
        -------
        first : ndarray (m,) int32
        pieces : ndarray (m, 4, 4)
            Their polynomials in the share of the way from one edge to the next, constant first.
        """
        return pieces_between(self._inner, self._pieces, edges, shift)

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
    """What several splines add to the model of every pixel: cubics between any two of their knots, times factors.

    Attributes
    ----------
    interval : ndarray (pixels,) int32
        Between which of all knots a pixel lies.
    share : ndarray (pixels,)
        Of the way from one to the next.
    factors : ndarray (splines, pixels)
    first : ndarray (intervals, splines) int32
        First of the four coefficients of each spline that tell in an interval.
    pieces : ndarray (intervals, splines, 4, 4)
        The polynomials that belong to them, constant first.
    """

    interval: np.ndarray
    share: np.ndarray
    factors: np.ndarray
    first: np.ndarray
    pieces: np.ndarray

    def sums(self, coefficients: Sequence[np.ndarray]) -> np.ndarray:
        """What each spline adds to every pixel (splines, pixels), with its own coefficients."""
        stacked = _stacked(coefficients, float)
        return spline_sums(self.interval, self.share, self.factors, self.first, self.pieces, stacked)

    def equations(self, ranks: np.ndarray, weight: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and right side as in `BandedSystem`; ranks (splines, most) int32."""
        splines = np.arange(len(self.factors))
        ends = [ranks[splines, self.first], ranks[splines, self.first + _DEGREE]]
        width = int((np.max(ends[1], axis=1) - np.min(ends[0], axis=1)).max())
        moments = spline_moments(self.interval, self.share, self.factors, weight, data, len(self.first))
        return normal_equations(*moments, self.first, self.pieces, ranks, int(ranks.max()) + 1, width)


def spline_terms(
    bases: Sequence[SplineBasis], position: np.ndarray, shifts: Sequence[float], factors: np.ndarray
) -> SplineTerms:
    """Terms of splines, each at positions (pixels,) moved by its shift, times its factors (splines, pixels)."""
    # Several share knots.
    which = {(id(basis), shift): (basis, shift) for basis, shift in zip(bases, shifts, strict=True)}
    edges = np.unique(np.concatenate([basis._inner - shift for basis, shift in which.values()]))
    known = {key: basis.between(edges, shift) for key, (basis, shift) in which.items()}
    first = np.empty((edges.size - 1, len(bases)), np.int32)
    pieces = np.empty((edges.size - 1, len(bases), _DEGREE + 1, _DEGREE + 1))
    for k, (basis, shift) in enumerate(zip(bases, shifts, strict=True)):
        first[:, k], pieces[:, k] = known[id(basis), shift]
    return SplineTerms(*places_between(edges, position), factors, first, pieces)


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
        self.band, self.right = self._terms.equations(self._ranks, weight, data)

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
