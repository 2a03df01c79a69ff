"""The figure of the light along the slit."""

import numpy as np

from soxs_recipes.plots.slit import figure_slit_light
from soxs_recipes.reduction.extraction.slit_light import SlitLight


def light(order, count=2):
    slit = np.linspace(-6, 6, 61)
    sources = np.array([np.exp(-0.5 * ((slit - k) / 0.4) ** 2) for k in range(count)]).reshape(count, slit.size)
    data = sources.sum(axis=0) + 0.01 * np.sin(40 * slit)
    data[:4] = np.nan
    return SlitLight(order, slit, data, np.full(slit.size, 0.02), sources)


def test_sources_and_orders_are_drawn():
    figure = figure_slit_light(
        [light(0), *(light(k) for k in range(10, 25))],
        [(0.0, 0.94, True), (1.0, 0.94, False)],
        "a title with $ in it",
        [str(k) for k in range(10, 25)],
    )
    figure.draw_without_rendering()
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert sum(title.startswith("order") for title in titles) == 15
    top = figure.axes[0]
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert "+0.00 arcsec, FWHM 0.94 (extracted)" in labels
    assert "+1.00 arcsec, FWHM 0.94" in labels


def test_an_aperture_is_shaded():
    figure = figure_slit_light([light(0, 0), light(1, 0)], [(0.5, 3.0, True)], "aperture", ["r"])
    figure.draw_without_rendering()
    (below,) = [axis for axis in figure.axes if axis.get_ylabel() == "residual / σ"]
    (dots,) = [line for line in below.lines if line.get_marker() == "o"]
    outside = np.abs(np.asarray(dots.get_xdata()) - 0.5) > 1.5
    drawn = np.isfinite(np.asarray(dots.get_ydata(), dtype=float))
    assert drawn[outside].sum() > 30
    assert not drawn[~outside].any()  # what is summed has no model to differ from
    labels = [text.get_text() for axis in figure.axes if (box := axis.get_legend()) for text in box.get_texts()]
    assert "aperture -1.00 to +2.00 arcsec" in labels
