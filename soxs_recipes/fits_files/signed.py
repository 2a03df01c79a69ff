"""HDUs as the bytes of a file with DATAMD5, CHECKSUM and DATASUM, their pixels looked at once.

Pixels are brought into the file's byte order, summed, hashed and written piece by piece, each while it is in the
processor's cache: there is never a second copy of an image in memory.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from soxs_recipes.fits_files.checksums import (
    PIECE_BYTES,
    encoded_checksum,
    ones_complement_sum,
    words_sum,
    wrapped,
)
from soxs_recipes.fits_files.hdu_scan import BLOCK, scan_hdus

__all__ = ["write_signed"]

_COMMENTARY = ("COMMENT", "HISTORY", "")
_STRUCTURE = (
    "SIMPLE",
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "PCOUNT",
    "GCOUNT",
    "GROUPS",
    "BSCALE",
    "BZERO",
    "TFIELDS",
)
# Cards that are made here, with what stands in them until the data are known.
_RESERVED = {
    "CHECKSUM": ("0" * 16, "HDU checksum"),
    "DATASUM": ("0", "data unit checksum"),
    "DATAMD5": ("0" * 32, "MD5 checksum"),
}


def write_signed(
    stream: BinaryIO, hdus: Sequence[fits.hdu.base._BaseHDU], header: fits.Header | None = None
) -> None:
    """Write HDUs with their checksums into an empty file; see `writing.write_product`."""
    listed = list(hdus)
    if not listed or not isinstance(listed[0], fits.PrimaryHDU):
        listed.insert(0, fits.PrimaryHDU())
    digest = hashlib.md5(usedforsecurity=False)
    written: list[tuple[int, list[str], int]] = []
    for number, hdu in enumerate(listed):
        own, data = _taken_apart(hdu)
        if number:
            listed_cards = list(_signable(own).cards)
        else:
            listed_cards = _primary_cards(own, header, extended=len(listed) > 1)
        cards, start, data_sum = _card_texts(listed_cards), stream.tell(), 0
        stream.write(_header_bytes(cards))
        for piece, piece_sum in _pieces(data):
            data_sum = wrapped(data_sum + piece_sum)
            digest.update(piece)
            stream.write(piece)
        written.append((start, cards, data_sum))
    # What the data add up to is known now: the headers once more.
    for start, cards, data_sum in written:
        stream.seek(start)
        stream.write(_signed_header(cards, data_sum, digest.hexdigest()))
    stream.seek(0, io.SEEK_END)


def _primary_cards(own: fits.Header, addition: fits.Header | None, *, extended: bool) -> list[fits.Card]:
    """Cards of the primary header with those of `addition`, which replace or follow them.

    Those are taken as they are: to put hundreds into a header one by one costs more than to write a spectrum.
    """
    header = _signable(own)
    if extended and "EXTEND" not in header:
        header.set("EXTEND", True, after=f"NAXIS{header['NAXIS'] or ''}")
    further: list[fits.Card] = []
    if addition is not None:
        if any(key in addition for key in _STRUCTURE):
            addition = addition.copy(strip=True)
        # What only says NAXIS1 passes as general.
        left_out = {*_RESERVED, *(key for key in header if key.startswith("NAXIS"))}
        for card in addition.cards:
            if card.keyword in left_out:
                continue
            if card.keyword not in header:
                further.append(card)
            elif card.keyword not in _COMMENTARY:
                header[card.keyword] = (card.value, card.comment)
            elif card.is_blank or card.value not in list(header[card.keyword]):
                further.append(card)
    cards = list(header.cards)
    if cards[-1].keyword in _COMMENTARY:
        # Comments that end the header stay there.
        place = _end_of_values(cards)
        cards[place:place] = [card for card in further if card.keyword not in _COMMENTARY]
        further = [card for card in further if card.keyword in _COMMENTARY]
    cards += further
    cards.insert(_end_of_values(cards), fits.Card("DATAMD5", *_RESERVED["DATAMD5"]))
    return cards


def _end_of_values(cards: Sequence[fits.Card]) -> int:
    """Where comments that end a header begin."""
    place = len(cards)
    while place and cards[place - 1].keyword in _COMMENTARY:
        place -= 1
    return place


def _signable(own: fits.Header) -> fits.Header:
    """A copy with room for the checksums; the caller's header is not touched."""
    header = own.copy()
    for key in _RESERVED:
        header.remove(key, ignore_missing=True, remove_all=True)
    for key in ("CHECKSUM", "DATASUM"):
        header[key] = _RESERVED[key]
    return header


