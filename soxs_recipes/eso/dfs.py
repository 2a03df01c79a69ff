"""The header of a product by ESO's DFS rules, as `cpl_dfs_setup_product_header` of CPL 7.3.2 makes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soxs_recipes.eso import core, drs_identifier

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["InputFrame", "RecordedParameter", "printable", "product_header", "record_index"]

_INHERITED = (
    "ORIGIN", "TELESCOP", "INSTRUME", "OBJECT", "RA", "DEC", "EPOCH", "EQUINOX", "RADESYS", "DATE-OBS", "MJD-OBS",
    "UTC", "LST", "PI-COI", "OBSERVER", "ARCFILE",
)  # fmt: skip
_DROPPED_GROUPS = ("DPR", "DRS", "PRO", "QC")
_DICB_GROUPS = ("DPR", "OBS", "TPL", "GEN", "TEL", "ADA", "INS", "DET")


@dataclass(frozen=True, slots=True)
class InputFrame:
    """A frame that went into a product.

    Attributes
    ----------
    name : str
        Base name.
    tag : str
    group : str
        "RAW" or "CALIB".
    header : Mapping or None
        Primary header; None for a calibration that is not FITS.
    data_md5 : str
        Known checksum of its data; recorded when not empty and, for a calibration, when its header has none.
    """

    name: str
    tag: str
    group: str
    header: Mapping | None
    data_md5: str = ""


@dataclass(frozen=True, slots=True)
class RecordedParameter:
    """A parameter as PRO REC records it: alias, value, default, help."""

    name: str
    value: bool | int | float | str
    default: bool | int | float | str
    sentence: str


def product_header(
    frames: Sequence[InputFrame],
    *,
    catg: str,
    filename: str,
    recipe: str,
    pipe_id: str,
    parameters: Sequence[RecordedParameter] = (),
    applied: Header | Mapping | None = None,
    inherit: InputFrame | None = None,
    dictionary_id: str = "PRO-1.17",
    remove: str = "",
) -> Header:
    """Primary header of a product.

    Parameters
    ----------
    frames : sequence of InputFrame
        What was used, in order. The first RAW one (else the first CALIB one) is the reference.
    catg : str
        PRO CATG, the product's tag.
    filename : str
        Written as PIPEFILE.
    recipe, pipe_id : str
        `soxs_mbias`, `soxs/1.0.0`.
    parameters : sequence of RecordedParameter
    applied : Header or mapping
        The recipe's own keywords (QC, PRO SCIENCE, EXPTIME, ...); kept over what would be inherited.
    inherit : InputFrame or None
        Replaces the reference for the ESO hierarchy.
    dictionary_id : str
    remove : str
        Keywords that match this pattern are erased at the end.

    Returns
    -------
    Header
        DICB-sorted, ESO keywords as HIERARCH, DATAMD5 "Not computed".

    Raises
    ------
    DataNotFoundError
        There is neither a RAW nor a CALIB frame.
    """
    from astropy.io.fits import Card, Header

    reference = _reference(frames)
    source = inherit if inherit is not None else reference
    # Collected in a dict: adding cards to a Header one by one costs more than some recipes.
    header: dict[str, tuple] = {}
    _merge_primary(header, reference.header)
    _merge_hierarchy(header, source.header)
    for keyword, value, comment in _cards(applied):
        _put(header, keyword, value, comment)
    _put(header, "DATAMD5", "Not computed", "MD5 checksum")
    _put(header, "PIPEFILE", filename, "Filename of data product")
    _put_product_keywords(header, reference, catg, dictionary_id, frames)
    _put_record(header, record_index(source.header), frames, recipe, pipe_id, parameters)
    cards = [Card(keyword, value, comment) for keyword, (value, comment) in header.items()]
    if remove:
        cards = [card for card in cards if not re.search(remove, card.keyword)]
    return Header(sorted(cards, key=_dicb_rank))


def record_index(reference: Mapping | None) -> int:
    """Index i of the next free PRO RECi of a header."""
    indices = [
        int(match.group(1))
        for match in (re.match(r"ESO PRO REC(\d+) ", _plain(keyword)) for keyword in reference or ())
        if match
    ]
    return max(indices, default=0) + 1


def _plain(keyword: str) -> str:
    return keyword.upper().removeprefix("HIERARCH ")


def printable(text: str) -> str:
    """Text with `?` for what a FITS card cannot hold."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if 32 <= ord(character) < 127 else "?" for character in text)


def _stored(keyword: str) -> str:
    keyword = _plain(keyword)
    return f"HIERARCH {keyword}" if keyword.startswith("ESO ") else keyword


def _put(header: dict[str, tuple], keyword: str, value, comment: str = "") -> None:
    stored = _stored(keyword)
    if isinstance(value, str):
        value = printable(value)
        if stored.startswith("HIERARCH"):
            # Such a card has no room for long text and cannot be continued.
            value = _cut(value, 80 - len(stored) - len(" = ''"))
    header[stored] = (value, _fitting_comment(stored, value, printable(comment)))


def _cut(value: str, room: int) -> str:
    """`value` no longer than `room`, each quote counted twice."""
    while len(value) + value.count("'") > room:
        value = value[:-1]
    return value


