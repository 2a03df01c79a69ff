"""Quality-control parameters: `ESO QC` keyword, value, unit, sentence, acceptable range."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["QCDefinition", "QCParameter"]


@dataclass(frozen=True, slots=True)
class QCDefinition:
    """What a recipe declares of a QC parameter.

    Attributes
    ----------
    name : str
        Keyword without `ESO QC`, upper case, blanks between words (`"RAW RON"`). Per-order values get
        `ORDnn` put in front by `QCParameter.for_order`.
    unit : str
        "" when the value has none.
    sentence : str
    acceptable : (low, high) or None
        Ours, for our definitions; per arm, a mapping arm name -> (low, high).
    per_order : bool
    better : str or float
        "lower", "higher", or the value that it should be near; "" when none is better than another.
    """

    name: str
    unit: str
    sentence: str
    acceptable: tuple[float, float] | dict[str, tuple[float, float]] | None = None
    per_order: bool = False
    better: str | float = ""

    def range_for(self, arm_name: str) -> tuple[float, float] | None:
        """Acceptable range for an arm, None when there is none."""
        if isinstance(self.acceptable, dict):
            return self.acceptable.get(arm_name)
        return self.acceptable


@dataclass(frozen=True, slots=True)
class QCParameter:
    """One measured QC value; a value that is not finite is undefined and never written.

    Attributes
    ----------
    name : str
        As in the definition.
    value : float, int or bool
    order : int or None
    """

    name: str
    value: float | int
    order: int | None = None

    @property
    def is_defined(self) -> bool:
        """Whether there is a number to write."""
        return math.isfinite(self.value)

    @property
    def keyword(self) -> str:
        """Full keyword: `ESO QC RAW RON`, or `ESO QC ORD13 SNR MEDIAN` for one order."""
        return f"ESO QC {self.name}" if self.order is None else f"ESO QC ORD{self.order} {self.name}"
