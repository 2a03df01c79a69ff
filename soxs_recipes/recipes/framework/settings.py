"""Settings files: made with comments from the declarations, read back strictly.

A file names recipes, and under each its parameters; an arm's name may stand between::

    soxs_mflat:
      stack-sigma: 5.0
      NIR:
        stack-sigma: 4.0

What stands under an arm is for that arm only and wins. `_` is read as `-`, a recipe may be named by its command
(`mflat`). A `.rc` file of EsoRex or pyesorex (full names, `soxs.soxs_mflat.stack-sigma=5`) will do as well.
"""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soxs_recipes.errors import InputError
from soxs_recipes.eso.rc import RcEntry, parse_rc, rc_text, read_rc, replace_text
from soxs_recipes.recipes.framework.cpl_terms import help_text, parameter_list
from soxs_recipes.recipes.framework.declarations import PLOTS, Declaration, Parameter, parameter_name
from soxs_recipes.recipes.framework.man import shown
from soxs_recipes.recipes.framework.registry import recipe_class, recipe_entry

__all__ = [
    "SIZE_LIMIT",
    "RecipeConfig",
    "Settings",
    "given_settings_text",
    "read_recipe_config",
    "read_settings",
    "settings_from_rc",
    "settings_from_text",
    "settings_text",
    "write_recipe_config",
]

SIZE_LIMIT = 1_000_000
_DEPTH_LIMIT = 20
_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Settings:
    """Values of a settings file: recipe name -> arm name ("" for all arms) -> parameter -> value."""

    values: Mapping[str, Mapping[str, Mapping[str, object]]] = field(default_factory=dict)

    def of(self, recipe: str, arm_name: str = "") -> dict[str, object]:
        """Parameters of a recipe; those of an arm win over those of all arms."""
        by_arm = self.values.get(recipe_entry(recipe).name, {})
        return {**by_arm.get("", {}), **(by_arm.get(arm_name, {}) if arm_name else {})}


def settings_text(declarations: Iterable[Declaration]) -> str:
    """A settings file with every parameter at its default, each explained by a comment."""
    lines = [
        "# Settings of the SOXS recipes. Values here are the defaults; change what you need, delete the rest.",
        "# Under a recipe's name an arm's name (such as NIR:) may stand, with values for that arm only.",
    ]
    for declaration in declarations:
        lines += ["", "", *_comment(f"{declaration.name}: {declaration.synopsis}"), f"{declaration.name}:"]
        if not declaration.parameters:
            lines[-1] += " {}"
        for parameter in declaration.parameters:
            lines += [
                *_comment(_explained(parameter), "  "),
                f"  {parameter.name}: {_yaml_value(parameter.default)}",
            ]
    return "\n".join(lines) + "\n"


