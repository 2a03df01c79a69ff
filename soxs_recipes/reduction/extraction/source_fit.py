"""Sky and sources of all orders fitted in rounds: profiles, fluxes and masks in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.memory import return_freed
from soxs_recipes.reduction.extraction.cosmic_rays import HitImages, find_cosmic_rays, narrow_hits
from soxs_recipes.reduction.extraction.empty_positions import empty_positions, without_positions
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.order_preview import OrderPreview
from soxs_recipes.reduction.extraction.request import ExtractionSettings, given_profiles
from soxs_recipes.reduction.extraction.requested_sources import are_blended, is_star_beside
from soxs_recipes.reduction.profiles.object_trace import TraceQuality, start_profiles, update_profiles
from soxs_recipes.reduction.profiles.slit_sources import TargetChoice

__all__ = ["fit_sources"]

_PREVIEWS = 5
_SETTLED = 0.003  # arcsec, of ln width and of the tail: far less than the joint fit moves a profile
_SEARCHED = 4  # px beyond a pixel
_ROUNDS, _MOST_ROUNDS = 4, 10
_MORE_ROUNDS = 4
_SETTLED_GAIN = 1.0  # of chi2 by the last step of a source's profiles, of which the next is a small part
_FAINTER = 0.2  # of a source's light: neighbours that leave its wings alone


def fit_sources(
    frame: Frame, fits: list[OrderFit], choice: TargetChoice, settings: ExtractionSettings
) -> tuple[dict[int, TraceQuality], np.ndarray]:
    """Fit sky and sources of all orders: quality of the target's trace per order, and hits [bool image]."""
    starts = [
        _start(fits, source, settings, is_target=k < choice.beams) for k, source in enumerate(choice.sources)
    ]
    OrderFit.give_profiles(fits, starts)
    _first_model(fits, choice)
    _preview_profiles(fits, starts, choice, settings)
    images = _hit_images(fits, frame.shape, settings)
    hits = _mask_cosmic_rays(frame, fits, settings, images)
    empty = empty_positions(choice) if settings.forced_position is not None else set()
    with without_positions(fits, starts, choice, empty) as (shaped, there):
        traces = _iterate(frame, fits, shaped, there, settings, hits, images)
    del images
    return_freed()  # what comes of the fits needs room
    return {} if 0 in empty else traces, hits


def _start(fits, source, settings, *, is_target):
    grids, request = [fit.pixels.grid for fit in fits], settings.request
    if is_target and request.profiles is not None:
        return given_profiles(grids, request.profiles, source.position, settings.forced_fwhm)
    kept = {"slope": 0.0} if is_target and settings.forced_fwhm is not None else {}
    return start_profiles(grids, source.position, source.fwhm, request.tail, **kept)


def _first_model(fits, choice):
    """Robust sky away from the sources, and its knots."""
    for fit in fits:
        away = np.ones(fit.data.size, dtype=bool)
        for source in choice.sources:
            if source.significance > 0:
                away &= np.abs(fit.pixels.slit - source.position) > 1.5 * source.fwhm + 0.3
        fit.estimate_sky(away)
        fit.place_knots()


def _preview_profiles(fits, starts, choice, settings):
    """Bring position, width and wings near their values before the first joint fit, and find first fluxes."""
    last, previews = 0.0, [OrderPreview(fit) for fit in fits]
    for _ in range(_PREVIEWS):
        fluxes = [preview.fluxes() for preview in previews]
        step = 0.0
        for source, start in enumerate(choice.sources):
            # The rough sky holds light of blended sources; their start from the slit's profile is better.
            if start.significance == 0 or _is_blended(choice.sources, source) or settings.request.host_degree >= 0:
                continue
            equations = [preview.equations(source, flux) for preview, flux in zip(previews, fluxes, strict=True)]
            moved, *_ = update_profiles(
                [fit.profiles[source] for fit in fits],
                equations,
                start=starts[source],
                **_freedom(settings, choice, source),
            )
            for fit, profile in zip(fits, moved, strict=True):
                step = max(step, profile.differs(fit.profiles[source]))
            OrderFit.change_profiles(fits, source, moved)
        # Each step is about as much smaller than the one before: what is still to come is their geometric series.
        if step < _SETTLED or step**2 < _SETTLED * (last - step):
            break
        last = step
    for preview in previews:
        preview.finish()


