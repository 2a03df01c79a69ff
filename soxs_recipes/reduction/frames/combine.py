"""Clipped combination of frames: few frames, each with its own variance and its own mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import UNUSABLE, QualityFlag
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.frames.combine_kernels import combine_pixels

__all__ = ["Combination", "combine_frames", "sorting_network"]

# Turns the median absolute deviation of N normal values (about their lower median) into sigma, without bias;
# from 4e5 draws of each N. More values: the normal limit.
_MAD_TO_SIGMA = {3: 2.21, 4: 1.23, 5: 1.80, 6: 1.34, 7: 1.69, 8: 1.38, 9: 1.63}
_MAD_LIMIT = 1.4826
_MEDIAN_VARIANCE = 1.57
# The deviation of a handful of values scatters by a factor of two; this part of it lets real scatter (a drifting
# lamp) pass without letting faint cosmic rays pass, too.
_MAD_SHARE = 0.6
_CHUNK_PIXELS = 1 << 15
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
    shares = [
        np.broadcast_to(np.float32(0.0), shape) if frame.shared_variance is None else frame.shared_variance
        for frame in frames
    ]
    limits, mad_factors = _tables(len(frames), clip_sigma)
    rules = weighting == "mean", np.int32(UNUSABLE), np.int32(QualityFlag.NO_DATA)
    images, quality = np.empty((3, *shape), np.float32), np.empty(shape, np.int32)
    count = np.empty(shape, np.int16)
    for rows in row_chunks(shape):
        combine_pixels(
            np.stack([frame.data[rows] for frame in frames]), stacked([frame.variance for frame in frames], rows),
            stacked(shares, rows), np.stack([frame.quality[rows] for frame in frames]), limits, mad_factors,
            rules, images[:, rows], quality[rows], count[rows],
        )  # fmt: skip
    data, variance, shared = images
    shared = None if all(frame.shared_variance is None for frame in frames) else shared
    meta = combined_meta([frame.meta for frame in frames])
    return Combination(Frame(data, variance, quality, meta, shared), count)


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


def row_chunks(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of a frame in pieces that fit the processor's memory."""
    step = max(_CHUNK_PIXELS // max(shape[1], 1), 1)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def stacked(images: Sequence[np.ndarray], rows: slice) -> np.ndarray:
    """Rows of some images (n, rows, nx), or (n, rows, 1) when each of them is a view of one number."""
    columns = slice(0, 1) if all(image.strides == (0, 0) for image in images) else slice(None)
    return np.stack([image[rows, columns] for image in images])


def _tables(most: int, clip_sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Of 0 ... `most` values: squared clip over variance, and scale over median deviation."""
    # Variance of (value - centre) over variance of a value, at most.
    inflation = [1.0, 1.0, 2.0, *(1.0 + _MEDIAN_VARIANCE / n for n in range(3, most + 1))][: most + 1]
    # One or two values have no deviation of their own: the expected noise alone decides.
    to_sigma = [0.0, 0.0, 0.0, *(_MAD_TO_SIGMA.get(n, _MAD_LIMIT) for n in range(3, most + 1))][: most + 1]
    clip = np.float32(clip_sigma**2 if np.isfinite(clip_sigma) else np.inf)
    return clip * np.array(inflation, np.float32), np.float32(_MAD_SHARE) * np.array(to_sigma, np.float32)


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
