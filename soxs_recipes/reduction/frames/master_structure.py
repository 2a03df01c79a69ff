"""A master without most of its noise: smooth structure where it suffices, measured values where it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE
from soxs_recipes.reduction.frames.frame_scatter import thinned
from soxs_recipes.reduction.frames.master_kernels import denoised, region_means, structure_step
from soxs_recipes.reduction.numerics.quick_statistics import mean_below, spread_linearly

__all__ = ["WEIGHT_FLOOR", "DenoisedMaster", "denoise_master"]

# A pixel keeps this much of its deviation from the structure even when noise alone explains it. It costs some
# 12 % of the master's noise variance (1.2 % of signal-to-noise at most, five frames) and makes the error of the
# result pixel noise of known size, not the structure's error, which neighbours share and nobody can bound.
WEIGHT_FLOOR = 0.3
# Deviations [sigma] between which a pixel goes over from the structure to its own value.
_RAMP = (2.5, 3.5)
_CLIP_SIGMA = 4.0
_BLOCK = 64
# Shapes (y, x) of regions in which structure that the model lacks would show, and the sigma that proves it.
_REGIONS = ((128, 1), (1, 128), (16, 16))
_REGION_SIGMA = 5.5
_PATTERN_SIGMA = 4.0
# The pattern is judged by the core, which warm pixels hardly reach.
_CORE = 1.5
_CORE_VARIANCE = 0.55152  # of a normal deviate, within 1.5 sigma
_ITERATIONS = 3


@dataclass(frozen=True, slots=True)
class DenoisedMaster:
    """What denoising gives.

    Attributes
    ----------
    frame : Frame
        Value = structure + weight (measured - structure); its variance is that of this value.
    structure : ndarray (ny, nx) float32 [e-]
    pattern_variance : float [e-^2]
        Fixed pixel-to-pixel pattern beyond the noise, 0 when the noise explains all.
    kept_fraction : float
        Fraction of pixels that keep their measured value.
    noise_fraction : float
        Mean squared noise that is left, over that of the measured values.
    """

    frame: Frame
    structure: np.ndarray
    pattern_variance: float
    kept_fraction: float
    noise_fraction: float


def denoise_master(master: Frame, *, weight_floor: float = WEIGHT_FLOOR) -> DenoisedMaster:
    """Replace a master's noise by its structure, where nothing says that a pixel is different.

    The structure is the sum of a smooth surface (means of blocks), a profile along x and one along y, fitted
    without deviating pixels. A pixel then moves towards it: by an empirical-Bayes weight (James & Stein 1961) from
    the pixel-to-pixel pattern that exceeds the noise, at least `weight_floor`, rising to 1 where the pixel itself
    deviates by 3.5 sigma, and 1 in regions (pieces of columns, of rows, squares) whose mean deviates. For noise
    alone value and variance are scaled together, so pulls stay normal.

    Parameters
    ----------
    master : Frame
        Its variance must be that of the measured values.
    weight_floor : float
        1 leaves the master as it is.
    """
    usable = (master.quality & np.int32(UNUSABLE)) == 0
    structure, parameters = _structure(master, usable)
    variance = np.maximum(master.variance, np.float32(1e-12))
    pull = (master.data - structure) / np.sqrt(variance)
    free = usable & ~_structured_regions(pull, usable)
    share = parameters / max(master.data.size, 1)
    ratio = _pattern_ratio(pull, free, share)
    floor = max(weight_floor, ratio / (1.0 + ratio))
    low, high = (edge * np.sqrt(1.0 + ratio) for edge in _RAMP)
    numbers = np.float32(floor), (low, high), np.float32(share), np.float32(ratio), np.float32(_CLIP_SIGMA)
    data, noise = np.empty_like(master.data), np.empty_like(structure)
    squares, kept = denoised(master.data, master.variance, structure, free, usable, *numbers, data, noise)
    known = np.count_nonzero(usable)
    return DenoisedMaster(
        master.with_arrays(data=data, variance=noise),
        structure,
        ratio * float(np.median(thinned(master.variance))),
        kept / max(data.size, 1),
        squares / known if known else 1.0,
    )


def _structure(master: Frame, usable: np.ndarray) -> tuple[np.ndarray, int]:
    """Smooth surface plus row and column profiles (ny, nx) float32, and how many numbers describe it."""
    ny, nx = master.shape
    columns, rows = np.empty(nx, np.float32), np.empty(ny, np.float32)
    blocks = np.empty((-(-ny // _BLOCK), -(-nx // _BLOCK)), np.float32)
    residual = master.data - np.float32(_typical(_sample(master.data, usable)))
    for _ in range(_ITERATIONS):
        spread = 1.4826 * _typical(np.abs(_sample(residual, usable)))
        limit = np.float32(_CLIP_SIGMA**2), np.float32((_CLIP_SIGMA * spread) ** 2)
        structure_step(residual, master.variance, usable, limit, _BLOCK, columns, rows, blocks)
        change = _surface(blocks, master.shape)
        change += columns
        change += rows[:, None]
        residual -= change
    return master.data - residual, ny + nx + blocks.size


def _typical(values: np.ndarray) -> float:
    return float(np.median(thinned(values))) if values.size else 0.0


def _sample(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Usable values, enough of them for what sets a limit."""
    some = thinned(values)[::3][thinned(usable)[::3]]
    return some if some.size else values[usable]


def _surface(blocks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Block means, joined linearly."""
    places = []
    for length in shape:
        starts = np.arange(0, length, _BLOCK)
        centres = 0.5 * (starts + np.append(starts[1:], length) - 1)
        places.append(np.interp(np.arange(length), centres, np.arange(len(centres))))
    return spread_linearly(blocks, *places)


def _structured_regions(pull: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Where the mean over a region proves structure that the model lacks."""
    sizes = [
        [min(extent, length) for extent, length in zip(region, pull.shape, strict=True)] for region in _REGIONS
    ]
    struck = np.empty((len(sizes), *pull.shape), bool)
    # Pixels beyond the border count as 0: repeating the border's would make their noise significant.
    region_means(pull, usable, np.float32(_CLIP_SIGMA), *np.array(sizes).T.copy(), _REGION_SIGMA, struck)
    protected = np.zeros(pull.shape, bool)
    for where, size in zip(struck, sizes, strict=True):
        if where.any():
            protected |= maximum_filter(where.view(np.uint8), size) > 0
    return protected


def _pattern_ratio(pull: np.ndarray, free: np.ndarray, share: float) -> float:
    """Variance of a fixed pixel-to-pixel pattern over that of the noise; 0 when chance explains it."""
    number = np.count_nonzero(free)
    if number == 0:
        return 0.0
    squares = np.where(free, np.square(pull), np.float32(np.inf)).ravel()
    # A part of the pixels comes near it.
    width = _core_width(thinned(squares), 1.0)
    width = width and _core_width(squares, width)
    if not width:
        return 0.0
    ratio = width**2 / (1.0 - share) - 1.0
    return ratio if ratio > _PATTERN_SIGMA * np.sqrt(8.0 / number) + 0.004 else 0.0


def _core_width(squares: np.ndarray, width: float) -> float | None:
    """Standard deviation of the normal core; None where it is empty. The limits move with it: a fixed point."""
    for _ in range(12):
        mean = mean_below(squares, (_CORE * width) ** 2)
        if mean is None:
            return None
        before, width = width, float(np.sqrt(mean / _CORE_VARIANCE))
        # What is left is a third each time.
        if abs(width - before) < 1e-5:
            break
    return width
