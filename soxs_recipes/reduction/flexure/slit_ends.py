"""How far an exposure moved across the dispersion: the slit's ends in the sky light against those in the flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import UNUSABLE
from soxs_recipes.reduction.flexure.slit_end_kernels import block_continuum, cut_edge, share_of_sky
from soxs_recipes.reduction.flexure.zero_point import SkySpectrum, robust_mean, weighted_mean

__all__ = ["EdgeShift", "edge_shift"]

_REACH = 7  # px on either side of an edge that are looked at
_DARK = 4.0  # px outside an edge from where on no light is left
_CELL = 0.25  # px
_PARTS = 4
_CELLS = int((_DARK + _REACH - 1) / _CELL)
_BLOCK = 32  # px along the order that share one median
_LARGEST_ERROR = 0.25  # px of one edge in one part
_BLUR, _BLURS = 0.9, (0.4, 2.5)  # px, 1 sigma: where the fit of the blur begins, and what it may be
_PRIOR = 0.01  # px^-2
_CHANCE = 1.5  # reduced chi-square that noise alone may have
_ROUNDS, _LONGEST_STEP, _SETTLED = 8, 0.5, 0.002  # px
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
    parts : ndarray (n, 4)
        What parts of the edges tell: shift, error, +1 where inside is towards rising coordinate (else -1), and how
        much an edge rises in a pixel along the order.
    """

    shift: float
    error: float
    edges: int
    parts: np.ndarray = field(default_factory=lambda: np.empty((0, 4)), repr=False, compare=False)

    def given_along(self, shift: float) -> EdgeShift:
        """The shift across when all moved along, too: an order that is not straight brings other edges there."""
        if not shift or not len(self.parts):
            return self
        moved = self.parts.copy()
        moved[:, 0] += shift * moved[:, 3]
        return _combined(moved)

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
    the optics. Where its middle lies is fitted together with the blur, one for all edges, the level inside, and
    that outside: light scattered between the orders is there, too. The lines of the sky alone are used where they
    suffice, after running medians along the order are taken from light and sky: a source near the slit's end has
    no part in them. Otherwise all light counts, and ends that disagree make the error larger.

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
    by_lines = _combined(_shifts(cuts, lines_only=True))
    if by_lines.error < _GOOD_ENOUGH:
        return by_lines
    by_light = _combined(_shifts(cuts, lines_only=False))
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
    slope : ndarray (parts,)
        How much the edge rises in a pixel along the order.
    """

    offset: np.ndarray
    light: np.ndarray
    variance: np.ndarray
    sky: np.ndarray
    light_continuum: np.ndarray
    sky_continuum: np.ndarray
    sign: float
    slope: np.ndarray

    def shares(self, *, lines_only: bool) -> tuple[np.ndarray, np.ndarray]:
        """(share of the sky, error) in cells of distance from the edge, each (parts, cells)."""
        light, sky = self.light, self.sky
        if lines_only:
            light, sky = light - self.light_continuum, sky - self.sky_continuum
        return share_of_sky((self.offset, light, self.variance, sky), _DARK, _CELL, _PARTS, _CELLS)


def _shifts(cuts: Sequence[_EdgeCut], *, lines_only: bool) -> np.ndarray:
    """(shift, error, sign, slope) of each of the parts of the edges that tell."""
    if not cuts:
        return np.empty((0, 4))
    shares = zip(*(cut.shares(lines_only=lines_only) for cut in cuts), strict=True)
    share, error = (np.concatenate(part) for part in shares)
    sign, slope = np.repeat([cut.sign for cut in cuts], _PARTS), np.concatenate([cut.slope for cut in cuts])
    known = np.all(np.isfinite(share) & np.isfinite(error), axis=1)
    place, uncertainty = middles_of_steps(share[known], error[known])
    parts = np.stack([sign[known] * place, uncertainty, sign[known], slope[known]], axis=1)
    return parts[uncertainty < _LARGEST_ERROR]


def _cut(images, steps, edge, sign, spectrum: SkySpectrum) -> list[_EdgeCut]:
    """The pixels about an edge; none where too little of it can be seen."""
    cut = cut_edge(images, steps, int(UNUSABLE), edge, sign, _REACH, spectrum.wavelength, spectrum.sky)
    rows, offset, light, variance, sky = cut
    if len(offset) < 0.25 * edge.size:
        return []
    continua = block_continuum(light, _BLOCK), block_continuum(sky, _BLOCK)
    photons = np.maximum(continua[0] + sky - continua[1], 0.0)
    variance = np.where(variance > 0, variance + photons, 0.0)
    part = np.arange(rows.size) * _PARTS // rows.size
    slope = np.bincount(part, np.gradient(edge)[rows]) / np.bincount(part)
    return [_EdgeCut(offset, light, variance, sky, *continua, float(sign), slope)]


def middles_of_steps(share: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where blurred steps have their middles.

    Parameters
    ----------
    share, error : ndarray (steps, cells)
        Finite, in cells of a quarter of a pixel from four pixels outside of the edge on.

    Returns
    -------
    place, error : ndarray (steps,) [px]
        Inside of the edge; the error, larger by how much cells disagree with a step, is inf where none shows.
    """
    offset = (np.arange(share.shape[1]) + 0.5) * _CELL - _DARK
    place, level, seen = _first_middles(share, error)
    share, weight = share[seen], error[seen] ** -2.0
    place, level, dark, blur = place[seen], level[seen], np.zeros(seen.sum()), _BLUR
    found, uncertainty = np.zeros(seen.size), np.full(seen.size, np.inf)
    if not seen.any():
        return found, uncertainty
    for _ in range(_ROUNDS):
        distance = (offset - place[:, None]) / blur
        rise, bell = ndtr(distance), np.exp(-0.5 * distance**2) / (np.sqrt(2.0 * np.pi) * blur)
        left = share - dark[:, None] - level[:, None] * rise
        slope = -level[:, None] * bell
        design = np.stack([np.ones_like(rise), rise, slope, slope * distance], axis=1)
        weighted = design * weight[:, None]
        normal = weighted @ design.transpose(0, 2, 1)
        normal[:, 2, 2] += _PRIOR  # a step may vanish on the way
        known = (weighted @ left[:, :, None])[:, :, 0]
        # Of each step on its own, once for what is left and once for the blur that all share.
        own = np.linalg.inv(normal[:, :3, :3])
        step, by_blur = (np.einsum("sij,sj->si", own, part) for part in (known[:, :3], normal[:, :3, 3]))
        told = (normal[:, 3, 3] - (normal[:, :3, 3] * by_blur).sum(axis=1)).sum()
        wider = (known[:, 3] - (normal[:, :3, 3] * step).sum(axis=1)).sum() / told
        step -= by_blur * wider
        blur = float(np.clip(blur + np.clip(wider, -0.3, 0.3), *_BLURS))
        dark, level = dark + step[:, 0], level + step[:, 1]
        before = place
        place = np.clip(place + np.clip(step[:, 2], -_LONGEST_STEP, _LONGEST_STEP), offset[0], -offset[0])
        if np.abs(place - before).max() < _SETTLED:
            break
    found[seen] = place
    # Lines are narrow, and the sky between its bins is not quite what fell there.
    disagreement = (weight * np.square(left)).sum(axis=1) / (offset.size - 3)
    uncertainty[seen] = np.sqrt(own[:, 2, 2] * np.where(disagreement > _CHANCE, disagreement, 1.0))
    return found, uncertainty


