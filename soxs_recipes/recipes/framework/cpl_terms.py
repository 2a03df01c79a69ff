"""A recipe in CPL's terms: its parameters, the groups of its frames, its products, messages and errors."""

from __future__ import annotations

import logging
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import AlgorithmError, CalibrationMissing, InputError, SoxsError, UnprocessableData
from soxs_recipes.eso import core, ui
from soxs_recipes.recipes.framework.declarations import AUTO, PLOTS, Declaration, Parameter

if TYPE_CHECKING:
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.outputs import WrittenProduct

__all__ = ["cpl_error", "help_text", "messages_to_cpl", "parameter_list", "product_frames", "set_groups"]

_CPL_ERRORS = {
    InputError: "IllegalInputError",
    CalibrationMissing: "DataNotFoundError",
    UnprocessableData: "BadFileFormatError",
    AlgorithmError: "IllegalOutputError",
}


def parameter_list(declaration: Declaration) -> ui.ParameterList:
    """The `cpl.ui` parameters of a declaration and `PLOTS`: `soxs.soxs_mflat.stack-sigma`, alias `stack-sigma`."""
    return ui.ParameterList([_cpl_parameter(declaration, entry) for entry in (*declaration.parameters, PLOTS)])


def _cpl_parameter(declaration: Declaration, parameter: Parameter) -> ui.Parameter:
    texts = (declaration.full_name(parameter), help_text(parameter), f"soxs.{declaration.name}")
    if parameter.choices:
        choices = [str(choice) if parameter.is_auto else choice for choice in parameter.choices]
        alternatives = [AUTO, *choices] if parameter.is_auto else choices
        result = ui.ParameterEnum(*texts, parameter.default, alternatives)
    elif not parameter.is_auto and parameter.minimum is not None and parameter.maximum is not None:
        limits = [parameter.type(value) for value in (parameter.default, parameter.minimum, parameter.maximum)]
        result = ui.ParameterRange(*texts, *limits)
    else:
        result = ui.ParameterValue(*texts, parameter.default)
    result.cli_alias = result.env_alias = result.cfg_alias = parameter.name
    return result


def help_text(parameter: Parameter) -> str:
    """Sentence, unit and range of a parameter in one line."""
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    limits = f" ({parameter.range_text()})" if parameter.range_text() else ""
    return f"{parameter.sentence.rstrip('.')}{unit}{limits}."


def set_groups(frames: Iterable[ui.Frame], inputs: Inputs) -> None:
    """RAW or CALIB on every frame in use, and a tag where there was none.

    A runner may give frames without a group, and without one CPL's own functions see nothing.
    """
    files = {str(file.path): file for file in (*inputs.calibration_files, *inputs.raw_files)}
    raws = {str(file.path) for file in inputs.raw_files if not file.classification.is_product}
    group = ui.Frame.FrameGroup
    for frame in frames:
        path = str(Path(frame.file))
        if path in files:
            frame.group = group.RAW if path in raws else group.CALIB
            frame.tag = frame.tag or files[path].tag


def product_frames(written: Iterable[WrittenProduct]) -> ui.FrameSet:
    """Products as frames of CPL."""
    frame = ui.Frame
    types_of = {"image": frame.FrameType.IMAGE, "table": frame.FrameType.TABLE, "spectrum": frame.FrameType.TABLE}
    return ui.FrameSet(
        [
            ui.Frame(
                str(product.path),
                product.tag,
                group=frame.FrameGroup.PRODUCT,
                level=frame.FrameLevel.FINAL,
                frameType=types_of[product.kind],
            )
            for product in written
        ]
    )


@contextmanager
def messages_to_cpl(component: str) -> Iterator[None]:
    """Send the log of the package as messages of CPL, for a runner that shows those."""
    handler = _MsgHandler(component)
    package = logging.getLogger("soxs_recipes")
    previous = package.level
    package.addHandler(handler)
    package.setLevel(min(previous or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(previous)


class _MsgHandler(logging.Handler):
    def __init__(self, component: str):
        super().__init__(logging.INFO)
        self.component = component

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        send = core.Msg.info
        if record.levelno >= logging.WARNING:
            send = core.Msg.error if record.levelno >= logging.ERROR else core.Msg.warning
        send(self.component, record.getMessage().removeprefix(f"{self.component}: "))


def cpl_error(error: SoxsError) -> SoxsError:
    """The same error, caught as CPL's, too: with `code`, `message`, `function`, `file` and `line`.

    An InputError is an `IllegalInputError` as well, CalibrationMissing a `DataNotFoundError`, UnprocessableData a
    `BadFileFormatError`, AlgorithmError an `IllegalOutputError`, any other an `UnspecifiedError`. Its text stays
    one line. Where CPL's class cannot be combined with ours, the error comes back as it is.
    """
    name = next((name for kind, name in _CPL_ERRORS.items() if isinstance(error, kind)), "UnspecifiedError")
    theirs = getattr(core, name, None)
    if theirs is None:
        return error
    message = " ".join(str(error).split())
    members = {
        "__init__": theirs.__init__,
        "__str__": lambda self: message,
        "__module__": type(error).__module__,
        "__doc__": type(error).__doc__,
    }
    try:
        kind = types.new_class(
            type(error).__name__, (type(error), theirs), exec_body=lambda body: body.update(members)
        )
        made = kind(*_place(error), message)
    except TypeError:
        return error
    made.__dict__.update(vars(error))
    return made


def _place(error: SoxsError) -> tuple[str, str, int]:
    """Function, file and line where an error arose."""
    trace = error.__traceback__
    if trace is None:
        return "", "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_name, trace.tb_frame.f_code.co_filename, trace.tb_lineno
