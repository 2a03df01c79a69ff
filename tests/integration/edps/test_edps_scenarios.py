"""What EDPS would make of a set of files, and what the planner of the cascade makes of it: the same."""

import pytest
from cascade_terms import LOCAL, local_name
from edps_organiser import Organiser
from edps_standin import DataSource
from scenario_files import fits_header, scenarios

from soxs_recipes.cascade.frames import FrameRecord, describe_frame
from soxs_recipes.cascade.night import recipe_declarations, static_table
from soxs_recipes.cascade.plan import PlanInputs, make_plan
from soxs_recipes.instrument.classify import classify
from soxs_recipes.recipes.framework.declarations import resolved_tag

SCENARIOS = scenarios()
PARAMETERS = {"flux_calibration": "TRUE"}
AGREEING = [scenario for scenario in SCENARIOS if not scenario.differs]
DIFFERING = [scenario for scenario in SCENARIOS if scenario.differs]


def prefix(name):
    return name.rpartition("_")[0]


def organised(workflow, scenario):
    organiser = Organiser(workflow, scenario.files, PARAMETERS | scenario.parameters)
    return organiser.organise(scenario.targets_of(workflow))


def associated_names(job):
    """Names of associated files, and of those behind associated jobs."""
    return {
        f.name for _, _, jobs, files in job.associated for f in (*files, *(f for one in jobs for f in one.files))
    }


# --- what EDPS's own tests would check -------------------------------------------------------------------------


def found_results(jobs):
    return sorted(
        (
            job.task.recipe,
            sorted({prefix(f.name) for f in job.files}),
            sorted({*map(prefix, associated_names(job))}),
        )
        for job in jobs
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.description)
def test_jobs_are_those_expected(workflow, scenario):
    jobs = organised(workflow, scenario)
    expected = sorted(
        (r["recipe"], sorted(r["inputs_prefixes"]), sorted(r["assoc_prefixes"])) for r in scenario.results
    )
    assert expected
    assert found_results(jobs) == expected


# --- the planner -----------------------------------------------------------------------------------------------


def record_of(f):
    header = fits_header(f)
    known = classify(header)
    return describe_frame(
        f"/night/{f.name}", header, tag=known.tag, arm=known.arm, checksum=f.name, size=1, modified_ns=0,
        is_product=known.is_product,
    )  # fmt: skip


def planned(scenario):
    inputs = PlanInputs(
        [record_of(f) for f in scenario.files],
        recipe_declarations(),
        lambda recipe, arm: {},
        lambda tag: static_table(tag) and FrameRecord(f"/static/{tag}", 1, 0, tag, tag),
        also=frozenset({"straighten"}),
    )
    return make_plan(inputs)


def frames_behind(plan, job):
    """Raw frames of a call, or of the call whose products it takes."""
    if job.frames:
        return frozenset(frame.name for frame in job.frames)
    (main,) = [link for link in job.links if link.name == "main input"]
    return frames_behind(plan, plan.job(main.jobs[0]))


def planner_view(plan, targets):
    """(task, frames) -> {(task or "file", frames): (level, mark)} of the calls that the targets need."""
    waiting = [job for job in plan.jobs if job.task.name in targets and not job.blocked]
    view = {}
    while waiting:
        job = waiting.pop()
        links, needed = {}, list(job.upstream)
        for link in job.links:
            if link.name == "main input":
                continue
            # Difference 5: the archive of the response before, which has a test of its own.
            if job.task.name == "response" and link.jobs:
                needed = [name for name in needed if name not in link.jobs]
                continue
            for name in link.jobs:
                links[plan.job(name).task.name, frames_behind(plan, plan.job(name))] = (link.level, link.mark)
            for frame in link.frames:
                links["file", frozenset({frame.name})] = (link.level, link.mark)
        view[job.task.name, frames_behind(plan, job)] = links
        waiting += [plan.job(name) for name in needed]
    return view


def edps_view(jobs):
    """The same of EDPS's jobs; frames that the planner counts to the main input are counted so here."""
    view = {}
    for job in jobs:
        task = LOCAL[local_name(job.task.name)]
        own = {resolved_tag(tag, arm) for tag in (*task.main, *task.companions) for arm in ("VIS", "NIR")}
        names, links = {f.name for f in main_files(job)}, {}
        for entry, rule, found_jobs, files in job.associated:
            for one in found_jobs:
                links[local_name(one.task.name), frozenset(f.name for f in main_files(one))] = rule.level
            for f in files:
                if isinstance(entry.source, DataSource) and f.classification in own:
                    names.add(f.name)
                else:
                    links["file", frozenset({f.name})] = rule.level
        view[task.name, frozenset(names)] = links
    return view


def main_files(job):
    """Raw frames behind a job, with those that the planner counts to the main input."""
    if job.upstream is not None:
        return main_files(job.upstream)
    task = LOCAL[local_name(job.task.name)]
    own = {resolved_tag(tag, arm) for tag in (*task.main, *task.companions) for arm in ("VIS", "NIR")}
    return [*job.files, *(f for _, _, _, files in job.associated for f in files if f.classification in own)]


def both_views(workflow, scenario):
    targets = {local_name(name) for name in scenario.targets_of(workflow)}
    return edps_view(organised(workflow, scenario)), planner_view(planned(scenario), targets)


def as_sets(view):
    return {key: set(links) for key, links in view.items()}


@pytest.mark.parametrize("scenario", AGREEING, ids=lambda scenario: scenario.description)
def test_the_planner_agrees(workflow, scenario):
    ours, planners = both_views(workflow, scenario)
    assert as_sets(ours) == as_sets(planners)
    for key, links in planners.items():
        for link, (level, mark) in links.items():
            if not mark:
                assert ours[key][link] == (level or 0), (key, link)
            else:
                assert ours[key][link] >= max(2, level or 0), (key, link)


@pytest.mark.parametrize("scenario", DIFFERING, ids=lambda scenario: scenario.description)
def test_a_difference_is_named_and_real(workflow, scenario):
    assert f"\n{scenario.differs}. " in workflow.module.__doc__
    ours, planners = both_views(workflow, scenario)
    assert as_sets(ours) != as_sets(planners)


def test_a_response_joins_that_of_the_night_before_only_in_the_planner(workflow):
    (scenario,) = [s for s in SCENARIOS if s.description == "a response of the night before one of the week"]
    joined = [
        plan.job(name).task.name
        for plan in [planned(scenario)]
        for job in plan.jobs
        if job.task.name == "response"
        for link in job.links
        if link.name == "responses of earlier nights"
        for name in link.jobs
    ]
    assert joined == ["response"]
    responses = [job for job in organised(workflow, scenario) if job.task.recipe == "soxs_response"]
    assert [job.associated for job in responses] == [[]]


def test_every_difference_has_its_scenario(workflow):
    numbers = [line.split(".")[0] for line in workflow.module.__doc__.splitlines() if line[:1].isdigit()]
    assert len(numbers) >= 5
    assert {str(scenario.differs) for scenario in DIFFERING} == set(numbers)
    assert len(AGREEING) >= 12
