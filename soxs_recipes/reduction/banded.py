"""Weighted least squares for interleaved B-splines: banded normal equations, their solution and its covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline, PPoly
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from soxs_recipes.errors import AlgorithmError

__all__ = ["BandedSystem", "SplineBasis", "SplineColumns", "blockwise_inverse", "interleaved", "uniform_basis"]

_DEGREE = 3
_MOST_CELLS = 100_000  # of a table that finds the knot below a place
_CORE = 40  # Coefficients whose covariance one block yields.
_BORDER = 24  # Coefficients on either side that are inverted with them; correlations die out within.


@dataclass(frozen=True, slots=True)
class SplineBasis:
    """A cubic B-spline basis.

    Attributes
    ----------
    knots : ndarray (n + 4,) float64
        Full knot vector, ends repeated or continued.
    step : float
        Distance of the knots where it is the same everywhere, else 0.
    """

    knots: np.ndarray
    step: float = 0.0

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.knots.size - _DEGREE - 1

    @property
    def sites(self) -> np.ndarray:
        """Centre of each coefficient's influence (Greville abscissa)."""
        t = self.knots
        return (t[1:-3] + t[2:-2] + t[3:-1]) / 3.0

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The four basis functions that are not zero at each x.

        Values outside the knots' range are those at its ends.

        Returns
        -------
        first : ndarray (n,) int
            Index of the first of the four.
        values : ndarray (4, n)
        """
        x, interval = self._located(x)
        if self.step > 0:
            return interval - _DEGREE, _uniform_values((x - self.knots.take(interval)) / self.step)
        return interval - _DEGREE, _values(self.knots, x, interval)

    def at(self, x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The spline with given coefficients at x; beyond the knots' range its value at the end."""
        x, interval = self._located(x)
        pieces = PPoly.from_spline((self.knots, coefficients, _DEGREE)).c
        f = x - self.knots.take(interval)
        value = pieces[0].take(interval)
        for piece in pieces[1:]:
            value *= f
            value += piece.take(interval)
        return value

    def derivatives(self, x: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative at x of the spline with given coefficients."""
        x, interval = self._located(x)
        cubic, square, linear, _ = PPoly.from_spline((self.knots, coefficients, _DEGREE)).c
        f = x - self.knots.take(interval)
        bend = cubic.take(interval)
        bend *= 3.0 * f
        bend += square.take(interval)
        curvature = 2.0 * bend
        bend += square.take(interval)
        bend *= f
        bend += linear.take(interval)
        return bend, curvature

    def _located(self, x):
        """x within the knots' range, and the knot below each."""
        t = self.knots
        x = np.clip(np.asarray(x, dtype=np.float64), t[_DEGREE], t[-_DEGREE - 1])
        inner = t[_DEGREE:-_DEGREE]
        # A cell holds one knot at most: what lies below follows from the cell and one comparison.
        cells = (inner[-1] - inner[0]) / max(np.diff(inner).min(), 1e-300) + 2.0
        if cells > _MOST_CELLS:
            return x, np.clip(np.searchsorted(t, x, side="right") - 1, _DEGREE, self.size - 1)
        cells = int(cells)
        scale = cells / (inner[-1] - inner[0])
        below = np.searchsorted(inner, inner[0] + np.arange(cells + 1) / scale, side="right") + (_DEGREE - 1)
        interval = below.take(((x - inner[0]) * scale).astype(np.intp))
        interval -= x < t.take(interval)
        interval += x >= t.take(interval + 1)
        return x, np.minimum(interval, self.size - 1, out=interval)

    def spline(self, coefficients: np.ndarray) -> BSpline:
        """The spline with given coefficients."""
        return BSpline(self.knots, coefficients, _DEGREE)


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


def _uniform_values(f):
    """The same on evenly spaced knots, from the share f of the way to the next knot."""
    values = np.empty((_DEGREE + 1, f.size))
    square = f * f
    cube = square * f
    np.multiply(cube, 1.0 / 6.0, out=values[3])
    rest = 1.0 - f
    np.multiply(rest * rest, rest / 6.0, out=values[0])
    values[1] = 0.5 * cube - square + 2.0 / 3.0
    np.subtract(1.0, values[0], out=values[2])
    values[2] -= values[1]
    values[2] -= values[3]
    return values


def uniform_basis(count: int, spacing: float = 1.0) -> SplineBasis:
    """Evenly spaced knots, about `spacing` bins apart, over bins 0 ... count - 1 and one more on either side."""
    intervals = max(round((count + 1) / spacing), 1)
    step = (count + 1) / intervals
    return SplineBasis(-1.0 + step * np.arange(-_DEGREE, intervals + _DEGREE + 1), step)


def interleaved(bases: list[SplineBasis]) -> list[np.ndarray]:
    """Rank of every coefficient of every basis in one common sequence along the axis."""
    sites = np.concatenate([basis.sites for basis in bases])
    rank = np.empty(sites.size, dtype=np.int32)
    rank[np.argsort(sites, kind="stable")] = np.arange(sites.size, dtype=np.int32)
    return np.split(rank, np.cumsum([basis.size for basis in bases])[:-1])


@dataclass(frozen=True, slots=True)
class SplineColumns:
    """What one spline adds to the model of every pixel: four neighbouring coefficients times factors.

    Attributes
    ----------
    first : ndarray (pixels,) int
        First of the four coefficients; rises with the place along the order, as that of all columns of a system.
    values : ndarray (4, pixels)
    rank : ndarray (m,) int
        Rank of each of the spline's coefficients in the system.
    """

    first: np.ndarray
    values: np.ndarray
    rank: np.ndarray

    def model(self, coefficients: np.ndarray) -> np.ndarray:
        """Sum over the spline's own coefficients (m,) in every pixel."""
        result = self.values[0] * coefficients.take(self.first)
        for k in range(1, _DEGREE + 1):
            result += self.values[k] * coefficients[k:].take(self.first)
        return result


class BandedSystem:
    """Normal equations A c = b with A symmetric, positive and banded.

    Parameters
    ----------
    columns : sequence of SplineColumns
    size : int
        Number of coefficients.
    """

    def __init__(self, columns: Sequence[SplineColumns], size: int):
        self._columns = list(columns)
        self.size = size
        self.band = np.zeros((1, size))
        self.right = np.zeros(size)

    def accumulate(self, weight: np.ndarray, data: np.ndarray) -> None:
        """Set up the equations for pixels with weights 1/variance (0 leaves a pixel out).

        Pixels between the same knots of all splines share their coefficients: their products are summed group by
        group, and only the sums are sent to their places.
        """
        order, start = self._groups()
        ranks = [
            columns.rank.take(columns.first.take(order.take(start)) + k)
            for columns in self._columns
            for k in range(_DEGREE + 1)
        ]
        values = [row.take(order) for columns in self._columns for row in columns.values]
        weight, data = weight.take(order), data.take(order)
        places, sums = [], []
        self.right = np.zeros(self.size)
        for i, value in enumerate(values):
            weighted = weight * value
            self.right += np.bincount(ranks[i], np.add.reduceat(weighted * data, start), minlength=self.size)
            for j in range(i, len(values)):
                distance = np.abs(ranks[i] - ranks[j])
                places.append(distance * self.size + np.minimum(ranks[i], ranks[j]))
                sums.append(np.add.reduceat(weighted * values[j], start))
        places = np.concatenate(places)
        bandwidth = int(places.max()) // self.size
        band = np.bincount(places, np.concatenate(sums), minlength=(bandwidth + 1) * self.size)
        self.band = band.reshape(bandwidth + 1, self.size)

    def _groups(self):
        """Order of the pixels in which those of the same coefficients stand together; where each group begins."""
        key = sum(columns.first for columns in self._columns)
        # Small integers are sorted in linear time.
        key = key.astype(np.uint16 if key.max(initial=0) < 1 << 16 else np.int64)
        order = np.argsort(key, kind="stable")
        key = key.take(order)
        return order, np.flatnonzero(np.diff(key, prepend=key[:1] + 1))

    def release(self) -> None:
        """Let go of what only `accumulate` needs."""
        self._columns = []

    def regularise(self, ridge: np.ndarray | float) -> None:
        """Add a prior of mean zero and precision `ridge` to the coefficients."""
        self.band[0] += ridge

    def solve(self) -> np.ndarray:
        """Coefficients; AlgorithmError when the equations hold no unique answer."""
        try:
            factor = cholesky_banded(self.band, lower=True)
        except LinAlgError as error:
            raise AlgorithmError("the sky and object equations are singular", size=self.size) from error
        return cho_solve_banded((factor, True), self.right)


def blockwise_inverse(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance near the diagonal of a banded precision matrix.

    Correlations of spline coefficients fall off exponentially, so overlapping dense blocks are inverted and only
    their cores are kept.

    Parameters
    ----------
    band : ndarray (bandwidth + 1, n)
        Lower form: band[k, i] = A[i + k, i].

    Returns
    -------
    inverse : ndarray (blocks, m, m)
    start : ndarray (blocks,) int
        First coefficient of each block; block b is authoritative for coefficients
        start + border ... start + border + core - 1 (see `locate`).
    """
    width, size = band.shape
    blocks = max(-(-size // _CORE), 1)
    length = _CORE + 2 * _BORDER
    start = np.arange(blocks) * _CORE - _BORDER
    padded = np.zeros((width, blocks * _CORE + 2 * _BORDER))
    padded[0] = 1.0
    padded[:, _BORDER : _BORDER + size] = band
    dense = np.zeros((blocks, length, length))
    for offset in range(min(width, length)):
        rows = np.arange(length - offset)
        columns = (start + _BORDER)[:, None] + rows[None, :]
        entries = padded[offset][columns]
        dense[:, rows + offset, rows] = entries
        dense[:, rows, rows + offset] = entries
    # Entries that would couple to the padding are zero already: band[k, i] with i + k >= n is never filled.
    return np.linalg.inv(dense), start


def locate(coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(block, row within it) where `blockwise_inverse` knows these coefficients best."""
    block = coefficients // _CORE
    return block, coefficients - block * _CORE + _BORDER
