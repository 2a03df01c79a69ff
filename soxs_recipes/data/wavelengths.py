"""Air and vacuum wavelengths, converted here and nowhere else."""

from __future__ import annotations

import numpy as np

__all__ = ["air_to_vacuum", "vacuum_to_air"]


def _refractivity(vacuum_nm: np.ndarray) -> np.ndarray:
    """n - 1 of standard air (Morton 2000, ApJS 130, 403, equation 8)."""
    s2 = (1.0e3 / vacuum_nm) ** 2
    return 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2)


def vacuum_to_air(vacuum_nm: np.ndarray) -> np.ndarray:
    """Air wavelengths [nm] of vacuum wavelengths [nm]; NaN stays NaN."""
    vacuum_nm = np.asarray(vacuum_nm, dtype=np.float64)
    return vacuum_nm / (1.0 + _refractivity(vacuum_nm))


def air_to_vacuum(air_nm: np.ndarray) -> np.ndarray:
    """Vacuum wavelengths [nm] of air wavelengths [nm], inverse of `vacuum_to_air` to 1e-12; NaN stays NaN."""
    air_nm = np.asarray(air_nm, dtype=np.float64)
    vacuum = air_nm * (1.0 + _refractivity(air_nm))
    for _ in range(3):
        vacuum = air_nm * (1.0 + _refractivity(vacuum))
    return vacuum
