"""QC values of two runs side by side, and which of them got better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from soxs_recipes.recipes.framework.declarations import Declaration

__all__ = ["QCRow", "compare_qc"]

_PREFIX = "ESO QC "
_SAME = 1e-4  # relative change below which two runs agree


@dataclass(frozen=True, slots=True)
class QCRow:
    """One QC parameter in two runs.

    Attributes
    ----------
    name : str
        Keyword without `ESO QC`.
    unit, sentence : str
    before, after : float or None
        None where the run did not define it.
    order : int or None
    acceptable : (low, high) or None
    verdict : str
        "better", "worse", "same", or "" where none is better than another.
    """

    name: str
    unit: str
    sentence: str
    before: float | None
    after: float | None
    order: int | None
    acceptable: tuple[float, float] | None
    verdict: str

    @property
    def is_inside(self) -> bool:
        """Whether the later value lies in the acceptable range; True where there is none."""
        if self.acceptable is None or self.after is None:
            return True
        return self.acceptable[0] <= self.after <= self.acceptable[1]


def compare_qc(
    declaration: Declaration, arm_name: str, before: Mapping[str, float], after: Mapping[str, float]
) -> list[QCRow]:
    """Rows of all QC parameters of either run, in the order of the declaration, those of single orders last.

    Parameters
    ----------
    declaration : Declaration
    arm_name : str
    before, after : mapping
        `ESO QC` keyword -> value; `before` is empty for a first run.
    """
    definitions = {entry.name: (place, entry) for place, entry in enumerate(declaration.qc)}
    rows = []
    for keyword in dict.fromkeys((*after, *before)):
        order, name = _order_and_name(keyword)
        if name not in definitions:
            continue
        place, entry = definitions[name]
        old, new = _number(before.get(keyword)), _number(after.get(keyword))
        shown = keyword.removeprefix(_PREFIX)
        limits = entry.range_for(arm_name)
        verdict = _verdict(entry.better, old, new)
        row = QCRow(shown, entry.unit, entry.sentence, old, new, order, limits, verdict)
        rows.append(((order is not None, place, order or 0), row))
    return [row for _, row in sorted(rows, key=lambda item: item[0])]


def _order_and_name(keyword: str) -> tuple[int | None, str]:
    """(13, "SNR MEDIAN") of `ESO QC ORD13 SNR MEDIAN`."""
    name = keyword.removeprefix(_PREFIX)
    first, _, rest = name.partition(" ")
    if first.startswith("ORD") and first[3:].isdigit():
        return int(first[3:]), rest
    return None, name


def _number(value: object) -> float | None:
    return None if value is None else float(value)


def _verdict(better: str | float, before: float | None, after: float | None) -> str:
    if better == "" or before is None or after is None:
        return ""
    if abs(after - before) <= _SAME * max(abs(before), abs(after)):
        return "same"
    if better == "higher":
        gain = after - before
    elif better == "lower":
        gain = before - after
    else:
        gain = abs(before - float(better)) - abs(after - float(better))
    return "better" if gain > 0 else "worse"
