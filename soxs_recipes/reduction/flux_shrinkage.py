"""A noisy spectrum without most of its noise: what weights and profile fits may know of a source's flux."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from soxs_recipes.compiled import compiled

__all__ = ["flux_information", "shrunk_flux"]

# Bins of a running mean, and bins in which is judged what its steps tell beyond noise.
_LEVELS = ((255, 2047), (63, 511), (15, 127), (1, 31))


@compiled
def flux_information(
    place: tuple[np.ndarray, np.ndarray],
    profile: np.ndarray,
    sensitivity: np.ndarray,
    weight: np.ndarray,
    bins: int,
) -> np.ndarray:
    """What the pixels tell of a flux in every bin when the sky of the bin has to be found, too: 1/variance.

    Parameters
    ----------
    place : (below, share), each (pixels,)
        As from `order_pixels.bins_around`.
    profile, sensitivity : ndarray (pixels,)
        What a flux of 1 leaves in each pixel over what a sky of 1 leaves, and the latter.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    bins : int

    Returns
    -------
    ndarray (bins,) [e-^-2]
        0 in bins without pixels.
    """
    below, share = place
    own, both, under = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    for i in range(below.size):
        k = below[i] + 1 if share[i] > 0.5 else below[i]
        sky = weight[i] * sensitivity[i] ** 2
        under[k] += sky
        both[k] += sky * profile[i]
        own[k] += sky * profile[i] ** 2
    for k in range(bins):
        if under[k] > 0:
            own[k] = max(own[k] - both[k] ** 2 / under[k], 0.0)
    return own


def shrunk_flux(flux: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Flux pulled to its running means as far as noise explains its scatter.

    From the mean over all bins to means over ever fewer, every step is taken by the share of its square that noise
    cannot explain (an empirical-Bayes estimate: James & Stein 1961, with levels). Where the signal-to-noise of a
    bin is high the flux stays as it is; where even hundreds of bins show nothing it is their mean.

    Parameters
    ----------
    flux, information : ndarray (bins,) [e-, e-^-2]

    Returns
    -------
    ndarray (bins,) [e-]
    """
    total = information.sum()
    if not total > 0:
        return np.full(flux.size, flux.mean())
    flux = np.where(information > 0, flux, 0.0)
    result = np.full(flux.size, float((information * flux).sum() / total))
    noise = 1.0 / total
    for width, reach in _LEVELS:
        if width >= flux.size:
            continue
        weight = _running_sum(information, width)
        known = weight > 1e-9 * total / flux.size
        own = 1.0 / np.where(known, weight, 1.0)
        mean = np.where(known, _running_sum(information * flux, width) * own, result)
        step, step_noise = mean - result, np.maximum(own - noise, 1e-3 * own)
        share = _share(step, step_noise, known, width, min(reach, flux.size))
        result = result + share * step
        noise = np.where(known, own, noise)
    return result


def _share(step, noise, known, width, reach):
    """Part of every step that is more than noise."""
    # A spread of few independent steps may be large by chance.
    chance = 1.0 + 2.0 * np.sqrt(2.0 * width / reach)
    # A lone step may be an emission line: what one bin shows beyond doubt counts as what all show.
    pull = np.where(known, step**2 / noise, 0.0)
    excess = _running_sum(np.where(known, pull - chance, 0.0), reach)
    signal = np.maximum(excess, 0.0) / np.maximum(_running_sum(np.where(known, 1.0 / noise, 0.0), reach), 1e-30)
    own = np.maximum(pull - 25.0, 0.0) * noise
    signal = np.maximum(signal, own)
    return np.where(known, signal / (signal + noise), 0.0)


def _running_sum(values: np.ndarray, width: int) -> np.ndarray:
    """Sum over `width` (odd) bins about each bin, mirrored at the ends."""
    return values if width == 1 else uniform_filter1d(values, width, mode="mirror") * width
