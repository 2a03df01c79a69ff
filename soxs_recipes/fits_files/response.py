"""Responses as FITS: one table, a row a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.response import Response
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = ["read_response", "response_hdus"]

_UNIT = "erg cm-2 Angstrom-1 electron-1 nm"


def response_hdus(response: Response) -> list[fits.hdu.base._BaseHDU]:
    """An empty primary HDU and the table RESPONSE, float64 to the bit."""
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
        "RESPONSE": "flux above the atmosphere per e-/s/nm, extinction apart",
        "ERR": "1 sigma of RESPONSE",
        "EFFICIENCY": "photons detected over photons on the mirror",
        "ORDER": "0 for the merged arm",
    }
    return [
        fits.PrimaryHDU(),
        table_hdu("RESPONSE", columns, {"WAVE": "nm", "RESPONSE": _UNIT, "ERR": _UNIT}, comments),
    ]


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
