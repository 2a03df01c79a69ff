"""The inverse of the optical model on the pixels of one order, by Newton steps on a lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from soxs_recipes.simulator.optics import OpticalModel

__all__ = ["HALF_WIDTH", "OrderGeometry", "centreline", "order_geometry"]

HALF_WIDTH = 31  # px either side of an order's middle that are rendered: slit, tilt and PSF wings
_MARGIN = 40  # px beyond the detector's ends, from which light still spills in
_LATTICE_STEP = 32
_OFFSET_DEGREE = 6


@dataclass(frozen=True, slots=True)
class OrderGeometry:
    """What each pixel of an order sees, in an (along dispersion, along slit) array of the order's own.

    The dispersion coordinate v of a pixel is where its wavelength falls along the dispersion axis at mid-slit,
    in pixels: spectra sampled evenly in v have an almost constant line spread.

    Attributes
    ----------
    order : int
    first_across : ndarray (n,) int
        Detector index along the slit axis of the first column of each row.
    v, s : ndarray (n, width) float64
        Dispersion coordinate [px] and slit position [arcsec] at pixel centres.
    v_along, v_across, s_along, s_across : ndarray (n, width) float64
        Their derivatives along the two detector axes.
    v_start : float
        First dispersion coordinate of `wavelengths_at`.
    wavelength_of : CubicSpline
        v [px] -> wavelength [nm].
    """

    order: int
    first_across: np.ndarray
    v: np.ndarray
    s: np.ndarray
    v_along: np.ndarray
    v_across: np.ndarray
    s_along: np.ndarray
    s_across: np.ndarray
    v_start: float
    v_end: float
    wavelength_of: CubicSpline

    @property
    def jacobian(self) -> np.ndarray:
        """|d(v, s)/d(along, across)| [arcsec/px]."""
        return np.abs(self.v_along * self.s_across - self.v_across * self.s_along)

    @property
    def arcsec_per_pixel(self) -> float:
        """Typical pixel scale along the slit axis."""
        return float(np.median(np.abs(self.s_across[:, HALF_WIDTH])))

    def wavelength_step(self, v: np.ndarray) -> np.ndarray:
        """|d wavelength / dv| [nm/px]."""
        return np.abs(self.wavelength_of(v, 1))


def centreline(model: OpticalModel, order: int) -> tuple[CubicSpline, float, float]:
    """Wavelength [nm] as a function of the dispersion coordinate, and the range of that coordinate [px].

    The range is the detector and a margin, as far as wavelengths of the format plus 3 % reach.
    """
    hardware = model.hardware.order(order)
    wavelengths = np.linspace(0.97 * hardware.wavelength_min, 1.03 * hardware.wavelength_max, 3000)
    v, _ = model.evaluate_axes(order, wavelengths, 0.0)
    if v[-1] < v[0]:
        v, wavelengths = v[::-1], wavelengths[::-1]
    spline = CubicSpline(v, wavelengths)
    low = max(-_MARGIN, float(v[0]))
    high = min(model.hardware.along - 1 + _MARGIN, float(v[-1]))
    return spline, low, high


def order_geometry(model: OpticalModel, order: int) -> OrderGeometry:
    """Dispersion coordinate and slit position of every pixel within `HALF_WIDTH` of the order's middle."""
    spline, v_start, v_end = centreline(model, order)
    n = model.hardware.along
    nodes = np.arange(-_LATTICE_STEP, n + 2 * _LATTICE_STEP, _LATTICE_STEP, dtype=float)
    middle = CubicSpline(nodes, model.evaluate_axes(order, spline(nodes), 0.0)[1])
    reach = HALF_WIDTH + 2.0
    offsets = reach * np.cos(np.pi * (np.arange(_OFFSET_DEGREE + 3) + 0.5) / (_OFFSET_DEGREE + 3))
    along = np.repeat(nodes[:, None], offsets.size, axis=1)
    across = middle(nodes)[:, None] + offsets[None, :]
    wavelength, slit = _invert(model, order, along, across, spline)
    v_lattice, _ = model.evaluate_axes(order, wavelength, 0.0)
    v_series = _offset_series(nodes, offsets, v_lattice)
    s_series = _offset_series(nodes, offsets, slit)

    rows = np.arange(n, dtype=float)
    centre = middle(rows)
    first = np.rint(centre).astype(int) - HALF_WIDTH
    offset = first[:, None] + np.arange(2 * HALF_WIDTH + 1)[None, :] - centre[:, None]
    slope = middle(rows, 1)[:, None]
    v, v_along, v_across = _evaluate_series(v_series, rows, offset, slope)
    s, s_along, s_across = _evaluate_series(s_series, rows, offset, slope)
    return OrderGeometry(order, first, v, s, v_along, v_across, s_along, s_across, v_start, v_end, spline)


def _invert(model, order, along, across, spline):
    """Newton iteration for (wavelength, slit position) of detector positions; converges to 1e-9 px."""
    wavelength, slit = spline(along), np.zeros_like(along)
    step_w, step_s = 1e-3, 1e-3
    for _ in range(6):
        a, b = model.evaluate_axes(order, wavelength, slit)
        a_w, b_w = model.evaluate_axes(order, wavelength + step_w, slit)
        a_s, b_s = model.evaluate_axes(order, wavelength, slit + step_s)
        a_w, b_w, a_s, b_s = (a_w - a) / step_w, (b_w - b) / step_w, (a_s - a) / step_s, (b_s - b) / step_s
        determinant = a_w * b_s - a_s * b_w
        da, db = along - a, across - b
        wavelength = wavelength + (b_s * da - a_s * db) / determinant
        slit = slit + (a_w * db - b_w * da) / determinant
    return wavelength, slit


def _offset_series(nodes, offsets, values):
    """Power series in the offset from the middle whose coefficients are splines along the order."""
    scaled = offsets / HALF_WIDTH
    coefficients = np.linalg.lstsq(np.vander(scaled, _OFFSET_DEGREE + 1, increasing=True), values.T, rcond=None)[0]
    return CubicSpline(nodes, coefficients.T)


def _evaluate_series(series, rows, offset, slope):
    """Value and derivatives along both axes of a series made by `_offset_series`."""
    coefficients, change = series(rows), series(rows, 1)
    d = offset / HALF_WIDTH
    value = np.zeros_like(d)
    along = np.zeros_like(d)
    across = np.zeros_like(d)
    for k in range(_OFFSET_DEGREE, -1, -1):
        across = across * d + value
        value = value * d + coefficients[:, k, None]
        along = along * d + change[:, k, None]
    across /= HALF_WIDTH
    return value, along - slope * across, across
