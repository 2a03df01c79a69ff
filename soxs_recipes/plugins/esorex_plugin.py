"""A recipe as a Python plugin of EsoRex, which Reflex uses as well.

EsoRex imports every Python file below its recipe folder at each start, takes every class with a base named
`CplPlugin`, and lists what it says of itself; to run one, it starts `python` again, calls `execute` and reads
back the frames. Everything that goes between the two is JSON: a text that is None would make EsoRex drop every
Python recipe, silently.

This module stays outside EsoRex's folder, so that the base is not taken for a recipe. There, files named like the
recipes, all of them links to `esorex_file.py`, ask for one `plugin_class` each.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from soxs_recipes.errors import InputError, Interrupted, SoxsError
from soxs_recipes.eso import core, ui
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.man import description_text
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.threads import settle_environment

__all__ = ["CplPlugin", "plugin_class"]


class CplPlugin:
    """What EsoRex asks of a plugin; a subclass names its recipe."""

    recipe: ClassVar[type[Recipe]]

    def __init__(self):
        recipe = self.recipe()
        self.name = recipe.name
        self.version = version_number(recipe.version)
        self.synopsis = recipe.synopsis
        self.description = description_text(recipe.declaration, heading="", options=False)
        self.author = recipe.author
        self.email = recipe.author  # EsoRex: please report any problems to ...
        self.copyright = recipe.copyright
        self.parameters = [parameter_entry(parameter) for parameter in recipe.parameters]
        self.error_message = ""

    def execute(self, plugin: dict) -> int:
        """Run the recipe in the working directory.

        Parameters
        ----------
        plugin : dict
            `parameters` (name and value) and `frames` (filename and tag); frames are told their groups, and the
            products are appended.

        Returns
        -------
        int
            0, or the exit code of the error's class, then with `error_message`; never an exception, for which
            EsoRex would say less.
        """
        caller = os.getppid()
        settle_environment()
        if "_data" in vars(sys.modules["__main__"]):  # EsoRex's own script
            atexit.register(_leave_at_once)
        core.Msg.set_config(show_component=True)  # as EsoRex shows the messages of any recipe
        absent = [entry["filename"] for entry in plugin["frames"] if not Path(entry["filename"]).is_file()]
        if absent:  # EsoRex need not have looked (--check-sof-exist)
            return self._failed(f"{absent[0]}: there is no such file; correct the set of frames", InputError)
        try:
            plugin["frames"] += self._run(plugin["frames"], plugin["parameters"])
        except SoxsError as error:  # the recipe has told it
            self.error_message = str(error)
            return error.exit_code
        except KeyboardInterrupt:
            code = self._failed("interrupted; no product was written", Interrupted)
            if os.getppid() != caller:  # EsoRex fell to the same key: nobody would read what we return
                os._exit(code)
            return code
        # The border of the plugin: a defect of ours is told, with its place.
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            return self._failed(f"{type(error).__name__}: {error}", SoxsError)
        return 0

    def _failed(self, message: str, kind: type[SoxsError]) -> int:
        """Tell an error: EsoRex shows `error_message` to those who debug only."""
        self.error_message = " ".join(message.split())
        core.Msg.error(self.name, self.error_message)
        return kind.exit_code

    def _run(self, frames: Iterable[dict], parameters: Iterable[Mapping[str, object]]) -> list[dict]:
        given = ui.FrameSet([ui.Frame(entry["filename"], entry["tag"] or "") for entry in frames])
        products = self.recipe().run(given, {entry["name"]: entry["value"] for entry in parameters})
        for entry, frame in zip(frames, given, strict=True):
            entry["group"], entry["tag"] = int(frame.group), frame.tag
        return [_product_entry(frame) for frame in products]


def _leave_at_once() -> None:
    """End the process as soon as EsoRex's script has ended, without taking down what was loaded and compiled.

    Once it has the answer, EsoRex waits ten seconds for the end of the process, then kills it and takes the run
    for failed; on a busy machine the interpreter may need longer.
    """
    if hasattr(sys, "last_type"):  # the script failed: its exit code tells
        return
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def version_number(version: str) -> int:
    """`1.2.3` -> 10203, as CPL counts versions."""
    parts = [int(part) for part in re.findall(r"\d+", version)[:3]]
    major, minor, micro = [*parts, 0, 0, 0][:3]
    return 10000 * major + 100 * minor + micro


def parameter_entry(parameter: ui.Parameter) -> dict[str, object]:
    """A parameter as EsoRex reads it: a short name on the command line, the full one in configuration files."""
    entry = {
        "class": "value",
        "name": parameter.name,
        "description": parameter.description,
        "context": parameter.context,
        "default": parameter.default,
        "cli_alias": parameter.cli_alias,
        "env_enabled": False,
    }
    if isinstance(parameter, ui.ParameterEnum):
        entry |= {"class": "enum", "choices": list(parameter.alternatives)}
    elif isinstance(parameter, ui.ParameterRange):
        entry |= {"class": "range", "min": parameter.min, "max": parameter.max}
    return entry


def _product_entry(frame: ui.Frame) -> dict[str, object]:
    """A product as EsoRex expects it: a name in the working directory, from where it is moved."""
    return {
        "filename": Path(frame.file).name,
        "tag": frame.tag,
        "type": int(frame.type),
        "group": int(frame.group),
        "level": int(frame.level),
    }


def plugin_class(recipe: str) -> dict[str, type[CplPlugin]]:
    """Name and plugin class of a recipe, for the namespace of a file that EsoRex imports.

    Nothing, and a line on stderr, when there is no such recipe: a file may be older than the recipes.
    """
    try:
        kind = recipe_class(recipe)
    except InputError as error:
        sys.stderr.write(f"soxs-recipes: {recipe}.py in ESOREX_PLUGIN_DIR is of no use, delete it: {error}\n")
        return {}
    return {kind.__name__: type(kind.__name__, (CplPlugin,), {"recipe": kind, "__doc__": kind.__doc__})}
