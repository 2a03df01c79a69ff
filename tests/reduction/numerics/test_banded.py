"""Splines and banded least squares against dense linear algebra."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.numerics.banded import (
    BandedSystem,
    SplineBasis,
    interleaved,
    spline_terms,
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
    # Rows of pixels that lie between the same knots, as along the slit, and back.
    # Some lie beyond the knots of one spline or of both.
    x = np.sort(rng.uniform(-1.5, 82, points)) + rng.normal(0, 0.3, points)
    factor = rng.uniform(0.1, 1.0, points)
    terms = spline_terms([uneven, second], x, [0.0, 0.2], np.stack([np.ones(points), factor]))
    dense = np.zeros((points, uneven.size + second.size))
    (i1, v1), (i2, v2) = uneven.evaluate(x), second.evaluate(x + 0.2)
    dense[:, ranks[0]] = _dense(i1, v1, uneven.size)
    dense[:, ranks[1]] = _dense(i2, v2 * factor, second.size)
    return BandedSystem(terms, ranks), dense, ranks


def test_solution_and_covariance_match_dense_algebra(uneven):
    rng = np.random.default_rng(2)
    system, dense, ranks = _system(uneven, rng)
    weight, data = rng.uniform(0.5, 2.0, 4000) * (rng.random(4000) > 0.2), rng.normal(5, 1, 4000)
    system.accumulate(weight, data)
    system.regularise(1e-6)
    normal = dense.T @ (dense * weight[:, None]) + 1e-6 * np.eye(system.size)
    solution = system.solve()
    assert np.allclose(solution, np.linalg.solve(normal, dense.T @ (weight * data)), rtol=1e-6, atol=1e-6)
    own = [solution[rank] for rank in ranks]
    assert np.allclose(system._terms.sums(own).sum(axis=0), dense @ solution, atol=1e-9)
    truth = np.linalg.inv(normal)
    for width in (2, 40, 30):
        found = system.covariance(width)
        assert found.shape[1] > width
        for k in range(0, found.shape[1], 3):
            assert np.allclose(found[: system.size - k, k], np.diag(truth, k), rtol=1e-6, atol=1e-12 * truth.max())
            assert not found[system.size - k :, k].any()


def test_a_line_of_pixels_alone_is_solved_and_none_is_not(uneven):
    rng = np.random.default_rng(7)
    for points in (1, 0):
        system, dense, _ = _system(uneven, rng, points)
        system.accumulate(np.ones(points), np.full(points, 3.0))
        system.regularise(1e-6)
        normal = dense.T @ dense + 1e-6 * np.eye(system.size)
        assert np.allclose(system.solve(), np.linalg.solve(normal, dense.T @ np.full(points, 3.0)), atol=1e-4)


def test_equations_without_an_answer_are_named(uneven):
    system, *_ = _system(uneven, np.random.default_rng(3))
    system.accumulate(np.zeros(4000), np.zeros(4000))
    with pytest.raises(AlgorithmError, match="singular"):
        system.solve()
