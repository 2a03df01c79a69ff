"""First fluxes of an order and what its pixels tell of profiles, about the binned sky and before any joint fit."""

from __future__ import annotations

import numpy as np

from soxs_recipes.reduction.extraction.flux_shrinkage import flux_information, shrunk_flux
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.preview_kernels import add_light, core_light, core_pixels, first_weights
from soxs_recipes.reduction.profiles.object_trace import ChunkEquations, chunk_equations
from soxs_recipes.reduction.profiles.slit_profile import ProfileAverages
from soxs_recipes.reduction.sky.sky_model import binned_median, binned_quantiles

__all__ = ["OrderPreview"]

_REJECTION = 6.0  # sigma
_MEDIAN_EFFICIENCY = 0.6  # of first fluxes, against means
_EVERY = 3  # each n-th pixel tells of a profile
_DISAGREEMENT = 5.0  # sigma of a pixel


class OrderPreview:
    """What is sought of one order before the first joint fit; it looks at cores and at each third pixel only.

    Parameters
    ----------
    fit : OrderFit
        With its first sky; its profiles may change, its masks may not.
    """

    def __init__(self, fit: OrderFit):
        self._fit = fit
        self._good = fit.good
        self._skies = np.stack([fit.binned_sky, np.abs(np.gradient(fit.binned_sky))])
        self._some = fit.pixels.every(_EVERY)
        whole = (self._good, fit.data, fit.sensitivity, fit.base_variance, fit.flat_share, fit.photons_beneath)
        self._of_some = tuple(np.ascontiguousarray(values[::_EVERY]) for values in whole)
        self._evaluated: dict[int, tuple[ProfileAverages, np.ndarray]] = {}

    def fluxes(self) -> np.ndarray:
        """First fluxes (sources, bins), robust against hits: median of light over profile near each core."""
        fit = self._fit
        fluxes = np.zeros((len(fit.profiles), fit.pixels.grid.size))
        for source, flux in enumerate(fluxes):
            flux[:] = self._core_flux(source, fluxes[:source])
        return fluxes

    def _core_flux(self, source: int, others: np.ndarray) -> np.ndarray:
        """Flux per bin: median of what is above sky and others over the profile, near the core; bridged.

        Light of an object gives the same flux in all pixels of a bin; where they disagree by far a track runs
        along the slit, and the fainter ones are right.
        """
        fit, pixels, bins = self._fit, self._fit.pixels, self._fit.pixels.grid.size
        profile = fit.profiles[source]
        curves = np.stack([profile.centre_in_bins(), 0.6 * profile.fwhm_in_bins()])
        near = core_pixels(pixels.place, pixels.slit, pixels.footprint, self._good, curves)
        profiles = [fit.profile_averages(number).some_values(pixels, near) for number in range(source + 1)]
        position, ratio, noise = core_light(
            pixels.place,
            near,
            fit.data,
            fit.sensitivity,
            fit.base_variance,
            fit.binned_sky,
            others,
            np.array(profiles),
        )
        (low, flux, high), count = binned_quantiles(position, ratio, bins, (0.25, 0.5, 0.75))
        error, _ = binned_median(position, noise, bins)
        # Where an exposure was subtracted, its hits take away.
        fainter = low if len(fit.hit_signs) == 1 else np.where(np.abs(low) < np.abs(high), low, high)
        noise = np.hypot(error, np.sqrt(np.abs(fainter)))
        doubtful = np.abs(flux - fainter) > np.abs(fainter) + _DISAGREEMENT * noise
        flux = np.where(doubtful, fainter, flux)
        known = np.flatnonzero(count)
        return np.interp(np.arange(bins), known, flux[known]) if known.size else np.zeros(bins)

    def equations(self, source: int, fluxes: np.ndarray) -> ChunkEquations:
        """Equations of a source about the first model; fluxes (sources, bins)."""
        some, sensitivity = self._some, self._of_some[2]
        profiles = np.array([self._values(number) for number in range(len(fluxes))])
        residual, weight = first_weights(
            some.place, *self._of_some, self._skies, fluxes, profiles, source, _REJECTION
        )
        # Where the rough sky of a bin is too low its flux is too high: with that noise in the scale, the two
        # together would look like a wider source.
        bins = some.grid.size
        information = flux_information(some.place, profiles[source], sensitivity, weight, bins)
        flux = shrunk_flux(fluxes[source], _MEDIAN_EFFICIENCY * _EVERY * information)
        scale = some.interpolate(flux) * sensitivity
        return chunk_equations(some, self._fit.profile_averages(source), residual, weight, scale)

    def _values(self, source: int) -> np.ndarray:
        """A source's profile in the pixels that are looked at [1/arcsec], kept until the profile changes."""
        averages, known = self._fit.profile_averages(source), self._evaluated.get(source)
        if known is None or known[0] is not averages:
            known = self._evaluated[source] = averages, averages.values(self._some)
        return known[1]

    def finish(self) -> None:
        """Give the fit its first fluxes, and a model that holds them."""
        fit = self._fit
        fit.first_fluxes, fit.model = self.fluxes(), fit.first_sky_model()
        for source, flux in enumerate(fit.first_fluxes):
            add_light(fit.pixels.place, flux, fit.profile_values(source) * fit.sensitivity, fit.model)
