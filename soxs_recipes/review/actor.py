"""A review as a PythonActor of Reflex: `soxs_mflat.py --input-parameters-file F --output-parameters-file G`.

How Reflex calls it is in `ports`. A step's actor takes

- `in_sof`: the products of the recipe; `in_sof_rec_orig`: the frames it was run on; `in_sop`: its parameters;
- `enable`: whether the window opens; otherwise all goes through.

and gives, when the step is done, `out_sof`, `out_sop` and `iteration_complete` true; when the recipe shall run
again with other parameters, `out_sof_loop`, `out_sop_loop` and `iteration_complete` false. `set_enable` false
keeps the window closed from now on, `set_init_sop` hands the parameters to the next data sets.

Where Reflex's own modules can be imported its window is used (`reflex_manager`); elsewhere the one of `soxs
review`, in which the recipe can be tried as often as one likes before the workflow runs it.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.declarations import Declaration, parameter_name
from soxs_recipes.review.ports import act
from soxs_recipes.review.session import ReviewSession, plain_text
from soxs_recipes.review.tokens import (
    FileSet,
    RecipeParameter,
    file_set,
    parameter_list,
    sof_token,
    sop_token,
)

__all__ = ["INPUTS", "OUTPUTS", "ActorInputs", "Decision", "answer", "main", "read_inputs"]

_log = logging.getLogger(__name__)
# Ports with the letters of their short options.
INPUTS = {"in_sof": "i", "in_sop": "p", "in_sof_rec_orig": "g", "enable": "e"}
OUTPUTS = {
    "out_sof": "o",
    "out_sop": "q",
    "out_sof_loop": "f",
    "out_sop_loop": "l",
    "iteration_complete": "c",
    "set_enable": "s",
    "set_init_sop": "n",
}
_NEEDED = ("in_sof", "in_sop", "in_sof_rec_orig")
_FOR_ALL, _NOT_AGAIN = "for all sets", "do not ask again"
_REFLEX_MODULES = ("reflex", "reflex_interactive_app")


@dataclass(frozen=True, slots=True)
class ActorInputs:
    """What stood at the ports.

    Attributes
    ----------
    products, frames : FileSet
        `in_sof` and `in_sof_rec_orig`.
    parameters : tuple of RecipeParameter
        `in_sop`: of this recipe, and perhaps of others.
    is_enabled : bool
    """

    products: FileSet
    frames: FileSet
    parameters: tuple[RecipeParameter, ...]
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What the person decided.

    Attributes
    ----------
    repeat : dict or None
        Parameter -> value with which the recipe shall run again; None goes on with what is there.
    is_for_all : bool
        Whether the parameters hold for the next data sets, too.
    closes_window : bool
        Whether the window stays closed from now on.
    """

    repeat: dict[str, str] | None = None
    is_for_all: bool = False
    closes_window: bool = False


def main(
    recipe: str,
    arguments: Sequence[str] | None = None,
    ask: Callable[[Declaration, ActorInputs], Decision] | None = None,
) -> int:
    """Act as the PythonActor of a recipe; returns the exit code.

    Parameters
    ----------
    recipe : str
    arguments : sequence of str
        Of the command line by default.
    ask : function or None
        Opens the window and gives the decision.
    """
    from soxs_recipes.recipes.framework.registry import recipe_class

    declaration = recipe_class(recipe).declaration
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if arguments is None and ask is None and all(map(importlib.util.find_spec, _REFLEX_MODULES)):
        from soxs_recipes.review.reflex_manager import run_in_reflex

        return run_in_reflex(declaration)
    chosen = ask or ask_in_window

    def work(values: dict[str, object]) -> dict[str, object]:
        inputs = read_inputs(values)
        # A step for which there was nothing to do has nothing to show.
        is_shown = inputs.is_enabled and inputs.products.files
        return answer(declaration, inputs, chosen(declaration, inputs) if is_shown else Decision())

    description = f"Review of {declaration.name}, as a PythonActor of Reflex."
    return act(declaration.name, description, (INPUTS, OUTPUTS), _NEEDED, work, arguments)


