"""From a prepared exposure to the spectra of the sources on its slit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.reduction.cosmic_rays import find_cosmic_rays
from soxs_recipes.reduction.object_trace import TraceQuality, start_profiles, update_profiles
from soxs_recipes.reduction.order_fit import OrderFit
from soxs_recipes.reduction.order_pixels import OrderGrid, cut_order, make_order_grid
from soxs_recipes.reduction.order_spectrum import ExtractedOrder, order_spectrum
from soxs_recipes.reduction.slit_sources import SlitSource, TargetChoice, choose_target, find_sources, slit_samples

__all__ = [
    "ExposureResult",
    "ExtractionSettings",
    "collect_result",
    "extract_exposure",
    "fit_sources",
    "make_grids",
    "set_up_fits",
]

_ROUNDS = 4


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

    def without_images(self) -> ExposureResult:
        """The same without images and the state of the fits, which are large."""
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
    maps: PixelMaps,
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
    maps : PixelMaps
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
    choice = _find_target(fits, settings)
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
    usable = frame.usable if flat is None else frame.usable & flat.usable
    for grid in grids:
        if not np.any(maps.order == grid.order):
            continue
        pixels = cut_order(maps, grid, dispersion_axis, edge_margin=settings.edge_margin)
        ones, zeros = np.ones(pixels.index.size), np.zeros(pixels.index.size)
        fit = make(
            pixels,
            pixels.take(frame.data),
            pixels.take(base_variance),
            ones if flat is None else pixels.take(flat.data),
            zeros if flat is None else pixels.take(flat.variance),
            pixels.take(usable) > 0,
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
    _assign(fits, starts)
    _first_model(fits, choice)
    _preview_profiles(fits, starts, choice, settings)
    hits = _mask_cosmic_rays(frame, fits, settings)
    return _iterate(frame, fits, starts, choice, settings, hits), hits


def _find_target(fits: list[OrderFit], settings: ExtractionSettings) -> TargetChoice:
    low = min(fit.pixels.slit_range[0] for fit in fits)
    high = max(fit.pixels.slit_range[1] for fit in fits)
    grid = np.arange(low, high, 0.15)
    values, weights = [], []
    for fit in fits:
        residual = np.where(fit.good, (fit.data - fit.model) / fit.sensitivity, np.nan)
        # Where the binned sky is steep it is wrong; let those pixels count less.
        steep = np.interp(fit.pixels.position, np.arange(fit.binned_sky.size), np.abs(np.gradient(fit.binned_sky)))
        value, weight = slit_samples(fit.pixels, residual, fit.variance / fit.sensitivity**2 + steep**2, grid)
        values.append(value)
        weights.append(weight)
    sources = find_sources(np.concatenate(values), np.concatenate(weights), grid)
    margin = 0.4
    sources = tuple(s for s in sources if low + margin < s.position < high - margin)
    if settings.forced_position is not None:
        choice = _forced(sources, settings)
    else:
        choice = choose_target(sources, settings.expected_position, tolerance=settings.position_tolerance)
    if settings.forced_fwhm is not None:
        changed = list(choice.sources)
        changed[choice.index] = replace(changed[choice.index], fwhm=settings.forced_fwhm)
        choice = replace(choice, sources=tuple(changed))
    return _limit(choice, settings.maximum_sources)


def _forced(sources, settings):
    position = settings.forced_position
    fwhm = settings.forced_fwhm or (sources[0].fwhm if sources else 1.0)
    others = tuple(s for s in sources if abs(s.position - position) > 0.7 * max(s.fwhm, fwhm))
    forced = SlitSource(position, fwhm, 0.0, 0.0)
    return TargetChoice(
        len(others), (*others, forced), f"extracted at {position:+.2f} arcsec as asked", False, False
    )


def _limit(choice: TargetChoice, most: int) -> TargetChoice:
    target = choice.sources[choice.index]
    others = [s for i, s in enumerate(choice.sources) if i != choice.index]
    others = sorted(others, key=lambda s: -s.brightness)[:most]
    return replace(choice, index=0, sources=(target, *others))


def _start(fits, source, settings, *, is_target):
    kept = {"slope": 0.0} if is_target and settings.forced_fwhm is not None else {}
    return start_profiles([fit.pixels.grid for fit in fits], source.position, source.fwhm, **kept)


def _assign(fits, profiles_by_source):
    for i, fit in enumerate(fits):
        fit.profiles = [profiles[i] for profiles in profiles_by_source]


def _first_model(fits, choice):
    """Robust sky away from the sources, then robust fluxes."""
    for fit in fits:
        away = np.ones(fit.data.size, dtype=bool)
        for source in choice.sources:
            if source.significance > 0:
                away &= np.abs(fit.pixels.slit - source.position) > 1.5 * source.fwhm + 0.3
        fit.estimate_sky(away)
        fit.place_knots()
        fit.estimate_objects()


def _preview_profiles(fits, starts, choice, settings, steps=6):
    """Bring position, width and wings near their values before the first joint fit."""
    for step in range(steps):
        fluxes = []
        for fit in fits:
            fit.model = fit.first_sky_model()
            fluxes.append(fit.estimate_objects())
        if step == steps - 1:
            return
        for source, asked in enumerate(choice.sources):
            # The rough sky holds light of blended sources; their start from the slit's profile is better.
            if asked.significance == 0 or _is_blended(choice.sources, source):
                continue
            equations = [fit.preview_equations(source, flux) for fit, flux in zip(fits, fluxes, strict=True)]
            moved, _ = update_profiles(
                [fit.profiles[source] for fit in fits],
                equations,
                start=starts[source],
                fit_width=not (source < choice.beams and settings.forced_fwhm is not None),
            )
            for fit, profile in zip(fits, moved, strict=True):
                fit.profiles[source] = profile


def _is_blended(sources, index: int) -> bool:
    here = sources[index]
    return any(
        other is not here and abs(other.position - here.position) < max(other.fwhm, here.fwhm) for other in sources
    )


def _mask_cosmic_rays(frame: Frame, fits: list[OrderFit], settings: ExtractionSettings) -> np.ndarray:
    """Hits on the frame [bool image]; the fits' masks grow by them."""
    hits = np.zeros(frame.shape, dtype=bool)
    if not settings.find_cosmic_rays:
        return hits
    residual, sigma = np.zeros(frame.shape, np.float32), np.ones(frame.shape, np.float32)
    tolerance, usable = np.zeros(frame.shape, np.float32), np.zeros(frame.shape, dtype=bool)
    for fit in fits:
        fit.pixels.put(residual, fit.residual)
        fit.pixels.put(sigma, np.sqrt(fit.variance))
        fit.pixels.put(tolerance, _first_tolerance(fit) if fit.solution is None else fit.tolerance)
        fit.pixels.put(usable, fit.usable)
    for sign in fits[0].hit_signs:
        hits |= find_cosmic_rays(
            sign * residual, sigma, usable, tolerance=tolerance, threshold=settings.cosmic_ray_threshold
        )
    for fit in fits:
        fit.hits = hits.ravel()[fit.pixels.index]
        fit.rejected = fit.hits.copy()
    return hits


