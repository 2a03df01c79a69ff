"""Maps of slit exposures as FITS: FLUX in the primary HDU, ERRS beside it, with celestial coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.slit_map import SlitMap
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = ["read_slit_map", "slit_map_hdus"]


def slit_map_hdus(slit_map: SlitMap) -> list[fits.hdu.base._BaseHDU]:
    """FLUX (primary), ERRS, and the table PLANES that names the planes' orders.

    Axis 1 runs across the slit, axis 2 along it, axis 3 over the orders.
    """
    flux = fits.PrimaryHDU(slit_map.flux.astype(np.float32), _wcs(slit_map))
    flux.header["EXTNAME"] = ("FLUX", "sky-subtracted surface brightness")
    flux.header["BUNIT"] = slit_map.unit
    errors = fits.ImageHDU(slit_map.error.astype(np.float32), _wcs(slit_map), name="ERRS")
    errors.header["BUNIT"] = (slit_map.unit, "1 sigma")
    planes = table_hdu(
        "PLANES", {"ORDER": np.array(slit_map.orders, np.int16), "BAND": np.array(slit_map.bands, dtype=str)}
    )
    return [flux, errors, planes]


def _wcs(slit_map: SlitMap) -> fits.Header:
    angle = np.radians(slit_map.position_angle)
    dx, dy = slit_map.across_step / 3600.0, slit_map.along_step / 3600.0
    cards = [
        ("CTYPE1", "RA---TAN", ""),
        ("CTYPE2", "DEC--TAN", ""),
        ("CTYPE3", "PLANE", "see the table PLANES"),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRVAL1", slit_map.centre[0], "[deg] right ascension"),
        ("CRVAL2", slit_map.centre[1], "[deg] declination"),
        ("CRVAL3", 1.0, ""),
        ("CRPIX1", 1.0 - slit_map.across[0] / slit_map.across_step, ""),
        ("CRPIX2", 1.0 - slit_map.along[0] / slit_map.along_step, ""),
        ("CRPIX3", 1.0, ""),
        ("CD1_1", dx * np.cos(angle), ""),
        ("CD1_2", dy * np.sin(angle), ""),
        ("CD2_1", -dx * np.sin(angle), ""),
        ("CD2_2", dy * np.cos(angle), ""),
        ("CD3_3", 1.0, ""),
        ("RADESYS", "FK5", ""),
        ("EQUINOX", 2000.0, ""),
        ("SLITPA", slit_map.position_angle, "[deg] position angle of the slit"),
    ]
    return fits.Header(
        [(key, float(value) if not isinstance(value, str) else value, text) for key, value, text in cards]
    )


def read_slit_map(path: str | Path) -> SlitMap:
    """Read what `slit_map_hdus` made, a little rounded; InputError when a plane is missing."""
    with open_product(path) as hdus:
        header = hdus[0].header
        error = find_extension(hdus, "ERRS", path).data
        planes = columns_of(find_extension(hdus, "PLANES", path))
        flux = np.asarray(hdus[0].data, dtype=np.float64)
        angle = float(header["SLITPA"])
        steps = [3600.0 * np.hypot(header[f"CD1_{axis}"], header[f"CD2_{axis}"]) for axis in (1, 2)]
        # Axis 3 of the array is axis 1 of the image.
        across, along = (
            steps[axis] * (np.arange(flux.shape[2 - axis]) + 1.0 - header[f"CRPIX{axis + 1}"]) for axis in (0, 1)
        )
        return SlitMap(
            tuple(int(order) for order in planes["ORDER"]),
            tuple(str(band) for band in planes["BAND"]),
            across,
            along,
            flux,
            np.asarray(error, dtype=np.float64),
            (float(header["CRVAL1"]), float(header["CRVAL2"])),
            angle,
            str(header["BUNIT"]),
        )
