"""Writing that leaves either the whole file or nothing: checksums first, temporary file, fsync, rename."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.signed import write_signed

__all__ = ["TEMPORARY_PREFIX", "refusals_told", "write_bytes_atomic", "write_product", "write_text_atomic"]

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
    return _write_atomic(path, lambda stream: write_signed(stream, hdus, header))


def write_text_atomic(path: str | os.PathLike, text: str) -> Path:
    """Write UTF-8 text, whole or not at all; InputError as `write_product`."""
    return write_bytes_atomic(path, text.encode("utf-8"))


def write_bytes_atomic(path: str | os.PathLike, content: bytes | memoryview) -> Path:
    """Write bytes, whole or not at all; InputError as `write_product`."""
    return _write_atomic(path, lambda stream: stream.write(content))


def _write_atomic(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> Path:
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    with refusals_told(path):
        try:
            with temporary.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            _remove_quietly(temporary)
            raise
        _sync_folder(path.parent)
    return path


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """What the system says when it does not write becomes an InputError: `path`, the cause, a way out."""
    try:
        yield
    except OSError as error:
        # numpy tells of a write that ended early no more than its lengths.
        number = errno.ENOSPC if error.errno is None and "requested" in str(error) else error.errno
        cause = _CAUSES.get(number, error.strerror or str(error))
        raise InputError(f"{path}: cannot be written, {cause}") from error


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
