"""Several exposures of one object, extracted on the same bins, become one spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder, correlations

__all__ = ["CombinedExposures", "NoiseLink", "combine_extractions", "relative_throughput"]

_OUTLIER = 5.0  # sigma
_TEMPLATE = 41  # bins over which the template of the throughput is smoothed
_ENOUGH_SIGNAL = 20.0  # Total signal-to-noise of an exposure from which its throughput is measured.


@dataclass(frozen=True, slots=True)
class CombinedExposures:
    """The result.

    Attributes
    ----------
    orders : tuple of ExtractedOrder
        Counts over the summed exposure time.
    throughput : ndarray (exposures,)
        Relative, mean 1: clouds and slit losses.
    rejected : int
        Bins of single exposures that disagreed with the others.
    """

    orders: tuple[ExtractedOrder, ...]
    throughput: np.ndarray
    rejected: int


@dataclass(frozen=True, slots=True)
class NoiseLink:
    """Noise that two of the exposures have in common.

    Attributes
    ----------
    first, second : int
        Which of the exposures.
    correlation : sequence (order) of ndarray (5, n)
        Of their own noise: row k is that of bin i of the first with bin i + k of the second.
    """

    first: int
    second: int
    correlation: Sequence[np.ndarray]


def relative_throughput(exposures: Sequence[Sequence[ExtractedOrder]], times: np.ndarray) -> np.ndarray:
    """How much of the object each exposure caught, relative to their mean; 1 where the signal cannot tell."""
    flux = [np.concatenate([order.spectrum.flux for order in orders]) for orders in exposures]
    variance = [np.concatenate([order.spectrum.variance for order in orders]) for orders in exposures]
    rate, weight = np.array(flux) / times[:, None], times[:, None] ** 2 / np.array(variance)
    known = np.all(weight > 0, axis=0)
    if known.sum() < 20:
        return np.ones(len(times))
    rate, weight = rate[:, known], weight[:, known]
    reference = np.median(rate, axis=0)
    common = weight.mean(axis=0)  # the same weights for all, so that noise in them cancels
    # Bins in which an exposure is an outlier say nothing of its throughput.
    calm = np.all(
        np.abs(rate - reference) * np.sqrt(weight) < 8.0 + 0.5 * np.abs(reference) * np.sqrt(weight), axis=0
    )
    # Smoothed, for a template that holds an exposure's own noise finds itself in it.
    template = _smoothed(reference, common * calm)
    total = (rate * template * common)[:, calm].sum(axis=1)
    signal = np.sqrt(np.maximum((template**2 * common)[calm].sum(), 0.0))
    if signal < _ENOUGH_SIGNAL or np.any(total <= 0):
        return np.ones(len(times))
    return total / total.mean()


def _smoothed(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    kernel = np.ones(min(_TEMPLATE, values.size))
    total = np.convolve(weight, kernel, mode="same")
    return np.convolve(values * weight, kernel, mode="same") / np.where(total > 0, total, 1.0)


def combine_extractions(
    exposures: Sequence[Sequence[ExtractedOrder]], times: Sequence[float], links: Sequence[NoiseLink] = ()
) -> CombinedExposures:
    """Inverse-variance mean per bin, outliers between exposures left out, shared variance not reduced.

    Parameters
    ----------
    exposures : sequence (exposure) of sequence (order) of ExtractedOrder
        The same orders on the same bins in each.
    times : sequence of float [s]
    links : sequence of NoiseLink
        Beams of one difference, or exposures from which the same one was subtracted.
    """
    times = np.asarray(times, dtype=np.float64)
    if len(exposures) == 1:
        return CombinedExposures(tuple(exposures[0]), np.ones(1), 0)
    throughput = relative_throughput(exposures, times)
    combined, rejected = [], 0
    for index, group in enumerate(zip(*exposures, strict=True)):
        linked = [(link.first, link.second, link.correlation[index]) for link in links]
        order, lost = _combine_order(group, times * throughput, times.sum(), linked)
        combined.append(order)
        rejected += lost
    return CombinedExposures(tuple(combined), throughput, rejected)


@dataclass(frozen=True, slots=True)
class _Shares:
    """How much each exposure counts in the mean of an order, bin by bin.

    known, bad: (exposures, bins), measured at all, and off the others; total: (bins,) weight [1/e-^2 s^2];
    share: (exposures, bins), 1 in sum; factor: (exposures, 1) [s], time times throughput; time: [s] of all.
    """

    known: np.ndarray
    bad: np.ndarray
    total: np.ndarray
    share: np.ndarray
    factor: np.ndarray
    time: float

    @classmethod
    def of(cls, flux, variance, own, scale: np.ndarray, time: float) -> _Shares:
        """By the variance of the rates that is not common to all; 0 for outliers."""
        factor = scale[:, None]
        known = np.isfinite(variance) & (variance > 0)
        weight = np.where(known, factor**2 / np.where(known, own, 1.0), 0.0)
        bad = _outliers(flux / factor, weight)
        weight[bad] = 0.0
        total = weight.sum(axis=0)
        return cls(known, bad, total, weight / np.where(total > 0, total, 1.0), factor, time)

    @property
    def reached(self) -> np.ndarray:
        """Bins (bins,) that any exposure tells of."""
        return self.total > 0

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean (bins,) of counts (exposures, bins), in the time of all."""
        finite = np.where(np.isfinite(values), values, 0.0)
        return (self.share * finite / self.factor).sum(axis=0) * self.time

    def variance(self, values: np.ndarray) -> np.ndarray:
        """Variance (bins,) of the mean of independent counts with variances `values`."""
        finite = np.where(self.known, values, 0.0)
        return (self.share**2 * finite / self.factor**2).sum(axis=0) * self.time**2

    def quality(self, spectra: Sequence[OrderSpectrum]) -> np.ndarray:
        """Bits (bins,) of the exposures that count, and what was left out."""
        bits = [np.where(share > 0, one.quality, 0) for share, one in zip(self.share, spectra, strict=True)]
        quality = np.bitwise_or.reduce(bits)
        quality[self.bad.any(axis=0) & self.reached] |= np.int32(QualityFlag.OUTLIER)
        quality[~self.reached] |= np.int32(QualityFlag.NO_DATA)
        return quality.astype(np.int32)


