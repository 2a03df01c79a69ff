"""Writing that leaves either the whole file or nothing: checksums first, temporary file, fsync, rename."""

from __future__ import annotations

import copy
import errno
import io
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.hdu_scan import (
    HduSpan,
    data_md5,
    encoded_checksum,
    ones_complement_sum,
    scan_hdus,
)

__all__ = ["TEMPORARY_PREFIX", "write_bytes_atomic", "write_product", "write_text_atomic"]

# A file whose name begins so was left by a process that died; it may be deleted.
TEMPORARY_PREFIX = ".soxs-writing-"

_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "permission denied; choose another output folder",
    errno.EFBIG: "the file is too large for the file system",
    errno.EPERM: "permission denied; choose another output folder",
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is not a folder",
    errno.EISDIR: "a folder of this name is in the way",
    errno.ENAMETOOLONG: "the name is too long",
}
_COMMENTARY = ("COMMENT", "HISTORY", "")
_RESERVED = ("DATAMD5", "CHECKSUM", "DATASUM")


def write_product(
    path: str | os.PathLike, hdus: Sequence[fits.hdu.base._BaseHDU], header: fits.Header | None = None
) -> Path:
    """Write HDUs as one FITS file, with DATAMD5, CHECKSUM and DATASUM, atomically.

    Parameters
    ----------
    path : path-like
    hdus : sequence of HDU
        When the first is no PrimaryHDU, an empty one is put before it. Not changed.
    header : Header or None
        Cards to add to the primary header (those that describe the data's structure are left out).

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        The file cannot be written (disk full, read-only, no folder); nothing is left behind.
    """
    return write_bytes_atomic(path, product_bytes(hdus, header))


def product_bytes(hdus: Sequence[fits.hdu.base._BaseHDU], header: fits.Header | None = None) -> memoryview:
    """The bytes of a product, signed."""
    listed = [_signable(hdu) for hdu in hdus]
    if not listed or not isinstance(listed[0], fits.PrimaryHDU):
        listed.insert(0, _signable(fits.PrimaryHDU()))
    primary = listed[0].header
    if header is not None:
        addition = header.copy(strip=True)
        for key in _RESERVED:
            addition.remove(key, ignore_missing=True, remove_all=True)
        # Cards go before comments that end the header; to look for their place costs time.
        primary.extend(addition, update=True, end=primary.cards[-1].keyword not in _COMMENTARY)
    primary["DATAMD5"] = ("0" * 32, "MD5 checksum")
    for hdu in listed:
        _announce_long_strings(hdu.header)
    stream = io.BytesIO()
    fits.HDUList(listed).writeto(stream, output_verify="silentfix")
    content = stream.getbuffer()
    spans = scan_hdus(content, "product", 1 << 40)
    _patch(content, spans[0], "DATAMD5", data_md5(content, spans))
    for span in spans:
        datasum = ones_complement_sum(content[span.data : span.end])
        _patch(content, span, "DATASUM", str(datasum))
        total = ones_complement_sum(content[span.start : span.data], datasum)
        _patch(content, span, "CHECKSUM", encoded_checksum(total))
    return content


def _signable(hdu: fits.hdu.base._BaseHDU) -> fits.hdu.base._BaseHDU:
    """A shallow copy with room for the checksums; data are shared, the caller's header is not touched."""
    double = copy.copy(hdu)
    double.header = hdu.header.copy()
    for key in _RESERVED:
        double.header.remove(key, ignore_missing=True, remove_all=True)
    double.header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    double.header["DATASUM"] = ("0", "data unit checksum")
    return double


def _announce_long_strings(header: fits.Header) -> None:
    """LONGSTRN where CONTINUE cards will stand, as their convention wants it and fitsverify checks."""
    if "LONGSTRN" not in header and any(len(card.image) > fits.Card.length for card in header.cards):
        header["LONGSTRN"] = ("OGIP 1.0", "The OGIP long string convention is used")


def _patch(content: memoryview, span: HduSpan, key: str, value: str) -> None:
    """Replace the card of `key`, which the header is known to hold."""
    for offset in range(span.start, span.data, 80):
        if bytes(content[offset : offset + 9]).decode("ascii") == f"{key:<8}=":
            card = fits.Card(key, value, span.header.comments[key])
            content[offset : offset + 80] = card.image.encode("ascii")
            return
    raise KeyError(key)


def write_text_atomic(path: str | os.PathLike, text: str) -> Path:
    """Write UTF-8 text, whole or not at all; InputError as `write_product`."""
    return write_bytes_atomic(path, text.encode("utf-8"))


def write_bytes_atomic(path: str | os.PathLike, content: bytes | memoryview) -> Path:
    """Write bytes, whole or not at all; InputError as `write_product`."""
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        try:
            _write_durably(temporary, content)
            temporary.replace(path)
        except BaseException:
            _remove_quietly(temporary)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        cause = _CAUSES.get(error.errno, error.strerror or str(error))
        raise InputError(f"{path}: cannot be written, {cause}") from error
    return path


def _write_durably(path: Path, content: bytes | memoryview) -> None:
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The disk that refused the file may refuse this too; the name says that it may go.
        return


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename itself has happened.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
