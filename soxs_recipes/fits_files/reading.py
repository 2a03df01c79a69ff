"""Reading raw frames and products: bounded, verified, with the file and the cause in every error."""

from __future__ import annotations

import io
import logging
import math
import os
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.fits_files.compression import file_bytes
from soxs_recipes.fits_files.hdu_scan import (
    BLOCK,
    HduSpan,
    cards_that_begin,
    clean_header,
    header_end,
    scan_hdus,
    stated,
    verify_checksums,
)
from soxs_recipes.fits_files.packed import packed_table

__all__ = [
    "EXPECTED_FRAME_BYTES",
    "RawFrame",
    "open_mapped",
    "open_product",
    "primary_values",
    "read_header",
    "read_raw",
]

# The largest raw frame is 2048 x 2048 pixels of 4 bytes; four times that holds any honest file.
EXPECTED_FRAME_BYTES = 2048 * 2048 * 4
_CAP_FACTOR = 4
_PRODUCT_CAP = 1 << 31
_HEADER_STEP = 16 * BLOCK
_HEADER_CAP = 2000 * BLOCK
_STRUCTURAL = frozenset(
    ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "EXTEND", "BSCALE",
     "BZERO", "BLANK", "EXTNAME", "EXTVER", "CHECKSUM", "DATASUM", "TFIELDS", "INHERIT", "COMMENT", "HISTORY")
)  # fmt: skip
_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as the instrument wrote it.

    Attributes
    ----------
    path : Path
    header : astropy Header
        Every card can be read; primary cards stand in for what an image extension lacks.
    data : ndarray (ny, nx) float32 [ADU]
        Blank pixels are NaN.
    """

    path: Path
    header: fits.Header
    data: np.ndarray


def read_raw(path: str | os.PathLike, expected_bytes: int = EXPECTED_FRAME_BYTES) -> RawFrame:
    """Read a raw frame: .fits, .fits.gz, .fits.Z, .fits.fz, or any of these under another name.

    Parameters
    ----------
    path : path-like
    expected_bytes : int
        Size of an uncompressed frame; content beyond four times this is refused.

    Raises
    ------
    InputError
        The file is not there or may not be read.
    UnprocessableData
        Truncated, damaged (CHECKSUM and DATASUM are verified when present), no 2-D image, or a bomb.
    """
    path = Path(path)
    cap = _CAP_FACTOR * expected_bytes
    content = file_bytes(path, cap)
    spans = scan_hdus(content, str(path), cap)
    for index, span in enumerate(spans):
        if _is_image(span.header):
            verify_checksums(content, span, str(path))
            data = _image(content, span, path, index, cap)
            own = clean_header(content[span.start : span.data])
            primary = clean_header(content[: spans[0].data]) if index else own
            return RawFrame(path, _merged_header(primary, own, index), data)
    raise UnprocessableData(f"{path}: holds no 2-D image in its {len(spans)} HDUs")


def read_header(path: str | os.PathLike) -> fits.Header:
    """The header of a frame, without its data: quick, for classification.

    An empty primary HDU is completed by the first extension. Odd cards are dropped with a warning, axes of a
    tile-compressed image are those of the image.

    Raises
    ------
    InputError
        The file is not there or may not be read.
    UnprocessableData
        Not FITS, or no END.
    """
    path = Path(path)
    content, primary_end = _header_bytes(path, 0)
    primary = clean_header(content[:primary_end])
    if primary.get("NAXIS") != 0:
        return primary
    content, extension_end = _header_bytes(path, primary_end, content)
    if extension_end < 0:
        return primary
    return _merged_header(primary, clean_header(content[primary_end:extension_end]), 1)


def primary_values(path: str | os.PathLike, keywords: Collection[str]) -> dict[str, object]:
    """Values of a few cards of a product's primary header, those that it has: much quicker than `read_header`.

    Raises
    ------
    InputError, UnprocessableData
        As `read_header`.
    """
    content, end = _header_bytes(Path(path), 0)
    begins = (f"HIERARCH {key} *=" if " " in key else f"{key:<8}=" for key in keywords)
    header = cards_that_begin(content[:end], re.compile("|".join(begins).encode("ascii")))
    values = {key: stated(header, key) for key in keywords}
    return {key: value for key, value in values.items() if value is not None}


def _header_bytes(path: Path, start: int, content: bytes = b"") -> tuple[bytes, int]:
    """Enough of the file to hold the header that begins at `start`, and where it ends (-1: no extension)."""
    wanted = max(len(content), start + _HEADER_STEP)
    while True:
        previous = len(content)
        if wanted > previous:
            content = file_bytes(path, _HEADER_CAP, first=wanted)
        if start == 0 and not content.startswith(b"SIMPLE"):
            cause = "is empty" if not content else "does not begin as FITS"
            raise UnprocessableData(f"{path}: {cause}; get the file again")
        if start and not content.startswith(b"XTENSION", start):
            return content, -1
        end = header_end(content, start)
        if end >= 0:
            return content, end
        if len(content) < wanted or wanted >= start + _HEADER_CAP:
            raise UnprocessableData(f"{path}: header has no END (truncated); get the file again")
        wanted = min(wanted * 4, start + _HEADER_CAP)


def _is_image(header: fits.Header) -> bool:
    if _is_compressed(header):
        return stated(header, "ZNAXIS") == 2
    return str(stated(header, "XTENSION", "IMAGE")).strip() == "IMAGE" and stated(header, "NAXIS") == 2


def _is_compressed(header: fits.Header) -> bool:
    return stated(header, "ZIMAGE") is True and str(stated(header, "XTENSION", "")).strip() == "BINTABLE"


def _image(content: bytes, span: HduSpan, path: Path, index: int, cap: int) -> np.ndarray:
    if _is_compressed(span.header):
        return _compressed_image(content, span, path, index, cap)
    header = span.header
    data = np.frombuffer(content, dtype=_DTYPES[header["BITPIX"]], count=header["NAXIS1"] * header["NAXIS2"],
                         offset=span.data)  # fmt: skip
    blank = (
        data == stated(header, "BLANK") if header["BITPIX"] > 0 and stated(header, "BLANK") is not None else None
    )
    scale, zero = _scaling(header, path)
    if header["BITPIX"] == 16 and scale == 1.0 and zero == np.rint(zero) and abs(zero) < 1 << 20:
        data = data.astype(np.float32)  # whole numbers that single precision holds
        data += np.float32(zero)
    elif (scale, zero) == (1.0, 0.0):
        data = data.astype(np.float32)
    else:
        data = (data * scale + zero).astype(np.float32)
    if blank is not None:
        data[blank] = np.nan
    return data.reshape(header["NAXIS2"], header["NAXIS1"])


def _scaling(header: fits.Header, path: Path) -> tuple[float, float]:
    try:
        scale, zero = float(stated(header, "BSCALE", 1.0)), float(stated(header, "BZERO", 0.0))
    except (TypeError, ValueError):
        scale = zero = math.nan
    if not (math.isfinite(scale) and math.isfinite(zero)):
        raise UnprocessableData(f"{path}: BSCALE or BZERO is not a number")
    return scale, zero


def _compressed_image(content: bytes, span: HduSpan, path: Path, index: int, cap: int) -> np.ndarray:
    lengths = [stated(span.header, key) for key in ("ZNAXIS1", "ZNAXIS2")]
    if not all(isinstance(length, int) and length > 0 for length in lengths) or 4 * math.prod(lengths) > cap:
        raise UnprocessableData(f"{path}: compressed image with axes {lengths}; not read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                return np.ascontiguousarray(hdus[index].data, dtype=np.float32)
    # The decompressors raise whatever their C code meets.
    except Exception as error:
        raise UnprocessableData(f"{path}: corrupt tile-compressed image ({error}); get the file again") from error


def _merged_header(primary: fits.Header, image: fits.Header, index: int) -> fits.Header:
    """The image's header with the primary's cards for what it lacks."""
    if index == 0:
        return primary
    header = _restored_header(image) if _is_compressed(image) else image.copy()
    for card in primary.cards:
        if card.keyword and card.keyword not in _STRUCTURAL and card.keyword not in header:
            header.append(card, end=True)
    return header


def _restored_header(image: fits.Header) -> fits.Header:
    """Header of a tile-compressed image as it was before compression."""
    table_words = ("ZTILE", "ZNAME", "ZVAL", "TTYPE", "TFORM", "TUNIT", "ZNAXIS")
    own = {"ZIMAGE", "ZCMPTYPE", "ZQUANTIZ", "ZDITHER0", "ZBITPIX", "ZSIMPLE", "ZEXTEND", "ZTENSION",
           "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM", "TFIELDS", "PCOUNT", "GCOUNT", "XTENSION"}  # fmt: skip
    kept = [c for c in image.cards if c.keyword not in own and not c.keyword.startswith(table_words)]
    header = fits.Header(kept)
    for target, source in (
        ("BITPIX", "ZBITPIX"),
        ("NAXIS", "ZNAXIS"),
        ("NAXIS1", "ZNAXIS1"),
        ("NAXIS2", "ZNAXIS2"),
    ):
        if source in image:
            header[target] = image[source]
    return header


def open_product(path: str | os.PathLike) -> fits.HDUList:
    """All HDUs of a product, in memory, checksums verified when present.

    Raises
    ------
    InputError
        The file is not there or may not be read.
    UnprocessableData
        Truncated or damaged.
    """
    path = Path(path)
    content = file_bytes(path, _PRODUCT_CAP)
    spans = scan_hdus(content, str(path), _PRODUCT_CAP)
    for span in spans:
        verify_checksums(content, span, str(path))
    hdus = [_plain_hdu(content, span) for span in spans]
    if any(hdu is None for hdu in hdus):
        return fits.open(io.BytesIO(content), memmap=False)
    return fits.HDUList(hdus)


def _plain_hdu(content: bytes, span: HduSpan) -> fits.hdu.base._BaseHDU | None:
    """An HDU whose pixels are those of `content` itself, which astropy would copy; None for what needs more."""
    own, kind = span.header, str(stated(span.header, "XTENSION", "")).strip()
    if (span.end - span.data) % BLOCK or _is_compressed(own):
        return None
    if kind == "BINTABLE":
        return packed_table(content[span.start : span.end], span.data - span.start)
    if any(key in own for key in ("BSCALE", "BZERO", "BLANK", "GROUPS")):
        return None
    if not span.start:
        return fits.PrimaryHDU.fromstring(content)
    if kind != "IMAGE":
        return None
    lengths = [own[f"NAXIS{axis}"] for axis in range(own["NAXIS"], 0, -1)]
    data = None
    if lengths and math.prod(lengths):
        data = np.frombuffer(content, _DTYPES[own["BITPIX"]], math.prod(lengths), span.data).reshape(lengths)
    return fits.ImageHDU(data, fits.Header.fromstring(content[span.start : span.data]))


def open_mapped(path: str | os.PathLike) -> fits.HDUList:
    """All HDUs of a product without a look at its checksums; pixels are read when they are used.

    Raises
    ------
    InputError
        The file is not there or may not be read.
    UnprocessableData
        Not FITS.
    """
    try:
        return fits.open(path, memmap=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UnprocessableData(f"{path}: cannot be read as FITS ({error})") from error
