"""The master flat: what each pixel answers to light, and how evenly the slit is lit.

The flat is the lamp image over a smooth blaze at each pixel's wavelength. It holds pixel response, fringes and
the illumination along the slit (1 at mid-slit); lamp, blaze and everything smoother than the knots of the blaze
along the spectrum are in the blaze curves. Between orders it is 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from soxs_recipes.data.dispersion_solution import DispersionSolution
from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flat.blaze import OrderPixels, SmoothFlat, fit_smooth_flat
from soxs_recipes.reduction.flat.flat_combination import CombinedExposures
from soxs_recipes.reduction.flat.lamp_lines import with_lamp_lines
from soxs_recipes.reduction.flat.pixel_response import (
    PixelResponse,
    SmoothLight,
    SpreadCells,
    average_responses,
    measure_response,
    measure_spread,
    settled_spread,
    shrink,
)
from soxs_recipes.reduction.flat.scattered_light import ScatteredLight
from soxs_recipes.reduction.orders.cross_sections import along_first

__all__ = ["BlazeCurve", "LampFlat", "MasterFlat", "master_flat", "slit_tilts"]

_BLAZE_LIMIT = 0.02  # relative error of the blaze beyond which a pixel is not flat-fielded
_END_MARGIN = 4.0  # px about an order's end inside the detector, where the light stops within a slit width
_BLUR = 1.1  # px, sigma of the slit's ends: only a first guess that pixels there correct
_END_SPREAD = 0.1  # how far that guess may be off, relative
_OF_EXPOSURES = np.int32(
    QualityFlag.SATURATED
    | QualityFlag.NON_LINEAR
    | QualityFlag.COSMIC_RAY
    | QualityFlag.NO_DATA
    | QualityFlag.OUTLIER
    | QualityFlag.PERSISTENCE
)
_LOWEST = 0.05  # no pixel is divided by less


@dataclass(frozen=True, slots=True)
class LampFlat:
    """Exposures of one lamp, with the scattered light that is not yet subtracted from them."""

    combined: CombinedExposures
    scattered: ScatteredLight


@dataclass(frozen=True, slots=True)
class BlazeCurve:
    """Lamp times blaze of one order at mid-slit.

    Attributes
    ----------
    order : int
    along : ndarray (n,) float64 [px]
    blaze, error : ndarray (n,) float64 [e-]
        Of a mean exposure, lamps added; 0 where no lamp reaches.
    spread : float
        Relative scatter of the pixels' response in this order.
    noise : float
        Median relative error of the flat in this order, inside the edges.
    """

    order: int
    along: np.ndarray
    blaze: np.ndarray
    error: np.ndarray
    spread: float
    noise: float


@dataclass(frozen=True, slots=True)
class MasterFlat:
    """What `master_flat` made.

    Attributes
    ----------
    frame : Frame
        Response around 1 without unit; variance of it; quality.
    smooth : ndarray (ny, nx) float32 [e-]
        Smooth model (blaze times illumination), 0 between orders.
    blazes : tuple of BlazeCurve
    dark_orders : tuple of int
        Orders that no lamp lights: their flat is 1 and flagged.
    """

    frame: Frame
    smooth: np.ndarray
    blazes: tuple[BlazeCurve, ...]
    dark_orders: tuple[int, ...]


def slit_tilts(
    solution: DispersionSolution,
    wavelength_ranges: Mapping[int, tuple[float, float]],
    length: int,
    dispersion_axis: int,
    binning: tuple[int, int] | None = None,
) -> dict[int, np.ndarray]:
    """Tilt of the slit's image at each row: d(along)/d(across) at one wavelength, {order: (length,) float64}.

    Rows and tilt are in pixels of `binning`, those of the solution by default.
    """
    tilts = {}
    factors = [new / old for new, old in zip(binning or solution.binning, solution.binning, strict=True)]
    along_factor, across_factor = factors if dispersion_axis == 0 else factors[::-1]
    rows = (np.arange(length) + 0.5) * along_factor - 0.5
    for order in solution.orders:
        if order not in wavelength_ranges:
            continue
        wavelength = np.linspace(*wavelength_ranges[order], 256)
        surface = solution.surface(order)
        positions = surface.evaluate(wavelength, np.zeros_like(wavelength))
        slopes = surface.slit_derivative(wavelength, np.zeros_like(wavelength))
        (_, along), (d_across, d_along) = (
            (pair if dispersion_axis == 0 else pair[::-1]) for pair in (positions, slopes)
        )
        if not np.all(np.abs(d_across) > 0):
            continue
        ascending = np.argsort(along)
        tilts[order] = np.interp(rows, along[ascending], (d_along / d_across)[ascending])
        tilts[order] *= across_factor / along_factor
    return tilts


def master_flat(
    lamps: Sequence[LampFlat],
    order_table: OrderTable,
    *,
    tilts: Mapping[int, np.ndarray] | None = None,
    knot_spacing: float = 256.0,
    denoise: bool = True,
    low_sensitivity: float = 0.5,
    margin: float = 3.0,
    lamp_line_limit: float = 0.12,
    meta: FrameMeta | None = None,
) -> MasterFlat:
    """Make the master flat of one or several lamps.

    In each order and for each lamp a smooth model (see `blaze.fit_smooth_flat`) is divided out; the responses
    of several lamps are averaged by their variance, so that each counts where it is good and they join without
    a seam. A lamp's emission lines, which its smooth model cannot follow, show as a difference between lamps and
    are left to the other lamp.

    With `denoise` the response is replaced by its mean given the data, for pixels whose responses scatter
    with the spread that is measured (empirical Bayes: where the lamp is faint the flat's noise shrinks to the
    true spread of the pixels, where it is bright nothing changes); pixels of odd response are not shrunk.

    Parameters
    ----------
    lamps : sequence of LampFlat
    order_table : OrderTable
        With edges.
    tilts : mapping order -> ndarray (rows,) or None
        From `slit_tilts`; None takes the slit's image as straight across.
    knot_spacing : float [px]
        Largest distance of the knots of ln(blaze).
    denoise : bool
    low_sensitivity : float
        Response below which a pixel is flagged, when it is so by more than 6 sigma.
    margin : float [px]
        Distance from the edges within which the smooth model and the flags are not trusted: there the flat is
        the plain ratio.
    lamp_line_limit : float
        Relative height from which a sharp feature of the lamp is divided out with the blaze; 0 for never.
    meta : FrameMeta or None

    Raises
    ------
    AlgorithmError
        When no order holds light.
    """
    shape, axis = lamps[0].combined.signal.shape, order_table.dispersion_axis
    canvas = _Canvas.blank(shape)
    views, dark = [], []
    for trace in order_table.traces:
        part = _order_part(lamps, trace, axis, (tilts or {}).get(trace.order), margin)
        models = [_fit(pixels, part, knot_spacing, lamp_line_limit) for pixels in part.lamps]
        if any(models):
            views.append(_OrderView.of(part, models))
        else:
            dark.append(trace.order)
            canvas.put_dark(part)
    if not views:
        raise AlgorithmError("no order holds light in the flats", orders=float(len(order_table.traces)))
    # The pixels of all orders are of one detector: what bright orders tell of their spread holds in faint ones.
    settled = settled_spread([view.cells for view in views])
    blazes = [
        _flatten_order(canvas, view, _spread_at(view.part.rows, cells), denoise, low_sensitivity)
        for view, cells in zip(views, settled, strict=True)
    ]
    frame = Frame(canvas.flat, canvas.variance, canvas.quality, meta or FrameMeta())
    return MasterFlat(frame, canvas.smooth, tuple(blazes), tuple(dark))


@dataclass(frozen=True, slots=True)
class _Canvas:
    """The images that are filled order by order."""

    flat: np.ndarray
    variance: np.ndarray
    quality: np.ndarray
    smooth: np.ndarray

    @classmethod
    def blank(cls, shape):
        outside = np.full(shape, int(QualityFlag.OUTSIDE_ORDER), dtype=np.int32)
        zeros = np.zeros(shape, dtype=np.float32)
        return cls(np.ones(shape, dtype=np.float32), zeros, outside, zeros.copy())

    def put(self, part, flat, variance, quality, smooth):
        for image, values in (
            (self.flat, flat),
            (self.variance, variance),
            (self.quality, quality),
            (self.smooth, smooth),
        ):
            image.ravel()[part.places] = values

    def put_dark(self, part):
        zeros = np.zeros(part.rows.size)
        bits = part.quality | np.int32(QualityFlag.NO_FLAT)
        self.put(part, zeros + 1.0, zeros, bits & ~np.int32(QualityFlag.NO_DATA), zeros)


@dataclass(frozen=True, slots=True)
class _OrderPart:
    """One order's pixels of all lamps."""

    trace: OrderTrace
    rows: np.ndarray
    places: np.ndarray  # of the pixels in the flat image
    lamps: list[OrderPixels]
    quality: np.ndarray
    inner: np.ndarray
    slit_ends: np.ndarray
    middle: float
    scattered: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class _OrderView:
    """An order before the spread of its pixels is settled."""

    part: _OrderPart
    models: list[SmoothFlat | None]
    lights: list[SmoothLight | None]
    first: PixelResponse
    cells: SpreadCells

    @classmethod
    def of(cls, part, models):
        pairs = zip(models, part.lamps, strict=True)
        lights = [model and SmoothLight.of(model, pixels, part.slit_ends) for model, pixels in pairs]
        first = _responses(part, lights, 0.0)
        good = part.inner & is_usable(part.quality) & (first.blaze_error < _BLAZE_LIMIT)
        return cls(part, models, lights, first, measure_spread(first, part.rows, good))


