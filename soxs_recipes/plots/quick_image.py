"""Images and their colour bars in figures that go to a file.

Matplotlib resamples, scales and colours an image in double precision with a mask, and lays out a colour bar by
solving for its place, so that a window can be zoomed: a third of the time that a figure of a detector takes.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from soxs_recipes.plots.late_ticks import LateAxes

__all__ = ["QuickImage", "add_bar", "add_image"]

_COLOURS = 256
_FRACTION, _PAD = 0.05, 0.01  # of the axes that make room for a bar, and between them
_SLENDER = 20.0  # a bar's height over its width
_ASIDE = 0.1  # pixels that an image may lie aside of its axes


class QuickImage(AxesImage):
    """An image of a linear scale that fills its axes: the nearest pixel's colour, in single precision.

    Parameters
    ----------
    axis : Axes
    values : ndarray (ny, nx)
        The lowest row first; NaN stays clear.
    limits : (low, high)
        Of the colours; room is made about a single value.
    cmap : str
    extent : (left, right, bottom, top)
        In data units.
    """

    def __init__(
        self,
        axis: Axes,
        values: np.ndarray,
        limits: tuple[float, float],
        cmap: str,
        extent: tuple[float, float, float, float],
    ):
        low, high = limits
        norm = Normalize(low, high) if low < high else Normalize(low - 0.5, low + 0.5)
        super().__init__(axis, cmap=cmap, norm=norm, interpolation="nearest", origin="lower", extent=extent)
        self._values = values

    def get_array(self) -> np.ndarray:
        """The values as they were given."""
        return self._values

    def make_image(self, renderer, magnification=1.0, unsampled=False):
        """Pixels (ny, nx, 4) uint8, the lowest row first, and where they begin; as the super class."""
        place, whole = self.axes.bbox, self.get_window_extent()
        fills = np.abs(whole.extents - place.extents).max() < _ASIDE
        if unsampled or not fills:
            self.set_data(self._values)
            return super().make_image(renderer, magnification, unsampled)
        # To the nearest pixel of the file, as the super class.
        left, right = np.floor(magnification * np.array([place.x0, place.x1]) + 0.5).astype(int)
        low, high = np.ceil(magnification * np.array([place.y0, place.y1]) - 0.5).astype(int)
        ny, nx = self._values.shape
        rows = _nearest(low, high, magnification * place.y0, magnification * place.y1, ny)
        columns = _nearest(left, right, magnification * place.x0, magnification * place.x1, nx)
        shown = self._values.take(rows, axis=0).take(columns, axis=1).astype(np.float32)
        return self._coloured(shown), left / magnification, low / magnification, None

    def _coloured(self, values: np.ndarray) -> np.ndarray:
        """Values (ny, nx) float32, used up, as red, green, blue and opacity (ny, nx, 4) uint8."""
        low, high = self.norm.vmin, self.norm.vmax
        values -= np.float32(low)
        values *= np.float32(_COLOURS / (high - low))
        np.clip(values, 0.0, _COLOURS - 1.0, out=values)
        values[np.isnan(values)] = _COLOURS
        colours = self.cmap(np.linspace(0.0, 1.0, _COLOURS), bytes=True)
        table = np.concatenate([colours, np.zeros((1, 4), np.uint8)])
        return table.view(np.uint32)[:, 0].take(values.astype(np.intp)).view(np.uint8).reshape(*values.shape, 4)


def _nearest(first: int, behind: int, begin: float, end: float, size: int) -> np.ndarray:
    """Which of `size` pixels between `begin` and `end` lies under the middle of each of the file's."""
    middles = np.arange(first, behind) + 0.5
    return np.clip((middles - begin) * (size / (end - begin)), 0, size - 1).astype(np.intp)


def add_image(axis: Axes, shown: QuickImage) -> None:
    """Put an image into its axes, which take its limits."""
    shown.set_extent(shown.get_extent())
    axis.add_image(shown)


def add_bar(shown: QuickImage, label: str, size: float) -> Axes:
    """A colour bar at the right of an image's axes, which make room for it; label and numbers of one size."""
    axis = shown.axes
    figure, place = axis.get_figure(), axis.get_position()
    inches = figure.bbox.size / figure.dpi
    width = min(_FRACTION * place.width * inches[0], place.height * inches[1] / _SLENDER)
    size_of_bar = np.array([width, _SLENDER * width]) / inches
    corner = place.x0 + (1.0 - _FRACTION) * place.width, 0.5 * (place.y0 + place.y1 - size_of_bar[1])
    axis.set_position(Bbox.from_bounds(place.x0, place.y0, (1.0 - _FRACTION - _PAD) * place.width, place.height))
    bar = figure.add_axes((*corner, *size_of_bar), axes_class=LateAxes)
    low, high = shown.norm.vmin, shown.norm.vmax
    ramp = np.linspace(low, high, _COLOURS)[:, None]
    add_image(bar, QuickImage(bar, ramp, (low, high), shown.cmap.name, (0.0, 1.0, low, high)))
    bar.xaxis.set_major_locator(NullLocator())
    bar.yaxis.tick_right()
    bar.yaxis.set_label_position("right")
    bar.tick_params(labelsize=size)
    bar.set_ylabel(label, fontsize=size)
    return bar
