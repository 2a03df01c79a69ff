"""The OCA rules read as strictly as the grammar, and tried on simulated nights beside the local planner."""

import re
from functools import lru_cache
from pathlib import Path

import pytest
from oca_language import OcaError, parse
from oca_organiser import classified, organise
from simulated_headers import night_headers

from soxs_recipes.cascade.frames import describe_frame
from soxs_recipes.cascade.night import static_table
from soxs_recipes.cascade.plan import PlanInputs, make_plan
from soxs_recipes.instrument.classify import classify
from soxs_recipes.integration.oca import oca_rules
from soxs_recipes.integration.steps import declared, steps
from soxs_recipes.recipes.framework.declarations import resolved_tag
from soxs_recipes.simulator.plans import PLANS

# Where the rules hand on more than the planner does, because the recipe takes the best of it.
ALTERNATIVES = {
    "DISP_TAB": "2-D solution: the recipe prefers DISP_TAB_2D",
    "MASTER_DARK": "lamp-off: the recipe prefers lamp-off frames",
    "RESP_ARCHIVE": "response: the recipe prefers RESP_TAB",
    "DISP_IMAGE": "made with DISP_TAB_2D",
}


written = lru_cache(oca_rules)


@lru_cache
def rules():
    return parse(written())


@lru_cache
def by_action():
    return {step.name: step for step in steps()}


# -- classification


@pytest.mark.parametrize("plan", PLANS)
def test_simulated_frames_get_the_tag_of_classify(plan):
    headers = night_headers(plan)
    assert len(headers) > 10
    for name, header in headers:
        file, fitting = classified(rules(), name, header)
        assert len(fitting) == 1, f"{name}: {[rule.values for rule in fitting]}"
        assert file.keywords["RAW.TYPE"] == file.keywords["DO.CATG"] == classify(header).tag


def test_all_plans_together_show_every_raw_type_that_starts_a_call():
    seen = {classify(header).tag for plan in PLANS for _, header in night_headers(plan)}
    started = {tag for step in steps() if not step.from_products for tag in step.main}
    unseen = {tag for tag in started if tag not in seen}
    # No plan takes tellurics, nor flats without any lamp's name.
    assert {re.sub("_(VIS|NIR)", "", tag) for tag in unseen} == {
        "STD_TELL_STARE", "STD_TELL_NOD", "STD_TELL_OFFSET", "FLAT_SLIT",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "tag"),
    [
        ({"ESO DPR TYPE": "STD,TELLURIC", "ESO DPR TECH": "ECHELLE,SLIT,NODDING"}, "STD_TELL_NOD_VIS"),
        ({"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,SLIT"}, "FLAT_SLIT_VIS"),
        ({"ESO DPR TYPE": "LAMP,FLAT", "ESO INS DEUT NAME": "Deut_Lamp"}, "FLAT_SLIT_VIS_D2"),
        ({"ESO DPR TYPE": "LAMP,FLAT", "ESO INS QTH NAME": "Qth_Lamp"}, "FLAT_SLIT_VIS_QTH"),
        (
            {"ESO DPR TYPE": "LAMP,FLAT", "ESO INS QTH NAME": "Qth_Lamp", "ESO INS DEUT NAME": "Deut_Lamp"},
            "FLAT_SLIT_VIS",
        ),
        ({"ESO DPR TYPE": "LAMP,QFLAT"}, "FLAT_SLIT_VIS_QTH"),
        ({"ESO DPR TYPE": "LAMP,QORDERDEF", "ESO DPR TECH": "ECHELLE,PINHOLE"}, "ORDERDEF_VIS"),
        ({"ESO DPR TYPE": "OBJECT,ASYNC", "ESO DPR TECH": "ECHELLE,SLIT,MAPPING"}, "OBJECT_MAP_VIS"),
        ({"ESO SEQ ARM": "UVVIS", "ESO DPR TYPE": "BIAS", "ESO DPR TECH": "IMAGE"}, "BIAS_VIS"),
    ],
)
def test_frames_that_no_plan_takes(changes, tag):
    header = {
        "INSTRUME": "SOXS", "MJD-OBS": 61000.0, "EXPTIME": 1.0, "ESO SEQ ARM": "VIS",
        "ESO DPR TECH": "ECHELLE,SLIT",
    } | changes  # fmt: skip
    file, fitting = classified(rules(), "x", header)
    assert len(fitting) == 1
    assert file.keywords["RAW.TYPE"] == classify(header).tag == tag


