"""Cosmic rays: single pixels too sharp for any light that came through the optics.

Laplacian edge detection after van Dokkum 2001 (PASP 113, 1420), on what is left after sky and objects have been
subtracted and with the noise of the model, so that bright lines and well-focused objects are not eaten.
"""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["find_cosmic_rays", "laplacian_significance", "narrow_hits"]

_EDGE = 3  # half-size of the patches around candidates
# Share of a pixel's light that a line leaves in one neighbour at least, along the dispersion: 0.36 at 1.7 px FWHM.
_LEAST_NEXT = 0.25
_SURE = 3.0  # sigma by which both neighbours must stay below that


def laplacian_significance(residual: np.ndarray, sigma: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Positive Laplacian of the doubly subsampled image, in units of its noise, at some pixels.

    Parameters
    ----------
    residual : ndarray (ny, nx) [e-]
        0 where masked.
    sigma : ndarray (ny, nx) [e-]
    y, x : ndarray of int
        The pixels.

    Returns
    -------
    ndarray, shape of `y`

    Notes
    -----
    In the subsampled image a quarter pixel has two neighbours in its own pixel and two outside, so that the four
    quarters' Laplacians follow from the pixel's differences to its neighbours (van Dokkum 2001, equations 4 to 9).
    """
    ny, nx = residual.shape
    here = residual[y, x]
    # Beyond the border the image goes on as it ends.
    sideways = [here - residual[y, np.clip(x + step, 0, nx - 1)] for step in (-1, 1)]
    upwards = [here - residual[np.clip(y + step, 0, ny - 1), x] for step in (-1, 1)]
    total = sum(np.maximum(one + other, 0.0) for one in sideways for other in upwards)
    return total / (8.0 * sigma[y, x])


def find_cosmic_rays(
    residual: np.ndarray,
    sigma: np.ndarray,
    usable: np.ndarray,
    *,
    tolerance: np.ndarray | float = 0.0,
    threshold: float = 5.0,
    contrast: float = 4.0,
    growth: float = 3.0,
) -> np.ndarray:
    """Pixels hit by cosmic rays.

    Parameters
    ----------
    residual : ndarray (ny, nx) [e-]
        Data minus model of sky and objects.
    sigma : ndarray (ny, nx) [e-]
        Noise of the model.
    usable : ndarray (ny, nx) bool
        Other pixels count as 0 and are never reported.
    tolerance : ndarray or float [e-]
        By how much the model may be wrong where lines are steep and objects bright; added to the noise.
    threshold : float [sigma]
    contrast : float
        How much sharper than its surroundings a hit must be; light that fills a point-spread function is below 4.
    growth : float [sigma]
        Neighbours of a hit above this are part of it.

    Returns
    -------
    ndarray (ny, nx) bool
    """
    clean, effective = (np.empty(residual.shape, np.float32) for _ in range(2))
    tolerances = tolerance if np.ndim(tolerance) else np.full(sigma.shape, tolerance, sigma.dtype)
    y, x = _candidates(residual, sigma, usable, tolerances, 0.8 * threshold, clean, effective)
    significance = laplacian_significance(clean, effective, y, x)
    y, x, significance = (values[significance > threshold] for values in (y, x, significance))
    hits = np.zeros(residual.shape, dtype=bool)
    if y.size == 0:
        return hits
    around = laplacian_significance(clean, effective, *_patches(clean.shape, y, x, 2))
    sharp = significance - np.median(around, axis=1)
    near, far = (np.median(clean[_patches(clean.shape, y, x, half)], axis=1) for half in (1, _EDGE))
    fine_significance = np.maximum((near - far) / effective[y, x], 0.01)
    chosen = (sharp > threshold) & (significance / fine_significance > contrast)
    hits[y[chosen], x[chosen]] = True
    for _ in range(2):
        hits = _grown(hits, clean, effective, np.float32(growth))
    return hits


@compiled
def _candidates(residual, sigma, usable, tolerance, threshold, clean, effective):
    """Rows and columns of usable pixels above the threshold; leaves light and noise in the last two images."""
    found, count = np.empty((2, 1024), np.intp), 0
    for y in range(residual.shape[0]):
        for x in range(residual.shape[1]):
            clean[y, x] = residual[y, x] if usable[y, x] else 0.0
            effective[y, x] = np.sqrt(sigma[y, x] ** 2 + tolerance[y, x] ** 2)
        for x in range(residual.shape[1]):
            if usable[y, x] and clean[y, x] > threshold * effective[y, x]:
                if count == found.shape[1]:
                    found = np.concatenate((found, np.empty_like(found)), axis=1)
                found[0, count], found[1, count] = y, x
                count += 1
    return found[0, :count].copy(), found[1, :count].copy()


def narrow_hits(
    excess: np.ndarray, sigma: np.ndarray, usable: np.ndarray, stride: int, *, threshold: float = 5.0
) -> np.ndarray:
    """Pixels that rise above both neighbours along the dispersion as no line through the optics can.

    A track along the slit is as long as a line, and where it crosses the target it looks like one; but lines are
    two pixels wide.

    Parameters
    ----------
    excess : ndarray (ny, nx) [e-]
        Data above the sky and the slow course of the objects; lines of theirs are in it.
    sigma : ndarray (ny, nx) [e-]
        Its noise, and by how much sky and course may be wrong.
    usable : ndarray (ny, nx) bool
    stride : int
        Step in the flattened image to the next pixel along the dispersion.
    threshold : float [sigma]

    Returns
    -------
    ndarray (ny, nx) bool
    """
    light, noise, known = excess.ravel(), sigma.ravel(), usable.ravel()
    hits = np.zeros(light.size, dtype=bool)
    peaks = np.flatnonzero(known & (light > threshold * noise))
    beside = np.clip(np.stack([peaks - stride, peaks + stride]), 0, light.size - 1)
    seen = known[beside]
    spare = np.where(seen, _LEAST_NEXT * light[peaks] - light[beside], np.inf)
    error = np.hypot(_LEAST_NEXT * noise[peaks], noise[beside])
    hits[peaks[seen.any(axis=0) & (spare > _SURE * error).all(axis=0)]] = True
    return hits.reshape(excess.shape)


def _grown(hits, light, noise, growth):
    """Hits and those of their eight neighbours that stand above the noise."""
    y, x = np.nonzero(hits)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            rows = np.clip(y + dy, 0, hits.shape[0] - 1)
            columns = np.clip(x + dx, 0, hits.shape[1] - 1)
            hits[rows, columns] |= light[rows, columns] > growth * noise[rows, columns]
    return hits


def _patches(shape, y, x, half):
    """Rows and columns, each (candidates, patch pixels), reflected at the borders."""
    steps = np.arange(-half, half + 1)
    down, right = (values.ravel() for values in np.meshgrid(steps, steps, indexing="ij"))
    return _reflected(y[:, None] + down, shape[0]), _reflected(x[:, None] + right, shape[1])


def _reflected(index, length):
    return length - 1 - np.abs(length - 1 - np.abs(index))
