"""Orders that leave the smooth surface of their family: deviations of their own, as large as the lines ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.dispersion_solution import DispersionBlock
from soxs_recipes.reduction.numerics.grouped_regression import GroupedRegression, Scatter

__all__ = ["OrderDeviations", "fit_order_deviations", "split_block"]

_FIRST_SIZE = 0.5  # px: of every coefficient of a deviation, to begin with
_SIZE_RANGE = (0.002, 8.0)  # px
_ROUNDS, _SIZE_ROUNDS = 8, 15
_SIZE_SETTLED = 0.003  # relative change that ends the rounds of sizes
_GAIN = 0.5  # of its own error that the validation loss must fall by
_OWN_DEGREES = {0: 6, 1: 3, 2: 1}  # per slit degree: so many terms in wavelength


@dataclass(frozen=True, slots=True)
class OrderDeviations:
    """A common surface and deviations of single orders from it, along one axis.

    Attributes
    ----------
    columns : ndarray (k,) int
        Terms of the common surface.
    terms : ndarray (p, 3) int
        Terms of a deviation, the same for each order; order degree 0.
    orders : tuple of int
        Orders with lines.
    coefficients : ndarray (k + len(orders) * p,) [px]
        Common ones first, then those of each order in turn.
    covariance : ndarray (same, same) [px^2]
    size : ndarray (p,) [px]
        How large the deviations' coefficients were found to be, 1 sigma.
    weight : ndarray (n, 2)
    scatter : Scatter
    worthwhile : bool
        Whether left-out lines are predicted better with the deviations than without.
    """

    columns: np.ndarray
    terms: np.ndarray
    orders: tuple[int, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    size: np.ndarray
    weight: np.ndarray
    scatter: Scatter
    worthwhile: bool

    def of_order(self, order: int) -> np.ndarray:
        """Indices of the coefficients that an order's curve depends on: the common ones, then its own."""
        common = np.arange(self.columns.size)
        if order not in self.orders:
            return common
        first = self.columns.size + self.orders.index(order) * len(self.terms)
        return np.concatenate([common, np.arange(first, first + len(self.terms))])


def fit_order_deviations(
    problem: GroupedRegression,
    columns: np.ndarray,
    block: DispersionBlock,
    order: np.ndarray,
    wavelength: np.ndarray,
    slit: np.ndarray,
) -> OrderDeviations:
    """Fit a common surface and deviations of each order together.

    Parameters
    ----------
    problem : GroupedRegression
        Of the common surface.
    columns : ndarray (k,) int
        Its chosen terms.
    block : DispersionBlock
        In whose variables the deviations are polynomials.
    order, wavelength, slit : ndarray (n,)
        Of each measured line.

    Notes
    -----
    Hierarchical linear model: the coefficient of one degree is drawn, in each order, from a Gaussian whose width
    is found from all orders (empirical Bayes by expectation maximisation). Where orders follow one surface the
    widths vanish and so do the deviations; where each goes its own way they set it free, and an order with few
    lines still deviates no more than its fellows.
    """
    orders, member = np.unique(order, return_inverse=True)
    terms = _own_terms(several_slits=np.ptp(slit) > 0)
    own = replace(block, terms=terms).design_matrix(order, wavelength, slit)
    design = np.zeros((order.size, columns.size + orders.size * len(terms)))
    design[:, : columns.size] = problem.design[:, columns]
    common, parts = np.arange(columns.size), []
    for k in range(orders.size):
        rows, ours = np.flatnonzero(member == k), columns.size + k * len(terms) + np.arange(len(terms))
        design[np.ix_(rows, ours)] = own[rows]
        parts.append((rows, np.concatenate([common, ours])))
    size = np.full(len(terms), _FIRST_SIZE)
    expected = _expected(problem, columns, size, orders.size)
    joint = replace(problem, design=design, expected=expected, parts=tuple(parts))
    joint, fitted, size = _iterate(joint, problem, columns, size, orders.size)
    coefficients, covariance, weight, scatter = fitted
    losses = joint.validation_losses([common, np.arange(design.shape[1])], weight, scatter)
    worthwhile = losses[1][0] < losses[0][0] - _GAIN * losses[1][1]
    numbers = tuple(int(number) for number in orders)
    return OrderDeviations(columns, terms, numbers, coefficients, covariance, size, weight, scatter, worthwhile)


