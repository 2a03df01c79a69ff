"""Run the calls of a plan on this machine: in parallel, largest work first; none of them can stop the night."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from soxs_recipes.cascade import results as records
from soxs_recipes.cascade.night import known_results
from soxs_recipes.cascade.plan import Job, Plan, PlanInputs
from soxs_recipes.cascade.pool import KILLED, RECIPE_TARGET, Pool
from soxs_recipes.cascade.state import BLOCKED, DONE, FAILED, TODO, State, is_doubtful, missing_tags, settle
from soxs_recipes.cascade.sums_ahead import SumsAhead
from soxs_recipes.cascade.workspace import Workspace, safe_name
from soxs_recipes.errors import InputError
from soxs_recipes.eso.sof import SofEntry, write_sof
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.declarations import resolved_tag

__all__ = ["Event", "NightRun", "RunOptions", "default_workers"]

_MEMORY_PER_WORKER = 1.5e9
_SPACE_MARGIN = 1.5
_LEAST_FREE_BYTES = 20e6
_PLOT_SECONDS = 300.0
_FRAMES_PER_TIMEOUT = 5.0


def default_workers() -> int:
    """As many as there are processors for us and memory for them."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return processors
    return max(1, min(processors, int(memory // _MEMORY_PER_WORKER)))


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a night is run.

    Attributes
    ----------
    workers : int
    plots : bool
    timeout : float [s]
        Longest time of one call on up to five frames, in proportion for more.
    force : collection of str
        Names of calls that run again although nothing changed.
    target : str
        What the worker processes call.
    """

    workers: int = 2
    plots: bool = True
    timeout: float = 900.0
    force: Collection[str] = ()
    target: str = RECIPE_TARGET


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell: `kind` is start, end, again (a call repeated without a bad frame) or plots."""

    kind: str
    job: str
    result: Mapping[str, object] | None
    done: int
    total: int


@dataclass
class _Running:
    """A call that a worker is busy with."""

    job: Job
    folder: Path
    left_out: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    was_killed: bool = False


class NightRun:
    """All calls of a night.

    Parameters
    ----------
    workspace : Workspace
        Locked by the caller.
    inputs : PlanInputs
    options : RunOptions
    tell : callable
        Gets every Event.
    """

    def __init__(
        self,
        workspace: Workspace,
        inputs: PlanInputs,
        options: RunOptions | None = None,
        tell: Callable[[Event], None] = lambda event: None,
    ):
        self.workspace, self.inputs, self.options, self.tell = workspace, inputs, options or RunOptions(), tell
        self.results = known_results(workspace)
        self.tried: set[str] = set()
        self.remade: set[str] = set()
        self.ran: list[str] = []
        self.plan: Plan
        self.states: dict[str, State]
        self._running: dict[str, _Running] = {}
        self._plots: list[tuple[str, dict[str, object]]] = []
        self._serial = 0
        self._sums = SumsAhead(())

    def run(self) -> None:
        """Run until nothing is left to do; the workspace holds what came of it.

        Raises
        ------
        InputError
            The disk is too full.
        """
        self.workspace.sweep()
        self._settle()
        self._check_space()
        self._restore_superseded()
        todo = [job for job in self.plan.jobs if self.states[job.name].kind == TODO]
        self._queue_missing_plots()
        if not todo and not self._plots:
            return
        rank = self._ranks()
        first = sorted(todo, key=lambda job: -rank[job.name])
        self._sums = SumsAhead([frame.path for job in first for frame in job.frames])
        with self._sums.running(), Pool(self.options.workers, self.options.target) as pool:
            try:
                pool.start(len(todo))
                self._loop(pool)
            finally:
                pool.stop()
                self.workspace.sweep()

    def force_words(self, words: Collection[str]) -> None:
        """Run again the calls whose name holds one of the words ("" is in every name).

        InputError names a word that no name holds.
        """
        plan, _ = settle(self.inputs, self.results)
        for word in words:
            if word and not any(word in job.name for job in plan.jobs):
                raise InputError(f"no recipe call has {word!r} in its name; `soxs plan` lists them")
        names = {job.name for job in plan.jobs if any(word in job.name for word in words)}
        self.options = replace(self.options, force=frozenset(names | set(self.options.force)))

    def _settle(self) -> None:
        self.plan, self.states = settle(self.inputs, self.results, force=self.options.force, tried=self.tried)

    def _restore_superseded(self) -> None:
        """Results of a setting that was left and is taken up again need no new run."""
        for job in self.plan.jobs:
            if self.states[job.name].kind == TODO and job.name not in self.options.force:
                result = records.restore(self.workspace, job)
                if result is not None:
                    self._remember(result)
        self._settle()

    def _check_space(self) -> None:
        todo = [job for job in self.plan.jobs if self.states[job.name].kind == TODO]
        needed = sum(_expected(job)[1] * 1e6 for job in todo) * _SPACE_MARGIN
        free = shutil.disk_usage(self.workspace.folder).free
        if needed > free:
            raise InputError(
                f"{self.workspace.folder}: {len(todo)} recipe calls may need {needed / 1e9:.1f} GB and "
                f"{free / 1e9:.1f} GB are free; make room or choose another place with -o FOLDER"
            )

    # -- the loop -------------------------------------------------------------------------------------------
    def _loop(self, pool: Pool) -> None:
        while True:
            self._hand_out(pool)
            if not pool.busy:
                return
            for ticket, answer in pool.wait():
                kind, name = ticket
                if kind == "plots":
                    self._plots_drawn(name, answer)
                else:
                    self._finished(pool, self._running.pop(name), answer)

    def _hand_out(self, pool: Pool) -> None:
        ready = self._ready()
        while pool.free and ready:
            self._start(pool, _Running(ready.pop(0), self._scratch()))
        while pool.free and self._plots and not ready:
            name, request = self._plots.pop(0)
            pool.submit(("plots", name), "plots", request, _PLOT_SECONDS)

    def _ready(self) -> list[Job]:
        """Calls whose calibrations are there, those first that most work waits for."""
        rank = self._ranks()
        ready = [
            job
            for job in self.plan.jobs
            if self.states[job.name].kind == TODO
            and job.name not in self._running
            and all(self.states[name].kind == DONE for name in job.upstream)
        ]
        return sorted(ready, key=lambda job: (-rank[job.name], job.name))

    def _ranks(self) -> dict[str, float]:
        """Seconds from the begin of a call to the end of the longest chain that needs it."""
        after: dict[str, float] = {}
        for job in reversed(self.plan.jobs):
            rank = self._expected_seconds(job) + after.get(job.name, 0.0)
            for name in job.upstream:
                after[name] = max(after.get(name, 0.0), rank)
            after[job.name] = rank
        return after

    def _expected_seconds(self, job: Job) -> float:
        seconds = float(self.results.get(job.name, {}).get("seconds") or 0.0)
        return seconds if seconds > 0 else _expected(job)[0]

    def _scratch(self) -> Path:
        self._serial += 1
        return self.workspace.scratch / f"{os.getpid()}-{self._serial}"

    def _start(self, pool: Pool, running: _Running) -> None:
        job = running.job
        frames = self._frames_of(job, running.dropped)
        running.folder.mkdir(parents=True)
        sof = self.workspace.place("sof", f"{job.name}.sof")
        sof.parent.mkdir(parents=True, exist_ok=True)
        write_sof(sof, [SofEntry(Path(path), tag) for path, tag in frames])
        request = {
            "recipe": job.recipe,
            "frames": frames,
            "settings": dict(job.parameters),
            "folder": str(running.folder),
            "key": job.key,
            "notes": [],
            "partial": [*job.marks, *running.left_out],
            "log": str(self.workspace.place("logs", f"{job.name}.log")),
            "again": self._command(job, sof),
            "md5s": self._sums.hand_out(path for path, _ in frames),
        }
        self._running[job.name] = running
        if not running.left_out:
            self._say("start", job.name)
        pool.submit(
            ("recipe", job.name),
            "recipe",
            request,
            self.options.timeout * max(1.0, len(job.frames) / _FRAMES_PER_TIMEOUT),
        )

    def _command(self, job: Job, sof: Path) -> str:
        """The command that repeats a call by itself, with the parameters that are not at their default."""
        words = ["soxs", job.recipe.removeprefix("soxs_"), str(sof), "-o", job.task.name, "-x"]
        for parameter in self.inputs.declarations[job.recipe].parameters:
            value = job.parameters.get(parameter.name)
            if not parameter.is_auto and value != parameter.default:
                words.append(f"--{parameter.name}={value}")
        return shlex.join(words)

    def _frames_of(self, job: Job, dropped: Collection[str]) -> list[tuple[str, str]]:
        own = resolved_tag(job.task.relabel, job.arm) if job.task.relabel else ""
        frames = [(frame.path, own or frame.tag) for frame in job.frames]
        for link in job.links:
            frames += [(frame.path, frame.tag) for frame in link.frames]
            for name in link.jobs:
                made = self.results[name]
                folder = Path(str(made["folder"]))
                frames += [(str(folder / p["name"]), p["tag"]) for p in made["products"] if p["tag"] in link.tags]
        return [(path, tag) for path, tag in frames if path not in dropped]

    # -- answers --------------------------------------------------------------------------------------------
    def _finished(self, pool: Pool, running: _Running, answer: dict[str, object]) -> None:
        job = running.job
        if answer["status"] != "FAILED":
            self._publish(running, answer)
        elif self._without_bad_frames(running, str(answer.get("error"))):
            shutil.rmtree(running.folder, ignore_errors=True)
            self._say("again", job.name, {"why": f"{running.left_out[-1]}; repeated without it"})
            running.folder = self._scratch()
            self._start(pool, running)
            return
        elif answer.get("error_class") == KILLED and not running.was_killed:
            # Memory that others took may be free by now.
            shutil.rmtree(running.folder, ignore_errors=True)
            self._say("again", job.name, {"why": f"{answer['error']}; repeated once"})
            running.folder, running.was_killed = self._scratch(), True
            self._start(pool, running)
            return
        elif spoilt := self._spoilt_calibration(job, answer):
            shutil.rmtree(running.folder, ignore_errors=True)
            spoilt.unlink(missing_ok=True)
            self._settle()
            self._say("again", job.name, {"why": f"{spoilt.name} is damaged and is made again"})
            return
        else:
            self._fail(running, answer)
        self.tried.add(job.key)
        self.ran.append(job.name)
        result = self.results[job.name]
        if result["status"] == "FAILED" or is_doubtful(result) or missing_tags(job, result):
            self._settle()
        else:
            # As planned: the plan stands.
            self.states[job.name] = State(DONE, "nothing changed")
        self._say("end", job.name, self.results[job.name])

    def _publish(self, running: _Running, answer: dict[str, object]) -> None:
        job = running.job
        folder = self.workspace.place("products", job.name)
        result = records.success(job, answer, left_out=running.left_out, folder=folder)
        try:
            records.publish(self.workspace, result, running.folder)
        except OSError as error:
            text = f"{folder}: products cannot be put in place ({error.strerror or error})"
            self._fail(running, {**answer, "error": text, "error_class": "OSError"})
            return
        self._remember(result)
        if self.options.plots:
            self._queue_plots(result)

    def _fail(self, running: _Running, answer: dict[str, object]) -> None:
        shutil.rmtree(running.folder, ignore_errors=True)
        self._remember(records.failure(running.job, answer, left_out=running.left_out))
        if shutil.disk_usage(self.workspace.folder).free < _LEAST_FREE_BYTES:
            raise InputError(
                f"{self.workspace.folder}: the disk is full; make room and run the same command again"
            )

    def _without_bad_frames(self, running: _Running, error: str) -> bool:
        """Whether the call can be repeated without the raw frames that its error names; they are then left out."""
        frames = [*running.job.frames, *(f for link in running.job.links for f in link.frames)]
        guilty = [f for f in frames if _is_named(f.name, error) and f.path not in running.dropped]
        dropped = running.dropped | {frame.path for frame in guilty}
        rest = [frame for frame in running.job.frames if frame.path not in dropped]
        if not guilty or (running.job.frames and not rest):
            return False
        running.dropped = dropped
        running.left_out += [f"{frame.name} left out: {_cause(error, frame.name)}" for frame in guilty]
        return True

    def _spoilt_calibration(self, job: Job, answer: Mapping[str, object]) -> Path | None:
        """The product of an earlier call that an error names as unreadable; each call is made again only once."""
        if answer.get("error_class") not in ("UnprocessableData", "InputError"):
            return None
        for name in job.upstream:
            made = self.results[name]
            named = [p["name"] for p in made["products"] if _is_named(str(p["name"]), str(answer["error"]))]
            if named and name not in self.remade:
                self.remade.add(name)
                return Path(str(made["folder"])) / str(named[0])
        return None

    def _remember(self, result: dict[str, object]) -> None:
        self.results[str(result["job"])] = result
        self.workspace.index.remember_result(result)

    def _say(self, kind: str, name: str, result: Mapping[str, object] | None = None) -> None:
        done = sum(state.kind in (DONE, FAILED, BLOCKED) for state in self.states.values())
        self.tell(Event(kind, name, result, done, len(self.plan.jobs)))

    # -- plots ----------------------------------------------------------------------------------------------
    def _queue_missing_plots(self) -> None:
        if self.options.plots:
            for job in self.plan.jobs:
                if self.states[job.name].kind == DONE and "plots" not in self.results[job.name]:
                    self._queue_plots(self.results[job.name])

    def _queue_plots(self, result: dict[str, object]) -> None:
        name = str(result["job"])
        folder = self.workspace.place("plots", name)
        products = [str(Path(str(result["folder"])) / p["name"]) for p in result["products"]]
        self._plots.append((name, {"products": products, "folder": str(folder)}))
        arms = self._spectra_of_all_arms(name)
        if arms:
            folder = self.workspace.place("plots", name.rsplit("/", 1)[0])
            stem = f"{safe_name(result['target'])}_all_arms"
            self._plots.append(("", {"products": arms, "folder": str(folder), "all_arms": stem}))

    def _spectra_of_all_arms(self, name: str) -> list[str]:
        """Merged spectra of the same target in every arm that has one, when this call is the last of them."""
        job = next((job for job in self.plan.jobs if job.name == name), None)
        if job is None or not job.task.is_target:
            return []
        same = [
            other
            for other in self.plan.jobs
            if other.task is job.task and all(other.facts[name] == job.facts[name] for name in ("target", "night"))
        ]
        arms = {other.arm: other for other in same}
        if len(arms) < 2 or any(
            self.states[other.name].kind == TODO and other is not job for other in arms.values()
        ):
            return []
        made = [self.results[o.name] for o in arms.values() if self.results.get(o.name, {}).get("products")]
        return best_spectra(made) if len(made) > 1 else []

    def _plots_drawn(self, name: str, answer: dict[str, object]) -> None:
        if name:
            result = self.results[name]
            result["plots"] = list(answer.get("plots", []))
            result["plots_seconds"] = float(answer.get("seconds") or 0.0)
            result["plots_cpu_seconds"] = float(answer.get("cpu_seconds") or 0.0)
            if answer["status"] == "FAILED":
                result["plots_error"] = answer["error"]
            records.write_job_file(Path(str(result["folder"])), result)
            self._remember(result)
        self._say("plots", name, answer)


def _expected(job: Job) -> tuple[float, float]:
    """(seconds, megabytes) that a call may take."""
    return job.task.expected(len(job.frames), load_instrument().arm(job.arm))


def best_spectra(results: list[Mapping[str, object]]) -> list[str]:
    """For each result its merged spectrum, flux calibrated when all have one so."""
    for kind in ("_FLUX_MERGE1D_", "_MERGE1D_"):
        chosen = [_spectrum(result, kind) for result in results]
        if all(chosen):
            return chosen
    return []


def _spectrum(result: Mapping[str, object], kind: str) -> str:
    products = [
        p for p in result["products"] if kind in p["tag"] and (kind != "_MERGE1D_" or "_FLUX_M" not in p["tag"])
    ]
    return str(Path(str(result["folder"])) / products[-1]["name"]) if products else ""


def _stem(name: str) -> str:
    return name.split(".fit", 1)[0]


def _is_named(name: str, error: str) -> bool:
    """Whether an error speaks of a file, with or without the ending of its name."""
    return re.search(rf"(?<![\w.-]){re.escape(_stem(name))}(?![\w-])", error) is not None


def _cause(error: str, name: str) -> str:
    """The error without the file's name before it."""
    tail = re.split(rf"{re.escape(_stem(name))}[\w.]*", error, maxsplit=1)[-1].lstrip(": ")
    return (tail or error)[:120]
