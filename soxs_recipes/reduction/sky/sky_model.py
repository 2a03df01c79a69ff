"""What the sky fit needs: a first robust sky, knots where lines stand, and how the sky changes along the slit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.ndimage import binary_dilation, median_filter

from soxs_recipes.compiled import compiled
from soxs_recipes.reduction.numerics.banded import SplineBasis
from soxs_recipes.reduction.sky.order_pixels import OrderPixels

__all__ = [
    "SkyDistortion",
    "binned_median",
    "binned_quantiles",
    "choose_knots",
    "first_sky",
    "fit_distortion",
    "sorted_in_groups",
]

_CONTINUUM_WINDOW = 61  # bins
_COARSE, _MIDDLE, _FINE = 5.0, 1.0, 0.6  # knot spacings [bins]
_STRUCTURE = 3.0  # sigma of a three-bin feature that calls for knots a bin apart
_ILLUMINATION_PRIOR = 0.02
_BROADENING_PRIOR = 0.05  # bins^2
_TERMS = 3  # polynomials of the slit
_RUN, _SPAN = 128, 8.0  # pixels, and bins, that count as one place along the order
_BRIGHT = 8.0  # sigma of one pixel: lines that need knots closer than a bin


def binned_median(position: np.ndarray, values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Median of the values in each bin, NaN in empty ones, and their number; NaN values are left out."""
    (median,), count = binned_quantiles(position, values, bins, (0.5,))
    return median, count


