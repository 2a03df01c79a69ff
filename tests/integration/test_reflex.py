"""The Reflex workflow hangs together, and a workflow that does not is seen."""

import re
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from soxs_recipes.cascade.tasks import TASKS
from soxs_recipes.integration.actors import ACTORS, KNOWN_CLASSES
from soxs_recipes.integration.boxes import REVIEW_INPUTS, REVIEW_OUTPUTS, REVIEWED
from soxs_recipes.integration.moml import moml_text
from soxs_recipes.integration.moml_check import workflow_problems
from soxs_recipes.integration.reflex import TOKENS, reflex_workflow, workflow_text
from soxs_recipes.integration.steps import declared, steps
from soxs_recipes.review.actor import INPUTS, OUTPUTS

WORKFLOWS = Path(__file__).parents[2] / "workflows"


@lru_cache
def text():
    return workflow_text()


def entities(class_end, root=None):
    root = ET.fromstring(text()) if root is None else root
    return [entity for entity in root.iter("entity") if entity.get("class").endswith(class_end)]


def values(entity):
    return {entry.get("name"): entry.get("value") for entry in entity.findall("property")}


def test_the_workflow_hangs_together():
    assert workflow_problems(text(), WORKFLOWS) == []


def test_every_task_has_a_box_and_every_recipe_a_number():
    names = [entity.get("name") for entity in entities(".RecipeExecuter")]
    assert len(names) == len(set(names)) == len({step.task.name for step in steps()})
    assert {re.sub(r"_\d+$", "", name) for name in names} == {t.recipe for t in TASKS if not t.on_demand}
    assert {"soxs_mbias_1", "soxs_stare_1", "soxs_stare_2", "soxs_stare_3"} <= set(names)


def test_parameters_begin_with_their_defaults():
    checked = 0
    for box in ET.fromstring(text()).findall("entity"):
        for executer in entities(".RecipeExecuter", box):
            declaration = declared()[re.sub(r"_\d+$", "", executer.get("name"))]
            for parameter in declaration.parameters:
                initial = values(box).get(f"init_{parameter.name.replace('-', '_')}")
                if str(parameter.default) == "":
                    assert initial is None
                    continue
                assert parameter.checked_or_auto(initial) == parameter.default
                # A comma would begin the next parameter of the set.
                assert "," not in initial
                checked += 1
    assert checked > 100


def test_reviewed_steps_speak_as_the_scripts_do():
    scripts = {path.stem for path in (WORKFLOWS / "review").glob("soxs_*.py")}
    assert set(REVIEWED) == scripts
    assert set(REVIEW_INPUTS) == set(INPUTS)
    assert set(REVIEW_OUTPUTS) == set(OUTPUTS)
    reviews = [entity for entity in entities(".PythonActor") if entity.get("name") == "Review"]
    assert len(reviews) == sum(task.recipe in REVIEWED for task in TASKS if not task.on_demand)
    for review in reviews:
        assert {port.get("name") for port in review.findall("port")} == {*INPUTS, *OUTPUTS}


def test_every_category_of_raw_frames_that_starts_a_step_is_routed():
    (router,) = [entity for entity in entities(".FitsRouter") if entity.get("name") == "Route by Category"]
    routed = {
        tag for name, value in values(router).items() if name.endswith("_config") for tag in value.split(",")
    }
    assert {tag for step in steps() if not step.from_products for tag in step.main} <= routed
    assert {s.tag for step in steps() for s in step.selections} <= routed


def test_boxes_stand_right_of_what_they_take_products_from():
    workflow = reflex_workflow()
    x = {
        entity.name: float(entry.value.strip("[]").split(",")[0])
        for entity in workflow.entities
        for entry in entity.properties
        if entry.name == "_location"
    }
    wires = 0
    for relation in workflow.relations:
        source = relation.links[0]
        if source.port != "products out":
            continue
        for link in relation.links:
            if link is not source:
                assert x[link.entity] > x[source.entity]
                wires += 1
    assert wires > 60


def test_a_workflow_of_some_steps_is_whole():
    """Leaving out a mode, or adding one, is a change of the table of tasks only."""
    some = tuple(task for task in TASKS if "nod" not in task.name and task.name not in ("standard", "straighten"))
    chosen = steps(some)
    assert len(steps()) - len(chosen) == 2 * 5
    assert workflow_problems(moml_text(reflex_workflow(chosen)), WORKFLOWS) == []