def _responses(part, lights, expected) -> PixelResponse:
    lit = zip(lights, part.lamps, part.scattered, strict=True)
    views = [measure_response(light, *rest, expected) for light, *rest in lit if light is not None]
    return average_responses(views, part.lamps[0].along, part.inner)


def _order_part(lamps, trace, axis, tilt, margin) -> _OrderPart:
    shape = along_first(lamps[0].combined.signal, axis).shape
    low, high = trace.along_domain
    row = np.arange(max(int(np.ceil(low)), 0), min(int(high) + 1, shape[0]))
    lower, upper = trace.edges_at(row)
    first, last = max(int(lower.min()), 0), max(min(int(upper.max()) + 2, shape[1]), 1)
    column = np.arange(first, max(last, first + 1))
    inside = (column[None, :] >= lower[:, None]) & (column[None, :] <= upper[:, None])
    index, offset = np.nonzero(inside)
    rows, columns = row[index], column[offset]
    centre, half = trace.centre_at(row), np.maximum(0.5 * (upper - lower), 1.0)
    middle = 0.5 * (lower + upper)
    slit = ((columns - middle[index]) / half[index]).astype(np.float64)
    along = rows.astype(np.float64)
    if tilt is not None:
        along -= tilt[rows] * (columns - centre[index])
    edge_distance = (1.0 - np.abs(slit)) * half[index]
    inner = (edge_distance >= margin) & _away_from_ends(along, (low, high), shape[0])
    pixels, bits, scattered = [], np.zeros(rows.size, dtype=np.int32), []
    usable_by_any = np.zeros(rows.size, dtype=bool)
    places = rows * shape[1] + columns if axis == 0 else columns * shape[0] + rows
    for lamp in lamps:
        one, quality, surface_variance = _lamp_pixels(lamp, places, along, slit, inner)
        pixels.append(one)
        scattered.append(surface_variance)
        usable_by_any |= is_usable(quality)
        bits |= quality
    # What only the flats' exposures suffered says nothing of the pixel: there is no flat for it, that is all.
    bits = (bits & ~_OF_EXPOSURES) | np.where(usable_by_any, 0, np.int32(QualityFlag.NO_FLAT))
    at_centre = float(np.median((centre - middle) / half))
    ends = _blurred_step(edge_distance / _BLUR)
    return _OrderPart(trace, rows, places, pixels, bits, inner, ends, np.clip(at_centre, -0.5, 0.5), scattered)


