"""The recipe: declared as data, checked, run, written with header, QC and provenance.

A recipe declares what it takes and gives and writes `process`; nothing else::

    from soxs_recipes.recipes.framework.base import Recipe
    from soxs_recipes.recipes.framework.declarations import Declaration, Parameter, Product, RawInput

    class MasterBias(Recipe):
        declaration = Declaration(
            name="soxs_mbias",
            synopsis="Combine biases into a master bias.",
            description="What it does, for the man page.",
            raws=(RawInput("BIAS_<ARM>", "bias frames", min_count=2, recommended=5, agree=("READ_MODE_ID",)),),
            products=(Product("MASTER_BIAS_<ARM>", "mean bias with variance and quality"),),
            parameters=(Parameter("frame-sigma", float, 5.0, "sigma", "Where values are clipped.", minimum=1.0),),
            qc=(QCDefinition("RAW RON", "e-", "Read noise of one frame.", (0.0, 15.0)),),
        )

        def process(self, inputs, parameters, outputs):
            from soxs_recipes.reduction.frames.combine import combine  # numerics load here, never at the top
            master, noise = combine(..., inputs.raw("BIAS"), sigma=parameters["frame-sigma"])
            outputs.add("MASTER_BIAS", image_hdus(master), qc=[QCParameter("RAW RON", noise)])

Numerics, astropy and `fits_files` are imported inside functions, so that listing recipes stays instant.

In `process`:

- `inputs.arm`, `inputs.raw("BIAS")` (paths, in order of time), `inputs.calibration("MASTER_BIAS")` (path or None),
  `inputs.calibrations("MASTER_DARK")` (all of them), `inputs.keyword("EXPTIME", path)`;
- `inputs.note("...")` records a decision (a rung of a ladder);
  `inputs.mark_partial("...")` also marks all products;
- `parameters["stack-sigma"]` is checked, typed and resolved (`auto` never reaches `process`);
- `outputs.add(tag, hdus, qc=[...], partial=..., object_name=..., reference=path)` collects a product.

An error class of `soxs_recipes.errors` ends the run as FAILED; nothing is written then.

A product's header holds, beside the DFS keywords of `eso/dfs.py`: EXPTIME (mean), TEXPTIME (sum), MJD-OBS,
MJD-END;
`ESO QC STATUS` (COMPLETE or PARTIAL), REASON1... (why PARTIAL), NOTE1... (decisions); the declared `ESO QC`
keywords that are defined; `ESO PRO RECi ALGO VERSION` and, from the cascade, `ESO PRO RECi CALL KEY`.
"""

from __future__ import annotations

import logging
import shlex
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from soxs_recipes import __version__
from soxs_recipes.compiled import FIRST_RUN, is_machine_code_kept
from soxs_recipes.errors import InputError, Interrupted, SoxsError
from soxs_recipes.eso import ui
from soxs_recipes.eso.dfs import RecordedParameter
from soxs_recipes.instrument.model import Arm
from soxs_recipes.recipes.framework.cpl_terms import (
    cpl_error,
    messages_to_cpl,
    parameter_list,
    product_frames,
    set_groups,
)
from soxs_recipes.recipes.framework.declarations import (
    AUTO,
    PLOTS,
    Declaration,
    Parameter,
    automatic_value,
    parameter_name,
)
from soxs_recipes.recipes.framework.inputs import Inputs, gather_inputs
from soxs_recipes.recipes.framework.man import description_text, shown
from soxs_recipes.recipes.framework.outputs import COMPLETE, FAILED, PARTIAL, Outputs, WrittenProduct
from soxs_recipes.recipes.framework.preparation import forget_masters
from soxs_recipes.threads import one_thread

__all__ = ["Recipe", "RunResult", "resolve_parameters", "run_recipe"]

_log = logging.getLogger(__name__)


