"""The installed workflow is whole, and stands on the user's folders."""

import json

import pytest

from soxs_recipes.cli.main import main
from soxs_recipes.errors import InputError
from soxs_recipes.instrument import static_calibration_folder
from soxs_recipes.integration.install import default_folder, install_workflow
from soxs_recipes.integration.moml_check import workflow_problems
from soxs_recipes.integration.reflex import TOKENS


def test_folders_are_filled_in_and_made(tmp_path):
    data = tmp_path / "data & more"
    done = install_workflow(tmp_path / "workflow", data)
    text = done.workflow.read_text()
    assert not any(token in text for token in TOKENS.values())
    assert str(tmp_path / "data &amp; more") in text
    assert workflow_problems(text, tmp_path / "workflow") == []
    assert (tmp_path / "workflow" / "soxs.oca").is_file()
    assert len(done.files) >= 3
    assert all(path.is_file() for path in done.files)
    assert done.raw == data / "reflex_input" / "soxs"
    assert sorted(path.name for path in data.iterdir()) == [
        "reflex_book_keeping", "reflex_end_products", "reflex_input", "reflex_logs", "reflex_tmp_products",
    ]  # fmt: skip
    assert done.calibrations == static_calibration_folder()


def test_a_second_installation_replaces_the_first(tmp_path):
    install_workflow(tmp_path / "workflow", tmp_path / "one")
    text = install_workflow(tmp_path / "workflow", tmp_path / "two").workflow.read_text()
    assert str(tmp_path / "two") in text
    assert str(tmp_path / "one") not in text


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("wf", "da$ta", None), "beginning of a variable"),
        (("file/wf", "data", None), "cannot be written"),
        (("wf", "file/data", None), "cannot be written"),
        (("wf", "data", "none"), "no such folder"),
    ],
)
def test_folders_that_will_not_do(tmp_path, names, problem):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=problem):
        install_workflow(*(None if name is None else tmp_path / name for name in names))


def test_the_users_place_is_where_plugins_are(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "soxs-recipes" / "reflex"


def test_the_command_tells_how_to_open_it(tmp_path, capsys):
    arguments = ["install-workflows", "--dir", str(tmp_path / "w f"), "--data", str(tmp_path / "d")]
    assert main(arguments) == 0
    assert f"esoreflex '{tmp_path / 'w f' / 'soxs.xml'}'" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["workflow"] == str(tmp_path / "w f" / "soxs.xml")
    assert told["raw"].endswith("reflex_input/soxs")
