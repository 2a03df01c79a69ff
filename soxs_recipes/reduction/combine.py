"""Clipped combination of frames: few frames, each with its own variance and its own mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import UNUSABLE, QualityFlag
from soxs_recipes.errors import AlgorithmError

__all__ = ["Combination", "combine_frames", "sorting_network"]

# Turns the median absolute deviation of N normal values (about their lower median) into sigma, without bias;
# from 4e5 draws of each N. More values: the normal limit.
_MAD_TO_SIGMA = {3: 2.21, 4: 1.23, 5: 1.80, 6: 1.34, 7: 1.69, 8: 1.38, 9: 1.63}
_MAD_LIMIT = 1.4826
_MEDIAN_VARIANCE = 1.57
# The deviation of a handful of values scatters by a factor of two; this part of it lets real scatter (a drifting
# lamp) pass without letting faint cosmic rays pass, too.
_MAD_SHARE = 0.6
_CHUNK_PIXELS = 1 << 17
_WEIGHTINGS = ("mean", "inverse-variance")


@dataclass(frozen=True, slots=True)
class Combination:
    """What a combination gives.

    Attributes
    ----------
    frame : Frame
    count : ndarray (ny, nx) int16
        How many frames went into each pixel.
    """

    frame: Frame
    count: np.ndarray


def combine_frames(frames: Sequence[Frame], *, clip_sigma: float = 5.0, weighting: str = "mean") -> Combination:
    """Combine frames pixel by pixel, without values that stand out.

    A value is left out when it lies more than `clip_sigma` from the lower median of its pixel. The scale is what
    its variance says, or 0.6 of the pixel's own median absolute deviation (corrected for small N) where that is
    larger, so that neither five values' chance agreement nor a level drift throws good data away. With two frames
    the higher one goes when they disagree (cosmic rays add).

    Parameters
    ----------
    frames : sequence of Frame
        One shape; unusable pixels of each are left out.
    clip_sigma : float
        inf for no clipping.
    weighting : {"mean", "inverse-variance"}
        Weighting by variance is unbiased only when variances come from a model, not from the pixel's own value.

    Returns
    -------
    Combination
        A pixel that is unusable in all frames keeps the mean of what values there are, with all their quality
        bits; without any it is 0 with NO_DATA. Independent variances add as weights squared, shared ones do not
        shrink with N.

    Raises
    ------
    AlgorithmError
        No frame, or frames of different shapes.
    """
    if not frames:
        raise AlgorithmError("no frames to combine", frames=0)
    shape = frames[0].shape
    if any(frame.shape != shape for frame in frames):
        raise AlgorithmError("frames of different shapes cannot be combined", frames=len(frames))
    if weighting not in _WEIGHTINGS:
        raise ValueError(f"weighting must be one of {_WEIGHTINGS}, not {weighting!r}")
    shared = any(frame.shared_variance is not None for frame in frames)
    result = Frame(
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.zeros(shape, np.int32),
        combined_meta([frame.meta for frame in frames]),
        np.empty(shape, np.float32) if shared else None,
    )
    count = np.empty(shape, np.int16)
    for rows in row_chunks(shape):
        _combine_rows(frames, rows, clip_sigma, weighting == "mean", result, count)
    return Combination(result, count)


def combined_meta(metas: Sequence[FrameMeta]) -> FrameMeta:
    """Description of a combination: mean exposure time, first start, last end, number of raw frames."""
    first = metas[0]
    return replace(
        first,
        exposure_time=float(np.mean([meta.exposure_time for meta in metas])),
        mjd_start=min(meta.mjd_start for meta in metas),
        mjd_end=max(meta.mjd_end for meta in metas),
        read_noise=float(np.sqrt(np.mean([meta.read_noise**2 for meta in metas]))),
        saturation=min(meta.saturation for meta in metas),
        airmass=float(np.mean([meta.airmass for meta in metas])),
        combined=sum(meta.combined for meta in metas),
    )


def row_chunks(shape: tuple[int, int], pixels: int = _CHUNK_PIXELS) -> Iterator[slice]:
    """Rows of a frame in pieces that fit the processor's memory."""
    step = max(pixels // max(shape[1], 1), 1)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _combine_rows(
    frames: Sequence[Frame], rows: slice, clip_sigma: float, plain: bool, result: Frame, count: np.ndarray
) -> None:
    values = np.stack([frame.data[rows] for frame in frames])
    variance = np.stack([frame.variance[rows] for frame in frames])
    quality = [frame.quality[rows] for frame in frames]
    flagged = np.bitwise_or.reduce(quality)
    unusable = bool((flagged & np.int32(UNUSABLE)).any())
    kept = np.ones(values.shape, bool)
    if unusable:
        for index, bits in enumerate(quality):
            kept[index] = (bits & np.int32(UNUSABLE)) == 0
    if np.isfinite(clip_sigma) and len(frames) > 1:
        kept &= _agreeing(values, variance, kept, unusable, clip_sigma)
    result.quality[rows] = _surviving_bits(quality, kept, flagged)
    number = kept.sum(axis=0, dtype=np.int16)
    if not number.all():
        _keep_what_there_is(kept, quality, number)
    _average(values, variance, kept, [_shared_rows(frame, rows) for frame in frames], plain, result, rows)
    count[rows] = number
    empty = ~kept.any(axis=0)
    if empty.any():
        result.quality[rows][empty] |= np.int32(QualityFlag.NO_DATA)


