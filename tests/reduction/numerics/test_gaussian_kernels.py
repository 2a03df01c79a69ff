import numpy as np
import pytest
from scipy.stats import norm

from soxs_recipes.reduction.numerics import gaussian_kernels as kernels

SIZE, CORNER = 9, (40, 70)
PARAMETERS = np.array([900.0, 44.3, 73.8, np.log(0.9), np.log(1.2), 0.15, 12.0, 3.0, -2.0])


def model(p):
    """The same by plain numpy: a sheared Gaussian integrated over pixels, on a plane."""
    rows, columns = CORNER[1] + np.arange(SIZE), CORNER[0] + np.arange(SIZE)
    sigma_x, sigma_y = np.exp(p[3]), np.exp(p[4])
    up = norm.cdf(rows + 0.5, p[2], sigma_y) - norm.cdf(rows - 0.5, p[2], sigma_y)
    centre = (p[1] + p[5] * (rows - p[2]))[:, None]
    across = norm.cdf(columns + 0.5, centre, sigma_x) - norm.cdf(columns - 0.5, centre, sigma_x)
    u = np.linspace(-1.0, 1.0, SIZE)
    return p[0] * up[:, None] * across + p[6] + p[7] * u + p[8] * u[:, None]


def normal_equations(target, weights, mean, inverse):
    normal, gradient = np.zeros((9, 9)), np.zeros(9)
    work = np.empty((3, SIZE, SIZE)), np.empty((3, SIZE))
    kernels._profiles(*CORNER, PARAMETERS, *work)
    chi = kernels._normal_equations(target, weights, *CORNER, PARAMETERS, mean, inverse, *work, normal, gradient)
    return np.tril(normal) + np.tril(normal, -1).T, gradient, chi


def test_tabled_gaussian_agrees_with_the_real_one():
    places = np.concatenate([np.linspace(-8.5, 8.5, 4001), [np.nan]])
    values = np.array([kernels._gaussian(t) for t in places])
    assert np.abs(values[:-1, 0] - norm.cdf(places[:-1])).max() < 1.0e-11
    assert np.abs(values[:-1, 1] - norm.pdf(places[:-1])).max() < 1.0e-9
    assert tuple(values[-1]) == (0.0, 0.0)


def test_normal_equations_are_those_of_numerical_derivatives():
    random = np.random.default_rng(5)
    target = model(PARAMETERS) + random.normal(0.0, 5.0, (SIZE, SIZE))
    weights = random.uniform(0.0, 0.05, (SIZE, SIZE))
    weights[2, 5] = 0.0
    mean, inverse = PARAMETERS[1:6] + 0.1, np.array([1.0, 2.0, 30.0, 40.0, 50.0])
    steps = 1.0e-5 * np.maximum(np.abs(PARAMETERS), 1.0)
    derivatives = [(model(PARAMETERS + d) - model(PARAMETERS - d)) / (2.0 * d.sum()) for d in np.diag(steps)]
    jacobian = np.stack([d.ravel() for d in derivatives])
    residual = (target - model(PARAMETERS)).ravel()
    expected = (jacobian * weights.ravel()) @ jacobian.T
    expected[np.arange(1, 6), np.arange(1, 6)] += inverse
    pull = (jacobian * weights.ravel()) @ residual
    pull[1:6] += 0.1 * inverse
    normal, gradient, chi = normal_equations(target, weights, mean, inverse)
    scale = 1.0 / np.sqrt(np.diag(expected))
    assert (scale[:, None] * (normal - expected) * scale) == pytest.approx(np.zeros((9, 9)), abs=1.0e-6)
    assert scale * (gradient - pull) == pytest.approx(np.zeros(9), abs=1.0e-6)
    assert chi == pytest.approx((weights.ravel() * residual**2).sum() + (0.01 * inverse).sum(), rel=1.0e-9)


def test_steps_solve_the_equations_and_say_what_they_gain():
    random = np.random.default_rng(6)
    jacobian = random.normal(size=(40, 9)) * 10.0 ** random.uniform(-3.0, 3.0, 9)
    normal, gradient = jacobian.T @ jacobian, jacobian.T @ random.normal(size=40)
    factor, scale, step = np.zeros((9, 9)), np.zeros(9), np.zeros(9)
    kernels._factorise(normal, 0.0, factor, scale)
    gain = kernels._solve(factor, scale, gradient, step)
    assert step == pytest.approx(np.linalg.solve(normal, gradient), rel=1.0e-8)
    assert gain == pytest.approx(float(gradient @ step), rel=1.0e-8)


