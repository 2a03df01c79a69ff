"""Axes drawn the quick way look as matplotlib's own drawing of them, to a pixel or two."""

import re
import zlib

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from scipy.ndimage import maximum_filter

from soxs_recipes.plots.quick_scales import quick_scales
from soxs_recipes.plots.style import label_decades, new_figure, save_pdf, save_png, show_image

DPI = 110


def linear():
    figure, axes = new_figure("linear", size=(6, 4))
    axes[0, 0].plot([-300, 4200], [-1.25, 3.5])
    axes[0, 0].set(xlabel="wavelength [nm]", ylabel="two\nlines")
    return figure


def shared_logarithmic():
    figure, axes = new_figure("log", rows=2, size=(6, 5), sharex=True)
    for axis in axes[:, 0]:
        axis.set(yscale="log", ylim=(0.02, 300), ylabel="counts")
        label_decades(axis.yaxis)
    axes[1, 0].set(xlim=(900, 1100), xlabel="pixel")
    return figure


def image_with_bar():
    figure, axes = new_figure("image", size=(6, 4), bars=True)
    show_image(axes[0, 0], np.arange(1200.0).reshape(30, 40), "e⁻")
    return figure


def small_numbers_below_a_title():
    figure, axes = new_figure("flux", size=(6, 4))
    axes[0, 0].plot([0, 1], [0, 3e-16])
    axes[0, 0].set_title("above the power of ten", loc="left", fontsize=9)
    return figure


def named_orders():
    figure, axes = new_figure("orders", size=(6, 4))
    axes[0, 0].plot([0, 1, 2], [10, 20, 15], "o")
    axes[0, 0].set_xticks([0, 1, 2], ["u\n3 lines", "g\n14 lines", "r\n5 lines"])
    axes[0, 0].set_xlabel("order")
    return figure


def formulas():
    figure, axes = new_figure("formula", size=(6, 4))
    axes[0, 0].set(xscale="log", xlim=(1, 1e4))
    return figure


FIGURES = (linear, shared_logarithmic, image_with_bar, small_numbers_below_a_title, named_orders, formulas)


def ink(picture):
    """Where a picture is clearly not white."""
    return np.asarray(picture.convert("L"), int) < 170


def drawn_in_full(figure):
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba()))


def strangers(one, other, reach):
    """How many pixels of ink of one picture have none of the other within `reach`."""
    return np.count_nonzero(one & ~maximum_filter(other, 2 * reach + 1))


@pytest.mark.parametrize("make", FIGURES, ids=lambda make: make.__name__)
def test_looks_as_drawn_by_matplotlib(make, tmp_path):
    save_png(make(), tmp_path / "quick.png", DPI)
    quick, full = ink(Image.open(tmp_path / "quick.png")), ink(drawn_in_full(make()))
    assert quick.shape == full.shape
    assert np.count_nonzero(full) > 1500
    assert strangers(quick, full, 2) == strangers(full, quick, 2) == 0


@pytest.mark.parametrize("make", FIGURES, ids=lambda make: make.__name__)
def test_figure_is_afterwards_as_before(make):
    figure = make()
    before = drawn_in_full(figure)
    children = [len(axes.get_children()) for axes in figure.axes]
    with quick_scales(figure):
        assert not any(axis.get_visible() for axes in figure.axes for axis in (axes.xaxis, axes.yaxis))
        assert [len(axes.get_children()) for axes in figure.axes] == [count + 2 for count in children]
    assert [len(axes.get_children()) for axes in figure.axes] == children
    assert np.array_equal(np.asarray(drawn_in_full(figure)), np.asarray(before))


def test_figure_that_fits_itself_to_its_labels_is_left_alone():
    figure, axes = new_figure("x", layout="constrained")
    with quick_scales(figure):
        assert axes[0, 0].xaxis.get_visible()


def test_labels_of_a_pdf_are_text(tmp_path):
    save_pdf(linear(), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    packed = re.findall(rb"FlateDecode >>\nstream\n(.*?)\nendstream", content, re.DOTALL)
    (page,) = [stream for part in packed if b" TJ" in (stream := zlib.decompress(part))]
    words = [b"".join(re.findall(rb"\((.)\)", text)) for text in re.findall(rb"\[(.*?)\]\s*TJ", page, re.DOTALL)]
    assert {b"0", b"1000", b"2000", b"3000", b"4000"} <= set(words)
