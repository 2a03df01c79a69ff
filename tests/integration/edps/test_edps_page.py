"""What docs/edps.md says of targets, parameters and files is so."""

import re
from pathlib import Path

import yaml

from soxs_recipes.cli.main import COMMANDS
from soxs_recipes.instrument import edps_workflow_folder
from soxs_recipes.recipes.framework.registry import recipe_class

FOLDER = edps_workflow_folder()
PAGE = (Path(__file__).parents[3] / "docs" / "edps.md").read_text(encoding="utf-8")
COUNTS = {"Five": 5, "Six": 6, "Seven": 7, "Eight": 8}


def test_targets(workflow):
    used = {target for task in workflow.tasks.values() for target in task.meta_targets}
    assert set(re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE)) == used
    asked = set(re.findall(r"-m (\w+)", PAGE))
    assert asked
    assert asked <= used
    assert set(re.findall(r"-t (\w+)", PAGE)) <= set(workflow.tasks)


def test_parameters(workflow):
    sets = yaml.safe_load((FOLDER / "soxs" / "soxs_parameters.yaml").read_text(encoding="utf-8"))
    assert set(re.findall(r"`(\w+_parameters)`", PAGE)) == set(sets)
    assert set(re.findall(r"-wp (\w+)", PAGE)) == set(sets["soxs_parameters"]["workflow_parameters"])
    ((task, recipe, name),) = re.findall(r"-rp (\w+) soxs\.(\w+)\.([\w-]+)", PAGE)
    assert workflow.tasks[task].recipe == recipe
    assert recipe_class(recipe).declaration.parameter(name).name == name


def test_files_and_commands():
    named = set(re.findall(r"`(soxs_\w+\.(?:py|yaml))`", PAGE))
    assert len(named) >= 5
    assert all((FOLDER / "soxs" / name).is_file() for name in named)
    assert all((FOLDER / "reports" / f"{name}.py").is_file() for name in ("soxs_rawdisp", "soxs_products"))
    assert {"edps", "install-plugins"} <= set(COMMANDS) & set(re.findall(r"soxs ([a-z-]+)", PAGE))


def test_differences_are_counted(workflow):
    numbers = [line for line in workflow.module.__doc__.splitlines() if line[:1].isdigit()]
    (word,) = re.findall(r"^(\w+) things EDPS has no word for", PAGE, flags=re.MULTILINE)
    assert COUNTS[word] == len(numbers)
