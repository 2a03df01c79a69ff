from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from soxs_recipes.cli.main import main
from soxs_recipes.errors import InputError
from soxs_recipes.plugins import install
from soxs_recipes.plugins.install import RUNNERS, default_folder, install_plugins
from soxs_recipes.recipes.framework.registry import RECIPES


def test_each_runner_gets_a_folder_of_its_own(tmp_path):
    done = install_plugins(tmp_path / "a")
    assert [entry.runner.name for entry in done] == list(RUNNERS)
    assert set(RUNNERS) == {"pyesorex", "esorex"}
    for entry in done:
        assert entry.folder == tmp_path / "a" / entry.runner.name
        assert sorted(entry.folder.iterdir()) == list(entry.files)
        assert len(entry.files) == {"pyesorex": 1, "esorex": len(RECIPES)}[entry.runner.name]
        assert [path.read_bytes() for path in entry.files] == [path.read_bytes() for path in entry.runner.files]


def test_an_older_copy_is_replaced_and_what_is_no_more_removed(tmp_path):
    (entry,) = install_plugins(tmp_path, [RUNNERS["pyesorex"]])
    entry.files[0].write_text("old")
    others = {name: entry.folder / name for name in ("soxs_gone.py", "hers.py")}
    for path in others.values():
        path.write_text("")
    install_plugins(tmp_path, [RUNNERS["pyesorex"]])
    assert entry.files[0].read_text() != "old"
    assert sorted(entry.folder.iterdir()) == sorted([*entry.files, others["hers.py"]])


def test_the_line_for_the_shell_keeps_what_was_set(tmp_path):
    (entry,) = install_plugins(tmp_path / "with blank", [RUNNERS["pyesorex"]])
    for before, behind in (
        ("", ""),
        ("PYESOREX_PLUGIN_DIR=; ", ""),
        ("PYESOREX_PLUGIN_DIR=/other; ", ":/other"),
    ):
        script = f"unset PYESOREX_PLUGIN_DIR; {before}{entry.export_line}; echo $PYESOREX_PLUGIN_DIR"
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert shell.stdout == f"{entry.folder}{behind}\n"


def test_the_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "soxs-recipes" / "plugins"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_folder() == Path("/home/someone/.local/share/soxs-recipes/plugins")


def test_the_command_puts_them_into_the_users_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["install-plugins", "--runner", "pyesorex"]) == 0
    text = capsys.readouterr().out
    folder = default_folder() / "pyesorex"
    assert list(folder.glob("*.py"))
    assert f"export PYESOREX_PLUGIN_DIR={folder}" in text
    assert sys.executable in text


def test_the_command_in_json(tmp_path, capsys):
    assert main(["install-plugins", "--dir", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["runner"] for entry in document["installed"]] == list(RUNNERS)
    for entry in document["installed"]:
        assert entry["export"].startswith(f"export {entry['variable']}=")
        assert all(Path(path).is_file() for path in entry["files"])


@pytest.mark.parametrize("words", [["--runner", "gasgano"], ["--dir", "file"]])
def test_errors_say_what_to_do(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["install-plugins", *words]) == InputError.exit_code
    err = capsys.readouterr().err
    assert "there are pyesorex" in err or "choose another folder with --dir" in err


def test_what_is_installed_is_told_by_data(tmp_path, monkeypatch):
    """A runner without files is none."""
    assert install.Runner("nothing", "NOTHING_DIR", "nothing").files == []
    assert all(runner.files for runner in RUNNERS.values())