class Recipe(ui.PyRecipe):
    """Base of all recipes; subclasses give `declaration` and `process`."""

    declaration: ClassVar[Declaration | None] = None

    # A runner that collects every PyRecipe it finds must be able to make one of this base, too.
    _name = "soxs_recipe"
    _author = "The soxs-recipes authors"
    _email = "not published"
    _copyright = "GPL-3.0-or-later"
    _synopsis = "Base of the SOXS recipes; does nothing by itself."
    _description = _synopsis
    _version = __version__

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        if cls.declaration is not None:
            cls._name = cls.declaration.name
            cls._synopsis = cls.declaration.synopsis
            cls._description = description_text(cls.declaration)

    def __init__(self):
        super().__init__()
        self.parameters = parameter_list(self.declaration) if self.declaration else ui.ParameterList([])
        self.output_directory: Path | None = None
        self.cascade_key = ""
        self.caller_notes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.written: list[WrittenProduct] = []
        self.inputs: Inputs | None = None

    def process(self, inputs: Inputs, parameters: Mapping[str, object], outputs: Outputs) -> None:
        """Reduce `inputs` into `outputs`."""
        raise NotImplementedError(f"{self.name} has no process")

    def run(self, frameset: ui.FrameSet, settings: Mapping[str, object] | None = None) -> ui.FrameSet:
        """Check, process and write, as `cpl.ui` runs a recipe: products go to the working directory.

        Parameters
        ----------
        frameset : FrameSet
            Its frames are given their group.
        settings : mapping or None
            Values by full or short parameter name; unknown names only warn here. They are put into `parameters`
            first, and what stands in `parameters` is what is used.

        Returns
        -------
        FrameSet
            The products.

        Raises
        ------
        SoxsError
            Of the class that fits, which is an error of CPL's as well (`cpl_error`).
        """
        frames = [(frame.file, frame.tag) for frame in frameset]
        with messages_to_cpl(self.name):
            try:
                given = self._applied_settings(settings or {})
                draws = given.pop(PLOTS.name, False)
                written = self._reduce(frames, given, Path.cwd(), frameset)
            except Exception as failure:
                error = _told(failure, self.name)
                _log.error("%s", error)
                raise cpl_error(error) from failure
            if draws:
                _draw(written)
        return product_frames(written)

    def _applied_settings(self, settings: Mapping[str, object]) -> dict[str, object]:
        """Put settings into `parameters`; those that are not the default by short name.

        `parameters` may be a list of the runner's own by now.
        """
        if self.declaration is None:
            raise InputError("this is the base of the recipes; run one of them")
        given = {}
        for name, value in settings.items():
            try:
                given[self._declared(name).name] = value
            except InputError as error:
                _log.warning("%s", error)
        held = {parameter_name(parameter.name): parameter.value for parameter in self.parameters}
        checked = {
            name: self._declared(name).checked_or_auto(value)
            for name, value in {**held, **given}.items()
            if value is not None
        }
        for parameter in self.parameters:
            name = parameter_name(parameter.name)
            if name in given and name in checked:
                parameter.value = checked[name]
        return {name: value for name, value in checked.items() if value != self._declared(name).default}

    def _declared(self, name: str) -> Parameter:
        return PLOTS if parameter_name(name) == PLOTS.name else self.declaration.parameter(name)

    def _reduce(
        self,
        frames: Iterable[tuple[str, str]],
        settings: Mapping[str, object],
        folder: Path,
        frameset: Iterable[ui.Frame] = (),
    ) -> list[WrittenProduct]:
        """The run itself, whoever calls; the frames of `frameset` are told their groups."""
        folder = self.output_directory or folder
        self.inputs = gather_inputs(self.declaration, frames)
        set_groups(frameset, self.inputs)
        forget_masters(but=[file.path for file in self.inputs.calibration_files])
        for note in self.caller_notes[0]:
            self.inputs.note(note)
        for reason in self.caller_notes[1]:
            self.inputs.mark_partial(reason)
        values = resolve_parameters(self.declaration, settings, self.inputs.arm)
        self.inputs.parameters = values
        _log.info("%s: %s", self.name, _inputs_text(self.inputs))
        _log.info("to repeat: %s", repeat_command(self.declaration, self.inputs, settings, folder))
        if not is_machine_code_kept():
            _log.info(FIRST_RUN)
        outputs = Outputs(self.inputs, folder)
        try:
            with _python_warnings_logged(), one_thread():
                self._process(values, outputs)
                self.written = outputs.write(recorded_parameters(self.declaration, values), self.cascade_key)
        finally:
            outputs.discard()
        return self.written

    def _process(self, values: Mapping[str, object], outputs: Outputs) -> None:
        try:
            self.process(self.inputs, values, outputs)
        except SoxsError as error:
            _name_frames(error, self.inputs)
            raise


