import pytest

from soxs_recipes.cascade.tasks import TASKS, serves
from soxs_recipes.cli.recipe_inputs import recipes_for_tags
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.declarations import resolved_tag

ARMS = {arm.name: arm for arm in load_instrument().arms}
SETS = [
    (task, arm)
    for task in TASKS
    for arm in ARMS
    if serves(task, ARMS[arm]) and not (task.optional or task.on_demand)
]


def test_most_tasks_are_tried_in_both_arms():
    assert len(SETS) > 30


@pytest.mark.parametrize(("task", "arm"), SETS, ids=[f"{task.name}-{arm}" for task, arm in SETS])
def test_a_set_of_the_cascade_is_for_the_recipe_of_its_task(task, arm):
    """Bare, with what joins it, and with everything that a night may give it."""
    for main in task.main:
        if ("_ON" in main) and ARMS[arm].detector.has_bias:
            continue
        bare = {resolved_tag(main, arm)}
        joined = bare | {resolved_tag(tag, arm) for tag in task.companions}
        links = [link for link in task.associations if serves(link, ARMS[arm])]
        full = joined | {resolved_tag(tag, arm) for link in links for rung in link.rungs for tag in rung.tags}
        assert [recipes_for_tags(tags) for tags in (bare, joined, full)] == [[task.recipe]] * 3


@pytest.mark.parametrize(
    ("tags", "recipes"),
    [
        ({"OBJECT_STARE_VIS", "WAVE_PIN_VIS"}, ["soxs_stare"]),
        ({"WAVE_SLIT_VIS"}, ["soxs_wave_interpolate"]),
        ({"SCI_SLIT_SKYSUB_NIR"}, ["soxs_extract", "soxs_straighten"]),
        ({"MASTER_BIAS_VIS"}, []),
        (set(), []),
    ],
)
def test_other_sets(tags, recipes):
    assert sorted(recipes_for_tags(tags)) == recipes
