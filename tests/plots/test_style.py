"""Parts that all figures share."""

import numpy as np
import pytest
from PIL import Image

from soxs_recipes.plots.style import INK, counted, draw_counts, label_decades, new_figure, save_png


def test_a_png_file_holds_the_pixels_drawn(tmp_path):
    figure, axes = new_figure("€ · ⁻", size=(5, 3))
    axes[0, 0].imshow(np.random.default_rng(1).normal(size=(40, 50)))
    save_png(figure, tmp_path / "a.png", 90)
    drawn = np.asarray(figure.canvas.buffer_rgba())
    assert (drawn[:, :, 3] == 255).all()
    with Image.open(tmp_path / "a.png") as image:
        image.load()  # verifies the sums of all parts
        assert image.info["dpi"] == pytest.approx((90, 90), rel=1e-3)
        assert image.mode == "RGB"
        assert image.size == (450, 270)
        assert np.array_equal(np.asarray(image), drawn[:, :, :3])
    assert len(np.unique(drawn)) > 100


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


def test_a_narrow_logarithmic_axis_is_labelled_between_decades():
    _, axes = new_figure("x")
    axis = axes[0, 0]
    axis.set_yscale("log")
    label_decades(axis.yaxis)
    axis.set_ylim(1.5e-3, 2e-2)
    minor, major = axis.yaxis.get_minor_formatter(), axis.yaxis.get_major_formatter()
    assert [minor(value) for value in (2e-3, 3e-3, 5e-3, 2e-2)] == ["2·10⁻³", "", "5·10⁻³", "2·10⁻²"]
    assert major(1e-3) == "10⁻³"
    axis.set_ylim(1e-3, 1e4)
    assert minor(2e-3) == ""
