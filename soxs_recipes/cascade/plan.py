"""The plan of a night: its recipe calls, what each takes, and the key that says when it must run again."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from soxs_recipes.cascade.associate import Candidate, Link, associate, shared_facts
from soxs_recipes.cascade.frames import CLASSIFYING_FACTS, FrameRecord
from soxs_recipes.cascade.tasks import TASKS, Association, Rung, Task, serves
from soxs_recipes.cascade.workspace import safe_name
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.declarations import Declaration, resolved_tag

__all__ = ["Job", "Plan", "PlanInputs", "make_plan"]


@dataclass(frozen=True, slots=True)
class Job:
    """One recipe call.

    Attributes
    ----------
    name : str
        `<night>/<task>/<arm>_<label>`: unique, and the folder of its products.
    task, recipe, arm : str
    facts : mapping
        What its frames share.
    frames : tuple of FrameRecord
        Raw main input.
    links : tuple of Link
        Calibrations, and the main input when that is a product.
    marks : tuple of str
        What the product is told: which rung of which ladder it stands on.
    blocked : str
        Why it cannot run, "" when it can.
    parameters : mapping
        Resolved.
    key : str
        Of everything that decides the result.
    parts : mapping
        What the key is made of, to tell what changed.
    """

    name: str
    task: Task
    recipe: str
    arm: str
    facts: Mapping[str, object]
    frames: tuple[FrameRecord, ...]
    links: tuple[Link, ...]
    marks: tuple[str, ...]
    blocked: str
    parameters: Mapping[str, object]
    key: str
    parts: Mapping[str, object]

    @property
    def upstream(self) -> tuple[str, ...]:
        """Names of the calls whose products it takes."""
        return tuple(dict.fromkeys(job for link in self.links for job in link.jobs))


@dataclass(frozen=True, slots=True)
class Plan:
    """Calls in an order in which they can run, substitutes that nobody needs, and the frames that none takes."""

    jobs: tuple[Job, ...]
    spare: tuple[Job, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)

    def job(self, name: str) -> Job:
        """One call; KeyError when there is none of that name."""
        for job in self.jobs:
            if job.name == name:
                return job
        raise KeyError(name)


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made from.

    Attributes
    ----------
    frames : sequence of FrameRecord
    declarations : mapping
        Recipe name to its declaration; tasks of other recipes are left out.
    parameters : callable
        (recipe name, arm name) -> resolved parameters.
    static : callable
        Static tag -> record of the table, or None when there is no such table.
    unavailable : frozenset of (call, tag)
        Products that do not exist although they were planned; tag "" for all of a call.
    marked : frozenset of str
        Calls whose products are of doubtful quality.
    tasks : tuple of Task
    also : frozenset of str
        Optional tasks that are asked for.
    """

    frames: Sequence[FrameRecord]
    declarations: Mapping[str, Declaration]
    parameters: Callable[[str, str], Mapping[str, object]]
    static: Callable[[str], FrameRecord | None] = lambda tag: None
    unavailable: frozenset[tuple[str, str]] = frozenset()
    marked: frozenset[str] = frozenset()
    tasks: tuple[Task, ...] = TASKS
    also: frozenset[str] = frozenset()


def make_plan(inputs: PlanInputs) -> Plan:
    """Group the frames into calls and give each its calibrations, in the order of the table of tasks."""
    return _Planner(inputs).plan()


