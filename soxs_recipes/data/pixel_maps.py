"""Wavelength, slit position and order of each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["PixelMaps"]


@dataclass(frozen=True, slots=True)
class PixelMaps:
    """The dispersion solution read backwards, at every pixel centre inside an order.

    Attributes
    ----------
    wavelength : ndarray (ny, nx) float64 [nm, vacuum]
        NaN outside orders.
    slit : ndarray (ny, nx) float64 [arcsec]
        NaN outside orders.
    order : ndarray (ny, nx) int16
        0 outside orders.
    """

    wavelength: np.ndarray
    slit: np.ndarray
    order: np.ndarray
    _windows: dict[int, tuple[slice, slice]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def window(self, order: int) -> tuple[slice, slice] | None:
        """The smallest box (rows, columns) that holds an order; None when no pixel belongs to it."""
        if not self._windows:
            self._windows.update(_boxes(self.order))
        return self._windows.get(order)

    @property
    def orders(self) -> tuple[int, ...]:
        """Order numbers present."""
        self.window(0)
        return tuple(sorted(self._windows))

    def packed(self) -> list[np.ndarray]:
        """Wavelengths and slit positions inside orders, and the orders: a third of the maps; see `unpacked`."""
        inside = np.flatnonzero(self.order)
        return [self.wavelength.take(inside), self.slit.take(inside), self.order]

    @classmethod
    def unpacked(cls, wavelength: np.ndarray, slit: np.ndarray, order: np.ndarray) -> PixelMaps:
        """The maps again."""
        inside = np.flatnonzero(order)
        images = []
        for values in (wavelength, slit):
            image = np.full(order.shape, np.nan)
            image.put(inside, values)
            images.append(image)
        return cls(*images, order)


def _boxes(image: np.ndarray) -> dict[int, tuple[slice, slice]]:
    """Bounding box of each number in an image but 0; no number is negative."""
    ends = _ends(np.ascontiguousarray(image, dtype=np.int16), int(image.max(initial=0)))
    return {
        number: (slice(top, bottom), slice(left, right))
        for number, (top, bottom, left, right) in enumerate(ends.tolist())
        if number and bottom > 0
    }


@compiled
def _ends(image, highest):
    """First row, end of rows, first column, end of columns of each number up to the highest (highest + 1, 4)."""
    ends = np.zeros((highest + 1, 4), np.int64)
    for row in range(image.shape[0]):
        before = 0
        for column in range(image.shape[1]):
            number = image[row, column]
            if number != before and number:
                box = ends[number]
                if box[1] == 0:
                    box[0], box[2] = row, column
                box[1], box[2], box[3] = row + 1, min(box[2], column), max(box[3], column + 1)
            if number != before and before:
                ends[before, 3] = max(ends[before, 3], column)
            before = number
        if before:
            ends[before, 3] = image.shape[1]
    return ends
