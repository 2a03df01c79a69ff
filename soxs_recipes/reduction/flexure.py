"""How far an exposure moved against its calibrations: along the dispersion by sky lines, across by the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.reduction.order_pixels import OrderGrid, cut_order
from soxs_recipes.reduction.sky_model import binned_median, first_sky
from soxs_recipes.reduction.sky_template import template_shift

__all__ = ["EdgeShift", "SkyLines", "ZeroPoint", "edge_shift", "line_positions", "sky_zero_point"]

_FEWEST_LINES = 3
_LARGEST_ERROR = 0.25  # px
_WIDE = 6.0  # bins of the slit's image from which lines are no longer single
_HALF_WINDOW = 5  # bins on either side of a sky line
_STEPS = 12
_EDGE_REACH = 5.0  # px on either side of an edge
_EDGE_CELL = 0.25  # px
_EDGE_PARTS = 8


@dataclass(frozen=True, slots=True)
class SkyLines:
    """A list of sky lines.

    Attributes
    ----------
    wavelength, error : ndarray (n,) [nm, vacuum]
    isolated : ndarray (n,) bool or None
        Lines without a neighbour in a narrow slit; None for all.
    brightness : ndarray (n,) or None
        Relative; needed for wide slits.
    """

    wavelength: np.ndarray
    error: np.ndarray
    isolated: np.ndarray | None = None
    brightness: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class ZeroPoint:
    """Shift along the dispersion.

    Attributes
    ----------
    shift, error : float [px]
        In the direction of rising pixel coordinate; NaN without lines.
    lines : int
    order_shift : dict order -> (shift, error, lines)
    scatter : float [px]
        Robust scatter of the lines about the shift.
    fwhm : float [px]
        Median of the lines used.
    """

    shift: float
    error: float
    lines: int
    order_shift: dict[int, tuple[float, float, int]]
    scatter: float
    fwhm: float

    @property
    def is_significant(self) -> bool:
        """Beyond 2 sigma and 0.05 px, told by three lines or more."""
        told = self.lines >= _FEWEST_LINES and self.error < _LARGEST_ERROR
        return bool(told and abs(self.shift) > max(2.0 * self.error, 0.05))


_UNKNOWN = ZeroPoint(float("nan"), float("nan"), 0, {}, float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class EdgeShift:
    """Shift across the dispersion.

    Attributes
    ----------
    shift, error : float [px]
        Towards rising pixel coordinate; NaN when the sky is too dark to show the edges.
    edges : int
        How many were measured.
    """

    shift: float
    error: float
    edges: int

    @property
    def is_significant(self) -> bool:
        """Beyond 3 sigma and 0.05 px."""
        return bool(np.isfinite(self.shift) and abs(self.shift) > max(3.0 * self.error, 0.05))


def sky_zero_point(
    frame: Frame,
    maps: PixelMaps,
    grids: Sequence[OrderGrid],
    dispersion_axis: int,
    lines: SkyLines,
    *,
    base_variance: np.ndarray,
    search: float = 3.0,
    slit_image: float = 0.0,
) -> ZeroPoint:
    """Shift along the dispersion from sky lines, all orders together.

    Isolated lines are fitted one by one; where the slit is so wide that they run together, a template of all lines
    is moved over the sky (`lines` of the result then counts orders).

    Parameters
    ----------
    frame : Frame
        Bias, dark and scattered light subtracted [e-].
    maps : PixelMaps
        Without the shift.
    grids : sequence of OrderGrid
    dispersion_axis : int
    lines : SkyLines
    base_variance : ndarray (ny, nx) [e-^2]
        Without photon noise.
    search : float [px]
        Largest shift that is looked for.
    slit_image : float [px]
        Width of the slit's image along the dispersion; 0 when unknown.
    """
    if slit_image > _WIDE and lines.brightness is not None:
        return _by_template(frame, maps, grids, dispersion_axis, lines, base_variance, search, slit_image)
    chosen = np.ones(lines.wavelength.size, bool) if lines.isolated is None else lines.isolated
    lines = SkyLines(lines.wavelength[chosen], lines.error[chosen])
    shifts, errors, widths, orders = [], [], [], []
    for grid in grids:
        inside = (lines.wavelength > grid.wavelength[8]) & (lines.wavelength < grid.wavelength[-9])
        if not inside.any() or not np.any(maps.order == grid.order):
            continue
        sky, error = _sky_spectrum(frame, maps, grid, dispersion_axis, base_variance)
        expected = grid.position(lines.wavelength[inside])
        measured, sigma, fwhm = line_positions(sky, error, expected, search=search)
        pixel = np.interp(expected, np.arange(grid.size), grid.bin_width)
        good = np.isfinite(measured)
        direction = _direction(maps, grid, dispersion_axis)
        shifts.append(direction * (measured - expected)[good])
        errors.append(np.hypot(sigma, lines.error[inside] / pixel)[good])
        widths.append(fwhm[good])
        orders.append(np.full(int(good.sum()), grid.order))
    if not shifts or sum(part.size for part in shifts) == 0:
        return _UNKNOWN
    return _combine_lines(*(np.concatenate(part) for part in (shifts, errors, widths, orders)))


def _by_template(frame, maps, grids, dispersion_axis, lines, base_variance, search, slit_image):
    spectra, listed, directions, numbers = [], [], [], []
    for grid in grids:
        if not np.any(maps.order == grid.order):
            continue
        spectra.append(_sky_spectrum(frame, maps, grid, dispersion_axis, base_variance))
        inside = (lines.wavelength > grid.wavelength[0]) & (lines.wavelength < grid.wavelength[-1])
        listed.append((grid.position(lines.wavelength[inside]), lines.brightness[inside]))
        directions.append(_direction(maps, grid, dispersion_axis))
        numbers.append(grid.order)
    found = template_shift(spectra, listed, slit_image, search=search)
    told = np.array([np.isfinite(item.shift) for item in found], dtype=bool)
    if not told.any():
        return _UNKNOWN
    shifts = np.array([d * item.shift for d, item in zip(directions, found, strict=True)])[told]
    errors = np.array([item.error for item in found])[told]
    widths = np.array([item.width for item in found])[told]
    return _combine_lines(shifts, errors, widths, np.array(numbers)[told])


def _sky_spectrum(frame, maps, grid, dispersion_axis, base_variance):
    pixels = cut_order(maps, grid, dispersion_axis, edge_margin=2.0)
    good = pixels.take(frame.usable) > 0
    data = pixels.take(frame.data)
    sky = first_sky(pixels, np.where(good, data / pixels.footprint, np.nan))
    which = np.clip(np.rint(pixels.position).astype(np.int64), 0, grid.size - 1)
    light = np.maximum(sky[which] * pixels.footprint, 0.0)
    noise = (pixels.take(base_variance) + light) / pixels.footprint**2
    count = np.maximum(np.bincount(which[good], minlength=grid.size), 1)
    return sky, np.sqrt(1.57 * np.bincount(which[good], noise[good], minlength=grid.size)) / count + 1e-9


def _direction(maps, grid, dispersion_axis):
    """+1 where wavelength rises with the pixel coordinate."""
    rows, columns = np.nonzero((maps.order == grid.order) & (np.abs(maps.slit) < 1.0))
    along = rows if dispersion_axis == 0 else columns
    wavelength = maps.wavelength[rows, columns]
    return 1.0 if np.corrcoef(along[::50], wavelength[::50])[0, 1] > 0 else -1.0


def line_positions(
    spectrum: np.ndarray, error: np.ndarray, expected: np.ndarray, *, search: float = 3.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [bins] of emission lines in a spectrum, their errors and FWHM; NaN where a line is not seen.

    A Gaussian on a slope is fitted to each, all side by side, starting from the highest bin within `search`.
    """
    offsets = np.arange(-_HALF_WINDOW, _HALF_WINDOW + 1)
    reach = np.arange(-int(np.ceil(search)), int(np.ceil(search)) + 1)
    centre = np.rint(expected).astype(np.int64)
    last = spectrum.size - 1 - _HALF_WINDOW
    near = np.clip(centre[:, None] + reach, _HALF_WINDOW, last)
    peak = near[np.arange(centre.size), np.argmax(spectrum[near], axis=1)]
    values, sigma = spectrum[peak[:, None] + offsets], error[peak[:, None] + offsets]
    floor = np.percentile(values, 20, axis=1)
    p = np.stack(
        [spectrum[peak] - floor, np.zeros(peak.size), np.full(peak.size, 1.1), floor, np.zeros(peak.size)], 1
    )
    normal = np.zeros((peak.size, 5, 5))
    for _ in range(_STEPS):
        gauss = np.exp(-0.5 * ((offsets - p[:, 1:2]) / p[:, 2:3]) ** 2)
        pull = p[:, :1] * gauss * (offsets - p[:, 1:2]) / p[:, 2:3]
        jacobian = (
            np.stack(
                [
                    gauss,
                    pull / p[:, 2:3],
                    pull * (offsets - p[:, 1:2]) / p[:, 2:3] ** 2,
                    np.ones_like(gauss),
                    np.broadcast_to(offsets / 5.0, gauss.shape),
                ],
                axis=2,
            )
            / sigma[:, :, None]
        )
        residual = (values - p[:, :1] * gauss - p[:, 3:4] - p[:, 4:] * offsets / 5.0) / sigma
        normal = np.einsum("nki,nkj->nij", jacobian, jacobian)
        damped = normal + np.eye(5) * (1e-3 * np.einsum("nii->ni", normal)[:, None, :] + 1e-12)
        step = np.linalg.solve(damped, np.einsum("nki,nk->ni", jacobian, residual)[..., None])[..., 0]
        p += np.clip(step, [-1e9, -1.0, -0.4, -1e9, -1e9], [1e9, 1.0, 0.4, 1e9, 1e9])
        p[:, 2] = np.clip(p[:, 2], 0.4, 4.0)
    covariance = np.linalg.inv(normal + np.eye(5) * (1e-9 * np.einsum("nii->ni", normal)[:, None, :] + 1e-20))
    position_error = np.sqrt(np.maximum(covariance[:, 1, 1], 0.0))
    strength = p[:, 0] / np.sqrt(np.maximum(covariance[:, 0, 0], 1e-30))
    position = peak + p[:, 1]
    seen = (strength > 8.0) & (np.abs(p[:, 1]) < 1.5) & (np.abs(position - expected) < search + 0.5)
    seen &= (p[:, 2] > 0.45) & (p[:, 2] < 3.5) & (position_error < 0.3)
    return np.where(seen, position, np.nan), position_error, 2.3548 * p[:, 2]


