"""Maps made of slit exposures: where each looked, and the light along the slit, order by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.slit_map import SlitMap
from soxs_recipes.reduction.extraction.order_fit import OrderFit

__all__ = ["SlitLight", "build_map", "offsets_on_slit", "place_on_sky", "slit_light"]

_REGULAR = 0.3  # Share of a step by which positions may be off their column.


@dataclass(frozen=True, slots=True)
class SlitLight:
    """Light along the slit in one order of one exposure, in cells of a common grid.

    Attributes
    ----------
    order : int
    band : str
    flux, variance : ndarray (rows,)
        Mean over the order; variance inf in cells without pixels.
    """

    order: int
    band: str
    flux: np.ndarray
    variance: np.ndarray


def offsets_on_slit(
    ra: Sequence[float], dec: Sequence[float], centre: tuple[float, float], position_angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """(across, along) [arcsec] of points from a centre, in the plane that touches the sky there.

    Parameters
    ----------
    ra, dec, centre, position_angle : float [deg]
        The angle of the slit's positive half, from north to east; across, positive is 90 degrees on to the east.

    Notes
    -----
    Gnomonic projection, Calabretta & Greisen 2002 (A&A 395, 1077), section 5.1.3.
    """
    east, north = _tangent_plane(np.radians(ra), np.radians(dec), *np.radians(centre))
    angle = np.radians(position_angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    along = east * np.sin(angle) + north * np.cos(angle)
    return across, along


def _tangent_plane(ra, dec, ra0, dec0):
    depth = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    east = np.cos(dec) * np.sin(ra - ra0) / depth
    north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / depth
    return np.degrees(east) * 3600.0, np.degrees(north) * 3600.0


def place_on_sky(
    across: np.ndarray | float, along: np.ndarray | float, centre: tuple[float, float], position_angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """(ra, dec) [deg] of points in the plane of `offsets_on_slit`, which this inverts."""
    angle = np.radians(position_angle)
    east = np.radians((np.multiply(across, np.cos(angle)) + np.multiply(along, np.sin(angle))) / 3600.0)
    north = np.radians((np.multiply(along, np.cos(angle)) - np.multiply(across, np.sin(angle))) / 3600.0)
    ra0, dec0 = np.radians(centre)
    run = np.cos(dec0) - north * np.sin(dec0)
    ra = ra0 + np.arctan2(east, run)
    dec = np.arctan2(np.sin(dec0) + north * np.cos(dec0), np.hypot(run, east))
    return np.degrees(ra) % 360.0, np.degrees(dec)


def slit_light(
    fit: OrderFit, band: str, along: np.ndarray, factor: np.ndarray, *, moved: float = 0.0
) -> SlitLight:
    """Mean light in cells along the slit, sky subtracted, objects and all.

    Parameters
    ----------
    fit : OrderFit
        After its last `solve`.
    band : str
    along : ndarray (rows,) [arcsec]
        Cell centres, evenly spaced.
    factor : ndarray (bins,)
        Turns electrons a bin and arcsec into the map's unit; 0 leaves a bin out.
    moved : float [arcsec]
        Where mid-slit lies on the grid.

    Notes
    -----
    Bins count alike in all cells, whatever their noise there: a mean weighted by each pixel's own variance would
    give cells of other brightness other colours. The pixels that the fit rejected as outliers stay in, as extended
    light is rougher than any profile; what was hit by cosmic rays does not.
    """
    pixels, bins = fit.pixels, np.arange(fit.pixels.grid.size)
    good = fit.usable & ~fit.hits
    # Where the night sky is bright little is learnt.
    sky = fit.knots.spline(fit.solution.sky_coefficients)(bins.astype(np.float64))
    noise = np.maximum(sky, 0.0) * np.median(fit.sensitivity) + np.median(fit.base_variance)
    known = (factor > 0) & np.isfinite(factor)
    per_bin = np.where(known, 1.0 / np.maximum(noise * np.where(known, factor, 1.0) ** 2, 1e-300), 0.0)
    weight = np.where(good, np.interp(pixels.position, bins, per_bin), 0.0)
    scale = np.interp(pixels.position, bins, np.where(known, factor, 0.0)) / fit.sensitivity
    step = along[1] - along[0]
    cell = np.rint((pixels.slit + moved - along[0]) / step).astype(np.int64)
    weight = np.where((cell >= 0) & (cell < along.size), weight, 0.0)
    cell = np.clip(cell, 0, along.size - 1)
    total = np.bincount(cell, weight, minlength=along.size)
    light = np.bincount(cell, weight * (fit.data - fit.sky) * scale, minlength=along.size)
    spread = np.bincount(cell, weight**2 * fit.variance * scale**2, minlength=along.size)
    reached = total > 0.2 * np.max(total, initial=0.0)
    reached &= total > 0
    divisor = np.where(reached, total, 1.0)
    return SlitLight(
        fit.pixels.order,
        band,
        np.where(reached, light / divisor, 0.0),
        np.where(reached, spread / divisor**2, np.inf),
    )


def build_map(
    lights: Sequence[Sequence[SlitLight]],
    across: np.ndarray,
    along: np.ndarray,
    centre: tuple[float, float],
    position_angle: float,
    unit: str,
    *,
    width: float = 1.0,
) -> tuple[SlitMap, bool]:
    """Exposures laid side by side.

    Parameters
    ----------
    lights : sequence (exposure) of sequence (order) of SlitLight
    across : ndarray (exposures,) [arcsec]
        Where each looked, across the slit.
    along : ndarray (rows,) [arcsec]
    centre, position_angle : see `SlitMap`
    unit : str
    width : float [arcsec]
        Width of the only column when all looked at one place.

    Returns
    -------
    SlitMap
        Exposures of one column are averaged by their variances.
    bool
        Whether the positions are evenly spaced; otherwise each stands in the nearest column.
    """
    columns, step = _columns(np.asarray(across, dtype=np.float64), width)
    place = np.rint((across - columns[0]) / step).astype(np.int64)
    regular = bool(np.all(np.abs(columns[place] - across) <= _REGULAR * step))
    names = {light.order: light.band for exposure in lights for light in exposure}
    orders = tuple(sorted(names))
    shape = (len(orders), along.size, columns.size)
    weight, total = np.zeros(shape), np.zeros(shape)
    for column, exposure in zip(place, lights, strict=True):
        for light in exposure:
            one = 1.0 / light.variance
            weight[orders.index(light.order), :, column] += one
            total[orders.index(light.order), :, column] += one * light.flux
    known = weight > 0
    flux = np.where(known, total / np.where(known, weight, 1.0), np.nan)
    error = np.where(known, 1.0 / np.sqrt(np.where(known, weight, 1.0)), np.nan)
    bands = tuple(names[order] for order in orders)
    return SlitMap(orders, bands, columns, along, flux, error, centre, position_angle, unit), regular


def _columns(across: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """Evenly spaced columns that hold all positions, by the median of the steps between them."""
    places = np.unique(np.round(across, 2))
    steps = np.diff(places)
    steps = steps[steps > 0.1 * width]
    if steps.size == 0:
        return np.array([float(across.mean())]), width
    step = float(np.median(steps))
    count = int(np.rint((across.max() - across.min()) / step)) + 1
    return across.min() + step * np.arange(count), step