def binned_quantiles(
    position: np.ndarray, values: np.ndarray, bins: int, shares: Sequence[float]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Values in each bin below which these shares lie (between two of them: their mean), and their number.

    NaN in empty bins; NaN values are left out.
    """
    return _quantiles(position, values, bins, np.asarray(shares, np.float64))


@compiled
def _quantiles(position, values, bins, shares):
    """`binned_quantiles`, by a selection within each bin: quantiles (shares, bins) and count."""
    count, which = np.zeros(bins, np.intp), np.full(values.size, -1, np.int32)
    for i in range(values.size):
        if np.isfinite(values[i]):
            which[i] = min(max(int(np.rint(position[i])), 0), bins - 1)
            count[which[i]] += 1
    end = np.cumsum(count)
    place = end - count
    grouped = np.empty(end[-1] if bins else 0)
    for i in range(values.size):
        if which[i] >= 0:
            grouped[place[which[i]]] = values[i]
            place[which[i]] += 1
    result = np.full((shares.size, bins), np.nan)
    for k in range(bins):
        if count[k]:
            members = grouped[end[k] - count[k] : end[k]]
            for j in range(shares.size):
                rank = (count[k] - 1) * shares[j]
                low, high = int(np.floor(rank)), int(np.ceil(rank))
                value = _select(members, low)
                result[j, k] = value if high == low else 0.5 * (value + members[high:].min())
    return result, count


@compiled
def _select(values, rank):
    """Value of this rank (0: the least); those before it are no larger from then on, those behind no smaller.

    Hoare's selection, its partitions without a branch that depends on a value: processors guess those wrong every
    other time.
    """
    first, last = 0, values.size - 1
    while first < last:
        low, middle, high = values[first], values[(first + last) // 2], values[last]
        pivot = max(min(low, middle), min(max(low, middle), high))
        end = first
        for i in range(first, last + 1):
            value = values[i]
            values[i], values[end] = values[end], value
            end += value < pivot
        if rank < end:
            last = end - 1
            continue
        first = end
        for i in range(first, last + 1):
            value = values[i]
            values[i], values[end] = values[end], value
            end += value <= pivot
        if rank < end:
            break
        first = end
    return values[rank]


def sorted_in_groups(which: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values, in single precision, by group (ndarray of int >= 0) and within it by size.

    Sorted as integers that hold both, which is far faster than sorting pairs.
    """
    bits = values.astype(np.float32).view(np.int32)
    # Floats of one sign sort as their bits do, negative ones backwards.
    ranks = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = which << 32
    keys += ranks.astype(np.int64) + (1 << 31)
    keys.sort()
    ranks = ((keys & 0xFFFFFFFF) - (1 << 31)).astype(np.int32)
    return (ranks ^ ((ranks >> 31) & np.int32(0x7FFFFFFF))).view(np.float32).astype(np.float64)


def first_sky(pixels: OrderPixels, brightness: np.ndarray) -> np.ndarray:
    """Sky per bin [e-/bin/arcsec] as the median along the slit; empty bins are bridged.

    Parameters
    ----------
    brightness : ndarray (pixels,)
        Data over (flat * footprint); NaN where masked.
    """
    median, _ = binned_median(pixels.position, brightness, pixels.grid.size)
    known = np.flatnonzero(np.isfinite(median))
    if known.size == 0:
        return np.zeros(pixels.grid.size)
    return np.interp(np.arange(median.size), known, median[known])


def choose_knots(sky: np.ndarray, sky_error: np.ndarray, pixel_error: np.ndarray) -> SplineBasis:
    """Knots as dense as the sky's structure asks for and its noise allows.

    Parameters
    ----------
    sky, sky_error : ndarray (bins,) [e-/bin/arcsec]
        Binned sky and its error.
    pixel_error : ndarray (bins,)
        Error of a single pixel, same unit: where a line is so bright that a knot a bin would leave a trace in the
        residuals, knots stand closer (the tilt of the lines samples them between the pixels).
    """
    continuum = median_filter(sky, size=min(_CONTINUUM_WINDOW, sky.size), mode="nearest")
    excess = sky - continuum
    significance = excess / sky_error
    matched = np.convolve(np.pad(significance, 1, mode="edge"), [0.5, 1.0, 0.5], mode="valid") / np.sqrt(1.5)
    structured = binary_dilation(np.abs(matched) > _STRUCTURE, iterations=4)
    bright = binary_dilation(np.abs(excess) > _BRIGHT * pixel_error, iterations=4)
    spacing = np.where(bright, _FINE, np.where(structured, _MIDDLE, _COARSE))
    density = 1.0 / spacing
    cumulative = np.concatenate([[0.0], np.cumsum(density)])
    edges = np.arange(sky.size + 1) - 0.5
    count = max(int(np.ceil(cumulative[-1])), 4)
    inner = np.interp(np.linspace(0.0, cumulative[-1], count + 1), cumulative, edges)
    inner[0], inner[-1] = -1.0, float(sky.size)
    return SplineBasis(np.concatenate([np.full(3, inner[0]), inner, np.full(3, inner[-1])]))


@dataclass(frozen=True, slots=True)
class SkyDistortion:
    """How the sky differs along the slit from one function of wavelength.

    Attributes
    ----------
    illumination : ndarray (a,)
        Coefficients of P1, P2 ... of the scaled slit position: relative brightness - 1.
    shift : ndarray (b, c) [bins]
        Coefficients of P1, P2 ... (slit) times P0, P1 ... (position): where the maps' tilt is off.
    broadening : ndarray (d, e) [bins^2]
        Same, of the line width: change of half the squared width.
    half_slit : float [arcsec]
    bins : int
    """

    illumination: np.ndarray
    shift: np.ndarray
    broadening: np.ndarray
    half_slit: float
    bins: int

    @classmethod
    def none(cls, half_slit: float, bins: int) -> SkyDistortion:
        """No distortion."""
        return cls(np.zeros(3), np.zeros((3, 4)), np.zeros((2, 3)), half_slit, bins)

    def illumination_at(self, pixels: OrderPixels) -> np.ndarray:
        """Relative sky brightness in every pixel."""
        return 1.0 + self._sum(self.illumination[:, None], pixels)

    def shift_at(self, pixels: OrderPixels) -> np.ndarray:
        """What to add to every pixel's position [bins]."""
        return self._sum(self.shift, pixels)

    def broadening_at(self, pixels: OrderPixels) -> np.ndarray:
        """Half the change of squared line width in every pixel [bins^2]."""
        return self._sum(self.broadening, pixels)

    def sky_change(
        self, pixels: OrderPixels, sky: np.ndarray, slope: np.ndarray, curvature: np.ndarray
    ) -> np.ndarray:
        """By how much a sky with this slope and curvature along the order is changed [e-], in every pixel (n,)."""
        along = _along_order(self.bins, 3)
        curves = np.zeros((3, self.bins, _TERMS))
        for curve, terms in zip(curves, (self.illumination[:, None], self.shift, self.broadening), strict=True):
            curve[:, : len(terms)] = along[:, : terms.shape[1]] @ terms.T
        return _slit_changes(*pixels.place, pixels.slit, self.half_slit, curves, sky, slope, curvature)

    def _sum(self, coefficients, pixels):
        """Series along the order, per polynomial of the slit."""
        if not coefficients.any():
            return np.zeros(pixels.slit.size)
        curves = _along_order(self.bins, coefficients.shape[1] - 1) @ coefficients.T
        return _slit_series(*pixels.place, pixels.slit, self.half_slit, curves)

    def plus(self, other: SkyDistortion) -> SkyDistortion:
        """Both together."""
        return SkyDistortion(
            self.illumination + other.illumination,
            self.shift + other.shift,
            self.broadening + other.broadening,
            self.half_slit,
            self.bins,
        )


def fit_distortion(
    pixels: OrderPixels,
    residual: np.ndarray,
    weight: np.ndarray,
    sky: np.ndarray,
    slope: np.ndarray,
    curvature: np.ndarray,
    start: SkyDistortion,
    *,
    map_error: float = 0.06,
) -> SkyDistortion:
    """One Gauss-Newton step of the distortion from what the sky fit left over.

    Parameters
    ----------
    residual : ndarray (pixels,) [e-]
        Data minus model.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    sky, slope, curvature : ndarray (pixels,) [e-]
        The sky in every pixel, and its first and second derivative with position.
    start : SkyDistortion
        What the model already holds; the step is added to it.
    map_error : float [bins]
        By how much the maps' tilt may be off towards the slit ends.

    Returns
    -------
    SkyDistortion
        Priors hold what the data do not tell.
    """
    degrees = (0, start.shift.shape[1] - 1, start.broadening.shape[1] - 1)
    slit_terms = (start.illumination.size, len(start.shift), len(start.broadening))
    products = _distortion_products(
        pixels.position, pixels.slit, start.half_slit, weight, residual, sky, slope, curvature, start.bins
    )
    right, products = products[:, 0, 9], products[:, :, :9]
    products = products + np.swapaxes(np.tril(products, -1), 2, 3)
    unknowns = [
        (_TERMS * block + i, degree, prior / ((1.0 + 0.5 * i) * (1.0 + 0.5 * degree) if block else 1.0))
        for block, prior in enumerate((_ILLUMINATION_PRIOR, map_error, _BROADENING_PRIOR))
        for i in range(slit_terms[block])
        for degree in range(degrees[block] + 1)
    ]
    column, degree, prior = (np.array(values) for values in zip(*unknowns, strict=True))
    held = np.concatenate([start.illumination, start.shift.ravel(), start.broadening.ravel()])
    precision = 1.0 / prior**2
    normal = products[degree[:, None], degree, column[:, None], column] + np.diag(precision)
    step = np.linalg.solve(normal, right[degree, column] - precision * held)
    a, b = start.illumination.size, start.illumination.size + start.shift.size
    return start.plus(
        SkyDistortion(
            step[:a],
            step[a:b].reshape(start.shift.shape),
            step[b:].reshape(start.broadening.shape),
            start.half_slit,
            start.bins,
        )
    )


def _along_order(bins: int, degree: int) -> np.ndarray:
    """Legendre polynomials of the bins, with the order from -1 to 1 (bins, degree + 1)."""
    return legvander(2.0 * np.arange(bins) / bins - 1.0, degree)


@compiled
def _slit_polynomials(slit, half_slit, result):
    """P1, P2, P3 of a slit position, into `result`; they end a little beyond the slit."""
    s = min(max(slit / half_slit, -1.1), 1.1)
    result[0], result[1], result[2] = s, 1.5 * s * s - 0.5, (2.5 * s * s - 1.5) * s


@compiled
def _slit_series(below, share, slit, half_slit, curves):
    """Sum of P1, P2 ... of every pixel's slit position, each times its curve along the order (bins, terms)."""
    result, polynomials = np.empty(slit.size), np.empty(3)
    last = len(curves) - 1
    for i in range(slit.size):
        _slit_polynomials(slit[i], half_slit, polynomials)
        a, b = below[i], min(below[i] + 1, last)
        total = 0.0
        for k in range(curves.shape[1]):
            total += polynomials[k] * (curves[a, k] + share[i] * (curves[b, k] - curves[a, k]))
        result[i] = total
    return result


@compiled
def _slit_changes(below, share, slit, half_slit, curves, sky, slope, curvature):
    """Sum of three series as those of `_slit_series`, curves (3, bins, terms), times sky, slope and curvature."""
    result, polynomials, series = np.empty(slit.size), np.empty(3), np.empty(3)
    last = curves.shape[1] - 1
    for i in range(slit.size):
        _slit_polynomials(slit[i], half_slit, polynomials)
        a, b = below[i], min(below[i] + 1, last)
        for n in range(3):
            series[n] = 0.0
            for k in range(curves.shape[2]):
                low, high = curves[n, a, k], curves[n, b, k]
                series[n] += polynomials[k] * (low + share[i] * (high - low))
        result[i] = series[0] * sky[i] + series[1] * slope[i] + series[2] * curvature[i]
    return result


@compiled(any_order=True)
def _distortion_products(position, slit, half_slit, weight, residual, sky, slope, curvature, bins):
    """Weighted products of sky, slope and curvature, times P1, P2, P3 of the slit and P0 ... P3 along the order.

    Pixels that follow one another within some bins count as at one place along the order.

    Returns
    -------
    ndarray (4, 4, 10, 9)
        (degree, degree, column, column): of these with one another, no column with a later one; then the residual.
    """
    products, sums = np.zeros((16, 90)), np.zeros(90)
    columns, along, i = np.empty((10, _RUN)), np.ones(4), 0
    while i < slit.size:
        begin, many, place, total = position[i], 0, 0.0, 0.0
        while i < slit.size and many < _RUN and not abs(position[i] - begin) > _SPAN:
            if weight[i] > 0:
                root = np.sqrt(weight[i])
                s = min(max(slit[i] / half_slit, -1.1), 1.1)  # as in `_slit_polynomials`
                one, two, three = root * s, root * (1.5 * s * s - 0.5), root * (2.5 * s * s - 1.5) * s
                columns[0, many], columns[1, many], columns[2, many] = one * sky[i], two * sky[i], three * sky[i]
                columns[3, many], columns[4, many] = one * slope[i], two * slope[i]
                columns[5, many], columns[6, many] = three * slope[i], one * curvature[i]
                columns[7, many], columns[8, many] = two * curvature[i], three * curvature[i]
                columns[9, many] = root * residual[i]
                place += weight[i] * position[i]
                total += weight[i]
                many += 1
            i += 1
        if not many:
            continue
        for a in range(10):
            for b in range(min(a + 1, 9)):
                product = 0.0
                for j in range(many):
                    product += columns[a, j] * columns[b, j]
                sums[9 * a + b] = product
        u = 2.0 * place / total / bins - 1.0
        along[1], along[2], along[3] = u, 1.5 * u * u - 0.5, (2.5 * u * u - 1.5) * u
        for k in range(16):
            factor = along[k // 4] * along[k % 4]
            for m in range(90):
                products[k, m] += factor * sums[m]
    return products.reshape(4, 4, 10, 9)
