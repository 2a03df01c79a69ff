"""Exposures of a lamp that differ in level, combined without favour to bright or faint noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE, QualityFlag
from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.reduction.combine import ranked, row_chunks
from soxs_recipes.reduction.cross_sections import masked_quantile

__all__ = ["CombinedExposures", "combine_exposures"]

_INFORMS = ~np.int32(UNUSABLE)
_CELL, _STEP = 63, 3  # px of a cell that has one colour, and of its sampling


@dataclass(frozen=True, slots=True)
class CombinedExposures:
    """The mean exposure of a lamp.

    Attributes
    ----------
    signal : ndarray (ny, nx) float32 [e-]
        Of an exposure of mean level; background exposures subtracted.
    background_variance : ndarray (ny, nx) float32 [e-^2]
        Variance of `signal` that does not come from the lamp's photons.
    photon_factor : ndarray (ny, nx) float32
        Variance per electron of expected lamp signal: near 1 / number of exposures.
    quality : ndarray (ny, nx) int32
    levels : ndarray (n,) float64
        Level of each exposure in units of their mean.
    rejected : int
        Values left out as hits.
    dropped : tuple of str
        Names of exposures without light, left out.
    """

    signal: np.ndarray
    background_variance: np.ndarray
    photon_factor: np.ndarray
    quality: np.ndarray
    levels: np.ndarray
    rejected: int
    dropped: tuple[str, ...] = ()

    def variance(self, expected: np.ndarray) -> np.ndarray:
        """Variance [e-^2] where the lamp's expected signal is `expected` [e-]: of the model, not of the data."""
        return self.background_variance + self.photon_factor * np.maximum(expected, 0.0)


def combine_exposures(
    frames: Sequence[Frame], lit: np.ndarray, *, off: Sequence[Frame] = (), clip_sigma: float = 6.0
) -> CombinedExposures:
    """Combine exposures of one lamp and setup.

    Electrons are added and divided by the sum of levels: the minimum-variance mean for photon noise, with
    weights that do not depend on the data of a pixel. Hits are values beyond `clip_sigma` of the median over
    the exposures (with two: of the lower one), each scaled by its own level there: a lamp that warms up changes
    colour. Exposures with less than a tenth of the brightest's light are left out and named.

    Parameters
    ----------
    frames : sequence of Frame
        Bias- or dark-subtracted; when `off` is given, without dark subtraction. Their variance is that of the
        readout and the masters: photon noise is reckoned here, from what all exposures tell of the signal.
    lit : ndarray (ny, nx) bool
        Pixels by which levels are compared.
    off : sequence of Frame
        Exposures with the lamp off, prepared as `frames` are.
    clip_sigma : float

    Raises
    ------
    InputError
        No frames, or frames of different shape.
    UnprocessableData
        No frame has light in the orders.
    """
    if not frames:
        raise InputError("no flat exposures to combine")
    if len({frame.shape for frame in (*frames, *off)}) > 1:
        raise InputError("flat exposures differ in shape; give frames of one binning")
    background = _mean_of(off, clip_sigma) if off else None
    nothing = np.broadcast_to(np.float32(0.0), frames[0].shape)
    subtracted = nothing if background is None else background[0]
    frames, dropped = _lit_exposures(frames, lit, subtracted)
    levels = _levels(frames, lit, subtracted)
    kept, local, rejected = _without_hits(frames, levels, subtracted, clip_sigma)
    shape = frames[0].shape
    signal, variance, factor = np.empty((3, *shape), dtype=np.float32)
    quality = np.empty(shape, dtype=np.int32)
    local = [np.broadcast_to(level, shape) for level in local]
    for rows in row_chunks(shape):
        exposures = zip(frames, (level[rows] for level in local), (keep[rows] for keep in kept), strict=True)
        below = None if background is None else [image[rows] for image in background]
        signal[rows], variance[rows], factor[rows], quality[rows] = _mean_of_rows(exposures, rows, below)
    return CombinedExposures(
        signal=signal,
        background_variance=variance,
        photon_factor=factor,
        quality=quality,
        levels=levels,
        rejected=rejected,
        dropped=dropped,
    )


