"""Several exposures of one object, extracted on the same bins, become one spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag
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


def _combine_order(group: Sequence[ExtractedOrder], scale: np.ndarray, total_time: float, linked=()):
    spectra = [item.spectrum for item in group]
    factor = scale[:, None]
    flux = np.array([spectrum.flux for spectrum in spectra])
    variance = np.array([spectrum.variance for spectrum in spectra])
    shared = np.array([item.shared_variance for item in group])
    own = variance - shared
    known = np.isfinite(variance) & (variance > 0)
    weight = np.where(known, factor**2 / np.where(known, own, 1.0), 0.0)
    bad = _outliers(flux / factor, weight)
    weight[bad] = 0.0
    total = weight.sum(axis=0)
    reached = total > 0
    share = weight / np.where(reached, total, 1.0)

    def mean(values):
        finite = np.where(np.isfinite(values), values, 0.0)
        return (share * finite / factor).sum(axis=0) * total_time

    def spread(values, part):
        finite = np.where(known, values, 0.0)
        return (part**2 * finite / factor**2).sum(axis=0) * total_time**2

    # What linked noise adds, as a factor on the variance of independent exposures.
    deviation = share * np.sqrt(np.where(known, own, 0.0)) / factor
    crossed = _crossed(deviation, linked)
    independent = (deviation**2).sum(axis=0)
    joined = np.clip(1.0 + crossed[0] / np.where(independent > 0, independent, 1.0), 0.05, None)
    common = ((share * np.sqrt(shared) / factor).sum(axis=0) * total_time) ** 2
    combined_variance = spread(own, share) * joined + common
    quality = np.bitwise_or.reduce([np.where(w > 0, s.quality, 0) for w, s in zip(weight, spectra, strict=True)])
    quality[bad.any(axis=0) & reached] |= np.int32(QualityFlag.OUTLIER)
    quality[~reached] |= np.int32(QualityFlag.NO_DATA)
    background = np.array([s.background_variance for s in spectra])
    lost = np.where(reached, 0.0, np.inf)
    spectrum = replace(
        spectra[0],
        flux=mean(flux),
        variance=combined_variance + lost,
        boxcar_flux=mean(np.array([s.boxcar_flux for s in spectra])),
        boxcar_variance=spread(np.array([s.boxcar_variance for s in spectra]), share) * joined + lost,
        sky=mean(np.array([s.sky for s in spectra])),
        background_variance=spread(np.where(known, background, 0.0), share) * joined + lost,
        quality=quality.astype(np.int32),
        trace=(share * np.array([s.trace for s in spectra])).sum(axis=0),
    )
    covariance = np.array([item.covariance for item in group])
    covariance = (share[:, None] ** 2 * covariance / factor[:, None] ** 2).sum(axis=0) + crossed[1:]
    covariance *= total_time**2
    result = ExtractedOrder(
        replace(spectrum, correlation=correlations(combined_variance, covariance, reached)),
        common,
        covariance,
        _nanmean([item.sky_residual_on for item in group]),
        _nanmean([item.sky_residual_off for item in group]),
        float(np.mean([item.seeing for item in group])),
        _profile_errors(group, share, np.where(reached, total * spectrum.flux**2, 0.0)),
    )
    return result, int(bad.sum())


def _profile_errors(group, share, information):
    """Those of the mean: no two exposures have a cause in common."""
    shares = share @ information / max(information.sum(), np.finfo(float).tiny)
    return np.concatenate([part * item.profile_errors for part, item in zip(shares, group, strict=True)])


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
