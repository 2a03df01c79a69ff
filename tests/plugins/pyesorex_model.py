"""What pyesorex does with a plugin, as its documentation and users tell it; run as a program.

It imports every *.py below the folders of PYESOREX_PLUGIN_DIR, takes and makes every PyRecipe that stands in
them, puts a parameter list of its own in place of the recipe's, and keeps errors of imports to itself.

    python pyesorex_model.py --recipes
    python pyesorex_model.py --man-page|--params|--create-config=FOLDER RECIPE...
    python pyesorex_model.py [--recipe-config=FILE] RECIPE [--alias=value ...] SOF
"""

import importlib.util
import inspect
import os
import sys
import textwrap
from pathlib import Path

import cpl.ui


class OwnParameter:
    """A parameter in the runner's own form."""

    def __init__(self, theirs):
        self.name, self.context, self.help = theirs.name, theirs.context, theirs.description
        self.value = self.default = theirs.default
        self.alias = theirs.cli_alias
        self.limits = (theirs.min, theirs.max) if isinstance(theirs, cpl.ui.ParameterRange) else None
        self.choices = theirs.alternatives if isinstance(theirs, cpl.ui.ParameterEnum) else None

    def take(self, text):
        if isinstance(self.default, bool):
            self.value = {"true": True, "false": False}[text.lower()]
        else:
            self.value = type(self.default)(text)


class OwnParameterList(list):
    def __getitem__(self, key):
        if isinstance(key, str):
            return next(parameter for parameter in self if key in (parameter.name, parameter.alias))
        return super().__getitem__(key)


def python_recipes():
    recipes = {}
    for folder in filter(None, os.environ.get("PYESOREX_PLUGIN_DIR", "").split(":")):
        for path in sorted(Path(folder).rglob("*.py")):
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except Exception as error:  # noqa: BLE001 - as pyesorex does
                if "--display-import-errors" in sys.argv:
                    print(f"[WARNING] pyesorex: {path}: {error}")
                continue
            for _, found in inspect.getmembers(module, inspect.isclass):
                if issubclass(found, cpl.ui.PyRecipe):
                    made = found()
                    recipes[made.name] = made
    return recipes


def man_page(recipe):
    print(f"NAME\n  {recipe.name} -- {recipe.synopsis}\n\nSYNOPSIS\n  pyesorex {recipe.name} [OPTIONS] FILE.sof")
    print(
        f"\nDESCRIPTION\n{recipe.description}\n\nAUTHOR\n  {recipe.author} <{recipe.email}>\n\n{recipe.copyright}"
    )


def params(recipe):
    for entry in recipe.parameters:
        print(f"--{entry.alias}: {entry.help} [{entry.default}] {entry.limits or entry.choices or ''}")


def create_config(recipe, folder):
    path = Path(folder, f"{recipe.name}.rc")
    lines = [f"# File: {path}", "#", "# Note: by the model of pyesorex", "#"]
    for entry in recipe.parameters:
        lines += ["", f"# --{entry.alias}", *(f"# {line}" for line in textwrap.wrap(entry.help, 76))]
        lines.append(f"{entry.name}={entry.value}")
    path.write_text("\n".join([*lines, "", "# End of file", ""]))


def run(recipe, options, sof):
    for line in Path(options.get("recipe-config", os.devnull)).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, text = line.partition("=")
            recipe.parameters[name].take(text)
    for name, text in options.items():
        if name in {entry.alias for entry in recipe.parameters}:
            recipe.parameters[name].take(text)
    settings = {entry.name: entry.value for entry in recipe.parameters}
    try:
        products = recipe.run(cpl.ui.FrameSet(sof), settings)
    except Exception as error:  # noqa: BLE001 - as pyesorex does
        cpl.core.Msg.error("pyesorex", f"{type(error).__name__}: {error}")
        return 1
    products.sign_products()
    for frame in products:
        print(f"[ INFO  ] pyesorex: Created product {frame.file} ({frame.tag})")
    return 0


def main():
    options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    recipes = python_recipes()
    if "recipes" in options:
        print("List of available recipes:\n")
        for recipe in recipes.values():
            print(f"  {recipe.name:<22}: {recipe.synopsis}")
        return 0
    for recipe in recipes.values():
        recipe.parameters = OwnParameterList(OwnParameter(entry) for entry in recipe.parameters)
    actions = {"man-page": man_page, "params": params}
    actions["create-config"] = lambda recipe: create_config(recipe, options["create-config"])
    for option in options.keys() & actions.keys():
        for name in words:
            print(f"=== {name}")
            actions[option](recipes[name])
        return 0
    return run(recipes[words[0]], options, words[1])


if __name__ == "__main__":
    sys.exit(main())
