"""Wavelength, slit position and order of each pixel."""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def orders(self) -> tuple[int, ...]:
        """Order numbers present."""
        return tuple(int(number) for number in np.unique(self.order) if number)
