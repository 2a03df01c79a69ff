"""Wavelength, slit position and order of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["OrderLines", "OrderMaps", "PixelMaps"]


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

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.order.shape


class OrderLines(NamedTuple):
    """The pixels of one order, line by line across the dispersion.

    Attributes
    ----------
    index : ndarray (n,) int
        Into the flattened frame.
    start : ndarray (lines + 1,) int
        Where each line begins in `index`, and where the last one ends.
    wavelength, slit : ndarray (n,) float64 [nm, vacuum], [arcsec]
    """

    index: np.ndarray
    start: np.ndarray
    wavelength: np.ndarray
    slit: np.ndarray


@dataclass(frozen=True, slots=True)
class OrderMaps:
    """What `PixelMaps` tell of the pixels inside orders, without images: a third of the room.

    Attributes
    ----------
    lines : dict order -> OrderLines
        Ascending order numbers.
    shape : (ny, nx)
    """

    lines: dict[int, OrderLines] = field(repr=False)
    shape: tuple[int, int]

    @property
    def orders(self) -> tuple[int, ...]:
        """Order numbers present."""
        return tuple(self.lines)

    def arrays(self) -> list[np.ndarray]:
        """All arrays, one after the other; see `with_arrays`."""
        return [values for lines in self.lines.values() for values in lines]

    def with_arrays(self, arrays: Sequence[np.ndarray]) -> OrderMaps:
        """The same orders with these arrays."""
        count = len(OrderLines._fields)
        parts = [OrderLines(*arrays[k : k + count]) for k in range(0, len(arrays), count)]
        return OrderMaps(dict(zip(self.lines, parts, strict=True)), self.shape)

    def without_arrays(self) -> OrderMaps:
        """The same orders, with nothing in them."""
        nothing = OrderLines(*[np.zeros(0)] * len(OrderLines._fields))
        return OrderMaps(dict.fromkeys(self.lines, nothing), self.shape)


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
