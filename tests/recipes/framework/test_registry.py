from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.registry import RECIPES, command_names, recipe_class, recipe_entry

HEAVY = ("numpy", "scipy", "astropy", "matplotlib", "yaml")


def test_the_words_of_the_peer_are_known():
    words = command_names()
    expected = {
        "mbias": "soxs_mbias",
        "mdark": "soxs_mdark",
        "disp_sol": "soxs_disp_solution",
        "disp_solution": "soxs_disp_solution",
        "order_centres": "soxs_order_centres",
        "mflat": "soxs_mflat",
        "spat_sol": "soxs_spatial_solution",
        "spatial_solution": "soxs_spatial_solution",
        "stare": "soxs_stare",
        "response": "soxs_response",
    }
    assert {word: words.get(word) for word in expected} == expected


@pytest.mark.parametrize("name", ["soxs_mflat", "mflat", "MFLAT", "soxs-mflat"])
def test_found_by_any_name(name):
    assert recipe_entry(name).name == "soxs_mflat"


def test_unknown_names_get_a_hint():
    with pytest.raises(InputError, match=r"did you mean mdark\?"):
        recipe_entry("mdrak")
    with pytest.raises(InputError, match="there are soxs_mbias"):
        recipe_entry("zzzzzz")


def present():
    """Names of the recipes whose modules are there; `test_conformance.py` asserts that all are."""
    return [name for name, entry in RECIPES.items() if find_spec(f"soxs_recipes.recipes.{entry.module}")]


@pytest.mark.parametrize("name", [*present(), ""])
def test_loading_a_recipe_loads_no_numerics(name):
    code = "import sys; from soxs_recipes.recipes.framework.registry import recipe_class\n"
    code += (
        f"recipe_class({name!r})\n" if name else "from soxs_recipes.recipes.framework import base, man, settings\n"
    )
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_masters_of_a_detector_are_asked_to_be_of_the_frames_read_mode():
    masters = ("MASTER_BIAS_<ARM>", "MASTER_DARK_<ARM>")
    found = {
        (name, entry.tag): entry.agree
        for name in RECIPES
        for entry in recipe_class(name).declaration.calibrations
        if entry.tag in masters
    }
    assert len(found) > 10
    assert set(found.values()) == {("READ_MODE_ID",)}
