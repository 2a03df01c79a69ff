"""Configuration files of EsoRex and pyesorex (`.rc`): booleans read in every spelling, written TRUE and FALSE."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from soxs_recipes.errors import InputError

__all__ = ["RcEntry", "parse_rc", "rc_text", "read_rc", "replace_text"]

_SIZE_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class RcEntry:
    """A parameter as a `.rc` file shows it; `choices` are told behind the sentence."""

    name: str
    value: bool | int | float | str
    alias: str = ""
    sentence: str = ""
    default: bool | int | float | str = ""
    choices: tuple = ()


def read_rc(path: str | os.PathLike) -> dict[str, str | bool]:
    """Full parameter name -> value (text; TRUE, True and true become True); InputError names file and line."""
    path = Path(path)
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise InputError(f"{path}: far too large for a configuration file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text") from error
    return parse_rc(text, str(path))


def parse_rc(text: str, name: str = "configuration") -> dict[str, str | bool]:
    """Values of the text of a `.rc` file."""
    values: dict[str, str | bool] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{name}, line {number}: expected name=value, found {line!r}")
        values[key.strip()] = _value(value.strip())
    return values


def _value(text: str) -> str | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def rc_text(entries: Iterable[RcEntry], name: str = "") -> str:
    """Text of a `.rc` file, as EsoRex writes it; InputError for a value with a line break."""
    lines = [f"# File: {name}", "#", "# Made by soxs-recipes; lines are name=value."]
    for entry in entries:
        choices = f" <{' | '.join(map(str, entry.choices))}>" if entry.choices else ""
        lines += ["", f"# --{entry.alias or entry.name}"]
        lines += [f"# {line}" for line in textwrap.wrap(entry.sentence + choices, 78, break_on_hyphens=False)]
        lines.append(_line(entry))
    return "\n".join([*lines, "", "#", "# End of file", ""])


def _line(entry: RcEntry) -> str:
    value = ("TRUE" if entry.value else "FALSE") if isinstance(entry.value, bool) else str(entry.value)
    if len(value.splitlines()) > 1:
        raise InputError(f"{entry.name}: a value with a line break cannot stand in a configuration file")
    if value == "":
        # EsoRex stops at `name=`.
        return f"#{entry.name}=" if entry.default == "" else f'{entry.name}=""'
    return f"{entry.name}={value}"


def replace_text(path: str | os.PathLike, text: str) -> Path:
    """Write a file; one that is there is kept as `.bak`."""
    path = Path(path)
    if path.exists():
        path.replace(path.with_name(path.name + ".bak"))
    path.write_text(text, encoding="utf-8")
    return path