def recorded_parameters(declaration: Declaration, values: Mapping[str, object]) -> list[RecordedParameter]:
    """Parameters as the products record them."""
    return [
        RecordedParameter(entry.name, values[entry.name], entry.default, entry.sentence)
        for entry in declaration.parameters
    ]


def _name_frames(error: SoxsError, inputs: Inputs) -> None:
    """Put the frames before the message of an algorithm, which knows no names."""
    files = [*inputs.raw_files, *inputs.calibration_files]
    if any(file.path.name.split(".fits")[0] in str(error) for file in files):
        return
    lit = [file for file in inputs.raw_files if not file.tag.endswith("_OFF")] or list(inputs.raw_files)
    same = [file for file in lit if file.tag == lit[0].tag]
    date = str(lit[0].header.get("DATE-OBS") or "")
    frames = (
        lit[0].path.name if len(same) == 1 else f"{len(same)} {lit[0].tag} frames from {date or lit[0].path.name}"
    )
    error.args = (f"{frames}: {error}", *error.args[1:])


def _inputs_text(inputs: Inputs) -> str:
    """Which frames a run works on, in one line."""
    tags = [file.tag for file in (*inputs.raw_files, *inputs.calibration_files)]
    counts = ", ".join(f"{tags.count(tag)} {tag}" for tag in dict.fromkeys(tags))
    return f"{inputs.arm.label} arm, {counts}"


def repeat_command(declaration: Declaration, inputs: Inputs, settings: Mapping[str, object], folder: Path) -> str:
    """The command that does the same again."""
    words = ["soxs", declaration.name.removeprefix("soxs_")]
    words += [str(file.path.absolute()) for file in (*inputs.raw_files, *inputs.calibration_files)]
    words += [f"--{name}={shown(value)}" for name, value in settings.items()]
    return shlex.join([*words, "-o", str(folder.absolute())])


def resolve_parameters(declaration: Declaration, settings: Mapping[str, object], arm: Arm) -> dict[str, object]:
    """Values of all parameters, `auto` resolved for the arm.

    InputError names an unknown parameter (with the nearest known) or a value out of range.
    """
    given = {declaration.parameter(name).name: value for name, value in settings.items()}
    values = {}
    for parameter in declaration.parameters:
        value = given.get(parameter.name, parameter.default)
        if parameter.is_auto and str(value).strip().lower() == AUTO:
            value = _automatic(declaration, parameter, arm)
            _log.info("%s: %s = %s (auto, %s arm)", declaration.name, parameter.name, value, arm.label)
        values[parameter.name] = parameter.checked(value)
    return values


def _automatic(declaration: Declaration, parameter: Parameter, arm: Arm) -> object:
    value = automatic_value(declaration, parameter, arm)
    if value is None:
        raise InputError(
            f"{declaration.name}: the {arm.label} arm has no default for {parameter.name}; give a value"
        )
    return value


class _python_warnings_logged:  # noqa: N801 - reads as a verb
    """Python warnings of the numerics go to the log: stderr stays empty on success."""

    def __enter__(self):
        self._shown = warnings.showwarning
        warnings.showwarning = self._log

    def __exit__(self, *error):
        warnings.showwarning = self._shown

    @staticmethod
    def _log(message, category, filename, lineno, file=None, line=None):
        _log.warning("%s: %s (%s:%d)", category.__name__, message, Path(filename).name, lineno)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    recipe, status : str
        COMPLETE, PARTIAL or FAILED.
    products : tuple of WrittenProduct
    reasons : tuple of str
        Why PARTIAL, over all products.
    notes : tuple of str
        Decisions taken.
    qc : dict
        `ESO QC` keyword -> value, over all products.
    seconds : float
    error : Exception or None
        What made it fail; `error_class` and `exit_code` follow from it.
    """

    recipe: str
    status: str
    products: tuple[WrittenProduct, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    qc: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: Exception | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files of the products."""
        return tuple(product.path for product in self.products)

    @property
    def error_class(self) -> str:
        """Name of the error's class, empty when there was none."""
        return "" if self.error is None else type(self.error).__name__

    @property
    def message(self) -> str:
        """One line about the error, empty when there was none."""
        return "" if self.error is None else " ".join(str(self.error).split()) or self.error_class

    @property
    def exit_code(self) -> int:
        """0 for COMPLETE and PARTIAL, the error's own otherwise."""
        return 0 if self.error is None else getattr(self.error, "exit_code", 1)


