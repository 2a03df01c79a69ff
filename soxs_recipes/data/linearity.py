"""How the signal of an amplifier departs from proportionality to light, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LinearityCurve"]


@dataclass(frozen=True, slots=True)
class LinearityCurve:
    """Correction of one amplifier: true signal = y (1 + c1 u + c2 u^2 + ...), u = y / reference.

    Attributes
    ----------
    columns : (first, end)
        Half-open, of the trimmed and unbinned frame.
    reference : float [ADU]
    coefficients : tuple of float
        c1, c2, ...; the slope at zero signal is 1.
    limit : float [ADU]
        Read signal up to which the curve was measured.
    """

    columns: tuple[int, int]
    reference: float
    coefficients: tuple[float, ...]
    limit: float

    def corrected(self, signal: np.ndarray) -> np.ndarray:
        """Signal [ADU] as a linear detector would read it; beyond the limit the factor at the limit holds."""
        return signal * self._factor(np.clip(signal, 0.0, self.limit) / self.reference, derivative=False)

    def slope(self, signal: np.ndarray) -> np.ndarray:
        """Derivative of `corrected`."""
        return self._factor(np.clip(signal, 0.0, self.limit) / self.reference, derivative=True)

    def _factor(self, u: np.ndarray, *, derivative: bool) -> np.ndarray:
        total = np.zeros_like(u)
        for power in range(len(self.coefficients), 0, -1):
            weight = power + 1.0 if derivative else 1.0
            total = (total + u.dtype.type(weight * self.coefficients[power - 1])) * u
        return total + u.dtype.type(1.0)

    def deviation(self, signal: np.ndarray) -> np.ndarray:
        """Relative error of uncorrected signals."""
        signal = np.asarray(signal, float)
        return signal / self.corrected(signal) - 1.0
