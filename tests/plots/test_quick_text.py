"""Texts that are drawn from their pictures look as if they were written."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from soxs_recipes.plots import quick_text
from soxs_recipes.plots.quick_text import QuickCanvas

PLACES = ((0.1, 0.2, 0.0), (0.5037, 0.55, 0.0), (0.3, 0.3, 90.0), (0.7061, 0.21, 90.0), (0.6, 0.7, 30.0))


def drawn(kind, colour="#c2410c", size=9):
    figure = Figure(figsize=(4.03, 3.07), dpi=110)
    for x, y, angle in PLACES:
        figure.text(x, y, "Åg e⁻ [nm]", fontsize=size, color=colour, rotation=angle)
    figure.text(0.1, 0.9, r"$10^{3}$ formula", color=colour)
    canvas = kind(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).astype(float)


@pytest.fixture(autouse=True)
def no_pictures():
    quick_text._picture.cache_clear()
    quick_text._size.cache_clear()


def test_pictures_look_as_written():
    written, shown = drawn(FigureCanvasAgg), drawn(QuickCanvas)
    ink = np.abs(written - 255.0).sum()
    assert (np.abs(written - 255.0).max(axis=2) > 100).sum() > 800
    # An eighth of a pixel aside at most.
    assert np.abs(shown - written).sum() < 0.08 * ink
    assert abs(np.abs(shown - 255.0).sum() - ink) < 0.02 * ink


def test_a_text_is_written_once_for_each_look():
    first = drawn(QuickCanvas)
    made = quick_text._picture.cache_info().misses
    assert 2 <= made <= 4  # level and upright at up to four places; a slanted text and a formula have none
    assert np.array_equal(drawn(QuickCanvas), first)
    assert quick_text._picture.cache_info().misses == made
    assert not np.array_equal(drawn(QuickCanvas, colour="black"), first)
    assert quick_text._picture.cache_info().misses == 2 * made
    drawn(QuickCanvas, size=12)
    assert quick_text._picture.cache_info().misses == 3 * made
