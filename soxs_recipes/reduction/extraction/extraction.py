"""From a prepared exposure to the spectra of the sources on its slit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import OrderMaps, PixelMaps
from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.memory import return_freed
from soxs_recipes.reduction.extraction.cosmic_rays import HitImages, find_cosmic_rays, narrow_hits
from soxs_recipes.reduction.extraction.empty_positions import empty_positions, without_positions
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.order_preview import OrderPreview
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder, order_spectra
from soxs_recipes.reduction.extraction.request import ExtractionRequest, given_profiles, restrict_pixels
from soxs_recipes.reduction.extraction.requested_sources import are_blended, forced_choice, is_star_beside
from soxs_recipes.reduction.extraction.slit_light import SlitLight, slit_light
from soxs_recipes.reduction.profiles.object_trace import TraceQuality, start_profiles, update_profiles
from soxs_recipes.reduction.profiles.slit_profile import SlitProfile
from soxs_recipes.reduction.profiles.slit_sources import (
    SlitSource,
    TargetChoice,
    choose_target,
    find_sources,
    light_along_slit,
    slit_samples,
)
from soxs_recipes.reduction.sky.order_pixels import OrderGrid, cut_order, make_order_grid

__all__ = [
    "ExposureResult",
    "ExtractionSettings",
    "collect_result",
    "extract_exposure",
    "find_target",
    "fit_sources",
    "make_grids",
    "set_up_fits",
    "sources_on_slit",
]

_PREVIEWS = 5
_SETTLED = 0.003  # arcsec, of ln width and of the tail: far less than the joint fit moves a profile
_SEARCHED = 4  # px beyond a pixel
_ROUNDS = 4
_MORE_ROUNDS = 4
_FAINTER = 0.2  # of a source's light: neighbours that leave its wings alone


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """What a person may choose.

    Attributes
    ----------
    expected_position : float [arcsec]
        Where on the slit the target should be.
    position_tolerance : float [arcsec]
    forced_position, forced_fwhm : float or None [arcsec]
        Extract exactly there, or with that width, whatever is seen.
    edge_margin : float [px]
        Left out at either slit end.
    aperture : float
        Half-width of the boxcar in FWHM.
    find_cosmic_rays : bool
    cosmic_ray_threshold : float [sigma]
    maximum_sources : int
        Sources beside the target that are fitted with it.
    refine_sky : bool
        Fit illumination, tilt and line width along the slit.
    request : ExtractionRequest
        Further wishes.
    """

    expected_position: float = 0.0
    position_tolerance: float = 2.0
    forced_position: float | None = None
    forced_fwhm: float | None = None
    edge_margin: float = 1.5
    aperture: float = 1.25
    find_cosmic_rays: bool = True
    cosmic_ray_threshold: float = 5.0
    maximum_sources: int = 3
    refine_sky: bool = True
    request: ExtractionRequest = field(default_factory=ExtractionRequest)

    @property
    def holds_position(self) -> bool:
        """Whether the target's trace stays where it was put."""
        return self.forced_position is not None and not self.request.may_move

    @property
    def holds_width(self) -> bool:
        """Whether the target's width stays as it was given."""
        return self.forced_fwhm is not None or self.request.profiles is not None