def _own_terms(*, several_slits):
    return np.array(
        [(0, j, k) for k, count in _OWN_DEGREES.items() for j in range(count) if k == 0 or several_slits]
    )


def _expected(problem, columns, size, orders):
    return np.concatenate([problem.expected[columns], np.tile(size, orders)])


def _iterate(joint, problem, columns, size, orders):
    """Weights, scatter and sizes in turn: (regression with the last sizes, (coefficients, …), sizes)."""
    everything = np.arange(joint.design.shape[1])
    weight, scatter = np.ones((joint.value.size, 2)), Scatter(0.05, 0.0)
    for _ in range(_ROUNDS):
        matrix, right = joint.normal(weight, scatter)
        for _ in range(_SIZE_ROUNDS):
            joint = replace(joint, expected=_expected(problem, columns, size, orders))
            coefficients, variance = joint.solve_with_variances(matrix, right)
            own = (coefficients**2 + variance)[columns.size :].reshape(orders, -1)
            before, size = size, np.sqrt(own.mean(axis=0)).clip(*_SIZE_RANGE)
            if np.abs(size / before - 1.0).max() < _SIZE_SETTLED:
                break
        coefficients, covariance = joint.solve(matrix, right, everything)
        residual = joint.value - joint.design @ coefficients
        # Coefficients that the priors hold back take no freedom from the data.
        free = everything.size - float((np.diag(covariance) / joint.expected**2).sum())
        scatter = joint.estimate_scatter(residual, free)
        previous, weight = weight, joint.agreement(residual, weight, scatter)
        if np.abs(weight - previous).max() < 0.02:
            break
    return joint, (coefficients, covariance, weight, scatter), size


def split_block(
    block: DispersionBlock, terms: np.ndarray, deviations: tuple[OrderDeviations, OrderDeviations]
) -> tuple[DispersionBlock, ...]:
    """Each order of a block as a block of its own, with its deviations along x and y.

    Parameters
    ----------
    block : DispersionBlock
        The prior, without any correction.
    terms : ndarray (n, 3) int
        What the columns of the common surfaces mean.
    deviations : (x, y)
    """
    return tuple(_order_block(block, terms, deviations, number) for number in block.orders)


def _order_block(block, terms, deviations, number):
    surface = block.order_surface(number)
    used = np.concatenate([terms[fit.columns] for fit in deviations] + [fit.terms for fit in deviations])
    shape = np.maximum(surface.x_matrix.shape, used[:, 1:].max(axis=0) + 1)
    own_terms = np.array([(0, j, k) for j in range(shape[0]) for k in range(shape[1])])
    arrays = []
    for prior, fit in zip((surface.x_matrix, surface.y_matrix), deviations, strict=True):
        coefficients = np.zeros(shape)
        coefficients[: prior.shape[0], : prior.shape[1]] = prior
        index = fit.of_order(number)
        mapping = _to_own_terms(block, terms[fit.columns], fit.terms, number, shape)[:, : index.size]
        arrays += [
            coefficients.ravel() + mapping @ fit.coefficients[index],
            mapping @ fit.covariance[np.ix_(index, index)] @ mapping.T,
        ]
    return DispersionBlock(
        orders=(number,),
        terms=own_terms,
        x_coefficients=arrays[0],
        x_covariance=arrays[1],
        y_coefficients=arrays[2],
        y_covariance=arrays[3],
        order_domain=(float(number), float(number)),
        wavelength_domain=surface.wavelength_domain,
        slit_domain=block.slit_domain,
        echelle=False,
    )


def _to_own_terms(block, common, own, number, shape):
    """(own terms, common and own coefficients): what each coefficient adds to the order's own terms."""
    along_order = replace(block, terms=common * [1, 0, 0])
    value = along_order.design_matrix(np.array([number]), np.zeros(1), np.zeros(1))[0]
    mapping = np.zeros((shape[0] * shape[1], len(common) + len(own)))
    rows = np.concatenate([common[:, 1] * shape[1] + common[:, 2], own[:, 1] * shape[1] + own[:, 2]])
    mapping[rows, np.arange(rows.size)] = np.concatenate([value, np.ones(len(own))])
    return mapping