def _first_middles(share, error):
    """(place, level, whether it shows) of steps, by their integrals between darkness and plateau."""
    plateau = int((_DARK + 3.0) / _CELL)
    weight = error[:, plateau:] ** -2.0
    level = (weight * share[:, plateau:]).sum(axis=1) / weight.sum(axis=1)
    seen = level > 4.0 / np.sqrt(weight.sum(axis=1))
    lit = share[:, :plateau].sum(axis=1) * _CELL
    return np.clip(3.0 - lit / np.where(seen, level, 1.0), -3.0, 3.0), level, seen


def _combined(parts: np.ndarray) -> EdgeShift:
    if not len(parts):
        return EdgeShift(float("nan"), float("nan"), 0)
    shifts, errors, signs, _ = parts.T
    value, error, kept = robust_mean(shifts, errors)
    sides = [
        weighted_mean(shifts[side], errors[side]) for sign in (-1, 1) if (side := kept & (signs == sign)).any()
    ]
    if len(sides) == 2:
        # A source at one end moves one of them.
        apart = abs(sides[0][0] - sides[1][0])
        if apart > 4.0 * np.hypot(sides[0][1], sides[1][1]):
            error = max(error, 0.5 * apart)
    return EdgeShift(value, error, int(kept.sum()), parts)