def _combine_order(group: Sequence[ExtractedOrder], scale: np.ndarray, total_time: float, linked=()):
    """(The order's mean over exposures, how many values were left out)."""
    spectra = [item.spectrum for item in group]

    def of_all(name):
        return np.array([getattr(spectrum, name) for spectrum in spectra])

    flux, variance = of_all("flux"), of_all("variance")
    shared = np.array([item.shared_variance for item in group])
    own = variance - shared
    shares = _Shares.of(flux, variance, own, scale, total_time)
    # What linked noise adds, as a factor on the variance of independent exposures.
    deviation = shares.share * np.sqrt(np.where(shares.known, own, 0.0)) / shares.factor
    crossed = _crossed(deviation, linked)
    independent = (deviation**2).sum(axis=0)
    joined = np.clip(1.0 + crossed[0] / np.where(independent > 0, independent, 1.0), 0.05, None)
    common = ((shares.share * np.sqrt(shared) / shares.factor).sum(axis=0) * total_time) ** 2
    combined = shares.variance(own) * joined + common
    covariance = np.array([item.covariance for item in group])
    covariance = (shares.share[:, None] ** 2 * covariance / shares.factor[:, None] ** 2).sum(axis=0) + crossed[1:]
    covariance *= total_time**2
    lost = np.where(shares.reached, 0.0, np.inf)
    spectrum = replace(
        spectra[0],
        flux=shares.mean(flux),
        variance=combined + lost,
        boxcar_flux=shares.mean(of_all("boxcar_flux")),
        boxcar_variance=shares.variance(of_all("boxcar_variance")) * joined + lost,
        sky=shares.mean(of_all("sky")),
        background_variance=shares.variance(of_all("background_variance")) * joined + lost,
        quality=shares.quality(spectra),
        trace=(shares.share * of_all("trace")).sum(axis=0),
        correlation=correlations(combined, covariance, shares.reached),
    )
    information = np.where(shares.reached, shares.total * spectrum.flux**2, 0.0)
    result = ExtractedOrder(
        spectrum,
        common,
        covariance,
        _nanmean([item.sky_residual_on for item in group]),
        _nanmean([item.sky_residual_off for item in group]),
        float(np.mean([item.seeing for item in group])),
        _profile_errors(group, shares.share, information),
    )
    return result, int(shares.bad.sum())


def _profile_errors(group, share, information):
    """Those of the mean: exposures have no cause in common but where one took the other's profile."""
    shares = share @ information / max(information.sum(), np.finfo(float).tiny)
    causes, first = [np.zeros(item.profile_errors.size) for item in group], {}
    for k, (part, item) in enumerate(zip(shares, group, strict=True)):
        # Causes keep their places, for all orders have them in common.
        causes[first.setdefault(item.profile_errors.tobytes(), k)] += part * item.profile_errors
    return np.concatenate(causes)


def _crossed(deviation, linked):
    """Covariance (5, n) that links add to the mean, in each bin and with the next four."""
    bins = deviation.shape[1]
    result = np.zeros((5, bins))
    for i, j, correlation in linked:
        for lag in range(5):
            last = bins - lag
            product = deviation[i, :last] * deviation[j, lag:] + deviation[j, :last] * deviation[i, lag:]
            result[lag, :last] += correlation[lag, :last] * product
    return result


def _outliers(rate, weight):
    """Values off the weighted mean of the others; of two that disagree the brighter, as hits only add light."""
    bad = np.zeros(rate.shape, dtype=bool)
    for _ in range(rate.shape[0] - 1):
        alive = np.where(bad, 0.0, weight)
        total = alive.sum(axis=0)
        others = total - alive
        known = (alive > 0) & (others > 0)
        mean_others = ((alive * rate).sum(axis=0) - alive * rate) / np.where(known, others, 1.0)
        sigma = np.sqrt(1.0 / np.where(known, alive, 1.0) + 1.0 / np.where(known, others, 1.0))
        # A tenth of the signal: throughput may change with wavelength.
        pull = np.where(known, (rate - mean_others) / np.hypot(sigma, 0.1 * np.abs(mean_others)), 0.0)
        worst = np.argmax(np.abs(pull) + 1e-6 * pull, axis=0)
        columns = np.arange(rate.shape[1])
        worst = np.where(
            (known.sum(axis=0) == 2) & (np.abs(pull).max(axis=0) > _OUTLIER), np.argmax(pull, axis=0), worst
        )
        out = np.abs(pull[worst, columns]) > _OUTLIER
        if not out.any():
            break
        bad[worst[out], columns[out]] = True
    return bad


def _nanmean(values):
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
