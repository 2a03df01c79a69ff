"""The state of one order while its sky, objects, profiles and masks are found in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import median_filter

from soxs_recipes.compiled import compiled
from soxs_recipes.reduction.extraction.flux_shrinkage import flux_information, shrunk_flux
from soxs_recipes.reduction.extraction.hidden_hits import course_beside, explained_better, suspected_runs
from soxs_recipes.reduction.extraction.preview_kernels import add_light
from soxs_recipes.reduction.numerics.banded import SplineBasis
from soxs_recipes.reduction.profiles.object_trace import ChunkEquations, bending_equations, chunk_equations
from soxs_recipes.reduction.profiles.slit_profile import (
    ProfileAverages,
    SlitProfile,
    profile_averages,
)
from soxs_recipes.reduction.sky.joint_fit import JointModel, JointSolution
from soxs_recipes.reduction.sky.order_pixels import OrderPixels, bins_around
from soxs_recipes.reduction.sky.sky_model import (
    SkyDistortion,
    choose_knots,
    first_sky,
    fit_distortion,
)

__all__ = ["OrderFit"]

_REJECTION = 6.0  # sigma
_LINE_ERROR = 0.3  # Same where the object's spectrum bends within a bin: narrow emission lines must survive.
_CONTINUUM = 7  # bins
_SKY_ERROR = 0.01  # Share of the rest by which the model may be wrong then.
_MODEL_ERROR = 0.03  # Share of the object's light by which the profile may be wrong while outliers are sought.
_AGAIN = 2  # fits more where hits were taken for light
_CORE = 0.03  # of a profile's peak: pixels that tell a line from a track


class OrderFit:
    """One order of one exposure.

    Parameters
    ----------
    pixels : OrderPixels
    data : ndarray (pixels,) [e-]
        Bias, dark and scattered light subtracted; not flat-fielded.
    base_variance : ndarray (pixels,) [e-^2]
        Everything but the photon noise of what the model holds.
    flat, flat_variance : ndarray (pixels,)
        Relative sensitivity, about 1, and its variance.
    usable : ndarray (pixels,) bool
    """

    hit_signs: tuple[float, ...] = (1.0,)  # what cosmic rays do to the data

    def __init__(self, pixels: OrderPixels, data, base_variance, flat, flat_variance, usable):
        self.pixels = pixels
        self.data = data
        self.base_variance = base_variance
        self.flat = flat
        self.flat_share = flat_variance / np.maximum(flat, 0.02) ** 2  # relative variance that the flat leaves
        self.usable = usable & (flat > 0.02)
        self.rejected = np.zeros(data.size, dtype=bool)
        self.hits = np.zeros(data.size, dtype=bool)
        self.sensitivity = np.maximum(flat, 0.02) * pixels.footprint
        half_slit = 0.5 * (pixels.slit_range[1] - pixels.slit_range[0])
        self.distortion = SkyDistortion.none(half_slit, pixels.grid.size)
        self.profiles: list[SlitProfile] = []
        self.profile_errors: dict[int, np.ndarray] = {}  # by source, as in `ExtractedOrder`
        self.offsets: list[float] = []  # of each source's light along the dispersion [bins]; none when empty
        self.background = np.zeros((0, data.size))  # polynomials along the slit of light under the target
        self._averages: dict[int, ProfileAverages] = {}
        self._evaluated: dict[int, tuple[ProfileAverages, np.ndarray]] = {}
        self.knots: SplineBasis | None = None
        self.joint: JointModel | None = None
        self.solution: JointSolution | None = None
        self._denoised: np.ndarray | None = None
        self._variance: np.ndarray | None = None
        self._tolerance: np.ndarray | None = None
        self._smooth: list[np.ndarray] = []  # denoised flux of each source, after `solve`
        self._took_hits = False  # whether `solve` found hits in what it had taken for light
        self.model = np.zeros(data.size)
        self.first_fluxes = np.zeros((0, pixels.grid.size))
        self.binned_sky = np.zeros(pixels.grid.size)

    @property
    def good(self) -> np.ndarray:
        """Pixels that take part."""
        return self.usable & ~self.rejected

    @property
    def variance(self) -> np.ndarray:
        """Variance of every pixel [e-^2] from the present model.

        The objects' part follows their denoised fluxes: a variance that rose and fell with the noise of the data
        would bias every weighted mean.
        """
        if self._denoised is None:
            return self.base_variance + self.photons + self.flat_part
        if self._variance is None:  # the same until the next `solve`
            self._variance = self.base_variance + self.photons + self.flat_part
        return self._variance

    @property
    def photons(self) -> np.ndarray:
        """Photons whose noise every pixel holds [e-]."""
        return np.maximum(self.expected, 0.0)

    @property
    def object_photons(self) -> np.ndarray:
        """Those of the objects, after `solve`."""
        return np.maximum(self.expected - self.sky, 0.0)

    @property
    def photons_beneath(self) -> np.ndarray:
        """Photons that no model holds [e-], in each pixel; (0,) where there are none."""
        return np.zeros(0)

    def sky_photons(self) -> np.ndarray:
        """Those of the binned sky."""
        return np.maximum(self.first_sky_model(), 0.0)

    @property
    def line_sky(self) -> np.ndarray:
        """Binned sky in which the lines stand [e-/bin/arcsec]."""
        return self.binned_sky

    @property
    def expected(self) -> np.ndarray:
        """The model with denoised fluxes [e-]."""
        return self.model if self._denoised is None else self._denoised

    @property
    def flat_part(self) -> np.ndarray:
        """Variance that the flat's own noise leaves [e-^2]."""
        return self.expected**2 * self.flat_share

    @property
    def weight(self) -> np.ndarray:
        """1/variance, 0 where masked."""
        return _weights(self.usable, self.rejected, self.variance)

    def brightness(self) -> np.ndarray:
        """Data in e-/bin/arcsec, NaN where masked."""
        return np.where(self.good, self.data / self.sensitivity, np.nan)

    def profile_values(self, source: int) -> np.ndarray:
        """A source's profile in every pixel [1/arcsec], kept until the profile changes."""
        averages, known = self.profile_averages(source), self._evaluated.get(source)
        if known is None or known[0] is not averages:
            known = self._evaluated[source] = averages, averages.values(self.pixels)
        return known[1]

    def profile_averages(self, source: int) -> ProfileAverages:
        """Tables of a source's profile for these pixels, kept until the profile changes."""
        profile, known = self.profiles[source], self._averages.get(source)
        if known is None or known.profile is not profile:
            known = self._averages[source] = profile.averages(self.pixels)
        return known

    @staticmethod
    def change_profiles(fits: Sequence[OrderFit], source: int, profiles: Sequence[SlitProfile]) -> None:
        """Give each fit its order's profile of a source; all tables are made at once, which is far cheaper."""
        tables = profile_averages(profiles, [fit.pixels for fit in fits])
        for fit, profile, averages in zip(fits, profiles, tables, strict=True):
            fit.profiles[source] = profile
            fit._averages[source] = averages

    @staticmethod
    def give_profiles(fits: Sequence[OrderFit], profiles_by_source: Sequence[Sequence[SlitProfile]]) -> None:
        """Give each fit its order's profiles of these sources, and no others."""
        for fit in fits:
            fit.profiles = [profiles[0] for profiles in profiles_by_source]
        for source, profiles in enumerate(profiles_by_source):
            OrderFit.change_profiles(fits, source, profiles)

    # -- first, robust estimates ------------------------------------------------------------------------------

    def estimate_sky(self, away: np.ndarray | None = None) -> None:
        """Binned median sky (over pixels `away` from objects) as the first model."""
        brightness = self.brightness()
        if away is not None and (away & self.good).sum() > 0.15 * self.good.sum():
            brightness = np.where(away, brightness, np.nan)
        self.binned_sky = first_sky(self.pixels, brightness)
        self.model = self.first_sky_model()

    def _sky_at(self, binned):
        return self.pixels.interpolate(binned)

    def first_sky_model(self) -> np.ndarray:
        """The binned sky in every pixel [e-]."""
        return self._sky_at(self.binned_sky) * self.sensitivity

    def place_knots(self) -> None:
        """Choose the sky's knots from the binned sky and its noise."""
        bins = self.pixels.grid.size
        good = self.good
        which = self.pixels.nearest
        noise = (self.base_variance + self.sky_photons()) / self.sensitivity**2
        count = np.maximum(np.bincount(which[good], minlength=bins), 1)
        pixel_variance = np.bincount(which[good], noise[good], minlength=bins) / count
        pixel_variance = np.where(pixel_variance > 0, pixel_variance, np.median(noise))
        error = np.sqrt(1.57 * pixel_variance / np.maximum(0.6 * count, 1))
        self.knots = choose_knots(self.binned_sky, error, np.sqrt(pixel_variance))

    # -- the joint fit ------------------------------------------------------------------------------------------

    def solve(self, *, as_judged: bool = True) -> None:
        """Fit sky and objects with the present weights, profiles and distortion.

        Where a source's flux proves to be that of hits, it is set to that of its neighbours, if `as_judged`.
        """
        pixels = self.pixels
        position = pixels.position + self.distortion.shift_at(pixels)
        np.clip(position, -0.99, pixels.grid.size - 0.01, out=position)
        illumination = self.distortion.illumination_at(pixels)
        profiles = [self.profile_values(source) for source in range(len(self.profiles))]
        # The object lies on the refined wavelengths too.
        self.joint = JointModel(
            position,
            pixels.grid.size,
            self.sensitivity,
            illumination,
            profiles,
            self.knots,
            offsets=self.offsets or None,
            background=self.background,
        )
        extra, weight = self._broadening(position), self.weight
        self.solution = self.joint.solve(self.data - extra, weight)
        self.model = self.solution.model + extra
        information = [self._information(source, weight) for source in range(len(profiles))]
        self._smooth = [shrunk_flux(flux, own) for flux, own in zip(self.solution.flux, information, strict=True)]
        self._position, self._illumination, self._extra = position, illumination, extra
        self._spread_light()
        self._took_hits = as_judged and self._set_hits_aside(information)

    def _spread_light(self) -> None:
        """Denoised light of every source in the pixels."""
        around = bins_around(self._position, self.pixels.grid.size)
        lights = [np.zeros(self.data.size) for _ in self.profiles]
        for source, (light, flux) in enumerate(zip(lights, self._smooth, strict=True)):
            add_light(around, flux, self.profile_values(source) * self.sensitivity, light)
        self._denoise(self.sky, lights)

    def _set_hits_aside(self, information: Sequence[np.ndarray]) -> bool:
        """Take hits out of the fitted light, so that they are seen as hits; whether there were any."""
        masked = np.flatnonzero(self.rejected & self.usable)
        below, share = self.pixels.place
        slit, bins = self.pixels.slit[masked], below[masked] + (share[masked] > 0.5)
        found = False
        for source, profile in enumerate(self.profiles) if masked.size else ():
            own = np.abs(slit - profile.centre_at(bins)) < 1.5 * profile.fwhm_at(bins)
            for run in suspected_runs(self.solution.flux[source], information[source], bins[own]):
                found |= self._follow_course(source, *run)
        if found:
            self._spread_light()
        return found

    def _follow_course(self, source: int, first: int, last: int) -> bool:
        """Give bins the flux of their neighbours if that, with hits upon it, explains the pixels better."""
        flux = self.solution.flux.copy()
        flux[source, first : last + 1] = course_beside(flux[source], first, last)
        place = self._position + (self.offsets[source] if self.offsets else 0.0)
        near = np.flatnonzero((place > first - 1) & (place < last + 1) & self.usable)
        values = self.profile_values(source)[near]
        core = values > _CORE * values.max(initial=0.0)
        near, values = near[core], values[core]
        before = self.solution.objects[source, near]
        now = np.interp(place[near], np.arange(flux.shape[1]), flux[source]) * values * self.sensitivity[near]
        residual, variance = self.data[near] - self.model[near], self.variance[near]
        least = np.maximum(variance - np.maximum(np.abs(before) - np.abs(now), 0.0), self.base_variance[near])
        other = (_SKY_ERROR * (self.model[near] - before)) ** 2
        fitted = residual, variance + (_MODEL_ERROR * before) ** 2 + other
        course = residual - (now - before), least + (_MODEL_ERROR * now) ** 2 + other
        if not explained_better(fitted, course):
            return False
        objects = self.solution.objects.copy()
        objects[source, near] = now
        self.model[near] += now - before
        self.solution = replace(self.solution, flux=flux, objects=objects)
        self._smooth[source][first : last + 1] = flux[source, first]
        # Nothing is learnt from them before the next look for outliers.
        self.rejected[near[course[0] ** 2 > _REJECTION**2 * course[1]]] = True
        return True

    def _denoise(self, sky: np.ndarray, lights: list[np.ndarray]) -> None:
        """Keep the model with denoised light of each source."""
        self._denoised = sky + sum(lights)
        self._variance = self._tolerance = None

    def _broadening(self, position):
        """Change of the sky by varying line width, from the previous solution [e-]; not part of the joint fit."""
        if self.solution is None or not self.distortion.broadening.any():
            return np.zeros(self.data.size)
        curvature = self.knots.derivatives(position, self.solution.sky_coefficients)[1]
        return curvature * self.sensitivity * self.distortion.broadening_at(self.pixels)

    @property
    def sky(self) -> np.ndarray:
        """Sky in every pixel [e-]."""
        return self.solution.sky + self._extra

    @property
    def residual(self) -> np.ndarray:
        """Data minus model [e-]."""
        return self.data - self.model

    @property
    def tolerance(self) -> np.ndarray:
        """By how much the model may be wrong without a pixel being an outlier [e-]."""
        if self._tolerance is None:
            self._tolerance = self._judged_tolerance()
        return self._tolerance

    def _judged_tolerance(self) -> np.ndarray:
        shares = []
        for flux, first in zip(self.solution.flux, self.first_fluxes, strict=True):
            # A hit makes the fitted flux bend, too; the first flux, of medians, hardly.
            bend = np.minimum(_sharpness(flux) * np.abs(flux), _sharpness(first) * np.abs(first))
            shares.append(_MODEL_ERROR + _LINE_ERROR * bend / np.maximum(np.abs(flux), 1e-9))
        shares = np.array(shares).reshape(-1, self.pixels.grid.size)
        return _tolerances(*self.pixels.place, shares, self.solution.objects, self.model, _SKY_ERROR)

    def above_continuum(self) -> tuple[np.ndarray, np.ndarray]:
        """Data above sky and the objects' continuum [e-]; their variance with errors of both."""
        fluxes, sky = self.first_fluxes, self.first_sky_model()
        if self.solution is not None:
            fluxes, sky = self.solution.flux, self.sky
        continua = np.array([median_filter(flux, _CONTINUUM, mode="nearest") for flux in fluxes])
        profiles = np.array([self.profile_values(source) for source in range(len(fluxes))])
        return _above_continuum(
            *self.pixels.place,
            self.data - sky,
            self.base_variance + self.sky_photons(),
            self.sensitivity,
            np.abs(np.gradient(self.binned_sky)),
            continua.reshape(-1, self.binned_sky.size),
            profiles.reshape(-1, self.data.size),
        )

    def reject(self) -> int:
        """Mask pixels that the model cannot explain; returns how many are masked now."""
        pull = self.residual / np.sqrt(self.variance + self.tolerance**2)
        self.rejected = self.hits | (self.usable & (np.abs(pull) > _REJECTION))
        return int(self.rejected.sum())

    def solve_and_reject(self) -> None:
        """Fit and mask what it cannot explain; at once again where hits were taken for light, now without them."""
        self.solve()
        self.reject()
        for _ in range(_AGAIN):
            if not self._took_hits:
                return
            self.solve()
            self.reject()
        if self._took_hits:
            self.solve(as_judged=False)

    def refine_distortion(self) -> None:
        """Update illumination, tilt and line width along the slit from the residuals."""
        slope, curvature = self.knots.derivatives(self._position, self.solution.sky_coefficients)
        factor = self.sensitivity * self._illumination
        weight = np.where(self.good, 1.0 / (self.variance + self.tolerance**2), 0.0)
        self.distortion = fit_distortion(
            self.pixels,
            self.residual,
            weight,
            self.solution.sky,
            slope * factor,
            curvature * factor,
            self.distortion,
        )

    def _scale(self, source: int) -> np.ndarray:
        """flat * footprint * smoothed flux of a source."""
        return self.pixels.interpolate(self._smooth[source]) * self.sensitivity

    def _information(self, source: int, weight: np.ndarray) -> np.ndarray:
        """What the pixels tell of a source's flux in every bin: 1/variance."""
        pixels = self.pixels
        return flux_information(
            pixels.place, self.profile_values(source), self.sensitivity, weight, pixels.grid.size
        )

    def _other_light(self, source: int, apart: Sequence[int] = ()) -> list[np.ndarray]:
        """Light that may be mistaken for this source's: overlapping neighbours, and what lies beneath."""
        here = self.profiles[source]
        middle = 0.5 * self.pixels.grid.size
        reach = 3.0 * float(here.fwhm_at(middle))
        light = [
            self.profile_values(other) * self._scale(other)
            for other, profile in enumerate(self.profiles)
            if other not in (source, *apart)
            and abs(profile.centre_at(middle) - here.centre_at(middle)) < reach + float(profile.fwhm_at(middle))
        ]
        return [*light, *(part * self.sensitivity for part in self.background)]

    def equations(self, source: int, companions: Sequence[int] = ()) -> ChunkEquations:
        """Normal equations of the source's centre, width and tail; its companions have the same shape."""
        return chunk_equations(
            self.pixels,
            self.profile_averages(source),
            self.residual,
            self.weight,
            self._scale(source),
            companions=[(self.profile_averages(other), self._scale(other)) for other in companions],
            nuisance=self._other_light(source, companions),
        )

    def bending_equations(self, source: int) -> ChunkEquations:
        """The same of one source whose profile the data may bend, too."""
        return bending_equations(
            self.pixels,
            self.profile_averages(source),
            self.residual,
            self.weight,
            self._scale(source),
            nuisance=self._other_light(source),
        )


