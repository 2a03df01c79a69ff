from __future__ import annotations

from dataclasses import replace

import pytest

from soxs_recipes.errors import InputError
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import resolve_parameters
from soxs_recipes.recipes.framework.cpl_terms import parameter_list
from soxs_recipes.recipes.framework.declarations import (
    CalibrationInput,
    Parameter,
    Product,
    RawInput,
    parameter_name,
    resolved_tag,
    short_tag,
)
from soxs_recipes.recipes.framework.man import man_page


def test_tags():
    assert short_tag("<KIND>_SLIT_TRACE_<ARM>") == "SLIT_TRACE"
    assert short_tag("WAVE_PIN_<ARM>_ON") == "WAVE_PIN_ON"
    assert resolved_tag("<KIND>_SLIT_TRACE_<ARM>", "NIR", "TELL") == "TELL_SLIT_TRACE_NIR"


@pytest.mark.parametrize("text", ["soxs.soxs_mflat.stack_sigma", "stack-sigma", "stack_sigma", " Stack-Sigma "])
def test_underscores_are_hyphens(text):
    assert parameter_name(text) == "stack-sigma"


def test_entries_that_make_no_sense():
    for make in (
        lambda: RawInput("X", "x", min_count=3, max_count=2),
        lambda: RawInput("X", "x", min_count=0),
        lambda: RawInput("X", ""),
        lambda: RawInput("X", "x", detector="bolometer"),
        lambda: CalibrationInput("X", "x", required=True, ladder="none"),
        lambda: Parameter("Stack_Sigma", float, 1.0, "", "x"),
        lambda: Parameter("x", list, [], "", "x"),
        lambda: Product("X", "x", "cube"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own text
            make()
    with pytest.raises(InputError, match="or more"):
        Parameter("x", float, 0.5, "", "x", minimum=1.0)


def test_nothing_is_declared_twice(mean_frame):
    declaration = mean_frame.declaration
    for part in ("raws", "products", "parameters", "qc"):
        entries = getattr(declaration, part)
        with pytest.raises(ValueError, match="declared twice"):
            replace(declaration, **{part: (*entries, entries[0])})


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [(float, "2.5", 2.5), (float, 3, 3.0), (int, "4", 4), (int, 4.0, 4), (bool, "TRUE", True),
     (bool, False, False), (str, [1, 2], "1,2"), (str, "1,2", "1,2")],
)  # fmt: skip
def test_values_take_the_type(kind, given, value):
    default = {float: 1.0, int: 1, bool: False, str: "x"}[kind]
    converted = Parameter("x", kind, default, "", "x").checked(given)
    assert converted == value
    assert type(converted) is type(value)


def test_cpl_parameters(mean_frame):
    parameters = parameter_list(mean_frame.declaration)
    names = ["frame-sigma", "iterations", "method", "keep", "plots"]
    assert [parameter.name for parameter in parameters] == [f"soxs.soxs_mean_frame.{name}" for name in names]
    assert [parameter.cli_alias for parameter in parameters] == names
    assert {parameter.context for parameter in parameters} == {"soxs.soxs_mean_frame"}
    assert [parameter.default for parameter in parameters] == ["auto", 3, "mean", False, False]
    assert (parameters[1].min, parameters[1].max) == (0, 10)
    assert parameters[2].alternatives == ["mean", "median"]


def test_plots_belongs_to_all_recipes(mean_frame):
    own = Parameter("plots", bool, True, "", "Whether to draw.")
    with pytest.raises(ValueError, match="every recipe has the parameter plots"):
        replace(mean_frame.declaration, parameters=(own,))


def test_auto_comes_from_the_arm_else_from_the_declaration(mean_frame):
    arm = load_instrument().arm("NIR")
    declaration = mean_frame.declaration
    assert resolve_parameters(declaration, {}, arm)["frame-sigma"] == 4.0
    own = replace(arm, defaults={"soxs_mean_frame.frame-sigma": 6})
    assert resolve_parameters(declaration, {}, own)["frame-sigma"] == 6.0
    assert resolve_parameters(declaration, {"frame_sigma": 7}, own)["frame-sigma"] == 7.0
    assert resolve_parameters(declaration, {"frame_sigma": "AUTO"}, own)["frame-sigma"] == 6.0
    bare = replace(declaration, parameters=(replace(declaration.parameters[0], typical=None),))
    with pytest.raises(InputError, match="give a value"):
        resolve_parameters(bare, {}, arm)


def test_man_page_tells_all(mean_frame):
    declaration = mean_frame.declaration
    page = man_page(declaration)
    assert max(len(line) for line in page.splitlines()) <= 100
    for section in (
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "INPUTS",
        "CALIBRATIONS",
        "PARAMETERS",
        "PRODUCTS",
        "QC PARAM",
    ):
        assert f"\n{section}" in page
    flat = " ".join(page.split())
    for text in (
        "BIAS_<ARM> (CCD arms): bias frames. [2 or more; 3 recommended; alike in read mode id]",
        "BP_MAP_RP_<ARM>: bad pixels. [optional; made by soxs_mdark] Without it: no pixel is masked.",
        "--frame-sigma: Where values are clipped. [float; unit sigma; 1 or more; auto: UV-VIS 4.0, NIR 4.0]",
        "--iterations: How often. [int; from 0 to 10; default 3]",
        "--method: How to combine. [str; one of mean, median; default mean]",
        "MEAN_FRAME_<ARM>: mean of the frames.",
        "QC MEAN LEVEL [ADU]: Mean level. Acceptable: 0 to 200.",
        "QC ORDn ORDER LEVEL [ADU]: Level of an order.",
    ):
        assert text in flat
    assert "set.\n\n    Nothing else." in page
    assert "auto: depends on the arm" in " ".join(mean_frame().description.split())
