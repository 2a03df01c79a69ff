"""The plugin of pyesorex under a model of pyesorex that runs on a `cpl` of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from astropy.io import fits
from fake_cpl import VERSION

import soxs_recipes
from soxs_recipes.eso.rc import read_rc
from soxs_recipes.plugins.install import RUNNERS, install_plugins
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.declarations import PLOTS
from soxs_recipes.recipes.framework.registry import RECIPES, all_declarations
from soxs_recipes.recipes.mbias import MasterBias

MODEL = Path(__file__).parent / "pyesorex_model.py"
ROOT = Path(soxs_recipes.__file__).parent.parent
NAMES = list(RECIPES)


@pytest.fixture
def pyesorex(python, fake_cpl, tmp_path):
    """Run the model on the installed plugin."""
    (installed,) = install_plugins(tmp_path / "plugins", [RUNNERS["pyesorex"]])

    def run(*words, path=(ROOT, fake_cpl), **environment):
        return python(MODEL, *words, path=path, PYESOREX_PLUGIN_DIR=str(installed.folder), **environment)

    return run


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^=== (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_exactly_our_recipes_are_listed(pyesorex):
    done = pyesorex("--recipes", "--display-import-errors")
    assert (done.returncode, done.stderr) == (0, "")
    listed = dict(re.findall(r"^  (\w+) *: (.*)$", done.stdout, flags=re.MULTILINE))
    assert listed == {entry.name: entry.synopsis for entry in all_declarations()}
    assert len(listed) == len(NAMES) >= 16


def test_the_manual_tells_all(pyesorex):
    done = pyesorex("--man-page", *NAMES)
    assert (done.returncode, done.stderr) == (0, "")
    pages = sections(done.stdout)
    assert list(pages) == NAMES
    for declaration in all_declarations():
        page = " ".join(pages[declaration.name].split())
        for entry in (*declaration.raws, *declaration.calibrations, *declaration.products):
            assert entry.tag in page
        assert declaration.synopsis in page
        assert "GPL-3.0-or-later" in page


def test_parameters_are_shown_with_help_and_default(pyesorex):
    done = pyesorex("--params", *NAMES)
    assert (done.returncode, done.stderr) == (0, "")
    shown = sections(done.stdout)
    assert list(shown) == NAMES
    for declaration in all_declarations():
        lines = shown[declaration.name].strip().splitlines()
        entries = (*declaration.parameters, PLOTS)
        assert len(lines) == len(entries)
        for line, entry in zip(lines, entries, strict=True):
            assert line.startswith(f"--{entry.name}: {entry.sentence.rstrip('.')}")
            assert f"[{entry.default}]" in line


def test_configuration_files_are_those_of_our_own(pyesorex, tmp_path):
    done = pyesorex(f"--create-config={tmp_path}", *NAMES)
    assert (done.returncode, done.stderr) == (0, "")
    for declaration in all_declarations():
        values = read_rc(tmp_path / f"{declaration.name}.rc")
        entries = (*declaration.parameters, PLOTS)
        assert list(values) == [declaration.full_name(entry) for entry in entries]
        read = [entry.checked_or_auto(value) for entry, value in zip(entries, values.values(), strict=True)]
        assert read == [entry.default for entry in entries]


def test_a_run_with_a_configuration_file_is_that_of_our_own_runner(pyesorex, bias_sof, tmp_path):
    assert pyesorex(f"--create-config={tmp_path}", "soxs_mbias").returncode == 0
    rc = tmp_path / "soxs_mbias.rc"
    text = re.sub(r"(soxs_mbias\.stack-sigma)=.*", r"\1=4.5", rc.read_text())
    rc.write_text(text.replace("plots=False", "plots=True"))
    done = pyesorex(f"--recipe-config={rc}", "soxs_mbias", bias_sof)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"^\[ INFO  \] .*5 BIAS_VIS", done.stdout, flags=re.MULTILINE)
    assert list((tmp_path / "plots").glob("*.png"))

    theirs = [Path(name) for name in re.findall(r"Created product (\S+)", done.stdout)]
    assert sorted(tmp_path.glob("*.fits")) == sorted(theirs)
    own = run_recipe(MasterBias, bias_sof, {"stack-sigma": 4.5}, tmp_path / "own").paths
    assert [path.name for path in own] == [path.name for path in theirs]
    assert len(own) == 2
    for one, other in zip(own, theirs, strict=True):
        assert_same(one, other)


def assert_same(own: Path, theirs: Path) -> None:
    """Data units alike to the bit, headers but for what tells the runner."""
    with fits.open(own, checksum=True) as first, fits.open(theirs, checksum=True) as second:
        assert len(first) == len(second) > 0
        for one, other in zip(first, second, strict=True):
            difference = fits.HeaderDiff(one.header, other.header)
            assert (difference.diff_keywords, difference.diff_keyword_count) == ((), ())
            assert set(difference.diff_keyword_values) <= {"ESO PRO REC1 DRS ID", "DATE", "CHECKSUM"}
            assert one.header["DATASUM"] == other.header["DATASUM"]
        header = second[0].header
    assert header["ESO PRO REC1 DRS ID"] == f"cpl-{VERSION}"
    names = {header[key]: header[f"{key[:-5]} VALUE"] for key in header if re.search(r"PARAM\d+ NAME$", key)}
    assert names["stack-sigma"] == "4.5"
    assert [header[f"ESO PRO REC1 RAW{n} NAME"] for n in range(1, 6)] == [f"bias{n}.fits" for n in range(5)]


def test_failures_have_a_message(pyesorex, tmp_path):
    sof = tmp_path / "empty.sof"
    sof.write_text("")
    done = pyesorex("soxs_mbias", sof)
    assert done.returncode == 1
    assert "InputError: soxs_mbias: the set of frames is empty" in done.stderr


def test_the_plugin_stands_alone_and_shadows_nothing():
    (path,) = RUNNERS["pyesorex"].files
    assert [item.name for item in path.parent.iterdir() if item.name != "__pycache__"] == [path.name]
    assert path.stem not in ("cpl", "soxs", "soxs_recipes", "pyesorex")
    imported = {
        node.module.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert imported == {"soxs_recipes"}


def test_without_our_package_it_is_told_what_to_do(pyesorex, fake_cpl, tmp_path):
    missing = tmp_path / "missing" / "soxs_recipes.py"
    missing.parent.mkdir()
    missing.write_text("raise ModuleNotFoundError(\"No module named 'soxs_recipes'\")\n")
    done = pyesorex("--recipes", path=(missing.parent, fake_cpl))
    assert "soxs" not in done.stdout
    assert done.stderr.startswith("no SOXS recipes: No module named 'soxs_recipes'; ")
    assert done.stderr.count("\n") == 1
    assert "pip install soxs-recipes" in done.stderr


def test_without_cpl_it_says_so(python):
    (path,) = RUNNERS["pyesorex"].files
    done = python(path)
    assert done.returncode != 0
    assert "No module named 'cpl'" in done.stderr
    assert "needs PyCPL" in done.stderr


def test_recipes_of_the_stand_in_are_not_given_to_pyesorex(python, fake_cpl):
    (path,) = RUNNERS["pyesorex"].files
    code = f"import runpy, soxs_recipes.eso; runpy.run_path({str(path)!r})"
    done = python("-c", code, path=(ROOT, fake_cpl))
    assert "import cpl (or pyesorex) first" in done.stderr
    assert done.returncode != 0
