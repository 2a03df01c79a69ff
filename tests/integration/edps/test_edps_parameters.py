"""Every key of the parameter file means something: sets, tasks, parameters and values."""

import configparser
import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from soxs_recipes.cli.main import main
from soxs_recipes.instrument import edps_workflow_folder
from soxs_recipes.integration.edps import QUICK_LOOK, workflow_tasks
from soxs_recipes.integration.generated import stale_files
from soxs_recipes.recipes.framework.declarations import PLOTS
from soxs_recipes.recipes.framework.registry import recipe_class

FOLDER = edps_workflow_folder()
SETS = yaml.safe_load((FOLDER / "soxs" / "soxs_parameters.yaml").read_text(encoding="utf-8"))


def known_parameters(recipe):
    declaration = recipe_class(recipe).declaration
    return {declaration.full_name(parameter): parameter for parameter in (*declaration.parameters, PLOTS)}


def test_the_file_is_that_of_the_declarations():
    spec = importlib.util.spec_from_file_location("build_parameters", FOLDER / "build_parameters.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    assert list(builder.files()) == ["soxs_parameters.yaml"]
    assert stale_files(builder.FOLDER, builder.files()) == [], "run `make workflows`"


def test_tasks_are_those_of_the_workflow(workflow):
    assert {name: task.recipe for name, task in workflow.tasks.items()} == workflow_tasks()


def test_there_is_one_default_and_a_set_for_each_kind_of_use():
    assert [name for name, entries in SETS.items() if entries["is_default"]] == ["soxs_parameters"]
    assert [entries.get("tags") for entries in SETS.values()] == [None, ["qc0"], ["qc1calib"]]
    for entries in SETS.values():
        assert set(entries) <= {"is_default", "tags", "workflow_parameters", "recipe_parameters"}
        assert entries["workflow_parameters"] == {"flux_calibration": "TRUE"}


@pytest.mark.parametrize("name", SETS)
def test_every_task_has_valid_values(workflow, name):
    tasks = SETS[name]["recipe_parameters"]
    assert set(tasks) == set(workflow.tasks)
    for task, values in tasks.items():
        known = known_parameters(workflow.tasks[task].recipe)
        assert len(values) >= 3
        assert set(values) <= set(known)
        # Only what is empty by default is not listed.
        assert {known[full].default for full in set(known) - set(values)} <= {""}
        for full, value in values.items():
            known[full].checked_or_auto(value)


def changes(name):
    """Recipe -> short name -> value of what a set has otherwise than the defaults."""
    found = {}
    for task, values in SETS[name]["recipe_parameters"].items():
        default = SETS["soxs_parameters"]["recipe_parameters"][task]
        changed = {full.rsplit(".", 1)[1]: v for full, v in values.items() if v != default[full]}
        found.setdefault(workflow_tasks()[task], changed)
        assert found[workflow_tasks()[task]] == changed
    return found


def test_the_default_set_holds_the_defaults():
    for task, values in SETS["soxs_parameters"]["recipe_parameters"].items():
        known = known_parameters(workflow_tasks()[task])
        for full, value in values.items():
            assert known[full].checked_or_auto(value) == known[full].checked_or_auto(known[full].default)


def test_the_command_tells_what_edps_needs(capsys):
    assert main(["edps"]) == 0
    told = configparser.ConfigParser()
    text = capsys.readouterr().out
    told.read_string("".join(line for line in text.splitlines(keepends=True) if not line.startswith("edps ")))
    assert (Path(told["application"]["workflow_dir"]) / "soxs" / "soxs_wkf.py").is_file()
    assert told["executor"]["esorex_path"] == "pyesorex"
    assert "edps -w soxs.soxs_wkf" in text
    assert main(["edps", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert entries["properties"]["application"]["workflow_dir"] == told["application"]["workflow_dir"]
    assert entries["tasks"] == workflow_tasks()


def test_the_other_sets_change_what_they_are_for():
    quick, qc1 = changes("quicklook_parameters"), changes("qc1_parameters")
    assert len(quick) == len(qc1) >= 12
    assert set(QUICK_LOOK) <= set(quick)
    assert quick["soxs_stare"] == {"plots": "TRUE", "refine-sky": "FALSE", "maximum-sources": 1}
    assert all(changed == {"plots": "TRUE"} for changed in qc1.values())
