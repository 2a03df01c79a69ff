"""Parameters of `cpl.ui`, as observed of PyCPL."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

INT_MAX = 2**31 - 1


def value(cpl, default, **changes):
    arguments = {"name": "r.p", "description": "text", "context": "r", "default": default, **changes}
    return cpl.ui.ParameterValue(**arguments)


@pytest.mark.parametrize(
    ("default", "type_name", "stored"),
    [
        (True, "BOOL", True),
        (np.bool_(True), "BOOL", True),
        (3, "INT", 3),
        (np.int64(3), "INT", 3),
        (INT_MAX, "INT", INT_MAX),
        (2.5, "DOUBLE", 2.5),
        (np.float64(2.5), "DOUBLE", 2.5),
        ("text", "STRING", "text"),
        ("", "STRING", ""),
        (None, "BOOL", False),
        (2**31, "BOOL", True),
    ],
)
def test_type_is_inferred(cpl, default, type_name, stored):
    parameter = value(cpl, default)
    assert parameter.data_type == getattr(cpl.core.Type, type_name)
    assert parameter.default == stored
    assert parameter.value == stored
    assert type(parameter.value) is type(stored)


def test_no_type_for_lists_or_nothing(cpl):
    with pytest.raises(TypeError):
        value(cpl, [1, 2])
    with pytest.raises(TypeError):
        cpl.ui.ParameterValue("r.p", "text", "r")


@pytest.mark.parametrize(
    ("default", "assigned", "expected"),
    [
        (1, 4, 4),
        (1, np.int64(4), 4),
        (1, -5, -5),
        (1.0, 4.5, 4.5),
        (1.0, 4, 4.0),
        (False, True, True),
        (False, np.bool_(True), True),
        ("a", "b", "b"),
        ("a", b"ab", "ab"),
    ],
)
def test_assignment(cpl, default, assigned, expected):
    parameter = value(cpl, default)
    assert parameter.presence is False
    parameter.value = assigned
    assert parameter.value == expected
    assert type(parameter.value) is type(expected)
    assert parameter.presence is True
    assert parameter.default == default


def test_nan_is_a_double(cpl):
    parameter = value(cpl, 1.0)
    parameter.value = float("nan")
    assert np.isnan(parameter.value)


def test_float_into_int_is_truncated_with_a_warning(cpl):
    parameter = value(cpl, 1)
    with pytest.warns(RuntimeWarning):
        parameter.value = 4.7
    assert parameter.value == 4


@pytest.mark.parametrize(
    ("default", "assigned", "kind"),
    [
        (1, True, "int"),
        (1, "4", "int"),
        (1, None, "int"),
        (1, 2**31, "int"),
        (1.0, True, "double"),
        (1.0, "4", "double"),
        (1.0, None, "double"),
        (False, None, "boolean"),
        ("a", None, "char array"),
        ("a", True, "char array"),
        (False, 1, "boolean"),
        (False, 0, "boolean"),
        (False, "True", "boolean"),
        ("a", 1, "char array"),
        ("a", 1.5, "char array"),
    ],
)
def test_wrong_type_keeps_the_value(cpl, default, assigned, kind):
    parameter = value(cpl, default)
    with pytest.raises(RuntimeError, match=f"A parameter of type {kind} does not match the received type"):
        parameter.value = assigned
    assert parameter.value == default
    assert parameter.presence is False


def test_presence_follows_any_assignment_and_can_be_set(cpl):
    parameter = value(cpl, 3)
    parameter.value = 3
    assert parameter.presence is True
    parameter.presence = False
    assert parameter.presence is False


def test_aliases_default_to_the_name_and_take_only_text(cpl):
    parameter = value(cpl, 3)
    aliases = ("cli_alias", "env_alias", "cfg_alias")
    assert [getattr(parameter, alias) for alias in aliases] == ["r.p"] * 3
    for alias in aliases:
        setattr(parameter, alias, "p")
        assert getattr(parameter, alias) == "p"
        with pytest.raises(TypeError):
            setattr(parameter, alias, None)
    assert parameter.tag == ""
    parameter.tag = "x"
    assert parameter.tag == "x"
    assert parameter.help == parameter.description == "text"


@pytest.mark.parametrize(
    "name", ["name", "context", "description", "default", "fullname", "short", "type", "anything"]
)
def test_closed_attributes(cpl, name):
    with pytest.raises(AttributeError):
        setattr(value(cpl, 3), name, "x")


def test_attributes_are_these_and_no_others(cpl):
    attributes = {
        "name", "context", "description", "help", "data_type", "default", "value", "presence", "tag", "cli_alias",
        "env_alias", "cfg_alias", "dump", "ParameterMode",
    }  # fmt: skip
    makers = cpl.ui.ParameterValue, cpl.ui.ParameterRange, cpl.ui.ParameterEnum
    made = (
        makers[0]("r.p", "text", "r", 3),
        makers[1]("r.p", "text", "r", 3, 1, 5),
        makers[2]("r.p", "text", "r", 3, [3, 4]),
    )
    for parameter, own in zip(made, (set(), {"min", "max"}, {"alternatives"}), strict=True):
        assert {name for name in dir(parameter) if not name.startswith("_")} == attributes | own
        with pytest.raises(AttributeError):
            parameter.fullname  # noqa: B018
        with pytest.raises(AttributeError):
            parameter.anything = 1
    assert [mode.name for mode in (makers[0].ParameterMode.CLI, makers[0].ParameterMode.ENV)] == ["CLI", "ENV"]
    assert makers[0].ParameterMode.CFG.name == "CFG"


def test_arguments_have_these_names(cpl):
    texts = {"name": "r.p", "description": "text", "context": "r", "default": 3}
    assert cpl.ui.ParameterValue(**texts).default == 3
    assert cpl.ui.ParameterRange(**texts, min=1, max=5).max == 5
    assert cpl.ui.ParameterEnum(**texts, alternatives=(3, 4)).alternatives == [3, 4]


def test_range_and_enum_do_not_validate(cpl):
    limited = cpl.ui.ParameterRange("r.p", "text", "r", 9, 1, 5)
    assert (limited.default, limited.min, limited.max) == (9, 1, 5)
    limited.value = 77
    assert limited.value == 77
    chosen = cpl.ui.ParameterEnum("r.p", "text", "r", "a", ("a", "b"))
    chosen.value = "c"
    assert chosen.value == "c"
    assert chosen.alternatives == ["a", "b"]
    for parameter, name in ((limited, "min"), (limited, "max"), (chosen, "alternatives")):
        with pytest.raises(AttributeError):
            setattr(parameter, name, 1)


def test_range_types(cpl):
    mixed = cpl.ui.ParameterRange("r.p", "text", "r", 2, 1.0, 5)
    assert mixed.data_type == cpl.core.Type.DOUBLE
    for bad in ((True, False, True), ("b", "a", "c")):
        with pytest.raises(TypeError):
            cpl.ui.ParameterRange("r.p", "text", "r", *bad)


def test_enum_types_and_default(cpl):
    make = lambda default, alternatives: cpl.ui.ParameterEnum("r.p", "text", "r", default, alternatives)  # noqa: E731
    assert make(1, [1, 2.5]).data_type == cpl.core.Type.DOUBLE
    assert make(True, [True, False]).data_type == cpl.core.Type.INT
    with pytest.raises(cpl.core.IllegalInputError):
        make("c", ["a", "b"])
    for bad in ({"a", "b"}, (letter for letter in "ab")):
        with pytest.raises(TypeError):
            make("a", bad)


def test_equality(cpl):
    assert value(cpl, 3) == value(cpl, 3)
    assert value(cpl, 3) != value(cpl, 4)
    assert value(cpl, 3) != value(cpl, 3, description="other")
    assert value(cpl, 3) != value(cpl, 3.0)
    changed = value(cpl, 3)
    changed.cli_alias = "other"
    changed.value = 3
    assert changed == value(cpl, 3)
    limited = cpl.ui.ParameterRange("r.p", "text", "r", 3, 1, 5)
    assert limited != value(cpl, 3)
    assert limited != cpl.ui.ParameterRange("r.p", "text", "r", 3, 1, 6)
    first = cpl.ui.ParameterEnum("r.p", "text", "r", "a", ["a", "b"])
    second = cpl.ui.ParameterEnum("r.p", "text", "r", "b", ["a", "b"])
    second.value = "a"
    assert first == second
    unlike = cpl.ui.ParameterEnum("r.p", "text", "r", "a", ["a", "c"])
    assert first != unlike
    assert value(cpl, 3) != cpl.ui.ParameterRange("r.p", "text", "r", 3, 1, 5)
    tagged, aliased = value(cpl, 3), value(cpl, 3)
    tagged.tag = "T"
    assert tagged != value(cpl, 3)
    aliased.cli_alias, aliased.presence = "other", True
    assert aliased == value(cpl, 3)
    assert isinstance(limited, cpl.ui.ParameterValue)


def test_not_hashed_copied_or_pickled(cpl):
    parameter = value(cpl, 3)
    for refused in (hash, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            refused(parameter)
    with pytest.raises(TypeError, match="No constructor defined!"):
        cpl.ui.Parameter()


def test_representations(cpl):
    assert repr(value(cpl, 3)) == "<cpl.ui.ParameterValue: name='r.p', value=3>"
    limited = cpl.ui.ParameterRange("r.p", "text", "r", 3, 1, 5)
    assert repr(limited) == "<cpl.ui.ParameterRange: name='r.p', value=3, min=1, max=5>"
    chosen = cpl.ui.ParameterEnum("r.p", "text", "r", "a", ["a", "b"])
    assert repr(chosen) == "<cpl.ui.ParameterEnum: name='r.p', value='a', alternatives=['a', 'b']>"
    for parameter, kind in ((value(cpl, 3), "02 (Value)"), (limited, "04 (Range)"), (chosen, "08 (Enum)")):
        first = str(parameter).splitlines()[0]
        assert first.startswith("Parameter at 0x")
        assert f"class {kind}" in first
    assert "type 400 (int)" in str(value(cpl, 3)).splitlines()[0]


def test_dump_shows_current_and_default(cpl, tmp_path):
    parameter = value(cpl, 3)
    parameter.value = 7
    words = " ".join(str(parameter).split())
    for part in ("Attributes", "Values", "Current", "Default", "7", "3"):
        assert part in words
    path = tmp_path / "dump.txt"
    parameter.dump(str(path), show=False)
    assert "Current" in path.read_text()


def test_list(cpl):
    first, second = value(cpl, 3), value(cpl, 4, name="r.q")
    second.cli_alias = "q"
    parameters = cpl.ui.ParameterList(item for item in (first, second))
    assert len(parameters) == 2
    assert parameters[0] is first or parameters[0] == first
    assert parameters[-1].name == "r.q"
    assert parameters["r.q"].value == 4
    with pytest.raises(KeyError, match="q"):
        parameters["q"]
    with pytest.raises(IndexError):
        parameters[2]
    with pytest.raises(TypeError):
        parameters[0:1]
    with pytest.raises(TypeError):
        parameters[0] = first
    assert "r.p" not in parameters
    assert parameters[0] in parameters
    assert [parameter.name for parameter in parameters] == ["r.p", "r.q"]
    assert not hasattr(parameters, "__iter__")
    assert repr(parameters) == "<cpl.ui.ParameterList, 2 Parameters>"
    assert {name for name in dir(parameters) if not name.startswith("_")} == {"append", "dump"}
    parameters["r.q"].value = 8
    assert second.value == 8
    parameters.append(value(cpl, 1, name="r.p"))
    assert parameters["r.p"].value == 3


def test_lists_are_equal_by_identity(cpl):
    parameter = value(cpl, 3)
    assert cpl.ui.ParameterList([parameter]) == cpl.ui.ParameterList([parameter])
    assert cpl.ui.ParameterList([value(cpl, 3)]) != cpl.ui.ParameterList([value(cpl, 3)])


def test_list_takes_parameters_only(cpl):
    with pytest.raises(TypeError, match=r"expected iterable of cpl\.ui\.Parameter, not str"):
        cpl.ui.ParameterList(["r.p"])
    with pytest.raises(TypeError):
        cpl.ui.ParameterList().append("r.p")


def test_whole_float_into_int(cpl):
    parameter = value(cpl, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parameter.value = 4.0
    assert parameter.value == 4
