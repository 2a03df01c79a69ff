"""The checksums of the FITS standard: 32-bit ones' complement sums, and the text that makes an HDU add up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["PIECE_BYTES", "encoded_checksum", "ones_complement_sum", "words_sum", "wrapped"]

# What is handled at a time: it stays in the processor's cache from one step to the next.
PIECE_BYTES = 1 << 18


def ones_complement_sum(content: bytes | memoryview, total: int = 0) -> int:
    """32-bit ones' complement sum of `content` (length a multiple of 4), as FITS checksums use it."""
    words = np.frombuffer(content, dtype=">u4")
    length = PIECE_BYTES // 4
    # Brought into this machine's order first: numpy sums numbers of the other order ten times slower.
    room = np.empty(min(length, words.size), np.uint32)
    for start in range(0, words.size, length):
        piece = words[start : start + length]
        room[: piece.size] = piece
        total += words_sum(room[: piece.size])
    return wrapped(total)


def words_sum(words: np.ndarray) -> int:
    """Sum of words (n,) uint32 of this machine's order; 2^32 of them fit before it overflows."""
    return int(words.sum(dtype=np.uint64))


def wrapped(total: int) -> int:
    """A sum of words with what went beyond 32 bits added at the other end."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encoded_checksum(total: int) -> str:
    """CHECKSUM string that makes an HDU of sum `total` (computed with sixteen "0") add up to all ones.

    FITS standard 4.0, appendix J (Seaman, Pence & Rots).
    """
    value = 0xFFFFFFFF ^ total
    columns = [_character_quartet((value >> shift) & 0xFF) for shift in (24, 16, 8, 0)]
    text = "".join(chr(columns[byte][place]) for place in range(4) for byte in range(4))
    # The value field begins with a quote, which moves the string by one byte against the 32-bit words.
    return text[-1] + text[:-1]


def _character_quartet(byte: int) -> list[int]:
    quotient, remainder = divmod(byte, 4)
    quartet = [quotient + remainder + 48, quotient + 48, quotient + 48, quotient + 48]
    forbidden = set(range(58, 65)) | set(range(91, 97))
    while forbidden & set(quartet):
        for first, second in _pairs():
            if quartet[first] in forbidden or quartet[second] in forbidden:
                quartet[first] += 1
                quartet[second] -= 1
    return quartet


def _pairs() -> Iterator[tuple[int, int]]:
    yield 0, 1
    yield 2, 3