@dataclass(frozen=True, slots=True)
class ExposureResult:
    """What one exposure gave.

    Attributes
    ----------
    orders : tuple of ExtractedOrder
        The target's spectrum in each order, ascending order number.
    others : tuple of tuple of ExtractedOrder
        Same for the other sources.
    choice : TargetChoice
    traces : mapping order -> TraceQuality
    sky_model, object_model : ndarray (ny, nx) float32 [e-]
        0 outside orders; flat included.
    variance : ndarray (ny, nx) float32 [e-^2]
        From the model.
    quality : ndarray (ny, nx) int32
        The frame's bits and what was found here.
    cosmic_fraction : float
        Share of the order's pixels lost to cosmic rays.
    profiles : tuple (source) of mapping order -> SlitProfile
        Those of the fit.
    slit_light : tuple of SlitLight
        Per order.
    """

    orders: tuple[ExtractedOrder, ...]
    others: tuple[tuple[ExtractedOrder, ...], ...]
    choice: TargetChoice
    traces: Mapping[int, TraceQuality]
    sky_model: np.ndarray
    object_model: np.ndarray
    variance: np.ndarray
    quality: np.ndarray
    cosmic_fraction: float
    fits: tuple[OrderFit, ...] = field(default=(), repr=False)
    profiles: tuple[Mapping[int, SlitProfile], ...] = field(default=(), repr=False)
    slit_light: tuple[SlitLight, ...] = field(default=(), repr=False)

    def without_fits(self) -> ExposureResult:
        """The same without the state of the fits, which is far larger than the images."""
        return replace(self, fits=())

    def without_images(self) -> ExposureResult:
        """The same without images and the state of the fits."""
        nothing = np.zeros((0, 0), np.float32)
        images = dict.fromkeys(("sky_model", "object_model", "variance", "quality"), nothing)
        return replace(self, fits=(), **images)


def make_grids(maps: PixelMaps, dispersion_axis: int) -> list[OrderGrid]:
    """Wavelength bins of every order in the maps; orders that hold too little are left out.

    Raises
    ------
    AlgorithmError
        No order can be used.
    """
    grids, problem = [], AlgorithmError("the pixel maps hold no order")
    for order in maps.orders:
        try:
            grids.append(make_order_grid(maps, order, dispersion_axis))
        except AlgorithmError as error:
            problem = error
    if not grids:
        raise problem
    return grids


def extract_exposure(
    frame: Frame,
    maps: PixelMaps | OrderMaps,
    dispersion_axis: int,
    *,
    bands: Mapping[int, str],
    base_variance: np.ndarray,
    flat: Frame | None = None,
    grids: list[OrderGrid] | None = None,
    settings: ExtractionSettings | None = None,
) -> ExposureResult:
    """Fit sky and sources of all orders and extract.

    Parameters
    ----------
    frame : Frame
        Bias, dark and scattered light subtracted, not flat-fielded [e-].
    maps : PixelMaps or OrderMaps
        Of this exposure, flexure included.
    dispersion_axis : int
    bands : mapping order -> name
    base_variance : ndarray (ny, nx) [e-^2]
        Variance of every pixel but for the photon noise of sky and objects.
    flat : Frame or None
        Relative sensitivity; None leaves the pixels' response as it is.
    grids : list of OrderGrid or None
        Bins to use, so that several exposures share them.
    settings : ExtractionSettings or None

    Raises
    ------
    UnprocessableData
        No order holds usable pixels.
    """
    settings = settings or ExtractionSettings()
    grids = grids or make_grids(maps, dispersion_axis)
    fits = set_up_fits(frame, maps, dispersion_axis, base_variance, flat, grids, settings)
    for fit in fits:
        fit.estimate_sky()
    choice = settings.request.without_host(find_target(fits, settings))
    if settings.request.negative_beams:
        choice = _with_negative_beams(choice, fits)
    restrict_pixels(fits, choice, settings.request)
    traces, hits = fit_sources(frame, fits, choice, settings)
    return collect_result(frame, fits, choice, traces, hits, bands, settings)


def set_up_fits(
    frame,
    maps,
    dispersion_axis,
    base_variance,
    flat,
    grids,
    settings: ExtractionSettings,
    make: Callable = OrderFit,
) -> list[OrderFit]:
    """A fit for every order that holds usable pixels, made by `make`; arguments as for `extract_exposure`."""
    fits = []
    present = set(maps.orders)
    for grid in grids:
        if grid.order not in present:
            continue
        pixels = cut_order(maps, grid, dispersion_axis, edge_margin=settings.edge_margin)
        ones, zeros = np.ones(pixels.index.size), np.zeros(pixels.index.size)
        known = [is_usable(part.quality.take(pixels.index)) for part in (frame, flat) if part is not None]
        fit = make(
            pixels,
            pixels.take(frame.data),
            pixels.take(base_variance),
            ones if flat is None else pixels.take(flat.data),
            zeros if flat is None else pixels.take(flat.variance),
            np.logical_and.reduce(known),
        )
        if fit.good.mean() > 0.2:
            fits.append(fit)
    if not fits:
        raise UnprocessableData(f"{frame.meta.name}: no order holds usable pixels")
    return fits


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


