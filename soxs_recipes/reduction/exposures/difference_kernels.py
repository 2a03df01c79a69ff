"""One exposure taken from another, pixel by pixel in one pass."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["subtract_exposure"]


@compiled
def subtract_exposure(weight, exposure, sums):
    """Take an exposure into the sums of a difference.

    Parameters
    ----------
    weight : float32
    exposure : (light, base variance, shared variance (0,) for none) float32, quality int32, flat images
    sums : (subtracted light, photons, variance without masters' noise, amplitude of masters' noise (0,) where that
        is known to cancel) float32, quality int32, flat images
        Changed.
    """
    light, base, shared, quality = exposure
    subtracted, photons, variance, amplitude, quality_sum = sums
    square = weight * weight
    for k in range(light.size):
        common = max(shared[k], np.float32(0.0)) if shared.size else np.float32(0.0)
        subtracted[k] += weight * light[k]
        photons[k] += square * light[k]
        variance[k] += square * (base[k] - common)
        quality_sum[k] |= quality[k]
        if amplitude.size:
            amplitude[k] -= weight * np.sqrt(common)
