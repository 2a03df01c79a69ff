"""Grid, ticks and labels of axes that go to a file, drawn with one line of paths and one text a label.

Matplotlib's own axis keeps five artists for every tick and lays every label out three times, so that a window can
be zoomed: half of the time that a figure takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.ticker import NullLocator
from matplotlib.transforms import IdentityTransform

__all__ = ["quick_scales"]

_OFFSET_PAD = 3.0  # points between axes and the power of ten that all labels share
_ASCENT, _DESCENT, _LEADING, _HALF_DIGIT = 0.76, 0.24, 0.2, 0.365  # of a font's size
_OUTSIDE = {"out": 1.0, "inout": 0.5, "in": 0.0}  # part of a tick
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
        # They hold for the drawing, too, as long as the axes keep their shape.
        self._ticks = _shown_ticks(axis, "major") if axis.axes.get_aspect() == "auto" else None
        # The title above the axes looks where this text is.
        if axis.get_offset_text().get_visible():
            self._place_offset(0.0)

    def draw(self, renderer: RendererBase) -> None:
        """Grid below ticks below labels."""
        if not self.get_visible():
            return
        reach = 0.0
        for which in ("minor", "major"):
            look = _look(self.axis, which)
            is_known = which == "major" and self._ticks is not None
            places, labels = self._ticks if is_known else _shown_ticks(self.axis, which)
            if places.size:
                pixels = self._pixels(places)
                self._draw_lines(renderer, pixels, look)
                reach = max(reach, self._draw_labels(renderer, pixels, labels, look))
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
    def _draw_lines(self, renderer: RendererBase, pixels: np.ndarray, look: _Look) -> None:
        if look.has_grid:
            self._draw_bars(renderer, pixels, self._edge(-1), self._edge(1), look.grid_colour, look.grid_width)
        if look.tick_side:
            edge = self._edge(look.tick_side)
            length = renderer.points_to_pixels(look.length)
            self._draw_bars(renderer, pixels, edge, edge + look.tick_side * length, look.colour, look.width)

    def _draw_bars(
        self, renderer: RendererBase, pixels: np.ndarray, begin: float, end: float, colour: object, width: float
    ) -> None:
        """Lines across the axis, all as one path."""
        points = np.empty((2 * pixels.size, 2))
        along, across = (0, 1) if self.is_x else (1, 0)
        points[:, along] = np.repeat(pixels, 2)
        points[::2, across], points[1::2, across] = begin, end
        codes = np.tile(np.array([Path.MOVETO, Path.LINETO], Path.code_type), pixels.size)
        context = renderer.new_gc()
        context.set_foreground(to_rgba(colour), isRGBA=True)
        context.set_linewidth(width)
        context.set_capstyle("butt")
        context.set_snap(True)
        renderer.draw_path(context, Path(points, codes), IdentityTransform())
        context.restore()

    # -- labels ---------------------------------------------------------------------------------------------
    def _draw_labels(
        self, renderer: RendererBase, pixels: np.ndarray, labels: Sequence[str], look: _Look
    ) -> float:
        """Draw the labels; how far they reach from the axes [px]."""
        length, side = look.length if look.tick_side else 0.0, look.label_side
        if not side or not any(labels):
            return renderer.points_to_pixels(length)
        font, colour = FontProperties(size=look.label_size), to_rgba(look.label_colour)
        size = renderer.points_to_pixels(font.get_size_in_points())
        gap = renderer.points_to_pixels(length + look.pad)
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


@dataclass(frozen=True, slots=True)
class _Look:
    """What the ticks of an axis, their labels and its grid look like.

    Sides: -1 is left or below, 1 right or above, 0 nowhere; lengths and widths in points.
    """

    tick_side: int
    length: float
    width: float
    colour: object
    label_side: int
    pad: float
    label_size: float
    label_colour: object
    has_grid: bool
    grid_width: float
    grid_colour: object


def _look(axis: Axis, which: str) -> _Look:
    """The look of major or minor ticks, which need not have been made."""
    # What `set_tick_params` was told, in the words of `Tick`; the rest stands in matplotlib's settings.
    told = axis._major_tick_kw if which == "major" else axis._minor_tick_kw
    name = f"{axis.axis_name}tick"

    def value(key: str, setting: str):
        own = told.get(key)
        return rcParams[setting] if own is None else own

    colour, label_colour = value("color", f"{name}.color"), value("labelcolor", f"{name}.labelcolor")
    return _Look(
        tick_side=_side(told.get("tick1On", True), told.get("tick2On", True)),
        length=value("size", f"{name}.{which}.size") * _OUTSIDE[value("tickdir", f"{name}.direction")],
        width=value("width", f"{name}.{which}.width"),
        colour=colour,
        label_side=_side(told.get("label1On", True), told.get("label2On", False)),
        pad=value("pad", f"{name}.{which}.pad"),
        label_size=value("labelsize", f"{name}.labelsize"),
        label_colour=colour if label_colour == "inherit" else label_colour,
        has_grid=bool(told.get("gridOn", False)),
        grid_width=value("grid_linewidth", "grid.linewidth"),
        grid_colour=value("grid_color", "grid.color"),
    )


def _side(near: bool, far: bool) -> int:
    """Where ticks or labels are: -1 left or below, 1 right or above, 0 nowhere."""
    return -1 if near else int(far)


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
    elif isinstance(axis.get_minor_locator(), NullLocator):
        return np.empty(0), []
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
