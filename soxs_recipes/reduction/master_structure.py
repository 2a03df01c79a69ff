"""A master without most of its noise: smooth structure where it suffices, measured values where it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE
from soxs_recipes.reduction.frame_scatter import thinned
from soxs_recipes.reduction.quick_statistics import mean_below, spread_linearly

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
    structure, parameters = _structure(master)
    sigma = np.sqrt(np.maximum(master.variance, np.float32(1e-12)))
    known = (master.quality & np.int32(UNUSABLE)) == 0
    pull = (master.data - structure) / sigma
    protected = _structured_regions(np.where(known, pull, np.float32(0.0)))
    ratio = _pattern_ratio(pull[known & ~protected], parameters / max(master.data.size, 1))
    floor = max(weight_floor, ratio / (1.0 + ratio))
    low, high = (edge * np.sqrt(1.0 + ratio) for edge in _RAMP)
    ramp = np.clip((np.abs(pull) - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    weight = np.float32(floor) + np.float32(1.0 - floor) * ramp
    weight[protected | ~known] = 1.0
    structure_share = np.float32(parameters / max(master.data.size, 1))
    retained = np.square(weight) * (1 - structure_share) + structure_share
    variance = master.variance * (retained + np.square(1 - weight) * np.float32(ratio))
    data = structure + weight * (master.data - structure)
    pattern = ratio * float(np.median(thinned(master.variance)))
    left = np.square(weight * np.clip(pull, -_CLIP_SIGMA, _CLIP_SIGMA))[known]
    frame = master.with_arrays(data=data.astype(np.float32), variance=variance.astype(np.float32))
    noise = float(left.mean()) if left.size else 1.0
    return DenoisedMaster(frame, structure, pattern, float((weight > 0.99).mean()), noise)


def _structure(master: Frame) -> tuple[np.ndarray, int]:
    """Smooth surface plus row and column profiles (ny, nx) float32, and how many numbers describe it."""
    usable = (master.quality & np.int32(UNUSABLE)) == 0
    sigma = np.sqrt(master.variance)
    structure = np.full(master.shape, _typical(_sample(master.data, usable)), np.float32)
    spread = _typical_spread(_sample(master.data - structure, usable))
    limit = np.maximum(np.float32(_CLIP_SIGMA) * sigma, np.float32(_CLIP_SIGMA * spread))
    for _ in range(_ITERATIONS):
        residual = master.data - structure
        weight = (usable & (np.abs(residual) < limit)).astype(np.float32)
        for axis in (0, 1):
            profile = _profile(residual, weight, axis)
            residual -= profile
            structure += profile
        structure += _surface(residual, weight)
        spread = _typical_spread(_sample(master.data - structure, usable))
        limit = np.maximum(np.float32(_CLIP_SIGMA) * sigma, np.float32(_CLIP_SIGMA * spread))
    ny, nx = master.shape
    return structure, ny + nx + -(-ny // _BLOCK) * -(-nx // _BLOCK)


def _typical(values: np.ndarray) -> float:
    return float(np.median(thinned(values))) if values.size else 0.0


def _typical_spread(values: np.ndarray) -> float:
    return 1.4826 * _typical(np.abs(values))


def _sample(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Usable values, enough of them for what sets a limit."""
    some = thinned(values)[thinned(usable)]
    return some if some.size else values[usable]


def _profile(residual: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Weighted mean along an axis (0 where nothing weighs), broadcastable to the frame."""
    total = weight.sum(axis=axis, keepdims=True)
    summed = np.einsum("ij,ij->j" if axis == 0 else "ij,ij->i", residual, weight)
    return np.reshape(summed, total.shape) / np.maximum(total, np.float32(1.0))


def _surface(residual: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Block means, joined linearly."""
    edges = [np.arange(0, length, _BLOCK) for length in residual.shape]
    total = np.add.reduceat(np.add.reduceat(weight, edges[0], axis=0), edges[1], axis=1)
    summed = np.add.reduceat(np.add.reduceat(residual * weight, edges[0], axis=0), edges[1], axis=1)
    values = summed / np.maximum(total, np.float32(1.0))
    places = []
    for starts, length in zip(edges, residual.shape, strict=True):
        centres = 0.5 * (starts + np.append(starts[1:], length) - 1)
        places.append(np.interp(np.arange(length), centres, np.arange(len(centres))))
    return spread_linearly(values, *places)


def _structured_regions(pull: np.ndarray) -> np.ndarray:
    """Where the mean over a region proves structure that the model lacks."""
    clipped = np.clip(pull, -_CLIP_SIGMA, _CLIP_SIGMA)
    protected = np.zeros(pull.shape, bool)
    for region in _REGIONS:
        size = tuple(min(extent, length) for extent, length in zip(region, pull.shape, strict=True))
        # Zeros beyond the border: repeating the border's pixels would make their noise significant.
        mean = uniform_filter(clipped, size, mode="constant")
        struck = np.abs(mean) * np.sqrt(np.prod(size)) > _REGION_SIGMA
        if struck.any():
            protected |= maximum_filter(struck.view(np.uint8), size) > 0
    return protected


def _pattern_ratio(pull: np.ndarray, share: float) -> float:
    """Variance of a fixed pixel-to-pixel pattern over that of the noise; 0 when chance explains it."""
    if pull.size == 0:
        return 0.0
    squares, width = np.square(pull), 1.0
    # The limits move with the width: a fixed point, reached by a third each time.
    for _ in range(12):
        mean = mean_below(squares, (_CORE * width) ** 2)
        if mean is None:
            return 0.0
        before, width = width, float(np.sqrt(mean / _CORE_VARIANCE))
        if abs(width - before) < 1e-5:
            break
    ratio = width**2 / (1.0 - share) - 1.0
    return ratio if ratio > _PATTERN_SIGMA * np.sqrt(8.0 / pull.size) + 0.004 else 0.0
