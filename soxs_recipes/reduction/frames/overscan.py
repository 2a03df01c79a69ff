"""Electronic level of a readout from the columns that see no light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

__all__ = ["OverscanLevel", "overscan_level", "smooth_by_risk"]

# Columns next to the light are left out of a wide strip: charge that trails behind bright pixels lands there.
_TRAILING_COLUMNS = 5
_WIDE_STRIP = 20
# Generous, as the median deviation of coarse integers may be a third too small.
_CLIP_SIGMA = 6.0
_WINDOWS = (1, 5, 17, 65, 257, 1025)


@dataclass(frozen=True, slots=True)
class OverscanLevel:
    """Level of a strip, row by row.

    Attributes
    ----------
    level : ndarray (ny,) float64 [ADU]
    variance : float [ADU^2]
        Of `level` in one row.
    noise : float [ADU]
        Standard deviation of one readout, quantisation included; 0 for a strip that carries no noise.
    window : int
        Rows averaged; 0 when one constant does.
    drift : float [ADU]
        Largest minus smallest level.
    """

    level: np.ndarray
    variance: float
    noise: float
    window: int
    drift: float


def overscan_level(strip: np.ndarray, trailing_side: str = "low") -> OverscanLevel:
    """Level of an overscan or prescan strip.

    Rows are clipped means (a median of integers is biased by up to half a unit); they are smoothed over as many
    rows as the data themselves support (`smooth_by_risk`), one constant when nothing drifts.

    Parameters
    ----------
    strip : ndarray (ny, n) [ADU]
        NaN is ignored.
    trailing_side : {"low", "high"}
        Side on which the light lies.

    Returns
    -------
    OverscanLevel

    Raises
    ------
    ValueError
        The strip holds no finite value.
    """
    if strip.shape[1] >= _WIDE_STRIP:
        strip = strip[:, _TRAILING_COLUMNS:] if trailing_side == "low" else strip[:, :-_TRAILING_COLUMNS]
    finite = np.isfinite(strip)
    if not finite.any():
        raise ValueError("the overscan holds no finite value")
    values = strip.astype(np.float64)
    if not finite.all():
        values[~finite] = np.median(values[finite])
    rows, noise = _clipped_rows(values)
    row_variance = noise**2 / values.shape[1]
    level, window, variance = smooth_by_risk(rows, row_variance)
    return OverscanLevel(level, variance, noise, window, float(np.ptp(level)))


def _clipped_rows(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Clipped mean of each row, and the standard deviation about it and about the columns' means."""
    count = values.shape[1]
    # Sorting rows is several times faster than to ask for their medians.
    ranked = np.sort(values, axis=1)
    rows = 0.5 * (ranked[:, (count - 1) // 2] + ranked[:, count // 2])
    deviation = np.abs(values - rows[:, None])
    # Quantised values may have a median deviation of 0; half a unit is what they cannot tell.
    limit = _CLIP_SIGMA * max(1.4826 * float(np.median(deviation)), 0.75)
    kept = deviation <= limit
    number = np.maximum(kept.sum(axis=1), 1)
    rows = np.where(kept, values, 0.0).sum(axis=1) / number
    residual = np.where(kept, values - rows[:, None], 0.0)
    # Columns of the strip have levels of their own, which are no noise.
    residual = np.where(kept, residual - residual.sum(axis=0) / np.maximum(kept.sum(axis=0), 1), 0.0)
    degrees = max(int(kept.sum()) - len(rows) - count + 1, 1)
    noise = float(np.sqrt(np.square(residual).sum() / degrees)) if count > 1 and len(rows) > 1 else 0.0
    return rows, noise


def smooth_by_risk(rows: np.ndarray, row_variance: float) -> tuple[np.ndarray, int, float]:
    """Smooth a noisy sequence over the window of least estimated risk.

    Stein's unbiased estimate (Stein 1981, Ann. Stat. 9, 1135) of the mean squared error of each running mean,
    |rows - smooth|^2 / n + 2 variance / window - variance, decides; the constant wins unless another is better by
    more than chance allows. Ends are continued by point reflection, which keeps a trend.

    Parameters
    ----------
    rows : ndarray (n,)
    row_variance : float
        Of one value.

    Returns
    -------
    smooth : ndarray (n,)
    window : int
        0 for the constant.
    variance : float
        Of one smoothed value.
    """
    n = len(rows)
    constant = np.full(n, rows.mean())
    constant_risk = float(np.square(rows - constant).mean()) + 2 * row_variance / n - row_variance
    best, window, risk = constant, 0, constant_risk
    for width in _WINDOWS:
        if width >= n // 2:
            break
        smooth = _running_mean(rows, width)
        own_risk = float(np.square(rows - smooth).mean()) + 2 * row_variance / width - row_variance
        if own_risk < risk:
            best, window, risk = smooth, width, own_risk
    chance = 5.0 * row_variance * np.sqrt(2.0 / n)
    if window and constant_risk - risk < chance:
        best, window = constant, 0
    return best, window, row_variance / (window or n)


def _running_mean(rows: np.ndarray, width: int) -> np.ndarray:
    if width == 1:
        return rows.copy()
    half = width // 2
    padded = np.pad(rows, half, mode="reflect", reflect_type="odd")
    return uniform_filter1d(padded, width)[half:-half]
