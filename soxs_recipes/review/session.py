"""What a person does in a review: parameters set, runs made, compared, one of them kept. No figure, no widget."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soxs_recipes.cascade.pool import RECIPE_TARGET, Pool
from soxs_recipes.cascade.workspace import safe_name
from soxs_recipes.errors import InputError
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.model import Arm
from soxs_recipes.recipes.framework.cpl_terms import help_text
from soxs_recipes.recipes.framework.declarations import Declaration, Parameter, automatic_value
from soxs_recipes.recipes.framework.inputs import arm_of_frames
from soxs_recipes.recipes.framework.man import shown
from soxs_recipes.review.acceptance import Kept, keep_run
from soxs_recipes.review.comparison import QCRow, compare_qc

__all__ = ["FAILED", "RUNNING", "STOPPED", "ReviewSession", "Run"]

_log = logging.getLogger(__name__)
RUNNING, FAILED, STOPPED = "RUNNING", "FAILED", "STOPPED"
_OTHER = "parameters"
_TIMEOUT = 7200.0  # s, after which a run counts as hung
_LOG_TAIL = 20_000  # bytes of the log that are shown


@dataclass
class Run:
    """One run of the recipe.

    Attributes
    ----------
    number : int
        From 1.
    settings : dict
        Parameters that were not at their default.
    folder : Path
        Where its products are.
    status : str
        RUNNING, COMPLETE, PARTIAL, FAILED or STOPPED.
    seconds : float
        How long it took.
    error, error_class : str
        Why it failed, one line; the name of the error's class.
    products : tuple of Path
    texts : tuple of str
        Names of plain-text spectra beside the products.
    qc : dict
        `ESO QC` keyword -> value.
    reasons, notes : tuple of str
        Why it is PARTIAL; decisions that the recipe took.
    """

    number: int
    settings: dict[str, object]
    folder: Path
    status: str = RUNNING
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    error: str = ""
    error_class: str = ""
    products: tuple[Path, ...] = ()
    texts: tuple[str, ...] = ()
    qc: dict[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_products(self) -> bool:
        """Whether there is something to see and to keep."""
        return bool(self.products)

    @property
    def log(self) -> Path:
        """Its log."""
        return self.folder / "recipe.log"

    def log_lines(self) -> list[str]:
        """Last lines of the log, empty before there is one."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - _LOG_TAIL))
                return stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []


class ReviewSession:
    """Parameters, runs and choices of one review; the runs are made in a process of their own.

    Parameters
    ----------
    declaration : Declaration
    frames : sequence of (path, tag)
    settings : mapping
        Parameters that begin away from their default.
    output : Path
        Where what is kept will be; runs are made in a hidden folder of it that vanishes at the end.
    products : sequence of Path
        Products of a run that was made before: the first run of the session.
    target : str
        `module:function` that runs a recipe (see `cascade.pool`).

    Raises
    ------
    InputError
        The output folder cannot be written, a setting is unknown or out of range, or no frame tells its arm.
    """

    def __init__(
        self,
        declaration: Declaration,
        frames: Sequence[tuple[str, str]],
        settings: Mapping[str, object] | None = None,
        output: Path = Path(),
        *,
        products: Sequence[Path] = (),
        target: str = RECIPE_TARGET,
    ):
        self.declaration = declaration
        self.frames = [(str(path), tag) for path, tag in frames]
        self.output = output.expanduser().absolute()
        self.arm = _arm(self.frames or [(path, "") for path in products])
        self.runs: list[Run] = []
        self.shown: Run | None = None
        self.beside: Run | None = None  # the run that the shown one is compared with
        self.kept: Kept | None = None
        self.refused: dict[str, str] = {}
        self._values: dict[str, object] = {}
        self._pool = Pool(1, target)
        for name, value in (settings or {}).items():
            parameter = declaration.parameter(name)
            self._values[parameter.name] = parameter.checked_or_auto(value)
        self._scratch = _scratch_folder(self.output)
        if products:
            self._take(_run_of_products(products, dict(self.settings)))

    # -- parameters -----------------------------------------------------------------------------------------
    @property
    def groups(self) -> dict[str, list[Parameter]]:
        """Parameters by what they have to do with, in the order of the declaration."""
        groups: dict[str, list[Parameter]] = {}
        for parameter in self.declaration.parameters:
            groups.setdefault(parameter.group or _OTHER, []).append(parameter)
        return groups

    @property
    def settings(self) -> dict[str, object]:
        """Parameters that are not at their default."""
        parameters = self.declaration.parameters
        return {
            p.name: self._values[p.name] for p in parameters if self._values.get(p.name, p.default) != p.default
        }

    def value(self, name: str) -> object:
        """The value that the next run will have."""
        parameter = self.declaration.parameter(name)
        return self._values.get(parameter.name, parameter.default)

    def text(self, name: str) -> str:
        """The same as text."""
        return plain_text(self.value(name))

    def set(self, name: str, value: object) -> str:
        """Set a parameter; what is wrong with the value is returned in words ("" when nothing is).

        A refused value changes nothing but is remembered in `refused`, and no run begins until it is put right.
        """
        parameter = self.declaration.parameter(name)
        try:
            checked = parameter.checked_or_auto(value)
        except InputError as error:
            self.refused[parameter.name] = str(error)
            return str(error)
        self.refused.pop(parameter.name, None)
        self._values[parameter.name] = checked
        return ""

    def reset(self) -> None:
        """Put all parameters to their defaults."""
        self._values.clear()
        self.refused.clear()

    def explain(self, name: str) -> str:
        """Sentence, unit, range and default of a parameter."""
        parameter = self.declaration.parameter(name)
        default = shown(parameter.default) or "empty"
        if parameter.is_auto and self.arm is not None:
            default = f"auto, {automatic_value(self.declaration, parameter, self.arm)} in the {self.arm.label} arm"
        return f"{help_text(parameter)} Default: {default}."

    # -- runs -----------------------------------------------------------------------------------------------
    @property
    def running(self) -> Run | None:
        """The run that is under way."""
        return next((run for run in self.runs if run.status == RUNNING), None)

    def start(self) -> Run:
        """Begin a run with the parameters as they stand.

        Raises
        ------
        InputError
            A run is under way, a value was refused, or there are no frames to run the recipe on.
        """
        if self.running is not None:
            raise InputError(f"run {self.running.number} is under way; stop it or wait for its end")
        if self.refused:
            raise InputError(f"put this right first: {next(iter(self.refused.values()))}")
        if not self.frames:
            raise InputError(f"no frames were given from which {self.declaration.name} could be repeated")
        number = len(self.runs) + 1
        run = Run(number, dict(self.settings), self._scratch / f"run{number}")
        run.folder.mkdir()
        self.runs.append(run)
        request = {
            "recipe": self.declaration.name, "frames": self.frames, "settings": run.settings,
            "folder": str(run.folder), "key": "", "notes": [], "partial": [], "log": str(run.log),
        }  # fmt: skip
        self._pool.submit(number, "recipe", request, _TIMEOUT)
        return run

    def poll(self, timeout: float = 0.0) -> Run | None:
        """The run that has ended since the last call, None when none has; waits up to `timeout` [s] for it."""
        run = self.running
        if run is None:
            return None
        run.seconds = time.monotonic() - run.began
        for _, answer in self._pool.wait(timeout):
            _end_run(run, answer)
            self._show_new(run)
            return run
        return None

    def stop(self) -> None:
        """End the run that is under way; nothing of it stays."""
        run = self.running
        if run is None:
            return
        self._pool.stop()
        run.status, run.error = STOPPED, "stopped"
        shutil.rmtree(run.folder, ignore_errors=True)

    def progress(self) -> float | None:
        """Part of the run that is over, by how long the last one took; None when that is not known."""
        done = [run.seconds for run in self.runs if run.has_products and run.seconds > 0]
        if self.running is None or not done:
            return None
        return min(self.running.seconds / done[-1], 0.99)

    def _take(self, run: Run) -> None:
        self.runs.append(run)
        self._show_new(run)

    def _show_new(self, run: Run) -> None:
        if run.has_products:
            self.beside, self.shown = self.shown, run

    def show(self, run: Run) -> None:
        """Look at a run; it is compared with the one looked at before."""
        if run.has_products and run is not self.shown:
            self.beside, self.shown = self.shown, run

    def comparison(self) -> list[QCRow]:
        """QC of the shown run beside those of the one before."""
        if self.shown is None:
            return []
        before = {} if self.beside is None else self.beside.qc
        arm_name = "" if self.arm is None else self.arm.name
        return compare_qc(self.declaration, arm_name, before, self.shown.qc)

    # -- the end --------------------------------------------------------------------------------------------
    def keep(self) -> Kept:
        """Put the products of the shown run into the output folder, and its settings beside them.

        Raises
        ------
        InputError
            There is nothing to keep, or the folder cannot be written.
        """
        if self.shown is None:
            raise InputError("there is no result to keep")
        arm_name = "" if self.arm is None else self.arm.name
        self.kept = keep_run(self.shown, self.declaration, arm_name, self.output)
        _log.info("run %d kept in %s", self.shown.number, self.output)
        return self.kept

    def close(self) -> None:
        """End what runs and remove what was not kept."""
        self._pool.stop()
        if self.running is not None:
            self.running.status = STOPPED
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> ReviewSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plain_text(value: object) -> str:
    """A value as a person types it."""
    return "" if value == "" else shown(value)


