"""What EDPS is given: the workflow's parameter file, from the declarations, and where things are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap

from soxs_recipes.cascade.tasks import TASKS
from soxs_recipes.instrument import edps_workflow_folder
from soxs_recipes.recipes.framework.declarations import PLOTS, Declaration, Parameter
from soxs_recipes.recipes.framework.registry import all_declarations

__all__ = ["QUICK_LOOK", "application_properties", "parameters_yaml", "workflow_tasks"]

_DEFAULT, _QUICK, _QC1 = "soxs_parameters", "quicklook_parameters", "qc1_parameters"
_WIDTH = 100
_HEAD = """\
# Parameters of the SOXS workflow. Made from the recipes' declarations by `make workflows`; a test keeps it fresh.
# A parameter with an empty default is not listed: -rp TASK soxs.RECIPE.PARAMETER VALUE sets it.
"""
_WORKFLOW_PARAMETERS = """\
  workflow_parameters:
    # "TRUE": spectra are flux calibrated with the response of a standard star or of the archive; "FALSE": counts.
    flux_calibration: "TRUE"
"""
# What the look at the telescope does otherwise: less care, figures drawn.
QUICK_LOOK: Mapping[str, Mapping[str, object]] = {
    "soxs_mbias": {"denoise": False},
    "soxs_mdark": {"denoise": False},
    "soxs_mflat": {"denoise": False},
    **{
        recipe: {"refine-sky": False, "maximum-sources": 1}
        for recipe in ("soxs_stare", "soxs_nod", "soxs_offset", "soxs_mapping")
    },
}


def application_properties() -> dict[str, dict[str, str | Path]]:
    """What EDPS's `application.properties` must say, by section."""
    return {
        "application": {"workflow_dir": edps_workflow_folder()},
        "executor": {"esorex_path": "pyesorex"},
    }


def workflow_tasks() -> dict[str, str]:
    """Task of the workflow -> its recipe, in the order of the cascade.

    EDPS gives a task one main input: what takes the products of several tasks is a task for each of them there,
    and the line checks of the arms, of which the second takes the first, are two.
    """
    tasks = {}
    for task in TASKS:
        arms = ("_vis", "_nir") if any(r.of_other_arm for a in task.associations for r in a.rungs) else ("",)
        stem = task.main_from[0] if task.main_from else ""
        for arm in arms:
            for source in task.main_from or ("",):
                tasks[task.name + arm + source.removeprefix(stem)] = task.recipe
    return tasks


def parameters_yaml() -> str:
    """Text of `soxs_parameters.yaml`: the defaults, and what the quick look and QC1 change."""
    declarations = {d.name: d for d in all_declarations()}
    drawn = {PLOTS.name: True}
    parts = [_HEAD]
    parts.append(f"{_DEFAULT}:\n  is_default: yes\n{_WORKFLOW_PARAMETERS}  recipe_parameters:\n")
    parts += _by_task(declarations, _default_values)
    parts += _derived(_QUICK, "qc0", declarations, lambda recipe: {**QUICK_LOOK.get(recipe, {}), **drawn})
    parts += _derived(_QC1, "qc1calib", declarations, lambda recipe: drawn)
    return "".join(parts)


def _derived(name, tag, declarations, changes) -> Iterator[str]:
    """A set that changes some values of the default set and is chosen by a meta target."""
    yield f"\n{name}:\n  is_default: no\n  tags: [{tag}]\n{_WORKFLOW_PARAMETERS}  recipe_parameters:\n"

    def changed(declaration: Declaration) -> Iterator[str]:
        yield f"      <<: *{declaration.name}\n"
        known = {parameter.name: parameter for parameter in _parameters(declaration)}
        for name, value in changes(declaration.name).items():
            yield _line(declaration, known[name], known[name].checked(value))

    yield from _by_task(declarations, changed, f"{tag}_")


def _by_task(declarations, values, prefix: str = "") -> Iterator[str]:
    """Values of each task; tasks of one recipe share them."""
    seen = set()
    for task, recipe in workflow_tasks().items():
        if recipe in seen:
            yield f"    {task}: *{prefix}{recipe}\n"
        else:
            seen.add(recipe)
            yield f"    {task}: &{prefix}{recipe}\n"
            yield from values(declarations[recipe])


def _parameters(declaration: Declaration) -> tuple[Parameter, ...]:
    return (*declaration.parameters, PLOTS)


def _default_values(declaration: Declaration) -> Iterator[str]:
    for parameter in _parameters(declaration):
        if parameter.default == "":
            continue
        about = f"{parameter.sentence} [{parameter.unit}]" if parameter.unit else parameter.sentence
        yield from (f"      # {line}\n" for line in wrap(about, _WIDTH))
        yield _line(declaration, parameter, parameter.default)


def _line(declaration: Declaration, parameter: Parameter, value: object) -> str:
    if isinstance(value, bool):
        value = str(value).upper()
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return f"      {declaration.full_name(parameter)}: {text}\n"