def _shared_rows(frame: Frame, rows: slice) -> np.ndarray | None:
    return None if frame.shared_variance is None else frame.shared_variance[rows]


def _agreeing(
    values: np.ndarray, variance: np.ndarray, kept: np.ndarray, masked: bool, clip_sigma: float
) -> np.ndarray:
    """Which values lie within the clip about their pixel's lower median (True where nothing can be said)."""
    number = kept.sum(axis=0) if masked else len(values)
    ordered = np.where(kept, values, np.float32(np.inf)) if masked else values.copy()
    centre = ranked(ordered, (number - 1) // 2)
    if masked:
        centre[number == 0] = 0.0
    deviation = np.abs(values - centre)
    scale = variance
    if len(values) > 2:
        # Masked values count as infinitely far, so they never enter a rank that is asked for.
        ordered = np.where(kept, deviation, np.float32(np.inf)) if masked else deviation.copy()
        spread = ranked(ordered, number // 2 if not masked else np.clip(number // 2, 0, len(values) - 1))
        factor = _mad_factor(number, len(values))
        spread = np.where(np.isfinite(spread), spread, np.float32(0.0)) * factor if masked else spread * factor
        scale = np.maximum(variance, np.square(np.float32(_MAD_SHARE) * spread))
    inflation = _centre_inflation(number, len(values))
    return np.square(deviation) <= np.float32(clip_sigma**2) * inflation * scale


def _mad_factor(number: np.ndarray | int, most: int) -> np.ndarray:
    # One or two values have no deviation of their own: the expected noise alone decides.
    table = [0.0, 0.0, 0.0, *(_MAD_TO_SIGMA.get(n, _MAD_LIMIT) for n in range(3, most + 1))]
    return np.array(table, dtype=np.float32)[number]


def _centre_inflation(number: np.ndarray | int, most: int) -> np.ndarray:
    """Variance of (value - centre) over variance of a value, at most."""
    table = [1.0, 1.0, 2.0, *(1.0 + _MEDIAN_VARIANCE / n for n in range(3, most + 1))]
    return np.array(table, dtype=np.float32)[number]


@cache
def sorting_network(count: int) -> tuple[tuple[int, int], ...]:
    """Compare-exchange pairs that sort `count` values (Batcher 1968, odd-even merge sort)."""
    pairs = []
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                for i in range(min(k, count - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        pairs.append((i + j, i + j + k))  # noqa: PERF401 - the nesting is Batcher's
            k //= 2
        p *= 2
    return tuple(pairs)


def ranked(planes: np.ndarray, rank: np.ndarray | int) -> np.ndarray:
    """The value of a rank at each pixel; `planes` (N, ny, nx) is sorted in place along its first axis."""
    scratch = np.empty_like(planes[0])
    for low, high in sorting_network(len(planes)):
        np.minimum(planes[low], planes[high], out=scratch)
        np.maximum(planes[low], planes[high], out=planes[high])
        planes[low] = scratch
    if isinstance(rank, int):
        return planes[rank].copy()
    return np.take_along_axis(planes, np.maximum(rank, 0)[None], axis=0)[0]


def _surviving_bits(quality: list[np.ndarray], kept: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Quality of the result: bits of the survivors, all bits where there is none."""
    if not flagged.any():
        return flagged
    bits = np.zeros_like(flagged)
    for own, survives in zip(quality, kept, strict=True):
        bits |= np.where(survives, own, 0)
    return np.where(kept.any(axis=0), bits, flagged)


def _keep_what_there_is(kept: np.ndarray, quality: list[np.ndarray], number: np.ndarray) -> None:
    """Where no value is usable, average those that exist (their quality bits tell)."""
    none = number == 0
    for index, bits in enumerate(quality):
        kept[index] |= none & ((bits & np.int32(QualityFlag.NO_DATA)) == 0)


def _average(
    values: np.ndarray,
    variance: np.ndarray,
    kept: np.ndarray,
    shared: list[np.ndarray | None],
    plain: bool,
    result: Frame,
    rows: slice,
) -> None:
    independent = variance
    if result.shared_variance is not None:
        shares = np.stack([np.zeros_like(variance[0]) if part is None else part for part in shared])
        independent = np.maximum(variance - shares, 0.0)
    weights = kept.astype(np.float32)
    if not plain:
        weights /= np.maximum(independent, np.float32(1e-12))
    total = weights.sum(axis=0)
    weights /= np.where(total > 0, total, np.float32(1.0))
    result.data[rows] = np.einsum("kij,kij->ij", weights, np.where(kept, values, np.float32(0.0)))
    result.variance[rows] = np.einsum("kij,kij,kij->ij", weights, weights, independent)
    if result.shared_variance is not None:
        # The same error in every frame: standard deviations add, not variances.
        common = np.square(np.einsum("kij,kij->ij", weights, np.sqrt(shares)))
        result.shared_variance[rows] = common
        result.variance[rows] += common
