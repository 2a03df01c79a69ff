"""Wavelength, slit position and order of each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import find_objects

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
            boxes = find_objects(self.order)
            self._windows.update({number: box for number, box in enumerate(boxes, start=1) if box is not None})
        return self._windows.get(order)

    @property
    def orders(self) -> tuple[int, ...]:
        """Order numbers present."""
        self.window(0)
        return tuple(sorted(self._windows))
