"""The generated files on disk say what the declarations say."""

import importlib.util
from pathlib import Path

import pytest

from soxs_recipes.integration.generated import build, stale_files

WORKFLOWS = Path(__file__).parents[2] / "workflows"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_workflows", WORKFLOWS / "build_workflows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_workflow_is_that_of_the_declarations(builder):
    files = builder.files()
    assert set(files) == {"soxs.oca", "soxs.xml"}
    assert stale_files(WORKFLOWS, files) == [], "run `make workflows`"


def test_files_are_written_where_they_differ(tmp_path, capsys):
    folder = tmp_path / "new"
    assert build("", folder, {"a": "1", "b": "2"}, ["--check"]) == 1
    assert not folder.exists()
    assert build("", folder, {"a": "1", "b": "2"}, []) == 0
    (folder / "b").write_text("3")
    assert stale_files(folder, {"a": "1", "b": "2"}) == ["b"]
    assert build("", folder, {"a": "1", "b": "2"}, ["--check"]) == 1
    assert "1 files differ: b" in capsys.readouterr().out
    assert (folder / "b").read_text() == "3"
