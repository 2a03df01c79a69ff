"""Where there are spots on a frame: matched filter and local maxima."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from soxs_recipes.reduction.dispersion.detection_kernels import filtered_frame, local_maxima
from soxs_recipes.reduction.dispersion.line_centres import FWHM_PER_SIGMA

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
    data, variance = (np.ascontiguousarray(image, dtype=np.float32) for image in (data, variance))
    filtered, weight = filtered_frame(data, good, _kernel(sigma), round(0.5 * _BACKGROUND_WIDTH * max(fwhm, 1.6)))
    typical = float(np.median(variance[good])) if good.any() else 1.0
    area = 4.0 * np.pi * sigma**2
    rows, columns, noise = local_maxima(filtered, weight, variance, good, typical, area, threshold)
    if rows.size == 0:
        return Peaks(*(np.zeros(0) for _ in range(4)))
    spot = ~_is_lone_pixel(data, good, rows, columns, _lone_share(fwhm))
    rows, columns, noise = rows[spot], columns[spot], noise[spot]
    flux = filtered[rows, columns].astype(np.float64) * area
    brightest = np.argsort(-flux, kind="stable")[:limit]
    rows, columns, flux, noise = rows[brightest], columns[brightest], flux[brightest], noise[brightest]
    y = rows + _parabola(filtered, rows, columns, 0)
    x = columns + _parabola(filtered, rows, columns, 1)
    return Peaks(x, y, flux, filtered[rows, columns] / noise)


def _kernel(sigma):
    """A Gaussian out to 3.5 sigma, of sum 1."""
    reach = int(3.5 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return kernel / kernel.sum()


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
