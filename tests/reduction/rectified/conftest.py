"""Frames whose wavelength and slit position are simple functions of the pixel, known at every corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.reduction.rectified.rectify import RectifiedGrid, rectify_orders

GRID = RectifiedGrid(0.06, 0.33)
SHAPE = (84, 400)


@dataclass(frozen=True)
class Optics:
    """Orders that lie tilted and curved on the detector, wavelength along x."""

    orders: tuple[int, ...] = (3, 4)

    def place(self, order, x, y):
        """(nm, arcsec) at detector coordinates."""
        across = y - 24.0 - 34.0 * (order - 3) - 0.06 * (x - 200.0) - 2.0e-4 * (x - 200.0) ** 2
        slit = across / (3.0 + 0.0008 * (x - 200.0))
        along = x - 0.25 * across
        wavelength = 900.0 - 17.0 * (order - 3) + 0.055 * along + 1.0e-5 * (along - 200.0) ** 2
        return wavelength, slit

    def maps(self, *, half_length, corners):
        extra = 1 if corners else 0
        y, x = np.mgrid[: SHAPE[0] + extra, : SHAPE[1] + extra] - 0.5 * extra
        wavelength, slit = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        number = np.zeros(x.shape, np.int16)
        for order in self.orders:
            nm, arcsec = self.place(order, x, y)
            inside = np.abs(arcsec) < half_length
            wavelength[inside], slit[inside], number[inside] = nm[inside], arcsec[inside], order
        return PixelMaps(wavelength, slit, number)

    def pixel_values(self, density, steps=4):
        """Light in each pixel: mean of density(order, nm, arcsec) over it, times its size in nm arcsec."""
        image = np.zeros(SHAPE)
        maps = self.maps(half_length=4.6, corners=False)
        for order in self.orders:
            own = maps.order == order
            y, x = np.nonzero(own)
            for dy in (np.arange(steps) + 0.5) / steps - 0.5:
                for dx in (np.arange(steps) + 0.5) / steps - 0.5:
                    nm, arcsec = self.place(order, x + dx, y + dy)
                    a, b = (self.place(order, x + dx + e, y + dy) for e in (-1e-3, 1e-3))
                    c, d = (self.place(order, x + dx, y + dy + e) for e in (-1e-3, 1e-3))
                    size = np.abs((b[0] - a[0]) * (d[1] - c[1]) - (d[0] - c[0]) * (b[1] - a[1])) / 4e-6
                    image[own] += density(order, nm, arcsec) * size / steps**2
        return image


@pytest.fixture(scope="session")
def optics():
    return Optics()


@pytest.fixture(scope="session")
def straighten(optics):
    """Lay (data, variance, quality) straight."""
    maps = optics.maps(half_length=4.6, corners=False)
    corners = optics.maps(half_length=5.2, corners=True)

    def run(data, variance=1.0, quality=None, **options):
        quality = np.zeros(SHAPE, np.int32) if quality is None else quality
        variance = np.broadcast_to(np.asarray(variance, np.float32), SHAPE)
        frame = Frame(np.asarray(data, np.float32), variance, quality)
        return rectify_orders(frame, maps, corners, GRID, bands={3: "a"}, **options)

    run.inside = maps.order
    return run
