"""Stand-in of the parameters of `cpl.ui`: value, range, enumeration, list."""

from __future__ import annotations

import enum
import numbers
import warnings
from collections.abc import Iterable
from pathlib import Path

from soxs_recipes.eso.standin_core import IllegalInputError, Type

__all__ = ["Parameter", "ParameterEnum", "ParameterList", "ParameterRange", "ParameterValue"]

_INT32 = 2**31
_TYPE_TEXT = {Type.INT: "int", Type.DOUBLE: "double", Type.BOOL: "boolean", Type.STRING: "char array"}
_TYPE_CODE = {Type.INT: "400", Type.DOUBLE: "20000", Type.BOOL: "020", Type.STRING: "011"}


def _is_bool(value) -> bool:
    kind = type(value)
    return kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def _is_int(value) -> bool:
    return isinstance(value, numbers.Integral) and not _is_bool(value)


def _fits(value: int) -> bool:
    return -_INT32 <= value < _INT32


def _infer(default) -> tuple[Type, bool | int | float | str]:
    """Type and stored value of a default; None and integers beyond 32 bits become booleans, as in PyCPL."""
    if default is None:
        return Type.BOOL, False
    if _is_bool(default):
        return Type.BOOL, bool(default)
    if _is_int(default):
        return (Type.INT, int(default)) if _fits(default) else (Type.BOOL, True)
    if isinstance(default, numbers.Real):
        return Type.DOUBLE, float(default)
    if isinstance(default, str):
        return Type.STRING, str(default)
    raise TypeError(f"a parameter cannot hold a {type(default).__name__}")


def _assigned(data_type: Type, value):
    """What a parameter of `data_type` holds after `value` was assigned; RuntimeError on a mismatch."""
    if data_type is Type.BOOL and _is_bool(value):
        return bool(value)
    if data_type is Type.STRING and isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else str(value)
    if data_type is Type.DOUBLE and isinstance(value, numbers.Real) and not _is_bool(value):
        return float(value)
    if data_type is Type.INT and _is_int(value) and _fits(value):
        return int(value)
    if data_type is Type.INT and isinstance(value, numbers.Real) and not _is_bool(value) and not _is_int(value):
        whole = _truncated(value)
        if whole is not None:
            return whole
    raise RuntimeError(f"A parameter of type {_TYPE_TEXT[data_type]} does not match the received type")


def _truncated(value: numbers.Real) -> int | None:
    if value != value or abs(value) >= _INT32:
        return None
    if int(value) != value:
        warnings.warn(f"{value} is truncated to {int(value)}", RuntimeWarning, stacklevel=4)
    return int(value)


class Parameter:
    """Base of the parameters; has no constructor."""

    __slots__ = ()

    class ParameterMode(enum.Enum):
        """Where a parameter may be set."""

        CLI = 1
        ENV = 2
        CFG = 4

    def __new__(cls, *args, **keywords):
        """Refuse to make a bare Parameter."""
        if cls is Parameter:
            raise TypeError("cpl.ui.Parameter: No constructor defined!")
        return super().__new__(cls)

    __hash__ = None

    def __reduce__(self):
        raise TypeError(f"cannot pickle {type(self).__name__} object")

    __reduce_ex__ = lambda self, protocol: self.__reduce__()  # noqa: E731

    def __deepcopy__(self, memo):
        raise TypeError(f"cannot copy {type(self).__name__} object")


def _alias(slot: str) -> property:
    def read(self):
        return getattr(self, slot)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("an alias must be a str")
        setattr(self, slot, text)

    return property(read, write)


class ParameterValue(Parameter):
    """A parameter of one value; its type is that of the default. Nothing is validated but the type."""

    __slots__ = (
        "_cfg_alias",
        "_cli_alias",
        "_context",
        "_data_type",
        "_default",
        "_description",
        "_env_alias",
        "_name",
        "_presence",
        "_tag",
        "_value",
    )
    _class_text = "02 (Value)"

    def __init__(self, name: str, description: str, context: str, default):
        for text in (name, description, context):
            if not isinstance(text, str):
                raise TypeError("name, description and context must be str")
        self._name, self._description, self._context = name, description, context
        self._data_type, self._default = _infer(default)
        self._value, self._presence, self._tag = self._default, False, ""
        self._cli_alias = self._env_alias = self._cfg_alias = name

    name = property(lambda self: self._name)
    context = property(lambda self: self._context)
    description = help = property(lambda self: self._description)
    data_type = property(lambda self: self._data_type)
    default = property(lambda self: self._default)
    cli_alias, env_alias, cfg_alias = _alias("_cli_alias"), _alias("_env_alias"), _alias("_cfg_alias")
    tag = _alias("_tag")

    @property
    def value(self):
        """Present value; an assignment keeps the type and sets `presence`."""
        return self._value

    @value.setter
    def value(self, new):
        self._value = _assigned(self._data_type, new)
        self._presence = True

    @property
    def presence(self) -> bool:
        """Whether a value was assigned."""
        return self._presence

    @presence.setter
    def presence(self, new: bool):
        if not isinstance(new, bool):
            raise TypeError("presence must be a bool")
        self._presence = new

    def _identity(self) -> tuple:
        return (self.name, self.context, self.description, self.tag, self.data_type, self.value, self.default)

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and self._identity() == other._identity()

    __hash__ = None

    def __repr__(self) -> str:
        return f"<cpl.ui.{type(self).__name__}: name={self.name!r}, value={self.value!r}{self._extra()}>"

    def _extra(self) -> str:
        return ""

    def __str__(self) -> str:
        kind = _TYPE_TEXT[self.data_type]
        return (
            f"Parameter at {hex(id(self))}: class {self._class_text}, type {_TYPE_CODE[self.data_type]} ({kind})\n"
            f"    Attributes: name: {self.name}, context: {self.context}, description: {self.description}\n"
            f"    Values: Current: {self.value}, Default: {self.default}{self._extra()}\n"
        )

    def dump(self, filename: str = "", mode: str = "w", show: bool = True) -> str:
        """Text of the parameter, shown and, with `filename`, written."""
        return dump_text(str(self), filename, mode, show)


