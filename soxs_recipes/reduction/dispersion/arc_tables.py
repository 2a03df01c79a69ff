"""Lines to look for, where they are expected, and what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["ArcLineList", "LineStatus", "MeasuredLines", "PredictedSpots"]

_BORDER = 2.0  # px: lines must lie this far inside the frame


class LineStatus(IntEnum):
    """What became of a predicted line."""

    KEPT = 0
    OUTSIDE = 1
    NOT_FOUND = 2
    UNUSABLE_PIXELS = 3
    BLENDED = 4
    ODD_WIDTH = 5
    UNCERTAIN = 6
    DEVIANT = 7


@dataclass(frozen=True, slots=True)
class ArcLineList:
    """Lines to look for, an entry each.

    Attributes
    ----------
    order : ndarray (n,) int
    wavelength : ndarray (n,) float64 [nm, vacuum]
    ion : ndarray (n,) str
    intensity : ndarray (n,) float64
        Relative; only the rank of close neighbours is used.
    blend : ndarray (n,) bool
        Whether the list itself calls the line blended.
    seen : ndarray (n,) bool
        Lines that are sure to be there: looked for first.
    """

    order: np.ndarray
    wavelength: np.ndarray
    ion: np.ndarray
    intensity: np.ndarray
    blend: np.ndarray
    seen: np.ndarray

    def __len__(self) -> int:
        return self.order.size

    def select(self, index: np.ndarray) -> ArcLineList:
        """Chosen lines (integers or boolean)."""
        return ArcLineList(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class PredictedSpots:
    """Every line through every pinhole, where it is expected.

    Attributes
    ----------
    lines : ArcLineList
        Row by row.
    slit : ndarray (n,) float64 [arcsec], pinhole : ndarray (n,) int
    x, y : ndarray (n,) float64 [px]
    shape : (ny, nx)
    """

    lines: ArcLineList
    slit: np.ndarray
    pinhole: np.ndarray
    x: np.ndarray
    y: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def predict(cls, prior, lines, slit_positions, shape, margin) -> PredictedSpots:
        """Of all lines in the prior's orders, those that may fall on the frame."""
        known = np.flatnonzero(np.isin(lines.order, prior.orders))
        count = len(slit_positions)
        index = np.repeat(known, count)
        slit = np.tile(np.asarray(slit_positions, dtype=np.float64), known.size)
        pinhole = np.tile(np.arange(count), known.size)
        x, y = prior.evaluate(lines.order[index], lines.wavelength[index], slit)
        near = (x > -margin) & (x < shape[1] + margin) & (y > -margin) & (y < shape[0] + margin)
        return cls(lines.select(index[near]), slit[near], pinhole[near], x[near], y[near], shape)

    @property
    def order(self) -> np.ndarray:
        """Order of each spot."""
        return self.lines.order

    @property
    def wavelength(self) -> np.ndarray:
        """Wavelength of each spot [nm]."""
        return self.lines.wavelength

    def inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Which places lie well inside the frame."""
        ny, nx = self.shape
        return (x > _BORDER) & (x < nx - 1 - _BORDER) & (y > _BORDER) & (y < ny - 1 - _BORDER)

    def thinned(self, separation: float) -> tuple[np.ndarray, np.ndarray]:
        """Spots that no brighter one of the list stands nearer to than `separation` [px].

        Returns
        -------
        index : ndarray (k,) int
            Ascending.
        partner : ndarray (k,) float64 [px]
            Distance of the nearest spot left out near each, inf without one.
        """
        places = np.stack([self.x, self.y], axis=1)
        pairs = cKDTree(places).query_pairs(separation, output_type="ndarray")
        first, second = pairs[:, 0], pairs[:, 1]
        same = (self.order[first] == self.order[second]) & (self.pinhole[first] == self.pinhole[second])
        pairs = pairs[same]
        brighter = self.lines.intensity[pairs[:, 0]] >= self.lines.intensity[pairs[:, 1]]
        winner, loser = np.where(brighter[:, None], pairs, pairs[:, ::-1]).T
        keep = np.ones(self.x.size, dtype=bool)
        keep[loser] = False
        partner = np.full(self.x.size, np.inf)
        np.minimum.at(partner, winner, np.hypot(*(places[winner] - places[loser]).T))
        return np.flatnonzero(keep), partner[keep]


@dataclass(frozen=True, slots=True)
class MeasuredLines:
    """One row a predicted spot (line and pinhole); what was not measured is NaN.

    Attributes
    ----------
    order : ndarray (n,) int
    wavelength : ndarray (n,) float64 [nm, vacuum]
    ion : ndarray (n,) str
    blend : ndarray (n,) bool
        As in the list.
    slit : ndarray (n,) float64 [arcsec]
    pinhole : ndarray (n,) int
    x_predicted, y_predicted, x, y, x_error, y_error, x_fit, y_fit : ndarray (n,) float64 [px]
    flux, flux_error : ndarray (n,) float64 [e-]
    fwhm_along, fwhm_across : ndarray (n,) float64 [px]
        Pixel width taken out.
    resolving_power : ndarray (n,) float64
        Wavelength over FWHM along the dispersion.
    chi_square, weight : ndarray (n,) float64
    status : ndarray (n,) int
        `LineStatus`.
    """

    order: np.ndarray
    wavelength: np.ndarray
    ion: np.ndarray
    blend: np.ndarray
    slit: np.ndarray
    pinhole: np.ndarray
    x_predicted: np.ndarray
    y_predicted: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray
    y_error: np.ndarray
    x_fit: np.ndarray
    y_fit: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    fwhm_along: np.ndarray
    fwhm_across: np.ndarray
    resolving_power: np.ndarray
    chi_square: np.ndarray
    weight: np.ndarray
    status: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Boolean (n,): lines that hold the solution."""
        return self.status == LineStatus.KEPT

    @property
    def inside(self) -> np.ndarray:
        """Boolean (n,): lines that fall on the frame."""
        return self.status != LineStatus.OUTSIDE

    @property
    def found(self) -> np.ndarray:
        """Boolean (n,): lines that were measured, kept or not."""
        return np.isfinite(self.x)
