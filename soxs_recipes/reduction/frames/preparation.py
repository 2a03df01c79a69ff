"""From raw units to electrons with variance and quality: level, trimming, gain, noise model, flags, masters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.linearity import LinearityCurve
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.frames.combine import row_chunks
from soxs_recipes.reduction.frames.overscan import OverscanLevel, overscan_level
from soxs_recipes.reduction.frames.preparation_kernels import (
    census,
    constant_blocks,
    smoothed,
    smoothed_by_noise,
    without_level,
    without_master,
)
from soxs_recipes.reduction.frames.reference_pixels import ReferencePattern, reference_level

__all__ = [
    "Amplifier",
    "ReadoutLayout",
    "ReadoutReport",
    "divide_by_flat",
    "frame_noise",
    "local_signal",
    "prepare",
    "subtract_master",
    "subtract_off",
    "with_poisson_noise",
]

_Window = tuple[int, int, int, int]  # y0, y1, x0, x1, half-open

# A frame with more saturated or missing pixels than this holds nothing to reduce.
_LOST_FRACTION_MAX = 0.5
# A block of this many pixels a side that holds one value only was not read: noise never leaves it so.
_BLOCK = 32
# Noise of a 1-2-1 mean along both axes, over that of a pixel.
_KERNEL_NOISE = 0.375
# Deviation from the smoothed signal that is a feature; where that signal is nothing, more, or the noise's own tail
# would count as signal.
_SHARP_SIGMA, _FAINT_SHARP_SIGMA = 2.5, 4.0


@dataclass(frozen=True, slots=True)
class Amplifier:
    """One output of a CCD, in pixels of the raw frame (half-open column ranges).

    Attributes
    ----------
    columns : (x0, x1)
        Light-sensitive columns that it reads.
    overscan, prescan : (x0, x1) or None
    measured : OverscanLevel or None
        Level of the overscan, without one of the prescan, where it is known already.
    """

    columns: tuple[int, int]
    overscan: tuple[int, int] | None = None
    prescan: tuple[int, int] | None = None
    measured: OverscanLevel | None = field(default=None, compare=False, repr=False)

    def level(self, rows: np.ndarray) -> OverscanLevel | None:
        """Level of the overscan, without one of the prescan; None without either.

        Parameters
        ----------
        rows : ndarray (ny, columns of the raw frame) [ADU]

        Raises
        ------
        ValueError
            The strip holds no finite value.
        """
        strip = next((strip for strip in (self.overscan, self.prescan) if _has_columns(strip)), None)
        if strip is None or self.measured is not None:
            return self.measured
        return self.level_of(strip, rows)

    def level_of(self, strip: tuple[int, int], rows: np.ndarray) -> OverscanLevel:
        """Level of one of the strips, from all rows of the frame's light."""
        side = "low" if strip[0] >= self.columns[1] else "high"
        return overscan_level(rows[:, strip[0] : strip[1]], side)


def _has_columns(strip: tuple[int, int] | None) -> bool:
    return strip is not None and strip[1] > strip[0]


@dataclass(frozen=True, slots=True)
class ReadoutLayout:
    """Where things are in a raw frame.

    Attributes
    ----------
    science_window : (y0, y1, x0, x1)
        Half-open.
    amplifiers : tuple of Amplifier
        From left to right, their columns together the light; empty for a frame without overscan.
    reference_border : int
        Width of the border of reference pixels, 0 when there is none.
    reference_static : ReferencePattern or None
        What a master dark keeps in its own pattern.
    """

    science_window: tuple[int, int, int, int]
    amplifiers: tuple[Amplifier, ...] = ()
    reference_border: int = 0
    reference_static: ReferencePattern | None = None


@dataclass(frozen=True, slots=True)
class ReadoutReport:
    """What the unlit pixels told.

    Attributes
    ----------
    level : float [e-]
        Mean electronic level that was subtracted; 0 when none was.
    noise : tuple of float [e-]
        Of one readout, quantisation included; one an amplifier (or of the reference pixels), empty when unknown.
    drift : float [e-]
        Largest minus smallest row level.
    prescan_difference : float [e-]
        Overscan minus prescan level; NaN when one is missing.
    subtracted : bool
        Whether a level was subtracted.
    """

    level: float
    noise: tuple[float, ...]
    drift: float
    prescan_difference: float
    subtracted: bool


