"""What EsoRex learns of the recipes without running one: list, manual, parameters, configuration files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from real_programs import BUILT, RECIPE_FOLDER, ROOT

from soxs_recipes.eso import ui
from soxs_recipes.plugins.esorex_plugin import CplPlugin, parameter_entry, plugin_class, version_number
from soxs_recipes.recipes.framework.declarations import AUTO, PLOTS
from soxs_recipes.recipes.framework.registry import RECIPES, recipe_class
from soxs_recipes.recipes.framework.settings import read_recipe_config, write_recipe_config

TEXTS = ("name", "synopsis", "description", "author", "email", "copyright")
VALUE_TYPES = {bool: "bool", int: "int", float: "double", str: "string"}


def listed(text):
    return re.findall(r"^  (\w+) +:", text, re.MULTILINE)


def test_exactly_our_recipes_are_listed(esorex):
    done = esorex("--recipes")
    assert done.returncode == 0
    assert done.stderr == ""
    assert sorted(listed(done.stdout)) == sorted(RECIPES)
    assert "WARNING" not in done.stdout


def test_each_recipe_has_a_file():
    """EsoRex warns of a file with several recipes; each is the same file by another name."""
    files = sorted(RECIPE_FOLDER.iterdir())
    assert [path.stem for path in files if path.suffix == ".py"] == sorted(RECIPES)
    assert {path.resolve() for path in files if path.suffix == ".py"} == {RECIPE_FOLDER.parent / "esorex_file.py"}


def test_copies_elsewhere_do_as_well(esorex, tmp_path):
    from soxs_recipes.plugins.install import RUNNERS, install_plugins

    (entry,) = install_plugins(tmp_path, [RUNNERS["esorex"]])
    assert len(entry.files) == len(RECIPES)
    assert not any(path.is_symlink() for path in entry.files)
    done = esorex("--recipes", recipes=entry.folder)
    assert sorted(listed(done.stdout)) == sorted(RECIPES)


@pytest.mark.skipif(not BUILT.exists(), reason="EsoRex is not here: make esorex gets it")
def test_the_wrapper_knows_the_recipes(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [BUILT / "bin" / "esorex", "--recipes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert sorted(listed(done.stdout)) == sorted(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_the_manual_tells_what_is_declared(esorex, name):
    declaration = recipe_class(name).declaration
    done = esorex("--man-page", name)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert f"{name} -- {declaration.synopsis}" in text
    for section in ("DESCRIPTION", "INPUTS", "PRODUCTS", "OPTIONS", "AUTHOR", "LICENSE"):
        assert done.stdout.count(f"\n  {section}\n") + done.stdout.count(f"\n{section}\n") == 1, section
    assert all(
        entry.tag in text for entry in (*declaration.raws, *declaration.products, *declaration.calibrations)
    )
    options = re.findall(r"^  --([\w-]+) +:", done.stdout, re.MULTILINE)
    assert options == [entry.name for entry in (*declaration.parameters, PLOTS)]


@pytest.mark.parametrize("name", RECIPES)
def test_its_introspection_agrees_with_the_declaration(esorex, name, tmp_path):
    """EDPS and Reflex read the parameters from this file."""
    declaration = recipe_class(name).declaration
    done = esorex(f"--create-config={tmp_path}/x.json", name)
    assert (done.returncode, done.stderr) == (0, "")
    entries = json.loads((tmp_path / "x.json").read_text())
    declared = [*declaration.parameters, PLOTS]
    assert [entry["name"] for entry in entries] == [declaration.full_name(one) for one in declared]
    for entry, one in zip(entries, declared, strict=True):
        assert entry["display_name"] == one.name
        assert entry["recipe"] == name
        assert entry["value"] == one.default
        assert entry["valtype"] == VALUE_TYPES[str if one.is_auto else one.type]
        assert one.sentence.rstrip(".") in entry["description"]
        if one.choices:
            assert entry["partype"] == "enum"
            assert entry["valenum"] == [*([AUTO] if one.is_auto else []), *map(type(entry["value"]), one.choices)]
        elif entry["partype"] == "range":
            assert (entry["valmin"], entry["valmax"]) == (one.minimum, one.maximum)
        else:
            assert one.is_auto or None in (one.minimum, one.maximum)


@pytest.mark.parametrize("name", RECIPES)
def test_its_configuration_file_is_read_by_us_and_by_it(esorex, name, tmp_path):
    declaration = recipe_class(name).declaration
    path = tmp_path / "x.rc"
    assert esorex(f"--create-config={path}", name).returncode == 0
    read = read_recipe_config(declaration, path)
    # An empty value stands as a comment.
    assert read.values == {entry.name: entry.default for entry in declaration.parameters if entry.default != ""}
    assert read.plots is False
    path.write_text(path.read_text().replace("plots=FALSE", "plots=TRUE"))
    shown = esorex(f"--recipe-config={path}", "--params", name)
    assert shown.returncode == 0
    values = dict(re.findall(r"^  ([\w-]+) +: ?(.*)$", shown.stdout.split("Recipe Parameters")[1], re.MULTILINE))
    assert list(values) == [entry.name for entry in (*declaration.parameters, PLOTS)]
    assert values["plots"] == "TRUE"


@pytest.mark.parametrize("name", RECIPES)
def test_our_own_configuration_files_are_line_by_line_its_own(esorex, name, tmp_path):
    declaration = recipe_class(name).declaration
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for suffix in (".rc", ".json"):
        assert esorex(f"--create-config={theirs}{suffix}", name).returncode == 0
        write_recipe_config(declaration, f"{ours}{suffix}")
    entries = json.loads(Path(f"{theirs}.json").read_text())
    assert entries.pop()["display_name"] == PLOTS.name
    assert json.loads(Path(f"{ours}.json").read_text()) == entries
    lines = [parameter_lines(Path(f"{path}.rc")) for path in (theirs, ours)]
    assert lines[0][: len(lines[1])] == lines[1]
    assert lines[0][len(lines[1]) :][0] == "# --plots"
    shown = esorex(f"--recipe-config={ours}.rc", "--params", name)
    assert (shown.returncode, shown.stderr) == (0, "")


def parameter_lines(path):
    """Lines between the remarks at both ends, blank ones left out."""
    lines = [line for line in path.read_text().splitlines() if line not in ("", "#")]
    first = next(number for number, line in enumerate(lines) if line.startswith("# --"))
    assert lines[-1] == "# End of file"
    return lines[first:-1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("soxs.soxs_mbias.nonsense=4", "not recognised"),
        ("soxs.soxs_mbias.stack-sigma=", "does not fit 'key=value' format"),
        ("soxs.soxs_mbias.denoise=False", "Error parsing"),
    ],
)
def test_what_it_cannot_read(esorex, line, message, tmp_path):
    """Why our files hold neither; of an unknown name we make an error, too."""
    path = tmp_path / "x.rc"
    path.write_text(line + "\n")
    assert message in esorex(f"--recipe-config={path}", "--params", "soxs_mbias").stderr


def test_learning_of_the_recipes_loads_no_numerics():
    """EsoRex imports all at every start."""
    code = (
        "import sys, runpy, pathlib\n"
        f"for path in pathlib.Path({str(RECIPE_FOLDER)!r}).glob('*.py'):\n"
        "    sys.path.append(str(path.parent))\n"
        "    module = __import__(path.stem)\n"
        "    (kind,) = [one for one in vars(module).values() if isinstance(one, type)]\n"
        "    kind()\n"
        "print(*sorted({'numpy', 'scipy', 'astropy', 'matplotlib', 'yaml'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() in ([], ["yaml"])
    assert done.stderr == ""


@pytest.mark.parametrize("name", RECIPES)
def test_no_field_is_null(name):
    (kind,) = plugin_class(name).values()
    plugin = kind()
    assert all(getattr(plugin, text) and isinstance(getattr(plugin, text), str) for text in TEXTS)
    assert type(plugin.version) is int
    assert plugin.version > 0
    assert [entry["name"] for entry in plugin.parameters]
    assert all(value is not None for entry in plugin.parameters for value in entry.values())
    assert json.loads(json.dumps(plugin.parameters)) == plugin.parameters


@pytest.mark.parametrize("field", [*TEXTS, "version", "parameters"])
def test_one_null_field_would_hide_all(esorex, field, tmp_path):
    """Why the test above is there: EsoRex says nothing."""
    (tmp_path / "a_good.py").write_text(plugin_text("Good"))
    assert listed(esorex("--recipes", recipes=tmp_path).stdout) == ["Good"]
    (tmp_path / "b_bad.py").write_text(plugin_text("Bad") + f"    {field} = None\n")
    done = esorex("--recipes", recipes=tmp_path)
    assert "Bad" not in listed(done.stdout)
    (tmp_path / "b_bad.py").write_text(plugin_text("Bad"))
    assert sorted(listed(esorex("--recipes", recipes=tmp_path).stdout)) == ["Bad", "Good"]


def plugin_text(name):
    return (
        "from soxs_recipes.plugins import esorex_plugin\n"
        "from soxs_recipes.recipes.mbias import MasterBias\n"
        f"class {name}(esorex_plugin.CplPlugin):\n"
        "    recipe = MasterBias\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        f"        self.name = {name!r}\n"
        "        for field, value in vars(type(self)).items():\n"
        "            if value is None:\n"
        "                setattr(self, field, None)\n"
    )


def test_a_file_of_a_recipe_that_is_gone_hides_nothing(esorex, tmp_path):
    for name in ("soxs_mbias", "soxs_of_yore"):
        (tmp_path / f"{name}.py").write_bytes((RECIPE_FOLDER / "soxs_mbias.py").read_bytes())
    done = esorex("--recipes", recipes=tmp_path)
    assert listed(done.stdout) == ["soxs_mbias"]
    (line,) = done.stderr.splitlines()
    assert "soxs_of_yore.py" in line
    assert "delete it" in line


def test_a_python_without_the_recipes_is_told_once_in_one_line(esorex):
    done = esorex("--recipes", python_options="-S", path=None)
    lines = [line for line in done.stderr.splitlines() if "soxs-recipes" in line]
    assert len(lines) == 1
    assert "first on PATH" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("version", "number"),
    [("1.2.3", 10203), ("0.1.0", 100), ("2.0", 20000), ("1.2.3.dev4+g5", 10203), ("7", 70000)],
)
def test_version_as_cpl_counts_it(version, number):
    assert version_number(version) == number


def test_every_class_of_parameter_is_told():
    shown = {
        "value": parameter_entry(ui.ParameterValue("a.b", "What.", "a", 2.5)),
        "range": parameter_entry(ui.ParameterRange("a.b", "What.", "a", 2, 1, 3)),
        "enum": parameter_entry(ui.ParameterEnum("a.b", "What.", "a", "x", ("x", "y"))),
    }
    assert {name: entry["class"] for name, entry in shown.items()} == {name: name for name in shown}
    assert (shown["range"]["min"], shown["range"]["max"]) == (1, 3)
    assert shown["enum"]["choices"] == ["x", "y"]
    assert not {"min", "max", "choices"} & set(shown["value"])


def test_the_base_is_no_recipe():
    """EsoRex takes every class in the namespace of a file with `CplPlugin` among its bases."""
    assert CplPlugin.__name__ == "CplPlugin"
    for name in RECIPES:
        ((key, kind),) = plugin_class(name).items()
        assert key == kind.__name__
        assert kind.__mro__[1] is CplPlugin
