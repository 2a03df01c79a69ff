"""Light summed between two slit positions, sky taken from beside: for extended sources and for checks.

Sky and point sources are fitted on the pixels outside all apertures; inside, the sky is that fit's, at each
pixel's own wavelength. Sums run along the true slit direction with fractional pixels at both ends. A masked pixel
gives what the aperture's own smooth curve along the slit and the rest of its bin lead one to expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import OrderMaps, PixelMaps
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.extraction.cosmic_rays import find_cosmic_rays
from soxs_recipes.reduction.extraction.extraction import ExposureResult, collect_result, make_grids, set_up_fits
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder, correlations, sky_residual_widths
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.extraction.slit_light import SlitLight, slit_light
from soxs_recipes.reduction.extraction.source_fit import fit_sources
from soxs_recipes.reduction.extraction.target_search import sources_on_slit, with_negative_beams
from soxs_recipes.reduction.profiles.slit_sources import SlitSource, TargetChoice
from soxs_recipes.reduction.sky.order_pixels import OrderGrid

__all__ = ["extract_apertures"]

_CHUNKS = 12
_MARGIN = 0.5  # arcsec beside an aperture that do not tell the sky
_LOST = 0.3  # Share of the aperture's light below which a bin holds no measurement ...
_PARTIAL = 0.95  # ... and below which it is flagged.
_ROUNDS = 3
_REJECTION = 6.0  # sigma
_SHAPE_ERROR = 0.4  # by how much the light at one wavelength may follow another curve along the slit
_LAGS = 4


@dataclass(frozen=True, slots=True)
class _Inside:
    """The pixels of one order in one aperture.

    share : how much of each pixel's extent along the slit lies inside; low: first bin each shares in; right: share
    of the second; light: above sky and sources, flat-fielded [e-]; noise: its variance; good: not masked.
    """

    where: np.ndarray
    share: np.ndarray
    low: np.ndarray
    right: np.ndarray
    light: np.ndarray
    good: np.ndarray

    def summed(self, values: np.ndarray, bins: int, power: int = 1) -> np.ndarray:
        """Sum over the bins that the pixels overlap, with the overlap to a power."""
        total = np.bincount(self.low + 1, values * (1.0 - self.right) ** power, minlength=bins + 3)
        total += np.bincount(self.low + 2, values * self.right**power, minlength=bins + 3)
        return total[1 : bins + 1]

    def crossed(self, values: np.ndarray, bins: int) -> np.ndarray:
        """What each bin shares with the next."""
        total = np.bincount(self.low + 1, values * (1.0 - self.right) * self.right, minlength=bins + 3)
        return total[1 : bins + 1]


def extract_apertures(
    frame: Frame,
    maps: PixelMaps | OrderMaps,
    dispersion_axis: int,
    apertures: Sequence[tuple[float, float]],
    *,
    bands: Mapping[int, str],
    base_variance: np.ndarray,
    flat: Frame | None = None,
    grids: list[OrderGrid] | None = None,
    settings: ExtractionSettings | None = None,
) -> ExposureResult:
    """Sum the light in each aperture of every order that shows sky beside them.

    Parameters
    ----------
    apertures : sequence of (low, high) [arcsec]
        The first counts as the target.
    others
        As for `extraction.extract_exposure`; of the wishes only `background` and `negative_beams` are heard.

    Raises
    ------
    UnprocessableData
        No order holds usable pixels outside the apertures, or an aperture lies off the slit in all of them.
    """
    settings = settings or ExtractionSettings()
    grids = grids or make_grids(maps, dispersion_axis)
    fits = set_up_fits(frame, maps, dispersion_axis, base_variance, flat, grids, settings)
    summable = {fit.pixels.order: fit.usable.copy() for fit in fits}
    fits = _with_sky_beside(fits, apertures, settings.request.background)
    for fit in fits:
        fit.estimate_sky()
    beams = settings.request.negative_beams
    found = sorted(sources_on_slit(fits, beams=beams), key=lambda s: -s.brightness)[: settings.maximum_sources]
    outside = TargetChoice(0, tuple(found), "", False, False, beams=0)
    if beams:
        outside = with_negative_beams(outside, fits)
    found = [s for s in outside.sources if not any(a - _MARGIN < s.position < b + _MARGIN for a, b in apertures)]
    outside = replace(outside, sources=tuple(found))
    _, hits = fit_sources(frame, fits, outside, settings)
    if settings.find_cosmic_rays:
        hits |= _hits_inside(frame, fits, apertures, summable, settings)

    def extract(fit, band, shared):
        good = summable[fit.pixels.order] & ~hits.ravel()[fit.pixels.index]
        return [_spectrum(fit, aperture, band, good, shared) for aperture in apertures]

    result = collect_result(frame, fits, _choice(apertures, outside), {}, hits, bands, settings, extract)
    for fit in fits:  # what was summed is shown beside what told the sky
        fit.usable = summable[fit.pixels.order]
        fit.rejected |= hits.ravel()[fit.pixels.index]
    light = [_behind(slit_light(fit), len(apertures)) for fit in fits]
    return replace(result, slit_light=tuple(light), profiles=())


def _behind(light: SlitLight, apertures: int) -> SlitLight:
    """The sources behind the apertures, as in the choice; these have no model."""
    nothing = np.full((apertures, light.slit.size), np.nan)
    return replace(light, sources=np.concatenate([nothing, light.sources]))


def _choice(apertures, outside):
    sources = [SlitSource(0.5 * (low + high), high - low, 0.0, 0.0) for low, high in apertures]
    places = ", ".join(f"{low:+.2f} to {high:+.2f}" for low, high in apertures)
    reason = f"light summed from {places} arcsec as asked"
    return TargetChoice(0, (*sources, *outside.sources), reason, True, False, beams=len(sources))


def _with_sky_beside(fits: list[OrderFit], apertures, background) -> list[OrderFit]:
    """The orders whose sky can be told; the reason of the first one when there is none."""
    kept, reasons = [], []
    for fit in fits:
        try:
            _set_aside(fit, apertures, background)
        except UnprocessableData as error:
            reasons.append(error)
        else:
            kept.append(fit)
    if not kept:
        raise reasons[0]
    return kept


def _set_aside(fit: OrderFit, apertures, background) -> None:
    """What lies in an aperture, or outside the background's stretches, does not tell the sky."""
    slit = fit.pixels.slit
    low, high = fit.pixels.slit_range
    keep = np.ones(slit.size, dtype=bool)
    if background:
        keep = np.any([(slit >= first) & (slit <= last) for first, last in background], axis=0)
    for first, last in apertures:
        if last <= low or first >= high:
            raise UnprocessableData(
                f"the aperture from {first:g} to {last:g} arcsec lies off the slit, {low:.1f} to {high:.1f} arcsec"
            )
        keep &= (slit < first - _MARGIN) | (slit > last + _MARGIN)
    fit.usable &= keep
    if fit.usable.sum() < 3 * fit.pixels.grid.size:
        raise UnprocessableData(f"order {fit.pixels.order}: too few pixels tell the sky beside the apertures")