def _fitting_comment(keyword: str, value, comment: str) -> str:
    """What of `comment` fits behind the value; nothing when only a stump would."""
    is_text = isinstance(value, str)
    if value == "":
        # Readers take '' / ' for the beginning of a longer text.
        comment = comment.replace("'", "")
    # Numbers may be written with a longer exponent than Python's.
    length = len(value) + value.count("'") + 2 if is_text else len(str(value)) + 3 * isinstance(value, float)
    if keyword.startswith("HIERARCH"):
        # astropy pads the value of a short keyword as FITS asks for standard ones.
        least = 20 if len(keyword) <= len("HIERARCH ") + 8 else 10 if is_text else 1
        used = len(keyword) + len(" = ") + max(length, least)
    else:
        used = 10 + max(length, 20)
    room = 80 - used - len(" / ")
    return comment[:room].rstrip() if room > 4 else ""


def _cards(applied: Header | Mapping | None) -> list[tuple[str, object, str]]:
    if applied is None:
        return []
    if hasattr(applied, "cards"):
        return [(card.keyword, card.value, card.comment) for card in applied.cards]
    return [(key, *(value if isinstance(value, tuple) else (value, ""))) for key, value in applied.items()]


def _reference(frames: Sequence[InputFrame]) -> InputFrame:
    for group in ("RAW", "CALIB"):
        for frame in frames:
            if frame.group == group and frame.header is not None:
                return frame
    raise core.DataNotFoundError("Empty set-of-frames")


def _comment(header: Mapping, keyword: str) -> str:
    comments = getattr(header, "comments", None)
    return comments[keyword] if comments is not None else ""


def _merge_primary(header: dict[str, tuple], reference: Mapping) -> None:
    for keyword in _INHERITED:
        source = "RADECSYS" if keyword == "RADESYS" and "RADESYS" not in reference else keyword
        if source in reference and _has_value(reference[source]):
            _put(header, keyword, reference[source], _comment(reference, source))


def _has_value(value) -> bool:
    return value is not None and type(value).__name__ != "Undefined"


def _merge_hierarchy(header: dict[str, tuple], source: Mapping) -> None:
    for keyword in list(source):
        plain = _plain(keyword)
        if not plain.startswith("ESO ") or not _has_value(source[keyword]):
            continue
        group = plain.split()[1]
        if group in _DROPPED_GROUPS and not plain.startswith("ESO PRO REC"):
            continue
        _put(header, plain, source[keyword], _comment(source, keyword))


def _value(reference: Mapping, keyword: str):
    for spelling in (keyword, f"HIERARCH {keyword}"):
        if spelling in reference and _has_value(reference[spelling]):
            return reference[spelling]
    return None


def _put_default(header: dict[str, tuple], keyword: str, value, comment: str) -> None:
    if _stored(keyword) not in header:
        _put(header, keyword, value, comment)


def _put_product_keywords(header, reference, catg: str, dictionary_id: str, frames) -> None:
    source = reference.header
    ancestor = _value(source, "ESO PRO ANCESTOR") or _value(source, "ARCFILE")
    if ancestor is not None:
        _put_default(header, "ESO PRO ANCESTOR", ancestor, "Frame of origin")
    _put(header, "ESO PRO DID", dictionary_id, "Data dictionary for PRO")
    _put(header, "ESO PRO CATG", catg, "Category of pipeline product frame")
    _put_default(header, "ESO PRO TYPE", "REDUCED", "Product type")
    technique = _value(source, "ESO DPR TECH") or "UNDEFINED"
    _put_default(header, "ESO PRO TECH", technique, "Observation technique")
    science = str(_value(source, "ESO DPR CATG") or "").strip() == "SCIENCE"
    _put_default(header, "ESO PRO SCIENCE", science, "Scientific product if T")
    raws = sum(frame.group == "RAW" for frame in frames)
    _put_default(header, "ESO PRO DATANCOM", raws, "Number of combined frames")


def _put_record(header, index: int, frames, recipe: str, pipe_id: str, parameters) -> None:
    prefix = f"ESO PRO REC{index}"
    _put(header, f"{prefix} ID", recipe, "Pipeline recipe (unique) identifier")
    _put(header, f"{prefix} DRS ID", drs_identifier(), "Data Reduction System identifier")
    _put(header, f"{prefix} PIPE ID", pipe_id, "Pipeline (unique) identifier")
    for number, frame in enumerate((frame for frame in frames if frame.group == "RAW"), start=1):
        _put(header, f"{prefix} RAW{number} NAME", frame.name, "File name of raw frame")
        _put(header, f"{prefix} RAW{number} CATG", frame.tag, "Category of raw frame")
        if frame.data_md5:
            _put(header, f"{prefix} RAW{number} DATAMD5", frame.data_md5, "MD5 of its data")
    for number, frame in enumerate((frame for frame in frames if frame.group == "CALIB"), start=1):
        _put(header, f"{prefix} CAL{number} NAME", frame.name, "File name of calibration frame")
        _put(header, f"{prefix} CAL{number} CATG", frame.tag, "Category of calibration frame")
        md5 = None if frame.header is None else _value(frame.header, "DATAMD5")
        md5 = md5 or frame.data_md5
        if md5:
            _put(header, f"{prefix} CAL{number} DATAMD5", md5, "MD5 signature of calib frame")
    for number, parameter in enumerate(parameters, start=1):
        _put(header, f"{prefix} PARAM{number} NAME", parameter.name, parameter.sentence)
        quoted = f"'{parameter.default}'" if isinstance(parameter.default, str) else _text(parameter.default)
        _put(header, f"{prefix} PARAM{number} VALUE", _text(parameter.value), f"Default: {quoted}")


def _text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dicb_rank(card) -> tuple[int, str]:
    """Primary keywords stand first, then the ESO groups: DICB's in their order, others by name."""
    if not card.keyword.startswith("ESO "):
        return -1, ""
    group = card.keyword.split()[1]
    return (_DICB_GROUPS.index(group), "") if group in _DICB_GROUPS else (len(_DICB_GROUPS), group)
