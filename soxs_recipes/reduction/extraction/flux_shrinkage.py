"""A noisy spectrum without most of its noise: what weights and profile fits may know of a source's flux."""

from __future__ import annotations

import numpy as np

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
    return _shrunk(flux, information, total, np.array(_LEVELS))


@compiled
def _shrunk(flux, information, total, levels):
    """`shrunk_flux` where `total`, the sum of the information, is above 0."""
    bins = flux.size
    weighted = np.where(information > 0, information * flux, 0.0)
    result, noise = np.full(bins, weighted.sum() / total), np.full(bins, 1.0 / total)
    for width, reach in levels:
        if width >= bins:
            continue
        weight, mean = _running_sum(information, width), _running_sum(weighted, width)
        own, step, step_noise, pull = np.empty(bins), np.zeros(bins), np.ones(bins), np.zeros(bins)
        for i in range(bins):
            own[i] = 1.0 / weight[i] if weight[i] > 1e-9 * total / bins else 0.0  # 0 where nothing is known
            if own[i] > 0:
                step[i] = mean[i] * own[i] - result[i]
                step_noise[i] = max(own[i] - noise[i], 1e-3 * own[i])
                pull[i] = step[i] ** 2 / step_noise[i]
        signal = _signal(pull, step_noise, own > 0, width, min(reach, bins))
        for i in range(bins):
            if own[i] > 0:
                result[i] += signal[i] / (signal[i] + step_noise[i]) * step[i]
                noise[i] = own[i]
    return result


@compiled
def _signal(pull, noise, known, width, reach):
    """What of the steps' squares (`pull` times `noise`) is more than noise, about each bin."""
    # A spread of few independent steps may be large by chance.
    chance = 1.0 + 2.0 * np.sqrt(2.0 * width / reach)
    excess = _running_sum(np.where(known, pull - chance, 0.0), reach)
    precision = _running_sum(np.where(known, 1.0 / noise, 0.0), reach)
    signal = np.empty(pull.size)
    for i in range(pull.size):
        # A lone step may be an emission line: what one bin shows beyond doubt counts as what all show.
        own = max(pull[i] - 25.0, 0.0) * noise[i]
        signal[i] = max(max(excess[i], 0.0) / max(precision[i], 1e-30), own)
    return signal


@compiled
def _running_sum(values, width):
    """Sum over `width` bins about each bin, mirrored at the ends."""
    if width == 1:
        return values
    last = values.size - 1
    before, after = width // 2, width - width // 2 - 1
    total = 0.0
    for i in range(-before, after + 1):
        total += values[last - abs(last - abs(i))]
    result = np.empty(values.size)
    result[0] = total
    for i in range(1, values.size):
        total += values[last - abs(last - i - after)] - values[abs(i - before - 1)]
        result[i] = total
    return result