def _combine_lines(shifts, errors, widths, orders) -> ZeroPoint:
    good = np.ones(shifts.size, dtype=bool)
    floor = 0.02  # bins: blends and catalogue
    for _ in range(5):
        centre = _weighted(shifts[good], np.hypot(errors[good], floor))[0] if good.any() else 0.0
        if _ == 0:
            centre = float(np.median(shifts))
        spread = max(1.4826 * float(np.median(np.abs(shifts - centre))), 0.02)
        good = np.abs(shifts - centre) < 4.0 * np.hypot(errors, spread)
    shift, error = _weighted(shifts[good], np.hypot(errors[good], floor))
    pulls = (shifts[good] - shift) / np.hypot(errors[good], floor)
    error *= max(1.0, float(np.sqrt(np.mean(pulls**2))))
    per_order = {}
    for order in np.unique(orders[good]):
        chosen = good & (orders == order)
        value, sigma = _weighted(shifts[chosen], np.hypot(errors[chosen], floor))
        per_order[int(order)] = (value, sigma, int(chosen.sum()))
    spread = 1.4826 * float(np.median(np.abs(shifts[good] - shift)))
    return ZeroPoint(shift, error, int(good.sum()), per_order, spread, float(np.median(widths[good])))


def _weighted(values, errors):
    weight = errors**-2.0
    return float(np.sum(values * weight) / weight.sum()), float(1.0 / np.sqrt(weight.sum()))