def test_spots_are_painted_as_the_model_says_and_cut_at_the_frame_s_border():
    image = np.zeros((100, 90))
    corners = np.array([CORNER[0], 86]), np.array([CORNER[1], -3])
    there = PARAMETERS + np.array([0.0, 46.0, -73.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    kernels.paint_spots(image, np.stack([PARAMETERS, there]), *corners, SIZE)
    spot = model(PARAMETERS * [1, 1, 1, 1, 1, 1, 0, 0, 0])
    assert image[70:79, 40:49] == pytest.approx(spot, abs=1.0e-7)
    assert image[:6, 86:] == pytest.approx(spot[3:, :4], abs=1.0e-7)
    assert np.count_nonzero(image) == 81 + 24


@pytest.mark.parametrize("steps", [1, 4])
def test_the_image_follows_the_spots_that_are_fitted(steps):
    """The kept image is that of the present parameters."""
    random = np.random.default_rng(3)
    spots = np.stack([PARAMETERS, PARAMETERS + np.array([0, 3.5, 0, 0, 0, 0, 0, 0, 0])])
    corners = CORNER[0] + np.array([0, 3]), np.full(2, CORNER[1])
    truth, image = np.zeros((100, 90)), np.zeros((100, 90))
    kernels.paint_spots(truth, spots, *corners, SIZE)
    stamps = [truth[CORNER[1] : CORNER[1] + SIZE, first : first + SIZE] for first in corners[0]]
    data = np.stack(stamps) + random.normal(0.0, 5.0, (2, SIZE, SIZE))
    parameters = spots + random.normal(0.0, 0.05, spots.shape) * [100, 1, 1, 1, 1, 1, 0, 0, 0]
    kernels.paint_spots(image, parameters, *corners, SIZE)
    start, marks = parameters.copy(), np.zeros(image.shape, dtype=np.uint8)
    prior = np.zeros((2, 5)), np.zeros((2, 5))
    work = np.full(2, 1.0e-3), np.zeros(2, dtype=bool)
    usable, base = np.ones(data.shape, dtype=bool), np.full(2, 25.0)
    for turn in range(4):
        kernels.fit_round(data, usable, base, *corners, image, marks, parameters, *work, *prior, turn, steps)
        expected = np.zeros(image.shape)
        kernels.paint_spots(expected, parameters, *corners, SIZE)
        assert image == pytest.approx(expected, abs=1.0e-6)
    assert not (parameters == start).any(axis=0)[:6].any()
    assert np.abs(parameters[:, 1:3] - spots[:, 1:3]).max() < 0.1
    # Once settled, a spot is passed over: nothing changes any more.
    for turn in range(4, 30):
        kernels.fit_round(data, usable, base, *corners, image, marks, parameters, *work, *prior, turn, steps)
    last = parameters.copy()
    data += 100.0
    kernels.fit_round(data, usable, base, *corners, image, marks, parameters, *work, *prior, 30, steps)
    assert (parameters == last).all()


def test_the_image_is_right_after_a_step_that_was_not_taken():
    corners, refused = tuple(np.array([c]) for c in CORNER), 0
    prior, usable, base = (np.zeros((1, 5)), np.zeros((1, 5))), np.ones((1, SIZE, SIZE), dtype=bool), np.ones(1)
    for seed in range(60):
        random = np.random.default_rng(seed)
        data = random.normal(0.0, 300.0, (1, SIZE, SIZE))  # of no spot: steps go astray
        parameters = PARAMETERS[None] + random.normal(0.0, 0.5, (1, 9)) * [400, 1, 1, 1, 1, 1, 0, 0, 0]
        image, marks = np.zeros((100, 90)), np.zeros((100, 90), dtype=np.uint8)
        kernels.paint_spots(image, parameters, *corners, SIZE)
        before, damping = parameters.copy(), np.full(1, 1.0e-3)
        work = damping, np.zeros(1, dtype=bool)
        kernels.fit_round(data, usable, base, *corners, image, marks, parameters, *work, *prior, 0, 2)
        one_of_both = damping[0] == pytest.approx(1.0e-3)
        refused += one_of_both and (parameters != before).any()
        expected = np.zeros(image.shape)
        kernels.paint_spots(expected, parameters, *corners, SIZE)
        assert image == pytest.approx(expected, abs=1.0e-6)
    assert refused > 5
