"""The graph that the workflow records is that of the table of the cascade and of the recipes' declarations."""

import pytest
from cascade_terms import (
    ARMS,
    LOCAL,
    accepted_tags,
    arms_of,
    expected_ladders,
    facts_of,
    is_static,
    local_name,
    main_tags,
    parameters,
    recorded_ladders,
    serves,
    source_name,
    tags_of,
)
from edps_organiser import all_rules
from edps_standin import (
    META_TARGETS,
    Alternatives,
    DataSource,
    Task,
    WorkflowError,
    load_workflow,
)

from soxs_recipes.instrument import edps_workflow_folder
from soxs_recipes.integration.edps import workflow_tasks
from soxs_recipes.recipes.framework.declarations import resolved_tag
from soxs_recipes.recipes.framework.registry import RECIPES, recipe_class

WORKFLOW = load_workflow(edps_workflow_folder(), "soxs")
NAMES = tuple(WORKFLOW.tasks)
PAIRS = [(name, arm) for name, edps_task in WORKFLOW.tasks.items() for arm in arms_of(edps_task)]
# Facts of the table -> header keywords that EDPS groups by.
GROUPING = {
    "arm": {"instrume", "seq.arm"},
    "binning": {"det.binx", "det.biny"},
    "read_mode": {"det.read.curid"},
    "read_name": {"det.read.curname"},
    "slit": {"ins.vise.name", "ins.nise.name"},
    "exptime": {"exptime"},
    "template_start": {"tpl.start"},
    "observation": {"obs.id", "object"},
}


@pytest.fixture(params=NAMES)
def edps_task(request, workflow):
    """Each task of the workflow."""
    return workflow.tasks[request.param]


def inputs_of(edps_task):
    """All associated inputs, alternatives resolved."""
    for association in edps_task.associations:
        yield from association.inputs if isinstance(association, Alternatives) else [association]


def test_tasks_of_the_table_are_all_there(workflow):
    assert {local_name(name) for name in workflow.tasks} == set(LOCAL)
    assert set(workflow.tasks) == set(workflow_tasks())
    assert len(NAMES) >= 33
    assert len(PAIRS) > 50
    assert {t.recipe for t in workflow.tasks.values()} <= set(RECIPES)
    assert len({t.subworkflow for t in workflow.tasks.values()}) >= 5


def test_recipe_and_main_input(edps_task):
    local = LOCAL[local_name(edps_task.name)]
    assert edps_task.recipe == local.recipe
    if local.main_from:
        assert isinstance(edps_task.main_input, Task)
        assert edps_task.main_input.name in local.main_from
        assert {rule.tag for rule in edps_task.input_filter} >= {
            resolved_tag(tag, arm) for tag in local.main for arm in arms_of(edps_task)
        }
        return
    assert isinstance(edps_task.main_input, DataSource)
    for arm in ARMS:
        if not serves(local, arm):
            continue
        # Frames that never share a group with others come as an associated input.
        taken = {rule.tag for rule in edps_task.main_input.classification_rules}
        joined = {tag for one in inputs_of(edps_task) for tag in tags_of(one, arm)}
        declared = {
            resolved_tag(raw.tag, arm)
            for raw in recipe_class(edps_task.recipe).declaration.raws
            if raw.serves(ARMS[arm])
        }
        wanted = main_tags(local, arm) & (main_tags(local, arm) if local.relabel else declared)
        assert wanted <= taken | joined
        assert {tag for tag in taken if arm in tag.split("_")} <= wanted


def test_modes_have_a_task_each(workflow):
    for local in LOCAL.values():
        if local.main_from:
            sources = {t.main_input.name for t in workflow.tasks.values() if local_name(t.name) == local.name}
            assert sources == set(local.main_from)


def test_groups_are_those_of_the_table(edps_task):
    local, source = LOCAL[local_name(edps_task.name)], edps_task.first_source
    if local.main_from:
        return
    expected = set().union(*(GROUPING[fact] for fact in local.group if fact != "night"))
    if "observation" in local.group:
        assert source.cluster[0] == "mjd-obs"
    else:
        # Difference 3: a night's calibrations are grouped by template.
        expected.add("tpl.start")
        assert source.cluster is None
    assert set(source.grouping_keywords) == expected
    raws = recipe_class(local.recipe).declaration.raws
    tags = {rule.tag for rule in source.classification_rules}
    counts = {raw.min_count for raw in raws for arm in ARMS if resolved_tag(raw.tag, arm) in tags}
    assert {source.min_group_size} == (counts or {1})


