import numpy as np
import pytest

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution


def random_block(orders, echelle, seed=5):
    rng = np.random.default_rng(seed)
    terms = np.array([(i, j, k) for i in range(3 if len(orders) > 1 else 1) for j in range(4) for k in range(3)])
    n = len(terms)
    domain = (9000.0, 11000.0) if echelle else (400.0, 500.0)
    return DispersionBlock(
        tuple(orders),
        terms,
        rng.normal(size=n),
        rng.normal(size=n),
        np.zeros((n, n)),
        np.zeros((n, n)),
        (min(orders), max(orders)),
        domain,
        (-6.0, 6.0),
        echelle,
    )


@pytest.fixture(params=[False, True], ids=["per order", "echelle"])
def solution(request):
    if request.param:
        return DispersionSolution((random_block((20, 21, 22), True),))
    return DispersionSolution((random_block((1,), False, 1), random_block((2,), False, 2)))


def points(solution, n=50):
    rng = np.random.default_rng(0)
    order = rng.choice(solution.orders, n)
    return order, rng.uniform(420, 480, n), rng.uniform(-5, 5, n)


def test_surface_and_design_matrix_agree(solution):
    order, wavelength, slit = points(solution)
    x, y = solution.evaluate(order, wavelength, slit)
    assert np.isfinite(x).all()
    for number in solution.orders:
        block, chosen = solution.block_of(number), order == number
        assert chosen.sum() > 5
        matrix = block.design_matrix(order[chosen], wavelength[chosen], slit[chosen])
        np.testing.assert_allclose(matrix @ block.x_coefficients, x[chosen], atol=1e-10)
        np.testing.assert_allclose(matrix @ block.y_coefficients, y[chosen], atol=1e-10)


def test_derivatives_match_differences(solution):
    number = solution.orders[0]
    surface, wavelength, slit = solution.surface(number), np.array([430.0, 470.0]), np.array([-2.0, 3.0])
    step = 1e-4
    for analytic, plus, minus in (
        (surface.wavelength_derivative(wavelength, slit), (wavelength + step, slit), (wavelength - step, slit)),
        (surface.slit_derivative(wavelength, slit), (wavelength, slit + step), (wavelength, slit - step)),
    ):
        for value, high, low in zip(analytic, surface.evaluate(*plus), surface.evaluate(*minus), strict=True):
            np.testing.assert_allclose(value, (high - low) / (2 * step), rtol=1e-6, atol=1e-8)


def test_shift_moves_every_order_alike(solution):
    order, wavelength, slit = points(solution)
    x, y = solution.evaluate(order, wavelength, slit)
    moved_x, moved_y = solution.shifted(0.3, -1.2).evaluate(order, wavelength, slit)
    np.testing.assert_allclose(moved_x - x, 0.3, atol=1e-12)
    np.testing.assert_allclose(moved_y - y, -1.2, atol=1e-12)


def test_unknown_order_names_those_there_are(solution):
    with pytest.raises(KeyError, match="order 99"):
        solution.surface(99)
