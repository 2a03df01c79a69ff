"""Pixel maps as FITS: WAVELENGTH in the primary HDU, then SLIT and ORDER."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import find_extension

__all__ = ["pixel_maps_hdus", "read_pixel_maps"]


def pixel_maps_hdus(maps: PixelMaps) -> list[fits.hdu.base._BaseHDU]:
    """WAVELENGTH [nm, vacuum], SLIT [arcsec] (NaN outside orders), ORDER (0 outside)."""
    primary = fits.PrimaryHDU(np.asarray(maps.wavelength, dtype=np.float64))
    primary.header["EXTNAME"] = ("WAVELENGTH", "vacuum wavelength of each pixel centre")
    primary.header["BUNIT"] = "nm"
    slit = fits.ImageHDU(np.asarray(maps.slit, dtype=np.float64), name="SLIT")
    slit.header["BUNIT"] = ("arcsec", "0 at mid-slit")
    order = fits.ImageHDU(np.asarray(maps.order, dtype=np.int16), name="ORDER")
    return [primary, slit, order]


def read_pixel_maps(path: str | Path) -> PixelMaps:
    """Read what `pixel_maps_hdus` made."""
    with open_product(path) as hdus:
        return PixelMaps(
            np.ascontiguousarray(find_extension(hdus, "WAVELENGTH", path).data).astype(np.float64),
            np.ascontiguousarray(find_extension(hdus, "SLIT", path).data).astype(np.float64),
            np.ascontiguousarray(find_extension(hdus, "ORDER", path).data).astype(np.int16),
        )