def test_products_and_tables_are_known_by_their_category():
    made = {tag for step in steps() for tag in step.products}
    taken = {selection.tag for step in steps() for selection in step.selections if not selection.is_raw}
    assert len(made | taken) > 60
    for tag in made | taken:
        file, _ = classified(rules(), tag, {"INSTRUME": "SOXS", "ESO PRO CATG": tag})
        assert file.keywords["REFLEX.CATG"] == tag


def test_only_what_an_observer_asked_for_is_a_target():
    targets = {rule.values["RAW.TYPE"] for rule in rules().rules if rule.values.get("REFLEX.TARGET") == "T"}
    assert targets == {
        f"{stem}_{mode}_{arm}"
        for arm in ("VIS", "NIR")
        for stem, modes in (
            ("OBJECT", ("STARE", "NOD", "OFFSET", "MAP")),
            ("STD_TELL", ("STARE", "NOD", "OFFSET")),
        )
        for mode in modes
    }


# -- the language


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (" then\n", "\n"),
        ('RAW.TYPE = "BIAS_VIS";', 'RAW.KIND = "BIAS_VIS";'),
        ('RAW.TYPE = "BIAS_VIS";', 'RAW.TYPE = "BIAS_VIS"'),
        ("minRet = 0; maxRet = 1;", "maxRet = 1; minRet = 0;"),
        ("minRet = 0; maxRet = 1;", "minRet = 2; maxRet = 1;"),
        ("from calibFiles", "from files"),
        ("recipe soxs_mbias;", ""),
        ("inputFile.DET.BINX == DET.BINX", "inputFile.DET.BINX = DET.BINX"),
        ("execute(ACTION_BIAS_VIS)", "execute(ACTION_BIAS_UVB)"),
        ("(TPL_A,tpl)", "(TPL)"),
    ],
)
def test_what_the_grammar_does_not_allow_is_refused(right, wrong):
    text = written().replace("\nthen\n", " then\n")
    assert right in text
    with pytest.raises(OcaError):
        parse(text.replace(right, wrong, 1))


def test_recipes_and_categories_are_those_of_the_declarations():
    declarations = declared()
    assert len(rules().actions) > 30
    for action in rules().actions.values():
        declaration = declarations[action.recipe]
        arm = action.name.rpartition("_")[2]
        entries = (*declaration.raws, *declaration.calibrations)
        known = {resolved_tag(entry.tag, arm, kind) for entry in entries for kind in ("SCI", "FLUX", "TELL")}
        assert {select.label for select in action.selects} <= known
        made = {
            resolved_tag(entry.tag, arm, kind)
            for entry in declaration.products
            for kind in ("SCI", "FLUX", "TELL")
        }
        assert set(action.products) <= made
        assert all(values["PRO.CATG"] == label for label, values in action.products.items())


# -- beside the local planner


def planned(headers):
    frames = []
    for name, header in headers:
        found = classify(header)
        frames.append(
            describe_frame(
                Path("/night") / name, header, tag=found.tag, arm=found.arm, checksum=name, size=1, modified_ns=0
            )
        )
    return make_plan(PlanInputs(frames, declared(), lambda recipe, arm: {}, static_table))


def identity_of_job(job, plan):
    """(task, names of the raw frames it begins with), through the products that it starts from."""
    if job.frames:
        return job.task.name, frozenset(frame.name for frame in job.frames)
    source = plan.job(job.links[0].jobs[0])
    return job.task.name, frozenset(frame.name for frame in source.frames)


def identity_of_call(call):
    step = by_action()[call.action]
    if call.main[0].made_by is not None:
        files = frozenset().union(*(identity_of_call(file.made_by)[1] for file in call.main))
        return step.task.name, files
    joined = {s.tag for s in step.selections if s.is_raw and not s.name}
    companions = {file.name for tag in joined for file in call.selected.get(tag, ())}
    return step.task.name, frozenset(call.files | companions)


def selected(call):
    """Tag -> identities of what was selected: calls for products, names for raw frames."""
    return {
        label: {identity_of_call(file.made_by) if file.made_by else file.name for file in files}
        for label, files in call.selected.items()
        if files
    }


def wanted(job, plan, step):
    """Tag -> identities of what the planner gives the job, of the tags that the step knows."""
    known = {selection.tag for selection in step.selections}
    found = {}
    for link in job.links:
        jobs = {identity_of_job(plan.job(name), plan) for name in link.jobs}
        for tag in set(link.tags) & known:
            made = {frame.name for frame in link.frames if frame.tag == tag}
            available = {
                identity_of_job(plan.job(name), plan)
                for name in link.jobs
                if any(tag in made_by.products for made_by in steps() if made_by.task is plan.job(name).task)
            }
            found[tag] = made | (available if jobs else set())
    return found