@pytest.mark.parametrize(("name", "arm"), PAIRS)
def test_ladders_are_those_of_the_table(workflow, name, arm):
    edps_task = workflow.tasks[name]
    local = LOCAL[local_name(name)]
    expected = expected_ladders(local, arm)
    if name.startswith("line_check_vis"):
        # Difference 5: the NIR is compared with the UV-VIS, not the UV-VIS with the NIR.
        expected = [ladder for ladder in expected if ladder[0].source != "line_check"]
    found = recorded_ladders(edps_task, arm)
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_the_ladders_are_not_empty():
    counted = [len(ladder) for task in LOCAL.values() for arm in ARMS for ladder in expected_ladders(task, arm)]
    assert len(counted) > 80
    assert max(counted) >= 5


@pytest.mark.parametrize(("name", "arm"), PAIRS)
def test_static_tables_are_those_of_the_declaration(workflow, name, arm):
    edps_task = workflow.tasks[name]
    static = [one for one in inputs_of(edps_task) if is_static(one)]
    offered = {tag for one in static for tag in tags_of(one, arm)}
    assert offered == accepted_tags(edps_task.recipe, arm, static=True)
    assert all(one.min_ret == 0 for one in static)


def test_frames_that_join_the_main_input_agree_as_a_group_does(workflow):
    joined = []
    for edps_task in workflow.tasks.values():
        local = LOCAL[local_name(edps_task.name)]
        for arm in arms_of(edps_task):
            for one in inputs_of(edps_task):
                tags = tags_of(one, arm)
                if tags and isinstance(one.source, DataSource) and set(tags) & main_tags(local, arm):
                    joined.append((edps_task.name, tags[0]))
                    (rule,) = one.match_rules
                    assert rule.time_range.end == 0.7
                    # Where the observing block must agree, the target does.
                    more = {"target"} if "observation" in local.group else set()
                    assert facts_of(rule, arm) == set(local.group) | more
    offsets = {
        (f"{kind}_offset", f"SKY_OFFSET_{arm}") for kind in ("standard", "telluric", "science") for arm in ARMS
    }
    assert set(joined) == {("flat", "FLAT_SLIT_VIS_D2"), ("lingain", "DETLIN_NIR_OFF")} | offsets


@pytest.mark.parametrize(("name", "arm"), PAIRS)
def test_nothing_that_is_missing_stops_a_recipe_that_can_do_without(workflow, name, arm):
    edps_task = workflow.tasks[name]
    declaration = recipe_class(edps_task.recipe).declaration
    # The pipeline's own tables are always there.
    assert [c.tag for c in declaration.calibrations if c.required and not c.static] == []
    for association in edps_task.associations:
        inputs = association.inputs if isinstance(association, Alternatives) else [association]
        wanted = [one for one in inputs if one.condition is None or one.condition(parameters(arm))]
        assert not wanted or wanted[-1].min_ret == 0
        # Only the last of several alternatives may be missing: what comes after it would never be tried.
        assert all(one.min_ret == 1 for one in wanted[:-1])
        for one in wanted:
            assert one.max_ret == (1 if source_name(one) != "raw" or is_static(one) else 1000)


@pytest.mark.parametrize(("name", "arm"), PAIRS)
def test_recipes_get_what_is_asked_for_and_nothing_else(workflow, name, arm):
    edps_task = workflow.tasks[name]
    accepted = accepted_tags(edps_task.recipe, arm)
    # Files of the other arm are not left out but refused.
    seen = set().union(*(accepted_tags(edps_task.recipe, other) for other in ARMS))
    kept = {rule.tag for rule in edps_task.input_filter}
    inputs = [one for one in inputs_of(edps_task) if one.condition is None or one.condition(parameters(arm))]
    for one in inputs:
        asked = {rule.tag for rule in one.rules} or set(tags_of(one, arm))
        assert asked <= accepted
        assert not kept or asked <= kept
        if isinstance(one.source, Task):
            handed_on = {rule.tag for rule in one.source.output_filter}
            for made_in in arms_of(one.source):
                made = {
                    resolved_tag(product.tag, made_in, kind_of(one.source))
                    for product in recipe_class(one.source.recipe).declaration.products
                }
                if made_in == arm or one.source.condition is not None:
                    assert made & seen & (kept or made) & (handed_on or made) <= asked


