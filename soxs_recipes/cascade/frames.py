"""What the cascade knows of a frame: its tag, its setup, and why it cannot be used when it cannot."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from soxs_recipes.instrument import header_value, load_instrument
from soxs_recipes.instrument.times import mjd_from_iso

__all__ = ["CLASSIFYING_FACTS", "FrameRecord", "describe_frame", "mjd_in_text", "night_of", "unusable_frame"]

# La Silla's nights are named by the date at UTC minus 15 hours, so that afternoon and morning calibrations
# belong to the night between them.
_NIGHT_BORDER_HOURS = 15.0
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_MJD_PLAUSIBLE = (47892.0, 73000.0)  # 1990 to 2058
_MJD_ROUNDING = 1e-6  # a tenth of a second: biases end when they begin
_OVERSCAN_ALLOWANCE = 1.9
_PLACEHOLDERS = frozenset({"", "UNDEFINED", "UNKNOWN", "NONE", "N/A", "BLANK", "--", "-1", "0"})

# Facts that decide what a recipe does with a frame: a change of one makes a new result.
CLASSIFYING_FACTS = ("arm", "binning", "read_mode", "read_name", "slit", "lamp", "exptime", "target")


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One file of the night.

    Attributes
    ----------
    path : str
        Absolute.
    size, modified_ns : int
        As the file system gives them: while they stay, the file is not read again.
    checksum : str
        Of the data.
    tag : str
        SOF tag; "" when the frame cannot be used.
    facts : mapping
        arm, mjd, exptime, night, binning, read_mode, read_name, slit, slit_width, lamp, target, observation,
        template_start and what else the headers tell; None or absent when unknown.
    problem : str
        Why the frame cannot be used; "" when it can.
    warnings : tuple of str
        What was inferred.
    is_product : bool
        A calibration that was made before, not a raw frame.
    """

    path: str
    size: int
    modified_ns: int
    checksum: str
    tag: str
    facts: Mapping[str, object] = field(default_factory=dict)
    problem: str = ""
    warnings: tuple[str, ...] = ()
    is_product: bool = False

    @property
    def name(self) -> str:
        """File name without folder."""
        return Path(self.path).name

    @property
    def arm(self) -> str:
        """Name of the arm, "" when unknown."""
        return str(self.facts.get("arm") or "")

    @property
    def mjd(self) -> float:
        """Start of the exposure."""
        return float(self.facts.get("mjd") or 0.0)

    def as_mapping(self) -> dict[str, object]:
        """Plain values for JSON and the index."""
        return asdict(self) | {"warnings": list(self.warnings)}

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> FrameRecord:
        """Inverse of `as_mapping`."""
        return cls(**{**values, "warnings": tuple(values["warnings"])})


def unusable_frame(path: Path, problem: str, size: int = 0, modified_ns: int = 0) -> FrameRecord:
    """A record of a file that cannot be used; the message loses the path, which the record has."""
    text = str(problem).replace(f"{path}: ", "").replace(str(path), path.name)
    return FrameRecord(str(path), size, modified_ns, "", "", problem=" ".join(text.split()))


class _Unusable(Exception):
    """The frame breaks a rule; the text names it."""


class _HeaderReader:
    """Typed header values of one frame, with a list of what had to be inferred."""

    def __init__(self, header: Mapping[str, object], arm: str | None = None):
        self.header, self.arm = header, arm
        self.instrument = load_instrument()
        self.warnings: list[str] = []

    def value(self, name: str) -> object:
        return header_value(self.header, self.instrument, name, self.arm)

    def text(self, name: str) -> str | None:
        value = self.value(name)
        text = "" if value is None else " ".join(str(value).split())
        return None if text.upper() in _PLACEHOLDERS else text

    def number(self, name: str) -> float | None:
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            self.warnings.append(f"{name} is not a number: {str(value)[:40]!r}")
            return None


