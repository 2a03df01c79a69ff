"""Recipes, errors and messages of CPL, as observed of PyCPL."""

from __future__ import annotations

import pytest

TEXTS = ("name", "author", "copyright", "description", "email", "synopsis", "version")
CODES = {
    ValueError: {"NullInputError": 12, "IncompatibleInputError": 13, "IllegalInputError": 14},
    LookupError: {"AccessOutOfRangeError": 11},
    RuntimeError: {
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
    bare = type("X", (cpl.ui.PyRecipe,), {"run": lambda self, frameset, settings: None})
    with pytest.raises(TypeError, match="_name not set"):
        bare()


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
