"""Grid, ticks and labels of axes that go to a file, drawn with one line of paths and one text a label.

Matplotlib's own axis keeps five artists for every tick and lays every label out three times, so that a window can
be zoomed: half of the time that a figure takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axis import Axis, Tick
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

__all__ = ["quick_scales"]

_OFFSET_PAD = 3.0  # points between axes and the power of ten that all labels share
_ASCENT, _DESCENT, _LEADING, _HALF_DIGIT = 0.76, 0.24, 0.2, 0.365  # of a font's size
_EDGE = 1e-6  # of an axis' length: a tick may lie this far outside


@contextmanager
def quick_scales(figure: Figure) -> Iterator[None]:
    """In this block a figure is drawn the quick way; one whose layout follows its labels is left as it is."""
    hidden: list[Axis] = []
    added: list[Artist] = []
    for axes in figure.axes if figure.get_layout_engine() is None else ():
        if not (axes.axison and axes.get_visible()):
            continue
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_visible():
                scale = _Scale(axis)
                axis.set_visible(False)
                axes.add_artist(scale)
                hidden.append(axis)
                added.append(scale)
    try:
        yield
    finally:
        for axis in hidden:
            axis.set_visible(True)
        for scale in added:
            scale.remove()


class _Scale(Artist):
    """One axis of an Axes: draws what its `Axis` would draw."""

    def __init__(self, axis: Axis):
        super().__init__()
        self.set_zorder(axis.get_zorder())
        self.set_clip_on(False)
        self.axis = axis
        self.is_x = axis.axis_name == "x"
        # The title above the axes looks where this text is.
        if axis.get_offset_text().get_visible():
            _shown_ticks(axis, "major")
            self._place_offset(0.0)

    def draw(self, renderer: RendererBase) -> None:
        """Grid below ticks below labels."""
        if not self.get_visible():
            return
        reach = 0.0
        ticks = {"minor": self.axis.get_minor_ticks(1), "major": self.axis.get_major_ticks(1)}
        for which, (pattern, *_) in ticks.items():
            places, labels = _shown_ticks(self.axis, which)
            if places.size:
                pixels = self._pixels(places)
                self._draw_lines(renderer, pixels, pattern)
                reach = max(reach, self._draw_labels(renderer, pixels, labels, pattern))
        self._place_label(renderer, reach)
        self.axis.label.draw(renderer)
        if self.axis.get_offset_text().get_visible():
            self._place_offset(reach)
            self.axis.get_offset_text().draw(renderer)
        self.stale = False

    def _pixels(self, places: np.ndarray) -> np.ndarray:
        nothing = np.zeros_like(places)
        if self.is_x:
            return self.axes.get_xaxis_transform().transform(np.column_stack([places, nothing]))[:, 0]
        return self.axes.get_yaxis_transform().transform(np.column_stack([nothing, places]))[:, 1]

    def _edge(self, side: int) -> float:
        box = self.axes.bbox
        return (box.ymin, box.ymax)[side > 0] if self.is_x else (box.xmin, box.xmax)[side > 0]

    # -- lines ----------------------------------------------------------------------------------------------
    def _draw_lines(self, renderer: RendererBase, pixels: np.ndarray, pattern: Tick) -> None:
        if pattern.gridline.get_visible():
            self._draw_bars(renderer, pixels, self._edge(-1), self._edge(1), pattern.gridline)
        side = _side(pattern.tick1line, pattern.tick2line)
        if side:
            edge = self._edge(side)
            length = renderer.points_to_pixels(pattern.get_tick_padding())
            self._draw_bars(renderer, pixels, edge, edge + side * length, pattern.tick1line)

    def _draw_bars(
        self, renderer: RendererBase, pixels: np.ndarray, begin: float, end: float, pattern: Line2D
    ) -> None:
        """Lines across the axis, all as one path."""
        points = np.empty((2 * pixels.size, 2))
        along, across = (0, 1) if self.is_x else (1, 0)
        points[:, along] = np.repeat(pixels, 2)
        points[::2, across], points[1::2, across] = begin, end
        codes = np.tile(np.array([Path.MOVETO, Path.LINETO], Path.code_type), pixels.size)
        is_tick = pattern.get_linestyle() == "None"
        colour = pattern.get_markeredgecolor() if is_tick else pattern.get_color()
        context = renderer.new_gc()
        context.set_foreground(to_rgba(colour), isRGBA=True)
        context.set_linewidth(pattern.get_markeredgewidth() if is_tick else pattern.get_linewidth())
        context.set_capstyle("butt")
        context.set_snap(True)
        renderer.draw_path(context, Path(points, codes), IdentityTransform())
        context.restore()

    # -- labels ---------------------------------------------------------------------------------------------
    def _draw_labels(
        self, renderer: RendererBase, pixels: np.ndarray, labels: Sequence[str], pattern: Tick
    ) -> float:
        """Draw the labels; how far they reach from the axes [px]."""
        length = pattern.get_tick_padding() if _side(pattern.tick1line, pattern.tick2line) else 0.0
        side = _side(pattern.label1, pattern.label2)
        if not side or not any(labels):
            return renderer.points_to_pixels(length)
        font, colour = FontProperties(size=pattern.label1.get_fontsize()), to_rgba(pattern.label1.get_color())
        size = renderer.points_to_pixels(font.get_size_in_points())
        gap = renderer.points_to_pixels(length + pattern.get_pad())
        reach = gap
        for pixel, label in zip(pixels, labels, strict=True):
            lines = label.split("\n") if label else []
            down = 0.5 * _LEADING * size if len(lines) > 1 else 0.0
            for text in lines:
                width, height, descent = renderer.get_text_width_height_descent(text, font, is_math_text(text))
                ascent = max(height - descent, _ASCENT * size)
                x, y, extent = self._origin(pixel, side, gap, size, width, ascent + down)
                _write(renderer, x, y, text, font, colour)
                reach = max(reach, extent)
                down += (_ASCENT + _DESCENT + _LEADING) * size
        return reach

    def _origin(
        self, pixel: float, side: int, gap: float, size: float, width: float, down: float
    ) -> tuple[float, float, float]:
        """Where a label begins on its base line, `down` pixels below its top, and its reach from the axes."""
        if self.is_x:
            below = gap + down if side < 0 else -gap - _DESCENT * size
            return pixel - 0.5 * width, self._edge(side) - below, gap + down + _DESCENT * size
        x = self._edge(side) + side * gap - (width if side < 0 else 0.0)
        return x, pixel - _HALF_DIGIT * size, gap + width

    def _place_label(self, renderer: RendererBase, reach: float) -> None:
        label = self.axis.label
        if not label.get_text():
            return
        side = 1 if self.axis.get_label_position() in ("top", "right") else -1
        place = self._edge(side) + side * (reach + renderer.points_to_pixels(self.axis.labelpad))
        x, y = label.get_position()
        label.set_position((x, place) if self.is_x else (place, y))

    def _place_offset(self, reach: float) -> None:
        """The power of ten or the constant that all labels share: right below x labels, above y labels."""
        text = self.axis.get_offset_text()
        text.set_text(self.axis.get_major_formatter().get_offset())
        pad = _OFFSET_PAD * self.axis.get_figure(root=True).dpi / 72.0
        box = self.axis.axes.bbox
        x = text.get_position()[0]
        text.set_position((x, box.ymin - reach - pad) if self.is_x else (x, box.ymax + pad))


def _side(near: Artist, far: Artist) -> int:
    """Where ticks or labels are: -1 left or below, 1 right or above, 0 nowhere."""
    return -1 if near.get_visible() else int(far.get_visible())


def _write(
    renderer: RendererBase, x: float, y: float, text: str, font: FontProperties, colour: tuple[float, ...]
) -> None:
    """Write a label that begins at a pixel of the base line: a whole one, where there are any."""
    if isinstance(renderer, RendererAgg):
        x, y = round(x), round(y)
    context = renderer.new_gc()
    context.set_foreground(colour, isRGBA=True)
    height = renderer.get_canvas_width_height()[1]
    renderer.draw_text(context, x, height - y if renderer.flipy() else y, text, font, 0.0, is_math_text(text))
    context.restore()


def _shown_ticks(axis: Axis, which: str) -> tuple[np.ndarray, list[str]]:
    """Places within the axes, in data units, and what is written beside each."""
    if which == "major":
        places, formatter = axis.get_majorticklocs(), axis.get_major_formatter()
    else:
        places, formatter = axis.get_minorticklocs(), axis.get_minor_formatter()
    places = np.asarray(places, float)
    if places.size == 0:
        return places, []
    labels = formatter.format_ticks(places)
    transform = axis.get_transform()
    low, high = np.sort(transform.transform(np.asarray(axis.get_view_interval(), float)))
    at, edge = transform.transform(places), _EDGE * (high - low)
    shown = (at >= low - edge) & (at <= high + edge)
    return places[shown], [label for label, is_shown in zip(labels, shown, strict=True) if is_shown]