def _is_blended(sources, index: int) -> bool:
    here = sources[index]
    return any(
        other is not here and abs(other.position - here.position) < max(other.fwhm, here.fwhm) for other in sources
    )


def _mask_cosmic_rays(frame: Frame, fits: list[OrderFit], settings: ExtractionSettings, images) -> np.ndarray:
    """Hits on the frame [bool image]; the fits' masks grow by them. `images` are from `_hit_images`."""
    hits = np.zeros(frame.shape, dtype=bool)
    if not settings.find_cosmic_rays:
        return hits
    rows, signs, threshold = _rows_of(fits, frame.shape), fits[0].hit_signs, settings.cosmic_ray_threshold
    first = rows.start * frame.shape[1]
    suspects = []
    for fit in fits:
        tolerance = _first_tolerance(fit) if fit.solution is None else fit.tolerance
        light = fit.residual, fit.variance + tolerance**2
        suspects.append(images.put(fit.pixels.index - first, *light, fit.usable, threshold))
    where = {"suspects": np.sort(np.concatenate(suspects)), "threshold": threshold}
    for sign in signs:
        hits[rows] |= find_cosmic_rays(images.light, images.sigma, images.usable, sign=sign, **where)
    suspects = [
        images.put(fit.pixels.index - first, *fit.above_continuum(), fit.usable, threshold) for fit in fits
    ]
    where["suspects"] = np.sort(np.concatenate(suspects))
    stride = fits[0].pixels.stride
    for sign in signs:
        hits[rows] |= narrow_hits(images.light, images.sigma, images.usable, stride, sign=sign, **where)
    for fit in fits:
        fit.hits = hits.ravel()[fit.pixels.index]
        fit.rejected = fit.hits.copy()
    return hits


def _hit_images(fits, shape, settings) -> HitImages | None:
    """Where hits of the exposure are sought; None where they shall not be."""
    rows = _rows_of(fits, shape)
    return HitImages((rows.stop - rows.start, shape[1])) if settings.find_cosmic_rays else None


def _rows_of(fits: Sequence[OrderFit], shape: tuple[int, int]) -> slice:
    """Rows of the frame that hold the orders, and as many beside them as the search for hits looks at."""
    low = min(int(fit.pixels.index.min()) for fit in fits) // shape[1]
    high = max(int(fit.pixels.index.max()) for fit in fits) // shape[1]
    return slice(max(low - _SEARCHED, 0), min(high + _SEARCHED + 1, shape[0]))


def _first_tolerance(fit: OrderFit) -> np.ndarray:
    """The first model is rough: a fifth of the object, half of what the sky changes within a bin."""
    slope = np.abs(np.gradient(fit.binned_sky))
    steep = fit.pixels.interpolate(slope) * fit.sensitivity
    sky = fit._sky_at(fit.binned_sky) * fit.sensitivity
    return 0.2 * np.abs(fit.model - sky) + 0.5 * steep


def _iterate(frame, fits, starts, choice, settings, hits, images):
    """Fit, refine and reject in turn; returns the target's trace quality per order."""
    traces: dict[int, TraceQuality] = {}
    # Shapes that blended sources share settle slowly.
    rounds = _ROUNDS + (_MORE_ROUNDS if _one_shape(choice, settings) else 0)
    most = max(rounds, _MOST_ROUNDS)
    gain = np.inf
    for round_number in range(most):
        for fit in fits:
            if round_number > 0:
                fit.solve_and_reject()
            else:
                fit.solve()
        if round_number == most - 1 or (round_number >= rounds - 1 and gain < _SETTLED_GAIN):
            break
        if settings.refine_sky:
            for fit in fits:
                fit.refine_distortion()
        shared = _one_shape(choice, settings)
        if shared:
            _refine_shape(fits, starts, shared, choice, settings)
        gain = 0.0
        for source in range(len(choice.sources)):
            freedom = _freedom(settings, choice, source, is_shaped=source in shared)
            quality, more = _refine_profile(fits, starts, source, freedom, bend=round_number >= 1)
            # Several bright sources answer one another's steps, slowly: for them the number of rounds is fixed.
            if freedom["fit_optics"]:
                gain = more
            if source == 0:
                traces = quality
        if round_number == 0:
            # Judged anew by the better model, in whose fit the suspects had no part.
            hits[:] = _mask_cosmic_rays(frame, fits, settings, images)
    return traces


