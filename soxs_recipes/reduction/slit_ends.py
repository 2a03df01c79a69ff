"""How far an exposure moved across the dispersion: the slit's ends in the sky light against those in the flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import UNUSABLE
from soxs_recipes.reduction.slit_end_kernels import block_continuum, cut_edge, share_of_sky
from soxs_recipes.reduction.zero_point import SkySpectrum, robust_mean, weighted_mean

__all__ = ["EdgeShift", "edge_shift"]

_REACH = 7  # px on either side of an edge that are looked at
_DARK = 4.0  # px outside an edge from where on no light is left
_CELL = 0.25  # px
_PARTS = 4
_BLOCK = 32  # px along the order that share one median
_LARGEST_ERROR = 0.5  # px of one edge in one part
_GOOD_ENOUGH = 0.03  # px: error up to which lines alone are trusted


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
        """Beyond 2 sigma and 0.05 px."""
        return bool(np.isfinite(self.shift) and abs(self.shift) > max(2.0 * self.error, 0.05))


def edge_shift(
    frame: Frame,
    order_table: OrderTable,
    maps: PixelMaps,
    spectra: Sequence[SkySpectrum],
    *,
    base_variance: np.ndarray,
) -> EdgeShift:
    """Shift of the slit's ends in the sky light against the edges of the flat.

    How much of the sky's spectrum a pixel holds, as a function of its distance from the edge, is a step blurred by
    the optics; where its middle lies follows from the integral between plateau and darkness, which needs no model
    of the blur. The lines of the sky alone are used where they suffice, after running medians along the order are
    taken from light and sky: a source near the slit's end has no part in them. Otherwise all light counts, and
    ends that disagree make the error larger.

    Parameters
    ----------
    frame : Frame
        Bias, dark and scattered light subtracted [e-].
    order_table : OrderTable
        With edges.
    maps : PixelMaps
    spectra : sequence of SkySpectrum
        Of the frame, in the maps' wavelengths.
    base_variance : ndarray (ny, nx) [e-^2]
        Without photon noise.
    """
    axis, (ny, nx) = order_table.dispersion_axis, frame.shape
    steps = (nx, 1, nx) if axis == 0 else (1, nx, ny)
    images = tuple(image.reshape(-1) for image in (frame.data, frame.quality, base_variance, maps.wavelength))
    along = np.arange(frame.shape[axis], dtype=np.float64)
    cuts = []
    for spectrum in spectra:
        if spectrum.order in order_table.orders and order_table[spectrum.order].lower is not None:
            for edge, sign in zip(order_table[spectrum.order].edges_at(along), (1, -1), strict=True):
                cuts += _cut(images, steps, edge, sign, spectrum)
    by_lines = _combined([shift for cut in cuts for shift in cut.shifts(lines_only=True)])
    if by_lines.error < _GOOD_ENOUGH:
        return by_lines
    by_light = _combined([shift for cut in cuts for shift in cut.shifts(lines_only=False)])
    agree = abs(by_light.shift - by_lines.shift) < 3.0 * np.hypot(by_light.error, by_lines.error)
    if np.isfinite(by_lines.shift) and (by_lines.error < by_light.error or not agree):
        return by_lines
    return by_light


@dataclass(frozen=True, slots=True)
class _EdgeCut:
    """The pixels about one edge, straightened: (along, across).

    Attributes
    ----------
    offset : ndarray [px]
        From the edge, positive inside.
    light, variance, sky : ndarray
        Variance 0 where there is nothing; sky in its own unit.
    light_continuum, sky_continuum : ndarray
        What runs smoothly along the order.
    sign : float
        +1 where inside is towards rising coordinate.
    """

    offset: np.ndarray
    light: np.ndarray
    variance: np.ndarray
    sky: np.ndarray
    light_continuum: np.ndarray
    sky_continuum: np.ndarray
    sign: float

    def shifts(self, *, lines_only: bool) -> list[tuple[float, float, float]]:
        """(shift, error, sign) of the parts of the edge that tell."""
        light, sky = self.light, self.sky
        if lines_only:
            light, sky = light - self.light_continuum, sky - self.sky_continuum
        cells = int((_DARK + _REACH - 1) / _CELL)
        profile, error = share_of_sky((self.offset, light, self.variance, sky), _DARK, _CELL, _PARTS, cells)
        found = []
        for values, sigma in zip(profile, error, strict=True):
            shift, uncertainty = _middle_of_step(values, sigma)
            if uncertainty < _LARGEST_ERROR:
                found.append((self.sign * shift, uncertainty, self.sign))
        return found


def _cut(images, steps, edge, sign, spectrum: SkySpectrum) -> list[_EdgeCut]:
    """The pixels about an edge; none where too little of it can be seen."""
    cut = cut_edge(images, steps, int(UNUSABLE), edge, sign, _REACH, spectrum.wavelength, spectrum.sky)
    offset, light, variance, sky = cut
    if len(offset) < 0.25 * edge.size:
        return []
    continua = block_continuum(light, _BLOCK), block_continuum(sky, _BLOCK)
    photons = np.maximum(continua[0] + sky - continua[1], 0.0)
    variance = np.where(variance > 0, variance + photons, 0.0)
    return [_EdgeCut(offset, light, variance, sky, *continua, float(sign))]


def _middle_of_step(values, sigma):
    """(place of the step's middle inside of the edge [px], error); infinite error where it does not show."""
    if not np.all(np.isfinite(values)) or not np.all(np.isfinite(sigma)):
        return 0.0, np.inf
    plateau = slice(int((_DARK + 3.0) / _CELL), None)
    level, level_error = weighted_mean(values[plateau], sigma[plateau])
    if level < 4.0 * level_error:
        return 0.0, np.inf
    step = values[: plateau.start]
    lit = step.sum() / level * _CELL
    spread = np.sqrt((sigma[: plateau.start] ** 2).sum()) / level * _CELL
    return 3.0 - lit, float(np.hypot(spread, lit * level_error / level))


def _combined(found) -> EdgeShift:
    if not found:
        return EdgeShift(float("nan"), float("nan"), 0)
    shifts, errors, signs = np.array(found).T
    value, error, kept = robust_mean(shifts, errors)
    sides = [
        weighted_mean(shifts[side], errors[side]) for sign in (-1, 1) if (side := kept & (signs == sign)).any()
    ]
    if len(sides) == 2:
        # A source at one end moves one of them.
        apart = abs(sides[0][0] - sides[1][0])
        if apart > 4.0 * np.hypot(sides[0][1], sides[1][1]):
            error = max(error, 0.5 * apart)
    return EdgeShift(value, error, int(kept.sum()))
