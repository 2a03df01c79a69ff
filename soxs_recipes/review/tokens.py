"""What Reflex's actors pass to one another: sets of files and sets of parameters, as JSON or as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from soxs_recipes.errors import InputError

__all__ = ["FileSet", "FitsFile", "RecipeParameter", "file_set", "parameter_list", "sof_token", "sop_token"]

_SOF_CLASS = "org.eso.domain.SetOfFiles"
_FILE_CLASS = "org.eso.domain.FitsFile"
_PARAMETER_CLASS = "org.eso.domain.RecipeParameter"
_PARAMETER = re.compile(r"\s*(?P<recipe>[^:=]+):(?P<name>[^=]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FitsFile:
    """One file: name, category (PRO CATG or tag), purposes, and Reflex's own checksum."""

    name: str
    category: str
    purposes: tuple[str, ...] = ()
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class FileSet:
    """A set of files of one data set."""

    dataset: str
    files: tuple[FitsFile, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeParameter:
    """One parameter of one recipe; `value` is text."""

    recipe: str
    name: str
    value: str
    token: Mapping[str, object] = field(default_factory=dict)


def file_set(value: object, port: str) -> FileSet:
    """A set of files from JSON or from `dataset|file;CATEGORY;PURPOSE:PURPOSE,file;...`.

    InputError names the port when it is neither.
    """
    if isinstance(value, str):
        return _file_set_from_text(value, port)
    try:
        files = tuple(
            FitsFile(str(f["name"]), str(f["category"]), tuple(f.get("purposes") or ()), f.get("checksum"))
            for f in value["files"]
        )
        return FileSet(str(value.get("datasetName") or ""), files)
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{port}: is no set of files") from None


def _file_set_from_text(text: str, port: str) -> FileSet:
    dataset, bar, rest = text.partition("|")
    if not bar:
        raise InputError(f"{port}: a set of files reads dataset|file;CATEGORY;PURPOSE,..., found {text[:60]!r}")
    files = []
    for entry in filter(None, (part.strip() for part in rest.split(","))):
        words = entry.rsplit(";", 2)
        if len(words) != 3:
            raise InputError(f"{port}: {entry!r} is not file;CATEGORY;PURPOSE")
        files.append(FitsFile(words[0], words[1], tuple(filter(None, words[2].split(":")))))
    return FileSet(dataset, tuple(files))


def parameter_list(value: object, port: str) -> list[RecipeParameter]:
    """Parameters from JSON or from `recipe:name=value,...`; InputError names the port when it is neither.

    In text, a comma begins a new parameter only where `recipe:name=` follows: values may hold commas.
    """
    if isinstance(value, str):
        return _parameters_from_text(value, port)
    try:
        return [
            RecipeParameter(str(p["recipe"]), str(p["display_name"]), _text(p.get("value")), dict(p))
            for p in value
        ]
    except (TypeError, KeyError):
        raise InputError(f"{port}: is no set of parameters") from None


def _parameters_from_text(text: str, port: str) -> list[RecipeParameter]:
    found = []
    for part in re.split(r"[,\n](?=\s*[^:=,]+:[^=,]+=)", text) if text.strip() else ():
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise InputError(f"{port}: {part.strip()!r} is not recipe:parameter=value")
        found.append(RecipeParameter(match["recipe"].strip(), match["name"].strip(), match["value"].strip()))
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def sof_token(files: FileSet) -> dict[str, object]:
    """A set of files as Reflex reads it."""
    return {
        "class": _SOF_CLASS,
        "datasetName": files.dataset,
        "files": [
            {
                "class": _FILE_CLASS,
                "name": file.name,
                "category": file.category,
                "purposes": list(file.purposes),
                "checksum": file.checksum,
            }
            for file in files.files
        ],
    }


def sop_token(parameters: Iterable[RecipeParameter]) -> list[dict[str, object]]:
    """Parameters as Reflex reads them; what a parameter's token held beside name and value goes along."""
    return [
        {
            "class": _PARAMETER_CLASS,
            "display_name": parameter.name,
            "name": parameter.token.get("name"),
            "description": parameter.token.get("description"),
            "recipe": parameter.recipe,
            "value": parameter.value,
        }
        for parameter in parameters
    ]