def differences(plan, calls):
    """(calls that only one side has, selections that differ) of a night; what is explained is left out."""
    final = {step.task.name for step in steps() if step.is_final}
    jobs = {(job.arm, *identity_of_job(job, plan)): job for job in plan.jobs if job.task.name not in final}
    jobs = {key: job for key, job in jobs.items() if not job.task.on_demand}
    made = {(by_action()[call.action].arm, *identity_of_call(call)): call for call in calls}
    unlike = []
    for key in jobs.keys() & made.keys():
        step = by_action()[made[key].action]
        ours, theirs = wanted(jobs[key], plan, step), selected(made[key])
        many = {selection.tag for selection in step.selections if selection.maximum > 1 and selection.name}
        for tag in ours.keys() | theirs.keys():
            mine, its = ours.get(tag, set()), theirs.get(tag, set())
            stem = tag.rpartition("_")[0]
            joined = any(s.tag == tag and s.is_raw and not s.name for s in step.selections)
            explained = mine == its or joined or (mine < its and (stem in ALTERNATIVES or tag in many))
            if not explained:
                unlike.append((key[:2], tag, sorted(map(str, mine)), sorted(map(str, its))))
    return jobs.keys() ^ made.keys(), unlike


# Where rules and planner choose differently, and why: (arm, task, tag) of a plan.
NAMED = {
    "full": {
        # Only the planner takes lamp-off frames of another template of the night; the recipe gets a dark instead.
        ("NIR", "flat", "FLAT_SLIT_NIR_OFF"),
        # The planner counts time from the middle of both lamps' exposures, the rules from the first lamp's.
        ("VIS", "spatial_solution", "ORDER_TAB_EDGES_VIS"),
    },
}
COMPARED = ("demo", "full", "modes", "nod", "offset-sky", "generic-offset", "mapping", "user-arcs", "lingain")


@pytest.mark.parametrize("plan_name", COMPARED)
def test_calls_and_calibrations_are_those_of_the_local_planner(plan_name):
    headers = night_headers(plan_name)
    plan, calls = planned(headers), organise(rules(), headers)
    assert len(calls) >= 3
    assert not any(call.missing for call in calls)
    only_one_side, unlike = differences(plan, calls)
    assert only_one_side == set()
    assert {(*call, tag) for call, tag, *_ in unlike} == NAMED.get(plan_name, set())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # Grouping without the slit, a flat of any slit, a category that nobody makes, a window in time.
        ("INS.VISE.NAME,TPL.START as (TPL_A,tpl)", "DET.BINX"),
        ("\n    and inputFile.INS.VISE.NAME == INS.VISE.NAME", ""),
        ('PRO.CATG == "MASTER_BIAS_VIS"\n', 'PRO.CATG == "MASTER_DARK_VIS"\n'),
        ("<= 0.15", "<= 0.0001"),
        ("OBS.START,OBS.ID", "OBS.START,MJD-OBS"),
    ],
)
def test_a_changed_rule_is_seen_beside_the_planner(right, wrong):
    text = written()
    assert right in text
    changed = parse(text.replace(right, wrong))
    found = [differences(planned(night_headers(name)), organise(changed, night_headers(name))) for name in
             ("demo", "user-arcs")]  # fmt: skip
    assert any(only or unlike for only, unlike in found)


def test_calibrations_of_other_nights_serve_by_their_distance():
    """Arcs and flats of the night before serve science without any; biases of long ago do, too."""
    headers = night_headers("demo")
    tags = {name: classify(header).tag for name, header in headers}
    science = [(name, header) for name, header in headers if tags[name].startswith(("OBJECT", "STD"))]
    earlier = []
    for name, header in headers:
        if tags[name].startswith(("OBJECT", "STD")):
            continue
        old = header.copy()
        old["MJD-OBS"] -= 1.0
        for key in ("ESO TPL START", "ESO OBS START"):
            old[key] = f"before-{old[key]}"
        earlier.append((f"before.{name}", old))
    for headers in ([*earlier, *science], [*earlier, *night_headers("demo")]):
        only_one_side, unlike = differences(planned(headers), organise(rules(), headers))
        assert only_one_side == set()
        assert unlike == []
