"""The pixels of one order as flat arrays: position among the spectrum's bins, arcsec along the slit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.legendre import legvander, legvander2d
from scipy.interpolate import CubicSpline

from soxs_recipes.compiled import compiled
from soxs_recipes.data.dispersion_solution import scaled
from soxs_recipes.data.pixel_maps import OrderLines, OrderMaps, PixelMaps
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.sky.order_pixels_kernels import (
    jacobians,
    pixels_of,
    spline_values,
    taken,
    within,
    written,
)

__all__ = ["OrderGrid", "OrderPixels", "cut_order", "make_order_grid", "without_images"]

_WAVELENGTH_DEGREE = 7
_MARGIN = 40  # Bins beyond either end on which positions are still defined.
_MINIMUM_PIXELS = 200
_SAMPLES = 2_000  # pixels that tell how large pixels are


@dataclass(frozen=True, slots=True)
class OrderGrid:
    """The wavelength bins of one order: about one detector pixel each, ascending in wavelength.

    Attributes
    ----------
    order : int
    wavelength : ndarray (n,) float64 [nm]
        Bin centres; bin i lies at position i.
    bin_width : ndarray (n,) float64 [nm]
    to_position : callable
        Wavelength [nm] -> position [bins], smooth and monotonic.
    """

    order: int
    wavelength: np.ndarray
    bin_width: np.ndarray
    to_position: CubicSpline = field(repr=False)

    @property
    def size(self) -> int:
        """Number of bins."""
        return self.wavelength.size

    def position(self, wavelength: np.ndarray) -> np.ndarray:
        """Position [bins] of wavelengths [nm]."""
        return self.to_position(wavelength)


def make_order_grid(maps: PixelMaps | OrderMaps, order: int, dispersion_axis: int) -> OrderGrid:
    """Bins that follow the detector rows at mid-slit, so that a bin is a pixel wide everywhere.

    Parameters
    ----------
    maps : PixelMaps or OrderMaps
    order : int
    dispersion_axis : int
        numpy axis along which wavelength runs.

    Raises
    ------
    AlgorithmError
        The order has too few pixels, or its wavelengths do not run one way.
    """
    along, wavelength, slit = _map_samples(maps, order, dispersion_axis)
    low, high = int(along.min()), int(along.max())
    domain = (float(low), float(high))
    half_slit = float(np.abs(slit).max()) or 1.0
    design = legvander2d(scaled(along, domain), slit / half_slit, [_WAVELENGTH_DEGREE, 2])
    # Legendre polynomials are nearly orthogonal: normal equations lose nothing.
    coefficients = np.linalg.solve(design.T @ design, design.T @ wavelength).reshape(_WAVELENGTH_DEGREE + 1, 3)
    mid_slit = coefficients @ np.array([1.0, 0.0, -0.5])  # Legendre polynomials of the slit at 0
    rows = np.arange(low - _MARGIN, high + _MARGIN + 1, dtype=np.float64)
    curve = _extended_curve(rows, domain, mid_slit)
    if curve[-1] < curve[0]:
        curve = curve[::-1]
    if np.any(np.diff(curve) <= 0):
        raise AlgorithmError(f"order {order}: wavelength does not run one way along the order")
    bins = slice(_MARGIN, rows.size - _MARGIN)
    return OrderGrid(
        order=order,
        wavelength=curve[bins].copy(),
        bin_width=np.gradient(curve)[bins].copy(),
        to_position=CubicSpline(curve, np.arange(rows.size) - float(_MARGIN)),
    )


def _map_samples(maps, order, dispersion_axis):
    index, start, wavelength, slit = _known_pixels(maps, order, dispersion_axis)
    if index.size < _MINIMUM_PIXELS:
        raise AlgorithmError(f"order {order}: too few pixels in the maps", pixels=index.size)
    # They run along the order: both ends stay in, whatever the step.
    chosen = np.append(np.arange(0, index.size, max(index.size // 20_000, 1)), index.size - 1)
    along = np.searchsorted(start, chosen, side="right") - 1.0
    return along, wavelength[chosen], slit[chosen]


def _extended_curve(rows, domain, coefficients):
    """Legendre series inside its domain, continued by its tangent outside."""
    inside = np.clip(rows, *domain)
    curve = legvander(scaled(inside, domain), coefficients.size - 1) @ coefficients
    slope = np.gradient(curve[(rows >= domain[0]) & (rows <= domain[1])])
    below, above = rows < domain[0], rows > domain[1]
    curve[below] += slope[0] * (rows[below] - domain[0])
    curve[above] += slope[-1] * (rows[above] - domain[1])
    return curve


@dataclass(frozen=True, slots=True)
class OrderPixels:
    """Every pixel of an order, flattened.

    Attributes
    ----------
    grid : OrderGrid
    index : ndarray (n,) int64
        Into the flattened frame.
    position : ndarray (n,) float64 [bins]
        Where the pixel's wavelength lies among the bins.
    slit : ndarray (n,) float64 [arcsec]
    footprint : ndarray (n,) float64 [arcsec]
        Area of the pixel in (bins, arcsec): what a flux of one per bin and arcsec leaves in it.
    slit_range : (low, high) [arcsec]
        What the slit covers in this order.
    shape : (ny, nx)
        Of the frame.
    ends : (low, high) [arcsec]
        Outermost slit positions of pixels, 0 among them.
    sizes : (least, largest, mean) [arcsec]
        Of the footprints; 1, 0 and 1 without pixels.
    """

    grid: OrderGrid
    index: np.ndarray
    position: np.ndarray
    slit: np.ndarray
    footprint: np.ndarray
    slit_range: tuple[float, float]
    shape: tuple[int, int]
    ends: tuple[float, float] = field(init=False, repr=False)
    sizes: tuple[float, float, float] = field(init=False, repr=False)
    _below: np.ndarray = field(init=False, repr=False)
    _share: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        below, share = bins_around(self.position, self.grid.size)
        object.__setattr__(self, "_below", below)
        object.__setattr__(self, "_share", share)
        slit, size = self.slit, self.footprint
        object.__setattr__(self, "ends", (float(slit.min(initial=0.0)), float(slit.max(initial=0.0))))
        mean = float(size.mean()) if size.size else 1.0
        object.__setattr__(self, "sizes", (float(size.min(initial=1.0)), float(size.max(initial=0.0)), mean))

    @property
    def order(self) -> int:
        """Order number."""
        return self.grid.order

    @property
    def stride(self) -> int:
        """Step in the flattened frame to the next pixel along the dispersion; neighbours here lie across it."""
        across = int(np.median(np.abs(np.diff(self.index[:1000])))) if self.index.size > 1 else 1
        return self.shape[1] if across == 1 else 1

    @property
    def place(self) -> tuple[np.ndarray, np.ndarray]:
        """Bin below every pixel and the share of the next one, each (n,)."""
        return self._below, self._share

    @property
    def nearest(self) -> np.ndarray:
        """The bin in which every pixel lies (n,) int."""
        return self._below + (self._share > 0.5)

    def every(self, step: int) -> OrderPixels:
        """Each n-th pixel, beginning with the first."""
        arrays = (self.index, self.position, self.slit, self.footprint)
        some = (np.ascontiguousarray(values[::step]) for values in arrays)
        return OrderPixels(self.grid, *some, self.slit_range, self.shape)

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """What is known per bin (bins,) in every pixel, linearly; beyond the first and last bin their value."""
        return between_bins(values, self._below, self._share)

    def take(self, image: np.ndarray) -> np.ndarray:
        """The order's values of a frame-sized image, float64."""
        return taken(image.reshape(-1), self.index)

    def put(self, image: np.ndarray, values: np.ndarray, first_row: int = 0) -> None:
        """Write the order's values into a contiguous image: the frame, or rows of it from the first one on."""
        written(image.reshape(-1), self.index, first_row * self.shape[1], values)


