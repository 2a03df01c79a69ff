"""What each pixel answers, of a flat whose smooth part is known: measured, averaged over lamps, denoised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from soxs_recipes.reduction.flat.blaze import OrderPixels, SmoothFlat

__all__ = [
    "PixelResponse",
    "SmoothLight",
    "SpreadCells",
    "average_responses",
    "measure_response",
    "measure_spread",
    "settled_spread",
    "shrink",
]

_CELL = 128  # rows in which pixels are taken to scatter alike
_RARE = 3e-4  # fraction of pixels whose response is not of the Gaussian kind
_ODD_SPREAD = 0.2  # spread of those
_USUAL = 0.005  # spread where nothing can be measured
_TIGHT = 0.25  # how far a cell's variance of response is expected from the detector's, relative


@dataclass(frozen=True, slots=True)
class PixelResponse:
    """Response of an order's pixels about the smooth model; arrays (n,) float64.

    Attributes
    ----------
    deviation : ndarray
        Response minus 1.
    variance : ndarray
        Of `deviation`, each pixel's own; inf where there is no value.
    common : ndarray
        Variance that neighbours share: of the smooth model and of the scattered light.
    illumination : ndarray
        Of the slit, 1 at its middle.
    blaze : ndarray [e-]
    blaze_error : ndarray
        Relative.
    """

    deviation: np.ndarray
    variance: np.ndarray
    common: np.ndarray
    illumination: np.ndarray
    blaze: np.ndarray
    blaze_error: np.ndarray


@dataclass(frozen=True, slots=True)
class SmoothLight:
    """Smooth light of an order's pixels by one lamp, arrays (n,) float64.

    Attributes
    ----------
    illumination : ndarray
        Of the slit, its blurred ends included.
    blaze : ndarray [e-]
    error : ndarray
        Relative, of the blaze.
    """

    illumination: np.ndarray
    blaze: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, model: SmoothFlat, pixels: OrderPixels, slit_ends: np.ndarray) -> SmoothLight:
        """Light by a model; `slit_ends` (n,) tells how it falls off at the slit's blurred ends, 1 inside."""
        blaze, illumination = model.light(pixels.along, pixels.slit)
        place = np.rint(pixels.along).astype(np.int64)
        first = int(place.min())
        error = model.blaze_error(np.arange(first, int(place.max()) + 1, dtype=np.float64))
        return cls(illumination * slit_ends, blaze, error[place - first])


def measure_response(
    light: SmoothLight, pixels: OrderPixels, scattered_variance: np.ndarray, expected: np.ndarray | float
) -> PixelResponse:
    """Response by one lamp.

    Parameters
    ----------
    light : SmoothLight
    pixels : OrderPixels
    scattered_variance : ndarray (n,) [e-^2]
        Of the scattered light that was subtracted.
    expected : ndarray (n,) or float
        Deviation by which photon noise is reckoned: of a model, so that noise does not weigh itself.
    """
    signal = np.maximum(light.blaze * light.illumination, 1e-6)
    photons = pixels.photon_factor * signal * np.maximum(1.0 + expected, 0.01)
    seen = pixels.photon_factor > 0
    square = np.square(signal)
    return PixelResponse(
        deviation=np.where(seen, pixels.value / signal - 1.0, 0.0),
        variance=np.where(seen, (pixels.background_variance + photons) / square, np.inf),
        common=scattered_variance / square + np.square(light.error),
        illumination=light.illumination,
        blaze=light.blaze,
        blaze_error=light.error,
    )


def average_responses(views: Sequence[PixelResponse], along: np.ndarray, inner: np.ndarray) -> PixelResponse:
    """Several lamps' responses, weighted by variance, without a lamp where its lines defeat its smooth model.

    Parameters
    ----------
    views : sequence of PixelResponse
    along : ndarray (n,) [px]
    inner : ndarray (n,) bool
        Away from the slit's ends.
    """
    if len(views) == 1:
        return views[0]
    weights = np.stack([1.0 / (view.variance + view.common) for view in views])
    weights *= _without_lamp_lines(views, weights, along, inner)
    total = weights.sum(axis=0)
    seen = total > 0
    weights = np.where(seen, weights / np.where(seen, total, 1.0), 1.0 / len(views))

    def mean(name, power=1):
        values = [
            np.where(weight > 0, getattr(view, name), 0.0) for weight, view in zip(weights, views, strict=True)
        ]
        return sum(weight**power * value for weight, value in zip(weights, values, strict=True))

    return PixelResponse(
        deviation=np.where(seen, mean("deviation"), 0.0),
        variance=np.where(seen, mean("variance", 2), np.inf),
        common=mean("common", 2),
        illumination=mean("illumination"),
        blaze=sum(view.blaze for view in views),
        blaze_error=np.min(np.stack([view.blaze_error for view in views]), axis=0),
    )


