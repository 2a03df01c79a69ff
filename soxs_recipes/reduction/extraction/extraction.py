"""From a prepared exposure to the spectra of the sources on its slit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import OrderMaps, PixelMaps
from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder, order_spectra
from soxs_recipes.reduction.extraction.request import ExtractionSettings, restrict_pixels
from soxs_recipes.reduction.extraction.slit_light import SlitLight, slit_light
from soxs_recipes.reduction.extraction.source_fit import fit_sources
from soxs_recipes.reduction.extraction.target_search import find_target, with_negative_beams
from soxs_recipes.reduction.profiles.object_trace import TraceQuality
from soxs_recipes.reduction.profiles.slit_profile import SlitProfile
from soxs_recipes.reduction.profiles.slit_sources import (
    TargetChoice,
)
from soxs_recipes.reduction.sky.order_pixels import OrderGrid, cut_order, make_order_grid

__all__ = [
    "ExposureResult",
    "collect_result",
    "extract_exposure",
    "make_grids",
    "set_up_fits",
]


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
        choice = with_negative_beams(choice, fits)
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
