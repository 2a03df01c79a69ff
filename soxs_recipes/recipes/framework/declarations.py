"""What a recipe takes and gives, as data: the one source of checks, parameters, man page, settings and help.

Tags hold the placeholders `<ARM>` (the arm's name) and, in products, `<KIND>` (SCI, FLUX or TELL, by what was
observed). A tag's *short name* is the tag without placeholders: `MASTER_BIAS_<ARM>` is asked for as
`MASTER_BIAS`, `WAVE_PIN_<ARM>_ON` as `WAVE_PIN_ON`.

Nothing here may import numpy: listing recipes and `--help` must stay instant.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.errors import InputError
from soxs_recipes.instrument.model import Arm

__all__ = [
    "AUTO",
    "OBSERVED_KINDS",
    "PLOTS",
    "CalibrationInput",
    "Declaration",
    "Parameter",
    "Product",
    "RawInput",
    "automatic_value",
    "parameter_name",
    "resolved_tag",
    "short_tag",
]

AUTO = "auto"
# What `<KIND>` may be: science, flux standard, telluric standard.
OBSERVED_KINDS = ("SCI", "FLUX", "TELL")
_DETECTORS = ("", "ccd", "infrared")
_KINDS = ("image", "table", "spectrum")


def short_tag(tag: str) -> str:
    """Tag without its placeholders: `<KIND>_SLIT_TRACE_<ARM>` -> `SLIT_TRACE`."""
    return tag.replace("<KIND>_", "").replace("_<ARM>", "")


def resolved_tag(tag: str, arm_name: str, kind: str = "SCI") -> str:
    """Tag with its placeholders filled."""
    return tag.replace("<ARM>", arm_name).replace("<KIND>", kind)


def parameter_name(text: str) -> str:
    """Last part of a parameter's name, `_` read as `-`: `soxs.soxs_mflat.stack_sigma` -> `stack-sigma`."""
    return text.rsplit(".", 1)[-1].strip().replace("_", "-").lower()


def _serves(detector: str, arm: Arm) -> bool:
    return not detector or (detector == "ccd") == arm.detector.has_bias


class _ForDetector:
    """What may be asked in the arms of one kind of detector only."""

    __slots__ = ()

    def serves(self, arm: Arm) -> bool:
        """Whether this entry exists in `arm`."""
        return _serves(self.detector, arm)

    @property
    def short(self) -> str:
        """Tag without placeholders."""
        return short_tag(self.tag)

    def _check(self) -> None:
        if self.detector not in _DETECTORS:
            raise ValueError(f"{self.tag}: detector must be one of {_DETECTORS}")
        if not self.tag or not self.description:
            raise ValueError("an input or product needs a tag and a description")


@dataclass(frozen=True, slots=True)
class RawInput(_ForDetector):
    """A main input of a recipe: raw frames, or products that are reduced further.

    Attributes
    ----------
    tag, description : str
    min_count : int
        Fewer frames (but some) are refused.
    max_count : int or None
        More frames are refused.
    required : bool
        Without any frame the recipe cannot run. With several tags of which one suffices, declare each
        `required=False` and give them one `one_of` name.
    agree : tuple of str
        Keyword names of `instrument/` ("BINNING_X", "READ_MODE_ID", "SLIT", "EXPTIME") that must agree among
        the frames of this tag. Binning must agree among all frames of a run in any case.
    recommended : int
        With fewer frames the product is made and marked PARTIAL.
    one_of : str
        Name of a family of tags of which at least one must be there.
    detector : str
        "ccd" or "infrared" when only such arms have this tag.
    """

    tag: str
    description: str
    min_count: int = 1
    max_count: int | None = None
    required: bool = True
    agree: tuple[str, ...] = ()
    recommended: int = 1
    one_of: str = ""
    detector: str = ""

    def __post_init__(self):
        self._check()
        if self.min_count < 1 or (self.max_count is not None and self.max_count < self.min_count):
            raise ValueError(f"{self.tag}: counts make no sense")