def _inside(fit: OrderFit, aperture, good) -> _Inside:
    pixels = fit.pixels
    half = 0.5 * pixels.footprint
    low = np.maximum(pixels.slit - half, aperture[0])
    high = np.minimum(pixels.slit + half, aperture[1])
    share = np.clip((high - low) / (2.0 * half), 0.0, 1.0)
    where = np.flatnonzero(share > 0)
    position = pixels.position[where]
    first = np.floor(position).astype(np.int64)
    light = (fit.data - fit.model)[where] / np.maximum(fit.flat[where], 0.02)
    return _Inside(where, share[where], first, position - first, light, good[where])


def _variance(fit: OrderFit, inside: _Inside, expected: np.ndarray) -> np.ndarray:
    """Of the pixels' flat-fielded light [e-^2], with the light `expected` in them [e-, flat-fielded]."""
    where = inside.where
    flat = np.maximum(fit.flat[where], 0.02)
    photons = fit.expected[where] + expected * flat
    variance = fit.base_variance[where] + np.maximum(photons, 0.0)
    return variance / flat**2 + photons**2 * fit.flat_share[where] / flat**2


def _model(fit: OrderFit, inside: _Inside) -> np.ndarray:
    """Expected light of the pixels [e-, flat-fielded]: a curve along the slit times a flux in each bin.

    The curve is a mean over a twelfth of the order, in cells of a pixel, between which it is interpolated; two
    rounds find both, masked and deviant pixels left out.
    """
    bins = fit.pixels.grid.size
    slit, size = fit.pixels.slit[inside.where], fit.pixels.footprint[inside.where]
    step = float(np.median(size))
    cell = np.floor((slit - slit.min()) / step).astype(np.int64)
    cells = int(cell.max()) + 1
    position = fit.pixels.position[inside.where]
    nodes = position / bins * _CHUNKS - 0.5
    first = np.clip(np.floor(nodes).astype(np.int64), 0, _CHUNKS - 2)
    part = np.clip(nodes - first, 0.0, 1.0)
    chunk = np.clip((position / bins * _CHUNKS).astype(np.int64), 0, _CHUNKS - 1)
    curve = np.ones((_CHUNKS, cells))
    good, expected = inside.good.copy(), np.zeros(slit.size)
    for _ in range(_ROUNDS):
        noise = _variance(fit, inside, expected)
        weight = np.where(good, 1.0 / noise, 0.0)
        shape = size * ((1.0 - part) * curve[first, cell] + part * curve[first + 1, cell])
        norm = inside.summed(weight * shape**2, bins)
        flux = inside.summed(weight * shape * inside.light, bins) / np.where(norm > 0, norm, 1.0)
        flux = _filled(flux, norm > 0)
        here = np.interp(position, np.arange(bins), flux)
        key = chunk * cells + cell
        scale = here * size
        top = np.bincount(key, weight * scale * inside.light, minlength=curve.size)
        bottom = np.bincount(key, weight * scale**2, minlength=curve.size)
        # A prior of an even curve holds where nothing is seen.
        curve = ((top + 1.0) / (bottom + 1.0)).reshape(curve.shape)
        expected = here * size * ((1.0 - part) * curve[first, cell] + part * curve[first + 1, cell])
        allowed = np.hypot(_REJECTION * np.sqrt(noise), _SHAPE_ERROR * np.abs(expected))
        good = inside.good & (np.abs(inside.light - expected) < allowed)
    return expected


