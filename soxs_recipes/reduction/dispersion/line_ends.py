"""Identifying lines near the ends of an order, where no further line says how the dispersion goes on."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from soxs_recipes.compiled import compiled

__all__ = ["bayesian_surface", "settle_end"]

_KERNEL = 0.4  # [px] within which a spot counts as found
_REACH = (3.0, 2.0)  # of the two least certain modes, in their own sigma
_MOST_STEPS = (61, 21)
_PRIOR_PULL = 0.25  # what a mode's deviation of 1 sigma costs, in lines


def bayesian_surface(
    design: np.ndarray, value: np.ndarray, expected: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Robust linear fit with Gaussian priors on the coefficients.

    Parameters
    ----------
    design : ndarray (n, p)
    value : ndarray (n,) [px]
    expected : ndarray (p,) [px]
        Prior 1 sigma of each coefficient.

    Returns
    -------
    coefficients : ndarray (p,), covariance : ndarray (p, p)
    typical : float [px]
        Robust scatter of the values, at least 0.1.
    """
    return _reweighted_fit(np.ascontiguousarray(design), np.ascontiguousarray(value), expected)


@compiled
def _reweighted_fit(design, value, expected):
    n, p = design.shape
    weights, weighted, typical = np.ones(n), np.empty((n, p)), 0.3
    coefficients, inverse = np.zeros(p), np.zeros((p, p))
    for _ in range(6):
        for i in range(n):
            for j in range(p):
                weighted[i, j] = weights[i] * design[i, j]
        inverse = np.linalg.inv(np.dot(weighted.T, design) + np.diag((typical / expected) ** 2))
        coefficients = np.dot(inverse, np.dot(value, weighted))
        residual = np.abs(value - np.dot(design, coefficients))
        typical = max(1.4826 * np.median(residual), 0.1)
        for i in range(n):
            weights[i] = 1.0 / (1.0 + (residual[i] / (2.0 * typical)) ** 2) ** 2
    return coefficients, inverse * typical**2, typical


def settle_end(
    spots: cKDTree,
    places: np.ndarray,
    outer: np.ndarray,
    terms: np.ndarray,
    fit: tuple[np.ndarray, np.ndarray, float],
    weight: np.ndarray,
) -> np.ndarray:
    """Offsets along the dispersion of the lines at one end of an order.

    The lines further in leave a few modes of the offset free at the end (eigenvectors of its covariance). The two
    least certain ones are scanned, and the offsets taken that put most lines on spots.

    Parameters
    ----------
    spots : cKDTree
        Detected spots, (along, across) [px].
    places : ndarray (n, 2) [px]
        Where lines are expected without any offset along the dispersion.
    outer : ndarray (n,) bool
        Lines of this end.
    terms : ndarray (n, p)
        Basis of the offset.
    fit : (coefficients, covariance, typical)
        From `bayesian_surface` on the other lines.
    weight : ndarray (n,)
        How sure it is that a line is there at all.

    Returns
    -------
    ndarray (number of outer lines,) [px]
    """
    coefficients, covariance, _ = fit
    basis = terms[outer]
    field = basis @ coefficients
    values, vectors = np.linalg.eigh(basis @ covariance @ basis.T)
    modes = [vectors[:, -k] * np.sqrt(max(float(values[-k]), 0.0)) for k in (1, 2) if values.size >= k]
    amplitudes = np.meshgrid(
        *(_scan(mode, reach, most) for mode, reach, most in zip(modes, _REACH, _MOST_STEPS, strict=False)),
        indexing="ij",
    )
    amplitudes = np.stack([amplitude.ravel() for amplitude in amplitudes], axis=1)
    trial = field[None, :] + amplitudes @ np.stack(modes)
    targets = np.broadcast_to(places[outer], (*trial.shape, 2)).copy()
    targets[..., 0] += trial
    distance, _ = spots.query(targets, distance_upper_bound=3.0 * _KERNEL)
    score = (weight[outer] * np.exp(-0.5 * (distance / _KERNEL) ** 2)).sum(axis=1)
    score -= _PRIOR_PULL * (amplitudes**2).sum(axis=1)
    return trial[int(score.argmax())]


def _scan(mode, reach, most):
    """Amplitudes of a mode, in sigma, in steps of a kernel width of its largest displacement."""
    steps = int(np.clip(2.0 * reach * np.abs(mode).max() / _KERNEL, 0, most // 2))
    return np.linspace(-reach, reach, 2 * steps + 1) if steps else np.zeros(1)
