"""Write a static table: units on every column, sources and their hashes in the header, checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

FOLDER = Path(__file__).resolve().parent.parent
# Not a date: the same sources give the same bytes.
_CHECKSUM_NOTE = "as built"


def column(name: str, values: object, unit: str = "") -> fits.Column:
    """A table column, big-endian format chosen from the dtype."""
    values = np.asarray(values)
    if values.dtype.kind in "US":
        return fits.Column(name, f"{max(values.dtype.itemsize // 4, 1)}A", array=values)
    code = {"f8": "D", "f4": "E", "i2": "I", "i4": "J", "b1": "L", "u1": "B"}[values.dtype.str[1:]]
    if values.ndim > 1:
        code = f"{int(np.prod(values.shape[1:]))}{code}"
    return fits.Column(name, code, unit=unit or None, array=values)


def table(
    extension: str, columns: Sequence[fits.Column], comments: Mapping[str, str] | None = None
) -> fits.BinTableHDU:
    """A binary table; `comments` maps column names to one line each."""
    hdu = fits.BinTableHDU.from_columns(list(columns), name=extension)
    for i, name in enumerate(hdu.columns.names, start=1):
        if comments and name in comments:
            hdu.header.comments[f"TTYPE{i}"] = comments[name][:47]
    return hdu


def write(
    tag: str,
    hdus: Sequence[fits.hdu.base.ExtensionHDU],
    sources: Mapping[str, str],
    history: Sequence[str],
    arm: str = "",
    folder: Path = FOLDER,
    primary: fits.PrimaryHDU | None = None,
) -> Path:
    """Write `<tag>.fits` with its history and the hashes of what it was made from."""
    primary = fits.PrimaryHDU() if primary is None else primary
    header = primary.header
    header["ORIGIN"] = ("soxs-recipes", "built by static_calib/scripts")
    header["INSTRUME"] = "SOXS"
    header["HIERARCH ESO PRO CATG"] = tag
    if arm:
        header["HIERARCH ESO SEQ ARM"] = arm
    for line in history:
        header["HISTORY"] = line
    for label, digest in sources.items():
        header["HISTORY"] = f"source: {label}"
        header["HISTORY"] = f"sha256: {digest}"
    output = fits.HDUList([primary, *hdus])
    for hdu in output:
        hdu.add_checksum(when=_CHECKSUM_NOTE, override_datasum=False)
    path = folder / f"{tag}.fits"
    output.writeto(path, overwrite=True)
    return path