def find_target(fits: list[OrderFit], settings: ExtractionSettings) -> TargetChoice:
    """The target and the other sources on the slit, from the light above the first sky."""
    cells = _slit_cells(fits)
    sources = _inner_sources(cells)
    if settings.forced_position is not None:
        positions = (settings.forced_position, *settings.request.further_positions)
        light = light_along_slit(*cells)
        return forced_choice(light, sources, positions, settings.forced_fwhm, settings.maximum_sources)
    where = {"expected": settings.expected_position, "tolerance": settings.position_tolerance}
    choice = choose_target(sources, **where)
    if not choice.detected:  # a fainter one shows when pixels count by what they know
        fainter = choose_target(_inner_sources(_slit_cells(fits, weighted=True)), **where)
        choice = fainter if fainter.detected and not fainter.doubtful else choice
    if settings.forced_fwhm is not None:
        changed = list(choice.sources)
        changed[choice.index] = replace(changed[choice.index], fwhm=settings.forced_fwhm)
        choice = replace(choice, sources=tuple(changed))
    return _limit(choice, settings.maximum_sources)


def _with_negative_beams(choice: TargetChoice, fits: Sequence[OrderFit]) -> TargetChoice:
    """The choice with the light of a subtracted exposure behind it.

    Beams of the other sign look like a broad trough around a source, so what is broad is left out.
    """
    values, weights, grid = _slit_cells(fits)
    negative = [replace(s, brightness=-s.brightness) for s in _inner_sources((-values, weights, grid))]
    for fit in fits:
        fit.hit_signs = (1.0, -1.0)
    others = [*choice.sources[choice.beams :], *negative]
    widest = 1.8 * min(source.fwhm for source in (choice.sources[0], *others))
    kept = [source for source in others if source.fwhm < widest]
    return replace(choice, sources=(*choice.sources[: choice.beams], *kept))


def sources_on_slit(fits: Sequence[OrderFit]) -> tuple[SlitSource, ...]:
    """Every source that stands out above the first sky, by falling significance."""
    return _inner_sources(_slit_cells(fits))


def _inner_sources(cells):
    low, high = cells[2][0], cells[2][-1]
    margin = 0.4
    return tuple(s for s in find_sources(*cells) if low + margin < s.position < high - margin)


def _slit_cells(fits, *, weighted=False):
    """Brightness above the sky and its weight in cells of (part of an order, slit position), and the positions."""
    low = min(fit.pixels.slit_range[0] for fit in fits)
    high = max(fit.pixels.slit_range[1] for fit in fits)
    grid = np.arange(low, high, 0.15)
    values, weights = [], []
    for fit in fits:
        residual = np.where(fit.good, (fit.data - fit.model) / fit.sensitivity, np.nan)
        # Where the binned sky is steep it is wrong; let those pixels count less.
        steep = fit.pixels.interpolate(np.abs(np.gradient(fit.binned_sky)))
        value, weight = slit_samples(
            fit.pixels, residual, fit.variance / fit.sensitivity**2 + steep**2, grid, weighted=weighted
        )
        values.append(value)
        weights.append(weight)
    return np.concatenate(values), np.concatenate(weights), grid


def _limit(choice: TargetChoice, most: int) -> TargetChoice:
    target = choice.sources[choice.index]
    others = [s for i, s in enumerate(choice.sources) if i != choice.index]
    others = sorted(others, key=lambda s: -s.brightness)[:most]
    return replace(choice, index=0, sources=(target, *others))


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
    for round_number in range(rounds):
        for fit in fits:
            if round_number > 0:
                fit.solve_and_reject()
            else:
                fit.solve()
        if round_number == rounds - 1:
            break
        if settings.refine_sky:
            for fit in fits:
                fit.refine_distortion()
        shared = _one_shape(choice, settings)
        if shared:
            _refine_shape(fits, starts, shared, choice, settings)
        for source in range(len(choice.sources)):
            quality = _refine_profile(
                fits,
                starts,
                source,
                _freedom(settings, choice, source, is_shaped=source in shared),
                bend=round_number >= 1,
            )
            if source == 0:
                traces = quality
        if round_number == 0:
            # Judged anew by the better model, in whose fit the suspects had no part.
            hits[:] = _mask_cosmic_rays(frame, fits, settings, images)
    return traces


