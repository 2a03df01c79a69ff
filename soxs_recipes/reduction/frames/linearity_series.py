"""One amplifier's gain, read noise, saturation and linearity from a series of pairs of flats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.reduction.frames.linearity import (
    LinearityFit,
    PixelDeviations,
    fit_linearity,
    full_well,
    pixel_deviations,
)
from soxs_recipes.reduction.frames.photon_transfer import (
    Correlation,
    GroupedPixels,
    PairStatistics,
    TransferCurve,
    brightness_groups,
    fit_transfer_curve,
    neighbour_correlation,
    pair_statistics,
)

__all__ = ["AmplifierResult", "Pair", "characterise"]

_RANGE_OF_RATES = (0.2, 0.5)  # of the longest exposure: far from saturation and from the read noise
_RANGES = (0.9, 0.85, 0.8, 0.75, 0.7, 0.6)  # of the saturation, tried in turn
_HOLDS = 5e-4  # relative residual with which a curve holds
_LEAST_FLOOR = 0.1  # ADU^2
_FAINTEST_FOR_CORRELATION = 0.1  # of the saturation


@dataclass(frozen=True, slots=True)
class Pair:
    """Two equal exposures.

    Attributes
    ----------
    time : float [s]
    first, second : ndarray (ny, nx) float32 [ADU]
        Without electronic level and structure.
    bad, saturated : ndarray (ny, nx) bool
        In either; `bad` are pixels without value.
    """

    time: float
    first: np.ndarray
    second: np.ndarray
    bad: np.ndarray
    saturated: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(ny, nx) float32 [ADU]."""
        return np.float32(0.5) * (self.first + self.second)

    def part(self, columns: tuple[int, int]) -> Pair:
        """The columns of an amplifier."""
        cut = (slice(None), slice(*columns))
        return Pair(self.time, self.first[cut], self.second[cut], self.bad[cut], self.saturated[cut])


@dataclass(frozen=True, slots=True)
class AmplifierResult:
    """What a series says of an amplifier; levels and variances in ADU.

    Attributes
    ----------
    columns : (first, end)
    transfer : TransferCurve
    correlation : Correlation
    saturation : float [ADU]
        NaN when the series does not reach it.
    converter_limited : bool
        Whether the converter's last count is what is reached.
    linearity : LinearityFit or None
    deviations : PixelDeviations or None
    times : ndarray (exposures,) [s]
    statistics : tuple of PairStatistics
    used : ndarray (exposures, groups) bool
        Points below saturation.
    """

    columns: tuple[int, int]
    transfer: TransferCurve
    correlation: Correlation
    saturation: float
    converter_limited: bool
    linearity: LinearityFit | None
    deviations: PixelDeviations | None
    times: np.ndarray
    statistics: tuple[PairStatistics, ...]
    used: np.ndarray

    @property
    def level(self) -> np.ndarray:
        """(exposures, groups) [ADU]."""
        return np.array([one.level for one in self.statistics])

    @property
    def variance(self) -> np.ndarray:
        """(exposures, groups) [ADU^2]."""
        return np.array([one.variance for one in self.statistics])


def characterise(
    pairs: Sequence[Pair],
    good: np.ndarray,
    columns: tuple[int, int],
    *,
    noise_floor: float | None,
    degree: int = 4,
    fit_limit: float = 0.95,
    shutter: bool = True,
) -> AmplifierResult:
    """Groups of pixels, their levels and variances, the curve, the gain, and pixels that differ.

    Parameters
    ----------
    pairs : sequence of Pair
        Of rising time, of whole frames.
    good : ndarray (ny, nx) bool
    columns : (first, end)
        Of the amplifier.
    noise_floor : float or None [ADU^2]
        Variance without light; None: fitted.
    degree : int
        Terms of the linearity curve.
    fit_limit : float
        Part of the saturation up to which signals take part.
    shutter : bool
        Whether the light may last longer than the exposure time says.
    """
    pairs = [pair.part(columns) for pair in sorted(pairs, key=lambda pair: pair.time)]
    good = good[:, slice(*columns)]
    rate, steady = _rates(pairs, good)
    longest = pairs[-1]
    saturation = full_well(rate, longest.mean, longest.time, steady)
    converter = bool(np.isfinite(saturation) and longest.saturated[steady].sum() > 100)
    groups = brightness_groups(rate, steady)
    statistics = tuple(
        pair_statistics(pair.first, pair.second, pair.bad | pair.saturated, groups) for pair in pairs
    )
    times = np.array([pair.time for pair in pairs])
    linearity, used = _fit_in_range(
        times, statistics, groups, saturation, columns, degree, fit_limit, shutter=shutter
    )
    level, variance = (np.array([getattr(one, name) for one in statistics]) for name in ("level", "variance"))
    kept = np.where(used, level, np.nan)
    top = float(np.nanmax(kept)) if used.any() else 0.0
    correlation = _correlation(pairs, good, noise_floor or 0.0, top)
    variance_errors = np.array([one.variance_error for one in statistics])

    def transfer_by(curve):
        return fit_transfer_curve(kept, variance, variance_errors, curve, noise_floor, correlation)

    transfer = _transfer_curve(transfer_by, linearity)
    deviations = None
    if linearity is not None and np.isfinite(transfer.gain):
        deviations = _deviations(pairs, good, times, linearity, transfer)
    return AmplifierResult(
        columns, transfer, correlation, saturation, converter, linearity, deviations, times, statistics, used
    )


