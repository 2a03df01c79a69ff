"""What the error of a source's profile does to its flux: the same, relatively, in all bins of an order.

The noise of a bin's own pixels is stated with its flux. The profile comes from all bins, and its error moves all
of them together: no error of single bins, nor its correlations over a few neighbours, can tell of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["error_of_mean", "flux_errors"]


def flux_errors(equations: Sequence, transfer: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Errors of fluxes from those of the unknowns that move the profiles of all orders.

    Parameters
    ----------
    equations : sequence of ChunkEquations
        One an order.
    transfer : ndarray (orders, chunks, 4, unknowns)
        How the unknowns move centre, ln width, tail and optics.
    covariance : ndarray (unknowns, unknowns)
        With the bends free that the equations hold.

    Returns
    -------
    ndarray (orders, causes)
        Relative errors of each order's mean, its parts weighted by what they tell of the flux. The causes are
        independent; orders have them in common.
    """
    information = np.array([np.maximum(equation.information, 0.0) for equation in equations])
    totals = np.maximum(information.sum(axis=1), np.finfo(float).tiny)
    moved, alone = np.zeros((len(equations), len(covariance))), np.zeros(len(equations))
    for order, (equation, weight) in enumerate(zip(equations, information / totals[:, None], strict=True)):
        answer = weight[:, None] * equation.response
        bend = equation.bend
        if bend is not None:
            bending = weight @ bend.response
            # The bend follows the shape, and has an error of its own beside that.
            followed = bend.inverse @ bending
            answer = answer - np.tensordot(bend.coupling, followed, 1)
            alone[order] = bending @ followed
        moved[order] = np.tensordot(answer, transfer[order], 2)
    values, vectors = np.linalg.eigh(moved @ covariance @ moved.T + np.diag(alone))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def error_of_mean(orders: Sequence) -> float:
    """Relative error that profiles leave on the flux of orders together, weighted by what they tell of it.

    Parameters
    ----------
    orders : sequence of ExtractedOrder
        Of one exposure, or combined from the same exposures.
    """
    information, causes = (
        np.zeros(len(orders)),
        np.zeros((len(orders), max(i.profile_errors.size for i in orders))),
    )
    for k, item in enumerate(orders):
        causes[k, : item.profile_errors.size] = item.profile_errors
        spectrum = item.spectrum
        known = np.isfinite(spectrum.variance) & (spectrum.variance > 0)
        information[k] = (spectrum.flux[known] ** 2 / spectrum.variance[known]).sum()
    weight = information / max(information.sum(), np.finfo(float).tiny)
    return float(np.linalg.norm(weight @ causes))
