"""Stand-in of the pieces of `cpl.core` that recipes touch: messages, types and errors.

Images, tables and property lists are left out: the recipes read and write FITS by astropy. Who asks for them is
told so.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = [
    "AccessOutOfRangeError",
    "AssigningStreamError",
    "BadFileFormatError",
    "ContinueError",
    "DataNotFoundError",
    "DivisionByZeroError",
    "DuplicatingStreamError",
    "EOLError",
    "Error",
    "ErrorLostError",
    "FileAlreadyOpenError",
    "FileIOError",
    "FileNotCreatedError",
    "FileNotFoundError",
    "IllegalInputError",
    "IllegalOutputError",
    "IncompatibleInputError",
    "InvalidTypeError",
    "Msg",
    "NoWCSError",
    "NullInputError",
    "SingularMatrixError",
    "Type",
    "TypeMismatchError",
    "UnspecifiedError",
    "UnsupportedModeError",
]


def __getattr__(name: str):
    raise AttributeError(
        f"the stand-in of cpl.core has no {name}, only {', '.join(__all__)}; FITS files are read and written by "
        "astropy here, and the rest is in PyCPL"
    )


class Type(enum.Enum):
    """Types of a parameter; values are those of CPL."""

    BOOL = 1 << 5
    INT = 1 << 10
    DOUBLE = 1 << 17
    STRING = (1 << 4) | (1 << 0)


class Error(Exception, Sequence):
    """Base of the errors of CPL; a sequence of the errors of its trace, the oldest first.

    Built with one string, the caller is recorded as the place; otherwise with (function, file, line, message).

    Attributes
    ----------
    code : int
        CPL's error code.
    message, function, file : str
    line : int
    """

    code = 0

    def __init__(self, *details: str | int):
        if type(self) is Error:
            raise TypeError("cpl.core.Error is abstract")
        if len(details) == 1 and isinstance(details[0], str):
            caller = inspect.stack(context=0)[1]
            details = (caller.function, caller.filename, caller.lineno, details[0])
        if len(details) != 4:
            raise TypeError("an error takes a message, or function, file, line and message")
        super().__init__(*details)
        self.function, self.file, self.line, self.message = details

    @property
    def trace(self) -> tuple[Error, ...]:
        """The errors that led here, this one last."""
        return (self,)

    def __getitem__(self, index):
        return self.trace[index]

    def __len__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other) -> bool:
        return self is other

    __hash__ = Exception.__hash__

    def __str__(self) -> str:
        return (
            "CPL error stack trace (most recent error last):\n"
            f'  File "{self.file}", line {self.line}, in {self.function}\n'
            f"{type(self).__name__}: {self.message}"
        )


def _error_class(name: str, code: int, base: type[Exception]) -> type[Error]:
    return type(name, (Error, base), {"code": code, "__module__": __name__, "__doc__": f"CPL error {code}."})


UnspecifiedError = _error_class("UnspecifiedError", 1, RuntimeError)
ErrorLostError = _error_class("ErrorLostError", 2, RuntimeError)
DuplicatingStreamError = _error_class("DuplicatingStreamError", 3, RuntimeError)
AssigningStreamError = _error_class("AssigningStreamError", 4, RuntimeError)
FileIOError = _error_class("FileIOError", 5, RuntimeError)
BadFileFormatError = _error_class("BadFileFormatError", 6, RuntimeError)
FileAlreadyOpenError = _error_class("FileAlreadyOpenError", 7, RuntimeError)
FileNotCreatedError = _error_class("FileNotCreatedError", 8, RuntimeError)
FileNotFoundError = _error_class("FileNotFoundError", 9, RuntimeError)  # noqa: A001 - PyCPL's name
DataNotFoundError = _error_class("DataNotFoundError", 10, RuntimeError)
AccessOutOfRangeError = _error_class("AccessOutOfRangeError", 11, LookupError)
NullInputError = _error_class("NullInputError", 12, ValueError)
IncompatibleInputError = _error_class("IncompatibleInputError", 13, ValueError)
IllegalInputError = _error_class("IllegalInputError", 14, ValueError)
IllegalOutputError = _error_class("IllegalOutputError", 15, RuntimeError)
UnsupportedModeError = _error_class("UnsupportedModeError", 16, RuntimeError)
SingularMatrixError = _error_class("SingularMatrixError", 17, RuntimeError)
DivisionByZeroError = _error_class("DivisionByZeroError", 18, RuntimeError)
TypeMismatchError = _error_class("TypeMismatchError", 19, RuntimeError)
InvalidTypeError = _error_class("InvalidTypeError", 20, RuntimeError)
ContinueError = _error_class("ContinueError", 21, RuntimeError)
NoWCSError = _error_class("NoWCSError", 22, RuntimeError)
EOLError = _error_class("EOLError", 23, RuntimeError)


@dataclass(frozen=True, slots=True)
class _MsgConfig:
    """How messages are shown; only level and show_component make a difference here."""

    level: Msg.SeverityLevel
    domain: str = ""
    width: int = 0
    indent: int = 0
    show_threadid: bool = False
    show_domain: bool = False
    show_time: bool = False
    show_component: bool = False


class Msg:
    """Messages in CPL's form: only errors go to stderr, the others to stdout.

    With `start_file` they are written to a file as well.
    """

    class SeverityLevel(enum.Enum):
        """How grave a message is; the level set is the lowest that is shown."""

        DEBUG = 0
        INFO = 1
        WARNING = 2
        ERROR = 3
        OFF = 4

        def __int__(self) -> int:
            return self.value

    DEBUG, INFO, WARNING, ERROR, OFF = SeverityLevel

    _LABELS = {  # noqa: RUF012 - a constant
        SeverityLevel.DEBUG: " DEBUG ",
        SeverityLevel.INFO: " INFO  ",
        SeverityLevel.WARNING: "WARNING",
        SeverityLevel.ERROR: " ERROR ",
    }
    _config = _MsgConfig(SeverityLevel.INFO)
    _file: Path | None = None
    _file_level = SeverityLevel.OFF

    @classmethod
    def set_config(
        cls,
        level: Msg.SeverityLevel | None = None,
        domain: str | None = None,
        width: int | None = None,
        indent: int | None = None,
        show_threadid: bool | None = None,
        show_domain: bool | None = None,
        show_time: bool | None = None,
        show_component: bool | None = None,
    ) -> None:
        """Change what is given of the configuration."""
        given = {name: value for name, value in locals().items() if name != "cls" and value is not None}
        cls._config = replace(cls._config, **given)

    @classmethod
    def get_config(cls) -> _MsgConfig:
        """The present configuration."""
        return cls._config

    @classmethod
    def start_file(cls, verbosity: Msg.SeverityLevel, name: str = ".logfile") -> None:
        """Write messages of `verbosity` and above to the file `name`, which is started anew."""
        cls._file, cls._file_level = Path(name), verbosity
        cls._file.write_text("")

    @classmethod
    def stop_file(cls) -> None:
        """Stop writing messages to a file."""
        cls._file = None

    @classmethod
    def _send(cls, severity, component: str, message: str) -> None:
        if not isinstance(component, str) or not isinstance(message, str):
            raise TypeError("component and message must be str")
        # Shown by default for all but INFO, as observed of CPL's terminal output.
        prefix = f"{component}: " if severity is not cls.INFO or cls._config.show_component else ""
        line = f"[{cls._LABELS[severity]}] {prefix}{message}"
        if int(severity) >= int(cls._config.level):
            print(line, file=sys.stderr if severity is cls.ERROR else sys.stdout, flush=True)
        if cls._file is not None and int(severity) >= int(cls._file_level):
            with cls._file.open("a", encoding="utf-8") as log:
                log.write(line + "\n")

    @classmethod
    def debug(cls, component: str, message: str) -> None:
        """A message for developers."""
        cls._send(cls.DEBUG, component, message)

    @classmethod
    def info(cls, component: str, message: str) -> None:
        """What is being done."""
        cls._send(cls.INFO, component, message)

    @classmethod
    def warning(cls, component: str, message: str) -> None:
        """The product is degraded."""
        cls._send(cls.WARNING, component, message)

    @classmethod
    def error(cls, component: str, message: str) -> None:
        """The recipe failed."""
        cls._send(cls.ERROR, component, message)