@compiled
def bins_around(position: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin below each position and the share of the next one, for `between_bins`."""
    below, share = np.empty(position.size, np.intp), np.empty(position.size)
    last = max(bins - 2, 0)
    for i in range(position.size):
        below[i] = min(max(int(position[i]), 0), last)
        share[i] = min(max(position[i] - below[i], 0.0), 1.0)
    return below, share


@compiled
def between_bins(values: np.ndarray, below: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear interpolation at places known by `bins_around`: as np.interp, without its search."""
    result = np.empty(below.size)
    last = values.size - 1
    for i in range(below.size):
        here = values[below[i]]
        result[i] = here + share[i] * (values[min(below[i] + 1, last)] - here)
    return result


def cut_order(
    maps: PixelMaps | OrderMaps,
    grid: OrderGrid,
    dispersion_axis: int,
    *,
    shift: float = 0.0,
    edge_margin: float = 0.0,
) -> OrderPixels:
    """Cut the pixels of one order out of the maps.

    Parameters
    ----------
    maps : PixelMaps or OrderMaps
        Pixels with NaN are left out.
    grid : OrderGrid
        The bins; may come from another exposure, so that several exposures share them.
    dispersion_axis : int
    shift : float [bins]
        Added to the positions: zero point of the exposure from its sky lines.
    edge_margin : float [px]
        Pixels nearer than this to either slit end are left out.
    """
    index, start, wavelength, slit = _known_pixels(maps, grid.order, dispersion_axis)
    if index.size == 0:
        raise AlgorithmError(f"order {grid.order}: no pixel in the maps")
    position = spline_values(wavelength, grid.to_position.x, grid.to_position.c)
    if shift:
        position += shift
    size = _smooth_size(start, *jacobians(index, start, position, slit, maps.shape[1], dispersion_axis, _SAMPLES))
    slit_range, ends = _slit_range(start, slit), (-np.inf, np.inf)
    if edge_margin > 0:
        limit = edge_margin * float(np.exp(np.median(size[0])))
        ends = (slit_range[0] + limit, slit_range[1] - limit)
    inside = within(index, start, position, slit, size, grid.size, ends)
    return OrderPixels(grid, *inside, slit_range, maps.shape)


def without_images(maps: PixelMaps | OrderMaps, dispersion_axis: int) -> OrderMaps:
    """The maps' pixels alone, those with NaN left out."""
    if isinstance(maps, OrderMaps):
        return maps
    return OrderMaps({order: _known_pixels(maps, order, dispersion_axis) for order in maps.orders}, maps.shape)


def _known_pixels(maps, order, dispersion_axis) -> OrderLines:
    """The pixels of an order that the maps know."""
    if order not in maps.orders:
        raise AlgorithmError(f"order {order}: no pixel in the maps")
    if isinstance(maps, OrderMaps):
        return maps.lines[order]
    box = tuple(number for side in maps.window(order) for number in (side.start, side.stop - side.start))
    return OrderLines(*pixels_of(maps.order, maps.wavelength, maps.slit, order, box, dispersion_axis))


def _slit_range(start, slit):
    """Typical slit position of the two ends, half a pixel beyond the outermost pixel centres of each line."""
    count = np.diff(start)
    start, count = start[:-1][count > 0], count[count > 0]
    full = count > 1
    low, high = np.minimum.reduceat(slit, start)[full], np.maximum.reduceat(slit, start)[full]
    half_pixel = 0.5 * np.median((high - low) / (count[full] - 1))
    return float(np.median(low) - half_pixel), float(np.median(high) + half_pixel)


def _smooth_size(start, line, middle, jacobian):
    """Constant and slope by slit position of ln footprint in every line: polynomials through some Jacobians."""
    lines = start.size - 1
    domain = ((0.0, lines - 1.0), (-15.0, 15.0))
    told = jacobian > 0
    design = legvander2d(scaled(line[told], domain[0]), scaled(middle[told], domain[1]), [4, 1])
    normal, right = design.T @ design, design.T @ np.log(jacobian[told])
    coefficients = np.linalg.lstsq(normal, right, rcond=None)[0].reshape(5, 2)
    constant, slope = coefficients.T @ legvander(scaled(np.arange(lines), domain[0]), 4).T
    return constant, slope / domain[1][1]
