"""What single frames tell of noise and structure: read noise, patterns, slopes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import rfft

from soxs_recipes.data.frame import Frame
from soxs_recipes.reduction.frames.combine import Combination
from soxs_recipes.reduction.frames.master_kernels import weighted_profiles
from soxs_recipes.reduction.numerics.quick_statistics import mean_below

__all__ = ["frame_noises", "noise_scale", "pattern_peak", "structure_slopes", "thinned", "truncated_variance"]

_TRUNCATION = 3.0
_TRUNCATED_VARIANCE = 0.97334  # of a normal deviate, within 3 sigma
_CONVERGED = 1e-7
_SAMPLE_PIXELS = 600_000
_STARTING_SAMPLE = 30_000
_SPECTRUM_ROWS = 1024
_NOTHING = np.float32(0.0)


def thinned(values: np.ndarray) -> np.ndarray:
    """Every n-th value, flat: enough for a median good to a part in 500 of the scatter."""
    if not any(values.strides):  # views of one number
        return values.ravel() if values.size < 2 else values[(slice(1),) * values.ndim].ravel()
    step = values.size // _SAMPLE_PIXELS | 1  # odd, so that no column of a frame is passed over
    return values.ravel()[::step]


def truncated_variance(values: np.ndarray) -> float:
    """Variance of the normal core: mean square within 3 sigma, corrected for the truncation; 0 for no values.

    Unlike a median deviation it is not biased by quantisation. Values are taken as deviations from 0.
    """
    if values.size == 0:
        return 0.0
    squares = np.square(values).ravel()
    # Where to start need not be exact.
    some = squares[:: squares.size // _STARTING_SAMPLE | 1]
    variance = 1.4826**2 * float(np.median(some)) or float(squares.mean(dtype=np.float64))
    for _ in range(6):
        before = variance
        mean = mean_below(squares, _TRUNCATION**2 * variance)
        if mean is None:
            break
        variance = mean / _TRUNCATED_VARIANCE
        if abs(variance - before) < _CONVERGED * variance:
            break
    return variance


def _sample(shape: tuple[int, int]) -> tuple[slice, slice]:
    """Every n-th row: enough pixels for a part in a thousand."""
    step = max(shape[0] * shape[1] // _SAMPLE_PIXELS, 1)
    return slice(step // 2, None, step), slice(None)


def frame_noises(frames: Sequence[Frame], combination: Combination) -> list[float]:
    """Noise [e-] of each frame, from its deviations from the combination (which contains it: allowed for).

    For one frame, from differences of neighbours along x.
    """
    rows = _sample(frames[0].shape)
    count = len(frames)
    if count == 1:
        values = frames[0].data[rows]
        return [float(np.sqrt(truncated_variance(np.diff(values, axis=1).ravel()) / 2.0))]
    complete = (combination.count == count)[rows]
    spreads = np.array(
        [truncated_variance((frame.data[rows] - combination.frame.data[rows])[complete]) for frame in frames]
    )
    total = spreads.sum() * count / (count - 1.0)
    if count == 2:
        return [float(np.sqrt(total / 2.0))] * 2
    own = (spreads - total / count**2) / (1.0 - 2.0 / count)
    return [float(np.sqrt(max(variance, 0.0))) for variance in own]


def noise_scale(
    frames: Sequence[Frame], combination: Combination, poisson: np.ndarray | np.float32 = _NOTHING
) -> float:
    """Measured over expected variance of single frames, from their scatter about the mean; 1 for one frame.

    `poisson` (ny, nx) is a variance that all frames have besides their own.
    """
    count = len(frames)
    if count < 2:
        return 1.0
    rows = _sample(frames[0].shape)
    complete = (combination.count == count)[rows]
    mean = combination.frame.data[rows]
    besides = np.broadcast_to(poisson, frames[0].shape)[rows]
    pulls = [((frame.data[rows] - mean) / np.sqrt(frame.variance[rows] + besides))[complete] for frame in frames]
    measured = truncated_variance(np.concatenate(pulls)) * count / (count - 1.0)
    return measured if measured > 0 else 1.0


def structure_slopes(data: np.ndarray, usable: np.ndarray) -> tuple[float, float]:
    """Slopes (x, y) [unit of data per 1000 px] of straight lines through the column and row means."""
    columns, rows = np.empty(data.shape[1]), np.empty(data.shape[0])
    weighted_profiles(data, usable, columns, rows)
    slopes = []
    for profile in (columns, rows):
        known = np.isfinite(profile)
        position = np.arange(profile.size)[known]
        if position.size < 2:
            slopes.append(float("nan"))
            continue
        position = position - position.mean()
        slopes.append(1000.0 * float((position * profile[known]).sum() / np.square(position).sum()))
    return slopes[0], slopes[1]


def pattern_peak(residual: np.ndarray, usable: np.ndarray) -> float:
    """Highest power at one frequency along the rows over the median power: near 1 for white noise.

    Electronic pick-up repeats along the readout and stands out; gross deviations are clipped first.
    """
    step = max(residual.shape[0] // _SPECTRUM_ROWS, 1)
    usable = usable[::step]
    values = np.where(usable, residual[::step], np.float32(0.0)).astype(np.float32, copy=False)
    limit = np.float32(5.0 * np.sqrt(truncated_variance(thinned(values[usable]))))
    if limit == 0:
        return float("nan")
    np.clip(values, -limit, limit, out=values)
    values -= values.mean(axis=1, keepdims=True)
    waves = rfft(values, axis=1)
    power = (np.square(waves.real) + np.square(waves.imag)).mean(axis=0, dtype=np.float64)
    # The lowest frequencies hold what the row level left.
    power = power[3:-1]
    return float(power.max() / np.median(power)) if power.size > 8 else float("nan")