def _blurred_step(distance):
    """Light at a distance from the slit's end, in units of the blur; 1/2 at the end."""
    return np.where(distance > 8.0, 1.0, ndtr(np.minimum(distance, 8.0)))


def _away_from_ends(along, domain, length):
    """Not where the order itself ends inside the detector: there the light stops within a slit's width."""
    away = np.ones(along.size, dtype=bool)
    if domain[0] > 1.0:
        away &= along > domain[0] + _END_MARGIN
    if domain[1] < length - 2.0:
        away &= along < domain[1] - _END_MARGIN
    return away


def _lamp_pixels(lamp, places, along, slit, inner):
    combined, scattered = lamp.combined, lamp.scattered
    quality = combined.quality.ravel()[places]
    value, background, factor, beneath, beneath_variance = (
        image.ravel()[places].astype(np.float64)
        for image in (
            combined.signal,
            combined.background_variance,
            combined.photon_factor,
            scattered.model,
            scattered.variance,
        )
    )
    value -= beneath
    # Photons of scattered light make noise as others do.
    background += factor * np.maximum(beneath, 0.0)
    pixels = OrderPixels(along, slit, value, background, factor, inner & is_usable(quality))
    return pixels, quality, beneath_variance


def _fit(pixels: OrderPixels, part: _OrderPart, knot_spacing: float, line_limit: float) -> SmoothFlat | None:
    if pixels.usable.sum() < 500:
        return None
    along = pixels.along[pixels.usable]
    model = fit_smooth_flat(pixels, (along.min(), along.max()), part.middle, knot_spacing)
    return None if model is None else with_lamp_lines(model, pixels, line_limit)


