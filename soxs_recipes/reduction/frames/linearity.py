"""Linearity from exposures of rising time: one curve an amplifier, and pixels that differ from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from soxs_recipes.data.linearity import LinearityCurve

__all__ = ["LinearityFit", "PixelDeviations", "fit_linearity", "full_well", "pixel_deviations"]

_LEAST_LEVELS = 4


@dataclass(frozen=True, slots=True)
class LinearityFit:
    """A curve and how well it holds.

    Attributes
    ----------
    curve : LinearityCurve
    delay, delay_error : float [s]
        By which the light lasts longer than the exposure time says.
    rate : ndarray (groups,) [ADU/s]
        True brightness; NaN for groups that took no part.
    lamp : ndarray (exposures,)
        Brightness of the lamp in each, around 1.
    residual : ndarray (exposures, groups)
        Corrected over expected signal, minus 1; NaN where a point took no part.
    levels : int
        Exposure times that took part.
    covariance : ndarray (terms, terms)
        Of the curve's coefficients.
    """

    curve: LinearityCurve
    delay: float
    delay_error: float
    rate: np.ndarray
    lamp: np.ndarray
    residual: np.ndarray
    levels: int
    covariance: np.ndarray

    def uncertain_curves(self) -> list[LinearityCurve]:
        """The curve moved by one standard deviation along each axis of its error ellipsoid."""
        values, axes = np.linalg.eigh(self.covariance)
        moves = np.sqrt(np.maximum(values, 0.0))[:, None] * axes.T
        return [
            replace(self.curve, coefficients=tuple(np.array(self.curve.coefficients) + move)) for move in moves
        ]

    def residual_by_level(self, level: np.ndarray, bins: int = 12) -> tuple[np.ndarray, np.ndarray]:
        """(level [ADU], mean residual) in even bins of level up to the limit, NaN where there is no point."""
        edges = np.linspace(0.0, self.curve.limit, bins + 1)
        place = np.clip(np.digitize(level, edges) - 1, 0, bins - 1)
        known = np.isfinite(self.residual) & np.isfinite(level)
        counts = np.bincount(place[known], minlength=bins)
        sums = np.bincount(place[known], self.residual[known], minlength=bins)
        means = np.full(bins, np.nan)
        means[counts > 0] = sums[counts > 0] / counts[counts > 0]
        return 0.5 * (edges[1:] + edges[:-1]), means


@dataclass(frozen=True, slots=True)
class PixelDeviations:
    """Curvature of single pixels beyond that of their amplifier.

    Attributes
    ----------
    deviation : ndarray (ny, nx) float32
        Relative departure from the amplifier's curve at its limit; NaN where there is too little light to tell.
    error : ndarray (ny, nx) float32
    """

    deviation: np.ndarray
    error: np.ndarray

    def deviating(self, tolerance: float, sigma: float) -> np.ndarray:
        """(ny, nx) bool: beyond the tolerance and its error."""
        size = np.abs(np.nan_to_num(self.deviation))
        return (size > tolerance) & (size > sigma * np.nan_to_num(self.error, nan=np.inf))


def full_well(rate: np.ndarray, image: np.ndarray, time: float, good: np.ndarray) -> float:
    """Signal at which pixels stop rising [ADU]; NaN when the exposure does not reach it.

    Parameters
    ----------
    rate : ndarray (ny, nx) [ADU/s]
    image : ndarray (ny, nx) [ADU]
        The longest exposure.
    time : float [s]
    good : ndarray (ny, nx) bool
    """
    if not good.any():
        return np.nan
    ceiling = float(np.percentile(image[good], 99.9))
    beyond = good & (rate * np.float32(time) > 1.15 * ceiling)
    if beyond.sum() < 100:
        return np.nan
    values = image[beyond]
    plateau = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - plateau)))
    return plateau if spread < 0.02 * plateau else np.nan


def fit_linearity(
    times: Sequence[float],
    level: np.ndarray,
    error: np.ndarray,
    *,
    columns: tuple[int, int],
    limit: float,
    degree: int = 3,
    lamp_stability: float = 3e-4,
    shutter: bool = True,
) -> LinearityFit | None:
    """The curve that makes signals proportional to exposure time, for all groups of pixels at once.

    Groups of different brightness show the same signals at different times: that tells the curve from the lamp's
    unsteadiness, which is fitted too, held to `lamp_stability`. Nothing is assumed of the gain.

    Parameters
    ----------
    times : sequence (exposures,) [s]
    level, error : ndarray (exposures, groups) [ADU]
        NaN where there is nothing.
    columns : (first, end)
        Of the amplifier, for the curve.
    limit : float [ADU]
        Signals above take no part.
    degree : int
        Terms of the curve.
    lamp_stability : float
        Relative scatter of the lamp from pair to pair.
    shutter : bool
        Whether light may last longer or shorter than the exposure time says, by a delay that is fitted.

    Returns
    -------
    LinearityFit or None
        None with fewer than four exposure times in range.
    """
    times = np.asarray(times, float)
    used = np.isfinite(level) & (level > 0) & (level < limit) & (error > 0) & (times[:, None] > 0)
    used &= used.sum(axis=0) >= _LEAST_LEVELS
    levels = np.unique(times[used.any(axis=1)]).size
    if levels < _LEAST_LEVELS + degree - 1:
        return None
    exposure, group = np.nonzero(used)
    known, group = np.unique(group, return_inverse=True)
    sigma = np.hypot(error[used], 1e-5 * level[used])
    model = _SeriesModel(times, exposure, group, level[used], sigma, degree, lamp_stability, shutter)
    found = least_squares(
        model.misfit, model.start, model.jacobian, method="trf", loss="soft_l1", f_scale=4.0, x_scale="jac"
    )
    coefficients, delay, rate, lamp = model.parts(found.x)
    covariance = np.linalg.pinv(found.jac.T @ found.jac)
    residual = np.full(level.shape, np.nan)
    residual[used] = model.corrected(coefficients) / model.expected(delay, rate, lamp) - 1.0
    rates = np.full(level.shape[1], np.nan)
    rates[known] = model.first_rate * rate
    curve = LinearityCurve(columns, model.reference, tuple(float(c) for c in coefficients), model.reference)
    delay_error = float(model.longest * np.sqrt(covariance[degree, degree]))
    spread = covariance[:degree, :degree]
    return LinearityFit(curve, float(delay), delay_error, rates, lamp, residual, levels, spread)


class _SeriesModel:
    """Corrected signals of all groups and exposures against brightness, time and lamp.

    Parameters of the fit, in one vector: coefficients, delay over the longest time, rates over their first guess,
    lamp of each exposure.
    """

    def __init__(self, times, exposure, group, signal, sigma, degree, lamp_stability, shutter):
        self.times, self.exposure, self.group = times, exposure, group
        self.signal, self.sigma, self.degree = signal, sigma, degree
        self.lamp_stability, self.longest = lamp_stability, float(times.max())
        self.delay_scale = self.longest * (1.0 if shutter else 1e-9)
        self.reference = float(signal.max())
        self.powers = np.stack([(signal / self.reference) ** power for power in range(1, degree + 1)], axis=1)
        self.first_rate = np.bincount(group, signal) / np.bincount(group, times[exposure])
        self.start = np.concatenate([np.zeros(degree + 1), np.ones(self.first_rate.size + times.size)])

    def parts(self, p: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
        """(coefficients, delay [s], relative rates, lamp)."""
        first_lamp = self.degree + 1 + self.first_rate.size
        return p[: self.degree], p[self.degree] * self.longest, p[self.degree + 1 : first_lamp], p[first_lamp:]

    def corrected(self, coefficients: np.ndarray) -> np.ndarray:
        """Signals made linear [ADU]."""
        return self.signal * (1.0 + self.powers @ coefficients)

    def expected(self, delay: float, rate: np.ndarray, lamp: np.ndarray) -> np.ndarray:
        """Signals of a linear detector [ADU]."""
        time = (self.times[self.exposure] + delay) * lamp[self.exposure]
        return self.first_rate[self.group] * rate[self.group] * time

    def misfit(self, p: np.ndarray) -> np.ndarray:
        """Differences over their errors; lamp and delay are held by what is known of them."""
        coefficients, delay, rate, lamp = self.parts(p)
        difference = (self.corrected(coefficients) - self.expected(delay, rate, lamp)) / self.sigma
        return np.concatenate([difference, (lamp - 1.0) / self.lamp_stability, [delay / self.delay_scale]])

    def jacobian(self, p: np.ndarray) -> np.ndarray:
        """Derivatives of `misfit`."""
        _, delay, rate, lamp = self.parts(p)
        n, degree, exposures = self.signal.size, self.degree, self.times.size
        first_lamp = degree + 1 + self.first_rate.size
        rows, lamps = np.arange(n), np.arange(exposures)
        bright = self.first_rate[self.group] * rate[self.group] / self.sigma
        time = self.times[self.exposure] + delay
        full = np.zeros((n + exposures + 1, p.size))
        full[rows, :degree] = (self.signal / self.sigma)[:, None] * self.powers
        full[rows, degree] = -bright * lamp[self.exposure] * self.longest
        full[rows, degree + 1 + self.group] = -bright / rate[self.group] * time * lamp[self.exposure]
        full[rows, first_lamp + self.exposure] = -bright * time
        full[n + lamps, first_lamp + lamps] = 1.0 / self.lamp_stability
        full[-1, degree] = self.longest / self.delay_scale
        return full


def pixel_deviations(
    signals: Iterable[np.ndarray],
    bad: Iterable[np.ndarray],
    exposures: Iterable[float],
    shape: tuple[int, int],
    curve: LinearityCurve,
    gain: float,
    noise_floor: float,
) -> PixelDeviations:
    """Each pixel's departure from its amplifier's curve: corrected signal = rate exposure (1 + b u).

    Parameters
    ----------
    signals : iterable of ndarray (ny, nx) float32 [ADU]
        Means of two exposures; asked for one by one.
    bad : iterable of ndarray (ny, nx) bool
        Pixels that are saturated or hit.
    exposures : iterable of float [s]
        Exposure times with delay and lamp.
    shape : (ny, nx)
    curve : LinearityCurve
    gain : float [e-/ADU]
    noise_floor : float [ADU^2]
        Variance of one exposure without light.
    """
    aa, ab, bb, az, bz = (np.zeros(shape, np.float32) for _ in range(5))
    highest = np.zeros(shape, np.float32)
    for signal, wrong, time in zip(signals, bad, exposures, strict=True):
        usable = ~wrong & (signal < curve.limit)
        u = np.clip(signal / np.float32(curve.reference), 0.0, None)
        true = curve.corrected(signal)
        time = np.float32(time)
        weight = usable * (
            np.float32(2.0) / (np.maximum(signal, 0.0) / np.float32(gain) + np.float32(noise_floor))
        )
        aa += weight * time**2
        az += weight * time * true
        weight *= time * u
        ab += weight * time
        bz += weight * true
        bb += weight * time * u
        np.maximum(highest, np.where(usable, u, np.float32(0.0)), out=highest)
    determinant = aa * bb - ab**2
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = (bb * az - ab * bz) / determinant
        relative = (aa * bz - ab * az) / determinant / rate
        error = np.sqrt(aa / determinant) / np.abs(rate)
    unknown = (highest < 0.2) | ~np.isfinite(relative) | (rate <= 0)
    relative[unknown] = np.nan
    error[unknown] = np.nan
    return PixelDeviations(relative, error)
