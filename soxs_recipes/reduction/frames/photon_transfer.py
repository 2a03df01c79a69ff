"""Gain and read noise from pairs of flats: the photon-transfer curve (Janesick 2007, Photon Transfer).

Pixels of like brightness form groups; the variance of each group is that of the difference of two equal exposures,
so that the pixels' own response cancels. Levels and variances are in ADU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.linearity import LinearityCurve

__all__ = [
    "Correlation",
    "GroupedPixels",
    "PairStatistics",
    "TransferCurve",
    "brightness_groups",
    "fit_transfer_curve",
    "neighbour_correlation",
    "pair_statistics",
    "read_noise_of_pairs",
]

_CLIP = 5.0
_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
_QUANTISATION = 1.0 / 12.0  # ADU^2
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True, slots=True)
class GroupedPixels:
    """Pixels sorted by brightness.

    Attributes
    ----------
    index : ndarray (n,) int
        Flat indices of the pixels, those of a group together.
    first : ndarray (groups + 1,) int
        Where each group begins in `index`.
    rate : ndarray (n,) float64 [ADU/s]
        Of each pixel.
    """

    index: np.ndarray
    first: np.ndarray
    rate: np.ndarray

    @property
    def count(self) -> int:
        """Number of groups."""
        return self.first.size - 1

    @property
    def mean_rate(self) -> np.ndarray:
        """(groups,) [ADU/s]."""
        return np.add.reduceat(self.rate, self.first[:-1]) / np.diff(self.first)

    @property
    def largest_rate(self) -> np.ndarray:
        """(groups,) [ADU/s]."""
        return np.maximum.reduceat(self.rate, self.first[:-1])


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """What a pair of equal exposures says of each group.

    Attributes
    ----------
    level : ndarray (groups,) float64 [ADU]
        Mean of both exposures, scaled to the group's mean brightness; NaN for a group without enough pixels.
    level_error : ndarray (groups,) [ADU]
    variance : ndarray (groups,) [ADU^2]
        Of one exposure.
    variance_error : ndarray (groups,) [ADU^2]
    count : ndarray (groups,) int
        Pixels used.
    """

    level: np.ndarray
    level_error: np.ndarray
    variance: np.ndarray
    variance_error: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, slots=True)
class Correlation:
    """Covariance of neighbouring pixels over the variance, summed over the eight neighbours."""

    total: float
    error: float

    @property
    def is_significant(self) -> bool:
        """Whether the neighbours share noise: charge that spreads makes the variance too small."""
        return abs(self.total) > 4.0 * self.error

    @classmethod
    def mean(cls, several: Sequence[Correlation]) -> Correlation:
        """Weighted mean; infinite error when there is nothing."""
        weights = np.array([1.0 / one.error**2 for one in several])
        if not weights.sum() > 0.0:
            return cls(0.0, np.inf)
        total = float(np.dot(weights, [one.total for one in several]) / weights.sum())
        return cls(total, float(1.0 / np.sqrt(weights.sum())))


@dataclass(frozen=True, slots=True)
class TransferCurve:
    """Gain and read noise of one amplifier.

    Attributes
    ----------
    gain, gain_error : float [e-/ADU]
    noise_floor : float [ADU^2]
        Variance without light, by the fit.
    model : ndarray [ADU^2]
        Of the points' shape. Variance by the fit; NaN where a point did not take part.
    chi_square : float
        Reduced.
    """

    gain: float
    gain_error: float
    noise_floor: float
    model: np.ndarray
    chi_square: float


def brightness_groups(
    rate: np.ndarray, good: np.ndarray, count: int = 30, faintest: float = 0.02, least: int = 300
) -> GroupedPixels:
    """Groups of pixels with like brightness, evenly spaced in its logarithm.

    Parameters
    ----------
    rate : ndarray (ny, nx) [ADU/s]
        From exposures that saturate nowhere.
    good : ndarray (ny, nx) bool
    count : int
        Groups asked for; those with fewer than `least` pixels are left out.
    faintest : float
        Darkest pixels used, over the 99.5th percentile.
    """
    values = rate.ravel().astype(np.float64)
    chosen = good.ravel() & np.isfinite(values) & (values > 0)
    if chosen.sum() < least:
        return GroupedPixels(np.zeros(0, np.intp), np.zeros(1, np.intp), np.zeros(0))
    top = float(np.percentile(values[chosen], 99.5))
    edges = np.geomspace(faintest * top, 1.05 * top, count + 1)
    group = np.digitize(values, edges) - 1
    group[~chosen | (group >= count)] = -1
    group[group < 0] = count  # sorted to the end
    numbers = np.bincount(group, minlength=count + 1)[:count]
    group[(numbers < least)[np.minimum(group, count - 1)] & (group < count)] = count
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=count + 1)[:count]
    sizes = sizes[sizes > 0]
    index = order[: sizes.sum()]
    return GroupedPixels(index, np.concatenate([[0], np.cumsum(sizes)]), values[index])


def pair_statistics(
    first: np.ndarray, second: np.ndarray, bad: np.ndarray, groups: GroupedPixels
) -> PairStatistics:
    """Level and variance of each group in a pair of exposures.

    Parameters
    ----------
    first, second : ndarray (ny, nx) [ADU]
        Without electronic level.
    bad : ndarray (ny, nx) bool
        Pixels that are saturated or unusable in either.
    groups : GroupedPixels

    Notes
    -----
    Hits of cosmic rays are left out where the difference exceeds 5 sigma. A group of which more than 1 % of the
    pixels are bad gives NaN, for it may have begun to saturate.
    """
    one, two = (image.ravel()[groups.index].astype(np.float64) for image in (first, second))
    usable = ~bad.ravel()[groups.index]
    difference = two - one
    rows = np.full((groups.count, 4), np.nan)
    counts = np.zeros(groups.count, int)
    for number in range(groups.count):
        part = slice(groups.first[number], groups.first[number + 1])
        kept = usable[part]
        if kept.mean() < 0.99:
            continue
        values = difference[part]
        middle = np.median(values[kept])
        sigma = _NORMAL * np.median(np.abs(values[kept] - middle))
        kept = kept & (np.abs(values - middle) < _CLIP * max(sigma, 0.5))
        n = int(kept.sum())
        variance = 0.5 * float(np.var(values[kept], ddof=1))
        rate = groups.rate[part]
        brightness = 0.5 * (one[part] + two[part])[kept].sum() / rate[kept].sum() * rate.mean()
        rows[number] = brightness, np.sqrt(0.5 * variance / n), variance, variance * np.sqrt(2.0 / n)
        counts[number] = n
    return PairStatistics(*rows.T, counts)


def neighbour_correlation(
    first: np.ndarray, second: np.ndarray, bad: np.ndarray, noise_floor: float, faintest: float
) -> Correlation:
    """Correlation of the photon noise of neighbouring pixels in a pair, summed over the eight around a pixel.

    Parameters
    ----------
    first, second : ndarray (ny, nx) [ADU]
    bad : ndarray (ny, nx) bool
    noise_floor : float [ADU^2]
        Variance without light, which neighbours do not share.
    faintest : float [ADU]
        Pixels with less signal do not count.
    """
    level = 0.5 * (first + second)
    scale = np.sqrt(np.maximum(level, faintest))
    deviate = (second - first) / scale
    kept = ~bad & (level > faintest)
    if kept.sum() < 10000:
        return Correlation(0.0, np.inf)
    deviate = deviate - np.median(deviate[kept])
    sigma = _NORMAL * np.median(np.abs(deviate[kept]))
    kept &= np.abs(deviate) < _CLIP * sigma
    variance = float(np.mean(deviate[kept] ** 2) - np.mean(2.0 * noise_floor / np.square(scale[kept])))
    total, information = 0.0, 0.0
    for dy, dx in _NEIGHBOURS:
        here = (slice(None, -dy or None), slice(max(0, -dx), -dx if dx > 0 else None))
        there = (slice(dy, None), slice(max(0, dx), dx if dx < 0 else None))
        both = kept[here] & kept[there]
        n = int(both.sum())
        product = (deviate[here] * deviate[there])[both]
        total += 2.0 * float(product.mean()) / variance
        information += 4.0 * float(product.var()) / n / variance**2
    return Correlation(total, float(np.sqrt(information)))


def fit_transfer_curve(
    level: np.ndarray,
    variance: np.ndarray,
    error: np.ndarray,
    curve: LinearityCurve | None = None,
    noise_floor: float | None = None,
    correlation: Correlation | None = None,
) -> TransferCurve:
    """Gain from variances and levels: variance = floor + true level / (gain slope^2).

    The photon noise of a true level is read through the slope of the detector's curve, so a curved response bends
    the relation without changing the gain.

    Parameters
    ----------
    level, variance, error : ndarray (points,) or any other shape [ADU, ADU^2, ADU^2]
        NaN where there is nothing.
    curve : LinearityCurve or None
        None: linear.
    noise_floor : float or None [ADU^2]
        Variance without light when it is known better than the fit tells it.
    correlation : Correlation or None
        Variance that went into neighbours is added when it is significant.

    Returns
    -------
    TransferCurve
        NaN gain with fewer than three points.
    """
    kept = np.isfinite(level) & np.isfinite(variance) & (error > 0)
    model = np.full(level.shape, np.nan)
    if kept.sum() < 3:
        return TransferCurve(np.nan, np.nan, np.nan, model, np.nan)
    y = level[kept].astype(float)
    photons = y if curve is None else curve.corrected(y) / curve.slope(y) ** 2
    if correlation is not None and correlation.is_significant:
        photons = photons / (1.0 + correlation.total)
    columns = np.stack([photons] if noise_floor is not None else [photons, np.ones_like(photons)], axis=1)
    fixed = noise_floor or 0.0
    target = variance[kept] - fixed
    relative = error[kept] / variance[kept]
    weight, used = 1.0 / error[kept], np.ones(y.size, bool)
    for _ in range(5):
        design = columns * (weight * used)[:, None]
        covariance = np.linalg.inv(design.T @ design)
        solution = covariance @ (design.T @ (target * weight * used))
        # The error of a variance is in proportion to it; errors of the measured ones would favour the low.
        weight = 1.0 / (relative * np.maximum(fixed + columns @ solution, 1e-3))
        residual = (target - columns @ solution) * weight
        used = np.abs(residual) < max(_CLIP, _CLIP * _NORMAL * float(np.median(np.abs(residual))))
    degrees = max(int(used.sum()) - columns.shape[1], 1)
    chi_square = float(np.sum(residual[used] ** 2) / degrees)
    floor = float(solution[1]) if noise_floor is None else float(noise_floor)
    model.flat[np.flatnonzero(kept)[used]] = fixed + (columns @ solution)[used]
    gain = 1.0 / float(solution[0])
    error_of_gain = gain**2 * float(np.sqrt(covariance[0, 0] * max(chi_square, 1.0)))
    return TransferCurve(gain, error_of_gain, floor, model, chi_square)


def read_noise_of_pairs(
    frames: list[np.ndarray], good: np.ndarray, level_variance: float = 0.0
) -> tuple[float, float]:
    """Read noise and its error [ADU] from exposures without light, quantisation taken out.

    Parameters
    ----------
    frames : list of ndarray (ny, nx) [ADU]
        At least two; successive ones are compared.
    good : ndarray (ny, nx) bool
    level_variance : float [ADU^2]
        That the subtraction of the electronic level added to each frame.
    """
    variances = []
    for one, two in zip(frames[::2], frames[1::2], strict=False):
        difference = (two - one)[good].astype(np.float64)
        difference -= np.median(difference)
        sigma = max(_NORMAL * float(np.median(np.abs(difference))), 0.5)
        kept = np.abs(difference) < _CLIP * sigma
        variances.append(0.5 * float(np.var(difference[kept])))
    if not variances:
        return np.nan, np.nan
    mean = float(np.mean(variances))
    noise = np.sqrt(max(mean - _QUANTISATION - level_variance, 0.0))
    spread = mean * np.sqrt(2.0 / (good.sum() * len(variances)))
    return float(noise), float(0.5 * spread / max(noise, 1e-3))