def mjd_in_text(text: str) -> float | None:
    """Modified Julian date of the first ISO date and time in a text (underscores are colons), None without one."""
    match = re.search(r"\d{4}-\d\d-\d\d(?:[T ]\d\d[:_]\d\d[:_]\d\d(?:\.\d+)?)?", text)
    mjd = mjd_from_iso(match[0].replace("_", ":")) if match else math.nan
    return mjd if math.isfinite(mjd) else None


def night_of(mjd: float) -> str:
    """Date of the night that a moment belongs to, ISO."""
    return (_MJD_EPOCH + timedelta(days=mjd - _NIGHT_BORDER_HOURS / 24.0)).date().isoformat()


def describe_frame(
    path: Path,
    header: Mapping[str, object],
    *,
    tag: str,
    arm: str,
    checksum: str,
    size: int,
    modified_ns: int,
    warnings: tuple[str, ...] = (),
    is_product: bool = False,
) -> FrameRecord:
    """Record of a classified frame; rules that it breaks make it unusable.

    Parameters
    ----------
    path : Path
    header : mapping
        Keyword to value.
    tag, arm : str
        What classification said.
    checksum : str
        Of the data.
    size, modified_ns : int
    warnings : tuple of str
        Of the classification.
    is_product : bool
        A calibration made before: it is not held against the size of raw frames.
    """
    reader = _HeaderReader(header, arm or None)
    try:
        facts = _facts(reader, path, arm, tag, is_product=is_product)
        problem = ""
    except _Unusable as error:
        facts, problem = {"arm": arm}, str(error)
    notes = (*warnings, *reader.warnings)
    return FrameRecord(
        str(path), size, modified_ns, checksum, "" if problem else tag, facts, problem, notes, is_product
    )


def _facts(reader: _HeaderReader, path: Path, arm: str, tag: str, *, is_product: bool) -> dict[str, object]:
    mjd = _mjd(reader, path)
    facts: dict[str, object] = {"arm": arm, "mjd": mjd, "night": night_of(mjd)}
    facts["exptime"] = _exposure_time(reader, tag)
    _check_end(reader, mjd)
    known = {a.name: a for a in reader.instrument.arms}
    if arm in known:
        facts["binning"] = _product_binning(reader) if is_product else _binning(reader, known[arm].detector)
        _check_detector(reader)
        facts |= _slit(reader, known[arm])
    facts["read_mode"] = reader.text("READ_MODE_ID")
    facts["read_name"] = reader.text("READ_MODE_NAME")
    facts["lamp"] = _lamps(reader)
    facts["template"] = reader.text("TPL_ID")
    facts["template_start"] = reader.text("TPL_START")
    facts["template_exposure"] = reader.number("TPL_EXPNO")
    facts["airmass"] = reader.number("AIRMASS_START")
    facts |= _target(reader, is_sky=tag.startswith("SKY_"))
    return facts


def _mjd(reader: _HeaderReader, path: Path) -> float:
    mjd = reader.number("MJD_OBS")
    if mjd is None or not math.isfinite(mjd):
        for source, text in (("DATE-OBS", reader.text("DATE_OBS")), ("the file name", path.name)):
            mjd = mjd_in_text(text or "")
            if mjd is not None:
                reader.warnings.append(f"MJD-OBS missing, taken from {source}")
                break
    if mjd is None or not math.isfinite(mjd):
        raise _Unusable("no date: MJD-OBS and DATE-OBS are missing")
    if not _MJD_PLAUSIBLE[0] < mjd < _MJD_PLAUSIBLE[1]:
        raise _Unusable(f"impossible date: MJD-OBS = {mjd:g}")
    return mjd


def _check_end(reader: _HeaderReader, mjd: float) -> None:
    end = reader.number("MJD_END")
    if end is not None and end < mjd - _MJD_ROUNDING:
        reader.warnings.append("MJD-END lies before MJD-OBS; the end is taken from the exposure time")


