"""Header values by our own names, so that no other code spells a keyword."""

from __future__ import annotations

from collections.abc import Mapping

from soxs_recipes.errors import InputError
from soxs_recipes.instrument.model import Instrument

__all__ = ["header_keywords", "header_value"]

_ABSENT = (None, "")


def header_keywords(instrument: Instrument, name: str, arm: str | None = None) -> tuple[str, ...]:
    """Keywords that may hold `name`, best first; the arm's own ("SLIT_VIS") come before the common ones.

    InputError lists the valid names.
    """
    keywords: tuple[str, ...] = ()
    if arm is not None:
        keywords += instrument.keywords.get(f"{name}_{arm}", ())
    keywords += instrument.keywords.get(name, ())
    if not keywords:
        known = ", ".join(sorted(instrument.keywords))
        raise InputError(f"{instrument.name} knows no header entry {name!r}; it knows {known}")
    return keywords


def header_value(
    header: Mapping[str, object], instrument: Instrument, name: str, arm: str | None = None, default: object = None
) -> object:
    """Value of the first keyword of `name` that the header holds with a value, else `default`.

    `header` is anything that maps keywords to values (an astropy Header will do); `HIERARCH` spelt out in a key
    is accepted.
    """
    for keyword in header_keywords(instrument, name, arm):
        for spelling in (keyword, f"HIERARCH {keyword}"):
            value = header.get(spelling)
            if isinstance(value, str):
                value = value.strip()
            # astropy gives a card without a value an object of type Undefined.
            if value not in _ABSENT and type(value).__name__ != "Undefined":
                return value
    return default
