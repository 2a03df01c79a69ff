"""Every recipe's constructor, properties and parameters, by each implementation of `cpl.ui`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import soxs_recipes
from soxs_recipes import __version__
from soxs_recipes.recipes.framework.declarations import PLOTS
from soxs_recipes.recipes.framework.registry import RECIPES, recipe_class

PROGRAM = Path(__file__).parent / "recipes_shown.py"
ROOT = Path(soxs_recipes.__file__).parent.parent
TYPES = {bool: "BOOL", int: "INT", float: "DOUBLE", str: "STRING"}
_shown: dict[str, dict] = {}


@pytest.fixture(params=["stand-in", "a cpl of other classes", "PyCPL"])
def shown(request, python, fake_cpl):
    """What every recipe shows of itself."""
    kind = request.param
    if kind == "PyCPL" and importlib.util.find_spec("cpl") is None:
        pytest.skip("PyCPL is not installed")
    if kind not in _shown:
        path = (ROOT, fake_cpl) if kind == "a cpl of other classes" else (ROOT,)
        done = python(PROGRAM, path=path, SOXS_RECIPES_USE_CPL=str(int(kind != "stand-in")))
        assert (done.returncode, done.stderr) == (0, "")
        _shown[kind] = json.loads(done.stdout.splitlines()[-1])
    found = _shown[kind]
    assert found["uses_cpl"] == (kind != "stand-in")
    assert list(found["recipes"]) == list(RECIPES)
    return found["recipes"]


def test_recipes(shown):
    for name, found in shown.items():
        declaration = recipe_class(name).declaration
        assert found["texts"]["name"] == name
        assert found["texts"]["version"] == __version__
        assert found["texts"]["synopsis"] == declaration.synopsis
        assert all(text.strip() for text in found["texts"].values())
        assert found["repr"] == f"<cpl.ui.Recipe {name}>"
        for fact in ("is a PyRecipe", "takes no arguments", "texts are closed", "own parameters"):
            assert found[fact] is True, (name, fact)
        for fact in ("an empty set", "no settings"):
            assert found[fact] is True, (name, fact)


def test_parameters(shown):
    count = 0
    for name, found in shown.items():
        declaration = recipe_class(name).declaration
        entries = (*declaration.parameters, PLOTS)
        assert found["found by name"] == [declaration.full_name(entry) for entry in entries]
        for entry, parameter in zip(entries, found["parameters"], strict=True):
            count += 1
            check_parameter(declaration, entry, parameter)
    assert count > 100


def check_parameter(declaration, entry, found) -> None:
    assert found["name"] == declaration.full_name(entry)
    assert found["context"] == f"soxs.{declaration.name}"
    assert found["aliases"] == [entry.name] * 3
    assert found["help"].startswith(entry.sentence.rstrip("."))
    assert found["type"] == ("STRING" if entry.is_auto else TYPES[entry.type])
    assert found["default"] == found["value"] == entry.default
    assert found["presence"] is False
    assert found["takes its default"] is True
    assert found["refuses"] is True
    has_range = not entry.is_auto and not entry.choices and None not in (entry.minimum, entry.maximum)
    kind = "Enum" if entry.choices else "Range" if has_range else "Value"
    assert found["class"] == f"Parameter{kind}"
    assert found["limits"] == ([entry.minimum, entry.maximum] if has_range else [None, None])
    if entry.choices:
        assert entry.default in found["alternatives"]
        assert set(found["alternatives"]) - {"auto"} == set(entry.choices)