def _arm(frames: Iterable[tuple[str | Path, str]]) -> Arm | None:
    name = arm_of_frames(frames)
    return load_instrument().arm(name) if name else None


def _scratch_folder(output: Path) -> Path:
    try:
        output.mkdir(parents=True, exist_ok=True)
        _sweep(output)
        return Path(tempfile.mkdtemp(prefix=f"{_own_scratch()}{os.getpid()}-", dir=output))
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror}); choose another folder") from error


def _own_scratch() -> str:
    """How the folders of this host's sessions begin."""
    return f".soxs-review-{safe_name(socket.gethostname())}-"


def _sweep(output: Path) -> None:
    """Remove what sessions of this host left that were killed."""
    for folder in output.glob(f"{_own_scratch()}*"):
        number = folder.name.removeprefix(_own_scratch()).split("-")[0]
        if number.isdigit() and not _is_alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _end_run(run: Run, answer: Mapping[str, object]) -> None:
    """What a worker answered, put into the run."""
    run.status = str(answer["status"])
    run.seconds = float(answer.get("seconds") or run.seconds)
    run.error, run.error_class = (str(answer.get(name) or "") for name in ("error", "error_class"))
    products = answer.get("products") or ()
    run.products = tuple(run.folder / str(product["name"]) for product in products)
    run.texts = tuple(answer.get("texts") or ())
    run.qc = {keyword: value for product in products for keyword, value in product["qc"].items()}
    run.reasons, run.notes = tuple(answer.get("reasons") or ()), tuple(answer.get("notes") or ())


def _run_of_products(products: Sequence[Path], settings: dict[str, object]) -> Run:
    """A run that was made elsewhere, as its products tell of it."""
    from soxs_recipes.fits_files import read_header

    run = Run(1, settings, Path(products[0]).parent, status="COMPLETE", products=tuple(map(Path, products)))
    for path in run.products:
        header = read_header(path)
        for key, value in header.items():
            name = key.removeprefix("HIERARCH ")
            if not name.startswith("ESO QC "):
                continue
            if name == "ESO QC STATUS" and value == "PARTIAL":
                run.status = "PARTIAL"
            if isinstance(value, int | float):
                run.qc[name] = value
        run.reasons += tuple(str(value) for key, value in header.items() if key.startswith("REASON"))
    run.reasons = tuple(dict.fromkeys(run.reasons))
    return run
