"""Linearity curves as FITS: one table, a row an amplifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.linearity import LinearityCurve
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = ["linearity_hdu", "read_linearity"]


def linearity_hdu(curves: Sequence[LinearityCurve]) -> fits.BinTableHDU:
    """Table LINEARITY: true signal = y (1 + c1 u + c2 u^2 + ...), u = y / REFERENCE, in ADU."""
    columns = {
        "AMPLIFIER": np.arange(1, len(curves) + 1, dtype=np.int16),
        "X_FIRST": np.array([curve.columns[0] for curve in curves], np.int32),
        "X_END": np.array([curve.columns[1] for curve in curves], np.int32),
        "REFERENCE": np.array([curve.reference for curve in curves], np.float64),
        "COEFFICIENTS": np.array([curve.coefficients for curve in curves], np.float64),
        "LIMIT": np.array([curve.limit for curve in curves], np.float64),
    }
    comments = {
        "X_FIRST": "first column, from 0, trimmed and unbinned",
        "X_END": "column after the last",
        "COEFFICIENTS": "c1, c2, ...",
        "LIMIT": "signal up to which the curve was measured",
    }
    return table_hdu("LINEARITY", columns, {"REFERENCE": "adu", "LIMIT": "adu"}, comments)


def read_linearity(path: str | Path) -> tuple[LinearityCurve, ...]:
    """Read what `linearity_hdu` made."""
    with open_product(path) as hdus:
        rows = columns_of(find_extension(hdus, "LINEARITY", path))
    coefficients = rows["COEFFICIENTS"].reshape(rows["LIMIT"].size, -1)
    return tuple(
        LinearityCurve((int(first), int(end)), float(reference), tuple(float(c) for c in terms), float(limit))
        for first, end, reference, terms, limit in zip(
            rows["X_FIRST"], rows["X_END"], rows["REFERENCE"], coefficients, rows["LIMIT"], strict=True
        )
    )