def _filled(values, known):
    if not known.any():
        return np.zeros(values.size)
    bins = np.arange(values.size)
    return np.interp(bins, bins[known], values[known])


def _hits_inside(frame, fits, apertures, summable, settings) -> np.ndarray:
    """Cosmic rays in the apertures [bool image], judged by the aperture's own smooth light."""
    residual, sigma = np.zeros(frame.shape, np.float32), np.ones(frame.shape, np.float32)
    usable = np.zeros(frame.shape, dtype=bool)
    for fit in fits:
        for aperture in apertures:
            inside = _inside(fit, aperture, summable[fit.pixels.order])
            expected, index = _model(fit, inside), fit.pixels.index[inside.where]
            flat = np.maximum(fit.flat[inside.where], 0.02)
            residual.reshape(-1)[index] = (inside.light - expected) * flat
            tolerance = _SHAPE_ERROR * np.abs(expected) * flat + 0.02 * np.abs(fit.sky[inside.where])
            sigma.reshape(-1)[index] = np.sqrt(_variance(fit, inside, expected) * flat**2 + tolerance**2)
            usable.reshape(-1)[index] = inside.good
    return find_cosmic_rays(residual, sigma, usable, threshold=settings.cosmic_ray_threshold)


def _spectrum(fit: OrderFit, aperture, band: str, good: np.ndarray, shared_variance) -> ExtractedOrder:
    grid, bins = fit.pixels.grid, fit.pixels.grid.size
    inside = _inside(fit, aperture, good)
    expected = _model(fit, inside)
    noise = _variance(fit, inside, expected)
    light = np.where(inside.good, inside.light, expected)
    flux = inside.summed(inside.share * light, bins)
    own = inside.share**2 * noise
    photons = np.clip(expected / np.maximum(fit.flat[inside.where], 0.02) / noise, 0.0, 1.0)
    background = inside.summed(own * (1.0 - photons), bins, 2)
    width = inside.share * fit.pixels.footprint[inside.where]
    covariance = _sky_covariance(fit, inside, width)
    width = inside.summed(width, bins)
    variance = inside.summed(own, bins, 2) + np.maximum(covariance[0], 0.0)
    background += np.maximum(covariance[0], 0.0)
    covariance = covariance[1:]
    covariance[0] += inside.crossed(own, bins)
    quality, lost = _quality(inside, expected, fit, bins)
    position = np.arange(bins, dtype=np.float64)
    sky = fit.knots.spline(fit.solution.sky_coefficients)(position) * width
    spectrum = OrderSpectrum(
        order=grid.order,
        band=band,
        wavelength=grid.wavelength,
        bin_width=grid.bin_width,
        flux=np.where(lost, 0.0, flux),
        variance=np.where(lost, np.inf, variance),
        boxcar_flux=np.where(lost, 0.0, flux),
        boxcar_variance=np.where(lost, np.inf, variance),
        sky=sky,
        background_variance=np.where(lost, np.inf, background),
        quality=quality,
        trace=np.full(bins, 0.5 * (aperture[0] + aperture[1])),
        correlation=correlations(variance, covariance, ~lost),
    )
    shared = _shared(fit, inside, expected, bins, shared_variance)
    on, off = sky_residual_widths(fit)
    return ExtractedOrder(
        spectrum, np.where(lost, 0.0, shared), np.where(lost, 0.0, covariance), on, off, float("nan")
    )


