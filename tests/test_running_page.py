"""What docs/running.md says of options, variables and errors is so."""

import re
from pathlib import Path

import pytest

from soxs_recipes import errors
from soxs_recipes.cli.plugin_commands import install_plugins
from soxs_recipes.cli.recipe_commands import recipe_command
from soxs_recipes.eso import core
from soxs_recipes.recipes.framework.cpl_terms import cpl_error

PAGE = (Path(__file__).parent.parent / "docs" / "running.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, title
    return found.group(1)


def test_options_and_variables_of_soxs():
    command = recipe_command("soxs_mbias")
    options = {name for parameter in command.params for name in parameter.opts}
    variables = {parameter.envvar for parameter in command.params if parameter.envvar}
    told = set(re.findall(r"--[a-z][a-z-]+", section("soxs"))) - {"--recipes"}
    assert len(told) > 12
    assert told <= options
    assert set(re.findall(r"SOXS_[A-Z_]+", section("soxs"))) == variables


def test_words_of_install_plugins():
    options = {name for parameter in install_plugins.params for name in parameter.opts}
    assert {"--runner", "--dir"} <= options
    assert "soxs install-plugins --runner pyesorex" in section("pyesorex")


ROWS = re.findall(r"^\| `(\w+)`.*? \| `cpl\.core\.(\w+)` \| (\d+) \|$", PAGE, flags=re.MULTILINE)


def test_all_errors_are_told():
    assert len(ROWS) == 5


@pytest.mark.parametrize(("ours", "theirs", "code"), ROWS)
def test_errors(ours, theirs, code):
    kind = getattr(errors, ours)
    assert isinstance(cpl_error(kind("no")), getattr(core, theirs))
    assert kind.exit_code == int(code)


def test_words_for_esorex():
    text = section("EsoRex")
    assert "soxs install-plugins --runner esorex" in text
    assert "export ESOREX_PLUGIN_DIR=$HOME/.local/share/soxs-recipes/plugins/esorex" in text
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    assert "\nesorex: " in makefile
    assert "make esorex" in text
