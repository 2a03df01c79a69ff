"""Robust linear regression of measurements that share errors within groups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dpotri

__all__ = ["GroupedRegression", "Scatter"]

_CAUCHY = 2.5  # standardised residual at which a measurement's weight is halved
_FOLDS = 8


@dataclass(frozen=True, slots=True)
class Scatter:
    """Noise beyond the measurement errors.

    Attributes
    ----------
    own : float
        1 sigma of each measurement by itself, unit of the values.
    shared : float
        1 sigma of what the members of a group have in common, unit of value over lever.
    """

    own: float = 0.0
    shared: float = 0.0


@dataclass(frozen=True, slots=True)
class GroupedRegression:
    """value = design @ coefficients + lever * (error of its group) + own error.

    Groups are spectral lines: an error of a listed wavelength moves all pinholes and all orders of the line alike,
    by its dispersion (the lever). The covariance of a group, D + shared^2 l l^T, is inverted by the
    Sherman-Morrison formula, so the cost is that of ordinary least squares.

    Attributes
    ----------
    design : ndarray (n, p)
    value, error, lever : ndarray (n,)
    group : ndarray (n,) int
        0..g-1.
    expected : ndarray (p,)
        1 sigma of a Gaussian prior of mean 0 on each coefficient.
    """

    design: np.ndarray
    value: np.ndarray
    error: np.ndarray
    lever: np.ndarray
    group: np.ndarray
    expected: np.ndarray

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1 if self.group.size else 0

    def normal(self, weight: np.ndarray, scatter: Scatter) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrix (p, p) and right-hand side (p,) without the prior."""
        return self._normal_of(self._weights(weight, scatter), slice(None), slice(None))

    def normal_per_fold(self, weight: np.ndarray, scatter: Scatter) -> tuple[np.ndarray, np.ndarray]:
        """The same for each of the parts that validation leaves out in turn: (folds, p, p), (folds, p)."""
        weights, fold = self._weights(weight, scatter), self._fold()
        parts = [self._normal_of(weights, np.flatnonzero(fold[self.group] == k), fold == k) for k in range(_FOLDS)]
        return np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])

    def _normal_of(self, weights, rows, clusters):
        own, factor, adder = weights
        design, value = self.design[rows], self.value[rows]
        lever = (own * self.lever)[rows]
        # A matrix times its own transpose takes half the work of two different ones.
        root = np.sqrt(own[rows])
        weighted = design * root[:, None]
        matrix, right = weighted.T @ weighted, weighted.T @ (root * value)
        if np.any(lever):
            chosen = adder[clusters][:, rows] if isinstance(rows, np.ndarray) else adder
            root = np.sqrt(factor[clusters])
            pulled = (chosen @ (lever[:, None] * design)) * root[:, None]
            matrix -= pulled.T @ pulled
            right -= pulled.T @ (root * (chosen @ (lever * value)))
        return matrix, right

    def solve(self, matrices: np.ndarray, right: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients and covariance of chosen columns from summed normal equations."""
        factor, scale = self._factor(matrices, columns)
        lower, failed = dpotri(factor, lower=1)
        if failed:
            raise np.linalg.LinAlgError("normal matrix is singular")
        inverse = np.tril(lower) + np.tril(lower, -1).T
        inverse *= scale[:, None]
        inverse *= scale
        return inverse @ right[columns], inverse

    def _factor(self, matrices, columns):
        """Cholesky factor of the normal matrix with its prior, scaled to unit diagonal, and the scale."""
        matrix = matrices[np.ix_(columns, columns)]
        diagonal = np.einsum("ii->i", matrix)
        diagonal += 1.0 / self.expected[columns] ** 2
        scale = 1.0 / np.sqrt(diagonal)
        matrix *= scale[:, None]
        matrix *= scale
        return cholesky(matrix, lower=True, overwrite_a=True, check_finite=False), scale

    def robust_fit(
        self,
        columns: np.ndarray,
        scatter: Scatter | None = None,
        weight: np.ndarray | None = None,
        rounds: int = 8,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Scatter]:
        """Fit with weights and scatter found from the data.

        Parameters
        ----------
        columns : ndarray (k,) int
        scatter : Scatter, optional
            Taken as known when given.
        weight : ndarray (n, 2), optional
            To start from.
        rounds : int
            At most so many.

        Returns
        -------
        coefficients, covariance : ndarray (k,), (k, k)
        weight : ndarray (n, 2)
            Of the measurement within its group, and of its group: 1 when it agrees, towards 0 when not (Cauchy).
        scatter : Scatter
        """
        weight = np.ones((self.value.size, 2)) if weight is None else weight
        current = scatter or self._first_scatter()
        problem = replace(
            self, design=np.ascontiguousarray(self.design[:, columns]), expected=self.expected[columns]
        )
        everything = np.arange(columns.size)
        for _ in range(rounds):
            coefficients, covariance = problem.solve(*problem.normal(weight, current), everything)
            residual = self.value - problem.design @ coefficients
            if scatter is None:
                current = self.estimate_scatter(residual, columns.size)
            previous, weight = weight, self.agreement(residual, weight, current)
            if np.abs(weight - previous).max() < 0.02:
                break
        return coefficients, covariance, weight, current

    def agreement(self, residual, weight, scatter):
        """New weights (n, 2): of each measurement beside what its group has in common, and of the group."""
        variance = self.error**2 + scatter.own**2
        if not np.any(self.lever):
            return np.stack([_cauchy(residual / np.sqrt(variance)), np.ones(residual.size)], axis=1)
        own, factor, adder = self._weights(weight, scatter)
        strength = np.maximum(adder @ (own * self.lever**2), 1.0e-30)
        pull = adder @ (own * self.lever * residual)
        # Mean offset of each group, what is believed of it, and how far off it is for its error.
        group_weight = _cauchy(pull / strength / np.sqrt(scatter.shared**2 + 1.0 / strength))
        believed = factor * pull
        alone = (residual - self.lever * believed[self.group]) / np.sqrt(variance)
        return np.stack([_cauchy(alone), group_weight[self.group]], axis=1)

    def standardised(self, residual: np.ndarray, scatter: Scatter) -> np.ndarray:
        """Residuals over their total 1 sigma."""
        return residual / np.sqrt(self.error**2 + scatter.own**2 + (self.lever * scatter.shared) ** 2)

    def validation_losses(
        self, sets: list[np.ndarray], weight: np.ndarray, scatter: Scatter
    ) -> list[tuple[float, float]]:
        """Of each set of columns: mean clipped squared standardised residual of left-out groups, and its error."""
        matrices, right = self.normal_per_fold(weight, scatter)
        total, total_right = matrices.sum(axis=0), right.sum(axis=0)
        rows = [np.flatnonzero(self._fold()[self.group] == k) for k in range(_FOLDS)]
        designs = [self.design[index] for index in rows]
        members = np.bincount(self.group)
        losses = []
        for columns in sets:
            residual = np.empty(self.value.size)
            coefficients = np.zeros(self.design.shape[1])
            for k, index in enumerate(rows):
                coefficients[:] = 0.0
                factor, scale = self._factor(total - matrices[k], columns)
                kept = scale * (total_right - right[k])[columns]
                coefficients[columns] = scale * cho_solve((factor, True), kept, check_finite=False)
                residual[index] = self.value[index] - designs[k] @ coefficients
            loss = np.minimum(self.standardised(residual, scatter) ** 2, 9.0)
            clusters = np.bincount(self.group, loss) / members
            losses.append((float(loss.mean()), float(clusters.std() / np.sqrt(max(self.groups, 1)))))
        return losses

    def _fold(self):
        return np.arange(self.groups) % _FOLDS

    def _adder(self):
        n = self.value.size
        return sparse.csr_matrix((np.ones(n), (self.group, np.arange(n))), shape=(self.groups, n))

    def _weights(self, weight, scatter):
        """Inverse own variances, Sherman-Morrison factor of each group, and the group summation matrix."""
        own = weight[:, 0] / (self.error**2 + scatter.own**2)
        adder = self._adder()
        members = np.asarray(adder.sum(axis=1)).ravel()
        agreeing = (adder @ weight[:, 1]) / np.maximum(members, 1.0)
        # A line far from all others says that its wavelength is wrong: it shares a larger error.
        strength = adder @ (own * self.lever**2)
        doubt = (scatter.shared**2 + 1.0 / np.maximum(strength, 1.0e-30)) * (
            1.0 / np.maximum(agreeing, 1.0e-3) - 1.0
        )
        shared_variance = np.where(strength > 0, scatter.shared**2 + doubt, 0.0)
        return own, shared_variance / (1.0 + shared_variance * strength), adder

    def _first_scatter(self):
        spread = 1.4826 * float(np.median(np.abs(self.value - np.median(self.value)))) if self.value.size else 0.0
        lever = float(np.median(np.abs(self.lever))) if self.value.size else 0.0
        return Scatter(0.02, min(0.5 * spread, 0.3) / lever if lever > 0 else 0.0)

    def estimate_scatter(self, residual: np.ndarray, parameters: float) -> Scatter:
        """Own scatter from within groups, shared scatter from between them; robust."""
        adder = self._adder()
        members = np.asarray(adder.sum(axis=1)).ravel()
        freedom = np.sqrt(max(1.0 - parameters / max(self.groups, 1), 0.2))
        if not np.any(self.lever):
            return Scatter(_excess(residual / freedom, self.error), 0.0)
        own = 0.0
        inverse = 1.0 / (self.error**2 + 1.0e-6)
        strength = adder @ (inverse * self.lever**2)
        offset = (adder @ (inverse * self.lever * residual)) / np.maximum(strength, 1.0e-30)
        crowded = members[self.group] >= 4
        if crowded.sum() >= 20:
            inside = residual - self.lever * offset[self.group]
            inside = inside * np.sqrt(members / np.maximum(members - 1.0, 1.0))[self.group]
            own = _excess(inside[crowded], self.error[crowded])
            inverse = 1.0 / (self.error**2 + own**2)
            strength = adder @ (inverse * self.lever**2)
            offset = (adder @ (inverse * self.lever * residual)) / np.maximum(strength, 1.0e-30)
        shared = _excess(offset / freedom, 1.0 / np.sqrt(np.maximum(strength, 1.0e-30)))
        return Scatter(own, shared)


def _cauchy(standardised):
    return 1.0 / (1.0 + (standardised / _CAUCHY) ** 2)


def _excess(residual: np.ndarray, error: np.ndarray) -> float:
    """Extra 1 sigma that makes the robust width of residual / total error one; 0 when it already is."""
    if residual.size < 3:
        return 0.0

    def width(extra):
        return 1.4826 * float(np.median(np.abs(residual) / np.sqrt(error**2 + extra**2)))

    if width(0.0) <= 1.0:
        return 0.0
    low, high = 0.0, float(np.abs(residual).max())
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > 1.0 else (low, middle)
    return 0.5 * (low + high)