def _first_tolerance(fit: OrderFit) -> np.ndarray:
    """The first model is rough: a fifth of the object, half of what the sky changes within a bin."""
    slope = np.abs(np.gradient(fit.binned_sky))
    steep = np.interp(fit.pixels.position, np.arange(slope.size), slope) * fit.sensitivity
    sky = fit._sky_at(fit.binned_sky) * fit.sensitivity
    return 0.2 * np.abs(fit.model - sky) + 0.5 * steep


def _iterate(frame, fits, starts, choice, settings, hits):
    """Fit, refine and reject in turn; returns the target's trace quality per order."""
    traces: dict[int, TraceQuality] = {}
    for round_number in range(_ROUNDS):
        for fit in fits:
            fit.solve()
            if round_number > 0:
                fit.reject()
        if round_number == _ROUNDS - 1:
            break
        if settings.refine_sky:
            for fit in fits:
                fit.refine_distortion()
        for source in range(len(choice.sources)):
            quality = _refine_profile(
                fits, starts, source, settings, is_target=source < choice.beams, correct=round_number >= 1
            )
            if source == 0:
                traces = quality
        if round_number == 0:
            # Judged anew by the better model, in whose fit the suspects had no part.
            hits[:] = _mask_cosmic_rays(frame, fits, settings)
    return traces


def _refine_profile(fits, starts, source, settings, *, is_target, correct) -> dict[int, TraceQuality]:
    """Move and widen one source's profile in all orders, and let the data shape it when `correct`."""
    traces = {}
    if not (is_target and settings.forced_position is not None):
        moved, quality = update_profiles(
            [fit.profiles[source] for fit in fits],
            [fit.equations(source) for fit in fits],
            start=starts[source],
            fit_width=not (is_target and settings.forced_fwhm is not None),
        )
        for fit, profile in zip(fits, moved, strict=True):
            fit.profiles[source] = profile
        traces = {fit.pixels.order: item for fit, item in zip(fits, quality, strict=True)}
    if correct and not (is_target and settings.forced_fwhm is not None):
        for fit in fits:
            fit.correct_profile(source)
    return traces


def collect_result(frame, fits, choice, traces, hits, bands, settings) -> ExposureResult:
    """Spectra and images of finished fits."""
    shape = frame.shape
    sky, objects = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    variance, quality = frame.variance.copy(), frame.quality.copy()
    orders, others = [], []
    lost, total = 0, 0
    for fit in fits:
        fit.pixels.put(sky, fit.sky)
        fit.pixels.put(objects, fit.solution.objects.sum(axis=0))
        fit.pixels.put(variance, fit.variance)
        cosmic = hits.ravel()[fit.pixels.index]
        bits = np.where(fit.rejected & ~cosmic, np.int32(QualityFlag.OUTLIER), 0)
        bits |= np.where(cosmic, np.int32(QualityFlag.COSMIC_RAY), 0)
        quality.reshape(-1)[fit.pixels.index] |= bits.astype(np.int32)
        band = bands.get(fit.pixels.order, str(fit.pixels.order))
        shared = None if frame.shared_variance is None else fit.pixels.take(frame.shared_variance)
        extracted = [
            order_spectrum(fit, source, band, aperture=settings.aperture, shared_variance=shared)
            for source in range(len(choice.sources))
        ]
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
    )
