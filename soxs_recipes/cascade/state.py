"""What of a plan is done, what must run, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from soxs_recipes.cascade.plan import Job, Plan, PlanInputs, make_plan
from soxs_recipes.cascade.tasks import TASKS
from soxs_recipes.recipes.framework.declarations import resolved_tag

__all__ = ["BLOCKED", "DONE", "FAILED", "TODO", "State", "is_doubtful", "missing_tags", "settle", "what_changed"]

DONE, FAILED, TODO, BLOCKED = "done", "failed", "to do", "blocked"
# Errors that the same input gives again; others (a crash, no space, a time-out) may have passed.
_LASTING = frozenset({"InputError", "CalibrationMissing", "UnprocessableData", "AlgorithmError"})

Result = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class State:
    """Where a call stands: DONE, FAILED, TODO or BLOCKED, and why."""

    kind: str
    why: str


def produced_tags(result: Result) -> frozenset[str]:
    """Tags of the products that a call made."""
    return frozenset(str(product["tag"]) for product in result["products"])


def settle(
    inputs: PlanInputs, results: Mapping[str, Result], *, force: Collection[str] = (), tried: Collection[str] = ()
) -> tuple[Plan, dict[str, State]]:
    """The plan that takes account of what failed, and the state of each of its calls.

    Parameters
    ----------
    inputs : PlanInputs
    results : mapping
        Call name to the result of its last run.
    force : collection of str
        Calls that run again although nothing changed.
    tried : collection of str
        Keys of calls that ran already in this session: they are not forced or retried again.
    """
    unavailable: frozenset[tuple[str, str]] = frozenset()
    marked: frozenset[str] = frozenset()
    # What is missing for a task is decided by the tasks before it, so each round settles one more of them. Spare
    # calls keep their state: one that failed must not come back into the plan because it left it.
    for _ in range(len(inputs.tasks) + 2):
        plan = make_plan(replace(inputs, unavailable=unavailable, marked=marked))
        states = {job.name: _state(job, results.get(job.name), force, tried) for job in (*plan.jobs, *plan.spare)}
        missing = frozenset(_missing(plan, states, results))
        doubtful = frozenset(_doubtful(states, results))
        if (missing, doubtful) == (unavailable, marked):
            break
        unavailable, marked = missing, doubtful
    return plan, {job.name: states[job.name] for job in plan.jobs}


def _state(job: Job, result: Result | None, force: Collection[str], tried: Collection[str]) -> State:
    if job.blocked:
        return State(BLOCKED, job.blocked)
    if result is None:
        return State(TODO, "never run")
    if result["key"] != job.key:
        return State(TODO, what_changed(result.get("parts") or {}, job.parts))
    if job.name in force and job.key not in tried:
        return State(TODO, "asked for")
    if result["status"] == "FAILED":
        if result["error_class"] in _LASTING or job.key in tried:
            return State(FAILED, str(result["error"]))
        return State(TODO, f"failed before ({result['error']})")
    gone = [p["name"] for p in result["products"] if not (Path(str(result["folder"])) / str(p["name"])).is_file()]
    if gone:
        return State(TODO, f"product {gone[0]} is gone")
    if result.get("damaged"):
        return State(TODO, f"product {result['damaged'][0]} is damaged")
    return State(DONE, "nothing changed")


def _missing(plan: Plan, states: Mapping[str, State], results: Mapping[str, Result]) -> set[tuple[str, str]]:
    missing = {(name, "") for name, state in states.items() if state.kind in (FAILED, BLOCKED)}
    for job in (*plan.jobs, *plan.spare):
        if states[job.name].kind != DONE:
            continue
        missing |= {(job.name, tag) for tag in missing_tags(job, results[job.name])}
    return missing


def missing_tags(job: Job, result: Result) -> set[str]:
    """Tags that others count on (the first of a rung) and that a call did not make."""
    rungs = (rung for task in TASKS for association in task.associations for rung in association.rungs)
    first = {resolved_tag(rung.tags[0], job.arm) for rung in rungs if rung.source == job.task.name}
    first |= {resolved_tag(tag, job.arm) for task in TASKS if job.task.name in task.main_from for tag in task.main}
    return first - produced_tags(result)


def is_doubtful(result: Result) -> bool:
    """Whether quality parameters of a result lie outside their acceptable range."""
    return any(" is outside " in str(reason) for reason in result["reasons"])


def _doubtful(states: Mapping[str, State], results: Mapping[str, Result]) -> set[str]:
    return {name for name, state in states.items() if state.kind == DONE and is_doubtful(results[name])}


def what_changed(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Which parts of a call's key differ from those of its last run."""
    old, new = before.get("parameters") or {}, now.get("parameters") or {}
    changes = [f"parameter {n} {old.get(n)} -> {new.get(n)}" for n in _differing(old, new)]
    old, new = _plain(before.get("calibrations") or {}), _plain(now.get("calibrations") or {})
    changes += [
        f"{n} {'new' if n not in old else 'gone' if n not in new else 'changed'}" for n in _differing(old, new)
    ]
    old, new = _plain(before.get("raw frames") or []), _plain(now.get("raw frames") or [])
    more, fewer = [f for f in new if f not in old], [f for f in old if f not in new]
    if more or fewer:
        changes.append(f"raw frames +{len(more)} -{len(fewer)}")
    if before.get("static tables") != now.get("static tables"):
        changes.append("static tables changed")
    old, new = _plain(before.get("recipe") or ["", 0]), _plain(now.get("recipe") or ["", 0])
    if old != new:
        changes.append(f"algorithm version {old[-1]} -> {new[-1]}")
    return "; ".join(changes) or "something changed"


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    return [name for name in sorted(set(old) | set(new)) if old.get(name) != new.get(name)]


def _plain(value: object) -> object:
    """Tuples as lists: JSON knows no others."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