def _without_lamp_lines(views, weights, along, inner):
    """0 for a lamp where its spectrum has structure that its smooth model misses and the other lamp has not."""
    factors = np.ones((len(views), along.size))
    row = np.rint(along).astype(np.int64)
    row -= row.min()
    size = int(row.max()) + 1
    means, errors = [], []
    for view, weight in zip(views, weights, strict=True):
        good = weight * inner
        total = np.bincount(row, weights=good, minlength=size)
        mean = np.bincount(row, weights=good * np.clip(view.deviation, -20.0, 20.0), minlength=size)
        means.append(mean / np.maximum(total, 1e-300))
        errors.append(np.where(total > 0, 1.0 / np.sqrt(np.maximum(total, 1e-300)), np.inf))
    for index in range(len(views)):
        other = min((k for k in range(len(views)) if k != index), key=lambda k: np.median(errors[k]))
        difference = np.abs(means[index] - means[other])
        deviant = (difference > 6.0 * np.hypot(errors[index], errors[other])) & (difference > 0.01)
        deviant &= np.abs(means[index]) > np.abs(means[other])
        factors[index] = ~(np.convolve(deviant, np.ones(9), mode="same") > 0)[row]
    # Never leave a row to nobody.
    factors[:, factors.sum(axis=0) == 0] = 1.0
    return factors


@dataclass(frozen=True, slots=True)
class SpreadCells:
    """Variance of the pixels' response in cells of rows, photon noise taken out.

    Attributes
    ----------
    row : ndarray (n,) [px]
        Middle of each cell.
    variance, error : ndarray (n,)
        `error` is inf where a cell has too few pixels; `variance` may be negative by noise.
    """

    row: np.ndarray
    variance: np.ndarray
    error: np.ndarray


def measure_spread(view: PixelResponse, rows: np.ndarray, good: np.ndarray) -> SpreadCells:
    """Spread of response along an order, from its `good` pixels' robust scatter."""
    first = int(rows.min())
    number = (int(rows.max()) - first) // _CELL + 1
    chosen = np.flatnonzero(good & np.isfinite(view.variance))
    chosen = chosen[np.argsort((rows[chosen] - first) // _CELL, kind="stable")]
    bounds = np.searchsorted((rows[chosen] - first) // _CELL, np.arange(number + 1))
    variance, error = np.zeros(number), np.full(number, np.inf)
    for index in range(number):
        cell = chosen[bounds[index] : bounds[index + 1]]
        if cell.size < 200:
            continue
        noise = view.variance[cell]
        # The better half, so that pixels of a faint end do not decide.
        best = noise <= np.median(noise)
        deviation = view.deviation[cell][best]
        scatter = (1.4826 * np.median(np.abs(deviation - np.median(deviation)))) ** 2
        variance[index] = scatter - np.mean(noise[best])
        error[index] = 2.4 * scatter / np.sqrt(best.sum())
    return SpreadCells(first + _CELL * (np.arange(number) + 0.5) - 0.5, variance, error)


def settled_spread(cells: Sequence[SpreadCells]) -> list[SpreadCells]:
    """Spread of each cell (`variance` > 0): its own where well measured, drawn to the detector's elsewhere."""
    variance = np.concatenate([one.variance for one in cells])
    weight = np.concatenate([1.0 / one.error for one in cells])
    order = np.argsort(variance)
    typical, certain = variance[order][np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())], _USUAL**-4.0
    # Flats too faint to tell are helped by what detectors usually do.
    known = (weight**2).sum()
    typical = max(float((typical * known + _USUAL**2 * certain) / (known + certain)), 1e-6)
    prior = (_TIGHT * typical) ** -2.0
    settled = []
    for one in cells:
        own = one.error**-2.0
        mean = (own * one.variance + prior * typical) / (own + prior)
        settled.append(SpreadCells(one.row, np.maximum(mean, 1e-6), (own + prior) ** -0.5))
    return settled


def shrink(view: PixelResponse, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the response given the data (empirical Bayes).

    The prior is a Gaussian of the pixels' spread with a rare broad component, so that a pixel which stands out
    keeps its own value. Variances leave out `view.common`.

    Parameters
    ----------
    view : PixelResponse
    spread : ndarray (n,)
        Standard deviation of the pixels' response.

    Returns
    -------
    deviation, variance : ndarray (n,) float64
    """
    noise = np.where(np.isfinite(view.variance), view.variance, 1e12)
    narrow, broad = spread**2, _ODD_SPREAD**2
    square = view.deviation**2
    logarithm = (
        np.log(_RARE)
        + 0.5 * np.log((noise + narrow) / (noise + broad))
        + 0.5 * square * (1.0 / (noise + narrow) - 1.0 / (noise + broad))
    )
    odd = expit(np.clip(logarithm, -60.0, 60.0))
    keep_narrow, keep_broad = narrow / (narrow + noise), broad / (broad + noise)
    mean = ((1.0 - odd) * keep_narrow + odd * keep_broad) * view.deviation
    variance = (1.0 - odd) * keep_narrow * noise + odd * keep_broad * noise
    variance += odd * (1.0 - odd) * (keep_broad - keep_narrow) ** 2 * square
    return mean, variance
