import sys
import types
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "cascade"))
sys.path.insert(0, str(Path(__file__).parent))

from count_frames import CountFrames, bias
from fake_night import Night
from fake_recipes import DECLARATIONS

from soxs_recipes.cascade import night as cascade_night
from soxs_recipes.cascade import run as cascade_run
from soxs_recipes.cli import recipe_commands
from soxs_recipes.cli.main import main
from soxs_recipes.recipes.framework import registry


@pytest.fixture
def night(tmp_path):
    """An empty night to which frames are added."""
    return Night(tmp_path / "raw")


@pytest.fixture
def complete_night(night):
    """Both arms, two slits, a standard and a science target of three exposures."""
    return night.complete()


@pytest.fixture
def fake_recipes(monkeypatch):
    """The cascade runs recipes that write one line of text."""
    monkeypatch.setattr(cascade_night, "recipe_declarations", lambda: DECLARATIONS)
    monkeypatch.setattr(cascade_night, "_parameters", lambda workspace, settings: lambda recipe, arm: {"level": 3})
    defaults = (*cascade_run.RunOptions.__init__.__defaults__[:-1], "fake_calls:run")
    monkeypatch.setattr(cascade_run.RunOptions.__init__, "__defaults__", defaults)


@pytest.fixture
def soxs(capfd):
    """Run the command in this process: (exit code, standard output, standard error)."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def count_recipe(monkeypatch):
    """A recipe more, `soxs count`, which counts frames."""
    module = types.ModuleType("soxs_recipes.recipes.count_frames")
    module.CountFrames = CountFrames
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = registry.RecipeEntry("soxs_count", "count_frames", "CountFrames", ("count", "count_all"))
    monkeypatch.setitem(registry.RECIPES, "soxs_count", entry)
    monkeypatch.setattr(
        registry, "_ALIASES", {**registry._ALIASES, "count": "soxs_count", "count_all": "soxs_count"}
    )
    monkeypatch.setattr(recipe_commands, "is_machine_code_kept", lambda: True)
    recipe_commands.recipe_command.cache_clear()
    yield
    recipe_commands.recipe_command.cache_clear()


@pytest.fixture
def biases(night):
    """Three biases."""
    return [bias(night.folder, number) for number in (1, 2, 3)]