def run_recipe(
    recipe: type[Recipe],
    frames: Iterable | str | Path,
    settings: Mapping[str, object] | None = None,
    output_directory: str | Path = ".",
    *,
    cascade_key: str = "",
    notes: Iterable[str] = (),
    partial_reasons: Iterable[str] = (),
) -> RunResult:
    """Run a recipe from plain Python; never raises but for a bug in the call itself.

    Parameters
    ----------
    recipe : class
    frames : path of a SOF, FrameSet, or iterable of paths or (path, tag) pairs
    settings : mapping
        Parameter values by full or short name; an unknown name is an InputError.
    output_directory : path-like
        Made when it is not there.
    cascade_key : str
        Written into the products.
    notes, partial_reasons : iterables of str
        What the caller knows of the inputs (marked rungs of ladders), put into the products' headers.

    Returns
    -------
    RunResult
        `exit_code` maps the error class; KeyboardInterrupt becomes Interrupted.
    """
    began = time.monotonic()
    instance = recipe()
    instance.output_directory = Path(output_directory)
    instance.cascade_key = cascade_key
    instance.caller_notes = (tuple(notes), tuple(partial_reasons))
    error: SoxsError | None = None
    try:
        given = {instance.declaration.parameter(name).name: value for name, value in (settings or {}).items()}
        instance._reduce(_pairs(frames), given, Path(output_directory))
    except KeyboardInterrupt:
        error = Interrupted(f"{instance.name} was interrupted; no product was written")
    # The border of a recipe: whatever went wrong inside becomes a report, with the trace in the log.
    except Exception as failure:  # noqa: BLE001
        error = _told(failure, instance.name)
    return _result(instance, error, time.monotonic() - began)


def _told(failure: Exception, name: str) -> SoxsError:
    """What went wrong in a recipe as one of our errors; the trace of what should never happen is logged."""
    if isinstance(failure, SoxsError):
        return failure
    if isinstance(failure, OSError):
        where = f"{failure.filename}: " if failure.filename else ""
        return InputError(f"{name}: {where}{failure.strerror or failure}")
    if isinstance(failure, MemoryError):
        return SoxsError(f"{name} ran out of memory")
    _log.error("%s failed unexpectedly", name, exc_info=failure)
    error = SoxsError(f"{name}: {type(failure).__name__}: {failure}")
    error.__cause__ = failure
    return error


def _draw(written: Iterable[WrittenProduct]) -> None:
    """Plots of finished products; what goes wrong with them is told and fails nothing."""
    paths = [product.path for product in written]
    try:
        from soxs_recipes.recipes.framework.product_plots import for_products

        for_products(paths, paths[0].parent / "plots")
    except Exception as error:  # noqa: BLE001 - plots are a service
        _log.warning("no plots: %s: %s", type(error).__name__, error)


def _pairs(frames: Iterable | str | Path) -> list[tuple[str, str]]:
    if isinstance(frames, (str, Path)):
        from soxs_recipes.eso.sof import read_sof

        return [(str(entry.path), entry.tag) for entry in read_sof(frames)]
    pairs = []
    for frame in frames:
        if hasattr(frame, "file"):
            pairs.append((frame.file, frame.tag))
        elif isinstance(frame, (str, Path)):
            pairs.append((str(frame), ""))
        else:
            pairs.append((str(frame[0]), frame[1]))
    return pairs


def _result(instance: Recipe, error: Exception | None, seconds: float) -> RunResult:
    if error is not None:
        _log.error("%s", error)
        return RunResult(instance.name, FAILED, seconds=seconds, error=error)
    written = tuple(instance.written)
    reasons = tuple(dict.fromkeys(reason for product in written for reason in product.reasons))
    qc = {parameter.keyword: parameter.value for product in written for parameter in product.qc}
    status = PARTIAL if reasons else COMPLETE
    return RunResult(instance.name, status, written, reasons, tuple(instance.inputs.notes), qc, seconds)