def prepare(
    data: np.ndarray,
    layout: ReadoutLayout,
    meta: FrameMeta,
    *,
    saturation: float,
    linear_limit: float = np.inf,
    curves: Sequence[LinearityCurve] = (),
) -> tuple[Frame, ReadoutReport]:
    """A trimmed frame in electrons, electronic level subtracted, with the variance of its readout.

    Parameters
    ----------
    data : ndarray (ny, nx) float32 [ADU]
        NaN and Inf become 0 with NO_DATA, as do areas of one value (a dead quadrant).
    layout : ReadoutLayout
    meta : FrameMeta
        `gain`, `read_noise` and `name` are used.
    saturation : float [ADU]
        Raw value from which a pixel is saturated.
    linear_limit : float [e-]
        Signal beyond which it is not linear.
    curves : sequence of LinearityCurve
        Of the amplifiers: signals are made linear, those beyond a curve's limit marked NON_LINEAR.

    Returns
    -------
    frame : Frame
        Variance is read noise^2 + gain^2 / 12 + that of the level; see `with_poisson_noise` for the signal's.
    report : ReadoutReport

    Raises
    ------
    UnprocessableData
        The frame is all zero, one value everywhere, mostly missing or mostly saturated.
    """
    light, window = _light(data, layout)
    shape = window[1] - window[0], window[3] - window[2]
    _refuse_hopeless(light, window, saturation, meta.name)
    level = _electronic_level(data, layout, meta.gain)
    signal, quality = np.empty(shape, np.float32), np.empty(shape, np.int32)
    no_data = np.int32(QualityFlag.NO_DATA)
    bits = no_data, np.int32(QualityFlag.SATURATED), np.int32(QualityFlag.NON_LINEAR)
    # Curves are of signals in ADU: electrons and their limit come after them.
    gain, linear = (1.0, np.inf) if curves else (meta.gain, linear_limit)
    limits = np.float32(saturation), np.float32(linear)
    without_level(
        light, window, level.by_output, level.first_column, np.float32(gain), limits, bits, signal, quality
    )
    for block in _unread(light, window, saturation):
        signal[block], quality[block] = 0.0, no_data
    readout = np.float32(meta.read_noise**2 + meta.gain**2 / 12.0 + level.variance)
    # One number until a curve or a master makes it differ from pixel to pixel: frames wait by the dozen.
    variance = np.broadcast_to(readout, shape)
    if curves:
        variance, lost = variance.copy(), (quality & no_data) != 0
        for curve in curves:
            _make_linear(signal, variance, quality, curve, meta.binning[1])
        signal[lost] = 0.0
        signal *= np.float32(meta.gain)
        quality[signal > linear_limit] |= np.int32(QualityFlag.NON_LINEAR)
    meta = replace(meta, saturation=min(meta.saturation, saturation * meta.gain - level.report.level))
    return Frame(signal, variance, quality, meta), level.report


