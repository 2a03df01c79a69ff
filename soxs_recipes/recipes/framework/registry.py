"""Which recipes there are: names, the words by which the command line knows them, and where their classes live.

A class is imported when it is asked for; none of the modules loads numpy, so that listing stays instant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError

if TYPE_CHECKING:
    from soxs_recipes.recipes.framework.base import Recipe
    from soxs_recipes.recipes.framework.declarations import Declaration

__all__ = ["RECIPES", "RecipeEntry", "all_declarations", "command_names", "recipe_class", "recipe_entry"]


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """Where a recipe is.

    Attributes
    ----------
    name : str
        `soxs_mbias`.
    module, class_name : str
    commands : tuple of str
        What the command line calls it; the first is ours, the others users of the peer know.
    """

    name: str
    module: str
    class_name: str
    commands: tuple[str, ...]

    def load(self) -> type[Recipe]:
        """The class."""
        return getattr(import_module(f"soxs_recipes.recipes.{self.module}"), self.class_name)


RECIPES = {
    entry.name: entry
    for entry in (
        RecipeEntry("soxs_mbias", "mbias", "MasterBias", ("mbias",)),
        RecipeEntry("soxs_mdark", "mdark", "MasterDark", ("mdark",)),
        RecipeEntry(
            "soxs_disp_solution", "disp_solution", "DispersionSolutionRecipe", ("disp_solution", "disp_sol")
        ),
        RecipeEntry("soxs_order_centres", "order_centres", "OrderCentres", ("order_centres", "order_centers")),
        RecipeEntry("soxs_mflat", "mflat", "MasterFlat", ("mflat", "spec_mflat")),
        RecipeEntry(
            "soxs_spatial_solution", "spatial_solution", "SpatialSolution", ("spatial_solution", "spat_sol")
        ),
        RecipeEntry("soxs_stare", "stare", "Stare", ("stare",)),
        RecipeEntry("soxs_nod", "nod", "Nod", ("nod",)),
        RecipeEntry("soxs_offset", "offset", "Offset", ("offset",)),
        RecipeEntry("soxs_extract", "extract", "Extract", ("extract",)),
        RecipeEntry("soxs_straighten", "straighten", "Straighten", ("straighten", "rectify")),
        RecipeEntry("soxs_mapping", "mapping", "Mapping", ("mapping", "map")),
        RecipeEntry("soxs_response", "response", "ResponseRecipe", ("response",)),
        RecipeEntry("soxs_line_check", "line_check", "LineCheck", ("line_check",)),
        RecipeEntry("soxs_lingain", "lingain", "LinearityAndGain", ("lingain", "detlin")),
        RecipeEntry(
            "soxs_wave_interpolate", "wave_interpolate", "WaveInterpolate", ("wave_interpolate", "user_arcs")
        ),
    )
}
_ALIASES = {command: entry.name for entry in RECIPES.values() for command in entry.commands}


def command_names() -> dict[str, str]:
    """Command word -> recipe name, aliases included."""
    return dict(_ALIASES)


def recipe_entry(name: str) -> RecipeEntry:
    """A recipe by name or command word (`-` read as `_`); InputError suggests the nearest."""
    key = name.strip().lower().replace("-", "_")
    found = RECIPES.get(key) or RECIPES.get(_ALIASES.get(key.removeprefix("soxs_"), ""))
    if found is None:
        near = difflib.get_close_matches(key.removeprefix("soxs_"), _ALIASES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(RECIPES)}"
        raise InputError(f"there is no recipe {name!r}; {hint}")
    return found


def recipe_class(name: str) -> type[Recipe]:
    """The class of a recipe, by name or command word."""
    return recipe_entry(name).load()


def all_declarations() -> Iterator[Declaration]:
    """Declarations of all recipes, in the order in which a night needs them."""
    for entry in RECIPES.values():
        yield entry.load().declaration