@dataclass(frozen=True, slots=True)
class CalibrationInput(_ForDetector):
    """A calibration that a recipe uses.

    Attributes
    ----------
    tag, description : str
    required : bool
        Without it the recipe stops with CalibrationMissing.
    ladder : str
        What the recipe does without it, one sentence; empty when it is required or nothing is lost.
    made_by : str
        Recipe that makes it, for the advice in error texts.
    static : bool
        A table of the pipeline's own, found without being given; one that is given is preferred.
    detector : str
        "ccd" or "infrared" when only such arms use it.
    agree_binning : bool
        Its binning must be that of the raw frames.
    agree : tuple of str
        Keyword names in which it should agree with the raw frames ("SLIT", "READ_MODE_ID"): products made with
        one that does not are marked PARTIAL.
    any_arm : bool
        May be of another arm than the raw frames.
    """

    tag: str
    description: str
    required: bool = False
    ladder: str = ""
    made_by: str = ""
    static: bool = False
    detector: str = ""
    agree_binning: bool = True
    agree: tuple[str, ...] = ()
    any_arm: bool = False

    def __post_init__(self):
        self._check()
        if self.required and self.ladder:
            raise ValueError(f"{self.tag}: a required calibration has no ladder")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a recipe.

    Attributes
    ----------
    name : str
        Lower case, words joined by `-`.
    type : type
        bool, int, float or str. A list is a str of values between commas.
    default : bool, int, float or str
        "auto" for one that depends on the arm: `arm.defaults["<recipe>.<name>"]` gives the value.
    unit, sentence : str
    minimum, maximum : number or None
        Limits, inclusive.
    choices : tuple
        The values there are.
    typical : value or None
        What `auto` means where the arm's defaults do not say.
    group : str
        What it has to do with: windows show the parameters of a group together.
    """

    name: str
    type: type
    default: bool | int | float | str
    unit: str
    sentence: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple = ()
    typical: bool | int | float | str | None = None
    group: str = ""

    def __post_init__(self):
        if self.name != parameter_name(self.name):
            raise ValueError(f"parameter name {self.name!r} must be lower case with '-' between words")
        if self.type not in (bool, int, float, str):
            raise ValueError(f"{self.name}: type must be bool, int, float or str")
        if self.default != AUTO:
            self.checked(self.default)

    @property
    def is_auto(self) -> bool:
        """Whether the default depends on the arm."""
        return self.default == AUTO

    def checked(self, value: object) -> bool | int | float | str:
        """`value` in this parameter's type and within its range; InputError says what is allowed."""
        converted = self._converted(value)
        if self.choices and converted not in self.choices:
            raise InputError(
                f"parameter {self.name} = {value}: must be one of {', '.join(map(str, self.choices))}"
            )
        below = self.minimum is not None and not converted >= self.minimum
        above = self.maximum is not None and not converted <= self.maximum
        if below or above:
            raise InputError(f"parameter {self.name} = {value}: must be {self.range_text()}")
        return converted

    def checked_or_auto(self, value: object) -> bool | int | float | str:
        """As `checked`, but "auto" stays "auto" where it is the default; then other values are text, too."""
        if not self.is_auto:
            return self.checked(value)
        return AUTO if str(value).strip().lower() == AUTO else str(self.checked(value))

    def _converted(self, value: object) -> bool | int | float | str:
        text = str(value).strip()
        try:
            if self.type is bool:
                return {"true": True, "false": False}[text.lower()]
            if self.type is int:
                return int(text) if not isinstance(value, float) else _whole(value)
            if self.type is float:
                return float(text)
        except (ValueError, KeyError):
            words = {bool: "true or false", int: "a whole number", float: "a number"}
            raise InputError(f"parameter {self.name} = {value}: must be {words[self.type]}") from None
        if isinstance(value, (list, tuple)):
            return ",".join(str(item) for item in value)
        return str(value)

    def range_text(self) -> str:
        """Allowed values in words, empty when all are."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{self.minimum:g} or more"
        if self.maximum is not None:
            return f"{self.maximum:g} or less"
        return ""


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError
    return int(value)


# Runners that know no plots get them by this parameter of every recipe; no product depends on it or records it.
PLOTS = Parameter("plots", bool, False, "", "Whether to draw the products into plots/ beside them.")


@dataclass(frozen=True, slots=True)
class Product(_ForDetector):
    """A product of a recipe.

    Attributes
    ----------
    tag, description : str
    kind : str
        "image", "table" or "spectrum".
    always : bool
        Whether every COMPLETE run makes it.
    detector : str
        "ccd" or "infrared" when only such arms have it.
    """

    tag: str
    description: str
    kind: str = "image"
    always: bool = True
    detector: str = ""

    def __post_init__(self):
        self._check()
        if self.kind not in _KINDS:
            raise ValueError(f"{self.tag}: kind must be one of {_KINDS}")


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that is known of a recipe without running it.

    Attributes
    ----------
    name : str
        `soxs_<verb>`.
    synopsis : str
        One line.
    description : str
        What it does and how, some paragraphs.
    raws, calibrations, parameters, products, qc : tuples
    algorithm_version : int
        Raised by hand when results change.
    """

    name: str
    synopsis: str
    description: str
    raws: tuple[RawInput, ...]
    products: tuple[Product, ...]
    calibrations: tuple[CalibrationInput, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    qc: tuple[QCDefinition, ...] = ()
    algorithm_version: int = 1
    _parameters: dict = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self):
        for what, names in (
            ("input", [entry.tag for entry in (*self.raws, *self.calibrations)]),
            ("product", [entry.tag for entry in self.products]),
            ("parameter", [entry.name for entry in self.parameters]),
            ("QC parameter", [entry.name for entry in self.qc]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{self.name}: {what} declared twice: {', '.join(sorted(twice))}")
        if any(entry.name == PLOTS.name for entry in self.parameters):
            raise ValueError(f"{self.name}: every recipe has the parameter {PLOTS.name}")
        if not self.raws or not self.products:
            raise ValueError(f"{self.name}: a recipe needs inputs and products")
        self._parameters.update({entry.name: entry for entry in self.parameters})

    def parameter(self, name: str) -> Parameter:
        """A parameter by full or short name; InputError suggests the nearest."""
        key = parameter_name(name)
        if key not in self._parameters:
            near = difflib.get_close_matches(key, self._parameters, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; see soxs man {self.name.removeprefix('soxs_')}"
            raise InputError(f"{self.name} has no parameter {name!r}{hint}")
        return self._parameters[key]

    def taken_tags(self, arm: Arm) -> set[str]:
        """All tags that it takes in an arm, whatever was observed."""
        return {
            resolved_tag(entry.tag, arm.name, kind)
            for entry in (*self.calibrations, *self.raws)
            if entry.serves(arm)
            for kind in OBSERVED_KINDS
        }

    def product(self, tag: str) -> Product:
        """A product by full or short tag; KeyError names those there are."""
        for product in self.products:
            if tag in (product.tag, product.short):
                return product
        raise KeyError(f"{self.name} declares no product {tag!r}, only {[entry.short for entry in self.products]}")

    def full_name(self, parameter: Parameter) -> str:
        """`soxs.soxs_mflat.stack-sigma`."""
        return f"soxs.{self.name}.{parameter.name}"


def automatic_value(declaration: Declaration, parameter: Parameter, arm: Arm) -> object:
    """What `auto` means in an arm: its own default, else the typical value; None when there is neither."""
    for recipe in (declaration.name, declaration.name.removeprefix("soxs_")):
        for name in (parameter.name, parameter.name.replace("-", "_")):
            if f"{recipe}.{name}" in arm.defaults:
                return arm.defaults[f"{recipe}.{name}"]
    return parameter.typical
