import numpy as np
import pytest
from scipy.interpolate import BSpline

from soxs_recipes.reduction.numerics import penalised_spline_kernels as kernels
from soxs_recipes.reduction.numerics.penalised_spline import _Design, fit_log_spline

KNOTS = np.arange(-3.0, 14.0)
RANDOM = np.random.default_rng(4)
X = np.sort(RANDOM.uniform(-0.5, 10.5, 60))


def dense(columns):
    inside = np.clip(X, KNOTS[3], KNOTS[-4])
    return np.hstack([BSpline.design_matrix(inside, KNOTS, 3).toarray(), columns])


@pytest.mark.parametrize("more", [0, 2])
def test_products_and_exponents_are_those_of_dense_algebra(more):
    columns = RANDOM.normal(size=(X.size, more))
    design, full = _Design.of(X, KNOTS, columns), dense(columns)
    weight, target = RANDOM.uniform(0.1, 2.0, X.size), RANDOM.normal(size=X.size)
    normal, right = design.products(weight, target)
    assert normal == pytest.approx((full.T * weight) @ full, abs=1e-12)
    assert right == pytest.approx(full.T @ (weight * target), abs=1e-12)
    parameters = RANDOM.normal(size=full.shape[1])
    assert design.exponent(parameters) == pytest.approx(full @ parameters, abs=1e-12)


def test_linearised_data_are_those_of_the_formulas():
    columns = RANDOM.normal(size=(X.size, 1))
    design, full = _Design.of(X, KNOTS, columns), dense(columns)
    parameters = RANDOM.normal(size=full.shape[1])
    template, variance = RANDOM.uniform(1.0, 5.0, X.size), RANDOM.uniform(0.1, 2.0, X.size)
    error, data = RANDOM.uniform(0.0, 0.1, X.size), RANDOM.normal(3.0, 5.0, X.size)
    model, pull, sensitivity, response = np.empty((4, X.size))
    filled = model, pull, sensitivity, response
    kernels.linearise(*design.arrays, parameters, data, variance, template, error, *filled)
    expected = template * np.exp(full @ parameters)
    total = variance + (error * expected) ** 2
    assert model == pytest.approx(expected, rel=1e-12)
    assert pull == pytest.approx((data - expected) / np.sqrt(total), rel=1e-9)
    assert sensitivity == pytest.approx(expected**2 / total, rel=1e-12)
    leap = (data - expected) / expected
    assert (leap < -0.9).any()
    assert (leap > 2.0).any()
    assert response == pytest.approx(full @ parameters + np.clip(leap, -0.9, 2.0), rel=1e-9)
    kernels.linearise(*design.arrays, 1000.0 * parameters, data, variance, template, error, *filled)
    assert (np.abs(1000.0 * full @ parameters) > 800.0).any()
    assert np.isfinite(filled).all()


def test_errors_of_the_curve_are_true():
    """Pulls of the spline over its stated error, on many draws of the noise."""
    x = np.linspace(0.0, 1.0, 600)
    truth = 0.5 * np.sin(4.0 * x)
    light = 1000.0 * np.exp(truth)
    pulls = []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(0.0, np.sqrt(light))
        fit = fit_log_spline(
            x, light + noise, light, np.full(x.size, 1000.0), use=np.ones(x.size, bool), intervals=10
        )
        curve, sigma = fit.evaluate(x[30:-30:60])
        pulls.append((curve - truth[30:-30:60]) / sigma)
    pulls = np.concatenate(pulls)
    assert pulls.size == 540
    assert abs(pulls.mean()) < 0.2
    assert 0.85 < pulls.std() < 1.25
