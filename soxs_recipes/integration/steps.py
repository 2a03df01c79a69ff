"""The cascade as a data organiser sees it: what starts a step, what it selects, and what it makes.

An organiser such as Reflex's groups frames by keywords and gives each group the nearest frames and products that
match, one selection after the other; it cannot try a second kind of calibration when the first is missing. So each
ladder of `cascade.tasks` becomes one selection a kind of calibration, and the recipes, which know the ladders too,
take the best of what they get:

* of rungs with one tag the first is expressed, over the time of all that ask for no more;
* one product of a kind is handed on, as two of one purpose would be made by one call: darks are of equal exposure
  time, for want of which none is taken;
* a fact that a header does not tell agrees with nothing here, whereas the local planner lets it agree;
* a night is a template's start (calibrations) or an observing block's (frames on sky);
* substitutes (tasks on demand) and calibrations of the other arm are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from soxs_recipes.cascade.tasks import NIGHT, TASKS, Association, Rung, Task, serves
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.keywords import header_keywords
from soxs_recipes.instrument.model import Arm
from soxs_recipes.instrument.raw_types import RAW_TYPES
from soxs_recipes.recipes.framework.declarations import OBSERVED_KINDS, Declaration, resolved_tag
from soxs_recipes.recipes.framework.registry import all_declarations

__all__ = ["MANY", "Selection", "Step", "declared", "steps"]

MANY = 999
# Longer than the archive is old.
_ALWAYS = 1e6
# Facts of the cascade, and the header entries by which an organiser knows them.
_ENTRIES = {
    "binning": ("BINNING_X", "BINNING_Y"),
    "read_mode": ("READ_MODE_ID",),
    "read_name": ("READ_MODE_NAME",),
    "slit": ("SLIT",),
    "exptime": ("EXPTIME",),
    "template_start": ("TPL_START",),
    "observation": ("OBS_ID",),
}
_NIGHT = {False: "TPL_START", True: "OBS_START"}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a step takes beside its main input.

    Attributes
    ----------
    tag : str
    is_raw : bool
    match : tuple of str
        Header keywords that agree with those of the main input.
    before, after : float [days]
        How far it may lie before and after the main input; infinite when time does not matter.
    minimum : int
        Fewer make the step incomplete.
    maximum : int
        The nearest so many are taken.
    name : str
        Of the association; "" for static tables and frames that join the main input.
    """

    tag: str
    is_raw: bool
    match: tuple[str, ...] = ()
    before: float = math.inf
    after: float = math.inf
    minimum: int = 0
    maximum: int = 1
    name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A task of one arm.

    Attributes
    ----------
    task : Task
    declaration : Declaration
    arm : str
    main : tuple of str
        Tags that start it: of raw frames, or of products when `from_products`.
    main_from : tuple of str
        Tasks whose products start it; none for raw frames.
    group : tuple of str
        Header keywords that are equal within one call.
    selections : tuple of Selection
    sources : tuple of str
        Tasks whose products it selects.
    products : tuple of str
        Tags that it makes.
    is_final : bool
        Whether it works on what an observer asked for, so that no organiser needs it.
    """

    task: Task
    declaration: Declaration
    arm: str
    main: tuple[str, ...]
    main_from: tuple[str, ...]
    group: tuple[str, ...]
    selections: tuple[Selection, ...]
    sources: tuple[str, ...]
    products: tuple[str, ...]
    is_final: bool

    @property
    def name(self) -> str:
        """Name of its action: `ACTION_FLAT_VIS`."""
        return f"ACTION_{self.task.name}_{self.arm}".upper()

    @property
    def from_products(self) -> bool:
        """Whether products start it."""
        return bool(self.main_from)


def declared() -> dict[str, Declaration]:
    """Declarations by recipe name."""
    return {declaration.name: declaration for declaration in all_declarations()}


def steps(tasks: tuple[Task, ...] = TASKS) -> list[Step]:
    """The tasks of all arms in the order of the cascade, without substitutes."""
    declarations = declared()
    known = {task.name: task for task in tasks}
    return [
        _step(task, declarations[task.recipe], arm, known)
        for task in tasks
        if not task.on_demand
        for arm in load_instrument().arms
        if serves(task, arm) and _main_tags(task, declarations[task.recipe], arm)
        if not task.main_from or any(name in known for name in task.main_from)
    ]


def _step(task: Task, declaration: Declaration, arm: Arm, known: Mapping[str, Task]) -> Step:
    main = _main_tags(task, declaration, arm)
    main_from = tuple(name for name in task.main_from if name in known)
    first_source = known[main_from[0]] if main_from else task
    is_on_sky = "observation" in first_source.group
    triggers = tuple(tag for tag in main if not _is_second_lamp(tag))
    group = _keywords(first_source.group, arm, is_on_sky=is_on_sky)
    joining = tuple(fact for fact in task.group if fact not in ("night", "template_start"))
    accepted = declaration.taken_tags(arm)
    companions = (*(tag for tag in main if tag not in triggers), *_resolved(task.companions, arm))
    selections = [
        Selection(tag, True, _keywords(joining, arm), NIGHT.before, NIGHT.after, maximum=MANY)
        for tag in companions
        if tag in accepted
    ]
    selections += _associated(task, declaration, arm)
    selections += [
        Selection(resolved_tag(needed.tag, arm.name), False)
        for needed in declaration.calibrations
        if needed.static and needed.serves(arm)
    ]
    return Step(
        task=task,
        declaration=declaration,
        arm=arm.name,
        main=triggers,
        main_from=main_from,
        group=group,
        selections=tuple({selection.tag: selection for selection in reversed(selections)}.values())[::-1],
        sources=_sources(task, declaration, arm, known),
        products=_products(task, declaration, arm),
        is_final=any(known[name].is_target for name in main_from),
    )


def _resolved(tags: tuple[str, ...], arm: Arm) -> tuple[str, ...]:
    return tuple(resolved_tag(tag, arm.name) for tag in tags)


def _main_tags(task: Task, declaration: Declaration, arm: Arm) -> tuple[str, ...]:
    known = {
        resolved_tag(raw.tag, arm.name, kind)
        for raw in declaration.raws
        if raw.serves(arm)
        for kind in OBSERVED_KINDS
    }
    return tuple(tag for tag in _resolved(task.main, arm) if tag in known)


def _is_second_lamp(tag: str) -> bool:
    """Whether frames of this tag join those of the first continuum lamp, which another template takes."""
    return any(tag.endswith(end) for raw in RAW_TYPES for _, end, _ in raw.lamps[1:])


def _keywords(facts: tuple[str, ...], arm: Arm, *, is_on_sky: bool = False) -> tuple[str, ...]:
    """Header keywords of facts, without `ESO`; the arm is in the tags, and what cannot differ is left out."""
    instrument = load_instrument()
    entries: list[str] = []
    for fact in facts:
        if fact == "night":
            entries.append(_NIGHT[is_on_sky])
        elif fact != "arm" and not (fact == "binning" and len(arm.detector.binnings) == 1):
            entries += _ENTRIES[fact]
    keywords = (header_keywords(instrument, entry, arm.name)[0].removeprefix("ESO ") for entry in entries)
    return tuple(dict.fromkeys(keywords))


def _associated(task: Task, declaration: Declaration, arm: Arm) -> Iterator[Selection]:
    accepted = declaration.taken_tags(arm)
    needed = set(_resolved(tuple(c.tag for c in declaration.calibrations if c.required), arm))
    for association in task.associations:
        if not serves(association, arm):
            continue
        for rung in _expressed(association):
            is_raw = rung.source == "raw"
            maximum = MANY if is_raw else 1
            before, after = _reach(rung)
            match = _keywords(rung.match, arm)
            for tag in _resolved(rung.tags, arm):
                if tag in accepted:
                    yield Selection(
                        tag, is_raw, match, before, after, int(tag in needed), maximum, association.name
                    )


def _sources(task: Task, declaration: Declaration, arm: Arm, known: Mapping[str, Task]) -> tuple[str, ...]:
    """Tasks of the same arm whose products it can take; what a task makes for the next night is not among them."""
    accepted = declaration.taken_tags(arm)
    return tuple(
        dict.fromkeys(
            rung.source
            for association in task.associations
            if serves(association, arm)
            for rung in association.rungs
            if not accepted.isdisjoint(_resolved(rung.tags, arm))
            if rung.source in known and rung.source != task.name
            if not rung.of_other_arm and not known[rung.source].on_demand
        )
    )


def _expressed(association: Association) -> list[Rung]:
    """One rung for each kind of calibration in a ladder, over the time of all its rungs that ask for no more."""
    chosen: dict[str, Rung] = {}
    rungs = [rung for rung in association.rungs if not rung.of_other_arm]
    for rung in rungs:
        chosen.setdefault(rung.tags[0], rung)
    return [
        replace(rung, ranges=tuple(time for other in rungs if _holds(other, rung) for time in other.ranges))
        for rung in chosen.values()
    ]


def _holds(rung: Rung, other: Rung) -> bool:
    """Whether what serves as `other` serves as `rung` too, time apart."""
    return (rung.tags, rung.source) == (other.tags, other.source) and set(rung.match) <= set(other.match)


def _reach(rung: Rung) -> tuple[float, float]:
    """Days before and after; infinite for tables that have no time, and for what is never too old."""
    if rung.source == "static":
        return math.inf, math.inf
    reach = (max(time.before for time in rung.ranges), max(time.after for time in rung.ranges))
    return tuple(math.inf if days >= _ALWAYS else days for days in reach)


def _products(task: Task, declaration: Declaration, arm: Arm) -> tuple[str, ...]:
    """Tags of the products; those of spectra say what was observed."""
    kind = "FLUX" if task.is_standard else "TELL" if task.main[0].startswith("STD_TELL") else "SCI"
    made = (entry for entry in declaration.products if entry.serves(arm))
    return tuple(dict.fromkeys(resolved_tag(entry.tag, arm.name, kind) for entry in made))
