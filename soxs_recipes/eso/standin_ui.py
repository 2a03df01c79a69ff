"""Stand-in of `cpl.ui`: recipes, parameters, frames, as PyCPL behaves (observed, not copied)."""

from __future__ import annotations

import abc
from typing import ClassVar

from soxs_recipes.eso.standin_frames import Frame, FrameSet
from soxs_recipes.eso.standin_parameters import (
    Parameter,
    ParameterEnum,
    ParameterList,
    ParameterRange,
    ParameterValue,
)

__all__ = [
    "AbstractRecipe",
    "CRecipe",
    "Frame",
    "FrameSet",
    "Parameter",
    "ParameterEnum",
    "ParameterList",
    "ParameterRange",
    "ParameterValue",
    "PyRecipe",
    "RecipeNotFoundException",
]

_TEXTS = ("_name", "_author", "_copyright", "_description", "_email", "_synopsis", "_version")


class RecipeNotFoundException(Exception):
    """No recipe of that name."""


class AbstractRecipe(abc.ABC):
    """A recipe: seven texts and `run`."""

    _name = _author = _copyright = _description = _email = _synopsis = _version = None

    def __new__(cls):
        """Refuse a class that lacks one of the seven texts; takes no arguments, as in PyCPL."""
        for text in _TEXTS:
            if getattr(cls, text) is None:
                raise TypeError(f"Can't instantiate class {cls.__name__} with class variable {text} not set.")
        return super().__new__(cls)

    name = property(lambda self: self._name)
    author = property(lambda self: self._author)
    copyright = property(lambda self: self._copyright)
    description = property(lambda self: self._description)
    email = property(lambda self: self._email)
    synopsis = property(lambda self: self._synopsis)
    version = property(lambda self: self._version)

    @abc.abstractmethod
    def run(self, frameset: FrameSet, settings: dict) -> FrameSet:
        """Reduce `frameset` with `settings` {full parameter name: value}; returns the products."""

    def __repr__(self) -> str:
        return f"<cpl.ui.Recipe {self._name}>"


class PyRecipe(AbstractRecipe):
    """Base of recipes written in Python."""


class CRecipe:
    """Recipes written in C, of which the stand-in has none: `recipes` is empty, and each name unknown."""

    recipes: ClassVar[list[str]] = []
    recipe_dir: ClassVar[str | list[str]] = ""

    def __init__(self, name: str):
        raise RecipeNotFoundException(f"{name}: recipes written in C need PyCPL, of which this is a stand-in")


AbstractRecipe.register(CRecipe)