def _sky_covariance(fit: OrderFit, inside: _Inside, width) -> np.ndarray:
    """Covariance (5, bins) of the sky that was subtracted, each bin's with itself and the next four.

    A bin takes in the sky at its pixels' own positions, to either side of its centre: half a bin aside by as much
    as gives the same second moment.
    """
    bins = fit.pixels.grid.size
    lattice = fit.joint.sky_covariance()
    total = inside.summed(width, bins)
    moment = np.bincount(inside.low + 1, width * (1.0 - inside.right) * inside.right**2, minlength=bins + 3)
    moment += np.bincount(inside.low + 2, width * inside.right * (1.0 - inside.right) ** 2, minlength=bins + 3)
    aside = np.clip(2.0 * moment[1 : bins + 1] / np.where(total > 0, total, 1.0), 0.0, 1.0 / 3.0)
    weights = (aside, 1.0 - 2.0 * aside, aside)
    result = np.zeros((_LAGS + 1, bins))
    centre = 2 * np.arange(bins)
    for lag in range(_LAGS + 1):
        last = bins - lag
        for a, left in zip((-1, 0, 1), weights, strict=True):
            for b, right in zip((-1, 0, 1), weights, strict=True):
                one, other = centre[:last] + a, centre[lag:] + b
                low, apart = np.clip(np.minimum(one, other), 0, 2 * bins - 1), np.abs(other - one)
                result[lag, :last] += left[:last] * right[lag:] * lattice[apart, low]
        result[lag, :last] *= total[:last] * total[lag:]
    return result


def _shared(fit, inside, expected, bins, shared_variance):
    """What exposures reduced with the same masters have in common."""
    flat = np.maximum(fit.flat[inside.where], 0.02)
    photons = fit.expected[inside.where] + expected * flat
    common = photons**2 * fit.flat_share[inside.where] / flat**2
    if shared_variance is not None:
        common = common + shared_variance[inside.where] / flat**2
    return inside.summed(inside.share**2 * common, bins, 2)


def _quality(inside: _Inside, expected, fit, bins):
    size = fit.pixels.footprint[inside.where]
    weight = inside.share * (np.abs(expected) + 1e-6 * size)
    whole = inside.summed(weight, bins)
    kept = inside.summed(np.where(inside.good, weight, 0.0), bins)
    coverage = np.where(whole > 0, kept / np.where(whole > 0, whole, 1.0), 0.0)
    quality = np.zeros(bins, dtype=np.int32)
    quality[coverage < _PARTIAL] |= np.int32(QualityFlag.PARTIAL_APERTURE)
    lost = coverage < _LOST
    quality[lost] |= np.int32(QualityFlag.NO_DATA)
    return quality, lost
