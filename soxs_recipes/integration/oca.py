"""`soxs.oca`: the rules by which ESO's data organiser classifies, groups and associates frames.

The language has three parts. Classification gives keywords to files (`if ... then { RAW.TYPE = "..."; }`),
organisation starts actions on groups of files (`select execute(...) from inputFiles where ... group by ...`), and
an action selects what else its recipe takes and says what it makes. `inputFile.KEY` is the keyword of the files
that started the action. A comparison with a keyword that a header lacks does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.keywords import header_keywords
from soxs_recipes.instrument.model import Arm, Instrument
from soxs_recipes.instrument.raw_types import (
    ARM_NAMES,
    MASK_SLITS,
    MASK_TECHNIQUES,
    MODE_TECHNIQUES,
    RAW_TYPES,
    UNLIT_TECHNIQUE,
    RawType,
)
from soxs_recipes.integration.steps import Selection, Step, declared, steps
from soxs_recipes.recipes.framework.declarations import OBSERVED_KINDS, resolved_tag

__all__ = ["oca_rules"]

_HEAD = """// Rules of ESO's data organiser for {name}: what a frame is, what is reduced together, and with what.
// Written from the declarations of soxs-recipes by `make workflows`: change those, not this file.
//
"""
# Values of a lamp keyword that is not lit, and what the name of one that is holds.
_UNLIT = ("", "OFF", "NONE")
_LIT = "%Lamp%"


def oca_rules() -> str:
    """Text of `soxs.oca`."""
    instrument = load_instrument()
    needed = [step for step in steps() if not step.is_final]
    head = _HEAD.format(name=instrument.name) + "".join(f"// {line}".rstrip() + "\n" for line in _notes())
    parts = ("Raw frames", _raw_rules(instrument, needed)), ("Products and tables", _product_rules(instrument))
    text = head
    for title, rules in (*parts, ("Organisation", _organisation(needed)), ("Actions", _actions(needed))):
        text += f"\n// ---- {title} " + "-" * (80 - len(title)) + "\n\n" + "\n".join(rules)
    return text


def _notes() -> tuple[str, ...]:
    from soxs_recipes.integration import steps as module

    return tuple(line for line in module.__doc__.split("\n\n", 1)[1].strip().splitlines())


# -- expressions --------------------------------------------------------------------------------------------------


def _key(keyword: str) -> str:
    """`ESO DPR TYPE` as the rules write it: `DPR.TYPE`."""
    return keyword.removeprefix("ESO ").replace(" ", ".")


def _is(key: str, value: str) -> str:
    return f'{key} == "{value}"'


def _all(*conditions: str) -> str:
    return " and ".join(condition for condition in conditions if condition)


def _any(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else "(" + " or ".join(conditions) + ")"


def _one_of(key: str, values: Sequence[str]) -> str:
    return _any([_is(key, value) for value in values])


def _if(condition: str, **values: str) -> str:
    body = "".join(f'  {name.replace("_", ".")} = "{value}";\n' for name, value in values.items())
    return f"if {condition}\nthen\n{{\n{body}}}\n"


# -- classification -----------------------------------------------------------------------------------------------


def _raw_rules(instrument: Instrument, needed: Sequence[Step]) -> Iterator[str]:
    targets = {tag for step in needed if step.task.is_target for tag in step.main}
    for arm in instrument.arms:
        where = _all(f'INSTRUME like "%{instrument.name}%"', _one_of("SEQ.ARM", ARM_NAMES[arm.name])) + "\n  and "
        for raw in RAW_TYPES:
            if raw.camera or not raw.stem or (raw.detector and (raw.detector == "ccd") != arm.detector.has_bias):
                continue
            for tag, condition in _tagged(raw, arm, instrument):
                values = {"RAW_TYPE": tag, "DO_CATG": tag, "REFLEX_CATG": tag}
                yield _if(where + condition, **values, **({"REFLEX_TARGET": "T"} if tag in targets else {}))


def _tagged(raw: RawType, arm: Arm, instrument: Instrument) -> Iterator[tuple[str, str]]:
    """(tag, condition) of a raw type in an arm."""
    types = _one_of("DPR.TYPE", raw.types)
    if raw.modes:
        for mode in raw.modes:
            tag = raw.stem.format(arm=arm.name, mode=mode)
            yield tag, _all(types, _is("DPR.TECH", MODE_TECHNIQUES[mode]))
        return
    stem = raw.stem.format(arm=arm.name)
    lit = _one_of("DPR.TECH", [MASK_TECHNIQUES[mask] for mask in raw.masks]) if raw.masks else ""
    if raw.has_state and not arm.detector.has_bias:
        slit = _key(header_keywords(instrument, "SLIT", arm.name)[0])
        masks = _any([f'{slit} like "{MASK_SLITS[mask]}%"' for mask in raw.masks]) if raw.masks else ""
        yield f"{stem}_ON", _all(types, lit or 'DPR.TECH like "ECHELLE%"')
        yield f"{stem}_OFF", _all(types, _is("DPR.TECH", UNLIT_TECHNIQUE), masks)
    elif raw.lamps and arm.detector.has_bias:
        yield from ((tag, _all(condition, lit)) for tag, condition in _by_lamp(raw, stem, instrument))
    else:
        yield stem, _all(types, lit)


def _by_lamp(raw: RawType, stem: str, instrument: Instrument) -> Iterator[tuple[str, str]]:
    """Frames of one continuum lamp, told by `DPR TYPE` or by the lamp that is lit, and of both or none."""
    types = _one_of("DPR.TYPE", raw.types)
    keys = [_key(header_keywords(instrument, f"LAMP_{lamp}")[0]) for lamp, _, _ in raw.lamps]
    dark = [_any([f"{key} is undefined", *(_is(key, value) for value in _UNLIT)]) for key in keys]
    bright = [f'{key} like "{_LIT}"' for key in keys]
    for number, (_, end, text) in enumerate(raw.lamps):
        others = [condition for other, condition in enumerate(dark) if other != number]
        yield f"{stem}{end}", _any([_is("DPR.TYPE", text), f"({_all(types, bright[number], *others)})"])
    yield stem, _all(types, _any([f"({_all(*bright)})", f"({_all(*dark)})"]))


def _product_rules(instrument: Instrument) -> Iterator[str]:
    tags = {}
    for declaration in declared().values():
        static = (entry for entry in declaration.calibrations if entry.static)
        for entry in (*static, *declaration.products):
            for arm in (arm for arm in instrument.arms if entry.serves(arm)):
                tags |= dict.fromkeys(resolved_tag(entry.tag, arm.name, kind) for kind in OBSERVED_KINDS)
    for tag in tags:
        condition = _all(f'INSTRUME like "%{instrument.name}%"', _is("PRO.CATG", tag))
        yield _if(condition, DO_CATG=tag, REFLEX_CATG=tag)


# -- organisation -------------------------------------------------------------------------------------------------


def _organisation(needed: Sequence[Step]) -> Iterator[str]:
    for step in needed:
        key, source = ("PRO.CATG", "calibFiles") if step.from_products else ("RAW.TYPE", "inputFiles")
        group = ",".join(_key(keyword) for keyword in step.group)
        tail = " as (TPL_A,tpl)" if "TPL START" in step.group else ""
        where = _one_of(key, step.main)
        yield f"select execute({step.name}) from {source} where {where}\n  group by {group}{tail};\n"  # noqa: S608


def _actions(needed: Sequence[Step]) -> Iterator[str]:
    for step in needed:
        selections = "\n".join(_selection(selection) for selection in step.selections)
        products = "".join(_product(tag) for tag in step.products)
        yield f"action {step.name}\n{{\n{selections}\n  recipe {step.declaration.name};\n\n{products}}}\n"


def _selection(selection: Selection) -> str:
    key, source = ("RAW.TYPE", "inputFiles") if selection.is_raw else ("PRO.CATG", "calibFiles")
    conditions = [_is(key, selection.tag)]
    conditions += [f"inputFile.{_key(keyword)} == {_key(keyword)}" for keyword in selection.match]
    if math.isfinite(selection.before):
        conditions.append(f"(inputFile.MJD-OBS - MJD-OBS) <= {selection.before:g}")
    if math.isfinite(selection.after):
        conditions.append(f"(MJD-OBS - inputFile.MJD-OBS) <= {selection.after:g}")
    where = "\n    and ".join(conditions)
    comment = f"  // {selection.name}\n" if selection.name else ""
    counts = f"  minRet = {selection.minimum}; maxRet = {selection.maximum};\n"
    return f"{comment}{counts}  select file as {selection.tag} from {source} where\n    {where};\n"  # noqa: S608


def _product(tag: str) -> str:
    return f'  product {tag} {{ REFLEX.CATG = "{tag}"; PRO.CATG = "{tag}"; PRO.EXT = "0000.fits"; }}\n'
