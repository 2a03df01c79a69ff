"""What a frame is, from its header: a tag, an arm, or the reason why it cannot be used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from soxs_recipes.errors import InputError
from soxs_recipes.instrument.keywords import header_value
from soxs_recipes.instrument.load import load_instrument
from soxs_recipes.instrument.model import Arm, Instrument
from soxs_recipes.instrument.raw_types import (
    ARM_NAMES,
    IMAGER,
    LAMP_WORDS,
    RAW_TYPES,
    UNLIT_TECHNIQUE,
    WAVE_WORDS,
    RawType,
)

__all__ = ["Classification", "arm_of", "classify", "instrument_of"]

_ARMS_BY_NAME = {name: arm for arm, names in ARM_NAMES.items() for name in names}

# Templates speak when DPR keywords are missing: (pattern in TPL ID or TPL NAME, TYPE, TECH, CATG).
_TEMPLATES = (
    ("ARCSMULTIPLEPINHOLE", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "CALIB"),
    ("ARCSPINHOLE", "LAMP,WAVE", "ECHELLE,PINHOLE", "CALIB"),
    ("LAMPFLATPINHOLE", "LAMP,FLAT", "ECHELLE,PINHOLE", "CALIB"),
    ("LAMPFLAT", "LAMP,FLAT", "ECHELLE,SLIT", "CALIB"),
    ("SPECPHOTSTDSTARE", "STD,FLUX", "ECHELLE,SLIT,STARE", "CALIB"),
    ("TELLURICSTDSTARE", "STD,TELLURIC", "ECHELLE,SLIT,STARE", "CALIB"),
    ("OBS_STARE", "OBJECT", "ECHELLE,SLIT,STARE", "SCIENCE"),
    ("BIAS", "BIAS", "IMAGE", "CALIB"),
    ("DARK", "DARK", "IMAGE", "CALIB"),
)  # fmt: skip
_MODES = (("STARE", "STARE"), ("NOD", "NOD"), ("OFFSET", "OFFSET"), ("MAP", "MAP"))
_UNLIT = ("", "OFF", "NONE", "F", "FALSE", "0", "-")


@dataclass(frozen=True, slots=True)
class Classification:
    """What a frame is.

    Attributes
    ----------
    tag : str
        Empty when the frame is unusable.
    arm : str
        Name of the arm or camera; empty when unknown.
    reason : str
        `unusable: <why>` when the tag is empty.
    is_product : bool
    warnings : tuple of str
        What had to be inferred.
    """

    tag: str
    arm: str
    reason: str = ""
    is_product: bool = False
    warnings: tuple[str, ...] = ()


def instrument_of(header: Mapping[str, object]) -> Instrument:
    """The instrument that wrote the header; SOXS when INSTRUME is missing, InputError when it is unknown."""
    name = str(header.get("INSTRUME") or "SOXS").strip()
    return load_instrument(name)


def arm_of(header: Mapping[str, object], instrument: Instrument) -> str:
    """Name of the arm (or camera) that took the frame, inferred when SEQ ARM is missing; empty when unknown."""
    camera = _text(header, instrument, "CAMERA")
    if camera.startswith("ACQ"):
        return IMAGER
    stated = _text(header, instrument, "ARM")
    if stated in _ARMS_BY_NAME:
        return _ARMS_BY_NAME[stated]
    for word in re.split(r"[^A-Z]+", _text(header, instrument, "PRO_CATG"))[::-1]:
        if word in _ARMS_BY_NAME:
            return _ARMS_BY_NAME[word]
    slits = [arm.name for arm in instrument.arms if header_value(header, instrument, "SLIT", arm.name) is not None]
    if len(slits) == 1:
        return slits[0]
    template = _template(header, instrument)
    named = [arm.name for arm in instrument.arms if arm.name in template]
    if len(named) == 1:
        return named[0]
    return _arm_by_size(header, instrument)


def _arm_by_size(header: Mapping[str, object], instrument: Instrument) -> str:
    size = (header.get("NAXIS2"), header.get("NAXIS1"))
    return next((arm.name for arm in instrument.arms if size in _raw_sizes(arm)), "")


def _raw_sizes(arm: Arm) -> set[tuple[int, int]]:
    rows, columns = arm.detector.raw_shape
    return {(rows // y, columns // x) for y, x in arm.detector.binnings}


def _text(header: Mapping[str, object], instrument: Instrument, name: str, arm: str | None = None) -> str:
    value = header_value(header, instrument, name, arm)
    return "" if value is None else re.sub(r"\s*,\s*", ",", str(value).strip().upper())


def _template(header: Mapping[str, object], instrument: Instrument) -> str:
    return f"{_text(header, instrument, 'TPL_ID')} {_text(header, instrument, 'TPL_NAME')}"


def classify(header: Mapping[str, object]) -> Classification:
    """Classify a frame by its header.

    Parameters
    ----------
    header : Mapping
        An astropy Header or anything that maps keywords to values.

    Returns
    -------
    Classification
        `tag` is empty and `reason` begins with "unusable:" when the frame cannot be used.
    """
    try:
        instrument = instrument_of(header)
    except InputError as error:
        return Classification("", "", f"unusable: {error}")
    arm = arm_of(header, instrument)
    product = _text(header, instrument, "PRO_CATG")
    if product:
        return Classification(product, arm, is_product=True)
    warnings = [] if _text(header, instrument, "ARM") else [f"ESO SEQ ARM is missing; {arm or 'nothing'} inferred"]
    if not arm:
        return Classification("", "", "unusable: no ESO SEQ ARM and nothing else that tells the arm")
    problem = _problem(header, instrument, arm)
    if problem:
        return Classification("", arm, f"unusable: {problem}")
    dpr = [_text(header, instrument, f"DPR_{part}") for part in ("TYPE", "TECH", "CATG")]
    if not all(dpr):
        dpr, inferred = _completed(dpr, _template(header, instrument))
        warnings += inferred
    if not dpr[0]:
        return Classification("", arm, "unusable: no ESO DPR TYPE, and the template does not tell it")
    slit = _text(header, instrument, "SLIT", arm) if arm != IMAGER else ""
    lamps = "".join(
        lamp for lamp in ("QTH", "DEUTERIUM") if _text(header, instrument, f"LAMP_{lamp}") not in _UNLIT
    )
    has_bias = arm == IMAGER or instrument.arm(arm).detector.has_bias
    stem, reason = _stem(dpr[0], dpr[1], _Context(arm, slit, lamps, _template(header, instrument), has_bias))
    if not stem:
        return Classification("", arm, f"unusable: {reason}", warnings=tuple(warnings))
    return Classification(stem.format(arm=arm), arm, warnings=tuple(warnings))


def _problem(header: Mapping[str, object], instrument: Instrument, arm: str) -> str:
    """Why the frame cannot be used whatever it shows, empty when it can."""
    if arm != IMAGER and str(header_value(header, instrument, "SHUTTER_SIMULATED", arm, "F")).upper() in (
        "T",
        "TRUE",
    ):
        return "the slit wheel was simulated (SWSIM = T)"
    time = header_value(header, instrument, "EXPTIME")
    if time is None and "BIAS" not in _text(header, instrument, "DPR_TYPE"):
        return "no EXPTIME"
    if time is not None and not (isinstance(time, (int, float)) and 0.0 <= time < math.inf):
        return f"EXPTIME = {time} is no exposure time"
    by_size = _arm_by_size(header, instrument)
    if arm != IMAGER and by_size not in ("", arm):
        return f"the arm is said to be {arm}, but the frame has as many pixels as the {by_size} detector"
    if (
        header_value(header, instrument, "MJD_OBS") is None
        and header_value(header, instrument, "DATE_OBS") is None
    ):
        return "neither MJD-OBS nor DATE-OBS"
    return ""


def _completed(dpr: list[str], template: str) -> tuple[list[str], list[str]]:
    """DPR TYPE, TECH, CATG with what the template tells in place of what is missing."""
    compact = template.replace(" ", "").replace("_SLT", "")
    for pattern, *known in _TEMPLATES:
        if pattern in compact:
            filled = [value or other for value, other in zip(dpr, known, strict=True)]
            return filled, ["ESO DPR keywords are missing; taken from the template"]
    return dpr, []


@dataclass(frozen=True, slots=True)
class _Context:
    """What decides beside DPR TYPE and TECH."""

    arm: str
    slit: str
    lamps: str
    template: str
    has_bias: bool


def _stem(kind: str, tech: str, context: _Context) -> tuple[str, str]:
    """Tag with `{arm}`, and the reason when there is none."""
    words = {"ORDERDEF" if word.endswith("ORDERDEF") else word for word in re.split(r"[,\s]+", kind)}
    is_lamp = words & (LAMP_WORDS | WAVE_WORDS) and not words & {"BIAS", "DARK"}
    if is_lamp and "BLANK" in context.slit:
        return "", f"lamp exposure behind a closed slit ({context.slit})"
    mask, camera = _mask(tech, context), context.arm == IMAGER
    for raw in RAW_TYPES:
        if raw.says(words) and raw.is_taken(camera=camera, has_bias=context.has_bias, mask=mask):
            reason = "" if raw.stem else raw.reason or f"frames of type {kind} have no use"
            return _full_stem(raw, words, tech, context), reason
    return "", f"{'camera frame' if camera else 'frames'} of type {kind} {'has' if camera else 'have'} no use"


def _full_stem(raw: RawType, words: set[str], tech: str, context: _Context) -> str:
    mode = (_mode(tech) or _mode(context.template) or "STARE") if raw.modes else ""
    stem = raw.stem.replace("{mode}", mode)
    if raw.has_state and not context.has_bias:
        return stem + ("_OFF" if _is_off(words, tech) else "_ON")
    return stem + _flat_lamp(raw, words, context)


def _mask(tech: str, context: _Context) -> str:
    """Which mask stood in the beam: MPH, PIN or SLIT; the slit's name speaks where TECH does not."""
    for text in (tech, context.slit, context.template):
        if "MULT" in text:
            return "MPH"
        if "PINHOLE" in text or re.search(r"\bPH\b", text):
            return "PIN"
        if "SLIT" in text:
            return "SLIT"
    return "SLIT"


def _is_off(words: set[str], tech: str) -> bool:
    return "OFF" in words or (UNLIT_TECHNIQUE in tech and "ECHELLE" not in tech)


def _flat_lamp(raw: RawType, words: set[str], context: _Context) -> str:
    """End of the tag that names the continuum lamp: by `DPR TYPE`, else by the only one that is lit."""
    stated = [end for _, end, text in raw.lamps if text.rpartition(",")[2] in words]
    lit = [end for lamp, end, _ in raw.lamps if lamp == context.lamps]
    return next(iter((*stated[::-1], *lit)), "")


def _mode(text: str) -> str:
    for word, mode in _MODES:
        if word in text:
            return mode
    return ""