def edge_shift(frame: Frame, order_table: OrderTable, *, base_variance: np.ndarray) -> EdgeShift:
    """Shift of the slit's ends in the sky light against the edges of the flat.

    Light across either end is averaged along each order; where the end lies follows from the light's integral
    between plateau and darkness, which needs no model of the blur.
    """
    axis = order_table.dispersion_axis
    view, good = (image if axis == 0 else image.T for image in (frame.data, frame.usable))
    noise = base_variance if axis == 0 else base_variance.T
    length, width = view.shape
    along = np.arange(length, dtype=np.float64)
    found = []
    for trace in order_table.traces:
        for edge, sign in zip(trace.edges_at(along), (1.0, -1.0), strict=True):
            found.extend(_one_edge(view, good, noise, edge, sign, width))
    if not found:
        return EdgeShift(float("nan"), float("nan"), 0)
    shifts, errors = np.array(found).T
    centre = np.median(shifts)
    spread = max(1.4826 * float(np.median(np.abs(shifts - centre))), 0.01)
    kept = np.abs(shifts - centre) < 4.0 * np.hypot(errors, spread)
    value, error = _weighted(shifts[kept], np.hypot(errors[kept], 0.02))
    pulls = (shifts[kept] - value) / np.hypot(errors[kept], 0.02)
    return EdgeShift(value, error * max(1.0, float(np.sqrt(np.mean(pulls**2)))), int(kept.sum()))


