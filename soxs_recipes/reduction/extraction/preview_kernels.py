"""Loops over the pixels of an order while its first fluxes and profiles are sought."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["add_light", "core_light", "core_pixels", "first_weights"]


@compiled
def core_pixels(
    place: tuple[np.ndarray, np.ndarray],
    slit: np.ndarray,
    footprint: np.ndarray,
    good: np.ndarray,
    curves: np.ndarray,
) -> np.ndarray:
    """Good pixels near a source's core (m,); a pixel is never too far off.

    Parameters
    ----------
    place : (below, share), each (pixels,)
        As from `order_pixels.bins_around`.
    slit, footprint : ndarray (pixels,) [arcsec]
    good : ndarray (pixels,) bool
    curves : ndarray (2, bins) [arcsec]
        Centre of the source and half-width of its core.
    """
    below, share = place
    result, count, last = np.empty(slit.size, np.intp), 0, curves.shape[1] - 1
    for i in range(slit.size):
        a, b = below[i], min(below[i] + 1, last)
        centre = curves[0, a] + share[i] * (curves[0, b] - curves[0, a])
        reach = curves[1, a] + share[i] * (curves[1, b] - curves[1, a])
        if good[i] and abs(slit[i] - centre) < max(reach, 1.3 * footprint[i]):
            result[count] = i
            count += 1
    return result[:count].copy()


@compiled
def core_light(
    place: tuple[np.ndarray, np.ndarray],
    near: np.ndarray,
    data: np.ndarray,
    sensitivity: np.ndarray,
    base_variance: np.ndarray,
    sky: np.ndarray,
    others: np.ndarray,
    profiles: np.ndarray,
) -> np.ndarray:
    """What pixels near a source's core tell of its flux.

    Parameters
    ----------
    place, data, sensitivity, base_variance
        As for `first_weights`, all pixels of the order.
    near : ndarray (m,)
        From `core_pixels`.
    sky : ndarray (bins,) [e-/bin/arcsec]
    others : ndarray (k, bins) [e-/bin]
        Known fluxes of other sources.
    profiles : ndarray (k + 1, m) [1/arcsec]
        Theirs and, last, the source's own in the pixels `near`.

    Returns
    -------
    ndarray (3, m)
        Bin, flux and its error, without the noise of any source.
    """
    below, share = place
    result, last, known = np.empty((3, near.size)), sky.size - 1, len(others)
    for m in range(near.size):
        i = near[m]
        a, b, part = below[i], min(below[i] + 1, last), share[i]
        beneath = (sky[a] + part * (sky[b] - sky[a])) * sensitivity[i]
        light = data[i] - beneath
        for k in range(known):
            light -= (others[k, a] + part * (others[k, b] - others[k, a])) * profiles[k, m] * sensitivity[i]
        response = max(profiles[known, m] * sensitivity[i], 1e-6)
        result[0, m] = b if part > 0.5 else a
        result[1, m] = light / response
        result[2, m] = np.sqrt(base_variance[i] + max(beneath, 0.0)) / response
    return result


@compiled
def add_light(
    place: tuple[np.ndarray, np.ndarray], flux: np.ndarray, response: np.ndarray, model: np.ndarray
) -> None:
    """Add to the model (pixels,) the light of a flux per bin; `response` is what a flux of one leaves."""
    below, share = place
    last = flux.size - 1
    for i in range(model.size):
        here = flux[below[i]]
        model[i] += (here + share[i] * (flux[min(below[i] + 1, last)] - here)) * response[i]


@compiled
def first_weights(
    place: tuple[np.ndarray, np.ndarray],
    good: np.ndarray,
    data: np.ndarray,
    sensitivity: np.ndarray,
    base_variance: np.ndarray,
    flat_share: np.ndarray,
    beneath: np.ndarray,
    skies: np.ndarray,
    fluxes: np.ndarray,
    profiles: np.ndarray,
    source: int,
    rejection: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals about the first model and the weights of pixels that it explains.

    Parameters
    ----------
    place : (below, share), each (pixels,)
        As from `order_pixels.bins_around`.
    good : ndarray (pixels,) bool
    data, sensitivity, base_variance, flat_share : ndarray (pixels,)
        As in `order_fit.OrderFit`.
    beneath : ndarray (pixels,) or (0,) [e-]
        Photons beneath the objects; (0,) where the model tells all of them.
    skies : ndarray (2, bins) [e-/bin/arcsec]
        First sky, and by how much it may be wrong.
    fluxes : ndarray (sources, bins) [e-/bin]
    profiles : ndarray (sources, pixels) [1/arcsec]
    source : int
        Whose light may be wrong by 2 percent.
    rejection : float [sigma]

    Returns
    -------
    residual, weight : ndarray (pixels,) [e-], [e-^-2]
        Data minus model; 1/variance, 0 where masked or hit.
    """
    below, share = place
    residual, weight = np.empty(data.size), np.zeros(data.size)
    last = fluxes.shape[1] - 1
    for i in range(data.size):
        a, b, part = below[i], min(below[i] + 1, last), share[i]
        sky = (skies[0, a] + part * (skies[0, b] - skies[0, a])) * sensitivity[i]
        steep = (skies[1, a] + part * (skies[1, b] - skies[1, a])) * sensitivity[i]
        objects, own = 0.0, 0.0
        for k in range(len(fluxes)):
            light = (fluxes[k, a] + part * (fluxes[k, b] - fluxes[k, a])) * sensitivity[i]
            objects += light * profiles[k, i]
            if k == source:
                own = light
        model = sky + objects
        residual[i] = data[i] - model
        photons = beneath[i] + abs(objects) if beneath.size else max(model, 0.0)
        variance = base_variance[i] + photons + model**2 * flat_share[i] + steep**2
        if good[i] and abs(residual[i]) < rejection * np.sqrt(variance + (0.2 * objects) ** 2):
            weight[i] = 1.0 / (variance + (0.02 * own) ** 2)
    return residual, weight
