"""Make every recipe by the `cpl.ui` that this interpreter uses and print what it shows; run as a program."""

import json
import warnings

from soxs_recipes.eso import core, ui, uses_cpl
from soxs_recipes.recipes.framework.registry import RECIPES

TEXTS = ("name", "author", "copyright", "description", "email", "synopsis", "version")


def refused(kind, action, *arguments) -> bool:
    try:
        action(*arguments)
    except kind:
        return True
    return False


def shown_parameter(parameter) -> dict:
    shown = {
        "name": parameter.name,
        "context": parameter.context,
        "help": parameter.description,
        "aliases": [parameter.cli_alias, parameter.env_alias, parameter.cfg_alias],
        "class": type(parameter).__name__,
        "type": parameter.data_type.name,
        "default": parameter.default,
        "value": parameter.value,
        "presence": parameter.presence,
        "limits": [getattr(parameter, "min", None), getattr(parameter, "max", None)],
        "alternatives": getattr(parameter, "alternatives", None),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parameter.value = parameter.default
    shown["takes its default"] = parameter.value == shown["default"] and parameter.presence
    shown["refuses"] = refused(RuntimeError, setattr, parameter, "value", None)
    return shown


def shown_recipe(kind) -> dict:
    recipe = kind()
    copied = ui.ParameterList(list(recipe.parameters))
    return {
        "module": ui.__name__,
        "is a PyRecipe": isinstance(recipe, ui.PyRecipe),
        "texts": {text: getattr(recipe, text) for text in TEXTS},
        "repr": repr(recipe),
        "takes no arguments": refused(TypeError, kind, 1),
        "texts are closed": all(refused(AttributeError, setattr, recipe, text, "x") for text in TEXTS),
        "found by name": [copied[parameter.name].name for parameter in recipe.parameters],
        "parameters": [shown_parameter(parameter) for parameter in recipe.parameters],
        "own parameters": all(a is not b for a, b in zip(recipe.parameters, kind().parameters, strict=True)),
        "an empty set": refused(core.IllegalInputError, recipe.run, ui.FrameSet(), {}),
        "no settings": refused(core.IllegalInputError, recipe.run, ui.FrameSet(), None),
    }


if __name__ == "__main__":
    core.Msg.set_config(level=core.Msg.SeverityLevel.OFF)
    recipes = {name: shown_recipe(entry.load()) for name, entry in RECIPES.items()}
    print(json.dumps({"uses_cpl": uses_cpl, "recipes": recipes}))