def _refine_profile(fits, starts, source, freedom, *, bend) -> tuple[dict[int, TraceQuality], float]:
    """Move and widen one source's profile in all orders, and let the data shape it when `bend`.

    Returns the trace's quality per order and by how much chi2 fell.
    """
    if not any(freedom.values()):
        return {}, 0.0
    # A polynomial beneath and a free shape would share out the light at will.
    bend = bend and freedom["fit_width"] and freedom["fit_tail"] and not any(fit.background.size for fit in fits)
    step = update_profiles(
        [fit.profiles[source] for fit in fits],
        [fit.bending_equations(source) if bend else fit.equations(source) for fit in fits],
        start=starts[source],
        **freedom,
    )
    OrderFit.change_profiles(fits, source, step.profiles)
    if freedom["fit_width"]:
        _state_errors(fits, source, step.errors)
    if not freedom["fit_centre"]:
        return {}, step.gain
    return {fit.pixels.order: item for fit, item in zip(fits, step.quality, strict=True)}, step.gain


def _one_shape(choice: TargetChoice, settings: ExtractionSettings) -> tuple[int, ...]:
    """Sources that share one shape: those that were asked for, or stars beside the target, where they overlap."""
    if settings.request.further_positions:
        return tuple(range(choice.beams)) if are_blended(choice.sources[: choice.beams]) else ()
    if choice.beams != 1 or settings.holds_width or settings.request.negative_beams:
        return ()
    target = choice.sources[0]
    if target.significance == 0:
        return ()
    stars = [k for k, source in enumerate(choice.sources) if k > 0 and is_star_beside(source, target)]
    return (0, *stars) if stars else ()


def _refine_shape(fits, starts, shared, choice, settings) -> None:
    """Widen all sources of one shape together."""
    freedom = {**_freedom(settings, choice, 0), "fit_centre": False, "fit_tail": settings.request.frees_tail}
    freedom["fit_optics"] = freedom["fit_tail"]
    if not freedom["fit_width"] and not freedom["fit_tail"]:
        return
    step = update_profiles(
        [fit.profiles[0] for fit in fits],
        [fit.equations(0, shared[1:]) for fit in fits],
        start=starts[0],
        **freedom,
    )
    shapes = [{name: getattr(found, name) for name in ("log_width", "tail", "optics")} for found in step.profiles]
    for source in shared:
        changed = [replace(fit.profiles[source], **shape) for fit, shape in zip(fits, shapes, strict=True)]
        OrderFit.change_profiles(fits, source, changed)
        _state_errors(fits, source, step.errors)


def _state_errors(fits, source: int, errors: np.ndarray) -> None:
    """Tell each fit what the profile's error does to the flux of its source."""
    for fit, causes in zip(fits, errors, strict=True):
        fit.profile_errors[source] = causes


def _freedom(
    settings: ExtractionSettings, choice: TargetChoice, source: int, *, is_shaped: bool = False
) -> dict[str, bool]:
    """Which of a profile's parameters may follow the data; `is_shaped` means that its shape is found already."""
    is_target = source < choice.beams
    # Wings over another source's core would take its light, in turns.
    least = _FAINTER * choice.sources[source].brightness
    bright = [s for k, s in enumerate(choice.sources) if k == source or s.brightness > least]
    has_wings = settings.request.frees_tail and not _is_blended(bright, bright.index(choice.sources[source]))
    return {
        "fit_centre": not (is_target and settings.holds_position),
        "fit_width": not is_shaped and not (is_target and settings.holds_width),
        "fit_tail": not is_shaped and has_wings,
        # Of several bright sources each takes up what another's wings miss: with two shapes each they swing.
        "fit_optics": not is_shaped and has_wings and len(bright) == 1,
    }