def _mean_of_rows(exposures, rows, background):
    """(signal, variance but for the lamp's photons, variance per electron, quality) of some rows.

    `exposures` are (frame, its level, what of it counts); `background` is as `_mean_of` gives it, or None.
    """
    zero = np.float32(0.0)
    subtracted, offset_variance = (zero, zero) if background is None else background[:2]
    total = variance = shared = exposure = number = zero
    quality = every = np.int32(0)
    for frame, level, keep in exposures:
        exposure = exposure + keep * level
        number = number + keep.astype(np.float32)
        total = total + np.where(keep, frame.data[rows] - subtracted, zero)
        common = zero if frame.shared_variance is None else frame.shared_variance[rows]
        shared = shared + np.where(keep, common, zero)
        own = np.maximum(frame.variance[rows] - common, zero) + np.maximum(subtracted, zero)
        variance = variance + np.where(keep, own, zero)
        quality = quality | np.where(keep, frame.quality[rows] & _INFORMS, 0)
        every = every | frame.quality[rows]
    seen = number > 0
    scale = np.where(seen, 1.0 / np.where(seen, exposure, 1.0), zero).astype(np.float32)
    # What all exposures have in common is averaged, not added in quadrature.
    fraction = number * scale
    shared = np.where(seen, shared / np.where(seen, number, 1.0), zero)
    quality = np.where(seen, quality, every | QualityFlag.NO_DATA)
    if background is not None:
        quality = quality | np.where(background[2], 0, np.int32(QualityFlag.NO_DATA))
    return total * scale, variance * scale**2 + fraction**2 * (shared + offset_variance), scale, quality


