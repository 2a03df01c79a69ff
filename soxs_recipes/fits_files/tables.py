"""Binary tables with a unit and a sentence on every column."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.reading import open_product

__all__ = ["columns_of", "extension_names", "find_extension", "read_table", "table_hdu"]

_CARD_ROOM, _LEAST_VALUE = 67, 20  # of a card: for value and comment, and what a value takes at least
_FORMATS = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "u1": "B", "b1": "L"}


def table_hdu(
    name: str,
    columns: Mapping[str, np.ndarray],
    units: Mapping[str, str] | None = None,
    comments: Mapping[str, str] | None = None,
    header: fits.Header | None = None,
) -> fits.BinTableHDU:
    """A binary table.

    Parameters
    ----------
    name : str
        EXTNAME.
    columns : mapping
        Name -> array (n,) or (n, k), all of one length; numbers, booleans or ASCII text.
    units : mapping
        Name -> FITS unit; a column that is not named has no unit.
    comments : mapping
        Name -> sentence, written behind TTYPEn.
    header : Header or None
        Further cards.
    """
    units, comments = units or {}, comments or {}
    unknown = (set(units) | set(comments)) - set(columns)
    if unknown:
        raise ValueError(f"table {name} has no columns {sorted(unknown)}")
    listed = [_column(key, np.asarray(values), units.get(key, "")) for key, values in columns.items()]
    hdu = fits.BinTableHDU.from_columns(listed, name=name)
    for number, key in enumerate(columns, start=1):
        if key in comments:
            room = _CARD_ROOM - max(len(key) + 2, _LEAST_VALUE)
            hdu.header.comments[f"TTYPE{number}"] = textwrap.shorten(comments[key], room, placeholder="")
    if header is not None:
        hdu.header.extend(header, update=True)
    return hdu


def _column(key: str, values: np.ndarray, unit: str) -> fits.Column:
    if values.dtype.kind == "U":
        values = np.char.encode(values, "ascii", "replace")
    if values.dtype.kind == "S":
        code = f"{max(values.dtype.itemsize, 1)}A"
    else:
        if values.dtype.kind == "u" and values.dtype.itemsize > 1:
            values = values.astype(np.int64)
        code = _FORMATS[f"{values.dtype.kind}{values.dtype.itemsize}"]
        if values.ndim == 2:
            code = f"{values.shape[1]}{code}"
    return fits.Column(name=key, format=code, unit=unit or None, array=values)


def columns_of(hdu: fits.BinTableHDU) -> dict[str, np.ndarray]:
    """Columns of a table as native arrays; text is decoded and stripped."""
    columns = {}
    for key in hdu.columns.names:
        values = np.asarray(hdu.data[key])
        if values.dtype.kind == "S":
            values = np.char.decode(values, "ascii", "replace")
        if values.dtype.kind == "U":
            columns[key] = np.char.rstrip(values)
        else:
            columns[key] = values.astype(values.dtype.newbyteorder("="))
    return columns


def find_extension(hdus: fits.HDUList, name: str, path: Path | str) -> fits.hdu.base._BaseHDU:
    """The HDU called `name`; InputError names the file and what it holds instead."""
    if name in hdus:
        return hdus[name]
    held = ", ".join(hdu.name or "(no name)" for hdu in hdus)
    raise InputError(f"{path}: has no extension {name}; it holds {held}")


def extension_names(path: str | Path) -> tuple[str, ...]:
    """EXTNAME of every extension of a file."""
    with open_product(path) as hdus:
        return tuple(hdu.name for hdu in hdus[1:])


def read_table(path: str | Path, name: str | int) -> dict[str, np.ndarray]:
    """Columns of the table called `name` (or of HDU number `name`)."""
    with open_product(path) as hdus:
        hdu = find_extension(hdus, name, path) if isinstance(name, str) else hdus[name]
        return columns_of(hdu)
