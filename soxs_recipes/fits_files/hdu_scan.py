"""Where header and data of each HDU lie in the bytes of a FITS file, found before anything is allocated."""

from __future__ import annotations

import logging
import math
import re
import warnings
from dataclasses import dataclass

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from soxs_recipes.errors import UnprocessableData
from soxs_recipes.fits_files.checksums import ones_complement_sum

__all__ = [
    "BLOCK",
    "HduSpan",
    "cards_that_begin",
    "clean_header",
    "header_end",
    "scan_hdus",
    "stated",
    "verify_checksums",
]

BLOCK = 2880
_CARD = 80
_SENSELESS = (VerifyError, ValueError, TypeError, IndexError)  # what astropy raises at cards that make no sense
_HEADER_BLOCKS_MAX = 2000
_ASCII_ONLY = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))
# First letters of the cards that say how the data lie and what they add up to.
_STRUCTURE = re.compile(
    rb"(?:SIMPLE|XTENSION|Z?BITPIX|Z?NAXIS\d*|PCOUNT|GCOUNT|BSCALE|BZERO|BLANK|GROUPS|ZIMAGE|DATASUM|CHECKSUM) *="
)
# Cards of which astropy is known to make sense, as instruments write them: to let it try takes ten times as long.
_PLAIN_CARD = re.compile(
    rb"(?:(?=[A-Z0-9_ -]{8}= )[A-Z][A-Z0-9_-]* *= |HIERARCH ESO(?: [A-Z0-9_-]+)+ *= )"
    rb" *(?:'[ -&(-~]*'|[TF]|[+-]?[0-9]{1,18}(?:\.[0-9]*)?(?:E[+-]?[0-9]{1,2})?) *(?:/[ -~]*)?"
    rb"|(?:COMMENT |HISTORY )[ -~]*| *"
)
_LEGAL_BITPIX = (8, 16, 32, 64, -32, -64)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HduSpan:
    """Byte ranges of one HDU: header [start, data), data with padding [data, end).

    `header` holds what tells of structure and checksums alone; its cards are read when asked, which may fail for
    odd ones: see `stated`. `clean_header` reads the whole.
    """

    header: fits.Header
    start: int
    data: int
    end: int


def header_end(content: bytes | memoryview, start: int = 0) -> int:
    """Offset just behind the header block that holds END, -1 when there is none in `content`."""
    for block in range(start, min(len(content), start + BLOCK * _HEADER_BLOCKS_MAX), BLOCK):
        piece = bytes(content[block : block + BLOCK])
        position = piece.find(b"END" + b" " * 5)
        while position >= 0:
            if position % _CARD == 0:
                return block + BLOCK
            position = piece.find(b"END" + b" " * 5, position + 1)
    return -1


def _lazy_header(raw: bytes) -> fits.Header:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fits.Header.fromstring(raw.translate(_ASCII_ONLY).decode("ascii"))


def cards_that_begin(raw: bytes, pattern: re.Pattern[bytes]) -> fits.Header:
    """The cards of a header whose first characters match: a few of hundreds take a small part of the time."""
    cards = (raw[start : start + _CARD] for start in range(0, len(raw), _CARD))
    return _lazy_header(b"".join(card for card in cards if pattern.match(card)))


