"""Where there are spots on a frame: matched filter and local maxima."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import erf

from soxs_recipes.reduction.line_centres import FWHM_PER_SIGMA

__all__ = ["Peaks", "detect_peaks"]

_BACKGROUND_WIDTH = 7.0  # of the box that gives the local background, in FWHM


@dataclass(frozen=True, slots=True)
class Peaks:
    """Detected spots, brightest first.

    Attributes
    ----------
    x, y : ndarray (n,) float64 [px]
        To about 0.1 px.
    flux : ndarray (n,) float64 [e-]
        Rough, from the filter.
    significance : ndarray (n,) float64
        Filtered signal over its noise.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    significance: np.ndarray

    def __len__(self) -> int:
        return self.x.size

    def select(self, index: np.ndarray) -> Peaks:
        """Chosen peaks (integers or boolean)."""
        return Peaks(self.x[index], self.y[index], self.flux[index], self.significance[index])


def detect_peaks(
    data: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    *,
    fwhm: float = 2.2,
    threshold: float = 6.0,
    limit: int = 20000,
) -> Peaks:
    """All spots of about a given width.

    Parameters
    ----------
    data : ndarray (ny, nx) [e-]
    variance : ndarray (ny, nx) [e-^2]
    usable : ndarray (ny, nx) bool
        Other pixels count as missing: the filter is normalised by what it saw.
    fwhm : float [px]
    threshold : float
        Significance of the filtered signal.
    limit : int
        At most so many, the brightest.

    Returns
    -------
    Peaks
        A lone bright pixel (hot, or hit by a cosmic ray) is not a spot and is left out.

    Notes
    -----
    The kernel is a Gaussian minus a box mean: it has zero sum, so a constant or sloping background vanishes.
    """
    sigma = max(fwhm, 1.6) / FWHM_PER_SIGMA
    good = usable & np.isfinite(data) & np.isfinite(variance)
    values = np.where(good, data, 0.0).astype(np.float32)
    filtered, weight = _filtered(values, good, sigma, int(2 * round(0.5 * _BACKGROUND_WIDTH * max(fwhm, 1.6)) + 1))
    noise = _noise(variance, good, sigma)
    core = ndimage.maximum_filter(filtered, size=3, mode="constant", cval=np.inf)
    candidates = (filtered >= core) & (filtered > threshold * noise) & (weight > 0.6)
    rows, columns = np.nonzero(candidates)
    if rows.size == 0:
        return Peaks(*(np.zeros(0) for _ in range(4)))
    spot = ~_is_lone_pixel(values, good, rows, columns, _lone_share(fwhm))
    rows, columns = rows[spot], columns[spot]
    flux = filtered[rows, columns].astype(np.float64) * 4.0 * np.pi * sigma**2
    brightest = np.argsort(-flux, kind="stable")[:limit]
    rows, columns, flux = rows[brightest], columns[brightest], flux[brightest]
    y = rows + _parabola(filtered, rows, columns, 0)
    x = columns + _parabola(filtered, rows, columns, 1)
    return Peaks(x, y, flux, (filtered[rows, columns] / noise[rows, columns]).astype(np.float64))


def _filtered(values, good, sigma, box):
    """Zero-sum filtered frame, and the share of the Gaussian kernel that fell on good pixels."""
    smooth = ndimage.gaussian_filter(values, sigma, mode="constant", truncate=3.5)
    mean = ndimage.uniform_filter(values, box, mode="constant")
    seen = good.astype(np.float32)
    border = ndimage.gaussian_filter(seen, sigma, mode="constant", truncate=3.5)
    share = ndimage.uniform_filter(seen, box, mode="constant")
    return smooth / np.maximum(border, 0.3) - mean / np.maximum(share, 0.1), border


def _noise(variance, good, sigma):
    """1 sigma of the filtered frame: the kernel's square sum times the local variance."""
    typical = float(np.median(variance[good])) if good.any() else 1.0
    local = ndimage.uniform_filter(np.where(good, variance, typical).astype(np.float32), 5, mode="nearest")
    return np.sqrt(np.maximum(local, 1.0e-6) / (4.0 * np.pi * sigma**2))


def _lone_share(fwhm):
    """Share of its light in one pixel above which a spot is none: well above that of a centred Gaussian."""
    centred = erf(0.5 * FWHM_PER_SIGMA / (np.sqrt(2.0) * max(fwhm, 0.3))) ** 2
    return float(np.clip(centred + 0.2, 0.75, 0.93))


def _is_lone_pixel(values, good, rows, columns, share):
    """More than a share of the light of a 3 x 3 box above its surroundings in one pixel."""
    ny, nx = values.shape
    offsets = np.arange(-2, 3)
    r = (rows[:, None, None] + offsets[None, :, None]).clip(0, ny - 1)
    c = (columns[:, None, None] + offsets[None, None, :]).clip(0, nx - 1)
    box = np.where(good[r, c], values[r, c], 0.0)
    ring = np.ones((5, 5), dtype=bool)
    ring[1:4, 1:4] = False
    inner = box[:, 1:4, 1:4] - np.median(box[:, ring], axis=1)[:, None, None]
    total = np.maximum(inner, 0.0).sum(axis=(1, 2))
    return inner.max(axis=(1, 2)) > share * total


def _parabola(image, rows, columns, axis):
    """Sub-pixel offset of a maximum from three points along one axis, within half a pixel."""
    size = image.shape[axis]
    index = [rows, columns]
    before, after = list(index), list(index)
    before[axis] = (index[axis] - 1).clip(0, size - 1)
    after[axis] = (index[axis] + 1).clip(0, size - 1)
    low, mid, high = image[tuple(before)], image[tuple(index)], image[tuple(after)]
    bend = np.minimum(low - 2.0 * mid + high, -1.0e-6)
    return (0.5 * (low - high) / bend).clip(-0.5, 0.5).astype(np.float64)
