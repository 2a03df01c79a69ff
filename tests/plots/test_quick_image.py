"""Images of figures that go to files have the pixels that matplotlib gives them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from soxs_recipes.plots.late_ticks import LateAxes
from soxs_recipes.plots.quick_image import QuickImage, add_image
from soxs_recipes.plots.style import new_figure, save_png, show_image

EXTENT = (-0.5, 149.5, -0.5, 99.5)
LIMITS = (-1.0, 3.0)


def values():
    image = np.random.default_rng(4).normal(1.0, 1.0, (100, 150)).astype(np.float32)
    image[30:35, 40:60] = np.nan
    return image


def drawn(put, zoom=None):
    figure = Figure(figsize=(5.03, 4.07), dpi=100)
    axis = figure.add_axes((0.1013, 0.0967, 0.8031, 0.7977))
    axis.set_axis_off()
    put(axis)
    if zoom:
        axis.set_xlim(*zoom)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).astype(int)


def quick(axis):
    add_image(axis, QuickImage(axis, values(), LIMITS, "viridis", EXTENT))


def by_matplotlib(axis):
    low, high = LIMITS
    axis.imshow(
        values(), vmin=low, vmax=high, cmap="viridis", origin="lower", aspect="auto", extent=EXTENT,
        interpolation="nearest",
    )  # fmt: skip


@pytest.mark.parametrize("zoom", [None, (20, 80)])
def test_pixels_are_those_of_matplotlib(zoom):
    one, other = drawn(quick, zoom), drawn(by_matplotlib, zoom)
    assert len(np.unique(other.reshape(-1, 4), axis=0)) > 200
    white = (other == 255).all(axis=2)
    assert (white == (one == 255).all(axis=2)).mean() > 0.999
    assert (one == other).all(axis=2).mean() > 0.999


def test_finer_pixels_lie_in_the_same_place():
    figure = Figure(figsize=(5.03, 4.07), dpi=100)
    axis = figure.add_axes((0.1013, 0.0967, 0.8031, 0.7977))
    quick(axis)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for magnification in (1.0, 3.0):
        pixels, left, low, _ = axis.images[0].make_image(renderer, magnification)
        box, error = axis.bbox, 0.51 / magnification
        assert (left, low) == (pytest.approx(box.x0, abs=error), pytest.approx(box.y0, abs=error))
        size = pixels.shape[1] / magnification, pixels.shape[0] / magnification
        assert size == (pytest.approx(box.width, abs=2 * error), pytest.approx(box.height, abs=2 * error))


def test_scale_without_extent_is_drawn():
    figure, axes = new_figure("flat", size=(4, 3), bars=True)
    show_image(axes[0, 0], np.ones((20, 30), np.float32), "e⁻", (1.0, 1.0))
    FigureCanvasAgg(figure).draw()
    assert figure.axes[1].get_ylim() == (0.5, 1.5)


@pytest.mark.parametrize("height", [2, 4, 8])
def test_bar_stands_beside_its_image(tmp_path, height):
    figure, axes = new_figure("x", size=(6, height), bars=True)
    before = axes[0, 0].get_position()
    show_image(axes[0, 0], values(), "e⁻", LIMITS)
    image, bar = (axis.get_position() for axis in figure.axes)
    assert before.x0 == image.x0 < image.x1 < bar.x0 < bar.x1 <= before.x1
    assert bar.y1 - bar.y0 == pytest.approx(20 * (bar.x1 - bar.x0) * 6 / height)
    assert image.y0 - 1e-9 < bar.y0 < bar.y1 < image.y1 + 1e-9
    assert figure.axes[1].get_ylim() == LIMITS
    assert figure.axes[1].get_ylabel() == "e⁻"
    save_png(figure, tmp_path / "a.png")


def test_ticks_are_made_when_they_are_asked_for():
    axes = new_figure("x", rows=2, sharex=True)[1]
    axis = axes[1, 0]
    assert isinstance(axis, LateAxes)
    axis.plot([0, 1], [2, 3])
    axis.tick_params(axis="x", labelsize=5)
    assert not {"majorTicks", "minorTicks"} & (set(vars(axis.xaxis)) | set(vars(axis.yaxis)))
    tick = axis.xaxis.get_major_ticks()[0]
    assert tick.label1.get_fontsize() == 5
    assert tick.gridline.get_visible()
    assert tick.gridline.get_clip_box() is not None
    assert axis.yaxis.get_major_ticks()[-1].label1.get_fontsize() == 8
    assert axis.yaxis.get_offset_text().get_fontsize() == 8
    axis.tick_params(axis="x", labelsize=6)
    assert axis.xaxis.get_major_ticks()[0] is tick
    assert tick.label1.get_fontsize() == 6
