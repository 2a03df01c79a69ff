"""Recipes, errors and messages of CPL, as observed of PyCPL."""

from __future__ import annotations

import abc

import pytest

TEXTS = ("name", "author", "copyright", "description", "email", "synopsis", "version")
CODES = {
    ValueError: {"NullInputError": 12, "IncompatibleInputError": 13, "IllegalInputError": 14},
    LookupError: {"AccessOutOfRangeError": 11},
    RuntimeError: {
        "UnspecifiedError": 1,
        "ErrorLostError": 2,
        "DuplicatingStreamError": 3,
        "AssigningStreamError": 4,
        "FileIOError": 5,
        "BadFileFormatError": 6,
        "FileAlreadyOpenError": 7,
        "FileNotCreatedError": 8,
        "FileNotFoundError": 9,
        "DataNotFoundError": 10,
        "IllegalOutputError": 15,
        "UnsupportedModeError": 16,
        "SingularMatrixError": 17,
        "DivisionByZeroError": 18,
        "TypeMismatchError": 19,
        "InvalidTypeError": 20,
        "ContinueError": 21,
        "NoWCSError": 22,
        "EOLError": 23,
    },
}


def recipe(cpl, without: str = "", **body):
    attributes = {f"_{text}": f"the {text}" for text in TEXTS if text != without}
    attributes |= {"run": lambda self, frameset, settings: cpl.ui.FrameSet()} | body
    return type("X", (cpl.ui.PyRecipe,), attributes)


def test_texts_are_returned_as_they_are(cpl):
    made = recipe(cpl, _version="1.2")()
    assert [getattr(made, text) for text in TEXTS] == [f"the {text}" for text in TEXTS[:-1]] + ["1.2"]
    assert repr(made) == "<cpl.ui.Recipe the name>"
    assert isinstance(made, cpl.ui.AbstractRecipe)
    assert issubclass(cpl.ui.CRecipe, cpl.ui.AbstractRecipe)
    assert not hasattr(cpl.ui, "Recipe")
    assert not hasattr(made, "parameters")
    for text in TEXTS:
        with pytest.raises(AttributeError):
            setattr(made, text, "x")


@pytest.mark.parametrize("text", TEXTS)
def test_a_missing_text_is_refused(cpl, text):
    with pytest.raises(TypeError) as caught:
        recipe(cpl, without=text)()
    assert str(caught.value) == f"Can't instantiate class X with class variable _{text} not set."


def test_checks_come_in_order(cpl):
    body = {"run": lambda self, frameset, settings: None}
    for text in TEXTS:
        with pytest.raises(TypeError, match=f"class variable _{text} not set"):
            type("X", (cpl.ui.PyRecipe,), body)()
        body[f"_{text}"] = "x"
    assert type("X", (cpl.ui.PyRecipe,), body)().name == "x"


def test_what_the_module_holds(cpl):
    names = (
        "AbstractRecipe", "PyRecipe", "CRecipe", "Parameter", "ParameterValue", "ParameterRange", "ParameterEnum",
        "ParameterList", "Frame", "FrameSet", "RecipeNotFoundException",
    )  # fmt: skip
    assert [name for name in names if not hasattr(cpl.ui, name)] == []
    assert isinstance(cpl.ui.AbstractRecipe, abc.ABCMeta)
    assert issubclass(cpl.ui.PyRecipe, cpl.ui.AbstractRecipe)
    assert isinstance(cpl.ui.CRecipe.recipes, list)


def test_run_is_abstract_and_the_constructor_takes_nothing(cpl):
    body = {f"_{text}": "x" for text in TEXTS}
    with pytest.raises(TypeError, match="abstract"):
        type("X", (cpl.ui.PyRecipe,), body)()
    defaulted = recipe(cpl, __init__=lambda self, x=1: None)
    defaulted()
    with pytest.raises(TypeError):
        defaulted(2)


def test_unknown_c_recipe(cpl):
    with pytest.raises(cpl.ui.RecipeNotFoundException):
        cpl.ui.CRecipe("no_such_recipe_at_all")


def test_error_classes(cpl):
    for base, names in CODES.items():
        for name, code in names.items():
            kind = getattr(cpl.core, name)
            assert issubclass(kind, base), name
            assert issubclass(kind, cpl.core.Error), name
            assert kind.code == code, name
    assert not issubclass(cpl.core.FileNotFoundError, FileNotFoundError)


def test_errors_tell_their_place(cpl):
    error = cpl.core.IllegalInputError("no good")
    assert error.message == "no good"
    assert error.function == "test_errors_tell_their_place"
    assert error.line > 0
    assert str(error).splitlines()[0] == "CPL error stack trace (most recent error last):"
    placed = cpl.core.IllegalInputError("f", "file.c", 12, "bad")
    assert (placed.function, placed.file, placed.line, placed.message) == ("f", "file.c", 12, "bad")
    for wrong in ((), ("a", "b")):
        with pytest.raises(TypeError):
            cpl.core.IllegalInputError(*wrong)
    with pytest.raises(TypeError):
        cpl.core.Error("none of its own")


def test_message_format(cpl, capfd):
    message = cpl.core.Msg
    message.set_config(level=message.SeverityLevel.DEBUG)
    try:
        message.info("comp", "an info")
        message.debug("comp", "dbg")
        message.warning("comp", "warn")
        message.error("comp", "err")
    finally:
        message.set_config(level=message.SeverityLevel.INFO)
    message.debug("comp", "hidden")
    shown = capfd.readouterr()
    assert shown.out.splitlines() == ["[ INFO  ] an info", "[ DEBUG ] comp: dbg", "[WARNING] comp: warn"]
    assert shown.err.splitlines() == ["[ ERROR ] comp: err"]
    with pytest.raises(TypeError):
        message.info("comp", 3)


def test_messages_can_name_their_component_and_be_quiet(cpl, capfd):
    message = cpl.core.Msg
    try:
        message.set_config(level=message.SeverityLevel.WARNING, show_component=True)
        message.info("comp", "hidden")
        message.set_config(message.SeverityLevel.INFO)
        message.info("comp", "an info")
        message.set_config(level=message.SeverityLevel.OFF)
        message.error("comp", "hidden")
    finally:
        message.set_config(level=message.SeverityLevel.INFO, show_component=False)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("[ INFO  ] comp: an info\n", "")
    assert message.get_config().level == message.SeverityLevel.INFO
    with pytest.raises(TypeError):
        message.set_config(colour=True)


def test_the_stand_in_says_what_it_has_not():
    from soxs_recipes.eso import standin_core

    for name in ("PropertyList", "Property", "Image", "Table"):
        with pytest.raises(
            AttributeError, match=f"has no {name}, only .*; FITS files are read and written by astropy"
        ):
            getattr(standin_core, name)
    with pytest.raises(ImportError):
        exec("from soxs_recipes.eso.standin_core import ImageList")


def test_severity_levels(cpl):
    levels = cpl.core.Msg.SeverityLevel
    assert [int(getattr(levels, name)) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "OFF")] == [0, 1, 2, 3, 4]


def test_message_file(cpl, tmp_path, capfd):
    message = cpl.core.Msg
    log = tmp_path / "log.txt"
    message.start_file(message.SeverityLevel.WARNING, str(log))
    message.info("comp", "quiet")
    message.warning("comp", "loud")
    message.stop_file()
    message.warning("comp", "after")
    capfd.readouterr()
    text = log.read_text()
    assert "loud" in text
    assert "quiet" not in text
    assert "after" not in text
