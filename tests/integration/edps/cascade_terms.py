"""The table of the cascade in EDPS's terms: what each task of the workflow must associate, and by which rules."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edps_standin import Alternatives, DataSource, JobParameters

from soxs_recipes.cascade.tasks import TASKS
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.declarations import resolved_tag
from soxs_recipes.recipes.framework.registry import recipe_class

LOCAL = {task.name: task for task in TASKS}
ARMS = {arm.name: arm for arm in load_instrument().arms}
# Tasks of which the workflow has one for each mode, or for each arm.
BY_MODE = ("response", "line_check_vis", "line_check_nir", "straighten")
_FOR_WANT_OF_BETTER = 2
_EVER = 1e8


def local_name(name):
    """Name of a task of the workflow in the table of the cascade."""
    for stem in BY_MODE:
        if name == stem or name.startswith(stem + "_"):
            return stem.removesuffix("_vis").removesuffix("_nir")
    return name


def arms_of(task):
    """Arms of the frames that a task of the workflow takes."""
    if task.condition is not None:
        return [arm for arm in ARMS if task.condition(parameters(arm))]
    return [
        arm for arm in ARMS if any(arm in rule.tag.split("_") for rule in task.first_source.classification_rules)
    ]


def parameters(arm, flux_calibration="TRUE"):
    return JobParameters({"arm": arm, "flux_calibration": flux_calibration})


def serves(entry, arm):
    return not entry.detector or (entry.detector == "ccd") == ARMS[arm].detector.has_bias


def accepted_tags(recipe, arm, *, static=None):
    """Tags that a recipe declares, of calibrations and main inputs; with `static` its own tables only."""
    declaration = recipe_class(recipe).declaration
    entries = declaration.calibrations if static else (*declaration.calibrations, *declaration.raws)
    return {
        resolved_tag(entry.tag, name, kind)
        for entry in entries
        if entry.serves(ARMS[arm]) and (static is None or getattr(entry, "static", False) == static)
        for kind in ("SCI", "FLUX", "TELL")
        for name in (ARMS if getattr(entry, "any_arm", False) else (arm,))
    }


@dataclass(frozen=True)
class Rule:
    """One step of a ladder: from where, which tags, what must agree, within which days, at which level."""

    source: str
    tags: tuple
    facts: frozenset
    days: tuple
    level: int


def expected_ladders(task, arm):
    """Ladders of a task of the table, each a list of rules."""
    accepted = accepted_tags(task.recipe, arm)
    ladders = []
    for association in task.associations:
        if serves(association, arm):
            ladder = _ladder(task, association, arm, accepted)
            if ladder:
                ladders.append(ladder)
    return ladders


def _ladder(task, association, arm, accepted):
    rules, level, last_source = [], 0, ""
    for rung in association.rungs:
        arms = [name for name in ARMS if (name != arm) == rung.of_other_arm]
        tags = [resolved_tag(tag, name) for tag in rung.tags for name in arms]
        tags = tuple(tag for tag in tags if tag in accepted)
        # Difference 4: EDPS does not rank by exposure time; and a dark below and one above are two inputs.
        if not tags or (rung.bracket and rung.source != "raw"):
            continue
        archive = tags[0].startswith("RESP_ARCHIVE")
        source = "archive" if archive else rung.source
        if rung.mark:
            level = max(level, _FOR_WANT_OF_BETTER)
        elif source != last_source:
            level = 0
        facts = frozenset(rung.match) | (frozenset() if rung.of_other_arm else {"arm"})
        for days, at_least in _ranges(rung):
            level = max(level, at_least)
            rule = Rule(source, tags, facts, days, level)
            if rules and (rules[-1].source, rules[-1].facts, rules[-1].level) == (source, facts, level):
                rules.pop()
            rules.append(rule)
        last_source = source
    return rules


def _ranges(rung):
    """Days and level of each range; a table that is found on disk serves always, by preference not a later one."""
    if rung.source == "static":
        return [((-math.inf, math.inf), 3)]
    far = [
        (-r.before if r.before < _EVER else -math.inf, r.after if r.after < _EVER else math.inf)
        for r in rung.ranges
    ]
    return list(zip(far, [r.level for r in rung.ranges], strict=True))


def recorded_ladders(task, arm):
    """Ladders that the workflow recorded, static tables and what joins the main input left out."""
    own = main_tags(LOCAL[local_name(task.name)], arm)
    ladders = []
    for association in task.associations:
        inputs = association.inputs if isinstance(association, Alternatives) else [association]
        inputs = [one for one in inputs if one.condition is None or one.condition(parameters(arm))]
        inputs = [
            one for one in inputs if tags_of(one, arm) and not is_static(one) and tags_of(one, arm)[0] not in own
        ]
        ladder = []
        for one in inputs:
            for rule in one.match_rules:
                step = Rule(
                    source_name(one), tags_of(one, arm), facts_of(rule, arm),
                    (rule.time_range.start, rule.time_range.end), rule.level,
                )  # fmt: skip
                # Tasks of several modes are one kind.
                if step not in ladder:
                    ladder.append(step)
        if ladder:
            ladders.append(ladder)
    return ladders


def main_tags(local, arm):
    return {resolved_tag(tag, arm) for tag in (*local.main, *local.companions)}


def is_static(entry):
    return isinstance(entry.source, DataSource) and not entry.source.setup_keywords and _is_table(entry.source)


def _is_table(source):
    return all(rule.is_product for rule in source.classification_rules) and source.name != "RESP_ARCHIVE"


def source_name(entry):
    if isinstance(entry.source, DataSource):
        return "archive" if entry.source.name == "RESP_ARCHIVE" else "raw"
    return local_name(entry.source.name)


def tags_of(entry, arm):
    """Tags that an associated input may bring for frames of an arm."""
    if not isinstance(entry.source, DataSource):
        return tuple(rule.tag for rule in entry.rules)
    other = {name for name in ARMS if name != arm}
    return tuple(rule.tag for rule in entry.source.classification_rules if not other & set(rule.tag.split("_")))


# --- which facts a rule wants to agree -------------------------------------------------------------------------

_CHANGES = {
    "binning": {"det.binx": 2},
    "read_mode": {"det.read.curid": 99},
    "read_name": {"det.read.curname": "OTHER"},
    "exptime": {"exptime": 900.0},
    "template_start": {"tpl.start": "another"},
    "night": {"mjd-obs": 61001.0},
    "target": {"object": "another"},
    "observation": {"obs.id": 99},
}


class _Pair(dict):
    def __getitem__(self, keyword):
        return self.get(keyword)


def facts_of(rule, arm):
    """Facts that a rule asks to agree: those whose change makes it refuse a file that it took."""
    wheel = "ins.vise.name" if arm == "VIS" else "ins.nise.name"
    ours = _Pair(
        {
            "instrume": "SOXS", "seq.arm": arm, "det.binx": 1, "det.biny": 1, "det.read.curid": 1,
            "det.read.curname": "SLOW", "exptime": 300.0, "tpl.start": "one", "mjd-obs": 61000.0, "object": "SN",
            "obs.id": 1, wheel: "SLIT1.0", "dpr.tech": "ECHELLE,SLIT,STARE", "dpr.type": "OBJECT",
        }
    )  # fmt: skip
    assert rule.fits(ours, _Pair(ours))
    (other,) = [name for name in ARMS if name != arm]
    changes = _CHANGES | {"arm": {"seq.arm": other}, "slit": {wheel: "SLIT5.0"}}
    return frozenset(fact for fact, change in changes.items() if not rule.fits(ours, _Pair({**ours, **change})))
