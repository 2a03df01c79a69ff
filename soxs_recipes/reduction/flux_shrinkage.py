"""A noisy spectrum without most of its noise: what weights and profile fits may know of a source's flux."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

__all__ = ["flux_information", "shrunk_flux"]

# Bins of a running mean, and bins in which is judged what its steps tell beyond noise.
_LEVELS = ((255, 2047), (63, 511), (15, 127), (1, 31))


def flux_information(expected: np.ndarray, sky: np.ndarray, weight: np.ndarray, per_bin) -> np.ndarray:
    """What the pixels tell of a flux in every bin when the sky of the bin has to be found, too: 1/variance.

    Parameters
    ----------
    expected, sky : ndarray (pixels,)
        What a flux of 1 and a sky of 1 leave in each pixel.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    per_bin : callable
        Sums values of pixels over each bin.

    Returns
    -------
    ndarray (bins,) [e-^-2]
        0 in bins without pixels.
    """
    own = per_bin(weight * expected**2)
    both, under = per_bin(weight * expected * sky), per_bin(weight * sky**2)
    return np.maximum(own - both**2 / np.where(under > 0, under, np.inf), 0.0)


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
