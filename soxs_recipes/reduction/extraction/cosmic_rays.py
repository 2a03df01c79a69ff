"""Cosmic rays: single pixels too sharp for any light that came through the optics.

Laplacian edge detection after van Dokkum 2001 (PASP 113, 1420), on what is left after sky and objects have been
subtracted and with the noise of the model, so that bright lines and well-focused objects are not eaten.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["HitImages", "find_cosmic_rays", "grow_hits", "laplacian_significance", "narrow_hits"]

_SUSPECT = 0.8  # of the threshold
_EDGE = 3  # half-size of the patches around candidates
# Share of a pixel's light that a line leaves in one neighbour at least, along the dispersion: 0.36 at 1.7 px FWHM.
_LEAST_NEXT = 0.25
_LEAST_ASLANT = 0.1  # the same in diagonal neighbours of the brightest pixel: 0.15 at 1.7 px FWHM
_SURE = 3.0  # sigma by which both neighbours must stay below that


def laplacian_significance(light: Callable, sigma: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Positive Laplacian of the doubly subsampled image, in units of its noise, at some pixels.

    Parameters
    ----------
    light : callable
        The image's values [e-] at rows and columns.
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
    ny, nx = sigma.shape
    here = light(y, x)
    # Beyond the border the image goes on as it ends.
    sideways = [here - light(y, np.clip(x + step, 0, nx - 1)) for step in (-1, 1)]
    upwards = [here - light(np.clip(y + step, 0, ny - 1), x) for step in (-1, 1)]
    total = sum(np.maximum(one + other, 0.0) for one in sideways for other in upwards)
    return total / (8.0 * sigma[y, x])


def find_cosmic_rays(
    residual: np.ndarray,
    sigma: np.ndarray,
    usable: np.ndarray,
    *,
    sign: float = 1.0,
    threshold: float = 5.0,
    contrast: float = 4.0,
    growth: float = 3.0,
    suspects: np.ndarray | None = None,
) -> np.ndarray:
    """Pixels hit by cosmic rays.

    Parameters
    ----------
    residual : ndarray (ny, nx) [e-]
        Data minus model of sky and objects.
    sigma : ndarray (ny, nx) [e-]
        Noise of the model, and by how much it may be wrong where lines are steep and objects bright.
    usable : ndarray (ny, nx) bool
        Other pixels count as 0 and are never reported.
    sign : float
        -1 for hits that were subtracted.
    threshold : float [sigma]
    contrast : float
        How much sharper than its surroundings a hit must be; light that fills a point-spread function is below 4.
    growth : float [sigma]
        Neighbours of a hit above this are part of it.
    suspects : ndarray (n,) int or None
        Places in the flattened image beside which nothing stands out, as from `HitImages.put`.

    Returns
    -------
    ndarray (ny, nx) bool
    """

    def light(y, x):
        return np.where(usable[y, x], sign * residual[y, x], 0.0)

    above = _above(residual, sigma, usable, sign, _SUSPECT * threshold, suspects)
    y, x = np.divmod(above, residual.shape[1])
    significance = laplacian_significance(light, sigma, y, x)
    y, x, significance = (values[significance > threshold] for values in (y, x, significance))
    hits = np.zeros(residual.shape, dtype=bool)
    if y.size == 0:
        return hits
    around = laplacian_significance(light, sigma, *_patches(hits.shape, y, x, 2))
    sharp = significance - np.median(around, axis=1)
    nine = light(*_patches(hits.shape, y, x, 1))
    far = np.median(light(*_patches(hits.shape, y, x, _EDGE)), axis=1)
    fine_significance = np.maximum((np.median(nine, axis=1) - far) / sigma[y, x], 0.01)
    chosen = (sharp > threshold) & (significance / fine_significance > contrast)
    hits[y[chosen], x[chosen]] = True
    # Within a track aslant the median of nine pixels is light of the track, and only its ends are sharp beside it.
    across = np.minimum(nine[:, [0, 8]].max(axis=1), nine[:, [2, 6]].max(axis=1))
    follows = np.zeros(hits.shape, dtype=bool)
    follows[y, x] = (sharp > threshold) & (across < np.maximum(_LEAST_ASLANT * nine[:, 4], growth * sigma[y, x]))
    grow_hits(hits, lambda y, x: follows[y, x], rounds=hits.size)
    grow_hits(hits, lambda y, x: light(y, x) > growth * sigma[y, x])
    return hits


def grow_hits(hits: np.ndarray, is_part: Callable, rounds: int = 2) -> None:
    """Take into the hits (ny, nx) bool, `rounds` times, those of their eight neighbours that are part of one.

    `is_part` (rows, columns) tells.
    """
    y, x = np.divmod(np.flatnonzero(hits), hits.shape[1])
    for _ in range(rounds):
        if not y.size:
            break
        beside = np.unique(np.ravel_multi_index(_patches(hits.shape, y, x, 1), hits.shape))
        y, x = np.divmod(beside, hits.shape[1])
        chosen = is_part(y, x) & ~hits[y, x]
        y, x = y[chosen], x[chosen]
        hits[y, x] = True


def _above(light, sigma, usable, sign, threshold, suspects):
    """Places in the flattened image of usable pixels with light, times the sign, above the threshold in sigma.

    Among the suspects, unless they are None.
    """
    if suspects is None:
        return _all_above(light, sigma, usable, sign, threshold)
    stands_out = sign * light.take(suspects) > threshold * sigma.take(suspects)
    return suspects[stands_out & usable.take(suspects)]


@compiled
def _all_above(light, sigma, usable, sign, threshold):
    """`_above`, among all pixels."""
    found, count = np.empty(1024, np.intp), 0
    nx = light.shape[1]
    for y in range(light.shape[0]):
        for x in range(nx):
            if usable[y, x] and sign * light[y, x] > threshold * sigma[y, x]:
                if count == found.size:
                    found = np.concatenate((found, np.empty_like(found)))
                found[count] = y * nx + x
                count += 1
    return found[:count].copy()


def narrow_hits(
    excess: np.ndarray,
    sigma: np.ndarray,
    usable: np.ndarray,
    stride: int,
    *,
    sign: float = 1.0,
    threshold: float = 5.0,
    suspects: np.ndarray | None = None,
) -> np.ndarray:
    """Pixels that rise above both neighbours along the dispersion as no line through the optics can.

    A track along the slit is as long as a line, and where it crosses the target it looks like one; but lines are
    two pixels wide.

    Parameters
    ----------
    excess : ndarray (ny, nx) [e-]
        Data above the sky and the continuum of the objects; lines of theirs are in it.
    sigma : ndarray (ny, nx) [e-]
        Its noise, and by how much sky and continuum may be wrong.
    usable : ndarray (ny, nx) bool
    stride : int
        Step in the flattened image to the next pixel along the dispersion.
    sign : float
        -1 for hits that were subtracted.
    threshold : float [sigma]
    suspects : ndarray (n,) int or None
        As for `find_cosmic_rays`.

    Returns
    -------
    ndarray (ny, nx) bool
    """
    light, noise, known = excess.ravel(), sigma.ravel(), usable.ravel()
    hits = np.zeros(light.size, dtype=bool)
    peaks = _above(excess, sigma, usable, sign, threshold, suspects)
    beside = np.clip(np.stack([peaks - stride, peaks + stride]), 0, light.size - 1)
    seen = known[beside]
    spare = np.where(seen, sign * (_LEAST_NEXT * light[peaks] - light[beside]), np.inf)
    error = np.hypot(_LEAST_NEXT * noise[peaks], noise[beside])
    hits[peaks[seen.any(axis=0) & (spare > _SURE * error).all(axis=0)]] = True
    return hits.reshape(excess.shape)


def _patches(shape, y, x, half):
    """Rows and columns, each (candidates, patch pixels), reflected at the borders."""
    steps = np.arange(-half, half + 1)
    down, right = (values.ravel() for values in np.meshgrid(steps, steps, indexing="ij"))
    return _reflected(y[:, None] + down, shape[0]), _reflected(x[:, None] + right, shape[1])


def _reflected(index, length):
    return length - 1 - np.abs(length - 1 - np.abs(index))


class HitImages:
    """Images in which the hits of an exposure are sought in several steps; they are large and made once.

    Parameters
    ----------
    shape : (ny, nx)

    Attributes
    ----------
    light, sigma : ndarray (ny, nx) float32
    usable : ndarray (ny, nx) bool
        As `find_cosmic_rays` takes them, no light anywhere until it is put there.
    """

    def __init__(self, shape: tuple[int, int]):
        self.light, self.sigma = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        self.usable = np.zeros(shape, dtype=bool)

    def put(
        self, index: np.ndarray, light: np.ndarray, variance: np.ndarray, usable: np.ndarray, threshold: float
    ) -> np.ndarray:
        """Put light and its noise at places (n,) of the flattened images.

        Returns
        -------
        ndarray (m,) int
            Those where the light, of either sign, could be a hit at this threshold [sigma].
        """
        images = (self.light.reshape(-1), self.sigma.reshape(-1), self.usable.reshape(-1))
        # Single precision rounds: a hair below the limit counts.
        limit = 0.999 * _SUSPECT * threshold
        return _put_light(index, light, variance, usable, limit**2, *images)


@compiled
def _put_light(index, light, variance, usable, limit, all_light, all_sigma, all_usable):
    """`HitImages.put`; `limit` is that of squared light over variance."""
    suspects, count = np.empty(index.size, np.intp), 0
    for i in range(index.size):
        k = index[i]
        all_light[k], all_sigma[k], all_usable[k] = light[i], np.sqrt(variance[i]), usable[i]
        if usable[i] and light[i] ** 2 > limit * variance[i]:
            suspects[count] = k
            count += 1
    return suspects[:count].copy()
