"""From spectra and slit profiles to electrons on pixels, flux-conserving and without noise.

In the coordinates (v, s) of `geometry` the light of an order is a product of a spectrum already convolved along
the dispersion and a profile already convolved along the slit. Each pixel integrates that product times the
Jacobian by Gauss-Legendre quadrature, so fluxes and centroids are exact to the quadrature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from soxs_recipes.simulator.geometry import OrderGeometry

__all__ = [
    "OVERSAMPLING",
    "SampledSpectrum",
    "line_spectrum",
    "pinhole_profile",
    "render_order",
    "slit_profile",
]

OVERSAMPLING = 24
_NODES = {n: np.polynomial.legendre.leggauss(n) for n in (3, 4)}

Profile = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class SampledSpectrum:
    """A spectrum on an even grid of the dispersion coordinate, zero outside.

    Attributes
    ----------
    start : float [px]
        Coordinate of the first sample.
    values : ndarray (n,) float64 [e-/px]
        Density; `OVERSAMPLING` samples a pixel.
    """

    start: float
    values: np.ndarray

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """Density at coordinates v, linear between samples."""
        t = (v - self.start) * OVERSAMPLING
        index = t.astype(np.int64)
        np.clip(index, 0, self.values.size - 2, out=index)
        t -= index
        inside = (t >= 0.0) & (t <= 1.0)
        low = self.values[index]
        low += t * (self.values[index + 1] - low)
        return np.where(inside, low, 0.0)

    @property
    def grid(self) -> np.ndarray:
        """Coordinates of the samples [px]."""
        return self.start + np.arange(self.values.size) / OVERSAMPLING

    def integral(self, v: np.ndarray) -> np.ndarray:
        """Integral from the first sample to each v [e-], exact for the linear interpolation."""
        steps = np.concatenate([[0.0], np.cumsum(0.5 * (self.values[1:] + self.values[:-1]))]) / OVERSAMPLING
        t = np.clip((np.asarray(v, float) - self.start) * OVERSAMPLING, 0.0, self.values.size - 1.0)
        index = np.minimum(t.astype(np.int64), self.values.size - 2)
        fraction = t - index
        low = self.values[index]
        part = fraction * (low + 0.5 * fraction * (self.values[index + 1] - low)) / OVERSAMPLING
        return steps[index] + part

    def plus(self, other: SampledSpectrum, factor: float = 1.0) -> SampledSpectrum:
        """The sum with another spectrum on the same grid."""
        return SampledSpectrum(self.start, self.values + factor * other.values)


def empty_spectrum(geometry: OrderGeometry) -> SampledSpectrum:
    """Zeros over the order's illuminated range."""
    count = int(np.ceil((geometry.v_end - geometry.v_start) * OVERSAMPLING)) + 1
    return SampledSpectrum(geometry.v_start, np.zeros(count))


def line_spectrum(
    geometry: OrderGeometry,
    centres: np.ndarray,
    electrons: np.ndarray,
    box_width: np.ndarray | float,
    sigma: np.ndarray | float,
) -> SampledSpectrum:
    """Emission lines: a box (the slit's width) convolved with a Gaussian.

    Parameters
    ----------
    geometry : OrderGeometry
    centres : ndarray (n,) [px]
        Dispersion coordinates.
    electrons : ndarray (n,) [e-]
        Integrated over the dispersion; per unit of the profile that it is rendered with.
    box_width, sigma : ndarray (n,) or float [px]
        A width of 0 is a pure Gaussian.
    """
    spectrum = empty_spectrum(geometry)
    centres, electrons, width, sigma = (np.asarray(a, float) for a in (centres, electrons, box_width, sigma))
    width, sigma = np.broadcast_to(width, centres.shape), np.broadcast_to(sigma, centres.shape)
    if centres.size == 0:
        return spectrum
    reach = int(np.ceil((0.5 * width.max() + 7.0 * sigma.max()) * OVERSAMPLING))
    nearest = np.rint((centres - spectrum.start) * OVERSAMPLING).astype(np.int64)
    index = nearest[:, None] + np.arange(-reach, reach + 1)[None, :]
    distance = spectrum.start + index / OVERSAMPLING - centres[:, None]
    shape = line_shape(distance, width[:, None], sigma[:, None])
    inside = (index >= 0) & (index < spectrum.values.size)
    weights = (electrons[:, None] * shape)[inside]
    values = np.bincount(index[inside], weights=weights, minlength=spectrum.values.size)
    return SampledSpectrum(spectrum.start, values)


