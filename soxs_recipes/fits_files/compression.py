"""Bytes of a file that may be compressed, never more of them than asked for."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import zlib
from pathlib import Path

from soxs_recipes.errors import InputError, UnprocessableData

__all__ = ["file_bytes", "unpack_lzw"]

_GZIP_MAGIC = b"\x1f\x8b"
_LZW_MAGIC = b"\x1f\x9d"
_BLOCK_MODE = 0x80
_CLEAR_CODE = 256


def file_bytes(path: Path, cap: int, first: int | None = None) -> bytes:
    """Content of `path`, uncompressed (gzip and LZW are known by their first bytes, not by name).

    Parameters
    ----------
    path : Path
    cap : int
        Content beyond this many bytes is refused.
    first : int or None
        Only this many bytes are wanted; then `cap` does not apply.

    Raises
    ------
    InputError
        The file is not there, not a file, or may not be read.
    UnprocessableData
        Compressed data are corrupt or expand beyond `cap`.
    """
    # A FIFO would block for ever on open, hence the question first.
    if not path.is_file():
        raise InputError(f"{path}: {'not a regular file' if path.exists() else 'there is no such file'}")
    try:
        with path.open("rb") as stream:
            magic = stream.read(3)
            stream.seek(0)
            if magic[:2] == _GZIP_MAGIC:
                return _unpack_gzip(path, stream, cap, first)
            if magic[:2] == _LZW_MAGIC:
                return _unpack_lzw_file(path, magic, cap, first)
            # Room is made for all that is asked for: no more than there is.
            content = stream.read(first if first is not None else min(cap, os.fstat(stream.fileno()).st_size) + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return _within_cap(path, content, cap, first)


def _within_cap(path: Path, content: bytes, cap: int, first: int | None) -> bytes:
    if first is not None:
        return content[:first]
    if len(content) > cap:
        raise UnprocessableData(f"{path}: holds more than {cap} bytes, far beyond a frame; not read")
    return content


def _unpack_gzip(path: Path, stream, cap: int, first: int | None) -> bytes:
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            content = unpacked.read(cap + 1 if first is None else first)
    except EOFError as error:
        raise UnprocessableData(f"{path}: truncated gzip data; get the file again") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UnprocessableData(f"{path}: corrupt gzip data ({error}); get the file again") from error
    return _within_cap(path, content, cap, first)


def _unpack_lzw_file(path: Path, magic: bytes, cap: int, first: int | None) -> bytes:
    if len(magic) < 3 or not 9 <= magic[2] & 0x1F <= 16:
        raise UnprocessableData(f"{path}: LZW data with an illegal code width; not read")
    wanted = cap + 1 if first is None else first
    program = shutil.which("gzip")
    if program is None:
        try:
            content = unpack_lzw(path.read_bytes(), wanted)
        except ValueError as error:
            raise UnprocessableData(f"{path}: {error}; get the file again") from error
        return _within_cap(path, content, cap, first)
    # gzip unpacks LZW ten times faster than Python can; an argument list, so names are never interpreted.
    with (
        path.open("rb") as packed,
        subprocess.Popen(  # noqa: S603
            [program, "-dc"], stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process,
    ):
        content = process.stdout.read(wanted)
        complete = len(content) < wanted
        if not complete:
            process.kill()
    if complete and process.returncode != 0:
        raise UnprocessableData(f"{path}: corrupt LZW data; get the file again")
    return _within_cap(path, content, cap, first)


def unpack_lzw(packed: bytes, wanted: int) -> bytes:
    """The first `wanted` bytes of what Unix `compress` packed (Welch 1984, IEEE Computer 17(6), 8).

    Raises
    ------
    ValueError
        The data are not LZW data or are corrupt.
    """
    if packed[:2] != _LZW_MAGIC or len(packed) < 3 or not 9 <= packed[2] & 0x1F <= 16:
        raise ValueError("not LZW data")
    max_bits, block_mode = packed[2] & 0x1F, bool(packed[2] & _BLOCK_MODE)
    first_free = _CLEAR_CODE + 1 if block_mode else _CLEAR_CODE
    words = [bytes([value]) for value in range(256)] + [b""] * (first_free - 256)
    output, total, previous, bits = [], 0, b"", 9
    position, group_start, limit = 24, 24, len(packed) * 8
    while position + bits <= limit and total < wanted:
        start = position >> 3
        code = (int.from_bytes(packed[start : start + 4], "little") >> (position & 7)) & ((1 << bits) - 1)
        position += bits
        if block_mode and code == _CLEAR_CODE:
            del words[first_free:]
            previous = b""
            position, bits = _next_group(position, group_start, bits), 9
            group_start = position
            continue
        if code < len(words):
            word = words[code]
        elif code == len(words) and previous:
            word = previous + previous[:1]
        else:
            raise ValueError("corrupt LZW data")
        if previous and len(words) < 1 << max_bits:
            words.append(previous + word[:1])
        output.append(word)
        total += len(word)
        previous = word
        if len(words) == 1 << bits and bits < max_bits:
            # Codes come in groups of eight of one width; the rest of a group is skipped when the width grows.
            position, bits = _next_group(position, group_start, bits), bits + 1
            group_start = position
    return b"".join(output)[:wanted]


def _next_group(position: int, group_start: int, bits: int) -> int:
    width = 8 * bits
    return group_start + -(-(position - group_start) // width) * width
