"""Responses as FITS: one table, a row a sample; an archive has the curves of each night behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.response import Response
from soxs_recipes.data.response_archive import ResponseArchive
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = ["read_response", "read_response_archive", "response_archive_hdus", "response_hdus"]

_UNIT = "erg cm-2 Angstrom-1 electron-1 nm"


def response_hdus(response: Response, arm: Response | None = None) -> list[fits.hdu.base._BaseHDU]:
    """An empty primary HDU and the table RESPONSE, float64 to the bit; ARM with all orders together."""
    hdus = [fits.PrimaryHDU(), _table("RESPONSE", response)]
    return hdus if arm is None else [*hdus, _table("ARM", arm)]


def _table(name: str, response: Response) -> fits.BinTableHDU:
    columns = {
        "WAVE": np.asarray(response.wavelength, dtype=np.float64),
        "RESPONSE": np.asarray(response.response, dtype=np.float64),
        "ERR": np.asarray(response.error, dtype=np.float64),
        "EFFICIENCY": np.asarray(response.efficiency, dtype=np.float64),
        "QUAL": np.asarray(response.quality, dtype=np.int32),
        "ORDER": np.asarray(response.order, dtype=np.int16),
    }
    comments = {
        "WAVE": "vacuum wavelength",
        "RESPONSE": "flux above the air per e-/s/nm, no extinction",
        "ERR": "1 sigma of RESPONSE",
        "EFFICIENCY": "photons detected over photons on the mirror",
        "ORDER": "0 for the orders of the arm together",
    }
    return table_hdu(name, columns, {"WAVE": "nm", "RESPONSE": _UNIT, "ERR": _UNIT}, comments)


def read_response(path: str | Path) -> Response:
    """Read what `response_hdus` made."""
    with open_product(path) as hdus:
        columns = columns_of(find_extension(hdus, "RESPONSE", path))
    return Response(
        order=columns["ORDER"],
        wavelength=columns["WAVE"],
        response=columns["RESPONSE"],
        error=columns["ERR"],
        efficiency=columns["EFFICIENCY"],
        quality=columns["QUAL"],
    )


def response_archive_hdus(archive: ResponseArchive, median: Response) -> list[fits.hdu.base._BaseHDU]:
    """The median as `response_hdus` writes it, the CURVES with a row a night, and their SAMPLES."""
    curves = {
        "MJD": np.asarray(archive.mjd, dtype=np.float64),
        "STAR": np.array(archive.stars, dtype="S24"),
        "RESPONSE": np.asarray(archive.curves, dtype=np.float64),
        "ERR": np.asarray(archive.errors, dtype=np.float64),
    }
    samples = {
        "WAVE": np.asarray(archive.wavelength, dtype=np.float64),
        "PHOTONS": np.asarray(archive.photons, dtype=np.float64),
        "QUAL": np.asarray(archive.quality, dtype=np.int32),
        "ORDER": np.asarray(archive.order, dtype=np.int16),
    }
    comments = {"MJD": "of the standard's exposures", "RESPONSE": "at the wavelengths of SAMPLES"}
    return [
        *response_hdus(median),
        table_hdu("CURVES", curves, {"MJD": "d", "RESPONSE": _UNIT, "ERR": _UNIT}, comments),
        table_hdu("SAMPLES", samples, {"WAVE": "nm"}, {"PHOTONS": "EFFICIENCY times RESPONSE"}),
    ]


def read_response_archive(path: str | Path) -> ResponseArchive:
    """Read what `response_archive_hdus` made; a response by itself is an archive of one curve."""
    with open_product(path) as hdus:
        if "CURVES" not in hdus:
            header = hdus[0].header
            return _single(read_response(path), header)
        curves = columns_of(find_extension(hdus, "CURVES", path))
        samples = columns_of(find_extension(hdus, "SAMPLES", path))
    return ResponseArchive(
        order=samples["ORDER"],
        wavelength=samples["WAVE"],
        photons=samples["PHOTONS"],
        quality=samples["QUAL"],
        curves=curves["RESPONSE"].reshape(curves["MJD"].size, -1),
        errors=curves["ERR"].reshape(curves["MJD"].size, -1),
        mjd=curves["MJD"],
        stars=tuple(str(star) for star in curves["STAR"]),
    )


def _single(response: Response, header: fits.Header) -> ResponseArchive:
    mjd = header.get("MJD-OBS", 0.0)
    return ResponseArchive(
        response.order,
        response.wavelength,
        response.efficiency * response.response,
        response.quality,
        response.response[None, :],
        response.error[None, :],
        np.array([float(mjd) if isinstance(mjd, int | float) else 0.0]),
        (str(header.get("ESO QC STD NAME", "")),),
    )