def _transfer_curve(transfer_by: Callable, linearity) -> TransferCurve:
    """The transfer curve by a linearity curve (None: none), whose uncertainty goes into the gain's error."""
    if linearity is None:
        return transfer_by(None)
    transfer = transfer_by(linearity.curve)
    if not np.isfinite(transfer.gain):
        return transfer
    moved = [transfer_by(other).gain for other in linearity.uncertain_curves()]
    spread = float(np.linalg.norm(np.array(moved) - transfer.gain))
    return replace(transfer, gain_error=float(np.hypot(transfer.gain_error, spread)))


def _correlation(pairs: Sequence[Pair], good: np.ndarray, noise_floor: float, top: float) -> Correlation:
    """Of all pairs with light enough, at signals where nothing saturates."""
    found = []
    for pair in pairs:
        masked = ~good | pair.bad | pair.saturated | (pair.mean > np.float32(max(top, 1.0)))
        faintest = max(_FAINTEST_FOR_CORRELATION * top, 1.0)
        found.append(neighbour_correlation(pair.first, pair.second, masked, noise_floor, faintest))
    return Correlation.mean(found)


def _deviations(
    pairs: Sequence[Pair], good: np.ndarray, times: np.ndarray, fit: LinearityFit, transfer: TransferCurve
) -> PixelDeviations:
    lit = (times + fit.delay) * fit.lamp
    floor = max(transfer.noise_floor, _LEAST_FLOOR)
    wrong = (_hit(pair, transfer.gain, floor) | ~good for pair in pairs)
    means = (pair.mean for pair in pairs)
    return pixel_deviations(means, wrong, lit, good.shape, fit.curve, transfer.gain, floor)


def _rates(pairs: Sequence[Pair], good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of each pixel [ADU/s] and where it is known."""
    low, high = (part * pairs[-1].time for part in _RANGE_OF_RATES)
    chosen = [pair for pair in pairs if low <= pair.time <= high] or list(pairs[: max(1, len(pairs) // 2)])
    rate = sum(pair.mean for pair in chosen) / np.float32(sum(pair.time for pair in chosen))
    wrong = np.logical_or.reduce([pair.bad | pair.saturated for pair in chosen])
    return rate, good & ~wrong


def _fit_in_range(
    times: np.ndarray,
    statistics: Sequence[PairStatistics],
    groups: GroupedPixels,
    saturation: float,
    columns: tuple[int, int],
    degree: int,
    fit_limit: float,
    *,
    shutter: bool,
) -> tuple[LinearityFit | None, np.ndarray]:
    """The curve over the widest range of signals in which it holds, and the points in range, (exposures, groups).

    Near saturation the response may bend more sharply than a polynomial can: one that is made to follow is wrong
    everywhere.
    """
    level, error = (np.array([getattr(one, name) for one in statistics]) for name in ("level", "level_error"))
    finite = np.isfinite(level)
    if not finite.any():
        return None, finite
    brightest = level * (groups.largest_rate / groups.mean_rate)[None, :]
    ceiling = saturation if np.isfinite(saturation) else float(np.nanmax(brightest)) / fit_limit
    fit, used = None, finite
    for part in (fit_limit, *(share for share in _RANGES if share < fit_limit)):
        used = finite & (brightest < part * ceiling * 1.0001)
        kept = np.where(used, level, np.nan)
        top = 1.001 * float(np.nanmax(kept)) if used.any() else 0.0
        fit = fit_linearity(times, kept, error, columns=columns, limit=top, degree=degree, shutter=shutter)
        if fit is None:
            break
        _, residuals = fit.residual_by_level(level)
        if np.nanmax(np.abs(residuals)) < _HOLDS:
            break
    return fit, used


def _hit(pair: Pair, gain: float, floor: float) -> np.ndarray:
    """Pixels without value, or whose two exposures differ by more than their noise: cosmic rays."""
    variance = np.maximum(pair.mean, np.float32(0.0)) / np.float32(gain) + np.float32(floor)
    return pair.bad | pair.saturated | (np.square(pair.second - pair.first) > np.float32(2.0 * 36.0) * variance)
