"""One exposure minus others of the same set-up: beams and what is left of the sky in one fit.

Whatever both exposures have in common (bias, dark, errors of flat and sky model, fringes) cancels pixel by pixel;
what changed between them (airglow, flexure) is a small sky, which the joint fit takes up as it does the whole sky
of a single exposure. Positive and negative beams are sources of one fit, so that neither hides in the other's sky;
the covariance of their fluxes, which that sky leaves, is known, and in their mean it cancels. Fitting exposures
side by side, each with its own full sky, would have up to half the variance, but every error of flat, tilt and
line profile would stay; it is what stare mode does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import OrderMaps, PixelMaps
from soxs_recipes.reduction.exposures.beams import SlitSamples
from soxs_recipes.reduction.exposures.difference_kernels import subtract_exposure
from soxs_recipes.reduction.extraction.extraction import ExposureResult, collect_result, set_up_fits
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder, order_spectra
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.extraction.source_fit import fit_sources
from soxs_recipes.reduction.profiles.slit_sources import TargetChoice, slit_samples
from soxs_recipes.reduction.sky.order_pixels import OrderGrid
from soxs_recipes.reduction.sky.sky_model import SkyDistortion, first_sky, fit_distortion

__all__ = [
    "Difference",
    "DifferenceResult",
    "difference_samples",
    "extract_difference",
    "set_up_difference",
    "slit_cells",
    "subtract_exposures",
]

_CELL = 0.15  # arcsec
_TILT_CHANGE = 0.03  # bins, expected towards the slit's ends between two exposures


@dataclass(frozen=True, slots=True)
class Difference:
    """An exposure minus others.

    Attributes
    ----------
    frame : Frame
        The difference [e-]; its variance is without photon noise.
    subtracted : ndarray (ny, nx) float32 [e-]
        What was subtracted, scaled to the exposure's time; object of the other beam included.
    photons : ndarray (ny, nx) float32 [e-^2]
        Charge of all exposures as it counts in the variance, with its noise.
    scale : float
        By which the negative beam was multiplied; 0 when nothing was subtracted.
    """

    frame: Frame
    subtracted: np.ndarray
    photons: np.ndarray
    scale: float


@dataclass(frozen=True, slots=True)
class DifferenceResult:
    """What one difference gave.

    Attributes
    ----------
    result : ExposureResult
        `orders` are those of the positive beam; `sky_model` is what the sky changed by.
    beams : tuple of tuple of ExtractedOrder
        The positive beam and, when it is a measurement, the negative one, in counts of its own exposure.
    correlation : tuple of ndarray (5, n)
        Per order, of the noise of the two beams in the same bin and the next four; empty with one.
    sky_ratio : float
        Sky of the exposure over that of the subtracted ones.
    background_variance : ndarray (ny, nx) float32 [e-^2]
        Without the photon noise of the beams.
    """

    result: ExposureResult
    beams: tuple[tuple[ExtractedOrder, ...], ...]
    correlation: tuple[np.ndarray, ...] = field(repr=False)
    sky_ratio: float
    background_variance: np.ndarray = field(repr=False)

    def without_images(self) -> DifferenceResult:
        """The same without images and the state of the fits."""
        nothing = np.zeros((0, 0), np.float32)
        return replace(self, result=self.result.without_images(), background_variance=nothing)


def subtract_exposures(
    plus: tuple[Frame, np.ndarray], minus: Sequence[tuple[Frame, np.ndarray]], shares: Sequence[float]
) -> Difference:
    """The difference of prepared exposures, scaled to the first one's time.

    Parameters
    ----------
    plus : (Frame, base variance)
        As `extraction.extract_exposure` takes them.
    minus : sequence of the same
    shares : sequence of float
        Weights of the subtracted ones, of sum 1.

    Notes
    -----
    The noise of masters is the same in all exposures: it cancels as far as the exposure times agree.
    """
    frame, base = plus
    weights = [
        np.float32(share * frame.meta.exposure_time / max(other.meta.exposure_time, 1e-6))
        for (other, _), share in zip(minus, shares, strict=True)
    ]
    scale = float(sum(weights))
    # The masters' noise is subtracted with the light: nothing is left of it when the exposure times agree.
    cancels = scale == 1.0 and all(other.shared_variance is frame.shared_variance for other, _ in minus)
    amplitude = np.zeros(0, np.float32) if cancels else np.sqrt(_shared(frame))
    variance = np.array(base if frame.shared_variance is None else base - _shared(frame), dtype=np.float32)
    total, photons, quality = np.zeros(frame.shape, np.float32), frame.data.copy(), frame.quality.copy()
    sums = tuple(image.reshape(-1) for image in (total, photons, variance, amplitude, quality))
    nothing = np.zeros(0, np.float32)
    for (other, other_base), weight in zip(minus, weights, strict=True):
        shared = nothing if other.shared_variance is None else other.shared_variance
        images = (other.data, other_base, shared, other.quality)
        subtract_exposure(weight, tuple(image.reshape(-1) for image in images), sums)
    left = None
    if np.any(amplitude):
        left = np.square(amplitude)
        variance += left
    return Difference(Frame(frame.data - total, variance, quality, frame.meta, left), total, photons, scale)


def _shared(frame: Frame):
    """Variance that comes from masters."""
    if frame.shared_variance is None:
        return np.zeros(frame.shape, np.float32)
    return np.maximum(frame.shared_variance, np.float32(0.0))


class DifferenceFit(OrderFit):
    """One order of a difference: its noise is that of all light in the exposures, not of what is left.

    Further parameters
    ------------------
    photons, subtracted : ndarray (pixels,)
        As in `Difference`.
    scale : float
    """

    def __init__(self, pixels, data, base_variance, flat, flat_variance, usable, *, photons, subtracted, scale):
        super().__init__(pixels, data, base_variance, flat, flat_variance, usable)
        self._all_photons = photons
        self._subtracted = subtracted
        self.scale = scale
        self.hit_signs = (1.0, -1.0) if scale > 0 else (1.0,)
        self.signs: list[float] = []
        self.other_sky = np.zeros(pixels.grid.size)
        self._beneath = np.maximum(photons, 0.0)
        self._object_photons: np.ndarray | None = None
        self.change = SkyDistortion.none(self.distortion.half_slit, pixels.grid.size)
        self._shapes: tuple[np.ndarray, ...] = ()

    def estimate_sky(self, away: np.ndarray | None = None) -> None:
        """The change of the sky, and the sky itself in what was subtracted and in all."""
        super().estimate_sky(away)
        self._level = self.binned_sky
        if self.scale == 0:
            return  # a single exposure, whose sky is its own
        chosen = (
            self.good if away is None or (away & self.good).sum() < 0.15 * self.good.sum() else away & self.good
        )

        def level(image):
            return first_sky(self.pixels, np.where(chosen, image / self.sensitivity, np.nan))

        self.other_sky = level(self._subtracted)
        self._level = level(self._all_photons)
        self._beneath = np.maximum(self._sky_at(self._level) * self.sensitivity, 0.0)

    @property
    def photons(self) -> np.ndarray:
        """Photons of all exposures, as they count in the variance [e-^2]."""
        if self.scale == 0:
            return super().photons
        return self._beneath + self.object_photons

    @property
    def object_photons(self) -> np.ndarray:
        """Those of the beams."""
        if self.scale == 0:
            return super().object_photons
        if self._object_photons is None:
            return np.abs(self.model - self.first_sky_model())
        return self._object_photons

    @property
    def photons_beneath(self) -> np.ndarray:
        """Photons of all exposures but those of the beams."""
        return super().photons_beneath if self.scale == 0 else self._beneath

    def sky_photons(self) -> np.ndarray:
        """Those of the sky."""
        return super().sky_photons() if self.scale == 0 else self._beneath

    @property
    def line_sky(self) -> np.ndarray:
        """The sky in which the lines stand."""
        return self._level

    def refine_distortion(self) -> None:
        """Update how the sky changed along the slit: in brightness, by tilt and by line width.

        All of it goes with the sky that fell on the exposures, not with the little that is left of it.
        """
        if self.scale == 0:
            super().refine_distortion()
            return
        if not self._shapes:
            level = self._level * 0.5  # of one exposure, about
            slope = np.gradient(level)
            shapes = (self._sky_at(values) for values in (level, slope, np.gradient(slope)))
            self._shapes = tuple(values * self.sensitivity for values in shapes)
        weight = np.where(self.good, 1.0 / (self.variance + self.tolerance**2), 0.0)
        self.change = fit_distortion(
            self.pixels, self.residual, weight, *self._shapes, self.change, map_error=_TILT_CHANGE
        )

    def _broadening(self, position):
        """What the change of the sky along the slit adds [e-]."""
        if self.scale == 0:
            return super()._broadening(position)
        if not self._shapes:
            return np.zeros(self.data.size)
        return self.change.sky_change(self.pixels, *self._shapes)

    @property
    def ratio(self) -> float:
        """Sky of the positive exposure over that subtracted; NaN without sky."""
        total = float(self.other_sky.sum())
        return 1.0 + float(self.binned_sky.sum()) / total if total > 0 else float("nan")

    def sky_under(self, source: int, residual: np.ndarray) -> np.ndarray:
        """Sky in the noise-equivalent width of a beam, from the subtracted exposures; `residual` is the change."""
        position = np.arange(self.pixels.grid.size, dtype=np.float64)
        sky = self.other_sky * self.profiles[source].effective_width(self.pixels, position)
        return sky + residual if self.signs[source] > 0 else sky

    def _denoise(self, sky: np.ndarray, lights: list[np.ndarray]) -> None:
        super()._denoise(sky, lights)
        factors = [1.0 if sign > 0 else self.scale for sign in self.signs]
        self._object_photons = sum(factor * np.abs(light) for factor, light in zip(factors, lights, strict=True))


def set_up_difference(
    difference: Difference,
    maps: PixelMaps | OrderMaps,
    dispersion_axis: int,
    *,
    flat: Frame | None,
    grids: list[OrderGrid],
    settings: ExtractionSettings,
) -> list[DifferenceFit]:
    """Fits of the orders of a difference; they hold of it and of the maps all that they need.

    UnprocessableData when no order holds usable pixels.
    """

    def make(pixels, *arrays):
        return DifferenceFit(
            pixels,
            *arrays,
            photons=pixels.take(difference.photons),
            subtracted=pixels.take(difference.subtracted),
            scale=difference.scale,
        )

    frame = difference.frame
    return set_up_fits(frame, maps, dispersion_axis, frame.variance, flat, grids, settings, make)


def difference_samples(
    fits: Sequence[DifferenceFit], slit_grid: np.ndarray, offsets: tuple[float, float]
) -> SlitSamples:
    """Light of a difference along the slit, for `beams.find_pattern`; `offsets` of both beams [arcsec]."""
    values, weights = [], []
    for fit in fits:
        fit.estimate_sky()
        residual = np.where(fit.good, (fit.data - fit.model) / fit.sensitivity, np.nan)
        steep = fit.pixels.interpolate(np.abs(np.gradient(fit.binned_sky)))
        value, weight = slit_samples(fit.pixels, residual, fit.variance / fit.sensitivity**2 + steep**2, slit_grid)
        values.append(value)
        weights.append(weight)
    return SlitSamples(np.concatenate(values), np.concatenate(weights), *offsets)


def slit_cells(half_length: float) -> np.ndarray:
    """Cells along the slit [arcsec] for `difference_samples`."""
    count = int(np.ceil(half_length / _CELL))
    return _CELL * np.arange(-count, count + 1)


def extract_difference(
    frame: Frame,
    fits: list[DifferenceFit],
    dispersion_axis: int,
    *,
    bands: Mapping[int, str],
    settings: ExtractionSettings,
    choice: TargetChoice,
    signs: Sequence[float],
    flexure: float = 0.0,
) -> DifferenceResult:
    """Fit both beams and the change of the sky in all orders.

    Parameters
    ----------
    frame : Frame
        The difference.
    fits : list of DifferenceFit
        From `set_up_difference`.
    choice : TargetChoice
        From `beams.beam_sources`, as `signs`.
    flexure : float [px]
        By how much the subtracted exposure is shifted along the dispersion axis against the maps.
    """
    for fit in fits:
        direction = _direction(fit.pixels, dispersion_axis)
        fit.signs = list(signs)
        if abs(flexure) > 0.02:
            fit.offsets = [0.0 if sign > 0 else -direction * flexure for sign in signs]
    traces, hits = fit_sources(frame, fits, choice, settings)
    correlation: list[np.ndarray] = []

    def spectra(fit, band, shared):
        if choice.beams > 1:
            correlation.append(fit.joint.beam_correlation())
        return order_spectra(fit, band, aperture=settings.aperture, shared_variance=shared)

    result = collect_result(frame, fits, choice, traces, hits, bands, settings, spectra)
    beams = [_beam(fits, result.orders, 1.0)]
    if choice.beams > 1:
        beams.append(_beam(fits, result.others[0], -1.0 / fits[0].scale))
        result = replace(result, others=result.others[1:])
    background = frame.variance.copy()
    for fit in fits:
        fit.pixels.put(background, fit.base_variance + fit.sky_photons())
    return DifferenceResult(result, tuple(beams), tuple(correlation), _sky_ratio(fits), background)


def _direction(pixels, dispersion_axis) -> float:
    """+1 when wavelength rises along the dispersion axis."""
    along = pixels.index // pixels.shape[1] if dispersion_axis == 0 else pixels.index % pixels.shape[1]
    return float(np.sign(np.corrcoef(along[::50], pixels.position[::50])[0, 1]))


def _beam(fits, orders: Sequence[ExtractedOrder], factor: float) -> tuple[ExtractedOrder, ...]:
    """Spectra of a beam, times the factor that gives counts of its own exposure."""
    return tuple(_one_beam(fit, item, factor) for fit, item in zip(fits, orders, strict=True))


def _one_beam(fit: DifferenceFit, item: ExtractedOrder, factor: float) -> ExtractedOrder:
    spectrum, square = item.spectrum, factor**2
    changed = replace(
        spectrum,
        flux=factor * spectrum.flux,
        variance=square * spectrum.variance,
        boxcar_flux=factor * spectrum.boxcar_flux,
        boxcar_variance=square * spectrum.boxcar_variance,
        background_variance=square * spectrum.background_variance,
        sky=abs(factor) * fit.sky_under(0 if factor > 0 else 1, spectrum.sky),
    )
    return replace(
        item, spectrum=changed, shared_variance=square * item.shared_variance, covariance=square * item.covariance
    )


def _sky_ratio(fits) -> float:
    """Median over the orders of total sky light in the positive exposure over that subtracted."""
    ratios = [fit.ratio for fit in fits]
    finite = [ratio for ratio in ratios if np.isfinite(ratio)]
    return float(np.median(finite)) if finite else float("nan")