def _make_linear(
    signal: np.ndarray, variance: np.ndarray, quality: np.ndarray, curve: LinearityCurve, binning: int
) -> None:
    """Correct the columns of one amplifier in place; read noise is scaled by the slope of the curve."""
    cut = (slice(None), slice(curve.columns[0] // binning, -(-curve.columns[1] // binning)))
    read = signal[cut]
    variance[cut] *= np.square(curve.slope(read))
    quality[cut][read > curve.limit] |= np.int32(QualityFlag.NON_LINEAR)
    signal[cut] = curve.corrected(read)


def _refuse_hopeless(data: np.ndarray, window: _Window, saturation: float, name: str) -> None:
    total = (window[1] - window[0]) * (window[3] - window[2])
    missing, example, different, saturated = census(data, window, np.float32(saturation))
    if missing > _LOST_FRACTION_MAX * total:
        raise UnprocessableData(f"{name}: {missing} of {total} pixels have no value; the frame cannot be used")
    if not different:
        what = "all pixels are zero" if example == 0 else f"all {total} pixels have the value {example:g}"
        raise UnprocessableData(f"{name}: {what}; the detector was not read")
    if saturated > _LOST_FRACTION_MAX * total:
        raise UnprocessableData(f"{name}: {saturated} of {total} pixels are saturated; expose for less time")


def _unread(data: np.ndarray, window: _Window, saturation: float) -> Iterator[tuple[slice, slice]]:
    """Blocks that hold one value below saturation, none when most of the frame is free of noise."""
    y0, y1, x0, x1 = window
    constant = constant_blocks(data[y0:y1, x0:x1], _BLOCK, np.float32(saturation))
    if constant.any() and constant.mean() <= _LOST_FRACTION_MAX:
        for row, column in np.argwhere(constant) * _BLOCK:
            yield slice(row, row + _BLOCK), slice(column, column + _BLOCK)


def _light(data: np.ndarray, layout: ReadoutLayout) -> tuple[np.ndarray, _Window]:
    """(pixels, window of them that is sensitive to light); outputs that have overscan between them are joined."""
    y0, y1, _, _ = layout.science_window
    columns = [amplifier.columns for amplifier in layout.amplifiers]
    if len(columns) < 2 or all(one[1] == two[0] for one, two in pairwise(columns)):
        return np.ascontiguousarray(data, np.float32), layout.science_window
    joined = np.concatenate([data[y0:y1, first:last] for first, last in columns], axis=1, dtype=np.float32)
    return joined, (0, joined.shape[0], 0, joined.shape[1])


@dataclass(frozen=True, slots=True)
class _ElectronicLevel:
    by_output: np.ndarray  # (ny, outputs) float32 [ADU] of the science window
    first_column: np.ndarray  # (outputs + 1,) at which they begin, then nx
    variance: float  # of the level [e-^2]
    report: ReadoutReport


def _electronic_level(data: np.ndarray, layout: ReadoutLayout, gain: float) -> _ElectronicLevel:
    y0, y1, x0, x1 = layout.science_window
    reference = None
    if layout.reference_border:
        reference = reference_level(data, layout.reference_border, static=layout.reference_static)
    if reference is not None:
        noise = (reference.noise * gain,) if reference.noise > 0 else ()
        mean = float(reference.by_output.mean(dtype=np.float64))
        report = ReadoutReport(mean * gain, noise, reference.drift * gain, float("nan"), subtracted=True)
        outputs = reference.by_output.shape[1]
        first_column = np.clip(np.arange(outputs + 1) * (reference.columns // outputs) - x0, 0, x1 - x0)
        return _ElectronicLevel(reference.by_output[y0:y1], first_column, reference.variance * gain**2, report)
    if not any(amplifier.overscan or amplifier.prescan for amplifier in layout.amplifiers):
        nothing = ReadoutReport(0.0, (), 0.0, float("nan"), subtracted=False)
        return _ElectronicLevel(np.zeros((y1 - y0, 1), np.float32), np.array([0, x1 - x0]), 0.0, nothing)
    pairs = [_amplifier_level(data[y0:y1], amplifier) for amplifier in layout.amplifiers]
    levels = [level for level, _ in pairs]
    report = ReadoutReport(
        float(np.mean([level.level.mean() for level in levels])) * gain,
        tuple(level.noise * gain for level in levels if level.noise > 0),
        max(level.drift for level in levels) * gain,
        max((difference for _, difference in pairs), key=abs) * gain,
        subtracted=True,
    )
    by_output = np.stack([level.level for level in levels], axis=1).astype(np.float32)
    widths = [amplifier.columns[1] - amplifier.columns[0] for amplifier in layout.amplifiers]
    first_column = np.concatenate([[0], np.cumsum(widths)])
    return _ElectronicLevel(by_output, first_column, max(level.variance for level in levels) * gain**2, report)


def _amplifier_level(rows: np.ndarray, amplifier: Amplifier) -> tuple[OverscanLevel, float]:
    """Level of one amplifier (overscan before prescan) and their difference [ADU], NaN without both."""
    level = amplifier.level(rows)
    if not (_has_columns(amplifier.overscan) and _has_columns(amplifier.prescan)):
        return level, float("nan")
    return level, float(level.level.mean() - amplifier.level_of(amplifier.prescan, rows).level.mean())


def local_signal(data: np.ndarray, noise: np.ndarray | float | None = None) -> np.ndarray:
    """Smoothed signal (ny, nx) float32 >= 0 that stands in for a model.

    Weights 1-2-1 along both axes: one pixel's own noise enters with weight 1/4, so variances made from it hardly
    follow the noise. Where that is not above three times its own noise, the mean of 7 x 7 pixels (bright ones
    clipped) takes its place, as the positive half of the noise would make a signal of nothing. Where a pixel
    differs from it by more than 2.5 sigma (sharp lines and their wings; 4 in the dark) its own value does.

    Parameters
    ----------
    data : ndarray (ny, nx) [e-]
    noise : ndarray (ny, nx), float or None [e-]
        Noise of one pixel without light; None for no such distinction.
    """
    data = np.ascontiguousarray(data, np.float32)
    smooth = np.empty_like(data)
    if noise is None:
        smoothed(data, smooth)
        return np.maximum(smooth, np.float32(0.0), out=smooth)
    # One column does for a noise that is the same in all.
    noise = np.broadcast_to(np.asarray(noise, np.float32), data.shape)
    noise = np.ascontiguousarray(noise[:, :1] if noise.strides[1] == 0 else noise)
    sigmas = (np.float32(number) for number in (3.0 * _KERNEL_NOISE, _FAINT_SHARP_SIGMA, _SHARP_SIGMA))
    smoothed_by_noise(data, noise, *sigmas, smooth)
    return smooth


def frame_noise(frame: Frame) -> np.ndarray:
    """Square root of the variance (ny, nx); a view of one number where all pixels have one variance."""
    if frame.variance.strides == (0, 0):
        return np.broadcast_to(np.sqrt(frame.variance[:1, :1]), frame.shape)
    return np.sqrt(frame.variance)


def with_poisson_noise(frame: Frame, model: np.ndarray | None = None) -> Frame:
    """The frame with the Poisson variance of its signal added.

    Parameters
    ----------
    frame : Frame
        Bias and dark subtracted, its variance still without a Poisson term.
    model : ndarray (ny, nx) [e-] or None
        Expected signal, dark current included; None for `local_signal`. Negative values count as 0.
    """
    if model is None:
        model = local_signal(frame.data, frame_noise(frame))
    variance = np.maximum(np.asarray(model, dtype=np.float32), np.float32(0.0))
    variance += frame.variance
    return frame.with_arrays(variance=variance)


def subtract_master(frame: Frame, master: Frame, scale: float = 1.0) -> Frame:
    """The frame minus `scale` times a master, whose variance becomes shared and whose quality bits stay.

    ValueError when the shapes differ.
    """
    if frame.shape != master.shape:
        raise ValueError(f"a frame of shape {frame.shape} and a master of {master.shape} do not fit")
    factor = np.float32(scale)
    # Nobody writes into a frame's images: what a master's variance is needs no copy.
    added = master.variance if scale == 1.0 else factor**2 * master.variance
    shared = added if frame.shared_variance is None else frame.shared_variance + added
    data, quality = np.empty(frame.shape, np.float32), np.empty(frame.shape, np.int32)
    bits = 0 if scale == 1.0 else int(QualityFlag.SCALED_DARK)
    without_master(
        *(image.reshape(-1) for image in (frame.data, frame.quality, master.data, master.quality)),
        factor,
        np.int32(bits),
        np.int32(QualityFlag.NO_DATA),
        data.reshape(-1),
        quality.reshape(-1),
    )
    return frame.with_arrays(data=data, variance=frame.variance + added, quality=quality, shared_variance=shared)


def divide_by_flat(frame: Frame, flat: Frame) -> Frame:
    """The frame divided by a flat near 1; the flat's variance, times the signal squared, is shared.

    Where the flat is not positive or not usable the frame stays as it is, with NO_FLAT. ValueError when the
    shapes differ.
    """
    if frame.shape != flat.shape:
        raise ValueError(f"a frame of shape {frame.shape} and a flat of {flat.shape} do not fit")
    good = np.isfinite(flat.data) & (flat.data > 0) & ((flat.quality & np.int32(QualityFlag.NO_DATA)) == 0)
    divisor = np.where(good, flat.data, np.float32(1.0))
    relative = np.where(good, flat.variance, np.float32(0.0)) / np.square(divisor)
    square = np.square(divisor)
    signal = local_signal(frame.data) / divisor
    added = np.square(signal) * relative
    before = 0.0 if frame.shared_variance is None else frame.shared_variance / square
    quality = frame.quality | flat.quality | np.where(good, np.int32(0), np.int32(QualityFlag.NO_FLAT))
    return frame.with_arrays(
        data=frame.data / divisor,
        variance=frame.variance / square + added,
        quality=quality,
        shared_variance=before + added,
    )


def subtract_off(on: Frame, off: Frame | Sequence[Frame]) -> Frame:
    """A lamp-on frame minus the mean of lamp-off frames of the same exposure time.

    Independent variances add; what both share (the same masters subtracted from both) cancels. A pixel that is
    unusable in an off frame is so in the result.
    """
    offs = [off] if isinstance(off, Frame) else list(off)
    count, shape = np.float32(len(offs)), on.shape
    data, variance, shared = (np.empty(shape, np.float32) for _ in range(3))
    quality = np.empty(shape, np.int32)
    for rows in row_chunks(shape):
        value, flags = on.data[rows].copy(), on.quality[rows].copy()
        own, root = _independent(on, rows), np.sqrt(_shared(on, rows))
        for frame in offs:
            value -= frame.data[rows] / count
            own = own + _independent(frame, rows) / count**2
            root = root - np.sqrt(_shared(frame, rows)) / count
            flags |= frame.quality[rows] & ~np.int32(QualityFlag.NON_LINEAR)
        value[(flags & np.int32(QualityFlag.NO_DATA)) != 0] = 0.0
        data[rows], quality[rows], shared[rows] = value, flags, np.square(root)
        variance[rows] = own + shared[rows]
    left = shared if on.shared_variance is not None else None
    return on.with_arrays(data=data, variance=variance, quality=quality, shared_variance=left)


def _independent(frame: Frame, rows: slice) -> np.ndarray:
    return frame.variance[rows] - _shared(frame, rows)


def _shared(frame: Frame, rows: slice) -> np.ndarray | np.float32:
    return np.float32(0.0) if frame.shared_variance is None else frame.shared_variance[rows]
