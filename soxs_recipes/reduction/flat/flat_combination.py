"""Exposures of a lamp that differ in level, combined without favour to bright or faint noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE, QualityFlag, is_usable
from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.reduction.frames.combine import ranked, row_chunks, sorting_network, stacked
from soxs_recipes.reduction.frames.combine_kernels import add_exposures
from soxs_recipes.reduction.orders.cross_sections import masked_quantile

__all__ = ["CombinedExposures", "combine_exposures"]

_SAMPLE = 60_000  # pixels that tell an exposure's level, to 1e-4
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
    shape = frames[0].shape
    background = _mean_of(off, clip_sigma) if off else None
    below = np.zeros(shape, np.float32) if background is None else background[0]
    frames, dropped = _lit_exposures(frames, lit, below)
    levels = _levels(frames, lit, below)
    ratios = _local_ratios(frames, levels, below)
    signal, variance, factor = np.empty((3, *shape), dtype=np.float32)
    quality = np.empty(shape, dtype=np.int32)
    rejected = 0
    for rows in row_chunks(shape):
        added = _added_rows(frames, rows, below, levels, ratios, clip_sigma)
        rejected += added.rejected
        under = None if background is None else [image[rows] for image in background]
        signal[rows], variance[rows], factor[rows], quality[rows] = _mean_of_rows(added, under)
    return CombinedExposures(
        signal=signal,
        background_variance=variance,
        photon_factor=factor,
        quality=quality,
        levels=levels,
        rejected=rejected,
        dropped=dropped,
    )


@dataclass(frozen=True, slots=True)
class _Added:
    """Sums over exposures, images of some rows; see `combine_kernels.add_exposures`."""

    total: np.ndarray
    own_variance: np.ndarray
    shared: np.ndarray
    exposure: np.ndarray
    number: np.ndarray
    middle: np.ndarray
    informing: np.ndarray
    every: np.ndarray
    rejected: int


def _added_rows(frames, rows, below, levels, ratios, clip_sigma) -> _Added:
    """Exposures added without hits, in some rows of the frame."""
    values, quality = (np.stack([getattr(frame, name)[rows] for frame in frames]) for name in ("data", "quality"))
    nothing = np.broadcast_to(np.float32(0.0), frames[0].shape)
    variance = stacked([frame.variance for frame in frames], rows)
    shared = stacked([nothing if f.shared_variance is None else f.shared_variance for f in frames], rows)
    sums, bits = np.empty((6, *values.shape[1:]), np.float32), np.empty((2, *values.shape[1:]), np.int32)
    pairs = np.array(sorting_network(len(frames)), dtype=np.int64).reshape(-1, 2)
    # A value and the median of few share noise; half as much again covers both.
    clip = np.float32(1.5 * clip_sigma**2)
    rejected = add_exposures(
        values, variance, shared, quality, below[rows], levels.astype(np.float32), ratios,
        _CELL, rows.start, pairs, clip, np.int32(UNUSABLE), sums, bits,
    )  # fmt: skip
    return _Added(*sums, *bits, rejected)


def _mean_of_rows(added, background):
    """(signal, variance but for the lamp's photons, variance per electron, quality) of some rows.

    `background` is as `_mean_of` gives it, or None.
    """
    zero = np.float32(0.0)
    seen = added.number > 0
    scale = np.where(seen, np.float32(1.0) / np.where(seen, added.exposure, np.float32(1.0)), zero)
    # What all exposures have in common is averaged, not added in quadrature.
    shared = np.where(seen, added.shared / np.where(seen, added.number, np.float32(1.0)), zero)
    variance, quality = added.own_variance, np.where(seen, added.informing, added.every | QualityFlag.NO_DATA)
    if background is not None:
        mean, offset_variance, known = background
        variance = variance + added.number * np.maximum(mean, zero)
        shared = shared + offset_variance
        quality = quality | np.where(known, 0, np.int32(QualityFlag.NO_DATA))
    return added.total * scale, variance * scale**2 + (added.number * scale) ** 2 * shared, scale, quality


def _lit_exposures(frames, lit, subtracted):
    """(exposures that hold light, names of those that hold none)."""
    index = np.flatnonzero(lit)
    place = np.unravel_index(index[:: max(1, index.size // 50_000)], lit.shape)
    bright = np.array([np.percentile(frame.data[place] - subtracted[place], 98) for frame in frames])
    noise = np.array([np.sqrt(np.median(frame.variance[place])) for frame in frames])
    # One order in fifty may be all that a lamp lights.
    good = (bright > 5.0 * noise) & (bright > 0.1 * bright.max())
    if not good.any():
        raise UnprocessableData("the flat exposures hold no light in the orders; check lamps and shutter")
    dropped = tuple(frame.meta.name for frame, keep in zip(frames, good, strict=True) if not keep)
    return [frame for frame, keep in zip(frames, good, strict=True) if keep], dropped


def _levels(frames, lit, subtracted) -> np.ndarray:
    """Robust ratio of each exposure to their mean, mean 1."""
    index = np.flatnonzero(lit)
    index = index[:: max(1, -(-index.size // _SAMPLE))]
    usable = np.logical_and.reduce([is_usable(frame.quality.ravel()[index]) for frame in frames])
    if usable.sum() >= 100:
        index = index[usable]
    below = subtracted.ravel()[index]
    values = np.stack([frame.data.ravel()[index] - below for frame in frames])
    ordered = values.copy()
    reference = 0.5 * (ranked(ordered, (len(frames) - 1) // 2) + ordered[len(frames) // 2]).astype(np.float64)
    values = values.astype(np.float64)
    noise = np.sqrt(np.median(frames[0].variance[np.unravel_index(index, lit.shape)]))
    bright = reference > max(0.2 * np.percentile(reference, 98), 3.0 * noise)
    values, reference = values[:, bright], reference[bright]
    levels = np.median(values / reference, axis=1)
    for _ in range(2):
        residual = values - levels[:, None] * reference
        spread = 1.4826 * np.median(np.abs(residual), axis=1, keepdims=True)
        good = np.abs(residual) <= 4.0 * np.maximum(spread, 1e-6)
        levels = (values * good).sum(axis=1) / np.maximum((reference * good).sum(axis=1), 1e-6)
    return levels / levels.mean()


def _local_ratios(frames, levels, subtracted):
    """Two grids of cells of pixels for each exposure, (2, n, cells, cells) float32.

    Its ratio to the median exposure in units of its level, 1 where the light is faint; the level it counts by.
    """
    if len(frames) == 1:
        return np.ones((2, 1, 1, 1), np.float32)
    rows, columns = (size // _CELL * _CELL for size in frames[0].shape)
    sample = (slice(0, rows, _STEP), slice(0, columns, _STEP))
    below = subtracted[sample]
    usable = np.stack([is_usable(frame.quality[sample]) & np.isfinite(frame.data[sample]) for frame in frames])
    sampled = list(zip(frames, levels.astype(np.float32), strict=True))
    planes = np.stack([(frame.data[sample] - below) / level for frame, level in sampled])
    middle = _middle(planes, usable)
    ratios = []
    for (frame, level), plane, good in zip(sampled, planes, usable, strict=True):
        light = np.maximum(middle, 0.0) + np.maximum(below, 0.0) / level
        variance = frame.variance[sample] / level**2 + light / level
        bright = good & (middle > 0) & (np.square(middle) > np.float32(400.0) * variance)
        ratios.append(_cell_medians(np.where(bright, plane / np.where(bright, middle, 1.0), 1.0), bright))
    ratios = np.stack(ratios)
    local = levels[:, None, None] * ratios
    return np.stack([ratios, local * (levels.sum() / local.sum(axis=0))]).astype(np.float32)


def _cell_medians(ratio, bright):
    """Median of each cell's bright pixels, its neighbours' mean where they are few."""
    side = _CELL // _STEP
    shape = (ratio.shape[0] // side, side, ratio.shape[1] // side, side)
    ratio, bright = (
        a.reshape(shape).transpose(0, 2, 1, 3).reshape(shape[0], shape[2], -1) for a in (ratio, bright)
    )
    known = bright.sum(axis=-1) >= 40
    return _neighbours(np.where(known, masked_quantile(ratio, bright, 0.5), 1.0), known)


def _neighbours(cells, known):
    """Cells with the unknown ones taken from the mean of their known neighbours."""
    weight = uniform_filter(known.astype(np.float64), 3, mode="nearest")
    mean = uniform_filter(np.where(known, cells, 0.0), 3, mode="nearest") / np.maximum(weight, 1e-9)
    return np.where(known | (weight < 0.05), cells, mean)


def _middle(planes, good):
    """Median over the good ones of planes (n, ny, nx), of two the lower; 0 where there is none."""
    planes = np.where(good, planes, np.float32(np.inf))
    count = good.sum(axis=0)
    low = np.maximum(count - 1, 0) // 2
    high = np.where(count == 2, 0, np.minimum(count // 2, np.maximum(count - 1, 0)))
    middle = ranked(planes, low)
    middle += np.take_along_axis(planes, high[None], axis=0)[0]
    return np.where(count > 0, np.float32(0.5) * middle, np.float32(0.0))


def _mean_of(frames, clip_sigma):
    """(mean, variance of the mean, whether any exposure counts) of exposures of one level."""
    shape, levels = frames[0].shape, np.ones(len(frames), np.float32)
    nothing, ratios = np.zeros(shape, np.float32), np.ones((2, len(frames), 1, 1), np.float32)
    mean, variance, known = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, bool)
    for rows in row_chunks(shape):
        added = _added_rows(frames, rows, nothing, levels, ratios, clip_sigma)
        safe = np.maximum(added.number, np.float32(1.0))
        photons = added.number * np.maximum(added.middle, np.float32(0.0))
        mean[rows], known[rows] = added.total / safe, added.number > 0
        variance[rows] = (added.own_variance + added.shared + photons) / safe**2
    return mean, variance, known