def stated(header: fits.Header, key: str, default: object = None) -> object:
    """Value of a card; `default` when it is missing or makes no sense."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return header.get(key, default)
        except _SENSELESS:
            return default


def clean_header(raw: bytes) -> fits.Header:
    """A header in which every card can be read: bytes outside ASCII become `?`, cards without sense go.

    What was dropped is logged as a warning.
    """
    header = _lazy_header(raw)
    plain = _plain_cards(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept, dropped = [], []
        for number, card in enumerate(header.cards):
            try:
                if len(plain) != len(header) or not plain[number]:
                    _ = card.keyword, card.value, card.comment
                kept.append(card)
            except _SENSELESS:
                dropped.append(_begin_of(card, number))
        if not dropped:
            return header
        _log.warning("dropped %d unreadable header cards, the first: %s", len(dropped), dropped[0])
        return fits.Header(kept)


def _begin_of(card: fits.Card, number: int) -> str:
    """What a card begins with; its number when astropy cannot put it together again."""
    try:
        return card.image[:30].strip()
    except _SENSELESS:
        return f"card {number + 1}"


def _plain_cards(raw: bytes) -> list[bool]:
    """Whether each card of a header is plain; one that is continued never is."""
    plain: list[bool] = []
    for start in range(0, len(raw), _CARD):
        card = raw[start : start + _CARD]
        if card.startswith(b"CONTINUE") and plain:
            plain[-1] = False
        elif card.rstrip() == b"END":
            break
        else:
            plain.append(_PLAIN_CARD.fullmatch(card) is not None)
    return plain


def scan_hdus(content: bytes | memoryview, name: str, cap: int) -> list[HduSpan]:
    """All HDUs of `content`, with sizes proved against its length.

    Parameters
    ----------
    content : bytes or memoryview
    name : str
        For messages.
    cap : int
        An HDU that declares more data bytes than this is refused.

    Raises
    ------
    UnprocessableData
        Not FITS, END missing, illegal BITPIX or NAXIS, or data that the header declares and the file lacks.
    """
    if content[:6] != b"SIMPLE":
        cause = "is empty" if not content else "does not begin as FITS"
        raise UnprocessableData(f"{name}: {cause}; get the file again")
    spans, start = [], 0
    while start < len(content) and (not spans or content[start : start + 8] == b"XTENSION"):
        behind = header_end(content, start)
        if behind < 0:
            raise UnprocessableData(
                f"{name}: header of HDU {len(spans)} has no END (truncated); get the file again"
            )
        header = cards_that_begin(bytes(content[start:behind]), _STRUCTURE)
        size = _declared_size(header, name, len(spans), cap)
        missing = behind + size - len(content)
        if missing > 0:
            raise UnprocessableData(
                f"{name}: truncated, HDU {len(spans)} lacks {missing} of its {size} data bytes; get the file again"
            )
        end = behind + -(-size // BLOCK) * BLOCK
        if end > len(content):
            _log.warning("%s: padding after HDU %d is incomplete; all its data are there", name, len(spans))
        spans.append(HduSpan(header, start, behind, min(end, len(content))))
        start = end
    return spans


def _declared_size(header: fits.Header, name: str, index: int, cap: int) -> int:
    bitpix = stated(header, "BITPIX")
    dimensions = stated(header, "NAXIS")
    if bitpix not in _LEGAL_BITPIX:
        raise UnprocessableData(f"{name}: HDU {index} has illegal BITPIX = {bitpix!r}")
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 0 <= dimensions <= 999:
        raise UnprocessableData(f"{name}: HDU {index} has illegal NAXIS = {dimensions!r}")
    lengths = [stated(header, f"NAXIS{axis}") for axis in range(1, dimensions + 1)]
    if any(isinstance(length, bool) or not isinstance(length, int) or length < 0 for length in lengths):
        raise UnprocessableData(f"{name}: HDU {index} has illegal axis lengths {lengths}")
    if not lengths:
        return 0
    elements = math.prod(lengths)
    parameters, groups = stated(header, "PCOUNT", 0), stated(header, "GCOUNT", 1)
    if not all(isinstance(count, int) and count >= 0 for count in (parameters, groups)):
        raise UnprocessableData(f"{name}: HDU {index} has illegal PCOUNT or GCOUNT")
    size = abs(bitpix) // 8 * groups * (elements + parameters)
    if size > cap:
        raise UnprocessableData(
            f"{name}: HDU {index} declares {size} bytes (axes {lengths}), beyond the {cap} that are read"
        )
    return size


def verify_checksums(content: bytes, span: HduSpan, name: str) -> None:
    """Compare DATASUM and CHECKSUM with what is there; without them nothing is proved.

    Raises
    ------
    UnprocessableData
        The data are not those that were written.
    """
    view = memoryview(content)
    if (span.end - span.data) % 4:
        return
    datasum = ones_complement_sum(view[span.data : span.end])
    declared = str(stated(span.header, "DATASUM", "")).strip()
    if declared.isdigit() and int(declared) != datasum:
        raise UnprocessableData(f"{name}: DATASUM is {datasum}, the header says {declared}: the data are damaged")
    if not str(stated(span.header, "CHECKSUM", "")).strip():
        if not declared.isdigit():
            _log.info("%s: carries no checksum; its data are unverified", name)
        return
    if ones_complement_sum(view[span.start : span.data], datasum) in (0, 0xFFFFFFFF):
        return
    if not declared.isdigit():
        raise UnprocessableData(f"{name}: CHECKSUM does not agree with the file: header or data are damaged")
    _log.warning("%s: header was changed after its CHECKSUM; the data are as written", name)
