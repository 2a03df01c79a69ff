"""The one registry of quality bits, from which documentation and FITS comments are made."""

from __future__ import annotations

from enum import IntFlag
from functools import cache

import numpy as np

__all__ = ["UNUSABLE", "QualityFlag", "describe_quality", "is_usable"]


class QualityFlag(IntFlag):
    """Bit mask of a pixel (int32, 31 usable bits). Zero is a good pixel."""

    GOOD = 0
    DEAD = 1 << 0
    HOT = 1 << 1
    COLD = 1 << 2
    NOISY = 1 << 3
    NON_LINEAR = 1 << 4
    SATURATED = 1 << 5
    COSMIC_RAY = 1 << 6
    LOW_SENSITIVITY = 1 << 7
    NO_DATA = 1 << 8
    OUTLIER = 1 << 9
    NO_FLAT = 1 << 10
    NO_DARK = 1 << 11
    SCALED_DARK = 1 << 12
    SKY_UNCERTAIN = 1 << 13
    PARTIAL_APERTURE = 1 << 14
    OUTSIDE_ORDER = 1 << 15
    EXTRAPOLATED = 1 << 16
    TELLURIC = 1 << 17
    PERSISTENCE = 1 << 18
    INTERPOLATED = 1 << 19


_SENTENCES = {
    QualityFlag.DEAD: "does not answer to light",
    QualityFlag.HOT: "dark current far above its neighbours",
    QualityFlag.COLD: "answers much less than its neighbours",
    QualityFlag.NOISY: "noise far above the detector's",
    QualityFlag.NON_LINEAR: "signal beyond the linear range",
    QualityFlag.SATURATED: "signal at or beyond saturation",
    QualityFlag.COSMIC_RAY: "hit by a cosmic ray",
    QualityFlag.LOW_SENSITIVITY: "low in the flat field",
    QualityFlag.NO_DATA: "no valid input value",
    QualityFlag.OUTLIER: "rejected by a robust fit or combination",
    QualityFlag.NO_FLAT: "not flat-fielded",
    QualityFlag.NO_DARK: "no dark or bias subtracted",
    QualityFlag.SCALED_DARK: "dark scaled from another exposure time",
    QualityFlag.SKY_UNCERTAIN: "sky model poorly constrained here",
    QualityFlag.PARTIAL_APERTURE: "part of the object's profile was masked",
    QualityFlag.OUTSIDE_ORDER: "outside the illuminated order",
    QualityFlag.EXTRAPOLATED: "calibration extrapolated here",
    QualityFlag.TELLURIC: "strong telluric absorption",
    QualityFlag.PERSISTENCE: "afterglow of an earlier exposure",
    QualityFlag.INTERPOLATED: "value bridged from neighbours",
}

# A pixel with any of these takes no part in a measurement; the other bits only inform.
UNUSABLE = (
    QualityFlag.DEAD
    | QualityFlag.HOT
    | QualityFlag.COLD
    | QualityFlag.NOISY
    | QualityFlag.SATURATED
    | QualityFlag.COSMIC_RAY
    | QualityFlag.LOW_SENSITIVITY
    | QualityFlag.NO_DATA
    | QualityFlag.OUTLIER
    | QualityFlag.PERSISTENCE
)


@cache
def describe_quality() -> tuple[tuple[int, str, str], ...]:
    """All bits as (bit number, name, sentence), lowest first."""
    return tuple((flag.value.bit_length() - 1, flag.name, text) for flag, text in _SENTENCES.items())


def is_usable(quality: np.ndarray) -> np.ndarray:
    """Which pixels may take part in a measurement (boolean, the shape of `quality`)."""
    return (quality & np.int32(UNUSABLE)) == 0
