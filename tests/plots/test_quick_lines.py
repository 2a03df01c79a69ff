"""Long lines look the same with the points that can be seen alone."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from soxs_recipes.plots.quick_lines import thinned
from soxs_recipes.plots.quick_text import QuickCanvas


def noisy(count=40_000):
    rng = np.random.default_rng(8)
    x = np.linspace(400.0, 899.9, count)
    y = np.exp(-(((x - 650.0) / 120.0) ** 2)) + rng.normal(0.0, 0.05, count)
    y[count // 3] = 3.0  # one bin alone
    y[count // 2 : count // 2 + count // 50] = np.nan
    return x, y


def drawn(kind, way="plot", scale="linear"):
    figure = Figure(figsize=(6.0, 3.0), dpi=110)
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.set_axis_off()
    axis.set_xscale(scale)
    getattr(axis, way)(*noisy(), color="black", lw=0.7)
    canvas = kind(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, 0].astype(float)


@pytest.mark.parametrize("way", ["plot", "step"])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_lines_look_as_with_all_points(way, scale):
    full, quick = drawn(FigureCanvasAgg, way, scale), drawn(QuickCanvas, way, scale)
    ink = 255.0 - full
    assert (ink > 100).sum() > 5_000
    assert not np.array_equal(full, quick)  # it was thinned
    assert abs((255.0 - quick).sum() / ink.sum() - 1.0) < 0.03
    assert np.abs(full - quick).sum() < 0.07 * ink.sum()
    assert np.array_equal(
        np.flatnonzero(ink.any(axis=0)), np.flatnonzero((quick < 255).any(axis=0))
    )  # the gap, too


def test_what_can_be_seen_is_left():
    x, y = noisy()
    points = np.column_stack([x - 400.0, 100.0 * y])
    left = thinned(points)
    assert left.shape[0] < 0.2 * x.size
    assert np.nanmax(left[:, 1]) == np.nanmax(points[:, 1])
    assert np.nanmin(left[:, 1]) == np.nanmin(points[:, 1])
    assert np.array_equal(left[[0, -1], 0], points[[0, -1], 0])
    # Every pixel's lowest and highest point is one of those that are left.
    for column in (0, 77, 300, 499):
        was, now = (p[(p[:, 0] >= column) & (p[:, 0] < column + 1), 1] for p in (points, left))
        assert (np.nanmin(was), np.nanmax(was)) == (np.nanmin(now), np.nanmax(now))
    assert np.isnan(left[:, 1]).any()


def test_strokes_between_columns_are_short():
    x, y = noisy()
    y[np.isnan(y)] = 0.0
    heights = thinned(np.column_stack([x - 400.0, 100.0 * y]))[:, 1]
    strokes = np.abs(np.diff(heights))
    within, between = strokes[::2], strokes[1::2]
    assert between.size > 900
    assert np.median(between) < 0.3 * np.median(within)


def test_single_lost_points_take_none_of_their_column_with_them():
    x, y = noisy()
    y[np.isnan(y)] = 0.0
    y[::97] = np.nan
    points = np.column_stack([x - 400.0, 100.0 * y])
    left = thinned(points)
    assert left.shape[0] < 0.2 * x.size
    for column in (0, 77, 300, 499):
        was, now = (p[(p[:, 0] >= column) & (p[:, 0] < column + 1), 1] for p in (points, left))
        assert np.isnan(was).any()
        assert (np.nanmin(was), np.nanmax(was)) == (np.nanmin(now), np.nanmax(now))


def test_few_points_are_left_alone():
    points = np.column_stack([np.arange(1000.0), np.sin(np.arange(1000.0))])
    assert thinned(points) is points
