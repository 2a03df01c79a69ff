"""Wavelength, slit position and order of each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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


def _boxes(image: np.ndarray) -> dict[int, tuple[slice, slice]]:
    """Bounding box of each number in an image but 0."""
    index = np.flatnonzero(image)
    if index.size == 0:
        return {}
    numbers = image.ravel()[index]
    by_number = np.argsort(numbers, kind="stable")
    index, numbers = index[by_number], numbers[by_number]
    start = np.flatnonzero(np.diff(numbers, prepend=0))
    sides = [
        [slice(int(low), int(high) + 1) for low, high in zip(*ends, strict=True)]
        for ends in (
            (np.minimum.reduceat(place, start), np.maximum.reduceat(place, start))
            for place in np.divmod(index, image.shape[1])
        )
    ]
    return dict(zip(numbers[start].tolist(), zip(*sides, strict=True), strict=True))
