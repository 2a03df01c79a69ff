"""Lone lines that bend an order's curve to themselves, against what all the others say."""

from __future__ import annotations

import numpy as np

from soxs_recipes.reduction.numerics.grouped_regression import GroupedRegression, Scatter

__all__ = ["false_levers"]

_EXPECTED = np.array([20.0, 8.0, 6.0, 3.0, 0.6, 0.3, 0.2, 0.1])  # px: Legendre coefficients of an order's curve
_SCATTER = Scatter(0.05, 0.0)
_LEVERAGE = 0.5  # share of its own fitted value that a line decides itself
_LEAST_GAIN = 2.0  # lines that agree again once a false one is left out
_LEAST_LINES = 8
_MOST = 3


def false_levers(design: np.ndarray, value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Lines of one order that make others deviate.

    Parameters
    ----------
    design : ndarray (n, at least 8)
        Legendre polynomials of each line's place, by rising degree.
    value, error : ndarray (n,) [px]
        Measured minus predicted place, and its 1 sigma.

    Returns
    -------
    ndarray (n,) bool
        True for at most three lines.

    Notes
    -----
    A misidentified line in a gap between others has leverage: a flexible fit runs through it and the true lines
    beside it look deviant, so weights by residual blame the wrong ones. Each line of high leverage is left out on
    trial; it was false when the weights of the others grow by more than two lines.
    """
    design = design[:, : _EXPECTED.size]
    left_out = np.zeros(value.size, dtype=bool)
    for _ in range(_MOST):
        rest = np.flatnonzero(~left_out)
        if rest.size < _LEAST_LINES:
            break
        agreement, leverage = _agreement(design[rest], value[rest], error[rest])
        gains = {
            k: _agreement(*(a[np.delete(rest, k)] for a in (design, value, error)))[0].sum()
            - np.delete(agreement, k).sum()
            for k in np.flatnonzero(leverage > _LEVERAGE)
        }
        worst = max(gains, key=lambda k: gains[k], default=None)
        if worst is None or gains[worst] < _LEAST_GAIN:
            break
        left_out[rest[worst]] = True
    return left_out


def _agreement(design, value, error):
    """Weight and leverage of each line in a robust fit of one curve."""
    n = value.size
    problem = GroupedRegression(design, value, error, np.zeros(n), np.arange(n), _EXPECTED)
    _, covariance, weight, _ = problem.robust_fit(np.arange(_EXPECTED.size), _SCATTER)
    leverage = ((design @ covariance) * design).sum(axis=1) * weight[:, 0] / (error**2 + _SCATTER.own**2)
    return weight[:, 0], leverage