def line_shape(distance: np.ndarray, width: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """A unit box of `width` convolved with a unit Gaussian of `sigma`, at a distance from the centre [1/px]."""
    scale = np.sqrt(2.0) * sigma
    half = np.maximum(0.5 * width, 1e-4)  # a box of 0.0002 px is a pure Gaussian to 1e-8
    return (erf((distance + half) / scale) - erf((distance - half) / scale)) / (4.0 * half)


def slit_profile(length: float, sigma: float, illumination: Callable[[np.ndarray], np.ndarray]) -> Profile:
    """A uniformly lit slit of `length` [arcsec] with ends blurred by `sigma`: 1 inside."""
    grid = np.arange(-0.5 * length - 8 * sigma, 0.5 * length + 8 * sigma, 0.002)
    table = line_shape(grid, np.array(length), np.array(sigma)) * length * illumination(grid)
    start, step = grid[0], 0.002

    def profile(_v: np.ndarray, s: np.ndarray) -> np.ndarray:
        t = np.clip((s - start) / step, 0.0, table.size - 1.001)
        index = t.astype(np.int64)
        low = table[index]
        return low + (t - index) * (table[index + 1] - low)

    return profile


def pinhole_profile(
    positions: np.ndarray, transmissions: np.ndarray, sigma_of: Callable[[np.ndarray], np.ndarray]
) -> Profile:
    """Gaussian images of pinholes at evenly spaced `positions` [arcsec]; `sigma_of(v)` in arcsec."""
    positions = np.asarray(positions, float)
    spacing = positions[1] - positions[0] if positions.size > 1 else np.inf

    def profile(v: np.ndarray, s: np.ndarray) -> np.ndarray:
        nearest = np.clip(np.rint((s - positions[0]) / spacing), 0, positions.size - 1).astype(np.int64)
        sigma = sigma_of(v)
        light = np.zeros(np.broadcast_shapes(np.shape(s), np.shape(sigma)))
        for neighbour in (-1, 0, 1) if positions.size > 1 else (0,):  # a second neighbour is over 4 sigma away
            index = nearest + neighbour
            t = (s - positions[np.clip(index, 0, positions.size - 1)]) / sigma
            there = (index >= 0) & (index < positions.size)
            passed = transmissions[np.clip(index, 0, positions.size - 1)] * there
            light += passed * np.exp(-0.5 * t * t)
        return light / (np.sqrt(2.0 * np.pi) * sigma)

    return profile


def render_order(
    image: np.ndarray,
    geometry: OrderGeometry,
    spectrum: Callable[[np.ndarray], np.ndarray],
    profile: Profile,
    rows: slice | None = None,
) -> None:
    """Add one order's light to an image.

    Parameters
    ----------
    image : ndarray (along, across) float64 [e-]
        Changed in place; the dispersion axis comes first.
    geometry : OrderGeometry
    spectrum : callable
        v [px] -> e-/px per unit of profile.
    profile : callable
        (v [px], s [arcsec]) -> 1/arcsec (a point) or the transmission of the slit (a surface).
    rows : slice or None
        Part of the dispersion axis to render.
    """
    rows = rows or slice(0, geometry.v.shape[0])
    v, s, va, vc, sa, sc = (
        a[rows]
        for a in (geometry.v, geometry.s, geometry.v_along, geometry.v_across, geometry.s_along, geometry.s_across)
    )
    total = np.zeros_like(v)
    for da, wa in zip(*_NODES[4], strict=True):
        for db, wb in zip(*_NODES[3], strict=True):
            vq = v + (0.5 * da) * va + (0.5 * db) * vc
            sq = s + (0.5 * da) * sa + (0.5 * db) * sc
            total += (0.25 * wa * wb) * spectrum(vq) * profile(vq, sq)
    total *= geometry.jacobian[rows]
    columns = geometry.first_across[rows, None] + np.arange(v.shape[1])[None, :]
    row_index = np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], columns.shape)
    inside = (columns >= 0) & (columns < image.shape[1])
    image[row_index[inside], columns[inside]] += total[inside]
