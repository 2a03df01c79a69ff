"""The light along the slit at several positions of the telescope, laid out on the sky."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["SlitMap"]


@dataclass(frozen=True, slots=True)
class SlitMap:
    """A map of a field, one plane an order.

    Attributes
    ----------
    orders : tuple of int
    bands : tuple of str
        Names of the orders.
    across : ndarray (steps,) [arcsec]
        Slit positions on the sky across the slit, evenly spaced, ascending.
    along : ndarray (rows,) [arcsec]
        Along the slit, evenly spaced, ascending.
    flux : ndarray (orders, rows, steps)
        Sky-subtracted surface brightness, mean of the order, in `unit`; NaN where no exposure looked.
    error : ndarray (orders, rows, steps)
        1 sigma.
    centre : (ra, dec) [deg]
        Where across and along are 0.
    position_angle : float [deg]
        Of the slit's positive half, from north to east; across, positive is 90 degrees on to the east.
    unit : str
    """

    orders: tuple[int, ...]
    bands: tuple[str, ...]
    across: np.ndarray = field(repr=False)
    along: np.ndarray = field(repr=False)
    flux: np.ndarray = field(repr=False)
    error: np.ndarray = field(repr=False)
    centre: tuple[float, float]
    position_angle: float
    unit: str

    @property
    def across_step(self) -> float:
        """Width of a step [arcsec]."""
        return float(self.across[1] - self.across[0]) if self.across.size > 1 else 1.0

    @property
    def along_step(self) -> float:
        """Height of a row [arcsec]."""
        return float(self.along[1] - self.along[0]) if self.along.size > 1 else 1.0
