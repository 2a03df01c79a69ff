"""Fits of blurred steps against injected ones; profiles against a plain reckoning."""

import numpy as np
import pytest
from scipy.special import ndtr

from soxs_recipes.reduction.orders.edge_kernels import fit_steps, median_profiles

BOUNDS = np.array([-5.0, 0.2, 0.0, -0.2, -0.5]), np.array([5.0, 5.0, 5.0, 0.2, 2.0])
COLUMNS, ROWS = 18, 8


def light_of_pixels(middle, edge, blur, plateau, slope, level):
    """Light of pixels, integrated over 41 points each."""
    places = middle[..., None] + (np.arange(41) - 20.0) / 41.0
    share = ndtr((places - edge[:, None, None]) / blur[:, None, None])
    light = plateau[:, None] + slope[:, None] * (middle - edge[:, None])
    return light * share.mean(axis=-1) + level[:, None]


def steps(count, way, noise, seed=3):
    rng = np.random.default_rng(seed)
    begins = rng.uniform(-0.5, 0.5, (count, ROWS, 1)) - 7.0
    inward = (begins + np.arange(COLUMNS))[:, :, ::way].reshape(count, -1)
    truth = [rng.uniform(low, high, count) for low, high in
             ((-0.8, 0.8), (0.7, 1.6), (0.8, 1.2), (-0.01, 0.01), (-0.05, 0.2))]  # fmt: skip
    value = light_of_pixels(inward, *truth)
    return inward, value + rng.normal(0.0, noise, value.shape), np.stack(truth, axis=1)


def fitted(inward, value, usable, noise):
    count = len(value)
    floor, photon = np.full(count, noise**2), np.zeros(count)
    parameters = np.tile([0.0, 1.0, 1.0, 0.0, 0.0], (count, 1))
    error, converged = np.empty(count), np.empty(count, bool)
    fit_steps(inward, value, usable, floor, photon, COLUMNS, *BOUNDS, parameters, error, converged)
    return parameters, error, converged


@pytest.mark.parametrize("way", [1, -1])
def test_edges_scatter_about_the_truth_as_their_errors_say(way):
    inward, value, truth = steps(500, way, 0.02)
    parameters, error, converged = fitted(inward, value, np.ones(value.shape, bool), 0.02)
    assert converged.all()
    pulls = (parameters[:, 0] - truth[:, 0]) / error
    assert abs(pulls.mean()) < 4.0 / np.sqrt(500)
    assert abs(pulls.std() - 1.0) < 4.0 / np.sqrt(1000)
    others = parameters[:, 1:] - truth[:, 1:]
    assert np.abs(np.median(others, axis=0)).max() < 0.002


def test_hits_and_masked_pixels_have_no_part():
    inward, value, truth = steps(200, 1, 0.01)
    clean = fitted(inward, value, np.ones(value.shape, bool), 0.01)[1]
    rng = np.random.default_rng(5)
    usable = rng.random(value.shape) > 0.05
    value[~usable] = 50.0
    row, column = np.arange(200), rng.integers(0, value.shape[1], 200)
    value[row, column] += 3.0
    parameters, error, converged = fitted(inward, value, usable, 0.01)
    pulls = (parameters[:, 0] - truth[:, 0]) / error
    assert converged.mean() > 0.97
    assert np.abs(pulls[converged]).max() < 6.0
    assert np.median(error) < 1.2 * np.median(clean)


def test_a_block_without_pixels_does_not_converge():
    inward, value, _ = steps(2, 1, 0.02)
    usable = np.ones(value.shape, bool)
    usable[0] = False
    parameters, error, converged = fitted(inward, value, usable, 0.02)
    assert converged.tolist() == [False, True]
    assert error[0] == 0.0
    assert np.isfinite(parameters).all()


@pytest.mark.parametrize("side", [-1, 1])
def test_profiles_are_medians_of_usable_rows(side):
    rng = np.random.default_rng(7)
    value = rng.normal(100.0, 5.0, (37, 40)).astype(np.float32)
    variance = rng.uniform(20.0, 30.0, value.shape).astype(np.float32)
    usable = rng.random(value.shape) > 0.2
    usable[:16, 25] = False
    level, curve = rng.uniform(50.0, 150.0, 37), 20.0 + np.linspace(-1.5, 1.5, 37)
    level[5] = np.nan
    farthest, block, first, last = 25, 16, 2, 36
    profile, noise = np.empty((3, farthest + 1)), np.empty(3)
    pixels = value, variance, usable, level, curve, (first, last), block
    median_profiles(*pixels, farthest, side, profile, noise)
    checked = 0
    for b in range(3):
        rows = [row for row in range(first + 16 * b, min(first + 16 * (b + 1), last)) if np.isfinite(level[row])]
        errors = []
        for distance in range(-farthest, farthest + 1):
            places = [(row, int(np.rint(curve[row])) + side * distance) for row in rows]
            places = [place for place in places if 0 <= place[1] < 40 and usable[place]]
            own = [value[place] / level[place[0]] for place in places]
            squares = sum(variance[place] / level[place[0]] ** 2 for place in places)
            errors.append(np.sqrt(squares) / len(own) if own else 1.0)
            if distance >= 0:
                assert np.allclose(profile[b, distance], np.median(own) if own else np.nan, equal_nan=True)
                checked += bool(own)
        assert np.isclose(noise[b], np.mean(errors))
    assert checked > 40
    assert np.isnan(profile[:, -1]).all()
