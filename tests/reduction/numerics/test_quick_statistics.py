"""Whole-frame statistics against the general functions that they stand in for."""

import numpy as np
import pytest

from soxs_recipes.reduction.numerics.quick_statistics import mean_below, spread_linearly

SHAPE = (500, 600)


def _noise():
    return np.random.default_rng(4).normal(100.0, 3.0, SHAPE).astype(np.float32)


def test_mean_below_leaves_out_the_rest():
    values = np.array([0.5, 1.5, 2.0, 9.0, np.nan, np.inf], dtype=np.float32)
    assert mean_below(values, 2.0) == 1.0
    assert mean_below(values, 0.1) is None
    squares = np.square(_noise().ravel())
    expected = squares[squares < 1e4].astype(np.float64).mean()
    assert mean_below(squares, 1e4) == pytest.approx(expected, rel=1e-5)


def test_interpolation_is_exact_on_planes_and_stops_at_the_ends():
    coarse = 2.0 * np.arange(5)[:, None] - 3.0 * np.arange(4)[None, :]
    rows, columns = np.linspace(0, 4, 33), np.linspace(0, 3, 25)
    expected = 2.0 * rows[:, None] - 3.0 * columns[None, :]
    assert np.allclose(spread_linearly(coarse, rows, columns), expected, atol=1e-5)
    beyond = spread_linearly(coarse, np.array([-3.0, 9.0]), np.array([0.0]))
    assert beyond.ravel().tolist() == [0.0, 8.0]
    single = spread_linearly(np.array([[4.0]]), np.arange(3.0), np.arange(2.0))
    assert np.array_equal(single, np.full((3, 2), 4.0, np.float32))
