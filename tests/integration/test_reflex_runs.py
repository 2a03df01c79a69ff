"""The workflow tried on simulated nights by a model of Reflex: every box gets what the organiser chose for it."""

from functools import lru_cache

import pytest
from astropy.io import fits
from oca_language import parse
from oca_organiser import organise
from reflex_model import Model, dataset
from simulated_headers import night_headers

from soxs_recipes.instrument import static_calibration_folder
from soxs_recipes.integration.oca import oca_rules
from soxs_recipes.integration.reflex import reflex_workflow
from soxs_recipes.integration.steps import steps


@lru_cache
def parsed():
    return parse(oca_rules())


@lru_cache
def workflow():
    return reflex_workflow()


def made_by(recipe, files):
    """Categories that a recipe makes of files."""
    categories = {file.category for file in files}
    wanted = [step for step in steps() if step.declaration.name == recipe and categories & set(step.main)]
    return sorted({tag for step in wanted for tag in step.products})


def targets(plan):
    """Calls of the organiser on what an observer asked for."""
    wanted = {step.name for step in steps() if step.task.is_target}
    return [call for call in organise(parsed(), [*night_headers(plan), *tables()]) if call.action in wanted]


def tables():
    """Headers of the static tables: each step that takes one gets it."""
    paths = sorted(static_calibration_folder().glob("*.fits"))
    return [(path.name, fits.getheader(path)) for path in paths]


def tree(call):
    """The call and all those whose products it needs, once each."""
    found = {id(call): call}
    for file in [*call.main, *(file for files in call.selected.values() for file in files)]:
        if file.made_by is not None:
            found |= {id(inner): inner for inner in tree(file.made_by)}
    return list(found.values())


def arm_of(call):
    return call.action.rpartition("_")[2]


def expected(call):
    """(recipe, raw frames, categories of products) of a call of the organiser."""
    files = [*call.main, *(file for files in call.selected.values() for file in files)]
    raw = frozenset(file.name for file in files if file.made_by is None)
    return parsed().actions[call.action].recipe, raw, frozenset(file.name for file in files if file.made_by)


def done(run):
    raw = frozenset(name for _, name in run.files if " of " not in name)
    return run.recipe, raw, frozenset(category for category, name in run.files if " of " in name)


@pytest.mark.parametrize("plan", ["demo", "modes", "nod", "offset-sky", "mapping", "user-arcs", "full"])
def test_boxes_run_the_calls_of_the_organiser(plan):
    calls = targets(plan)
    assert len(calls) >= 2
    for call in calls:
        model = Model(workflow(), made_by)
        model.run(dataset(call))
        runs = [done(run) for run in model.runs if run.recipe != "soxs_line_check"]
        assert len(runs) == len(set(runs))
        assert set(runs) == {expected(inner) for inner in tree(call)}
        # What an observer asked for is checked against the sky once, by its spectra.
        (check,) = [run for run in model.runs if run.recipe == "soxs_line_check"]
        assert {category for category, name in check.files if " of " in name} == {
            f"SCI_SLIT_ORDER1D_{arm_of(call)}"
        }


def test_biases_serve_linearity_and_master_alike():
    headers = [*night_headers("demo"), *night_headers("lingain", 2)]
    call = next(call for call in organise(parsed(), headers) if call.action == "ACTION_SCIENCE_VIS")
    model = Model(workflow(), made_by)
    model.run(dataset(call))
    (lingain,) = [run for run in model.runs if run.recipe == "soxs_lingain"]
    assert {category for category, _ in lingain.files} == {"DETLIN_VIS", "BIAS_VIS"}
    science = next(run for run in model.runs if any(category == "OBJECT_STARE_VIS" for category, _ in run.files))
    assert {"LINEARITY_COEFF_VIS", "BP_MAP_NL_VIS", "MASTER_BIAS_VIS"} <= {
        category for category, _ in science.files
    }


def test_a_missing_wire_is_seen():
    changed = reflex_workflow()
    wire = next(r for r in changed.relations if r.links[0].entity == "Flat")
    changed.relations.remove(wire)
    call = targets("demo")[0]
    model = Model(changed, made_by)
    model.run(dataset(call))
    assert {done(run) for run in model.runs} != {expected(inner) for inner in tree(call)}
    assert not any(category.startswith("MASTER_FLAT") for run in model.runs for category, _ in run.files)


def test_what_is_not_there_runs_nothing():
    call = targets("demo")[0]
    model = Model(workflow(), made_by)
    results = model.run([file for file in dataset(call) if not file.category.startswith("WAVE_MPH")])
    assert results == {}
    assert "soxs_spatial_solution" not in {run.recipe for run in model.runs}
    assert "soxs_nod" not in {run.recipe for run in model.runs}
