"""Weighted least squares for interleaved B-splines: banded normal equations, their solution and its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from soxs_recipes.errors import AlgorithmError

__all__ = ["BandedSystem", "SplineBasis", "blockwise_inverse", "interleaved", "uniform_basis"]

_DEGREE = 3
_CORE = 40  # Coefficients whose covariance one block yields.
_BORDER = 24  # Coefficients on either side that are inverted with them; correlations die out within.


@dataclass(frozen=True, slots=True)
class SplineBasis:
    """A cubic B-spline basis.

    Attributes
    ----------
    knots : ndarray (n + 4,) float64
        Full knot vector, ends repeated or continued.
    """

    knots: np.ndarray

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
        """(indices (n, 4) int32, values (n, 4)) of the basis functions that are not zero at x.

        Values outside the knots' range are those at its ends. The recurrence of de Boor (1972, J. Approx. Theory
        6, 50), all points at once.
        """
        t = self.knots
        x = np.clip(np.asarray(x, dtype=np.float64), t[_DEGREE], t[-_DEGREE - 1])
        interval = np.clip(np.searchsorted(t, x, side="right") - 1, _DEGREE, self.size - 1)
        values = np.zeros((x.size, _DEGREE + 1))
        values[:, 0] = 1.0
        for degree in range(1, _DEGREE + 1):
            saved = np.zeros(x.size)
            for r in range(degree):
                right, left = t[interval + r + 1], t[interval + r + 1 - degree]
                part = values[:, r] / (right - left)
                values[:, r] = saved + (right - x) * part
                saved = (x - left) * part
            values[:, degree] = saved
        indices = (interval - _DEGREE).astype(np.int32)[:, None] + np.arange(_DEGREE + 1, dtype=np.int32)
        return indices, values

    def spline(self, coefficients: np.ndarray) -> BSpline:
        """The spline with given coefficients."""
        return BSpline(self.knots, coefficients, _DEGREE)


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


class BandedSystem:
    """Normal equations A c = b with A symmetric, positive and banded.

    Parameters
    ----------
    indices : ndarray (pixels, k) int32
        Which coefficients each pixel's model holds.
    values : ndarray (pixels, k) float64
        With which factors.
    size : int
        Number of coefficients.
    """

    def __init__(self, indices: np.ndarray, values: np.ndarray, size: int):
        self._indices = indices
        self._values = values
        self.size = size
        self.bandwidth = int((indices.max(axis=1) - indices.min(axis=1)).max()) if indices.size else 0
        self.band = np.zeros((self.bandwidth + 1, size))
        self.right = np.zeros(size)

    def accumulate(self, weight: np.ndarray, data: np.ndarray) -> None:
        """Set up the equations for pixels with weights 1/variance (0 leaves a pixel out)."""
        indices, values, size = self._indices, self._values, self.size
        band = np.zeros((self.bandwidth + 1) * size)
        right = np.zeros(size)
        for i in range(indices.shape[1]):
            weighted = weight * values[:, i]
            right += np.bincount(indices[:, i], weighted * data, minlength=size)
            for j in range(i, indices.shape[1]):
                low = np.minimum(indices[:, i], indices[:, j])
                key = np.abs(indices[:, i] - indices[:, j]) * size + low
                band += np.bincount(key, weighted * values[:, j], minlength=band.size)
        self.band = band.reshape(self.bandwidth + 1, size)
        self.right = right

    def release(self) -> None:
        """Let go of what only `accumulate` needs."""
        del self._indices, self._values

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
