"""Spectra of all beams of a sequence become one, with the noise that they share where an exposure served twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from soxs_recipes.reduction.exposures.exposure_combination import CombinedExposures, NoiseLink, combine_extractions
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder

__all__ = ["Beam", "caught_light", "combine_beams"]

_FWHM = 2.3548


@dataclass(frozen=True, slots=True)
class Beam:
    """The source as one exposure shows it, extracted from a difference.

    Attributes
    ----------
    exposure : int
        Which exposure.
    difference : int
        Which difference.
    sign : float
        +1 for the positive beam of the difference, -1 for the negative one.
    time : float [s]
        Of the exposure.
    orders : tuple of ExtractedOrder
        In counts of that exposure.
    parts : mapping exposure -> (factor, time [s])
        With which factor each exposure is in the difference.
    """

    exposure: int
    difference: int
    sign: float
    time: float
    orders: tuple[ExtractedOrder, ...] = field(repr=False)
    parts: Mapping[int, tuple[float, float]] = field(repr=False)


def combine_beams(beams: Sequence[Beam], correlations: Mapping[int, Sequence[np.ndarray]]) -> CombinedExposures:
    """Robust mean of all beams, outliers between them left out.

    Parameters
    ----------
    beams : sequence of Beam
        The same orders on the same bins in each.
    correlations : mapping difference -> sequence (order) of ndarray (5, n)
        Of the noise of the positive with that of the negative beam of a difference.
    """
    links = []
    for i, first in enumerate(beams):
        for j, second in enumerate(beams[:i]):
            correlation = (
                correlations.get(first.difference)
                if first.difference == second.difference
                else _of_shared_exposures(first, second)
            )
            if correlation is not None and len(correlation):
                links.append(NoiseLink(j, i, correlation))
    return combine_extractions([beam.orders for beam in beams], [beam.time for beam in beams], links)


def _of_shared_exposures(first: Beam, second: Beam) -> list[np.ndarray] | None:
    """Correlation of two beams whose differences hold the same exposure; None when they hold none.

    Both fluxes weight the exposure's noise by their profiles, so it goes as the overlap of these and as the
    exposure's share of the noise, which is that of time in the background.
    """
    common = set(first.parts) & set(second.parts)
    if not common:
        return None
    noise = [sum(factor**2 * time for factor, time in beam.parts.values()) for beam in (first, second)]
    share = sum(first.parts[key][0] * second.parts[key][0] * first.parts[key][1] for key in common)
    share *= first.sign * second.sign / np.sqrt(noise[0] * noise[1])
    result = []
    for one, two in zip(first.orders, second.orders, strict=True):
        lags = np.vstack([np.ones(one.spectrum.flux.size), one.spectrum.correlation])
        result.append(share * lags * _overlap(one, two))
    return result


def _overlap(one: ExtractedOrder, two: ExtractedOrder) -> np.ndarray:
    """Normalised overlap of two Gaussian profiles per bin, times the background's share of both variances."""
    widths = np.array([one.seeing, two.seeing]) / _FWHM
    square = float((widths**2).sum())
    distance = one.spectrum.trace - two.spectrum.trace
    overlap = np.sqrt(2.0 * widths.prod() / square) * np.exp(-0.5 * distance**2 / square)
    for item in (one, two):
        spectrum = item.spectrum
        known = np.isfinite(spectrum.variance) & (spectrum.variance > 0)
        background = np.where(known, spectrum.background_variance, 0.0)
        overlap = overlap * np.sqrt(background / np.where(known, spectrum.variance, 1.0))
    return overlap


def caught_light(beams: Sequence[Beam]) -> tuple[np.ndarray, np.ndarray]:
    """Light of each beam over that of the one with most signal, and its error; 1 and inf without signal.

    Returns
    -------
    ratio, error : ndarray (beams,)
    """
    rate, weight = [], []
    for beam in beams:
        flux = np.concatenate([item.spectrum.flux for item in beam.orders])
        variance = np.concatenate([item.spectrum.variance for item in beam.orders])
        known = np.isfinite(variance) & (variance > 0)
        rate.append(np.where(known, flux, 0.0) / beam.time)
        weight.append(np.where(known, beam.time**2 / np.where(known, variance, 1.0), 0.0))
    rate, weight = np.array(rate), np.array(weight)
    signal = (np.maximum(rate, 0.0) ** 2 * weight).sum(axis=1) - (weight > 0).sum(axis=1)
    best = int(np.argmax(signal))
    # Neighbouring bins together, so that the reference's noise adds little.
    reference = _smooth(np.where(weight[best] > 0, rate[best], 0.0))
    information = (reference**2 * weight).sum(axis=1)
    if information[best] < 25.0:
        return np.ones(len(beams)), np.full(len(beams), np.inf)
    information = np.where(information > 0, information, 1e-30)
    return (rate * reference * weight).sum(axis=1) / information, 1.0 / np.sqrt(information)


def _smooth(values, width: int = 31):
    return np.convolve(values, np.full(width, 1.0 / width), mode="same") if values.size > width else values
