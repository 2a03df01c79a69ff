"""Order tables as FITS: a row an order, Legendre coefficients as vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = ["order_table_hdus", "read_order_table"]

_CURVES = ("centre", "lower", "upper")


def order_table_hdus(table: OrderTable) -> list[fits.hdu.base._BaseHDU]:
    """Everything of an order table, float64 to the bit."""
    traces = table.traces
    columns = {
        "ORDER": np.array([trace.order for trace in traces], dtype=np.int16),
        "ALONG_MIN": np.array([trace.along_domain[0] for trace in traces], dtype=np.float64),
        "ALONG_MAX": np.array([trace.along_domain[1] for trace in traces], dtype=np.float64),
        "RESIDUAL": np.array([trace.residual for trace in traces], dtype=np.float64),
    }
    units = {"ALONG_MIN": "pixel", "ALONG_MAX": "pixel", "RESIDUAL": "pixel"}
    comments = {
        "ALONG_MIN": "what -1 means along the dispersion axis",
        "ALONG_MAX": "what +1 means along the dispersion axis",
        "RESIDUAL": "rms of the measured centres",
    }
    for curve in _CURVES:
        listed = [getattr(trace, curve) for trace in traces]
        counts = [0 if values is None else len(values) for values in listed]
        matrix = np.zeros((len(traces), max([*counts, 1])))
        for row, values in enumerate(listed):
            matrix[row, : counts[row]] = values if values is not None else ()
        columns[curve.upper()] = matrix
        columns[f"N_{curve.upper()}"] = np.array(counts, dtype=np.int16)
        units[curve.upper()] = "pixel"
        comments[curve.upper()] = "Legendre coefficients across the dispersion"
        comments[f"N_{curve.upper()}"] = "how many are used, 0 when unknown"
    hdu = table_hdu("ORDERS", columns, units, comments)
    primary = fits.PrimaryHDU()
    for header in (primary.header, hdu.header):
        header["DISPAXIS"] = (table.dispersion_axis, "numpy axis along which wavelength runs")
        header["BINY"] = (table.binning[0], "binning along axis 2 of the pixels counted")
        header["BINX"] = (table.binning[1], "binning along axis 1 of the pixels counted")
    return [primary, hdu]


def read_order_table(path: str | Path) -> OrderTable:
    """Read what `order_table_hdus` made."""
    with open_product(path) as hdus:
        hdu = find_extension(hdus, "ORDERS", path)
        columns, header = columns_of(hdu), hdu.header
        axis, binning = int(header["DISPAXIS"]), (int(header["BINY"]), int(header["BINX"]))
    traces = tuple(_trace(columns, row) for row in range(len(columns["ORDER"])))
    return OrderTable(traces, axis, binning)


def _trace(columns: dict[str, np.ndarray], row: int) -> OrderTrace:
    curves = {}
    for curve in _CURVES:
        count = int(columns[f"N_{curve.upper()}"][row])
        values = np.atleast_1d(columns[curve.upper()][row])[:count].copy()
        curves[curve] = values if count else None
    return OrderTrace(
        order=int(columns["ORDER"][row]),
        along_domain=(float(columns["ALONG_MIN"][row]), float(columns["ALONG_MAX"][row])),
        residual=float(columns["RESIDUAL"][row]),
        **curves,
    )
