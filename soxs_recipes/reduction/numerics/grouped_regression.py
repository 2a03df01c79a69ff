"""Robust linear regression of measurements that share errors within groups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtri

from soxs_recipes.compiled import compiled

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
    parts : tuple of (rows, columns), optional
        Integer arrays: each row is in one part, and its design is zero outside the part's columns. Spares the work
        on those zeros.
    """

    design: np.ndarray
    value: np.ndarray
    error: np.ndarray
    lever: np.ndarray
    group: np.ndarray
    expected: np.ndarray
    parts: tuple[tuple[np.ndarray, np.ndarray], ...] | None = None

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1 if self.group.size else 0

    def normal(self, weight: np.ndarray, scatter: Scatter) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrix (p, p) and right-hand side (p,) without the prior."""
        weighted, pulled = self._whitened(weight, scatter)
        return self._normal_of(weighted, pulled, None)

    def normal_per_fold(self, weight: np.ndarray, scatter: Scatter) -> tuple[np.ndarray, np.ndarray]:
        """The same for each of the parts that validation leaves out in turn: (folds, p, p), (folds, p)."""
        weighted, pulled = self._whitened(weight, scatter)
        folds = [self._normal_of(weighted, pulled, k) for k in range(_FOLDS)]
        return np.stack([fold[0] for fold in folds]), np.stack([fold[1] for fold in folds])

    def _whitened(self, weight, scatter):
        """Rows in units of their own error (n, p + 1), and the groups' rows that are to be taken off (g, p + 1).

        The value stands in the last column.
        """
        own, factor = self._weights(weight, scatter)
        rows = np.column_stack([self.design, self.value])
        pulled = None
        if np.any(self.lever):
            pulled = _sums_of_groups(self.group, own * self.lever, rows, self.groups)
            pulled *= np.sqrt(factor)[:, None]
        rows *= np.sqrt(own)[:, None]
        return rows, pulled

    def _normal_of(self, weighted, pulled, fold):
        """Normal equations of all groups (fold None) or of one fold."""
        size = self.design.shape[1]
        joint = np.zeros((size + 1, size + 1))
        for rows, columns in self.parts or ((np.arange(self.value.size), np.arange(size)),):
            chosen = rows if fold is None else rows[self.group[rows] % _FOLDS == fold]
            columns = np.append(columns, size)
            part = weighted[chosen[:, None], columns]
            joint[columns[:, None], columns] += part.T @ part  # a matrix by itself takes half the work of two
        if pulled is not None:
            part = pulled if fold is None else pulled[fold::_FOLDS]
            joint -= part.T @ part
        return joint[:-1, :-1], joint[:-1, -1]

    def solve(self, matrices: np.ndarray, right: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients and covariance of chosen columns from summed normal equations."""
        factor, scale = self._factor(matrices, columns)
        lower, _ = dpotri(factor, lower=1)
        inverse = np.tril(lower) + np.tril(lower, -1).T
        inverse *= scale[:, None]
        inverse *= scale
        return inverse @ right[columns], inverse

    def solve_with_variances(self, matrices: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients and their variances, all columns: `solve` without the rest of the covariance."""
        factor, scale = self._factor(matrices, slice(None))
        root, _ = dtrtri(factor, lower=1)
        root = np.tril(root) * scale
        return root.T @ (root @ right), np.einsum("ij,ij->j", root, root)

    def _factor(self, matrices, columns):
        """Cholesky factor (lower half) of the normal matrix with its prior, scaled to unit diagonal; the scale."""
        matrix = np.array(matrices[columns][:, columns])
        diagonal = np.einsum("ii->i", matrix)
        diagonal += 1.0 / self.expected[columns] ** 2
        scale = 1.0 / np.sqrt(diagonal)
        matrix *= scale[:, None]
        matrix *= scale
        factor, failed = dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("normal matrix is singular")
        return factor, scale

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
        own, factor = self._weights(weight, scatter)
        strength = np.maximum(self._sum(own * self.lever**2), 1.0e-30)
        pull = self._sum(own * self.lever * residual)
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
        rows = [np.flatnonzero(self.group % _FOLDS == k) for k in range(_FOLDS)]
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
                coefficients[columns] = scale * dpotrs(factor, kept, lower=1)[0]
                residual[index] = self.value[index] - designs[k] @ coefficients
            loss = np.minimum(self.standardised(residual, scatter) ** 2, 9.0)
            clusters = np.bincount(self.group, loss) / members
            losses.append((float(loss.mean()), float(clusters.std() / np.sqrt(max(self.groups, 1)))))
        return losses

    def _sum(self, values):
        """Sum of the values of each group (g,)."""
        return np.bincount(self.group, values, minlength=self.groups)

    def _weights(self, weight, scatter):
        """Inverse own variances (n,) and the Sherman-Morrison factor of each group (g,)."""
        own = weight[:, 0] / (self.error**2 + scatter.own**2)
        members = np.bincount(self.group)
        agreeing = self._sum(weight[:, 1]) / np.maximum(members, 1.0)
        # A line far from all others says that its wavelength is wrong: it shares a larger error.
        strength = self._sum(own * self.lever**2)
        doubt = (scatter.shared**2 + 1.0 / np.maximum(strength, 1.0e-30)) * (
            1.0 / np.maximum(agreeing, 1.0e-3) - 1.0
        )
        shared_variance = np.where(strength > 0, scatter.shared**2 + doubt, 0.0)
        return own, shared_variance / (1.0 + shared_variance * strength)

    def _first_scatter(self):
        spread = 1.4826 * float(np.median(np.abs(self.value - np.median(self.value)))) if self.value.size else 0.0
        lever = float(np.median(np.abs(self.lever))) if self.value.size else 0.0
        return Scatter(0.02, min(0.5 * spread, 0.3) / lever if lever > 0 else 0.0)

    def estimate_scatter(self, residual: np.ndarray, parameters: float) -> Scatter:
        """Own scatter from within groups, shared scatter from between them; robust."""
        members = np.bincount(self.group)
        freedom = np.sqrt(max(1.0 - parameters / max(self.groups, 1), 0.2))
        if not np.any(self.lever):
            return Scatter(_excess(residual / freedom, self.error), 0.0)
        own = 0.0
        offset, strength = self._offsets(residual, 1.0e-6)
        crowded = members[self.group] >= 4
        if crowded.sum() >= 20:
            inside = residual - self.lever * offset[self.group]
            inside = inside * np.sqrt(members / np.maximum(members - 1.0, 1.0))[self.group]
            own = _excess(inside[crowded], self.error[crowded])
            offset, strength = self._offsets(residual, own**2)
        shared = _excess(offset / freedom, 1.0 / np.sqrt(np.maximum(strength, 1.0e-30)))
        return Scatter(own, shared)

    def _offsets(self, residual, extra):
        """Mean offset of each group in units of its lever, and the inverse variance of it (g,)."""
        pull = self.lever / (self.error**2 + extra)
        strength = self._sum(pull * self.lever)
        return self._sum(pull * residual) / np.maximum(strength, 1.0e-30), strength


@compiled
def _sums_of_groups(group, factor, rows, groups):
    """Sums of rows (n, p) by a factor each (n,), over the members of each group: (groups, p)."""
    sums = np.zeros((groups, rows.shape[1]))
    for i in range(len(rows)):
        for k in range(rows.shape[1]):
            sums[group[i], k] += factor[i] * rows[i, k]
    return sums


def _cauchy(standardised):
    return 1.0 / (1.0 + (standardised / _CAUCHY) ** 2)


def _excess(residual: np.ndarray, error: np.ndarray) -> float:
    """Extra 1 sigma that makes the robust width of residual / total error one; 0 when it already is."""
    if residual.size < 3:
        return 0.0
    return float(np.sqrt(max(np.median((1.4826 * residual) ** 2 - error**2), 0.0)))