def _exposure_time(reader: _HeaderReader, tag: str) -> float:
    exptime = reader.number("EXPTIME")
    if exptime is None and tag.startswith("BIAS"):
        reader.warnings.append("EXPTIME missing, 0 as for a bias")
        return 0.0
    if exptime is None:
        raise _Unusable("no exposure time: EXPTIME is missing")
    if not math.isfinite(exptime) or exptime < 0:
        raise _Unusable(f"impossible exposure time: EXPTIME = {exptime:g}")
    return round(exptime, 2)


def _binning(reader: _HeaderReader, detector) -> str:
    """Binning "x by y": from the header, checked against the axes; inferred from them where keywords lack."""
    axes = [reader.header.get(key) for key in ("NAXIS2", "NAXIS1")]
    # CDELT may stand for the binning and may be a world coordinate step: only whole numbers are binnings.
    stated = [_whole(reader.number(name)) for name in ("BINNING_Y", "BINNING_X")]
    full = detector.raw_shape
    y0, y1, x0, x1 = detector.science_window
    window = (y1 - y0, x1 - x0)
    # The width of the overscan is the frame's own affair; the light must be there.
    widest = 1.0 if detector.reference_border else _OVERSCAN_ALLOWANCE
    fitting = [
        binning
        for binning in detector.binnings
        if all(
            isinstance(n, int) and w // b <= n <= widest * (f // b)
            for n, w, f, b in zip(axes, window, full, binning, strict=True)
        )
    ]
    if not fitting:
        raise _Unusable(
            f"{axes[1]} x {axes[0]} pixels are not a frame of this arm ({full[1]} x {full[0]} unbinned)"
        )
    agreeing = [b for b in fitting if all(s is None or s == n for s, n in zip(stated, b, strict=True))]
    if not agreeing:
        raise _Unusable(f"binning {stated[1]} x {stated[0]} contradicts {axes[1]} x {axes[0]} pixels")
    if any(s is None for s in stated) and len(detector.binnings) > 1:
        reader.warnings.append("binning inferred from the size of the frame")
    return f"{agreeing[0][1]}x{agreeing[0][0]}"


def _product_binning(reader: _HeaderReader) -> str | None:
    binning = [_whole(reader.number(name)) for name in ("BINNING_X", "BINNING_Y")]
    return None if None in binning else f"{binning[0]}x{binning[1]}"


def _whole(value: float | None) -> int | None:
    return (
        int(value) if value is not None and math.isfinite(value) and value >= 1 and value == int(value) else None
    )


def _check_detector(reader: _HeaderReader) -> None:
    conad, gain, noise = (reader.number(name) for name in ("CONAD", "GAIN", "READ_NOISE"))
    for name, value in (("CONAD", conad), ("GAIN", gain if conad is None else None), ("RON", noise)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise _Unusable(f"impossible detector value: {name} = {value:g}")


def _slit(reader: _HeaderReader, arm) -> dict[str, object]:
    name = reader.text("SLIT")
    if name is None:
        return {"slit": None, "slit_width": None}
    name = name.upper().replace(" ", "")
    widths = {slit.name: slit.width for slit in arm.slits}
    number = re.search(r"(\d+(?:\.\d+)?)", name) if "PIN" not in name and "MULT" not in name else None
    return {"slit": name, "slit_width": widths.get(name, float(number[1]) if number else None)}


def _lamps(reader: _HeaderReader) -> str | None:
    names = sorted(name for name in reader.instrument.keywords if name.startswith("LAMP_"))
    lit = [name.removeprefix("LAMP_") for name in names if reader.text(name)]
    return "+".join(lit) or None


def _target(reader: _HeaderReader, *, is_sky: bool) -> dict[str, object]:
    names = [reader.text("OBJECT"), reader.text("OBS_TARGET")]
    # Sky beside an object belongs to it, whatever OBJECT calls it.
    target = next(filter(None, reversed(names) if is_sky else names), "unnamed")
    # An observing block is one look at one object; without its number the object itself must do.
    return {
        "target": target,
        "observation": f"{reader.text('OBS_ID') or ''}|{target}",
        "ra": reader.number("RA"),
        "dec": reader.number("DEC"),
    }