def given_settings_text(settings: Settings) -> str:
    """A settings file of the values given, each explained by a comment; what is at its default is not named."""
    lines = ["# Settings of the SOXS recipes; what is not named here has its default."]
    for recipe, arms in settings.values.items():
        declaration = recipe_class(recipe).declaration
        if not any(arms.values()):
            continue
        lines += ["", *_comment(f"{declaration.name}: {declaration.synopsis}"), f"{declaration.name}:"]
        for arm_name, values in sorted(arms.items()):
            indent = "    " if arm_name else "  "
            if arm_name and values:
                lines.append(f"  {arm_name}:")
            for name, value in values.items():
                parameter = declaration.parameter(name)
                lines += [*_comment(_explained(parameter), indent), f"{indent}{name}: {_yaml_value(value)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _explained(parameter: Parameter) -> str:
    facts = [parameter.type.__name__, parameter.unit, parameter.range_text()]
    details = "; ".join(fact for fact in facts if fact)
    auto = " auto: by the arm." if parameter.is_auto else ""
    return f"{parameter.sentence.rstrip('.')} [{details}].{auto}"


def _yaml_value(value: object) -> str:
    """A value as YAML reads it back."""
    if isinstance(value, str):
        import json

        plain = value.replace("-", "").replace("_", "").isalpha()
        return value if plain and value not in _YAML_WORDS else json.dumps(value)
    return shown(value)


_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"})


def read_settings(path: str | os.PathLike) -> Settings:
    """Read and check a settings file; one named `*.rc` is read as EsoRex writes it.

    Raises
    ------
    InputError
        Unreadable, too large, not YAML, an unknown recipe, arm or parameter (the nearest is suggested), or a
        value out of range; the message names the file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such settings file")
        if path.stat().st_size > SIZE_LIMIT:
            raise InputError(f"{path}: larger than {SIZE_LIMIT} bytes, no settings file; not read")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text, no settings file") from error
    return settings_from_rc(text, str(path)) if path.suffix == ".rc" else settings_from_text(text, str(path))


def settings_from_text(text: str, name: str = "settings") -> Settings:
    """Settings from YAML text; errors as `read_settings`, `name` stands in the messages."""
    document = _parsed(text, name)
    if document is None:
        return Settings()
    values: dict[str, dict[str, dict[str, object]]] = {}
    for recipe_name, body in _mapping(document, name, "the file").items():
        try:
            declaration = recipe_class(str(recipe_name)).declaration
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if declaration.name in values:
            raise InputError(f"{name}: {declaration.name} stands there twice")
        values[declaration.name] = _recipe_values(declaration, body, name)
    return Settings(values)


def settings_from_rc(text: str, name: str = "settings") -> Settings:
    """Settings from the text of a `.rc` file; lines of other instruments' recipes are refused, too."""
    values: dict[str, dict[str, dict[str, object]]] = {}
    for full_name, value in parse_rc(text, name).items():
        instrument, _, rest = full_name.partition(".")
        recipe, _, parameter = rest.partition(".")
        if instrument != "soxs" or not parameter:
            raise InputError(f"{name}: {full_name} is no parameter of ours; they read soxs.soxs_mflat.stack-sigma")
        try:
            declaration = recipe_class(recipe).declaration
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        of_recipe = values.setdefault(declaration.name, {"": {}})[""]
        # A runner's own matter, which other runners write among the parameters.
        if parameter_name(parameter) != PLOTS.name:
            _set(of_recipe, declaration, parameter, value, name)
    return Settings(values)


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """What a `.rc` file says to one recipe.

    Attributes
    ----------
    values : dict
        Parameter -> value, checked.
    plots : bool or None
        What it says of plots, which are no matter of the recipe; None when nothing.
    """

    values: dict[str, object] = field(default_factory=dict)
    plots: bool | None = None


def read_recipe_config(declaration: Declaration, path: str | os.PathLike) -> RecipeConfig:
    """Read a `.rc` file as EsoRex and pyesorex write it; lines of our other recipes are passed over.

    Raises
    ------
    InputError
        Unreadable, a line that is no `name=value`, an unknown name (as EsoRex refuses it; the nearest is
        suggested), or a value that the parameter cannot take; names the file.
    """
    values: dict[str, object] = {}
    plots = None
    for full_name, value in read_rc(path).items():
        recipe = ".".join(full_name.split(".")[:-1]).removeprefix("soxs.")
        try:
            if recipe not in ("", declaration.name):
                recipe_entry(recipe)
            elif parameter_name(full_name) == PLOTS.name:
                plots = PLOTS.checked(value)
            else:
                parameter = declaration.parameter(full_name)
                values[parameter.name] = parameter.checked_or_auto(value)
        except InputError as error:
            raise InputError(f"{path}: {full_name}: {error}") from None
    return RecipeConfig(values, plots)


def write_recipe_config(
    declaration: Declaration, path: str | os.PathLike, values: Mapping[str, object] | None = None
) -> Path:
    """Write a configuration file of a recipe: every parameter, at its default unless `values` says otherwise.

    It is a `.rc` file, or the JSON that EsoRex writes when the name ends in `.json`. A file that is there is kept
    as `.bak`. InputError when it cannot be written.
    """
    given = {declaration.parameter(key).name: value for key, value in (values or {}).items()}
    parameters = parameter_list(declaration)
    entries = [
        RcEntry(
            parameter.name,
            given.get(entry.name, entry.default),
            entry.name,
            help_text(entry),
            entry.default,
            tuple(getattr(parameter, "alternatives", ())),
        )
        for entry, parameter in zip(declaration.parameters, parameters, strict=False)
    ]
    path = Path(path)
    text = _json_text(declaration, entries) if path.suffix == ".json" else rc_text(entries, path.name)
    try:
        return replace_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _json_text(declaration: Declaration, entries: Iterable[RcEntry]) -> str:
    import json

    types = {"BOOL": "bool", "INT": "int", "DOUBLE": "double", "STRING": "string"}
    described = []
    for entry, parameter in zip(entries, parameter_list(declaration), strict=False):
        limits = {}
        kind = type(parameter).__name__.removeprefix("Parameter").lower()
        if kind == "range":
            limits = {"valmin": parameter.min, "valmax": parameter.max}
        elif kind == "enum":
            limits = {"valenum": parameter.alternatives}
        described.append(
            {"name": entry.name, "value": entry.value, "valtype": types[parameter.data_type.name], "partype": kind,
             **limits, "display_name": entry.alias, "description": entry.sentence, "recipe": declaration.name}
        )  # fmt: skip
    return json.dumps(described, indent=2) + "\n"


def _parsed(text: str, name: str) -> object:
    import yaml

    if any(depth > _DEPTH_LIMIT for depth in _flow_depths(text)):
        raise InputError(f"{name}: nested too deeply for a settings file")
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            # An alias could unfold to gigabytes; no settings file needs one.
            if isinstance(event, yaml.AliasEvent):
                raise InputError(f"{name}: YAML aliases (*{event.anchor}) are not supported")
        return yaml.load(text, Loader=_strict_loader())  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{name}{where}: not valid YAML ({problem})") from error


def _strict_loader() -> type:
    """SafeLoader that refuses a key that stands twice in one mapping, where YAML would take the last."""
    import yaml

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.MarkedYAMLError(problem=f"{twice} stands there twice", problem_mark=node.start_mark)
            return super().construct_mapping(node, deep)

    return StrictLoader


def _flow_depths(text: str) -> Iterable[int]:
    depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        yield depth


def _mapping(value: object, name: str, where: str) -> dict:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{name}: {where} must hold `name: value` lines, not {type(value).__name__}")
    return value


def _arm_names() -> tuple[str, ...]:
    from soxs_recipes.instrument import load_instrument

    return tuple(arm.name for arm in load_instrument().arms)


def _recipe_values(declaration: Declaration, body: object, name: str) -> dict[str, dict[str, object]]:
    arms = _arm_names()
    result: dict[str, dict[str, object]] = {"": {}}
    for key, value in _mapping(body, name, declaration.name).items():
        if isinstance(value, dict):
            if str(key) not in arms:
                near = difflib.get_close_matches(str(key), arms, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the arms are {', '.join(arms)}"
                raise InputError(f"{name}: {declaration.name} has no arm {key!r}; {hint}")
            for inner, inner_value in value.items():
                if isinstance(inner_value, dict):
                    raise InputError(f"{name}: {declaration.name}, {key}: {inner} holds no value but a mapping")
                _set(result.setdefault(str(key), {}), declaration, inner, inner_value, name)
        elif str(key) in arms and value is None:
            result.setdefault(str(key), {})
        else:
            _set(result[""], declaration, key, value, name)
    return result


def _set(values: dict[str, object], declaration: Declaration, key: object, value: object, name: str) -> None:
    try:
        parameter = declaration.parameter(str(key))
        checked = parameter.checked_or_auto(value)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if value is None or parameter.name in values:
        what = "has no value" if value is None else "stands there twice"
        raise InputError(f"{name}: {declaration.name}: {parameter.name} {what}")
    values[parameter.name] = checked