class _Planner:
    def __init__(self, inputs: PlanInputs):
        self.inputs = inputs
        self.raw = completed_setups([f for f in inputs.frames if not f.problem and not f.is_product])
        self.earlier = [f for f in inputs.frames if not f.problem and f.is_product]
        self.arms = {arm.name: arm for arm in load_instrument().arms}
        self.jobs: dict[str, Job] = {}
        self.by_task: dict[str, list[Job]] = defaultdict(list)

    def plan(self) -> Plan:
        for task in self.inputs.tasks:
            declaration = self.inputs.declarations.get(task.recipe)
            if declaration is None or (task.optional and task.name not in self.inputs.also):
                continue
            groups = (
                self._groups_of_products(task) if task.main_from else self._groups_of_frames(task, declaration)
            )
            for facts, frames, main_link in groups:
                job = self._job(task, declaration, facts, frames, main_link)
                self.jobs[job.name] = job
                self.by_task[task.name].append(job)
        jobs, spare = self._needed_and_spare()
        return Plan(jobs, spare, self._unused(jobs))

    # -- groups ---------------------------------------------------------------------------------------------
    def _tags(self, task: Task, declaration: Declaration, arm_name: str) -> dict[str, str]:
        """Tags of main frames in an arm, with the tag that the recipe knows them by."""
        arm = self.arms.get(arm_name)
        if arm is None or not serves(task, arm):
            return {}
        tags = {resolved_tag(tag, arm_name): resolved_tag(tag, arm_name) for tag in (*task.main, *task.companions)}
        known = {resolved_tag(raw.tag, arm_name) for raw in declaration.raws if raw.serves(arm)}
        if task.relabel:
            return dict.fromkeys(tags, resolved_tag(task.relabel, arm_name))
        return {tag: tag for tag in tags if tag in known}

    def _groups_of_frames(
        self, task: Task, declaration: Declaration
    ) -> Iterable[tuple[dict[str, object], tuple[FrameRecord, ...], Link | None]]:
        groups: dict[tuple, list[FrameRecord]] = defaultdict(list)
        for frame in self.raw:
            tags = self._tags(task, declaration, frame.arm)
            if frame.tag in tags:
                groups[tuple(frame.facts.get(name) for name in task.group)].append(frame)
        ordered = sorted(
            groups.values(), key=lambda group: (min(f.mjd for f in group), group[0].arm, group[0].path)
        )
        for group in ordered:
            companions = {resolved_tag(tag, group[0].arm) for tag in task.companions}
            if all(frame.tag in companions for frame in group):
                continue
            group.sort(key=lambda frame: (frame.mjd, frame.path))
            largest = self._largest_count(declaration, group[0])
            for start in range(0, len(group), largest or len(group)):
                part = tuple(group[start : start + largest] if largest else group)
                yield shared_facts(part), part, None

    def _largest_count(self, declaration: Declaration, frame: FrameRecord) -> int | None:
        counts = [r.max_count for r in declaration.raws if resolved_tag(r.tag, frame.arm) == frame.tag]
        return counts[0] if counts else None

    def _groups_of_products(self, task: Task) -> Iterable[tuple[dict[str, object], tuple, Link]]:
        for source in (job for name in task.main_from for job in self.by_task[name]):
            tags = tuple(resolved_tag(tag, source.arm) for tag in task.main)
            if self._is_available(source, tags[0]):
                yield dict(source.facts), (), Link("main input", tags, (source.name,), (), 0, 0.0)

    # -- one call -------------------------------------------------------------------------------------------
    def _job(
        self,
        task: Task,
        declaration: Declaration,
        facts: dict[str, object],
        frames: tuple[FrameRecord, ...],
        main_link: Link | None,
    ) -> Job:
        arm_name = str(facts["arm"])
        arm = self.arms[arm_name]
        links = [main_link] if main_link else []
        marks = []
        accepted = declaration.taken_tags(arm)
        for association in task.associations:
            if not serves(association, arm) or not _wanted(association, arm_name, accepted):
                continue
            candidates = self._candidates_for(facts, frames)
            others = tuple(name for name in self.arms if name != arm_name)
            link = associate(association, facts, candidates, accepted.__contains__, others)
            if link is not None:
                links.append(link)
            mark = link.mark if link else association.otherwise
            if mark:
                marks.append(mark)
        static_sums = self._static_sums(declaration, arm)
        blocked = self._blocked(declaration, arm, links, frames, static_sums)
        parameters = dict(self.inputs.parameters(task.recipe, arm_name))
        parts = self._parts(declaration, task, frames, links, static_sums, parameters)
        return Job(
            self._name(task, facts), task, task.recipe, arm_name, facts, frames, tuple(links), tuple(marks),
            blocked, parameters, _digest(parts), parts,
        )  # fmt: skip

    def _candidates_for(
        self, facts: Mapping[str, object], own: tuple[FrameRecord, ...]
    ) -> Callable[[Rung, tuple[str, ...]], list[Candidate]]:
        arm = facts["arm"]
        own_paths = {frame.path for frame in own}

        def candidates(rung: Rung, tags: tuple[str, ...]) -> list[Candidate]:
            if rung.source == "raw":
                frames = (f for f in self.raw if f.tag == tags[0] and f.path not in own_paths)
                return [Candidate(f.facts, frames=(f,)) for f in frames]
            if rung.source == "static":
                table = self.inputs.static(tags[0])
                return [Candidate({"arm": arm}, frames=(table,))] if table else []
            found = [
                Candidate(job.facts, job.name, is_marked=job.name in self.inputs.marked)
                for job in self.by_task[rung.source]
                if (job.arm == arm) != rung.of_other_arm
                and self._is_available(job, resolved_tag(rung.tags[0], job.arm))
            ]
            made = (f for f in self.earlier if f.tag == tags[0] and f.tag == resolved_tag(rung.tags[0], f.arm))
            return found + [Candidate(f.facts, frames=(f, *self._made_with(f, tags[1:]))) for f in made]

        return candidates

    def _made_with(self, product: FrameRecord, tags: Collection[str]) -> tuple[FrameRecord, ...]:
        """What the call that made `product` made beside it: products of one call carry the date of one frame."""
        beside = {}
        for other in self.earlier:
            if other.tag in tags and (other.arm, other.mjd) == (product.arm, product.mjd):
                beside.setdefault(other.tag, other)
        return tuple(beside.values())

    def _is_available(self, job: Job, tag: str) -> bool:
        missing = self.inputs.unavailable
        return not job.blocked and (job.name, "") not in missing and (job.name, tag) not in missing

    def _static_sums(self, declaration: Declaration, arm) -> dict[str, str]:
        tags = [resolved_tag(c.tag, arm.name) for c in declaration.calibrations if c.static and c.serves(arm)]
        tables = {tag: self.inputs.static(tag) for tag in tags}
        return {tag: table.checksum for tag, table in tables.items() if table}

    def _blocked(
        self, declaration: Declaration, arm, links: Sequence[Link], frames: Sequence[FrameRecord], static: Mapping
    ) -> str:
        there = {tag for link in links for tag in link.tags} | set(static)
        for needed in declaration.calibrations:
            tag = resolved_tag(needed.tag, arm.name)
            if needed.required and needed.serves(arm) and tag not in there:
                maker = f" (made by {needed.made_by})" if needed.made_by else ""
                return f"needs {tag}{maker}, and there is none"
        for raw in declaration.raws:
            number = sum(frame.tag == resolved_tag(raw.tag, arm.name) for frame in frames)
            if 0 < number < raw.min_count:
                return f"needs {raw.min_count} frames {resolved_tag(raw.tag, arm.name)}, and there are {number}"
        return ""

    def _parts(
        self,
        declaration: Declaration,
        task: Task,
        frames: Sequence[FrameRecord],
        links: Sequence[Link],
        static_sums: Mapping[str, str],
        parameters: Mapping[str, object],
    ) -> dict[str, object]:
        raw = [[f.tag, f.checksum, *(f.facts.get(n) for n in CLASSIFYING_FACTS)] for f in frames]
        calibrations = {}
        for link in links:
            made_by = [*(self.jobs[name].key for name in link.jobs), *sorted(f.checksum for f in link.frames)]
            calibrations[link.name] = [list(link.tags), made_by, link.mark]
        return {
            "recipe": [task.recipe, declaration.algorithm_version],
            "raw frames": sorted(raw, key=str),
            "calibrations": calibrations,
            "static tables": dict(sorted(static_sums.items())),
            "parameters": {name: parameters[name] for name in sorted(parameters)},
        }

    def _name(self, task: Task, facts: Mapping[str, object]) -> str:
        binning = facts.get("binning")
        values = [facts["arm"], *(facts.get(name) for name in task.label), binning if binning != "1x1" else None]
        label = "_".join(safe_name(_plain(value)) for value in values if value is not None)
        name = f"{facts['night']}/{task.name}/{label}"
        if name not in self.jobs:
            return name
        minutes = round(float(facts["start"]) % 1.0 * 1440.0)
        timed = f"{name}_{minutes // 60:02d}h{minutes % 60:02d}"
        count = 2
        while timed in self.jobs:
            timed, count = f"{name}_{minutes // 60:02d}h{minutes % 60:02d}_{count}", count + 1
        return timed

    # -- the whole ------------------------------------------------------------------------------------------
    def _needed_and_spare(self) -> tuple[tuple[Job, ...], tuple[Job, ...]]:
        """Calls of tasks that run only when somebody takes their products (substitutes) are spare otherwise."""
        wanted = {name for job in self.jobs.values() for name in job.upstream}
        needed = {name for name, job in self.jobs.items() if not job.task.on_demand or name in wanted}
        parts = ([job for name, job in self.jobs.items() if (name in needed) is part] for part in (True, False))
        return tuple(tuple(part) for part in parts)

    def _unused(self, jobs: Iterable[Job]) -> dict[str, str]:
        used = {frame.path for job in jobs for frame in job.frames}
        used |= {frame.path for job in jobs for link in job.links for frame in link.frames}
        declared = self.inputs.declarations
        tasks = [(task, declared[task.recipe]) for task in self.inputs.tasks if task.recipe in declared]
        reasons = {}
        for frame in self.raw:
            if frame.path not in used:
                has_task = any(frame.tag in self._tags(task, recipe, frame.arm) for task, recipe in tasks)
                why = "no call needs it" if has_task else "no recipe reduces such frames yet"
                reasons[frame.path] = f"{frame.tag}: {why}"
        return reasons


def completed_setups(frames: Sequence[FrameRecord]) -> list[FrameRecord]:
    """Frames whose read mode is not told get that of their kind, or of their arm, where there is only one."""
    result = list(frames)
    for name in ("read_mode", "read_name"):
        for same in (("arm", "tag"), ("arm",)):
            kinds = [tuple(frame.arm if word == "arm" else frame.tag for word in same) for frame in result]
            known: dict[tuple, set[object]] = defaultdict(set)
            for kind, frame in zip(kinds, result, strict=True):
                known[kind].add(frame.facts.get(name))
            for number, (kind, frame) in enumerate(zip(kinds, result, strict=True)):
                values = known[kind] - {None}
                if frame.facts.get(name) is None and len(values) == 1:
                    result[number] = replace(frame, facts={**frame.facts, name: next(iter(values))})
    return result


def _wanted(association: Association, arm_name: str, accepted: set[str]) -> bool:
    return any(resolved_tag(rung.tags[0], arm_name) in accepted for rung in association.rungs)


def _plain(value: object) -> str:
    return f"{value:g}s" if isinstance(value, float) else str(value)


def _digest(parts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
