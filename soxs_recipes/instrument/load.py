"""Read an instrument from its YAML files; a wrong entry is refused by its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from soxs_recipes.errors import InputError
from soxs_recipes.instrument.model import Arm, Detector, Instrument, Order, ReadMode, Slit

__all__ = ["instrument_from_mappings", "load_instrument"]

_FOLDER = Path(__file__).resolve().parent

Check = Callable[[object, str], object]


@cache
def load_instrument(name: str = "SOXS") -> Instrument:
    """The instrument of that `INSTRUME`, validated, one object a process; InputError lists the valid names."""
    stem = str(name).strip().lower()
    known = _known_instruments()
    if stem not in known:
        raise InputError(f"no instrument {name!r}; known: {', '.join(known.values())}")
    documents = [_read_yaml(_FOLDER / f"{stem}{suffix}.yaml") for suffix in ("", "_keywords", "_defaults")]
    return instrument_from_mappings(*documents)


def _known_instruments() -> dict[str, str]:
    stems = sorted(path.stem.removesuffix("_keywords") for path in _FOLDER.glob("*_keywords.yaml"))
    return {stem: stem.upper() for stem in stems}


def _read_yaml(path: Path) -> object:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both loaders are safe ones


def instrument_from_mappings(instrument: object, keywords: object, defaults: object) -> Instrument:
    """Build an Instrument from parsed YAML documents.

    Parameters
    ----------
    instrument, keywords, defaults : mapping
        As in soxs.yaml, soxs_keywords.yaml, soxs_defaults.yaml.

    Raises
    ------
    InputError
        An entry is unknown, missing or of the wrong type; the message gives its path.
    """
    fields = _fields(
        instrument,
        "",
        {
            "name": _text,
            "telescope_area": _positive,
            "latitude": _number,
            "longitude": _number,
            "altitude": _number,
            "arms": _mapping,
        },
    )
    raw_arms = fields.pop("arms")
    arm_defaults = _arm_defaults(defaults, tuple(raw_arms))
    arms = tuple(_arm(name, raw, arm_defaults[name]) for name, raw in raw_arms.items())
    return Instrument(arms=arms, keywords=_keywords(keywords), **fields)


# --- parts --------------------------------------------------------------------------------------------------


def _arm(name: str, raw: object, defaults: Mapping[str, object]) -> Arm:
    path = f"arms.{name}"
    fields = _fields(
        raw,
        path,
        {
            "label": _text,
            "dispersion_axis": _axis,
            "echelle": _truth,
            "slit_length": _positive,
            "pixel_scale": _positive,
            "resolution": _positive,
            "wavelength_step": _positive,
            "arc_lamps": _list_of(_text),
            "pinhole_positions": _list_of(_number),
            "slits": _mapping,
            "detector": _detector,
            "orders": _orders,
        },
    )
    slits = tuple(Slit(slit, _positive(width, f"{path}.slits.{slit}")) for slit, width in fields["slits"].items())
    return Arm(**{**fields, "name": name, "slits": slits, "defaults": defaults})


def _detector(raw: object, path: str) -> Detector:
    fields = _fields(
        raw,
        path,
        {
            "name": _text,
            "raw_shape": _tuple_of(_count, 2),
            "science_window": _tuple_of(_count, 4),
            "prescan": _optional(_tuple_of(_count, 2)),
            "overscan": _optional(_tuple_of(_count, 2)),
            "reference_border": _count,
            "saturation": _positive,
            "linear_limit": _positive,
            "dark_current": _positive,
            "pixel_size": _positive,
            "has_bias": _truth,
            "binnings": _list_of(_tuple_of(_count, 2)),
            "read_modes": _list_of(_read_mode),
        },
    )
    y0, y1, x0, x1 = fields["science_window"]
    ny, nx = fields["raw_shape"]
    if not (0 <= y0 < y1 <= ny and 0 <= x0 < x1 <= nx):
        raise InputError(f"{path}.science_window does not lie within raw_shape")
    return Detector(**fields)


def _read_mode(raw: object, path: str) -> ReadMode:
    checks = {"name": _text, "identifier": _optional(_count), "gain": _positive, "read_noise": _positive}
    return ReadMode(**_fields(raw, path, checks))


def _orders(raw: object, path: str) -> tuple[Order, ...]:
    orders = []
    for number, entry in _mapping(raw, path, key_type=int).items():
        where = f"{path}.{number}"
        limits = {"useful": _tuple_of(_positive, 2), "full": _tuple_of(_positive, 2)}
        fields = _fields(entry, where, {"band": _text, **limits})
        (low, high), (low_full, high_full) = fields["useful"], fields["full"]
        if not low_full <= low < high <= high_full:
            raise InputError(f"{where}: the useful range must ascend and lie within the full range")
        orders.append(Order(number, fields["band"], low, high, low_full, high_full))
    return tuple(sorted(orders, key=lambda order: order.number))


def _keywords(raw: object) -> Mapping[str, tuple[str, ...]]:
    entries = _mapping(raw, "keywords")
    check = _list_of(_text)
    return MappingProxyType({name: check(value, f"keywords.{name}") for name, value in entries.items()})


def _arm_defaults(raw: object, arms: tuple[str, ...]) -> dict[str, Mapping[str, object]]:
    tables: dict[str, dict[str, object]] = {arm: {} for arm in arms}
    for parameter, values in _mapping(raw if raw is not None else {}, "defaults").items():
        path = f"defaults.{parameter}"
        recipe, _, short = parameter.partition(".")
        if not recipe or not short:
            raise InputError(f"{path}: a parameter is named recipe.parameter")
        values = _fields(values, path, dict.fromkeys(arms, _default_value))
        for arm in arms:
            tables[arm][parameter] = values[arm]
    return {arm: MappingProxyType(table) for arm, table in tables.items()}


# --- checks -------------------------------------------------------------------------------------------------


def _fields(raw: object, path: str, checks: Mapping[str, Check]) -> dict[str, object]:
    raw = _mapping(raw, path or "document")
    prefix = f"{path}." if path else ""
    for name in raw:
        if name not in checks:
            raise InputError(f"{prefix}{name} is not an entry; valid here: {', '.join(checks)}")
    for name in checks:
        if name not in raw:
            raise InputError(f"{prefix}{name} is missing")
    return {name: check(raw[name], f"{prefix}{name}") for name, check in checks.items()}


def _wrong(path: str, expected: str, value: object) -> InputError:
    return InputError(f"{path} must be {expected}, not {value!r}")


def _mapping(value: object, path: str, key_type: type = str) -> dict:
    if not isinstance(value, Mapping) or not all(isinstance(key, key_type) for key in value):
        kind = "names" if key_type is str else "numbers"
        raise _wrong(path, f"a mapping whose keys are {kind}", value)
    return dict(value)


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(path, "a text", value)
    return value


def _truth(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, "true or false", value)
    return value


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        raise _wrong(path, "a finite number", value)
    return float(value)


def _positive(value: object, path: str) -> float:
    number = _number(value, path)
    if number <= 0.0:
        raise _wrong(path, "a number above 0", value)
    return number


def _count(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(path, "a whole number, 0 or more", value)
    return value


def _axis(value: object, path: str) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise _wrong(path, "0 or 1", value)
    return int(value)


def _default_value(value: object, path: str) -> object:
    if isinstance(value, list):
        return tuple(_default_value(item, f"{path}[{i}]") for i, item in enumerate(value))
    if not isinstance(value, str | bool | int | float):
        raise _wrong(path, "a number, a text, true or false, or a list of these", value)
    return value


def _optional(check: Check) -> Check:
    return lambda value, path: None if value is None else check(value, path)


def _list_of(check: Check) -> Check:
    def checked(value: object, path: str) -> tuple:
        if not isinstance(value, list) or not value:
            raise _wrong(path, "a list", value)
        return tuple(check(item, f"{path}[{i}]") for i, item in enumerate(value))

    return checked


def _tuple_of(check: Check, length: int) -> Check:
    def checked(value: object, path: str) -> tuple:
        if not isinstance(value, list) or len(value) != length:
            raise _wrong(path, f"a list of {length}", value)
        return tuple(check(item, f"{path}[{i}]") for i, item in enumerate(value))

    return checked
