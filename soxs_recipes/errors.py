"""The ways in which a recipe or a night can fail, each with its exit code.

A message is one line: which file or frame, what is wrong, what to do. Exit codes keep clear of those of
EsoRex (5, 9, 13, 14, 255) and of click (2).
"""

from __future__ import annotations

__all__ = [
    "AlgorithmError",
    "CalibrationMissing",
    "InputError",
    "Interrupted",
    "SoxsError",
    "UnprocessableData",
]


class SoxsError(Exception):
    """Base of all errors that a user may meet; `exit_code` is what the command returns."""

    exit_code = 1


class InputError(SoxsError):
    """The user can put it right: a wrong file, a wrong parameter, a mixed setup."""

    exit_code = 20


class CalibrationMissing(SoxsError):
    """A calibration that has no substitute is not there."""

    exit_code = 21


class UnprocessableData(SoxsError):
    """Not even a better algorithm could use this frame: all NaN, all zero, saturated, truncated."""

    exit_code = 22


class AlgorithmError(SoxsError):
    """A method did not reach a usable answer.

    Parameters
    ----------
    message : str
        One line.
    **numbers : float
        What was found, machine readable (`numbers` attribute): points used, residual, limit.
    """

    exit_code = 23

    def __init__(self, message: str, **numbers: float):
        self.numbers = numbers
        details = ", ".join(f"{name} = {value:.6g}" for name, value in numbers.items())
        super().__init__(f"{message} ({details})" if details else message)


class Interrupted(SoxsError):
    """Stopped from outside; nothing half-written stays."""

    exit_code = 130
