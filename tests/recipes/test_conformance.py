"""What holds for every registered recipe: metadata, names, texts, and that what is declared is used."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import soxs_recipes.recipes
from soxs_recipes.instrument import load_instrument, static_calibration_path
from soxs_recipes.recipes.framework.base import Recipe, resolve_parameters
from soxs_recipes.recipes.framework.declarations import PLOTS, resolved_tag
from soxs_recipes.recipes.framework.man import man_page
from soxs_recipes.recipes.framework.registry import RECIPES, recipe_class
from soxs_recipes.recipes.framework.settings import settings_from_text, settings_text

FOLDER = Path(soxs_recipes.recipes.__file__).parent
PRESENT = [name for name, entry in RECIPES.items() if find_spec(f"soxs_recipes.recipes.{entry.module}")]
ARMS = load_instrument().arms
DECLARING = {"Declaration", "RawInput", "CalibrationInput", "Parameter", "Product", "QCDefinition"}

# Every tag there may be; `A` stands for the arm, `K` for what was observed.
RAW_TAGS = re.compile(
    r"BIAS_A|DARK_A|DETLIN_A(_ON|_OFF)?|WAVE_(PIN|MPH)_A(_ON|_OFF)?|WAVE_SLIT_A|ORDERDEF_A(_ON|_OFF)?|"
    r"FLAT_SLIT_A(_QTH|_D2|_ON|_OFF)?|STD_(FLUX|TELL)_(STARE|NOD|OFFSET)_A|OBJECT_(STARE|NOD|OFFSET|MAP)_A|"
    r"SKY_OFFSET_A|(FLAT|OBJECT|STD)_IMG_ACQ"
)
PRODUCT_TAGS = re.compile(
    r"MASTER_(BIAS|DARK|FLAT)_A|BP_MAP_(RP|NL)_A|GAIN_INFO_A|LINEARITY_COEFF_A|DISP_TAB(_2D)?_A|DISP_IMAGE_A|"
    r"ORDER_TAB_(CENTR|EDGES)_A|BLAZE_A|BKG_FLAT_A|RESP_TAB_A|EFFICIENCY_TAB_A|LINE_CHECK_A|TELLURIC_MODEL_A|"
    r"(K|SCI|FLUX|TELL)_SLIT_(FLUX_)?(ORDER|MERGE)[12]D_A|(K|SCI)_SLIT_(SKYSUB|SKYMODEL|SKY1D|TRACE)_A|SCI_SPECTRUM|"
    r"(SCI_)?MAP_A|FLAT_SLIT_(ORDER|MERGE)2D_A|RESP_ARCHIVE_A"
)
STATIC_TAGS = re.compile(
    r"SPECTRAL_FORMAT_A|ARC_LINE_LIST_A|SKY_LINE_LIST|FLUX_STD_CATALOG|EXTCOEFF_TABLE|BP_MAP_REF_A|REFCAT2|"
    r"RESP_ARCHIVE_A|SKY_CONTINUUM|TELLURIC_TRANSMISSION"
)


def declaration_of(name):
    return recipe_class(name).declaration


def compact(tag: str) -> str:
    return tag.replace("<ARM>", "A").replace("<KIND>", "K")


@pytest.fixture(params=PRESENT)
def recipe(request):
    return recipe_class(request.param)


@pytest.fixture
def declaration(recipe):
    return recipe.declaration


def test_all_registered_recipes_are_there():
    assert list(RECIPES) == PRESENT
    assert len(PRESENT) >= 8


def test_the_class_is_a_recipe(recipe):
    assert issubclass(recipe, Recipe)
    assert recipe.process is not Recipe.process
    assert recipe.__doc__
    assert recipe.declaration.name in RECIPES
    assert RECIPES[recipe.declaration.name].load() is recipe


def test_texts(recipe):
    made = recipe()
    declared = recipe.declaration
    assert made.name == declared.name
    assert made.synopsis == declared.synopsis
    for text in ("author", "copyright", "description", "email", "version"):
        assert getattr(made, text).strip()
    assert "\n" not in declared.synopsis
    assert 10 <= len(declared.synopsis) <= 100
    assert len(declared.description.split()) >= 20


def test_parameter_names(recipe):
    declared = recipe.declaration
    parameters = recipe().parameters
    entries = (*declared.parameters, PLOTS)
    assert len(parameters) == len(entries)
    for shown, entry in zip(parameters, entries, strict=True):
        assert shown.name == f"soxs.{declared.name}.{entry.name}"
        assert shown.context == f"soxs.{declared.name}"
        assert shown.cli_alias == entry.name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
        assert entry.sentence[0].isupper(), entry.name
        assert len(entry.sentence.split()) >= 3, entry.name


# Options of EsoRex 3.13.7 and pyesorex, which stand on one command line with parameters.
RUNNERS_OPTIONS = {
    "check-sof-exist", "config", "create-config", "display-import-errors", "help", "link-dir", "log-dir",
    "log-file", "log-level", "man-page", "mem-check", "msg-level", "no-checksum", "no-datamd5", "output-dir",
    "output-prefix", "output-readonly", "paf-config", "params", "products-sof", "recipe-config", "recipe-dir",
    "recipes", "show-hidden", "suppress-link", "suppress-prefix", "time", "unload-plugin", "version",
}  # fmt: skip


def test_parameters_are_named_unlike_options_of_runners(declaration):
    from soxs_recipes.cli.recipe_commands import recipe_command

    names = {entry.name for entry in declaration.parameters}
    options = [name.lstrip("-") for option in recipe_command(declaration.name).params for name in option.opts]
    assert not names & RUNNERS_OPTIONS
    assert [name for name in names if options.count(name) != 1] == []


def test_defaults_hold_in_every_arm_served(declaration):
    served = [arm for arm in ARMS if any(entry.serves(arm) for entry in declaration.raws)]
    assert served
    for arm in served:
        values = resolve_parameters(declaration, {}, arm)
        assert set(values) == {entry.name for entry in declaration.parameters}
        assert "auto" not in values.values()


def test_tags_are_those_of_the_table(declaration):
    for entry in declaration.raws:
        tag = compact(entry.tag)
        assert RAW_TAGS.fullmatch(tag) or PRODUCT_TAGS.fullmatch(tag), entry.tag
    for entry in declaration.products:
        assert PRODUCT_TAGS.fullmatch(compact(entry.tag)), entry.tag
    for entry in declaration.calibrations:
        pattern = STATIC_TAGS if entry.static else PRODUCT_TAGS
        tag = compact(entry.tag)
        assert pattern.fullmatch(tag) or RAW_TAGS.fullmatch(tag) or tag == "RESP_ARCHIVE_A", entry.tag


def test_static_tables_are_there(declaration):
    for entry in declaration.calibrations:
        for arm in ARMS:
            if entry.static and entry.serves(arm):
                assert static_calibration_path(resolved_tag(entry.tag, arm.name)).is_file()


def test_calibrations_have_a_maker_or_a_ladder(declaration):
    for entry in declaration.calibrations:
        if entry.made_by in PRESENT:
            makers_tags = {product.tag for product in declaration_of(entry.made_by).products}
            assert entry.tag in makers_tags, f"{entry.made_by} does not make {entry.tag}"
        elif entry.made_by:
            assert entry.made_by in RECIPES


def test_qc_names(declaration):
    for entry in declaration.qc:
        assert re.fullmatch(r"[A-Z0-9]+( [A-Z0-9]+)*", entry.name), entry.name
        assert len(entry.sentence.split()) >= 2, entry.name
        # With the longest order number, a value and no comment, the card must hold.
        assert len(f"HIERARCH ESO QC ORD24 {entry.name} = ") <= 80 - 20, entry.name


def test_man_page(declaration):
    page = " ".join(man_page(declaration).split())
    for entry in (*declaration.raws, *declaration.calibrations, *declaration.products):
        assert entry.tag in page
    for entry in declaration.parameters:
        assert f"--{entry.name}:" in page
    for entry in declaration.qc:
        assert f" {entry.name}" in page


def test_settings_file_reads_back(declaration):
    values = settings_from_text(settings_text([declaration])).of(declaration.name)
    expected = {entry.name: entry.checked_or_auto(entry.default) for entry in declaration.parameters}
    assert values == expected


def words_used(module: str, seen: set[str] | None = None) -> set[str]:
    """Strings in a recipe's module and its helpers in recipes/, those inside declarations left out."""
    seen = set() if seen is None else seen
    path = next(FOLDER.rglob(f"{module}.py"), None)
    if module in seen or path is None:
        return set()
    seen.add(module)
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in DECLARING:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("soxs_recipes.recipes"):
            helpers = [node.module.rsplit(".", 1)[-1], *(alias.name for alias in node.names)]
            for helper in set(helpers) - {
                "base",
                "declarations",
                "inputs",
                "outputs",
                "man",
                "registry",
                "settings",
            }:
                found |= words_used(helper, seen)
        pending.extend(ast.iter_child_nodes(node))
    return found


def is_used(name: str, words: set[str]) -> bool:
    """Whether a name stands somewhere, whole or made of two parts (`f"SLIT_{kind}1D"`)."""
    if name in words:
        return True
    starts = any(len(word) > 2 and name.startswith(word) for word in words)
    ends = any(len(word) > 2 and name.endswith(word) for word in words)
    return starts and ends


def test_what_is_declared_is_used(declaration):
    words = words_used(RECIPES[declaration.name].module)
    # A calibration that a runner hands over although the recipe can do without says so.
    calibrations = [entry for entry in declaration.calibrations if entry.ladder != "not needed"]
    names = [entry.short for entry in (*declaration.products, *calibrations)]
    names += [entry.name for entry in declaration.parameters]
    assert names
    unused = [name for name in names if not is_used(name, words)]
    assert not unused


def test_the_check_of_use_can_fail():
    assert is_used("SLIT_ORDER1D", {"SLIT_", "1D", "x"}) is False
    assert is_used("SLIT_ORDER1D", {"SLIT_", "ORDER1D"})
    assert is_used("stack-sigma", {"stack-sigma"})
    assert not is_used("stack-sigma", {"stack", "x"})
