"""The raw types, as data: which header makes which tag.

`classify` judges any header by it, generously (words of `DPR TYPE`, the name of the slit where `DPR TECH` is
silent); the OCA rules of Reflex, which know text comparison only, list the texts that the instrument writes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = [
    "ARM_NAMES",
    "IMAGER",
    "LAMP_WORDS",
    "MASK_SLITS",
    "MASK_TECHNIQUES",
    "MODE_TECHNIQUES",
    "RAW_TYPES",
    "UNLIT_TECHNIQUE",
    "WAVE_WORDS",
    "RawType",
]

IMAGER = "ACQ"
# What `SEQ ARM` may say for each arm.
ARM_NAMES = {
    "VIS": ("VIS", "UVB", "UVVIS", "UV-VIS", "UV_VIS"),
    "NIR": ("NIR", "IR"),
    IMAGER: ("ACQ", "ACQCAM", "CAMERA", "AC"),
}
LAMP_WORDS = frozenset({"QFLAT", "DFLAT", "FLAT"})
WAVE_WORDS = frozenset({"WAVE", "ARC", "ARCS", "FMTCHK"})
_LINEARITY_WORDS = frozenset({"DETCHAR", "DETLIN", "LINEARITY", "DETCHECK"})
_TELLURIC_WORDS = frozenset({"TELLURIC", "TELL"})

# `DPR TECH` and beginning of the slit's name, by what stood in the beam.
MASK_TECHNIQUES = {"MPH": "ECHELLE,MULTI-PINHOLE", "PIN": "ECHELLE,PINHOLE", "SLIT": "ECHELLE,SLIT"}
MASK_SLITS = {"MPH": "MULT", "PIN": "PINHOLE", "SLIT": "SLIT"}
# Infrared frames with the lamp off.
UNLIT_TECHNIQUE = "IMAGE"
MODE_TECHNIQUES = {
    "STARE": "ECHELLE,SLIT,STARE",
    "NOD": "ECHELLE,SLIT,NODDING",
    "OFFSET": "ECHELLE,SLIT,OFFSET",
    "MAP": "ECHELLE,SLIT,MAPPING",
}


@dataclass(frozen=True, slots=True)
class RawType:
    """One raw type.

    Attributes
    ----------
    stem : str
        Its tag with `{arm}` and, on sky, `{mode}`; "" for frames of no use.
    words : frozenset of str
        Words of `DPR TYPE` of which one at least is there.
    types : tuple of str
        `DPR TYPE` as it is written.
    also : frozenset of str
        Further words of which one at least is there; empty: none needed.
    masks : tuple of str
        What may stand in the beam ("MPH", "PIN", "SLIT"); empty: anything.
    has_state : bool
        Whether infrared frames say _ON or _OFF.
    lamps : tuple of (lamp word of the header's own keywords, end of the tag, `DPR TYPE` that says it)
        Continuum lamps that CCD frames tell apart.
    modes : tuple of str
        Modes of observing in which it is taken; empty for frames that are not on sky.
    detector : str
        "ccd", "infrared" or "" for all.
    camera : bool or None
        Of the acquisition camera (True), a spectrograph (False) or either (None).
    reason : str
        Why it is of no use, where that needs a word.
    """

    stem: str
    words: frozenset[str]
    types: tuple[str, ...]
    also: frozenset[str] = frozenset()
    masks: tuple[str, ...] = ()
    has_state: bool = False
    lamps: tuple[tuple[str, str, str], ...] = ()
    modes: tuple[str, ...] = ()
    detector: str = ""
    camera: bool | None = False
    reason: str = ""

    def says(self, words: Collection[str]) -> bool:
        """Whether the words of a `DPR TYPE` name it."""
        return not self.words.isdisjoint(words) and (not self.also or not self.also.isdisjoint(words))

    def is_taken(self, *, camera: bool, has_bias: bool, mask: str) -> bool:
        """Whether such frames come from this kind of detector through this mask."""
        right_detector = not self.detector or (self.detector == "ccd") == (has_bias or camera)
        return right_detector and self.camera in (None, camera) and (not self.masks or mask in self.masks)


def _type(stem: str, words: Collection[str], *types: str, also: Collection[str] = (), **more) -> RawType:
    return RawType(stem, frozenset(words), types, frozenset(also), **more)


_ON_SKY = ("STARE", "NOD", "OFFSET")
_LAMPS = (("QTH", "_QTH", "LAMP,QFLAT"), ("DEUTERIUM", "_D2", "LAMP,DFLAT"))
_WAVE_TYPES = ("LAMP,WAVE", "LAMP,FMTCHK", "LAMP,ARC")
_ORDER_TYPES = ("LAMP,ORDERDEF", "LAMP,QORDERDEF", "LAMP,DORDERDEF")

# The first that fits.
RAW_TYPES = (
    _type("BIAS_{arm}", {"BIAS"}, "BIAS", detector="ccd", camera=None),
    _type("", {"BIAS"}, "BIAS", reason="biases of an infrared array are not used"),
    _type("DARK_{arm}", {"DARK"}, "DARK", camera=None),
    _type("FLAT_IMG_{arm}", {"FLAT"}, "FLAT,TWILIGHT", "FLAT", camera=True),
    _type("STD_IMG_{arm}", {"STD"}, "STD", camera=True),
    _type("OBJECT_IMG_{arm}", {"OBJECT"}, "OBJECT", camera=True),
    _type("DETLIN_{arm}", _LINEARITY_WORDS, "LAMP,DETCHAR", "LAMP,DETLIN", has_state=True),
    _type("WAVE_MPH_{arm}", WAVE_WORDS, *_WAVE_TYPES, masks=("MPH",), has_state=True),
    _type("WAVE_PIN_{arm}", WAVE_WORDS, *_WAVE_TYPES, masks=("PIN",), has_state=True),
    _type("WAVE_SLIT_{arm}", WAVE_WORDS, *_WAVE_TYPES, masks=("SLIT",)),
    _type("", {"DOME", "TWILIGHT"}, "DOME,FLAT", "FLAT,TWILIGHT"),
    _type("", {"SKY"}, "SKY,FLAT", also={"FLAT"}),
    _type("ORDERDEF_{arm}", {"ORDERDEF"}, *_ORDER_TYPES, has_state=True),
    _type(
        "ORDERDEF_{arm}", LAMP_WORDS, "LAMP,FLAT", "LAMP,QFLAT", "LAMP,DFLAT", masks=("PIN", "MPH"), has_state=True
    ),
    _type("FLAT_SLIT_{arm}", LAMP_WORDS, "LAMP,FLAT", masks=("SLIT",), has_state=True, lamps=_LAMPS),
    _type("SKY_OFFSET_{arm}", {"SKY"}, "SKY", modes=("OFFSET",)),
    _type("STD_TELL_{mode}_{arm}", {"STD"}, "STD,TELLURIC", also=_TELLURIC_WORDS, modes=_ON_SKY),
    _type("STD_FLUX_{mode}_{arm}", {"STD"}, "STD,FLUX", modes=_ON_SKY),
    _type("OBJECT_{mode}_{arm}", {"OBJECT"}, "OBJECT", "OBJECT,ASYNC", modes=(*_ON_SKY, "MAP")),
)