def _flatten_order(canvas, view: _OrderView, spread, denoise, low_sensitivity) -> BlazeCurve:
    part = view.part
    spread = np.where(part.inner, spread, np.hypot(spread, _END_SPREAD))
    # Photon noise of a pixel follows its own response.
    expected = np.clip(shrink(view.first, spread)[0], -0.99, 3.0)
    response = _responses(part, view.lights, expected)
    covered = np.isfinite(response.variance) & (response.blaze_error < _BLAZE_LIMIT)
    deviation, variance = shrink(response, spread) if denoise else (response.deviation, response.variance)
    flat = response.illumination * (1.0 + np.where(covered, deviation, 0.0))
    noise = response.illumination**2 * np.where(covered, variance + response.common, spread**2)
    quality = part.quality | np.where(covered, 0, np.int32(QualityFlag.NO_FLAT))
    sigma = np.sqrt(response.variance + response.common + spread**2)
    trusted = covered & part.inner
    low = trusted & (1.0 + response.deviation < low_sensitivity) & (-response.deviation > 6.0 * sigma)
    high = trusted & (response.deviation > 0.5) & (response.deviation > 8.0 * sigma)
    quality |= np.where(low, np.int32(QualityFlag.LOW_SENSITIVITY), 0)
    quality |= np.where(high, np.int32(QualityFlag.OUTLIER), 0)
    unusable = ~is_usable(part.quality) | ~np.isfinite(flat) | (flat < _LOWEST)
    quality |= np.where(unusable & covered & is_usable(quality), np.int32(QualityFlag.LOW_SENSITIVITY), 0)
    smooth = np.where(covered, response.blaze * response.illumination, 0.0)
    # A pixel that the lamps missed gets its neighbours' illumination; a stretch without light, nothing.
    known = response.blaze_error < _BLAZE_LIMIT
    flat = np.where(covered & ~unusable, flat, np.where(known, np.maximum(response.illumination, _LOWEST), 1.0))
    canvas.put(part, flat, np.where(unusable, 0.0, noise), quality, smooth)
    inner = trusted & ~unusable
    median = float(np.median(np.sqrt(noise[inner]) / flat[inner])) if inner.any() else float("nan")
    return _curve(
        part, [model for model in view.models if model is not None], float(np.median(spread[part.inner])), median
    )


def _spread_at(rows, cells: SpreadCells) -> np.ndarray:
    return np.sqrt(np.interp(rows, cells.row, cells.variance))


def _curve(part: _OrderPart, models: list[SmoothFlat], spread: float, noise: float) -> BlazeCurve:
    along = np.arange(part.rows.min(), part.rows.max() + 1, dtype=np.float64)
    blazes = np.stack([model.blaze(along) for model in models])
    errors = np.stack([model.blaze_error(along) for model in models]) * blazes
    covered = (errors < _BLAZE_LIMIT * blazes).any(axis=0)
    blaze = np.where(covered, blazes.sum(axis=0), 0.0)
    error = np.where(covered, np.sqrt((errors**2).sum(axis=0)), 0.0)
    return BlazeCurve(part.trace.order, along, blaze, error, spread, noise)