@compiled
def _weights(usable, rejected, variance):
    """1/variance of usable pixels that are not rejected, 0 of others."""
    result = np.empty(variance.size)
    for i in range(variance.size):
        result[i] = 1.0 / variance[i] if usable[i] and not rejected[i] else 0.0
    return result


@compiled
def _tolerances(below, share, errors, objects, model, sky_error):
    """Errors of the model [e-] in every pixel: shares of the light of each object, and of all the rest.

    below, share
        As from `order_pixels.bins_around`.
    errors : ndarray (sources, bins)
    objects : ndarray (sources, pixels) [e-]
    model : ndarray (pixels,) [e-]
    """
    result = np.empty(model.size)
    last = errors.shape[1] - 1
    for i in range(model.size):
        a, b = below[i], min(below[i] + 1, last)
        total, light = 0.0, 0.0
        for source in range(len(objects)):
            own = abs(objects[source, i])
            light += own
            total += own * (errors[source, a] + share[i] * (errors[source, b] - errors[source, a]))
        result[i] = total + sky_error * abs(model[i] - light)
    return result


@compiled
def _above_continuum(below, share, light, variance, sensitivity, steep, continua, profiles):
    """Light above the objects' continua, and its variance with errors of sky and continua, in every pixel.

    below, share
        As from `order_pixels.bins_around`.
    light, variance : ndarray (pixels,)
        Above the sky and without the objects' noise.
    steep : ndarray (bins,) [e-/bin/arcsec]
        By how much the sky changes within a bin.
    continua, profiles : ndarray (sources, bins), (sources, pixels)
    """
    above, total = np.empty(light.size), np.empty(light.size)
    last = steep.size - 1
    for i in range(light.size):
        a, b = below[i], min(below[i] + 1, last)
        objects = 0.0
        for k in range(len(continua)):
            objects += (continua[k, a] + share[i] * (continua[k, b] - continua[k, a])) * profiles[k, i]
        objects *= sensitivity[i]
        rough = (steep[a] + share[i] * (steep[b] - steep[a])) * sensitivity[i]
        above[i] = light[i] - objects
        total[i] = variance[i] + abs(objects) + (0.5 * rough) ** 2 + (0.2 * objects) ** 2
    return above, total


@compiled
def _sharpness(flux):
    """How much the flux bends within a bin, as share of its local size: near 1 on lines narrower than two bins."""
    last = flux.size - 1
    bend, result = np.empty(flux.size), np.empty(flux.size)
    for i in range(flux.size):
        bend[i] = abs(flux[max(i - 1, 0)] - 2.0 * flux[i] + flux[min(i + 1, last)])
    for i in range(flux.size):
        before, behind = max(i - 1, 0), min(i + 1, last)
        size = max(abs(flux[before]), abs(flux[i]), abs(flux[behind]))
        result[i] = 0.5 * max(bend[before], bend[i], bend[behind]) / max(size, 1e-9)
    return result
