"""A finished extraction kept small, and done again from there: with better masks, or with profiles from elsewhere.

Profiles, knots and the sky's distortion of the first fit are good; what changes is which pixels take part, or, for
objects too faint to show where they stand, whose profile they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legfit

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import OrderMaps, PixelMaps
from soxs_recipes.reduction.extraction.extraction import ExposureResult, collect_result, set_up_fits
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.numerics.banded import SplineBasis
from soxs_recipes.reduction.profiles.object_trace import TraceQuality
from soxs_recipes.reduction.profiles.slit_profile import SlitProfile
from soxs_recipes.reduction.profiles.slit_sources import TargetChoice
from soxs_recipes.reduction.sky.order_pixels import OrderGrid
from soxs_recipes.reduction.sky.sky_model import SkyDistortion

__all__ = ["ExposureState", "OrderState", "exposure_state", "refit_exposure"]

_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class OrderState:
    """What a fit of one order can start from.

    Attributes
    ----------
    profiles : tuple of SlitProfile
        One a source, the target first.
    flux : ndarray (sources, bins) [e-]
    first_flux : ndarray (sources, bins) [e-]
        Robust against hits.
    sky : ndarray (bins,) [e-/bin/arcsec]
    knots : SplineBasis
    distortion : SkyDistortion
    profile_errors : mapping source -> ndarray (causes,)
        As in `ExtractedOrder`.
    """

    profiles: tuple[SlitProfile, ...]
    flux: np.ndarray
    first_flux: np.ndarray
    sky: np.ndarray
    knots: SplineBasis
    distortion: SkyDistortion
    profile_errors: Mapping[int, np.ndarray]


@dataclass(frozen=True, slots=True)
class ExposureState:
    """The same of an exposure.

    Attributes
    ----------
    choice : TargetChoice
    traces : mapping order -> TraceQuality
    orders : mapping order -> OrderState
    """

    choice: TargetChoice
    traces: Mapping[int, TraceQuality]
    orders: Mapping[int, OrderState]

    def with_target_of(self, other: ExposureState, rung: str) -> ExposureState:
        """The target's profile taken from another state, which saw it better; orders that it lacks keep theirs."""
        orders = {
            number: _with_first(state, other.orders[number]) if number in other.orders else state
            for number, state in self.orders.items()
        }
        traces = {
            number: replace(other.traces.get(number, trace), rung=rung) for number, trace in self.traces.items()
        }
        target = other.choice.sources[other.choice.index]
        sources = (target, *self.choice.sources[1:])
        choice = replace(
            self.choice,
            sources=sources,
            reason=other.choice.reason,
            detected=other.choice.detected,
            doubtful=other.choice.doubtful,
        )
        return ExposureState(choice, traces, orders)

    def with_trace(self, centres: Mapping[int, np.ndarray], reason: str) -> ExposureState:
        """The target where a standard's trace runs: rung "standard".

        Parameters
        ----------
        centres : mapping order -> ndarray (bins,) [arcsec]
            Slit position in each bin; orders without one keep theirs.
        reason : str
            One sentence for the log.
        """
        orders, traces = dict(self.orders), dict(self.traces)
        for number in orders.keys() & centres.keys():
            first, *others = orders[number].profiles
            scaled = np.linspace(-1.0, 1.0, centres[number].size)
            moved = replace(first, centre=legfit(scaled, centres[number], 3), correction=None)
            orders[number] = replace(orders[number], profiles=(moved, *others))
            traces[number] = TraceQuality("standard", float("nan"), float("nan"))
        position = float(np.median(np.concatenate(list(centres.values()))))
        sources = (replace(self.choice.sources[0], position=position), *self.choice.sources[1:])
        return ExposureState(replace(self.choice, sources=sources, reason=reason), traces, orders)


def _with_first(state: OrderState, other: OrderState) -> OrderState:
    """The state with the first source's profile of another."""
    errors = {**state.profile_errors, **{k: v for k, v in other.profile_errors.items() if k == 0}}
    return replace(state, profiles=(other.profiles[0], *state.profiles[1:]), profile_errors=errors)


def exposure_state(result: ExposureResult) -> ExposureState:
    """What is worth keeping of an extraction; `result` must still hold its fits."""
    orders = {
        fit.pixels.order: OrderState(
            tuple(fit.profiles),
            fit.solution.flux,
            fit.first_fluxes,
            fit.knots.spline(fit.solution.sky_coefficients)(np.arange(fit.pixels.grid.size, dtype=np.float64)),
            fit.knots,
            fit.distortion,
            dict(fit.profile_errors),
        )
        for fit in result.fits
    }
    return ExposureState(result.choice, result.traces, orders)


def refit_exposure(
    frame: Frame,
    maps: PixelMaps | OrderMaps,
    dispersion_axis: int,
    *,
    bands: Mapping[int, str],
    base_variance: np.ndarray,
    flat: Frame | None,
    grids: list[OrderGrid],
    settings: ExtractionSettings,
    state: ExposureState,
    hits: np.ndarray,
) -> ExposureResult:
    """Extract again with known profiles and known hits.

    Parameters
    ----------
    state : ExposureState
        Of an earlier extraction with the same maps and grids.
    hits : ndarray (ny, nx) bool
        Pixels hit by cosmic rays; no others are sought.

    Other parameters as for `extract_exposure`.
    """
    fits = set_up_fits(frame, maps, dispersion_axis, base_variance, flat, grids, settings)
    fits = [fit for fit in fits if fit.pixels.order in state.orders]
    states = [state.orders[fit.pixels.order] for fit in fits]
    for fit, own in zip(fits, states, strict=True):
        fit.profiles = list(own.profiles)
    for source in range(len(states[0].profiles)):
        OrderFit.change_profiles(fits, source, [own.profiles[source] for own in states])
    for fit, own in zip(fits, states, strict=True):
        _resume(fit, own, hits)
        for _ in range(_ROUNDS):
            fit.solve_and_reject()
    return collect_result(frame, fits, state.choice, state.traces, hits, bands, settings)


def _resume(fit: OrderFit, state: OrderState, hits: np.ndarray) -> None:
    fit.knots, fit.distortion = state.knots, state.distortion
    fit.profile_errors = dict(state.profile_errors)
    fit.binned_sky, fit.first_fluxes = state.sky, state.first_flux
    fit.hits = hits.ravel()[fit.pixels.index]
    fit.rejected = fit.hits.copy()
    # For the first weights; what the fit finds follows.
    light = sum(
        fit.pixels.interpolate(flux) * fit.profile_values(source) for source, flux in enumerate(state.flux)
    )
    fit.model = fit.first_sky_model() + light * fit.sensitivity
