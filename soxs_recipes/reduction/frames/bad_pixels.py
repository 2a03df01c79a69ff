"""Hot, cold, dead and noisy pixels, by what they do over several frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import median_filter
from scipy.special import chdtri, ndtri

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE, QualityFlag
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.frames.combine import Combination, row_chunks, stacked
from soxs_recipes.reduction.frames.frame_scatter import thinned
from soxs_recipes.reduction.frames.master_kernels import add_chi_squares, flag_deviating
from soxs_recipes.reduction.numerics.quick_statistics import spread_linearly

__all__ = ["find_bad_pixels", "local_level"]

# Expected false flags of each kind on a clean frame, as a fraction of its pixels.
_FALSE_FRACTION = 1e-6
_BLOCK = 32
_ENOUGH = 300  # pixels, of which a median is taken
_NOTHING = np.float32(0.0)


def find_bad_pixels(
    frames: Sequence[Frame],
    combination: Combination,
    *,
    deviation_sigma: float = 4.0,
    level: np.ndarray | None = None,
    noise_scale: float = 1.0,
    false_fraction: float = _FALSE_FRACTION,
    poisson: np.ndarray | np.float32 = _NOTHING,
) -> np.ndarray:
    """Quality bits of the pixels that misbehave.

    HOT and COLD: the combined value lies more than `deviation_sigma` of one frame's noise from the local level,
    and further than the number of pixels explains by chance given the combination's own noise. NOISY (three frames
    or more): chi-square of the frames about their mean, the worst frame of each pixel left out (a cosmic ray is
    no fault of the pixel), that chance explains in less than `false_fraction` of pixels. DEAD: one value in all
    frames where the readout noise makes that impossible.

    Parameters
    ----------
    frames : sequence of Frame
        What was combined; variances are those of single frames, without Poisson noise of a hot pixel.
    combination : Combination
    deviation_sigma : float
    level : ndarray (ny, nx) [e-] or None
        Expected structure; None for `local_level` of the combination.
    noise_scale : float
        Measured over stated variance of the frames.
    false_fraction : float
        Of each kind of flag, on clean frames.
    poisson : ndarray (ny, nx) [e-^2]
        Variance that all frames have besides their own: of a smooth level's charge.

    Returns
    -------
    ndarray (ny, nx) int32

    Raises
    ------
    AlgorithmError
        No frames.
    """
    if not frames:
        raise AlgorithmError("no frames to judge pixels by", frames=0)
    master = combination.frame
    if level is None:
        level = local_level(master.data, master.quality)
    sigma = deviation_sigma * float(np.sqrt(noise_scale))
    variance = frames[0].variance + poisson
    quality = _deviating(variance, combination, level, sigma, false_fraction)
    if len(frames) > 1:
        chi_square, degrees, constant = _chi_square(frames, combination, level, noise_scale, poisson)
        quality |= _noisy(chi_square, degrees, false_fraction)
        # All values equal: how probable that is depends on how many units the noise spans.
        noise = np.sqrt(noise_scale * float(np.median(thinned(variance))))
        span = np.sqrt(2.0 * np.pi) * noise / frames[0].meta.gain
        if span > 1.0 and (len(frames) - 1) * np.log(span) > -np.log(0.1 * false_fraction):
            quality[(degrees > 0) & constant] |= np.int32(QualityFlag.DEAD)
    return quality


def local_level(data: np.ndarray, quality: np.ndarray | None = None) -> np.ndarray:
    """Level around each pixel (ny, nx) float32: medians of blocks, smoothed 3 x 3, plus columns' and rows' own.

    Unusable pixels are left out; single deviating pixels have no influence.
    """
    values = np.asarray(data, dtype=np.float32)
    if quality is not None and quality.any():
        values = np.where((quality & np.int32(UNUSABLE)) == 0, values, np.float32(np.nan))
    blocks = _block_medians(values, _BLOCK)
    coarse = median_filter(blocks, size=3, mode="nearest")
    smooth = _spread(coarse, values.shape, _BLOCK)
    for axis in (0, 1):
        some = _every(values.shape[axis] // _ENOUGH)
        some = (some, slice(None)) if axis == 0 else (slice(None), some)
        profile = _finite_median(values[some] - smooth[some], axis)
        smooth += profile[None, :] if axis == 0 else profile[:, None]
    return smooth


def _every(step: int) -> slice:
    """Every `step`-th row or column, an odd number: those of even and of odd number may differ."""
    return slice(None, None, max(step - 1 + step % 2, 1))


def _block_medians(values: np.ndarray, block: int) -> np.ndarray:
    ny, nx = (-(-length // block) for length in values.shape)
    padded = np.full((ny * block, nx * block), np.nan, np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    cells = padded.reshape(ny, block, nx, block)[:, _every(block * block // _ENOUGH)]
    return _finite_median(cells.swapaxes(1, 2).reshape(ny, nx, -1), 2)


def _finite_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median of the finite values along an axis, 0 where there is none."""
    lines = np.array(np.moveaxis(values, axis, -1), dtype=np.float32, order="C")
    finite = np.isfinite(lines)
    whole = finite.all()
    if not whole:
        lines[~finite] = np.inf
    lines.sort(axis=-1)
    last = lines.shape[-1] - 1
    if whole:
        return 0.5 * (lines[..., last // 2] + lines[..., (last + 1) // 2])
    number = np.count_nonzero(finite, axis=-1)[..., None]
    low = np.take_along_axis(lines, np.maximum((number - 1) // 2, 0), -1)[..., 0]
    high = np.take_along_axis(lines, np.minimum(number // 2, last), -1)[..., 0]
    with np.errstate(invalid="ignore"):
        return np.where(number[..., 0] > 0, 0.5 * (low + high), np.float32(0.0)).astype(np.float32)


def _spread(coarse: np.ndarray, shape: tuple[int, int], block: int) -> np.ndarray:
    """Linear interpolation of block values to pixels."""
    return spread_linearly(coarse, *((np.arange(length) - 0.5 * (block - 1)) / block for length in shape))


def _deviating(
    variance: np.ndarray, combination: Combination, level: np.ndarray, sigma: float, false_fraction: float
) -> np.ndarray:
    master = combination.frame
    chance = -float(ndtri(0.5 * false_fraction))
    quality = np.zeros(master.shape, np.int32)
    flag_deviating(
        master.data, np.asarray(level, dtype=np.float32), variance, master.variance, master.quality,
        (np.float32(sigma**2), np.float32(chance**2)),
        (np.int32(UNUSABLE), np.int32(QualityFlag.HOT), np.int32(QualityFlag.COLD)),
        quality,
    )  # fmt: skip
    return quality


def _noisy(chi_square: np.ndarray, degrees: np.ndarray, false_fraction: float) -> np.ndarray:
    """NOISY bits from chi-square about the mean."""
    quality = np.zeros(chi_square.shape, np.int32)
    pixels = np.array([np.count_nonzero(degrees == number) for number in range(degrees.max() + 1)])
    if pixels[1:].any():
        limits = np.array([np.inf, *(chdtri(number, false_fraction) for number in range(1, pixels.size))])
        limits *= _variance_scale(chi_square, degrees, pixels)
        large = np.nonzero(chi_square > limits.min())
        large = tuple(index[chi_square[large] > limits[degrees[large]]] for index in large)
        quality[large] = np.int32(QualityFlag.NOISY)
    return quality


def _chi_square(
    frames: Sequence[Frame], combination: Combination, level: np.ndarray, noise_scale: float, poisson
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chi-square about the mean without the worst frame, its degrees of freedom, and whether all values agree."""
    mean = combination.frame.data
    chi_square, degrees = np.empty(mean.shape, np.float32), np.empty(mean.shape, np.int16)
    constant, everywhere = np.empty(mean.shape, bool), np.broadcast_to(poisson, mean.shape)
    for rows in row_chunks(mean.shape):
        values, quality = (np.stack([image[rows] for image in images]) for images in
                           ([frame.data for frame in frames], [frame.quality for frame in frames]))  # fmt: skip
        variance = stacked([frame.variance for frame in frames], rows)
        numbers = np.float32(noise_scale), np.int32(UNUSABLE)
        # What stands above the local level is charge, whose Poisson noise is no misbehaviour.
        charge = np.maximum(mean[rows] - level[rows], _NOTHING) + numbers[0] * everywhere[rows]
        add_chi_squares(
            values, variance, quality, mean[rows], charge, *numbers,
            chi_square[rows], degrees[rows], constant[rows],
        )  # fmt: skip
    return chi_square, degrees, constant


def _variance_scale(chi_square: np.ndarray, degrees: np.ndarray, pixels: np.ndarray) -> float:
    """Measured over expected variance, from medians; `pixels` tells how many have 0, 1, ... degrees of freedom.

    Chi-square without its worst term is smaller than that of one degree less, so the scale starts below 1 for
    clean frames; at least 1 is returned, so that small scatter makes no pixel noisy.
    """
    usual = int(np.argmax(np.cumsum(pixels[1:]) > pixels[1:].sum() // 2)) + 1
    expected = float(chdtri(usual, 0.5))
    some = thinned(degrees) == usual
    chosen = thinned(chi_square)[some] if some.any() else chi_square[degrees == usual]
    return max(float(np.median(chosen)) / expected, 1.0)