def _refine_profile(fits, starts, source, freedom, *, bend) -> dict[int, TraceQuality]:
    """Move and widen one source's profile in all orders, and let the data shape it when `bend`."""
    if not any(freedom.values()):
        return {}
    # A polynomial beneath and a free shape would share out the light at will.
    bend = bend and freedom["fit_width"] and freedom["fit_tail"] and not any(fit.background.size for fit in fits)
    moved, quality, errors = update_profiles(
        [fit.profiles[source] for fit in fits],
        [fit.bending_equations(source) if bend else fit.equations(source) for fit in fits],
        start=starts[source],
        **freedom,
    )
    OrderFit.change_profiles(fits, source, moved)
    if freedom["fit_width"]:
        _state_errors(fits, source, errors)
    if not freedom["fit_centre"]:
        return {}
    return {fit.pixels.order: item for fit, item in zip(fits, quality, strict=True)}


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
    moved, _, errors = update_profiles(
        [fit.profiles[0] for fit in fits],
        [fit.equations(0, shared[1:]) for fit in fits],
        start=starts[0],
        **freedom,
    )
    shapes = [{name: getattr(found, name) for name in ("log_width", "tail", "optics")} for found in moved]
    for source in shared:
        changed = [replace(fit.profiles[source], **shape) for fit, shape in zip(fits, shapes, strict=True)]
        OrderFit.change_profiles(fits, source, changed)
        _state_errors(fits, source, errors)


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


def collect_result(
    frame, fits, choice, traces, hits, bands, settings, extract: Callable | None = None
) -> ExposureResult:
    """Spectra and images of finished fits; `extract` (fit, band, shared variance) gives an order's spectra."""
    shape = frame.shape

    def all_sources(fit, band, shared):
        return order_spectra(fit, band, aperture=settings.aperture, shared_variance=shared)

    extract = extract or all_sources
    sky, objects = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    variance, quality = frame.variance.copy(), frame.quality.copy()
    orders, others = [], []
    lost, total = 0, 0
    for fit in fits:
        fit.pixels.put(sky, fit.sky)
        fit.pixels.put(objects, fit.solution.objects.sum(axis=0))
        fit.pixels.put(variance, fit.variance)
        cosmic = hits.ravel()[fit.pixels.index]
        # Few are flagged: their places alone are touched.
        for chosen, flag in ((fit.rejected & ~cosmic, QualityFlag.OUTLIER), (cosmic, QualityFlag.COSMIC_RAY)):
            quality.reshape(-1)[fit.pixels.index[chosen]] |= np.int32(flag)
        band = bands.get(fit.pixels.order, str(fit.pixels.order))
        shared = None if frame.shared_variance is None else fit.pixels.take(frame.shared_variance)
        extracted = extract(fit, band, shared)
        fit.joint.release_covariance()
        orders.append(extracted[0])
        others.append(extracted[1:])
        lost += int(cosmic.sum())
        total += fit.data.size
    return ExposureResult(
        orders=tuple(orders),
        others=tuple(zip(*others, strict=True)) if others[0] else (),
        choice=choice,
        traces=traces,
        sky_model=sky,
        object_model=objects,
        variance=variance,
        quality=quality,
        cosmic_fraction=lost / max(total, 1),
        fits=tuple(fits),
        profiles=tuple(
            {fit.pixels.order: fit.profiles[source] for fit in fits} for source in range(len(fits[0].profiles))
        ),
        slit_light=tuple(slit_light(fit) for fit in fits),
    )
