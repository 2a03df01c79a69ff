"""Parts that all figures share."""

import numpy as np

from soxs_recipes.plots.style import INK, counted, draw_counts, new_figure


def test_counts_are_those_of_histogram():
    values = np.random.default_rng(3).normal(0.0, 1.0, 50_000)
    values[:3] = np.nan, np.inf, -np.inf
    number, edges = counted(values, (-2.0, 3.0), 40)
    expected, expected_edges = np.histogram(values[3:], bins=40, range=(-2.0, 3.0))
    assert np.allclose(edges, expected_edges)
    assert np.abs(number - expected).sum() <= 2  # values on an edge
    assert number.sum() > 40_000


def test_empty_bins_are_drawn_as_nothing():
    _, axes = new_figure("x")
    axis = axes[0, 0]
    draw_counts(axis, np.array([0, 4, 100]), np.arange(4.0), INK)
    heights = axis.patches[0].get_data().values
    low, high = axis.get_ylim()
    assert heights[0] < low < 4 == heights[1]
    assert high > 100 == heights[2]
    draw_counts(axis, np.zeros(3), np.arange(4.0), INK)
    assert axis.get_ylim()[0] > 0