def read_inputs(values: Mapping[str, object]) -> ActorInputs:
    """What stands at the ports, in our terms; InputError when it is something else."""
    enable = str(values.get("enable", "false")).strip().lower()
    if enable not in ("true", "false"):
        raise InputError(f"enable = {values['enable']}: must be true or false")
    return ActorInputs(
        file_set(values["in_sof"], "in_sof"),
        file_set(values["in_sof_rec_orig"], "in_sof_rec_orig"),
        tuple(parameter_list(values["in_sop"], "in_sop")),
        enable == "true",
    )


def answer(declaration: Declaration, inputs: ActorInputs, decision: Decision) -> dict[str, object]:
    """What is put to the output ports."""
    if decision.repeat is None:
        sop = sop_token(inputs.parameters)
        outputs = {"iteration_complete": "true", "out_sof": sof_token(inputs.products), "out_sop": sop}
    else:
        sop = sop_token(_edited(declaration, inputs.parameters, decision.repeat))
        outputs = {"iteration_complete": "false", "out_sof_loop": sof_token(inputs.frames), "out_sop_loop": sop}
    if decision.closes_window:
        outputs["set_enable"] = "false"
    if decision.is_for_all:
        outputs["set_init_sop"] = sop
    return outputs


def _edited(
    declaration: Declaration, parameters: Sequence[RecipeParameter], values: dict[str, str]
) -> list[RecipeParameter]:
    """Parameters with new values; those that the set did not hold are added unless at their default."""
    own = {parameter_name(p.name) for p in parameters if p.recipe == declaration.name}
    edited = [
        replace(p, value=values.get(parameter_name(p.name), p.value)) if p.recipe == declaration.name else p
        for p in parameters
    ]
    added = [
        RecipeParameter(declaration.name, name, value)
        for name, value in values.items()
        if name not in own and value != plain_text(declaration.parameter(name).default)
    ]
    return edited + added


def given_settings(declaration: Declaration, inputs: ActorInputs) -> dict[str, object]:
    """Values of this recipe's parameters; InputError for an unknown one or a value out of range."""
    own = [parameter for parameter in inputs.parameters if parameter.recipe == declaration.name]
    settings = {}
    for entry in own:
        parameter = declaration.parameter(entry.name)
        settings[parameter.name] = parameter.checked_or_auto(entry.value)
    return settings


def product_paths(declaration: Declaration, files: Iterable) -> list[Path]:
    """Those of Reflex's files that the recipe made, by their category."""
    tags = {product.short for product in declaration.products}
    return [Path(file.name) for file in files if any(tag in file.category for tag in tags)]


def ask_in_window(declaration: Declaration, inputs: ActorInputs) -> Decision:
    """Open the window of `soxs review`; where there is no display all goes through, and that is told."""
    from soxs_recipes.review.screen import open_window
    from soxs_recipes.review.window import Keeping

    frames = [(file.name, file.category) for file in inputs.frames.files]
    products = product_paths(declaration, inputs.products.files)
    chosen: list[Decision] = []
    with tempfile.TemporaryDirectory(prefix="soxs-review-") as folder:
        session = ReviewSession(
            declaration, frames, given_settings(declaration, inputs), Path(folder), products=products
        )

        def go_on(wishes: Collection[str]) -> str:
            decision = decision_of(session)
            chosen.append(replace(decision, is_for_all=_FOR_ALL in wishes, closes_window=_NOT_AGAIN in wishes))
            return "The workflow goes on." if decision.repeat is None else "The workflow repeats the recipe."

        keeping = Keeping("Go on with this", go_on, (_FOR_ALL, _NOT_AGAIN))
        try:
            open_window(session, keeping, finished=lambda: bool(chosen))
        except InputError as error:
            _log.warning("%s", error)
        finally:
            session.close()
    return chosen[-1] if chosen else Decision()


def decision_of(session: ReviewSession) -> Decision:
    """Go on when the run that the workflow made is shown; else repeat with the settings of the one that is."""
    if session.shown is None or session.shown is session.runs[0]:
        return Decision()
    parameters = session.declaration.parameters
    values = {p.name: session.shown.settings.get(p.name, p.default) for p in parameters}
    return Decision(repeat={name: plain_text(value) for name, value in values.items()})
