"""Passes over the data of a penalised spline of a logarithm: four B-splines a datum and a few further columns."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["linearise", "weighted_products"]

_LARGEST = 300.0  # of an exponent: the square of its exponential is a number still


@compiled
def linearise(first, values, columns, parameters, data, variance, template, model_error,
              model, pull, sensitivity, response):  # fmt: skip
    """What the data say near some parameters.

    Parameters
    ----------
    first, values, columns : ndarray (n,) int64, (n, 4) float64, (n, m) float64
        Index of each datum's first spline, the four splines there, further columns of the exponent.
    parameters : ndarray (splines + m,) float64
    data, variance, template, model_error : ndarray (n,) float64
    model : ndarray (n,) float64
        Filled: template times the exponential.
    pull : ndarray (n,) float64
        Filled: data minus model over their error.
    sensitivity : ndarray (n,) float64
        Filled: inverse variance of the logarithm.
    response : ndarray (n,) float64
        Filled: exponent that the data ask for; it may not leap, which far from the solution it would.
    """
    splines = parameters.size - columns.shape[1]
    for n in range(data.size):
        exponent = 0.0
        for k in range(4):
            exponent += values[n, k] * parameters[first[n] + k]
        for k in range(columns.shape[1]):
            exponent += columns[n, k] * parameters[splines + k]
        model[n] = template[n] * np.exp(min(max(exponent, -_LARGEST), _LARGEST))
        weight = 1.0 / (variance[n] + (model_error[n] * model[n]) ** 2)
        pull[n] = (data[n] - model[n]) * np.sqrt(weight)
        sensitivity[n] = weight * model[n] ** 2
        response[n] = exponent + min(max((data[n] - model[n]) / model[n], -0.9), 2.0)


@compiled
def weighted_products(first, values, columns, splines, weight, target):
    """(normal matrix, right side) of weighted least squares; `first`, `values`, `columns` as above.

    Parameters
    ----------
    splines : int
        How many there are.
    weight, target : ndarray (n,) float64
    """
    more = columns.shape[1]
    size = splines + more
    normal, right = np.zeros((size, size)), np.zeros(size)
    for n in range(weight.size):
        at = first[n]
        for i in range(4):
            weighted = weight[n] * values[n, i]
            right[at + i] += weighted * target[n]
            for j in range(i + 1):
                normal[at + i, at + j] += weighted * values[n, j]
        for i in range(more):
            weighted = weight[n] * columns[n, i]
            right[splines + i] += weighted * target[n]
            for j in range(4):
                normal[splines + i, at + j] += weighted * values[n, j]
            for j in range(i + 1):
                normal[splines + i, splines + j] += weighted * columns[n, j]
    for i in range(size):
        for j in range(i):
            normal[j, i] = normal[i, j]
    return normal, right
