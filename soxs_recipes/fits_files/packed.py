"""Binary tables as their bytes: made and read at once, where astropy takes milliseconds and copies for every one.

Such an HDU is an ordinary one of astropy's, which makes its `data` when they are asked for, and has the attribute
`packed_rows`: the bytes of its rows with the padding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from astropy.io import fits

from soxs_recipes.fits_files.hdu_scan import BLOCK

__all__ = ["FORMATS", "pack_table", "packed_table", "plain_columns"]

FORMATS = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "u1": "B", "b1": "L"}
_KINDS = {code: kind for kind, code in FORMATS.items()} | {"L": "S1"}
_PLAIN_FORMAT = re.compile(r"\s*(\d*)([A-Z])\s*", re.ASCII)
_SPECIAL = re.compile(r"(?:TSCAL|TZERO|TDIM|THEAP|TNULL)\d*")
_TRUE, _FALSE = b"T", b"F"


def pack_table(
    name: str, columns: Mapping[str, np.ndarray], units: Mapping[str, str], comments: Mapping[str, str]
) -> fits.BinTableHDU:
    """A table of columns (n,) or (n, k) of one length: numbers, booleans or bytes; see `tables.table_hdu`."""
    formats = {key: _format(values) for key, values in columns.items()}
    stored = [
        np.where(values, _TRUE, _FALSE) if values.dtype.kind == "b" else values for values in columns.values()
    ]
    fields = [
        (f"c{number}", values.dtype.newbyteorder(">"), values.shape[1:]) for number, values in enumerate(stored)
    ]
    rows = np.empty(len(stored[0]) if stored else 0, np.dtype(fields))
    for (field, *_), values in zip(fields, stored, strict=True):
        rows[field] = values
    cards = [
        _card("XTENSION", "BINTABLE", "binary table extension"),
        _card("BITPIX", 8, "array data type"),
        _card("NAXIS", 2, "number of array dimensions"),
        _card("NAXIS1", rows.dtype.itemsize, "length of dimension 1"),
        _card("NAXIS2", len(rows), "length of dimension 2"),
        _card("PCOUNT", 0, "number of group parameters"),
        _card("GCOUNT", 1, "number of groups"),
        _card("TFIELDS", len(columns), "number of table fields"),
    ]
    for number, (key, code) in enumerate(formats.items(), start=1):
        cards += [_card(f"TTYPE{number}", key, comments.get(key, "")), _card(f"TFORM{number}", code, "")]
        if units.get(key):
            cards.append(_card(f"TUNIT{number}", units[key], ""))
    cards.append(_card("EXTNAME", name, "extension name"))
    header = ("".join(cards) + "END").encode("ascii")
    header = header.ljust(-(-len(header) // BLOCK) * BLOCK)
    return packed_table(header + rows.tobytes() + bytes(-rows.nbytes % BLOCK), len(header))


def _format(values: np.ndarray) -> str:
    if values.dtype.kind == "S":
        return f"{max(values.dtype.itemsize, 1)}A"
    code = FORMATS[f"{values.dtype.kind}{values.dtype.itemsize}"]
    return f"{values.shape[1]}{code}" if values.ndim == 2 else code


@lru_cache(maxsize=2048)
def _card(keyword: str, value: str | int, comment: str) -> str:
    """Text of a card: tables of a product, and of all products of a kind, have most of them in common."""
    return fits.Card(keyword, value, comment).image


def packed_table(content: bytes, header_size: int) -> fits.BinTableHDU:
    """The table whose header and data `content` is (its header takes so many bytes)."""
    hdu = fits.BinTableHDU.fromstring(content)
    hdu.packed_rows = memoryview(content)[header_size:]
    return hdu


def plain_columns(hdu: fits.BinTableHDU) -> dict[str, np.ndarray] | None:
    """Columns by name in this machine's order, text as bytes; None when astropy has to tell what they mean.

    That is so where numbers are scaled, columns are cubes or have rows of varying length, and where somebody has
    had `data` in hand.
    """
    rows, header = getattr(hdu, "packed_rows", None), hdu.header
    if rows is None or "data" in vars(hdu) or any(_SPECIAL.fullmatch(key) for key in header):
        return None
    fields: list[tuple] = []
    numbers = range(1, header["TFIELDS"] + 1)
    for number in numbers:
        found = _PLAIN_FORMAT.fullmatch(str(header[f"TFORM{number}"]))
        if found is None or (found[2] != "A" and found[2] not in _KINDS) or found[1] == "0":
            return None
        count = int(found[1] or 1)
        if found[2] == "A":
            fields.append((f"c{number}", f"S{count}"))
        else:
            fields.append((f"c{number}", f">{_KINDS[found[2]]}", (count,) if count > 1 else ()))
    kind = np.dtype(fields)
    if kind.itemsize != header["NAXIS1"]:
        return None
    table = np.frombuffer(rows, kind, header["NAXIS2"])
    names = [str(header.get(f"TTYPE{number}", f"col{number}")).strip() for number in numbers]
    if len(set(names)) < len(names):
        return None
    return {
        name: _native(table[f"c{number}"], header[f"TFORM{number}"])
        for name, number in zip(names, numbers, strict=True)
    }


def _native(values: np.ndarray, code: str) -> np.ndarray:
    if "L" in code:
        return values == _TRUE
    return values.astype(values.dtype.newbyteorder("="))
