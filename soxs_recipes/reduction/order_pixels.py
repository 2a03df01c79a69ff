"""The pixels of one order as flat arrays: position among the spectrum's bins, arcsec along the slit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.legendre import legvander, legvander2d
from scipy.interpolate import CubicSpline

from soxs_recipes.compiled import compiled
from soxs_recipes.data.dispersion_solution import scaled
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.errors import AlgorithmError

__all__ = ["OrderGrid", "OrderPixels", "cut_order", "make_order_grid"]

_WAVELENGTH_DEGREE = 7
_MARGIN = 40  # Bins beyond either end on which positions are still defined.
_MINIMUM_PIXELS = 200
_SAMPLES = 8_000  # pixels that tell how large pixels are


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


def make_order_grid(maps: PixelMaps, order: int, dispersion_axis: int) -> OrderGrid:
    """Bins that follow the detector rows at mid-slit, so that a bin is a pixel wide everywhere.

    Parameters
    ----------
    maps : PixelMaps
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
    window = _window(maps, order)
    box = maps.order[window] if dispersion_axis == 0 else maps.order[window].T
    along, _, index = _places(np.ascontiguousarray(box == order), window, maps.order.shape[1], dispersion_axis)
    wavelength, slit = maps.wavelength.take(index), maps.slit.take(index)
    known = np.flatnonzero(np.isfinite(wavelength) & np.isfinite(slit))
    if known.size < _MINIMUM_PIXELS:
        raise AlgorithmError(f"order {order}: too few pixels in the maps", pixels=known.size)
    # They run along the order: both ends stay in, whatever the step.
    chosen = np.append(known[:: max(known.size // 20_000, 1)], known[-1])
    return along[chosen].astype(np.float64), wavelength[chosen], slit[chosen]


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
    """

    grid: OrderGrid
    index: np.ndarray
    position: np.ndarray
    slit: np.ndarray
    footprint: np.ndarray
    slit_range: tuple[float, float]
    shape: tuple[int, int]
    _below: np.ndarray = field(init=False, repr=False)
    _share: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        below, share = bins_around(self.position, self.grid.size)
        object.__setattr__(self, "_below", below)
        object.__setattr__(self, "_share", share)

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

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """What is known per bin (bins,) in every pixel, linearly; beyond the first and last bin their value."""
        return between_bins(values, self._below, self._share)

    def take(self, image: np.ndarray) -> np.ndarray:
        """The order's values of a frame-sized image, float64."""
        return image.ravel()[self.index].astype(np.float64)

    def put(self, image: np.ndarray, values: np.ndarray, first_row: int = 0) -> None:
        """Write the order's values into a contiguous image: the frame, or rows of it from the first one on."""
        index = self.index - first_row * self.shape[1] if first_row else self.index
        image.reshape(-1)[index] = values


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
    maps: PixelMaps, grid: OrderGrid, dispersion_axis: int, *, shift: float = 0.0, edge_margin: float = 0.0
) -> OrderPixels:
    """Cut the pixels of one order out of the maps.

    Parameters
    ----------
    maps : PixelMaps
        Pixels with NaN are left out.
    grid : OrderGrid
        The bins; may come from another exposure, so that several exposures share them.
    dispersion_axis : int
    shift : float [bins]
        Added to the positions: zero point of the exposure from its sky lines.
    edge_margin : float [px]
        Pixels nearer than this to either slit end are left out.
    """
    window = _window(maps, grid.order)
    box = maps.order[window] if dispersion_axis == 0 else maps.order[window].T
    inside = np.ascontiguousarray(box == grid.order)
    along, across, index = _places(inside, window, maps.order.shape[1], dispersion_axis)
    wavelength, slit = maps.wavelength.take(index), maps.slit.take(index)
    known = np.isfinite(wavelength) & np.isfinite(slit)
    if not known.all():
        along, across, index, wavelength, slit = (a[known] for a in (along, across, index, wavelength, slit))
        inside[:] = False
        inside[along, across] = True
    if index.size == 0:
        raise AlgorithmError(f"order {grid.order}: no pixel in the maps")
    position = grid.position(wavelength) + shift
    footprint = _smooth_footprint(inside, along, across, position, slit)
    slit_range = _slit_range(along, slit)
    chosen = (position > -0.5) & (position < grid.size - 0.5)
    if edge_margin > 0:
        limit = edge_margin * np.median(footprint)
        chosen &= (slit > slit_range[0] + limit) & (slit < slit_range[1] - limit)
    return OrderPixels(
        grid=grid,
        index=index[chosen],
        position=position[chosen],
        slit=slit[chosen],
        footprint=footprint[chosen],
        slit_range=slit_range,
        shape=maps.order.shape,
    )


def _places(inside, window, row_length, dispersion_axis):
    """(along, across) within the box of an order and index into the flattened frame, of its pixels."""
    along, across = np.divmod(np.flatnonzero(inside), inside.shape[1])
    y, x = (along, across) if dispersion_axis == 0 else (across, along)
    return along, across, (y + window[0].start) * row_length + (x + window[1].start)


def _window(maps, order):
    """The order's box, a pixel wider where the frame allows."""
    box = maps.window(order)
    if box is None:
        raise AlgorithmError(f"order {order}: no pixel in the maps")
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)


def _slit_range(along, slit):
    """Typical slit position of the two ends, half a pixel beyond the outermost pixel centres; `along` rises."""
    start = np.flatnonzero(np.diff(along, prepend=-1))
    count = np.diff(start, append=along.size)
    full = count > 1
    low, high = np.minimum.reduceat(slit, start)[full], np.maximum.reduceat(slit, start)[full]
    half_pixel = 0.5 * np.median((high - low) / (count[full] - 1))
    return float(np.median(low) - half_pixel), float(np.median(high) + half_pixel)


def _smooth_footprint(inside, along, across, position, slit):
    """|d(position, slit)/d(row, column)| by differences, smoothed by a low polynomial; `inside` is the box."""
    surrounded = inside[1:-1, 1:-1] & inside[2:, 1:-1] & inside[:-2, 1:-1]
    surrounded &= inside[1:-1, 2:] & inside[1:-1, :-2]
    chosen = np.flatnonzero(surrounded)
    rows, columns = np.divmod(chosen[:: max(chosen.size // _SAMPLES, 1)], surrounded.shape[1])
    rows, columns = rows + 1, columns + 1
    place = np.empty(inside.shape, np.int32)
    place[along, across] = np.arange(along.size, dtype=np.int32)
    down, right = ((place[rows + dy, columns + dx], place[rows - dy, columns - dx]) for dy, dx in ((1, 0), (0, 1)))
    (dp_down, dp_right), (ds_down, ds_right) = (
        [0.5 * (values[after] - values[before]) for after, before in (down, right)] for values in (position, slit)
    )
    jacobian = np.abs(dp_down * ds_right - dp_right * ds_down)
    told = jacobian > 0
    domain = ((0.0, inside.shape[0] - 1.0), (-15.0, 15.0))
    middle = slit[place[rows, columns]]
    design = legvander2d(scaled(rows[told], domain[0]), scaled(middle[told], domain[1]), [4, 1])
    coefficients = np.linalg.lstsq(design, np.log(jacobian[told]), rcond=None)[0].reshape(5, 2)
    constant, slope = legvander(scaled(np.arange(inside.shape[0]), domain[0]), 4) @ coefficients.T[:, :, None]
    return np.exp(constant.ravel()[along] + slope.ravel()[along] * scaled(slit, domain[1]))
