"""When an exposure began, where its middle lies, and how far that is from another arm's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

__all__ = [
    "end_time",
    "iso_from_mjd",
    "mean_mid_time",
    "mid_time",
    "mid_time_differences",
    "mjd_from_iso",
    "observation_mjd",
]

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


def end_time(start: float, *, end: float = math.nan, exposure_time: float = math.nan) -> float:
    """End of an exposure [MJD]; by its exposure time [s] where the stated end is not known or before the start."""
    return end if end >= start or math.isnan(start) else start + exposure_time / 86400.0


def mid_time(start: float, *, end: float = math.nan, exposure_time: float = math.nan) -> float:
    """Middle of an exposure.

    Parameters
    ----------
    start, end : float [MJD]
    exposure_time : float [s]
        Used where the end is not known, or is not to be believed: before the start, or so late that the shutter
        would have been closed for longer than open.

    Returns
    -------
    float [MJD]
        NaN without a start, or with neither end nor exposure time.
    """
    length = end - start
    if math.isfinite(exposure_time) and not 0.0 <= length * 86400.0 <= 2.0 * exposure_time:
        length = exposure_time / 86400.0
    return start + 0.5 * length


def mean_mid_time(mid_times: Sequence[float], weights: Sequence[float]) -> float:
    """Mean of mid-times [MJD], weighted by what each exposure gave; NaN when one is unknown."""
    total = math.fsum(weights)
    if not mid_times or total <= 0.0:
        return math.nan
    first = mid_times[0]  # differences keep the microseconds that sums of large numbers lose
    return first + math.fsum(w * (t - first) for t, w in zip(mid_times, weights, strict=True)) / total


def mid_time_differences(mid_times: Sequence[float], others: Sequence[float]) -> list[float]:
    """By how much each mid-time lies after the nearest of the others [s]; NaN without another that is known.

    Two arms are synchronised when all differences, of either arm to the other, are small.
    """
    known = [other for other in others if math.isfinite(other)]
    return [
        86400.0 * min((t - other for other in known), key=abs) if known and math.isfinite(t) else math.nan
        for t in mid_times
    ]