def dump_text(text: str, filename: str, mode: str, show: bool) -> str:
    """Show `text` and, with a file name, write it."""
    if filename:
        with Path(filename).open(mode, encoding="utf-8") as out:
            out.write(text)
    if show:
        print(text)
    return text


class ParameterRange(ParameterValue):
    """A parameter with a minimum and a maximum, which are told but not enforced."""

    __slots__ = ("_max", "_min")
    _class_text = "04 (Range)"

    def __init__(self, name: str, description: str, context: str, default, min, max):  # noqa: A002
        limits = (default, min, max)
        if not all(isinstance(value, numbers.Real) and not _is_bool(value) for value in limits):
            raise TypeError("a range needs numbers")
        if not all(_is_int(value) for value in limits):
            default, min, max = (float(value) for value in limits)  # noqa: A001
        super().__init__(name, description, context, default)
        self._min, self._max = _infer(min)[1], _infer(max)[1]

    min = property(lambda self: self._min)
    max = property(lambda self: self._max)

    def _identity(self) -> tuple:
        return (*super()._identity(), self.min, self.max)

    def _extra(self) -> str:
        return f", min={self.min!r}, max={self.max!r}"


class ParameterEnum(ParameterValue):
    """A parameter with alternatives, of which only the default must be one."""

    __slots__ = ("_alternatives",)
    _class_text = "08 (Enum)"

    def __init__(self, name: str, description: str, context: str, default, alternatives: list | tuple):
        if not isinstance(alternatives, (list, tuple)):
            raise TypeError("alternatives must be a list or a tuple")
        if not alternatives:  # the real one crashes
            raise IllegalInputError("an enumeration needs alternatives")
        super().__init__(name, description, context, *_enum_values(default, alternatives)[:1])
        self._alternatives = _enum_values(default, alternatives)[1]
        if self._default not in self._alternatives:
            raise IllegalInputError(f"default {default!r} of {name} is not among its alternatives")

    alternatives = property(lambda self: list(self._alternatives))

    def _identity(self) -> tuple:
        return (*super()._identity()[:-1], tuple(self._alternatives))

    def _extra(self) -> str:
        return f", alternatives={self.alternatives!r}"


def _enum_values(default, alternatives) -> tuple:
    """Default and alternatives in one type: booleans become integers, mixed numbers doubles."""
    values = [int(value) if _is_bool(value) else value for value in (default, *alternatives)]
    if all(isinstance(value, str) for value in values):
        return values[0], values[1:]
    if not all(isinstance(value, numbers.Real) for value in values):
        raise TypeError("alternatives must be of one type")
    kind = int if all(_is_int(value) for value in values) else float
    values = [kind(value) for value in values]
    return values[0], values[1:]


class ParameterList:
    """A sequence of parameters, found by position or full name."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Iterable[Parameter] = ()):
        self._parameters = []
        for parameter in parameters:
            self._check(parameter, "expected iterable of cpl.ui.Parameter, not {}")
            self._parameters.append(parameter)

    @staticmethod
    def _check(parameter, text: str) -> None:
        if not isinstance(parameter, Parameter):
            raise TypeError(text.format(type(parameter).__name__))

    def append(self, parameter: Parameter) -> None:
        """Add a parameter at the end."""
        self._check(parameter, "expected cpl.ui.Parameter, not {}")
        self._parameters.append(parameter)

    def dump(self, filename: str = "", mode: str = "w", show: bool = True) -> str:
        """Text of all parameters, shown and, with `filename`, written."""
        return dump_text(str(self), filename, mode, show)

    def __getitem__(self, key):
        if isinstance(key, str):
            for parameter in self._parameters:
                if parameter.name == key:
                    return parameter
            raise KeyError(key)
        if not isinstance(key, int):
            raise TypeError("a parameter is found by position or name")
        return self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __eq__(self, other) -> bool:
        if not isinstance(other, ParameterList):
            return NotImplemented
        return len(self) == len(other) and all(
            a is b for a, b in zip(self._parameters, other._parameters, strict=True)
        )

    __hash__ = None

    def __repr__(self) -> str:
        return f"<cpl.ui.ParameterList, {len(self)} Parameters>"

    def __str__(self) -> str:
        return "".join(str(parameter) for parameter in self._parameters)
