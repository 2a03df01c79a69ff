"""When an exposure began, from whichever keyword says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

__all__ = ["iso_from_mjd", "mjd_from_iso", "observation_mjd"]

_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_DAY = timedelta(days=1)


def mjd_from_iso(text: str) -> float:
    """MJD of an ISO date and time, taken as UTC when it names no zone; NaN when it is none."""
    try:
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return math.nan
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) / _DAY


def iso_from_mjd(mjd: float) -> str:
    """`2026-02-03T04:05:06.789` of an MJD; empty for one that no calendar knows."""
    try:
        moment = _EPOCH + timedelta(milliseconds=round(mjd * 86_400_000))
    except (ValueError, OverflowError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def observation_mjd(header: Mapping[str, object]) -> float:
    """Start of the exposure by MJD-OBS, else by DATE-OBS; NaN when neither tells."""
    value = header.get("MJD-OBS")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return mjd_from_iso(str(header.get("DATE-OBS") or ""))