def test_tokens_are_for_the_installation_only():
    for token in TOKENS.values():
        assert text().count(token) == 1
    assert not re.search(r'value="/', text())


_WORD = 'name="variableName" class="ptolemy.kernel.util.StringAttribute" value="'
MUTATIONS = {
    "no end": ("</entity>\n", "", "not well-formed"),
    "class": ("org.eso.SofSplitter", "org.eso.SofDivider", "not used by any public workflow"),
    "class of a property": ("expr.FileParameter", "expr.PathParameter", "no known property"),
    "class without ports": ("org.eso.SofSplitter", "org.eso.SofCreator", "not in the table of actors"),
    "port": ('link port="Split.#groups"', 'link port="Split.groups"', "no port Split.groups"),
    "entity": ('link port="Split.#groups"', 'link port="Splitter.#groups"', "no port Splitter.#groups"),
    "relation": ('"Split.#groups" relation="relation6"', '"Split.#groups" relation="r6"', "does not exist"),
    "missing link": ('  <link port="Initialise.output" relation="relation1"/>\n', "", "0 sources"),
    "missing sink": ('  <link port="Data Organiser.input data" relation="relation1"/>\n', "", "nothing comes to"),
    "name twice": ('<entity name="Bias"', '<entity name="Dark"', "stands twice"),
    "dot": ('<entity name="Bias"', '<entity name="Bias.1"', "cannot be a name"),
    "variable": ("$TMP_PRODUCTS_DIR", "$TMP_PRODUCT_DIR", "no variable TMP_PRODUCT_DIR"),
    "set variable": (_WORD + "N_", _WORD + "M_", "does not exist"),
    "rules": ("$WORKFLOW_DIR/soxs.oca", "$WORKFLOW_DIR/sox.oca", "no sox.oca beside"),
    "script": ("$REVIEW_SCRIPTS/soxs_mflat.py", "$REVIEW_SCRIPTS/soxs_flat.py", "no review/soxs_flat.py"),
    "recipe": ('name="soxs_mbias_1"', 'name="soxs_bias_1"', "there is no recipe soxs_bias"),
    "parameter": ("stack-sigma=PORT", "stack-sigmas=PORT", "no such parameter"),
    "number": ('name="recipe_param_2"', 'name="recipe_param_99"', "not numbered"),
    "set of parameters": ("soxs_mflat:stack-sigma=", "soxs_mflat:stack-sigmas=", "and is given"),
    "category": ('"bias_config" class="ptolemy.data.expr.StringParameter" value="BIAS_VIS',
                 '"bias_config" class="ptolemy.data.expr.StringParameter" value="BIAS_UVB', "nobody behind takes"),
    "category inside": ("BIAS_VIS,BP_MAP_REF_VIS", "BIAS_UVB,BP_MAP_REF_VIS", "nobody behind takes"),
    "route": ('name="bias_config"', 'name="biases_config"', "configured and no port"),
    "looper": ('class="ptolemy.data.expr.StringParameter" value="Review"',
               'class="ptolemy.data.expr.StringParameter" value="Reviewer"', "names the actor Reviewer"),
    "place": ('value="[760, 90]"', 'value="[570, 95]"', "lie on one another"),
    "width": ('name="width" class="ptolemy.data.expr.Parameter" value="13"',
              'name="width" class="ptolemy.data.expr.Parameter" value="1"', "wide, and"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_broken_is_named(name):
    right, wrong, problem = MUTATIONS[name]
    assert right in text()
    position = text().rindex(right) if name == "no end" else text().index(right)
    changed = text()[:position] + wrong + text()[position + len(right) :]
    assert any(problem in found for found in workflow_problems(changed, WORKFLOWS))


def test_a_port_with_two_wires_needs_to_be_a_multiport():
    wire = '  <link port="Data Organiser.input data" relation="relation1"/>\n'
    changed = text().replace(wire, wire + wire.replace("relation1", "relation2"))
    assert any("no multiport" in found for found in workflow_problems(changed, WORKFLOWS))


def test_the_table_of_actors_says_what_is_assumed():
    assert set(ACTORS) <= KNOWN_CLASSES
    used = {entity.get("class") for entity in ET.fromstring(text()).iter("entity")} - {
        "ptolemy.actor.TypedCompositeActor"
    }
    assert used == set(ACTORS)
    for actor in ACTORS.values():
        names = {*actor.ports, *(name for name, _ in actor.properties)}
        assert set(actor.assumed) <= names
