"""Text in figures that go to a file: written once, then put in place as a picture.

The same few labels stand in most figures, and writing one takes a few milliseconds. Long lines are thinned, see
`quick_lines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

from soxs_recipes.plots.quick_lines import MANY_POINTS, thinned

__all__ = ["QuickCanvas"]

_ROOM = 3  # pixels about a picture
_PARTS = 4  # of a pixel: strokes are as sharp as matplotlib's
_KEPT = 4096  # texts


class QuickCanvas(FigureCanvasAgg):
    """Draws a figure into pixels once, as its super class does, with pictures of texts that were seen before."""

    def get_renderer(self) -> RendererAgg:
        """A renderer of the figure's size."""
        return _Renderer(*self.figure.bbox.size, self.figure.dpi)


class _Renderer(RendererAgg):
    def draw_path(self, gc, path, transform, rgbFace=None) -> None:
        """Draw a path; of a long unbroken line only the points that can be seen."""
        is_line = rgbFace is None and path.codes is None and gc.get_dashes()[1] is None
        if is_line and len(path.vertices) > MANY_POINTS:
            path, transform = Path(thinned(transform.transform(path.vertices))), IdentityTransform()
        super().draw_path(gc, path, transform, rgbFace)

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None) -> None:
        """Put the picture of a plain level or upright text to the nearest quarter of a pixel; write others."""
        if ismath or angle not in (0.0, 90.0):
            super().draw_text(gc, x, y, s, prop, angle, ismath=ismath, mtext=mtext)
            return
        column, right = divmod(round(_PARTS * x), _PARTS)
        row, up = divmod(round(_PARTS * (self.height - y)), _PARTS)  # pictures are placed from below
        aside = right / _PARTS, up / _PARTS
        picture = _picture(s, prop.copy(), gc.get_rgb(), angle, aside, self.dpi)
        context = self.new_gc()
        self.draw_image(context, column - picture.left, row - picture.below, picture.pixels)
        context.restore()

    def get_text_width_height_descent(self, s, prop, ismath) -> tuple[float, float, float]:
        """Size of a text [px]."""
        return _size(s, prop.copy(), ismath, self.dpi)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A text as pixels (RGBA, last row first); columns left of and rows below where it begins."""

    pixels: np.ndarray
    left: int
    below: int


# Fonts are copied into the keys: the one that a text holds may change later.
@lru_cache(maxsize=_KEPT)
def _size(text: str, font: FontProperties, is_formula: bool, dpi: float) -> tuple[float, float, float]:
    return RendererAgg(1, 1, dpi).get_text_width_height_descent(text, font, is_formula)


@lru_cache(maxsize=_KEPT)
def _picture(
    text: str,
    font: FontProperties,
    colour: tuple[float, ...],
    angle: float,
    aside: tuple[float, float],
    dpi: float,
) -> _Picture:
    """The text's picture; it begins `aside` pixels (right, up) of where a pixel ends."""
    width, height, descent = (int(np.ceil(value)) for value in _size(text, font, False, dpi))
    ascent = height - descent + 1
    left, right, above, below = (0, width, ascent, descent) if angle == 0.0 else (ascent, descent, width, 0)
    left, right, above, below = (value + _ROOM for value in (left, right, above, below))
    renderer = RendererAgg(left + right, above + below, dpi)
    context = GraphicsContextBase()
    context.set_foreground(colour, isRGBA=True)
    renderer.draw_text(context, left + aside[0], above - aside[1], text, font, angle)
    return _Picture(np.array(renderer.buffer_rgba())[::-1].copy(), left, below)
