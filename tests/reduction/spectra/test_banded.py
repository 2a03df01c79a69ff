"""Splines and banded least squares against dense linear algebra."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.banded import (
    BandedSystem,
    SplineBasis,
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
    x = np.random.default_rng(1).uniform(-1, 81, 500)
    indices, values = uneven.evaluate(x)
    expected = BSpline.design_matrix(x, uneven.knots, 3).toarray()
    dense = np.zeros_like(expected)
    np.put_along_axis(dense, indices.astype(np.int64), values, axis=1)
    assert np.allclose(dense, expected, atol=1e-12)


def test_outside_the_knots_the_ends_hold(uneven):
    beyond, end = uneven.evaluate(np.array([90.0]))[1], uneven.evaluate(np.array([81.0]))[1]
    assert np.allclose(beyond, end)


def _system(uneven, rng, points=4000):
    second = uniform_basis(80)
    ranks = interleaved([uneven, second])
    x = rng.uniform(0, 79, points)
    (i1, v1), (i2, v2) = uneven.evaluate(x), second.evaluate(x)
    shape = rng.uniform(0.1, 1.0, points)
    indices = np.concatenate([ranks[0][i1], ranks[1][i2]], axis=1)
    values = np.concatenate([v1, v2 * shape[:, None]], axis=1)
    return BandedSystem(indices, values, uneven.size + second.size), indices, values


def test_solution_and_covariance_match_dense_algebra(uneven):
    rng = np.random.default_rng(2)
    system, indices, values = _system(uneven, rng)
    weight, data = rng.uniform(0.5, 2.0, 4000), rng.normal(5, 1, 4000)
    dense = np.zeros((4000, system.size))
    np.put_along_axis(dense, indices.astype(np.int64), values, axis=1)
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
    system, _, _ = _system(uneven, np.random.default_rng(3))
    system.accumulate(np.zeros(4000), np.zeros(4000))
    with pytest.raises(AlgorithmError, match="singular"):
        system.solve()
