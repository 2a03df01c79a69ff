"""When each exposure of a plan is taken, and what it then sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from astropy.time import Time, TimeDelta

from soxs_recipes.simulator.conditions import varied
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.frames import (
    FrameRequest,
    default_request,
    displacement_on_slit,
    faint_star,
    galaxy,
    standard,
    supernova,
)
from soxs_recipes.simulator.hardware import generator
from soxs_recipes.simulator.headers import STARING, Offset, Sequence
from soxs_recipes.simulator.light import PointSource
from soxs_recipes.simulator.plans import FAILURES, Pattern, Template, night_plan

__all__ = ["Exposure", "exposures"]

_AFTERNOON = Time("2026-03-01T18:00:00.000", format="isot", scale="utc", precision=3)
_NIGHT = Time("2026-03-02T02:00:00.000", format="isot", scale="utc", precision=3)
_TARGET = "SN2026abc"
_READOUT = {"VIS": 40.0, "NIR": 12.0}  # s


@dataclass(frozen=True, slots=True)
class Exposure:
    """One frame of a night: what it shows, and its place in the observing block."""

    request: FrameRequest
    sequence: Sequence


def exposures(plan: str, seed: int, effects: Effects) -> Iterator[Exposure]:
    """All exposures of a plan in time order of each arm, calibrations in the afternoon."""
    failing, failure = FAILURES.get(plan, ("", {}))
    clocks: dict[tuple[str, bool], Time] = {}
    flexure = generator(seed, "flexure")
    index = 0
    for block, template in enumerate(night_plan(plan)):
        at_night = template.on_sky or template.at_night
        clock = clocks.get((template.arm, at_night), _first(template.arm, at_night))
        start = clock + TimeDelta(5.0, format="sec")
        request = _request(template, seed)
        if failing and request.kind.lamp == failing and template.arm == "NIR":
            request = replace(request, **failure)
        spread = (0.2 if template.on_sky else 0.03) * effects.flexure
        common = flexure.normal(0.0, spread, 2)
        moment, total = start, template.exposures + template.off_count
        for number in range(total):
            index += 1
            jitter = flexure.normal(0.0, 0.05, 2) * effects.flexure if template.on_sky else np.zeros(2)
            off = number >= template.exposures
            if template.middles:
                moment = _NIGHT + TimeDelta(template.middles[number] - 0.5 * request.exposure_time, format="sec")
                start = moment if number == 0 else start
            one = replace(request, index=index, lamps_off=off)
            if template.exposure_times:
                one = replace(one, exposure_time=template.exposure_times[number])
            if one.kind.name == "linearity":
                unsteady = generator(seed, "lamp of exposure", index).normal(0.0, 2e-4)
                one = replace(one, lamp_scale=one.lamp_scale * (1.0 + float(unsteady) * effects.line_intensity))
            hours = (moment - _NIGHT).to_value("hour") + one.exposure_time / 7200.0
            one = replace(one, flexure=_bent(template, common + jitter, hours, seed, effects))
            if template.on_sky:
                one = _observed(one, template, number, hours, seed, effects)
            yield Exposure(one, Sequence(moment, start, number + 1, total, 200000000 + block, off))
            wait = one.exposure_time + _READOUT[template.arm] + float(flexure.uniform(0.0, 0.5))
            moment = moment + TimeDelta(wait, format="sec")
        clocks[(template.arm, at_night)] = moment


def _first(arm: str, at_night: bool) -> Time:
    """When an arm's templates begin; the arms never share a template's start."""
    return (_NIGHT if at_night else _AFTERNOON) + TimeDelta(0.0 if arm == "VIS" else 7.0, format="sec")


def _bent(template: Template, drawn: np.ndarray, hours: float, seed: int, effects: Effects) -> tuple[float, float]:
    """Flexure of an exposure at a time after the beginning of the night [px]."""
    side = np.where(generator(seed, "side", template.arm).random(2) < 0.5, -1.0, 1.0)
    total = drawn if template.flexure is None else effects.flexure * side * np.array(template.flexure)
    drift = side * np.array(template.drift)
    if template.varying and not np.any(drift):
        drift = generator(seed, "drift", template.arm).normal(0.0, 0.1, 2)
    return tuple(float(f) for f in total + effects.flexure * hours * drift)


def _observed(
    request: FrameRequest, template: Template, number: int, hours: float, seed: int, effects: Effects
) -> FrameRequest:
    """A request with the sky of its time, and its source where the offset puts it."""
    offset = _offset(template.pattern, number, request.position_angle, seed, template.target)
    sources = tuple(source.displaced(offset.y, offset.x) for source in request.sources)
    observation = request.observation
    if template.varying and effects.variability:
        observation = varied(observation, seed, 60.0 * hours, effects.variability)
    return replace(request, offset=offset, sources=() if offset.beam == "S" else sources, observation=observation)


def _offset(pattern: Pattern, number: int, position_angle: float, seed: int, target: str) -> Offset:
    """Where an exposure of a pattern looks; both arms jitter alike."""
    if not pattern.beams:
        return STARING
    beam = pattern.beams[number]
    x, y = pattern.steps[number] if pattern.steps else (0.0, 0.0)
    if pattern.jitter:
        drawn = generator(seed, "jitter", target, number // 2).uniform(-0.5, 0.5)
        y += pattern.jitter * round(float(drawn), 2)
    if pattern.mode == "NOD":
        y += 0.5 * pattern.throw * (1.0 if beam == "A" else -1.0)
    fixed = pattern.fixed_offset
    if beam == "S" and any(fixed):
        dx, dy = displacement_on_slit(-fixed[0], -fixed[1], position_angle)
        x, y = x + dx, y + dy
    typed = pattern.typed_sky and beam == "S"
    return Offset(pattern.mode, beam, round(x, 3), round(y, 3), pattern.throw, pattern.jitter, fixed, typed)


def _request(template: Template, seed: int) -> FrameRequest:
    changes: dict[str, object] = {"lamp": template.lamp}
    if template.slit is not None:
        changes["slit"] = template.slit
    if template.exposure_time is not None:
        changes["exposure_time"] = template.exposure_time
    if template.on_sky:
        purpose = (template.kind, template.target) if template.target else (template.kind,)
        conditions = generator(seed, "conditions", *purpose)
        changes["airmass"] = float(conditions.uniform(1.05, 1.4))
        changes["seeing"] = float(conditions.uniform(0.75, 1.1))
        changes["transparency"] = float(conditions.uniform(0.85, 1.0))
        moon = float(generator(seed, "moon").uniform(0.0, 0.5))
        changes["moon"] = moon if template.moon is None else template.moon
        position = float(conditions.uniform(-1.0, 1.0))
        if template.pattern.mode == "MAP":
            changes["position_angle"] = round(float(conditions.uniform(-90.0, 90.0)), 2)
        changes["sources"] = _sources(template, position)
        named = (template.target, *(source.name for source in changes["sources"]), _TARGET)
        changes["target"] = next(name for name in named if name)
    return default_request(template.kind, template.arm, seed, **changes)


def _sources(template: Template, position: float) -> tuple[PointSource, ...]:
    """What stands on the slit before any offset; `position` in -1 to 1 says where."""
    if template.kind == "standard":
        reach = 0.4 if template.pattern.mode == "NOD" else 0.8
        return (standard(slit_position=reach * position),)
    if template.source == "none":
        return ()
    reach = {"STARE": 2.0, "OFFSET": 2.0, "NOD": 0.6, "MAP": 0.5}[template.pattern.mode]
    if template.source == "faint":
        return (faint_star(slit_position=reach * position),)
    if template.source == "galaxy":
        return (galaxy(slit_position=reach * position),)
    source = supernova(slit_position=reach * position, host_line=3e-16)
    return (replace(source, name=template.target),) if template.target else (source,)
