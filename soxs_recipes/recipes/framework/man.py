"""The manual of a recipe, made from its declaration."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from soxs_recipes import __version__
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.model import Arm
from soxs_recipes.recipes.framework.declarations import (
    CalibrationInput,
    Declaration,
    Parameter,
    RawInput,
    automatic_value,
)

__all__ = ["description_text", "man_page"]

_WIDTH = 100
_DETECTOR_TEXT = {"": "", "ccd": " (CCD arms)", "infrared": " (infrared arms)"}


def man_page(declaration: Declaration) -> str:
    """The whole manual page as plain text."""
    title = declaration.name.upper()
    verb = declaration.name.removeprefix("soxs_")
    parts = [
        f"{title}{'SOXS recipes':>{_WIDTH - len(title)}}",
        _section("NAME", [f"{declaration.name} - {declaration.synopsis}"]),
        _section(
            "SYNOPSIS",
            [
                f"soxs {verb} FRAMES... [-o FOLDER] [-s SETTINGS] [--PARAMETER=VALUE ...]",
                f"pyesorex {declaration.name} [--PARAMETER=VALUE ...] FILE.sof",
            ],
        ),
        description_text(declaration, load_instrument().arms),
        _section("VERSION", [f"soxs-recipes {__version__}, algorithm {declaration.algorithm_version}"]),
    ]
    return "\n\n".join(parts) + "\n"


def description_text(
    declaration: Declaration, arms: Sequence[Arm] = (), *, heading: str = "DESCRIPTION\n", options: bool = True
) -> str:
    """Description, inputs, parameters, products and QC, as runners' `--man-page` shows them.

    With `arms`, what `auto` means in each is told; a runner that has a heading and a list of options of its own
    goes without ours.
    """
    paragraphs = [_section("", [paragraph]).lstrip("\n") for paragraph in _paragraphs(declaration.description)]
    sections = [
        heading + "\n\n".join(paragraphs),
        _section("INPUTS", [_raw_text(entry) for entry in declaration.raws], hanging=True),
    ]
    if declaration.calibrations:
        entries = [_calibration_text(entry) for entry in declaration.calibrations]
        sections.append(_section("CALIBRATIONS", entries, hanging=True))
    if options and declaration.parameters:
        entries = [
            parameter_text(entry, _automatic_text(declaration, entry, arms)) for entry in declaration.parameters
        ]
        sections.append(_section("PARAMETERS", entries, hanging=True))
    products = [
        f"{p.tag}{_DETECTOR_TEXT[p.detector]}: {_sentence(p.description)}"
        + ("" if p.always else " [not always made]")
        for p in declaration.products
    ]
    sections.append(_section("PRODUCTS", products, hanging=True))
    if declaration.qc:
        sections.append(_section("QC PARAMETERS", [_qc_text(entry) for entry in declaration.qc], hanging=True))
    return "\n\n".join(sections)


def _section(title: str, paragraphs: Iterable[str], *, hanging: bool = False) -> str:
    indent = " " * 4
    wrapped = [
        textwrap.fill(
            " ".join(paragraph.split()),
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=indent * (2 if hanging else 1),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for paragraph in paragraphs
    ]
    return "\n".join([title, *wrapped])


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in textwrap.dedent(text).strip().split("\n\n") if paragraph.strip()]


def _sentence(text: str) -> str:
    return text.rstrip(". ") + "."


def _raw_text(entry: RawInput) -> str:
    most = "" if entry.max_count is None else f" to {entry.max_count}"
    count = f"{entry.min_count}{most}" if most else f"{entry.min_count} or more"
    extras = []
    if entry.recommended > entry.min_count:
        extras.append(f"{entry.recommended} recommended")
    if entry.one_of:
        extras.append("one of these tags suffices")
    elif not entry.required:
        extras.append("optional")
    if entry.agree:
        extras.append("alike in " + ", ".join(word.lower().replace("_", " ") for word in entry.agree))
    details = "; ".join([count, *extras])
    return f"{entry.tag}{_DETECTOR_TEXT[entry.detector]}: {_sentence(entry.description)} [{details}]"


def _calibration_text(entry: CalibrationInput) -> str:
    kind = "required" if entry.required else "optional"
    source = (
        "from the pipeline unless given" if entry.static else (f"made by {entry.made_by}" if entry.made_by else "")
    )
    details = "; ".join(word for word in (kind, source) if word)
    ladder = f" Without it: {_sentence(entry.ladder)}" if entry.ladder else ""
    return f"{entry.tag}{_DETECTOR_TEXT[entry.detector]}: {_sentence(entry.description)} [{details}]{ladder}"


def _automatic_text(declaration: Declaration, parameter: Parameter, arms: Sequence[Arm]) -> str:
    """What `auto` means in the arms that the recipe serves."""
    if not parameter.is_auto:
        return ""
    served = [arm for arm in arms if any(entry.serves(arm) for entry in declaration.raws)]
    values = {arm.label: automatic_value(declaration, parameter, arm) for arm in served}
    return ", ".join(f"{label} {shown(value)}" for label, value in values.items() if value is not None)


def parameter_text(parameter: Parameter, automatic: str = "") -> str:
    """Name, sentence, type, unit, range and default of a parameter; `automatic` says what `auto` means."""
    facts = [parameter.type.__name__]
    if parameter.unit:
        facts.append(f"unit {parameter.unit}")
    if parameter.range_text():
        facts.append(parameter.range_text())
    default = (
        f"auto: {automatic or 'depends on the arm'}"
        if parameter.is_auto
        else f"default {shown(parameter.default)}"
    )
    return f"--{parameter.name}: {_sentence(parameter.sentence)} [{'; '.join([*facts, default])}]"


def shown(value: object) -> str:
    """A value as settings files and manuals write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if value == "" else str(value)


def _qc_text(entry) -> str:
    name = f"QC ORDn {entry.name}" if entry.per_order else f"QC {entry.name}"
    unit = f" [{entry.unit}]" if entry.unit else ""
    if isinstance(entry.acceptable, dict):
        ranges = ", ".join(f"{arm} {low:g} to {high:g}" for arm, (low, high) in entry.acceptable.items())
    else:
        ranges = "" if entry.acceptable is None else f"{entry.acceptable[0]:g} to {entry.acceptable[1]:g}"
    acceptable = f" Acceptable: {ranges}." if ranges else ""
    return f"{name}{unit}: {_sentence(entry.sentence)}{acceptable}"