def _one_edge(view, good, noise, edge, sign, width):
    """(shift, error) of one edge in parts of the order that show it."""
    cells = int(2 * _EDGE_REACH / _EDGE_CELL)
    columns = np.rint(edge)[:, None].astype(np.int64) + np.arange(-7, 8)
    inside = (columns >= 0) & (columns < width)
    if inside.mean() < 0.9:
        return []
    clipped = np.clip(columns, 0, width - 1)
    rows = np.broadcast_to(np.arange(edge.size)[:, None], columns.shape)
    offset = sign * (columns - edge[:, None])
    cell = np.floor((offset + _EDGE_REACH) / _EDGE_CELL).astype(np.int64)
    used = inside & good[rows, clipped] & (cell >= 0) & (cell < cells)
    part = np.minimum(rows * _EDGE_PARTS // edge.size, _EDGE_PARTS - 1)
    key = (part * cells + cell)[used]
    total = _EDGE_PARTS * cells
    level, count = binned_median(key.astype(float), view[rows, clipped][used].astype(float), total)
    light = np.maximum(np.nan_to_num(level), 0.0)
    variance = np.bincount(key, noise[rows, clipped][used], minlength=total) / np.maximum(count, 1) + light
    variance = (1.57 * variance / np.maximum(count, 1)).reshape(_EDGE_PARTS, cells)
    level, count = level.reshape(_EDGE_PARTS, cells), count.reshape(_EDGE_PARTS, cells)
    side = int(2.0 / _EDGE_CELL)
    results = []
    for values, sigma2, number in zip(level, variance, count, strict=True):
        if np.any(number < 5) or not np.all(np.isfinite(values)):
            continue
        dark, bright = values[:side].mean(), values[-side:].mean()
        step = bright - dark
        error = np.sqrt(sigma2.sum()) * _EDGE_CELL / max(step, 1e-9)
        if step <= 0 or error > 0.25:
            continue
        lit = ((values - dark) / step).sum() * _EDGE_CELL
        results.append((sign * (_EDGE_REACH - lit), float(error)))
    return results
