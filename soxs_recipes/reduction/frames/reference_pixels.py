"""Electronic level of an infrared array from its border of pixels that see no light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from soxs_recipes.reduction.frames.overscan import smooth_by_risk

__all__ = ["ReferenceLevel", "ReferencePattern", "mean_pattern", "reference_level", "reference_pattern"]

# Generous, as the median deviation of coarse integers may be a third too small.
_CLIP_SIGMA = 6.0
# Excess of chi-square beyond which groups of columns really differ.
_CHANCE_SIGMA = 5.0
_GROUPS = 32
# Variance of the median of four values over that of their mean.
_MEDIAN_VARIANCE = 1.19
# Rows over which left and right are compared.
_SIDE_ROWS = 16


@dataclass(frozen=True, slots=True)
class ReferencePattern:
    """What the reference pixels show in every frame, relative to their mean.

    A master dark made with it holds the same pattern in its own pixels; frames that the master is subtracted from
    must be corrected for deviations from it only.

    Attributes
    ----------
    groups : ndarray (2, groups) float64 [ADU]
        Of each group of columns, rows below and above.
    rows : ndarray (2, ny) float64 [ADU]
        Of each row, columns at the left and at the right.
    frames : int
        How many frames were averaged.
    """

    groups: np.ndarray
    rows: np.ndarray
    frames: int = 1


@dataclass(frozen=True, slots=True)
class ReferenceLevel:
    """What the reference pixels say of the electronic level.

    Attributes
    ----------
    by_output : ndarray (ny, outputs) float32 [ADU]
        Level of each row and output, or of each row alone (ny, 1).
    columns : int
        Of the whole frame.
    noise : float [ADU]
        Standard deviation of a reference pixel; 0 when they carry no noise.
    variance : float [ADU^2]
        Of `level`, largely common to a group of columns and to neighbouring rows.
    per_group : bool
        Whether groups of columns were corrected one by one.
    row_window : int
        Rows averaged for the row-to-row level; 0 when it did not vary.
    drift : float [ADU]
        Largest minus smallest row level.
    """

    by_output: np.ndarray
    columns: int
    noise: float
    variance: float
    per_group: bool
    row_window: int
    drift: float

    @property
    def level(self) -> np.ndarray:
        """To be subtracted from the whole frame, border included (ny, nx) float32 [ADU]."""
        return np.repeat(self.by_output, self.columns // self.by_output.shape[1], axis=1)


def reference_pattern(data: np.ndarray, border: int, groups: int = _GROUPS) -> ReferencePattern | None:
    """Pattern of the reference pixels of a raw frame [ADU]; None when its border holds nothing to go by."""
    measured = _measure(data, border, groups)
    return None if measured is None else ReferencePattern(measured.groups, measured.rows)


def mean_pattern(patterns: Sequence[ReferencePattern]) -> ReferencePattern | None:
    """Mean of the patterns of some frames; None without any."""
    if not patterns:
        return None
    return ReferencePattern(
        np.mean([pattern.groups for pattern in patterns], axis=0),
        np.mean([pattern.rows for pattern in patterns], axis=0),
        sum(pattern.frames for pattern in patterns),
    )


def reference_noise(data: np.ndarray, border: int, groups: int = _GROUPS) -> float:
    """Noise [ADU] of the reference pixels of a raw frame; 0 when its border holds nothing to go by."""
    measured = _measure(data, border, groups)
    return 0.0 if measured is None else measured.noise


def reference_level(
    data: np.ndarray, border: int, groups: int = _GROUPS, static: ReferencePattern | None = None
) -> ReferenceLevel | None:
    """Level of each pixel from the reference border.

    The mean of the border is the level. The rows of reference pixels below and above tell how each group of
    columns (one output each) differs from it, linearly along the columns; the columns at both sides tell how each
    row does, smoothed over as many rows as the noise supports. Differences that the noise alone explains are not
    corrected. Rows that differ between left and right are no electronic level (light has got there): the sides are
    not used then.

    Parameters
    ----------
    data : ndarray (ny, nx) [ADU]
        NaN is ignored.
    border : int
        Width of the frame of reference pixels.
    groups : int
        Outputs side by side along x; 1 when nx cannot be divided so.
    static : ReferencePattern or None
        Pattern that a master keeps: only deviations from it are corrected.

    Returns
    -------
    ReferenceLevel or None
        None when the border holds nothing to go by (not finite, or one value everywhere).
    """
    measured = _measure(data, border, groups)
    if measured is None:
        return None
    ny, nx = data.shape
    by_group, by_row, extra = measured.groups, measured.rows, 1.0
    if static is not None and static.groups.shape == by_group.shape and static.rows.shape == by_row.shape:
        by_group, by_row = by_group - static.groups, by_row - static.rows
        extra = 1.0 + 1.0 / static.frames
    pixel_variance = measured.noise**2
    side_variance = extra * _MEDIAN_VARIANCE * pixel_variance / border
    lit = _sides_disagree(by_row, side_variance)
    overall = measured.ends if lit else measured.overall
    level = np.full((ny, 1), overall)
    variance = pixel_variance / (2 * border * (nx if lit else nx + ny))
    by_group = by_group - by_group.mean()
    group_variance = extra * pixel_variance / (border * (nx // by_group.shape[1]))
    per_group = _differ(by_group, group_variance)
    if per_group:
        columns = _along_columns(by_group, ny)
        level = level + columns
        width = nx // columns.shape[1]
        own = np.arange(border) // width  # the groups of the columns at one side
        by_row = by_row - np.array([columns[:, own].mean(axis=1), columns[:, -1 - own].mean(axis=1)])
        variance += group_variance / 2.0
    drift, window = 0.0, 0
    if not lit:
        mean = by_row.mean(axis=0)
        rows, window, smooth_variance = smooth_by_risk(mean - mean.mean(), side_variance / 2.0)
    if window:
        level = level + rows[:, None]
        variance += smooth_variance
        drift = float(np.ptp(rows))
    return ReferenceLevel(level.astype(np.float32), nx, measured.noise, variance, per_group, window, drift)


def _sides_disagree(by_row: np.ndarray, side_variance: float) -> bool:
    """Whether left and right differ from row to row by more than their noise, over a range of rows or a few."""
    difference = by_row[0] - by_row[1]
    difference = difference - np.median(difference)
    means = uniform_filter1d(difference, _SIDE_ROWS, mode="nearest")[_SIDE_ROWS // 2 :: _SIDE_ROWS]
    squares = np.square(means) / max(2.0 * side_variance / _SIDE_ROWS, 1e-30)
    return squares.sum() > len(means) + _CHANCE_SIGMA * np.sqrt(2.0 * len(means)) or squares.max() > 36.0


@dataclass(frozen=True, slots=True)
class _Measured:
    overall: float
    ends: float
    groups: np.ndarray
    rows: np.ndarray
    noise: float


def _measure(data: np.ndarray, border: int, groups: int) -> _Measured | None:
    """Overall level, differences of groups and of rows from it, noise [ADU]."""
    ny, nx = data.shape
    middle = data[border:-border]
    parts = (data[:border], middle[:, :border], middle[:, -border:], data[-border:])
    pixels = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    finite = pixels[np.isfinite(pixels)]
    if finite.size < pixels.size // 2 or np.ptp(finite) == 0:
        return None
    groups = groups if nx % groups == 0 else 1
    overall = float(_clipped_means(finite[None])[0])
    ends = (data[:border], data[ny - border :])
    levels = np.array([_clipped_means(_by_group(end, groups)) for end in ends]) - overall
    levels = np.where(np.isfinite(levels), levels, 0.0)
    noise = _noise([end - overall for end in ends], levels)
    sides = (data[:, :border] - overall, data[:, -border:] - overall)
    rows = np.array([_medians(np.where(np.isfinite(side), side, 0.0)) for side in sides])
    return _Measured(overall, overall + float(levels.mean()), levels, rows, noise)


def _limit(residual: np.ndarray) -> float:
    return _CLIP_SIGMA * max(1.4826 * float(np.median(np.abs(residual))), 0.75)


def _by_group(end: np.ndarray, groups: int) -> np.ndarray:
    """Reference rows at one end of the columns, a line a group (groups, pixels)."""
    return end.reshape(len(end), groups, -1).swapaxes(0, 1).reshape(groups, -1)


def _medians(lines: np.ndarray) -> np.ndarray:
    """Median of each line without its NaN; NaN where there is nothing else."""
    ranked = np.sort(lines, axis=1)
    count = lines.shape[1] - np.isnan(lines).sum(axis=1)
    middle = np.maximum(np.stack([(count - 1) // 2, count // 2], axis=1), 0)
    return np.take_along_axis(ranked, np.minimum(middle, lines.shape[1] - 1), axis=1).mean(axis=1)


def _clipped_means(lines: np.ndarray) -> np.ndarray:
    """Clipped mean of each line's finite values; NaN where there is none."""
    lines = np.where(np.isfinite(lines), lines, np.nan).astype(np.float64)
    deviation = np.abs(lines - _medians(lines)[:, None])
    kept = deviation <= _CLIP_SIGMA * np.maximum(1.4826 * _medians(deviation), 0.75)[:, None]
    number = kept.sum(axis=1)
    total = np.where(kept, lines, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _noise(ends: list[np.ndarray], levels: np.ndarray) -> float:
    squares, number = 0.0, 0
    for end, own in zip(ends, levels, strict=True):
        residual = end - np.repeat(own, end.shape[1] // levels.shape[1])[None, :]
        residual = residual[np.isfinite(residual)]
        residual = residual[np.abs(residual) <= _limit(residual)]
        squares += float(np.square(residual, dtype=np.float64).sum())
        number += residual.size
    return float(np.sqrt(squares / max(number - levels.size, 1)))


def _differ(values: np.ndarray, variance: float) -> bool:
    """Whether values scatter about their mean by more than their variance explains."""
    degrees = values.size - 1
    if degrees == 0:
        return False
    chi_square = float(np.square(values - values.mean()).sum()) / max(variance, 1e-30)
    return chi_square > degrees + _CHANCE_SIGMA * np.sqrt(2.0 * degrees)


def _along_columns(by_group: np.ndarray, ny: int) -> np.ndarray:
    """Groups' differences, linear from the rows below to those above (ny, groups)."""
    fraction = np.arange(ny) / max(ny - 1, 1)
    return by_group[0][None, :] + fraction[:, None] * (by_group[1] - by_group[0])[None, :]
