"""Master bias and master dark from prepared frames: combination, true variance, bad pixels, denoising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE, QualityFlag
from soxs_recipes.reduction.frames.bad_pixels import find_bad_pixels, local_level
from soxs_recipes.reduction.frames.combine import Combination, combine_frames, row_chunks
from soxs_recipes.reduction.frames.frame_scatter import (
    frame_noises,
    noise_scale,
    pattern_peak,
    structure_slopes,
    thinned,
)
from soxs_recipes.reduction.frames.master_structure import WEIGHT_FLOOR, denoise_master

__all__ = ["MasterFrame", "MasterStatistics", "build_master"]

# Charge of a pixel above its surroundings [sigma of the master] that counts as charge and not as noise.
_CHARGE_SIGMA = 3.0


@dataclass(frozen=True, slots=True)
class MasterStatistics:
    """Numbers about a master.

    Attributes
    ----------
    frame_noises : tuple of float [e-]
        Noise of each frame.
    noise_scale : float
        Measured over expected variance of single frames.
    master_noise : float [e-]
        Median noise of the delivered master.
    noise_cost : float
        What subtracting the master costs in signal-to-noise where read noise dominates, as a fraction.
    median : float [e-]
    slopes : (x, y) [e- per 1000 px]
    structure_rms : float [e-]
        Of the smooth structure and the profiles along rows and columns.
    pattern_rms : float [e-]
        Of the fixed pixel-to-pixel pattern beyond the noise.
    pattern_peak : float
        Largest periodic power in a single frame over that of white noise.
    """

    frame_noises: tuple[float, ...]
    noise_scale: float
    master_noise: float
    noise_cost: float
    median: float
    slopes: tuple[float, float]
    structure_rms: float
    pattern_rms: float
    pattern_peak: float


@dataclass(frozen=True, slots=True)
class MasterFrame:
    """A master.

    Attributes
    ----------
    frame : Frame
        To be subtracted; `meta.read_noise` is what the frames themselves showed.
    bad_pixels : ndarray (ny, nx) int32
    statistics : MasterStatistics
    """

    frame: Frame
    bad_pixels: np.ndarray
    statistics: MasterStatistics


def build_master(
    frames: Sequence[Frame],
    *,
    clip_sigma: float = 5.0,
    deviation_sigma: float = 4.0,
    collects_charge: bool = False,
    denoise: bool = True,
) -> MasterFrame:
    """Combine biases or darks into a master whose variance is true.

    Parameters
    ----------
    frames : sequence of Frame
        Prepared alike, variance without Poisson noise.
    clip_sigma, deviation_sigma : float
        See `combine_frames` and `find_bad_pixels`.
    collects_charge : bool
        Whether a positive level is charge, which has Poisson noise (darks).
    denoise : bool
        See `denoise_master`.

    Returns
    -------
    MasterFrame
        Its variance is the expected one times how much more the frames scatter than expected.
    """
    combination = combine_frames(frames, clip_sigma=clip_sigma)
    level = local_level(combination.frame.data, combination.frame.quality)
    poisson = np.float32(0.0)
    if collects_charge:
        poisson = np.maximum(level, np.float32(0.0))
        combination = _with_charge(combination, poisson)
    scale = noise_scale(frames, combination, poisson)
    # Flags first take the noise as measured, then decide what is charge.
    measured = _scaled(combination, scale)
    quality = find_bad_pixels(
        frames,
        measured,
        deviation_sigma=deviation_sigma,
        level=level,
        noise_scale=scale,
        poisson=poisson,
    )
    master = measured.frame
    if collects_charge:
        master = master.with_arrays(variance=_with_own_charge(master, level, combination.count))
    noises = tuple(frame_noises(frames, combination))
    peak = pattern_peak(frames[0].data - master.data, combination.count == len(frames))
    meta = replace(master.meta, read_noise=_read_noise(frames[0], scale, poisson))
    master = master.with_arrays(quality=master.quality | quality, meta=meta)
    denoised = denoise_master(master, weight_floor=WEIGHT_FLOOR if denoise else 1.0)
    return MasterFrame(
        denoised.frame,
        denoised.frame.quality & _STATIC_BITS,
        _statistics(denoised, combination, noises, scale, peak),
    )


_STATIC_BITS = np.int32(
    QualityFlag.DEAD | QualityFlag.HOT | QualityFlag.COLD | QualityFlag.NOISY | QualityFlag.NO_DATA
)


def _with_own_charge(master: Frame, level: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Variance (ny, nx) with the Poisson noise of pixels that hold charge of their own."""
    variance = np.empty_like(level)
    for rows in row_chunks(level.shape):
        charge, noise = master.data[rows] - level[rows], master.variance[rows]
        charge[charge < np.float32(_CHARGE_SIGMA) * np.sqrt(noise)] = 0.0
        variance[rows] = noise + charge / np.maximum(count[rows], 1)
    return variance


def _with_charge(combination: Combination, charge: np.ndarray) -> Combination:
    """Poisson variance of a smooth level added to a combination."""
    master = combination.frame
    variance = master.variance + charge / np.maximum(combination.count, 1)
    return Combination(master.with_arrays(variance=variance), combination.count)


def _scaled(combination: Combination, scale: float) -> Combination:
    master = combination.frame
    return Combination(master.with_arrays(variance=master.variance * np.float32(scale)), combination.count)


def _read_noise(frame: Frame, scale: float, poisson: np.ndarray | np.float32) -> float:
    """Read noise [e-] of one frame, quantisation and Poisson noise taken away."""
    charge = float(np.median(thinned(np.asarray(poisson))))
    own = float(np.median(thinned(frame.variance)))
    variance = scale * (own + charge) - frame.meta.gain**2 / 12.0 - charge
    return float(np.sqrt(variance)) if variance > 0 else frame.meta.read_noise


def _statistics(denoised, combination: Combination, noises, scale: float, peak: float) -> MasterStatistics:
    frame = denoised.frame
    usable = (frame.quality & np.int32(UNUSABLE)) == 0
    usable = usable if usable.any() else np.ones(frame.shape, bool)
    some = thinned(usable) if thinned(usable).any() else slice(None)
    count = max(float(np.median(thinned(combination.count))), 1.0)
    return MasterStatistics(
        frame_noises=noises,
        noise_scale=scale,
        master_noise=float(np.sqrt(np.median(thinned(frame.variance)[some]))),
        noise_cost=float(np.sqrt(1.0 + denoised.noise_fraction / count) - 1.0),
        median=float(np.median(thinned(frame.data)[some])),
        slopes=structure_slopes(frame.data, usable),
        structure_rms=float(np.std(thinned(denoised.structure)[some], dtype=np.float64)),
        pattern_rms=float(np.sqrt(denoised.pattern_variance)),
        pattern_peak=peak,
    )
