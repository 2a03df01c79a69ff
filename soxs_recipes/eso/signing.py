"""DATAMD5 of FITS files and the signing of products, as CPL does it."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Md5", "data_md5", "known_md5s", "remember_md5s", "set_pipefile", "sign_product"]

# Path, time [ns] and size of a file, and the MD5 of its data then.
Md5 = tuple[str, int, int, str]

_BLOCK = 2880
_CHUNK = 1 << 20
_KEPT = 4096
_NUMBER = re.compile(rb"^(NAXIS\d*|BITPIX|PCOUNT|GCOUNT)\s*=\s*(-?\d+)", re.ASCII)


def data_md5(path: str | os.PathLike) -> str:
    """MD5 over the bytes of all data units of a FITS file, padding included, headers not.

    A gzipped file is unpacked; a file that cannot be followed as FITS (another compression, truncated) gets
    the MD5 of its bytes as they are. Kept for files that did not change.
    """
    state = _state(path)
    if state not in _known:
        remember_md5s([(*state, _computed_md5(state[0]))])
    return _known[state]


_known: dict[tuple[str, int, int], str] = {}


def remember_md5s(sums: Iterable[Md5]) -> None:
    """Take what another process has found: it is not looked for again while the file stays as it was."""
    if len(_known) >= _KEPT:
        _known.clear()
    _known.update((tuple(state), md5) for *state, md5 in sums)


def known_md5s(paths: Iterable[str | os.PathLike]) -> list[Md5]:
    """What is known of these files, of each that is there: for `remember_md5s`."""
    states = [_state(path) for path in paths if Path(path).is_file()]
    return [(*state, _known[state]) for state in states if state in _known]


def _state(path: str | os.PathLike) -> tuple[str, int, int]:
    status = Path(path).stat()
    return str(path), status.st_mtime_ns, status.st_size


def _computed_md5(path: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with Path(path).open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    opener = gzip.open if packed else open
    try:
        with opener(path, "rb") as stream:
            while (length := _data_length(stream)) is not None:
                _digest_bytes(stream, length, digest)
    except (OSError, EOFError, ValueError):
        return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    return digest.hexdigest()


def _data_length(stream: io.BufferedIOBase) -> int | None:
    """Read one header; bytes of its data unit with padding, None at the end of the file."""
    numbers: dict[bytes, int] = {}
    while True:
        block = stream.read(_BLOCK)
        if not block and not numbers:
            return None
        if len(block) < _BLOCK:
            raise ValueError("truncated header")
        if not numbers and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            return None  # special records behind the last HDU
        for start in range(0, _BLOCK, 80):
            card = block[start : start + 80]
            match = _NUMBER.match(card)
            if match:
                numbers[match.group(1).strip()] = int(match.group(2))
            if card.startswith(b"END" + b" " * 5):
                return _padded_size(numbers)


def _padded_size(numbers: dict[bytes, int]) -> int:
    axes = numbers.get(b"NAXIS", 0)
    if not axes:
        return 0
    elements = math.prod(numbers[b"NAXIS%d" % axis] for axis in range(1, axes + 1))
    size = abs(numbers[b"BITPIX"]) // 8 * numbers.get(b"GCOUNT", 1) * (elements + numbers.get(b"PCOUNT", 0))
    return -(-size // _BLOCK) * _BLOCK


def _digest_bytes(stream: io.BufferedIOBase, length: int, digest) -> None:
    while length:
        piece = stream.read(min(length, _CHUNK))
        if not piece:
            raise ValueError("truncated data")
        digest.update(piece)
        length -= len(piece)


def set_pipefile(path: Path) -> None:
    """Write PIPEFILE, the file's own name, into its primary header."""
    _rewritten(path, {"PIPEFILE": (path.name, "Filename of data product")}, checksum=False)


def sign_product(path: Path, *, md5: bool = True, checksum: bool = True) -> None:
    """Write PIPEFILE, DATAMD5 and the checksums of every HDU into a product."""
    cards = {"PIPEFILE": (path.name, "Filename of data product")}
    if md5:
        cards["DATAMD5"] = (data_md5(path), "MD5 checksum")
    _rewritten(path, cards, checksum=checksum)


def _rewritten(path: Path, cards: dict[str, tuple[str, str]], *, checksum: bool) -> None:
    from astropy.io import fits

    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with fits.open(path, memmap=False) as hdus:
            hdus[0].header.update(cards)
            hdus.writeto(temporary, checksum=checksum)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