def _card_texts(cards: Sequence[fits.Card]) -> list[str]:
    """Cards of 80 characters, or a multiple where text is continued: LONGSTRN says so, as fitsverify wants it."""
    # A card is checked against the standard each time that its text is asked for but the first.
    texts = [str(card) for card in cards]
    if any(len(text) > fits.Card.length for text in texts) and all(card.keyword != "LONGSTRN" for card in cards):
        announced = fits.Card("LONGSTRN", "OGIP 1.0", "The OGIP long string convention is used")
        texts.insert(_end_of_values(cards), str(announced))
    return texts


def _header_bytes(cards: Sequence[str]) -> bytes:
    text = "".join(cards) + "END".ljust(fits.Card.length)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def _signed_header(cards: list[str], data_sum: int, data_md5: str) -> bytes:
    """The header with its checksums, which replace the cards that kept their places."""
    values = {"DATAMD5": data_md5, "DATASUM": str(data_sum)}
    signed = [
        str(fits.Card(key, values[key], _RESERVED[key][1])) if (key := card[:8].rstrip()) in values else card
        for card in cards
    ]
    total = ones_complement_sum(_header_bytes(signed), data_sum)
    place = next(index for index, card in enumerate(signed) if card.startswith("CHECKSUM="))
    signed[place] = str(fits.Card("CHECKSUM", encoded_checksum(total), _RESERVED["CHECKSUM"][1]))
    return _header_bytes(signed)


def _taken_apart(hdu: fits.hdu.base._BaseHDU) -> tuple[fits.Header, np.ndarray | bytes | memoryview]:
    """Header and data of an HDU: an array that has yet to be brought into the file's byte order, or bytes."""
    rows = getattr(hdu, "packed_rows", None)
    if rows is not None and "data" not in vars(hdu):
        return hdu.header, rows
    if type(hdu) in (fits.PrimaryHDU, fits.ImageHDU):
        data = hdu.data
        if data is None:
            return hdu.header, b""
        if data.dtype.kind == "f" or data.dtype.str[1:] in ("i2", "i4", "i8", "u1"):
            return hdu.header, data
    stream = io.BytesIO()
    fits.HDUList([hdu] if isinstance(hdu, fits.PrimaryHDU) else [fits.PrimaryHDU(), hdu]).writeto(stream)
    content = stream.getbuffer()
    span = scan_hdus(content, "product", 1 << 40)[-1]
    return fits.Header.fromstring(bytes(content[span.start : span.data])), content[span.data : span.end]


def _pieces(data: np.ndarray | bytes | memoryview) -> Iterator[tuple[memoryview | bytes, int]]:
    """The bytes of a data unit in the file's byte order, padded, and what each piece adds up to.

    A piece may be gone when the next is asked for.
    """
    if isinstance(data, np.ndarray):
        yield from _array_pieces(data)
        size = data.nbytes
    else:
        yield data, ones_complement_sum(data)
        size = len(data)
    yield bytes(-size % BLOCK), 0


def _array_pieces(data: np.ndarray) -> Iterator[tuple[memoryview | bytes, int]]:
    flat = np.ascontiguousarray(data).reshape(-1)
    length = PIECE_BYTES // flat.itemsize
    room = np.empty(min(length, flat.size), flat.dtype.newbyteorder(">"))
    in_words = flat.itemsize == 4 and flat.dtype.isnative
    for start in range(0, flat.size, length):
        piece = flat[start : start + length]
        turned = room[: piece.size]
        turned[:] = piece
        content = memoryview(turned.view(np.uint8))
        if in_words:
            # The words of the file are these numbers, which need not be turned back to be added up.
            yield content, words_sum(piece.view(np.uint32))
        else:
            yield content, ones_complement_sum(bytes(content).ljust(-(-len(content) // 4) * 4, b"\0"))
