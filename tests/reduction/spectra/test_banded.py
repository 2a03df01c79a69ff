"""Splines and banded least squares against dense linear algebra."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.banded import (
    BandedSystem,
    SplineBasis,
    SplineColumns,
    blockwise_inverse,
    interleaved,
    locate,
    uniform_basis,
)


@pytest.fixture
def uneven():
    inner = np.concatenate(
        [np.arange(-1.0, 20.0, 4.0), np.arange(20.5, 40.0, 0.6), np.arange(44.0, 82.0, 4.0), [81.0]]
    )
    return SplineBasis(np.concatenate([[-1.0] * 3, inner, [81.0] * 3]))


def test_basis_is_that_of_scipy(uneven):
    x = np.random.default_rng(1).uniform(-1, 80, 500)
    for basis in (uneven, uniform_basis(80), uniform_basis(80, 1.04)):
        first, values = basis.evaluate(x)
        expected = BSpline.design_matrix(x, basis.knots, 3).toarray()
        assert np.allclose(_dense(first, values, basis.size), expected, atol=1e-12)


def test_knots_themselves_and_crowded_ones_are_found():
    crowded = SplineBasis(np.array([0.0, 0, 0, 0, 1e-7, 2e-7, 5.0, 80.0, 80.0, 80.0, 80.0]))
    double = SplineBasis(np.array([0.0, 0, 0, 0, 7.0, 7.0, 9.0, 80.0, 80.0, 80.0, 80.0]))
    assert crowded.size == double.size == 7
    for basis in (crowded, double, uniform_basis(80, 1.04)):
        x = np.unique(basis.knots[3:-3])
        first, values = basis.evaluate(x)
        expected = BSpline.design_matrix(x, basis.knots, 3).toarray()
        assert np.allclose(_dense(first, values, basis.size), expected, atol=1e-12)


def test_derivatives_are_those_of_scipy(uneven):
    rng = np.random.default_rng(5)
    x, coefficients = rng.uniform(-1, 81, 500), rng.normal(size=uneven.size)
    slope, curvature = uneven.derivatives(x, coefficients)
    spline = uneven.spline(coefficients)
    assert np.allclose(slope, spline.derivative(1)(x), atol=1e-9)
    assert np.allclose(curvature, spline.derivative(2)(x), atol=1e-9)
    assert np.allclose(uneven.at(x, coefficients), spline(x), atol=1e-12)
    assert uneven.at(np.array([99.0]), coefficients)[0] == pytest.approx(spline(81.0))


def _dense(first, values, size):
    dense = np.zeros((first.size, size))
    dense[np.arange(first.size), first + np.arange(4)[:, None]] = values
    return dense


def test_outside_the_knots_the_ends_hold(uneven):
    beyond, end = uneven.evaluate(np.array([90.0]))[1], uneven.evaluate(np.array([81.0]))[1]
    assert np.allclose(beyond, end)


def _system(uneven, rng, points=4000):
    second = uniform_basis(80)
    ranks = interleaved([uneven, second])
    x = rng.uniform(0, 79, points)
    (i1, v1), (i2, v2) = uneven.evaluate(x), second.evaluate(x)
    v2 = v2 * rng.uniform(0.1, 1.0, points)
    columns = [SplineColumns(i1, v1, ranks[0]), SplineColumns(i2, v2, ranks[1])]
    dense = np.zeros((points, uneven.size + second.size))
    dense[:, ranks[0]], dense[:, ranks[1]] = _dense(i1, v1, uneven.size), _dense(i2, v2, second.size)
    return BandedSystem(columns, uneven.size + second.size), dense


def test_solution_and_covariance_match_dense_algebra(uneven):
    rng = np.random.default_rng(2)
    system, dense = _system(uneven, rng)
    weight, data = rng.uniform(0.5, 2.0, 4000), rng.normal(5, 1, 4000)
    system.accumulate(weight, data)
    system.regularise(1e-6)
    normal = dense.T @ (dense * weight[:, None]) + 1e-6 * np.eye(system.size)
    assert np.allclose(system.solve(), np.linalg.solve(normal, dense.T @ (weight * data)), rtol=1e-6, atol=1e-6)
    inverse, start = blockwise_inverse(system.band)
    block, row = locate(np.arange(system.size))
    diagonal = inverse[block, row, row]
    truth = np.diag(np.linalg.inv(normal))
    inner = slice(5, -5)
    assert np.all(start[block] + row == np.arange(system.size))
    assert np.allclose(diagonal[inner], truth[inner], rtol=5e-3)


def test_equations_without_an_answer_are_named(uneven):
    system, _ = _system(uneven, np.random.default_rng(3))
    system.accumulate(np.zeros(4000), np.zeros(4000))
    with pytest.raises(AlgorithmError, match="singular"):
        system.solve()
