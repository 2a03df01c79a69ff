"""How far an exposure moved along the dispersion against its calibrations, by the sky lines of its 2-D frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.compiled import compiled
from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import is_usable
from soxs_recipes.reduction.flexure.sky_template import template_shift
from soxs_recipes.reduction.flexure.zero_point import (
    LineResiduals,
    SkyLines,
    SkySpectrum,
    ZeroPoint,
    combine_residuals,
    measure_lines,
)
from soxs_recipes.reduction.sky.order_pixels import OrderGrid, OrderPixels, cut_order
from soxs_recipes.reduction.sky.sky_model import first_sky

__all__ = ["SkyPixels", "sky_pixels", "sky_spectra", "template_shifts", "zero_point_of_spectra"]

_WIDE = 6.0  # bins of the slit's image from which lines are no longer single
_NARROW = 1.0  # bins: no slit is narrower
_TILT_DEGREE = 3


def zero_point_of_spectra(
    spectra: Sequence[SkySpectrum],
    lines: SkyLines,
    *,
    search: float = 3.0,
    slit_image: float = 0.0,
    across: float = 0.0,
) -> ZeroPoint:
    """Shift along the dispersion from sky lines, all orders together.

    Isolated lines are fitted one by one; where the slit is so wide that they run together, a template of all lines
    is moved over the sky.

    Parameters
    ----------
    spectra : sequence of SkySpectrum
        Of one exposure.
    lines : SkyLines
    search : float [px]
        Largest shift that is looked for.
    slit_image : float [px]
        Width of the slit's image along the dispersion; 0 when unknown.
    across : float [px]
        Shift across the dispersion that is known and not in the spectra: where lines are tilted, it moves them
        along, too.
    """
    wide = slit_image > _WIDE and lines.brightness is not None
    if wide:
        found = _by_template(spectra, lines, search=search, slit_image=slit_image, across=across)
    else:
        found = measure_lines(spectra, lines, search=search, across=across)
    return ZeroPoint.unknown() if found is None else replace(combine_residuals(found), by_template=wide)


def template_shifts(
    spectra: Sequence[SkySpectrum],
    lines: SkyLines,
    *,
    search: float = 3.0,
    slit_image: float = 0.0,
    across: float = 0.0,
) -> dict[int, tuple[float, float, float]]:
    """Order -> (shift, error, width of the slit's image) [px] by a template of all lines, isolated or not.

    Parameters as in `zero_point_of_spectra`; orders that do not tell are left out, all of them when the list holds
    no brightness.
    """
    if lines.brightness is None:
        return {}
    listed = []
    for item in spectra:
        inside = (lines.wavelength > item.wavelength[0]) & (lines.wavelength < item.wavelength[-1])
        listed.append((item.position(lines.wavelength[inside]), lines.brightness[inside]))
    measured = template_shift(
        [(item.sky, item.error) for item in spectra], listed, max(slit_image, _NARROW), search=search
    )
    return {
        item.order: (
            item.direction * found.shift - across * float(np.mean(item.tilt)),
            found.error,
            found.width,
        )
        for item, found in zip(spectra, measured, strict=True)
        if np.isfinite(found.shift)
    }


def _by_template(spectra, lines, **settings) -> LineResiduals | None:
    found = template_shifts(spectra, lines, **settings)
    told = [item for item in spectra if item.order in found]
    if not told:
        return None
    shifts, errors, widths = np.array([found[item.order] for item in told]).T
    return LineResiduals(
        order=np.array([item.order for item in told]),
        wavelength=np.array([float(np.median(item.wavelength)) for item in told]),
        coordinate=np.zeros(len(told)),
        shift=shifts,
        error=errors,
        pixel=np.array([item.direction * float(np.median(item.bin_width)) for item in told]),
        fwhm=widths,
        used=np.ones(len(told), dtype=bool),
    )


@dataclass(frozen=True, slots=True)
class SkyPixels:
    """The pixels of an order that show the sky, and how its lines run.

    Attributes
    ----------
    pixels : OrderPixels
        Without those at the slit's ends.
    direction, tilt
        As in `SkySpectrum`.
    """

    pixels: OrderPixels
    direction: float
    tilt: np.ndarray | float


def sky_pixels(maps: PixelMaps, grids: Sequence[OrderGrid], dispersion_axis: int) -> list[SkyPixels]:
    """Where `sky_spectra` looks; orders outside the maps are left out."""
    present, found = set(maps.orders), []
    for grid in grids:
        if grid.order in present:
            pixels = cut_order(maps, grid, dispersion_axis, edge_margin=2.0)
            found.append(SkyPixels(pixels, *_run_of_lines(maps, pixels, dispersion_axis)))
    return found


def sky_spectra(
    frame: Frame,
    places: Sequence[SkyPixels],
    *,
    base_variance: np.ndarray,
    slit_range: tuple[float, float] | None = None,
) -> list[SkySpectrum]:
    """Sky of every order as the median along the slit, with its error.

    `slit_range` (low, high) [arcsec] takes a part of the slit alone.
    """
    return [_sky_spectrum(frame, place, base_variance, slit_range) for place in places]


def _sky_spectrum(frame, place: SkyPixels, base_variance, slit_range) -> SkySpectrum:
    pixels, grid = place.pixels, place.pixels.grid
    good = is_usable(frame.quality.take(pixels.index))
    if slit_range is not None:
        good &= (pixels.slit > slit_range[0]) & (pixels.slit < slit_range[1])
    sky = first_sky(pixels, np.where(good, pixels.take(frame.data) / pixels.footprint, np.nan))
    error = _median_errors(
        pixels.index[good], pixels.nearest[good], pixels.footprint[good], base_variance.ravel(), sky
    )
    return SkySpectrum(
        grid.order, grid.wavelength, grid.bin_width, sky, error, direction=place.direction, tilt=place.tilt
    )


@compiled
def _median_errors(index, which, footprint, base_variance, sky):
    """Error of the median of the pixels of every bin.

    Parameters
    ----------
    index, which : ndarray (n,) int
        Of the pixels into the flattened frame, and their bins.
    footprint : ndarray (n,) float64
    base_variance : ndarray (ny * nx,)
        Without the sky's photons.
    sky : ndarray (bins,) float64
    """
    count, noise = np.zeros(sky.size), np.zeros(sky.size)
    for k in range(index.size):
        light = max(sky[which[k]] * footprint[k], 0.0)
        count[which[k]] += 1.0
        noise[which[k]] += (base_variance[index[k]] + light) / footprint[k] ** 2
    # The variance of a median is that of the mean times pi / 2.
    return np.sqrt(1.57 * noise) / np.maximum(count, 1.0) + 1e-9


def _run_of_lines(maps, pixels, dispersion_axis):
    """(+1 where wavelength rises with the coordinate, slope of the lines in every bin [px along/px across])."""
    middle = np.flatnonzero(np.abs(pixels.slit) < 2.0)
    middle = middle[:: max(middle.size // 2000, 1)]
    rows, columns = np.divmod(pixels.index[middle], pixels.shape[1])
    inside = (rows > 0) & (rows < pixels.shape[0] - 1) & (columns > 0) & (columns < pixels.shape[1] - 1)
    rows, columns, position = rows[inside], columns[inside], pixels.position[middle][inside]
    down = maps.wavelength[rows + 1, columns] - maps.wavelength[rows - 1, columns]
    right = maps.wavelength[rows, columns + 1] - maps.wavelength[rows, columns - 1]
    along, across = (down, right) if dispersion_axis == 0 else (right, down)
    known = np.isfinite(along) & np.isfinite(across) & (along != 0)
    if not known.any():
        return 1.0, 0.0
    bins = np.arange(pixels.grid.size)
    scale = 2.0 / pixels.grid.size
    slope = np.polynomial.legendre.legfit(
        scale * position[known] - 1.0, across[known] / along[known], _TILT_DEGREE
    )
    tilt = np.polynomial.legendre.legval(scale * bins - 1.0, slope)
    return float(np.sign(np.median(along[known]))), tilt
