"""The frames of one recipe call: sorted by tag, checked against the declaration, asked for by short tag."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import CalibrationMissing, InputError, SoxsError
from soxs_recipes.instrument import header_value, load_instrument, static_calibration_path
from soxs_recipes.instrument.classify import Classification, arm_of, classify, instrument_of
from soxs_recipes.instrument.model import Arm, Instrument
from soxs_recipes.instrument.times import observation_mjd
from soxs_recipes.recipes.framework.declarations import (
    CalibrationInput,
    Declaration,
    RawInput,
    resolved_tag,
    short_tag,
)

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["InputFile", "Inputs", "arm_of_frames", "gather_inputs"]

_log = logging.getLogger(__name__)
_KINDS = {"OBJECT": "SCI", "SKY": "SCI", "STD_FLUX": "FLUX", "STD_TELL": "TELL"}
_OUT_OF_RANGE = " is outside "
_UNUSABLE = "unusable: "  # so begin reasons of a classification
_KINDS_OF_PRODUCTS = {"SCI": "SCI", "FLUX": "FLUX", "TELL": "TELL"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a call: where it is, its tag, its header and what the header makes of it."""

    path: Path
    tag: str
    header: Header = field(repr=False)
    classification: Classification = field(repr=False)


class Inputs:
    """What a recipe's `process` sees of its input.

    Attributes
    ----------
    arm : Arm
    instrument : Instrument
    kind : str
        SCI, FLUX or TELL: what was observed (SCI for calibrations).
    notes : list of str
        Decisions, such as the rung of a ladder; written into every product.
    partial_reasons : list of str
        What makes all products PARTIAL.
    parameters : mapping
        Resolved values of the recipe's parameters.
    """

    def __init__(self, declaration: Declaration, instrument: Instrument, arm: Arm, files: Sequence[InputFile]):
        self.declaration = declaration
        self.instrument = instrument
        self.arm = arm
        self.notes: list[str] = []
        self.partial_reasons: list[str] = []
        self.parameters: Mapping[str, object] = {}
        self._files = tuple(files)
        self._headers = {file.path: file.header for file in files}
        self._static: dict[str, Path] = {}
        raw_tags = {self._short(entry.tag) for entry in declaration.raws if entry.serves(arm)}
        self.raw_files = tuple(file for file in files if self._short(file.tag) in raw_tags)
        self.calibration_files = tuple(file for file in files if self._short(file.tag) not in raw_tags)
        self.kind = _kind(self.raw_files)

    def _short(self, tag: str) -> str:
        """Short name of a tag as given: BIAS_VIS, BIAS_<ARM> and BIAS are the same."""
        text = short_tag(tag)
        words = text.split("_")
        if self.arm.name in words:
            words.remove(self.arm.name)
        if len(words) > 1 and words[0] in _KINDS_OF_PRODUCTS and words[1] in ("SLIT", "FLUX"):
            words = words[1:]
        return "_".join(words)

    def _paths(self, files: Iterable[InputFile], tag: str) -> list[Path]:
        wanted = self._short(tag)
        return [file.path for file in files if self._short(file.tag) == wanted]

    def raw(self, tag: str) -> list[Path]:
        """Paths of the raw frames of a tag (short or full), in order of time; empty when there are none.

        KeyError when the declaration knows no such tag.
        """
        if self._short(tag) not in {self._short(entry.tag) for entry in self.declaration.raws}:
            raise KeyError(f"{self.declaration.name} declares no raw input {tag!r}")
        return self._paths(self.raw_files, tag)

    @property
    def all_raw(self) -> list[Path]:
        """Paths of all raw frames, in order of time."""
        return [file.path for file in self.raw_files]

    def calibrations(self, tag: str) -> list[Path]:
        """Paths of all calibrations of a tag; a static table comes from the pipeline when none was given.

        KeyError when the declaration knows no such tag.
        """
        wanted = self._short(tag)
        entry = next((entry for entry in self.declaration.calibrations if self._short(entry.tag) == wanted), None)
        if entry is None:
            raise KeyError(f"{self.declaration.name} declares no calibration {tag!r}")
        given = self._paths(self.calibration_files, tag)
        if given or not entry.static:
            return given
        if wanted not in self._static:
            self._static[wanted] = static_calibration_path(resolved_tag(entry.tag, self.arm.name))
        return [self._static[wanted]]

    def calibration(self, tag: str) -> Path | None:
        """Path of a calibration, None when there is none; with several, the first given."""
        found = self.calibrations(tag)
        return found[0] if found else None

    def header(self, path: Path | None = None) -> Header:
        """Header of a file (the first raw frame's by default); not to be changed."""
        path = self.raw_files[0].path if path is None else Path(path)
        if path not in self._headers:
            self._headers[path] = _read_header(path)
        return self._headers[path]

    def keyword(self, name: str, path: Path | None = None, default: object = None) -> object:
        """Header value by our name ("EXPTIME", "SLIT") of a file, the first raw frame by default."""
        return header_value(self.header(path), self.instrument, name, self.arm.name, default)

    def mid_time(self, path: Path) -> float:
        """Middle of an exposure [MJD]; NaN when its header does not tell."""
        from soxs_recipes.instrument.times import mid_time, observation_mjd

        end, duration = (_number(self.keyword(name, path)) for name in ("MJD_END", "EXPTIME"))
        return mid_time(observation_mjd(self.header(path)), end=end, exposure_time=duration)

    def note(self, sentence: str) -> None:
        """Record a decision (the rung of a ladder); it is logged and stands in every product's header."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            _log.info("%s: %s", self.declaration.name, sentence)

    def mark_partial(self, reason: str) -> None:
        """Mark all products PARTIAL: usable, but short of what was planned; `reason` says of what."""
        if reason not in self.partial_reasons:
            self.partial_reasons.append(reason)
            _log.warning("%s: %s", self.declaration.name, reason)

    def mark_if_partial(self, path: Path, tag: str) -> None:
        """Mark all products when a product that they rest on was made with less than planned.

        A QC value of its own that is out of range is no reason.
        """
        header = self.header(path)
        reasons = [str(header[key]) for number in range(1, 20) if (key := f"REASON{number}") in header]
        told = [reason for reason in reasons if _OUT_OF_RANGE not in reason]
        if told and str(header.get("ESO QC STATUS", "") or "").strip() == "PARTIAL":
            self.mark_partial(f"{tag} is itself PARTIAL: {told[0].rsplit(' is itself PARTIAL: ')[-1]}")

    def used_files(self) -> list[InputFile]:
        """Raw frames, calibrations given and static tables that were asked for, as provenance lists them."""
        static = [
            InputFile(
                path, path.stem, self.header(path), Classification(path.stem, self.arm.name, is_product=True)
            )
            for path in self._static.values()
        ]
        return [*self.raw_files, *self.calibration_files, *static]


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _kind(raw_files: Sequence[InputFile]) -> str:
    for file in raw_files:
        for prefix, kind in (*_KINDS.items(), *_KINDS_OF_PRODUCTS.items()):
            if file.tag.startswith(prefix + "_"):
                return kind
    return "SCI"


def _read_header(path: Path) -> Header:
    from soxs_recipes.fits_files import read_header

    return read_header(path)


def gather_inputs(declaration: Declaration, frames: Iterable[tuple[str | Path, str]]) -> Inputs:
    """Read the headers of (path, tag) pairs, sort and check them.

    A tag that the recipe does not know (or none) is replaced by what the header says; files that the recipe has
    no use for are named in a warning and left out.

    Raises
    ------
    InputError
        Nothing to work on, mixed arms or setups, too few or too many frames, a frame that cannot be used.
    CalibrationMissing
        A required calibration is not there.
    """
    given = [_described(Path(path), tag) for path, tag in _without_repeats(frames)]
    if not given:
        raise InputError(f"{declaration.name}: the set of frames is empty")
    instrument = _common_instrument(declaration, given)
    files, left_out = _sorted_by_use(declaration, instrument, given)
    files, unusable = _without_unusable(declaration, instrument, files)
    left_out += unusable
    files, copies = _without_copies(files)
    left_out += copies
    arm = _common_arm(declaration, instrument, files, left_out)
    for file, why in left_out:
        _log.warning("%s: %s is left out: %s", declaration.name, file.path.name, why)
    inputs = Inputs(declaration, instrument, arm, sorted(files, key=_time))
    for file, why in left_out:
        if why.startswith(_UNUSABLE):
            inputs.mark_partial(f"left out: {file.path.name}: {why.removeprefix(_UNUSABLE)}")
    for file, why in copies:
        inputs.note(f"{file.path.name} is left out: {why}")
    try:
        _check_raws(inputs)
        _check_calibrations(inputs)
    except (InputError, CalibrationMissing) as error:
        # What lacks may be what was left out.
        if left_out:
            error.args = (f"{error} ({_left_out_text(left_out)})",)
        raise
    return inputs


def arm_of_frames(frames: Iterable[tuple[str | Path, str]]) -> str:
    """Name of the arm of the first frame that tells it, empty when none does; a recipe checks that all agree."""
    for path, _ in frames:
        try:
            arm = classify(_read_header(Path(path))).arm
        except SoxsError:
            continue
        if arm:
            return arm
    return ""


def _left_out_text(left_out: Sequence[tuple[InputFile, str]]) -> str:
    """The first three reasons, each with its first file."""
    files: dict[str, list[str]] = {}
    for file, why in left_out:
        files.setdefault(why, []).append(file.path.name)
    return "; ".join(
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {why}"
        for why, names in list(files.items())[:3]
    )


def _common_instrument(declaration: Declaration, given: Sequence[InputFile]) -> Instrument:
    """The instrument of the files that name one; InputError names the file that names another."""
    names: dict[str, InputFile] = {}
    for file in given:
        if str(file.header.get("INSTRUME") or "").strip():
            names.setdefault(str(file.header["INSTRUME"]).strip().upper(), file)
    if len(names) > 1:
        (first, one), (second, other) = list(names.items())[:2]
        raise InputError(
            f"{declaration.name}: {one.path.name} is of {first}, {other.path.name} of {second}; give frames of one"
        )
    try:
        return instrument_of(given[0].header) if not names else load_instrument(next(iter(names)))
    except InputError as error:
        raise InputError(f"{declaration.name}: {next(iter(names.values())).path.name}: {error}") from None


def _without_repeats(frames: Iterable[tuple[str | Path, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((str(path), tag or "") for path, tag in frames))


def _described(path: Path, tag: str) -> InputFile:
    if not os.path.exists(path):  # noqa: PTH110 - False, too, for names that pathlib raises on
        raise InputError(f"{path}: there is no such file; correct the set of frames")
    header = _read_header(path)
    return InputFile(path, tag.strip(), header, classify(header))


def _time(file: InputFile) -> tuple[float, str]:
    moment = observation_mjd(file.header)
    return (moment if math.isfinite(moment) else 0.0, file.path.name)


def _sorted_by_use(
    declaration: Declaration, instrument: Instrument, given: Sequence[InputFile]
) -> tuple[list[InputFile], list[tuple[InputFile, str]]]:
    """Files with a tag that the recipe knows, and those left out with the reason."""
    files, left_out = [], []
    for file in given:
        for tag in (file.tag, file.classification.tag):
            if tag and _is_declared(declaration, instrument, tag):
                files.append(InputFile(file.path, tag, file.header, file.classification))
                break
        else:
            why = file.classification.reason or f"{declaration.name} has no use for {file.classification.tag}"
            left_out.append((file, why))
    return files, left_out


def _without_unusable(
    declaration: Declaration, instrument: Instrument, files: Sequence[InputFile]
) -> tuple[list[InputFile], list[tuple[InputFile, str]]]:
    """Files without raw frames that make no sense, as long as others are left, and those with the reason."""
    is_bad = [_is_raw(declaration, instrument, file.tag) and not file.classification.tag for file in files]
    kept = [file for file, bad in zip(files, is_bad, strict=True) if not bad]
    if not any(_is_raw(declaration, instrument, file.tag) for file in kept):
        return list(files), []
    return kept, [(file, file.classification.reason) for file, bad in zip(files, is_bad, strict=True) if bad]


def _without_copies(files: Sequence[InputFile]) -> tuple[list[InputFile], list[tuple[InputFile, str]]]:
    """Files without further copies of one exposure (another name, packed), and those copies with the reason.

    Copies have tag, arm, time, exposure time and data in common.
    """
    kept: list[InputFile] = []
    copies: list[tuple[InputFile, str]] = []
    exposures: dict[tuple, list[InputFile]] = {}
    for file in files:
        moment = observation_mjd(file.header)
        if file.classification.is_product or not math.isfinite(moment):
            kept.append(file)
            continue
        about = (file.tag, file.classification.arm, moment, str(file.header.get("EXPTIME")))
        others = exposures.setdefault(about, [])
        first = next((other for other in others if _have_same_data(file, other)), None)
        if first is not None:
            copies.append((file, f"the same exposure as {first.path.name}"))
            continue
        others.append(file)
        kept.append(file)
    return kept, copies


def _have_same_data(file: InputFile, other: InputFile) -> bool:
    """Whether two files hold the same pixels; one that cannot be read is for the recipe to name."""
    import numpy as np

    from soxs_recipes.fits_files import read_raw

    try:
        return np.array_equal(read_raw(file.path).data, read_raw(other.path).data, equal_nan=True)
    except SoxsError:
        return False


def _is_declared(declaration: Declaration, instrument: Instrument, tag: str) -> bool:
    for entry in (*declaration.raws, *declaration.calibrations):
        for name in (*(arm.name for arm in instrument.arms), "ACQ"):
            if tag in {resolved_tag(entry.tag, name, kind) for kind in _KINDS_OF_PRODUCTS}:
                return True
    return False


def _arm_name(file: InputFile, instrument: Instrument) -> str:
    """Arm by header, by tag where the header does not know."""
    stated = file.classification.arm or arm_of(file.header, instrument)
    words = file.tag.split("_")
    return stated or next((arm.name for arm in instrument.arms if arm.name in words), "")


def _common_arm(
    declaration: Declaration,
    instrument: Instrument,
    files: Sequence[InputFile],
    left_out: Sequence[tuple[InputFile, str]],
) -> Arm:
    """The one arm of all files; InputError names the files that disagree."""
    raws = [file for file in files if _is_raw(declaration, instrument, file.tag)]
    if not raws:
        wanted = " or ".join(short_tag(resolved_tag(entry.tag, "<ARM>")) for entry in declaration.raws)
        found = _left_out_text(left_out)
        raise InputError(
            f"{declaration.name} needs frames {wanted}, and none is given" + (f" ({found})" if found else "")
        )
    names = [_arm_name(file, instrument) for file in raws]
    arm_name = max(dict.fromkeys(names), key=names.count)
    for file in files:
        entries = _entries_for(declaration, instrument, file.tag)
        has_arm = any("<ARM>" in entry.tag and not getattr(entry, "any_arm", False) for entry in entries)
        own = _arm_name(file, instrument)
        tagged = [arm.name for arm in instrument.arms if arm.name in file.tag.split("_")]
        if has_arm and own and (own != arm_name or (tagged and tagged != [arm_name])):
            wrong = own if own != arm_name else tagged[0]
            raise InputError(
                f"{declaration.name}: {file.path.name} ({file.tag}) is of the {wrong} arm, the other frames are "
                f"{arm_name}; give frames of one arm"
            )
    return instrument.arm(arm_name)


def _entries_for(declaration: Declaration, instrument: Instrument, tag: str) -> list:
    names = (*(arm.name for arm in instrument.arms), "ACQ")
    return [
        entry
        for entry in (*declaration.raws, *declaration.calibrations)
        if any(tag == resolved_tag(entry.tag, name, kind) for name in names for kind in _KINDS_OF_PRODUCTS)
    ]


def _is_raw(declaration: Declaration, instrument: Instrument, tag: str) -> bool:
    return any(isinstance(entry, RawInput) for entry in _entries_for(declaration, instrument, tag))


def _check_raws(inputs: Inputs) -> None:
    declaration, arm = inputs.declaration, inputs.arm
    for file in inputs.raw_files:
        if not file.classification.tag:
            raise InputError(f"{declaration.name}: {file.path.name} is {file.classification.reason}")
        for warning in file.classification.warnings:
            _log.warning("%s: %s", file.path.name, warning)
        _mark_doubtful(inputs, file)
    entries = [entry for entry in declaration.raws if entry.serves(arm)]
    if not entries:
        raise InputError(f"{declaration.name} does not serve the {arm.label} arm")
    for entry in entries:
        _check_count(inputs, entry)
    for family in dict.fromkeys(entry.one_of for entry in entries if entry.one_of):
        members = [entry for entry in entries if entry.one_of == family]
        if not any(inputs.raw(entry.tag) for entry in members):
            tags = " or ".join(resolved_tag(entry.tag, arm.name) for entry in members)
            raise InputError(f"{declaration.name} needs {tags}, and none is given; add such frames")
    files = [file for file in inputs.raw_files if not file.classification.is_product]
    _check_agreement(inputs, files, ("BINNING_X", "BINNING_Y"))
    _check_binning(inputs, files)
    for family in dict.fromkeys(entry.one_of or entry.tag for entry in entries):
        members = [entry for entry in entries if family in (entry.one_of, entry.tag)]
        for entry in members:
            tagged = [file for file in files if file.path in inputs.raw(entry.tag)]
            _check_agreement(inputs, tagged, entry.agree)
        # Tags that stand for one another must agree with one another, too.
        common = [word for word in members[0].agree if all(word in entry.agree for entry in members)]
        paths = {path for entry in members for path in inputs.raw(entry.tag)}
        _check_agreement(inputs, [file for file in files if file.path in paths], common)


def _mark_doubtful(inputs: Inputs, file: InputFile) -> None:
    """A frame that its header takes for something else, or a main input that is PARTIAL, marks the products."""
    found = file.classification
    if found.is_product:
        inputs.mark_if_partial(file.path, file.tag)
    elif _light_of(file.tag) != _light_of(found.tag):
        inputs.mark_partial(f"{file.path.name} is given as {file.tag}, but its header says {found.tag}")


def _light_of(tag: str) -> str:
    """What lit a frame, as far as its tag tells."""
    if tag.startswith("BIAS_"):
        return "bias"
    if tag.startswith("DARK_") or tag.endswith("_OFF"):
        return "none"
    word = tag.split("_")[0]
    return "sky" if word in ("OBJECT", "STD", "SKY") else word


def _check_binning(inputs: Inputs, files: Sequence[InputFile]) -> None:
    known = inputs.arm.detector.binnings
    for file in files[:1]:
        binning = (_stated(inputs, "BINNING_Y", file.path), _stated(inputs, "BINNING_X", file.path))
        if binning not in known:
            allowed = ", ".join(f"{x}x{y}" for y, x in known)
            raise InputError(
                f"{inputs.declaration.name}: {file.path.name} is binned {binning[1]}x{binning[0]} (x, y); the "
                f"{inputs.arm.label} detector has {allowed}"
            )


def _check_count(inputs: Inputs, entry: RawInput) -> None:
    name, tag = inputs.declaration.name, resolved_tag(entry.tag, inputs.arm.name)
    count = len(inputs.raw(entry.tag))
    if count == 0 and entry.required:
        raise InputError(f"{name} needs {tag} ({entry.description}), and none is given; add such frames")
    if 0 < count < entry.min_count:
        raise InputError(f"{name} needs at least {entry.min_count} {tag} frames and got {count}; add frames")
    if entry.max_count is not None and count > entry.max_count:
        raise InputError(f"{name} takes at most {entry.max_count} {tag} frame(s) and got {count}; leave some out")
    if 0 < count < entry.recommended:
        inputs.mark_partial(f"only {count} {tag} frames, {entry.recommended} recommended")


def _check_agreement(inputs: Inputs, files: Sequence[InputFile], keywords: Sequence[str]) -> None:
    """One value of each keyword among the files that state it; InputError names the odd file."""
    for keyword in keywords:
        values = {file.path.name: _stated(inputs, keyword, file.path) for file in files}
        stated = [value for value in values.values() if value is not None]
        if len(set(stated)) < 2:
            continue
        usual = max(dict.fromkeys(stated), key=stated.count)
        odd = [name for name, value in values.items() if value not in (None, usual)]
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        what = keyword.lower().replace("_", " ")
        known = next(name for name, value in values.items() if value == usual)
        most = f"{stated.count(usual)} with {usual}" if stated.count(usual) > 1 else f"{known} with {usual}"
        raise InputError(
            f"{inputs.declaration.name}: frames of different {what}: {most}, but "
            f"{odd[0]} has {values[odd[0]]}{more}; give frames of one setup"
        )


def _stated(inputs: Inputs, keyword: str, path: Path) -> object:
    value = inputs.keyword(keyword, path)
    if value is None and keyword.startswith("BINNING"):
        return 1
    return round(value, 4) if isinstance(value, float) else value


def _check_calibrations(inputs: Inputs) -> None:
    declaration, arm = inputs.declaration, inputs.arm
    for entry in declaration.calibrations:
        if not entry.serves(arm):
            continue
        tag = resolved_tag(entry.tag, arm.name)
        if entry.required and not inputs.calibrations(entry.tag):
            advice = f"run {entry.made_by} first or add one" if entry.made_by else "add one to the set of frames"
            raise CalibrationMissing(
                f"{declaration.name} needs {tag} ({entry.description}) and has none; {advice}"
            )
        if entry.agree_binning and inputs.raw_files:
            given = [file for file in inputs.calibration_files if file.path in inputs._paths([file], entry.tag)]
            reference = [file for file in inputs.raw_files if not file.classification.is_product][:1]
            if reference:
                _check_agreement(inputs, [*reference, *given], ("BINNING_X", "BINNING_Y"))
        for keyword in entry.agree:
            _mark_other_setup(inputs, entry, keyword)
    for file in inputs.calibration_files:
        status = str(file.header.get("ESO QC STATUS", "") or "").strip()
        if status == "PARTIAL":
            reason = file.header.get("REASON1", "see its header")
            inputs.note(f"{file.tag} {file.path.name} is itself PARTIAL: {reason}")


def _mark_other_setup(inputs: Inputs, entry: CalibrationInput, keyword: str) -> None:
    """A calibration of another setup serves, and the products say so."""
    wanted = _stated(inputs, keyword, inputs.raw_files[0].path)
    for file in inputs.calibration_files:
        own = _stated(inputs, keyword, file.path)
        if inputs._paths([file], entry.tag) and None not in (wanted, own) and own != wanted:
            what = keyword.lower().replace("_", " ")
            inputs.mark_partial(f"{file.tag} has {what} {own}, the frames have {wanted}")