def kind_of(edps_task):
    """What the products of a task are called by: what was observed."""
    (word,) = {rule.tag.split("_")[1] for rule in edps_task.first_source.classification_rules} & {
        "FLUX",
        "TELL",
    } or {"SCI"}
    return word


def test_a_filter_lets_pass_what_is_asked_for_and_nothing_that_is_unknown(edps_task):
    tags = {rule.tag for rule in edps_task.input_filter}
    asked = {tag for one in inputs_of(edps_task) for arm in ARMS for tag in tags_of(one, arm)}
    local = LOCAL[local_name(edps_task.name)]
    main = {resolved_tag(tag, arm) for tag in local.main for arm in ARMS}
    assert tags <= asked | main


def test_lamp_off_frames_become_darks(workflow):
    edps_task, local = workflow.tasks["lamp_off_dark"], LOCAL["lamp_off_dark"]
    assert {old.tag: new.tag for old, new in edps_task.input_map.items()} == {
        resolved_tag(tag, "NIR"): resolved_tag(local.relabel, "NIR") for tag in local.main
    }
    assert [name for name, t in workflow.tasks.items() if t.input_map] == ["lamp_off_dark"]


def test_targets(workflow):
    targets = {name: set(t.meta_targets) for name, t in workflow.tasks.items()}
    known = set(META_TARGETS.values())
    for name, own in targets.items():
        local = LOCAL[local_name(name)]
        assert own <= known
        # What runs only when it is needed or asked for has none.
        assert bool(own) != (local.on_demand or local.optional)
        if local.is_target and name.startswith("science"):
            assert own == {"science", "qc0", "calchecker", "idp"}
        elif not local.name.startswith("line_check") and own:
            assert "qc1calib" in own
    assert {name for name, own in targets.items() if "idp" in own} == {n for n in NAMES if n.startswith("science")}


def test_the_arm_of_each_job_is_known(edps_task):
    assert list(edps_task.dynamic_parameters) == ["arm"]
    (which_arm,) = edps_task.dynamic_parameters.values()

    class File:
        def __init__(self, arm):
            self.arm = arm

        def get_keyword_value(self, keyword, default):
            return self.arm if keyword == "seq.arm" else default

    assert [which_arm([File(name)]) for name in ("VIS", "UVVIS", "NIR")] == ["VIS", "VIS", "NIR"]


def test_tags_are_unique_and_known(workflow):
    rules = all_rules(workflow)
    assert len({rule.tag for rule in rules}) == len(rules) > 70
    labels = [source.name for source in workflow.data_sources.values()]
    assert len(set(labels)) == len(labels) > 30


# --- the stand-in is strict ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wkf", "error"),
    [
        ("from edps import no_such_name", ImportError),
        ("from edps import task\ntask('a').with_recipes('x')", AttributeError),
        ("from edps import task\ntask('a').with_recipe('x').build()", WorkflowError),
        ("from edps import data_source\ndata_source('A').build()", WorkflowError),
        ("from edps import data_source\ndata_source('A').with_max_group_size(3)", AttributeError),
        ("from edps import data_source\ndata_source('A').with_match_keywords('seq.arm')", WorkflowError),
        ("from edps import data_source\ndata_source('A').with_match_keywords(['x'], range=3)", TypeError),
        ("from edps.generator.time_range import ONE_YEAR", ImportError),
    ],
)
def test_what_edps_does_not_have_is_refused(tmp_path, wkf, error):
    package = tmp_path / "demo"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "demo_wkf.py").write_text(wkf)
    with pytest.raises(error):
        load_workflow(tmp_path, "demo")
