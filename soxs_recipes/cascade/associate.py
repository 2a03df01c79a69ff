"""Which calibration serves which frames: the ladders of `tasks.py`, climbed from the best rung down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from soxs_recipes.cascade.frames import FrameRecord
from soxs_recipes.cascade.tasks import Association, Rung, TimeRange
from soxs_recipes.recipes.framework.declarations import resolved_tag

__all__ = ["Candidate", "Link", "agree", "associate", "level_of", "shared_facts"]

# Exposure times are equal when no dark could tell them apart.
_EXPTIME_TOLERANCE = 0.01
_EXPTIME_FLOOR = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may serve as a calibration: a planned call, or files that are there.

    Attributes
    ----------
    facts : mapping
    job : str
        Name of the planned call, "" for files.
    frames : tuple of FrameRecord
        The files, none for a call.
    is_marked : bool
        Whether its quality is known to be doubtful.
    """

    facts: Mapping[str, object]
    job: str = ""
    frames: tuple[FrameRecord, ...] = ()
    is_marked: bool = False

    @property
    def identity(self) -> str:
        """For a stable order."""
        return self.job or (self.frames[0].path if self.frames else "")


@dataclass(frozen=True, slots=True)
class Link:
    """One calibration of one call.

    Attributes
    ----------
    name : str
        The association's name.
    tags : tuple of str
        The first is there for certain.
    jobs : tuple of str
        The calls that make it; none for files.
    frames : tuple of FrameRecord
    level : int or None
        Quality level of the association; None for static tables.
    age : float or None
        Its time minus that of the frames it serves [days].
    mark : str
        What the product is told; "" when all is as planned.
    """

    name: str
    tags: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    frames: tuple[FrameRecord, ...] = ()
    level: int | None = None
    age: float | None = None
    mark: str = ""


def agree(name: str, ours: object, theirs: object) -> bool:
    """Whether two values of a fact agree; an unknown one agrees with anything."""
    if ours is None or theirs is None:
        return True
    if name == "exptime":
        return abs(float(ours) - float(theirs)) <= max(_EXPTIME_FLOOR, _EXPTIME_TOLERANCE * float(ours))
    return ours == theirs


def level_of(ranges: Sequence[TimeRange], age: float) -> int | None:
    """Level of the narrowest range that holds `age` [days], None when none does."""
    levels = [r.level for r in ranges if -r.before <= age <= r.after]
    return min(levels) if levels else None


def shared_facts(frames: Iterable[FrameRecord]) -> dict[str, object]:
    """Facts of a group: for each the first that is known; the mean time, the earliest start and the night."""
    frames = sorted(frames, key=lambda frame: (frame.mjd, frame.path))
    facts: dict[str, object] = {}
    for frame in frames:
        for name, value in frame.facts.items():
            if facts.get(name) is None:
                facts[name] = value
    facts["mjd"] = sum(frame.mjd for frame in frames) / len(frames)
    facts["start"] = frames[0].mjd
    return facts


def associate(
    association: Association,
    facts: Mapping[str, object],
    candidates: Callable[[Rung, tuple[str, ...]], Iterable[Candidate]],
    accepted: Callable[[str], bool] = lambda tag: True,
    other_arms: tuple[str, ...] = (),
) -> Link | None:
    """The best that serves frames with these facts, None when nothing does.

    Parameters
    ----------
    association : Association
    facts : mapping
        Of the frames to be calibrated.
    candidates : callable
        (rung, resolved tags) -> candidates of that kind.
    accepted : callable
        Whether the recipe takes a tag; a rung none of whose tags it takes is passed over.
    other_arms : tuple of str
        Names of the arms that the frames are not of.
    """
    arm = str(facts["arm"])
    for rung in association.rungs:
        taken = [tag for tag in rung.tags if accepted(resolved_tag(tag, arm))]
        arms = other_arms if rung.of_other_arm else (arm,)
        tags = tuple(resolved_tag(tag, name) for tag in taken for name in arms)
        if not tags:
            continue
        ranked = _ranked(rung, facts, candidates(rung, tags))
        if not ranked:
            continue
        chosen = _chosen(rung, facts, ranked)
        if not chosen:
            continue
        level, age, _ = max(chosen, key=lambda entry: (entry[0] or 0, abs(entry[1] or 0.0)))
        jobs = tuple(candidate.job for _, _, candidate in chosen if candidate.job)
        frames = tuple(frame for _, _, candidate in chosen for frame in candidate.frames)
        return Link(association.name, tags, jobs, frames, level, age, rung.mark)
    return None


def _chosen(rung: Rung, facts: Mapping[str, object], ranked: list) -> list:
    """The candidates that a rung takes: the best one, all raw frames that are alike, or those on either side."""
    is_raw = rung.source == "raw"
    if not rung.bracket:
        return _equal_ones(ranked) if is_raw else ranked[:1]
    ours = facts.get(rung.bracket)
    known = [entry for entry in ranked if ours is not None and entry[2].facts.get(rung.bracket) is not None]
    below = [entry for entry in known if float(entry[2].facts[rung.bracket]) < float(ours)]
    above = [entry for entry in known if float(entry[2].facts[rung.bracket]) > float(ours)]
    if is_raw:
        return [*_equal_ones(below), *_equal_ones(above)]
    return [below[0], above[0]] if below and above else []


def _ranked(
    rung: Rung, facts: Mapping[str, object], candidates: Iterable[Candidate]
) -> list[tuple[int | None, float | None, Candidate]]:
    fitting = []
    for candidate in candidates:
        if not all(agree(name, facts.get(name), candidate.facts.get(name)) for name in rung.match):
            continue
        if rung.source == "static":
            fitting.append(((), None, None, candidate))
            continue
        age = float(candidate.facts["mjd"]) - float(facts["mjd"])
        level = level_of(rung.ranges, age)
        if level is not None:
            # What is planned goes before what lies about, as long as it is of the same level.
            distance = _distance(rung.nearest, facts, candidate.facts)
            order = (distance, candidate.is_marked, level, not candidate.job, abs(age))
            fitting.append((order, level, age, candidate))
    fitting.sort(key=lambda entry: (entry[0], entry[3].identity))
    return [entry[1:] for entry in fitting]


def _equal_ones(ranked: list) -> list:
    """Raw frames serve together: all those of the first one's template and exposure time."""
    first = ranked[0][2].facts if ranked else {}
    names = ("template_start", "exptime", "night")
    return [e for e in ranked if all(agree(n, first.get(n), e[2].facts.get(n)) for n in names)]


def _distance(name: str, facts: Mapping[str, object], theirs: Mapping[str, object]) -> float:
    ours, other = facts.get(name), theirs.get(name)
    if not name:
        return 0.0
    if ours is None or other is None:
        return float("inf")
    return abs(float(ours) - float(other))
