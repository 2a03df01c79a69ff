"""Binary tables with a unit and a sentence on every column."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.packed import pack_table, plain_columns
from soxs_recipes.fits_files.reading import open_mapped, open_product

__all__ = ["columns_of", "extension_names", "find_extension", "read_table", "table_hdu"]

_CARD_ROOM, _LEAST_VALUE = 67, 20  # of a card: for value and comment, and what a value takes at least


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
    shortened = {key: _fitting(comment, key) for key, comment in comments.items()}
    hdu = pack_table(
        name, {key: _storable(np.asarray(values)) for key, values in columns.items()}, units, shortened
    )
    if header is not None:
        hdu.header.extend(header, update=True)
    return hdu


@lru_cache(maxsize=1024)
def _fitting(comment: str, key: str) -> str:
    return textwrap.shorten(comment, _CARD_ROOM - max(len(key) + 2, _LEAST_VALUE), placeholder="")


def _storable(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "U":
        return np.char.encode(values, "ascii", "replace")
    return values.astype(np.int64) if values.dtype.kind == "u" and values.dtype.itemsize > 1 else values


def columns_of(hdu: fits.BinTableHDU) -> dict[str, np.ndarray]:
    """Columns of a table as native arrays; text is decoded and stripped."""
    columns = plain_columns(hdu) or {key: np.asarray(hdu.data[key]) for key in hdu.columns.names}
    for key, values in columns.items():
        if values.dtype.kind == "S":
            values = np.char.decode(values, "ascii", "replace")
        if values.dtype.kind == "U":
            columns[key] = np.char.rstrip(values)
        else:
            columns[key] = values.astype(values.dtype.newbyteorder("="), copy=False)
    return columns


def find_extension(hdus: fits.HDUList, name: str, path: Path | str) -> fits.hdu.base._BaseHDU:
    """The HDU called `name`; InputError names the file and what it holds instead."""
    if name in hdus:
        return hdus[name]
    held = ", ".join(hdu.name or "(no name)" for hdu in hdus)
    raise InputError(f"{path}: has no extension {name}; it holds {held}")


def extension_names(path: str | Path) -> tuple[str, ...]:
    """EXTNAME of every extension of a file, whose pixels are not looked at."""
    with open_mapped(path) as hdus:
        return tuple(hdu.name for hdu in hdus[1:])


def read_table(path: str | Path, name: str | int) -> dict[str, np.ndarray]:
    """Columns of the table called `name` (or of HDU number `name`)."""
    with open_product(path) as hdus:
        hdu = find_extension(hdus, name, path) if isinstance(name, str) else hdus[name]
        return columns_of(hdu)