def _lit_exposures(frames, lit, subtracted):
    """(exposures that hold light, names of those that hold none)."""
    index = np.flatnonzero(lit)
    index = index[:: max(1, index.size // 50_000)]
    below = subtracted.ravel()[index]
    bright = np.array([np.percentile(frame.data.ravel()[index] - below, 98) for frame in frames])
    noise = np.array([np.sqrt(np.median(frame.variance.ravel()[index])) for frame in frames])
    # One order in fifty may be all that a lamp lights.
    good = (bright > 5.0 * noise) & (bright > 0.1 * bright.max())
    if not good.any():
        raise UnprocessableData("the flat exposures hold no light in the orders; check lamps and shutter")
    dropped = tuple(frame.meta.name for frame, keep in zip(frames, good, strict=True) if not keep)
    return [frame for frame, keep in zip(frames, good, strict=True) if keep], dropped


def _levels(frames, lit, subtracted) -> np.ndarray:
    """Robust ratio of each exposure to their mean, mean 1."""
    usable = lit.copy()
    for frame in frames:
        usable &= frame.usable
    if usable.sum() < 100:
        usable = lit
    index = np.flatnonzero(usable)
    index = index[:: max(1, index.size // 200_000)]
    below = subtracted.ravel()[index]
    values = np.stack([frame.data.ravel()[index] - below for frame in frames]).astype(np.float64)
    reference = np.median(values, axis=0)
    noise = np.sqrt(np.median(frames[0].variance.ravel()[index]))
    bright = reference > max(0.2 * np.percentile(reference, 98), 3.0 * noise)
    values, reference = values[:, bright], reference[bright]
    levels = np.median(values / reference, axis=1)
    for _ in range(2):
        residual = values - levels[:, None] * reference
        spread = 1.4826 * np.median(np.abs(residual), axis=1, keepdims=True)
        good = np.abs(residual) <= 4.0 * np.maximum(spread, 1e-6)
        levels = (values * good).sum(axis=1) / np.maximum((reference * good).sum(axis=1), 1e-6)
    return levels / levels.mean()


def _without_hits(frames, levels, subtracted, clip_sigma):
    """(kept pixels of each exposure, level of each at each pixel, how many values were rejected as hits)."""
    usable = [frame.usable & np.isfinite(frame.data) for frame in frames]
    if len(frames) == 1:
        return usable, [np.float32(1.0)], 0
    levels = levels.astype(np.float32)
    middle = _middle(frames, usable, subtracted, levels)
    kept, local, rejected = [], [], 0
    for frame, level, good in zip(frames, levels, usable, strict=True):

        def place(where, frame=frame, level=level):
            """Exposure in units of its level, median exposure, and variance of the former, of some pixels."""
            light, below = middle[where], subtracted[where]
            variance = frame.variance[where] / level**2
            variance = variance + (np.maximum(light, 0.0) + np.maximum(below, 0.0) / level) / level
            return (frame.data[where] - below) / level, light, variance

        own = _local_ratio(place, good)
        keep = good.copy()
        for rows in row_chunks(good.shape):
            plane, light, variance = place(rows)
            # A value and the median of few share noise; half as much again covers both.
            limit = np.float32(clip_sigma) * np.sqrt(np.float32(1.5) * variance)
            keep[rows] &= np.abs(plane - own[rows] * light) <= limit
        rejected += int(good.sum() - keep.sum())
        kept.append(keep)
        local.append(level * own)
    whole = levels.sum() / sum(local)
    return kept, [level * whole for level in local], rejected


def _local_ratio(place, good):
    """Ratio of an exposure to the median exposure in cells of pixels, 1 where the light is faint."""
    rows, columns = (size // _CELL * _CELL for size in good.shape)
    sample = (slice(0, rows, _STEP), slice(0, columns, _STEP))
    plane, middle, variance = place(sample)
    bright = good[sample] & (middle > 20.0 * np.sqrt(variance)) & (middle > 0)
    ratio = np.where(bright, plane / np.where(bright, middle, 1.0), 1.0)
    side = _CELL // _STEP
    shape = (rows // _CELL, side, columns // _CELL, side)
    ratio, bright = (
        a.reshape(shape).transpose(0, 2, 1, 3).reshape(shape[0], shape[2], -1) for a in (ratio, bright)
    )
    known = bright.sum(axis=-1) >= 40
    cells = _neighbours(np.where(known, masked_quantile(ratio, bright, 0.5), 1.0), known).astype(np.float32)
    fine = np.repeat(np.repeat(cells, _CELL, axis=0), _CELL, axis=1)
    return np.pad(fine, ((0, good.shape[0] - rows), (0, good.shape[1] - columns)), mode="edge")


def _neighbours(cells, known):
    """Cells with the unknown ones taken from the mean of their known neighbours."""
    weight = uniform_filter(known.astype(np.float64), 3, mode="nearest")
    mean = uniform_filter(np.where(known, cells, 0.0), 3, mode="nearest") / np.maximum(weight, 1e-9)
    return np.where(known | (weight < 0.05), cells, mean)


def _middle(frames, usable, below, levels):
    """Median of (exposure - below) / level over usable exposures, of two the lower; 0 where there is none."""
    result = np.empty_like(frames[0].data)
    for rows in row_chunks(result.shape):
        good = np.stack([plane[rows] for plane in usable])
        pairs = zip(frames, levels, strict=True)
        values = np.stack([(frame.data[rows] - below[rows]) / level for frame, level in pairs])
        count = good.sum(axis=0)
        if good.all():
            count = len(frames)
        else:
            values[~good] = np.inf
        low = np.maximum(count - 1, 0) // 2
        high = np.where(count == 2, 0, np.minimum(count // 2, np.maximum(count - 1, 0)))
        if isinstance(count, int):
            low, high = int(low), int(high)
        middle = ranked(values, low)
        middle += values[high] if isinstance(high, int) else np.take_along_axis(values, high[None], axis=0)[0]
        middle *= np.float32(0.5)
        result[rows] = np.where(count > 0, middle, np.float32(0.0))
    return result


def _mean_of(frames, clip_sigma):
    """(mean, variance of the mean, whether any exposure counts) of exposures of one level."""
    usable = [frame.usable & np.isfinite(frame.data) for frame in frames]
    nothing = np.broadcast_to(np.float32(0.0), frames[0].shape)
    middle = _middle(frames, usable, nothing, np.ones(len(frames), np.float32))
    total = np.zeros(middle.shape, dtype=np.float32)
    variance, count = total.copy(), total.copy()
    for frame, good in zip(frames, usable, strict=True):
        for rows in row_chunks(middle.shape):
            spread = np.maximum(frame.variance[rows] + np.maximum(middle[rows], 0.0), 1e-6)
            limit = np.float32(clip_sigma) * np.sqrt(np.float32(1.5) * spread)
            keep = good[rows] & (np.abs(frame.data[rows] - middle[rows]) <= limit)
            total[rows] += np.where(keep, frame.data[rows], 0.0)
            variance[rows] += np.where(keep, spread, 0.0)
            count[rows] += keep
    safe = np.maximum(count, 1.0)
    return total / safe, variance / safe**2, count > 0
