"""A whole night of raw frames: which templates run, when, and their files."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.writing import write_bytes_atomic
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.frames import (
    FrameMaker,
    FrameRequest,
    SimulatedFrame,
    default_request,
    pointing_of,
    standard,
    supernova,
)
from soxs_recipes.simulator.hardware import generator
from soxs_recipes.simulator.headers import Sequence
from soxs_recipes.simulator.truth import FrameRecord, NightTruth

__all__ = ["PLANS", "Template", "expected_light", "night_plan", "reproduce", "simulate_night"]

_AFTERNOON = Time("2026-03-01T18:00:00.000", format="isot", scale="utc", precision=3)
_NIGHT = Time("2026-03-02T02:00:00.000", format="isot", scale="utc", precision=3)
_READOUT = {"VIS": 40.0, "NIR": 12.0}  # s
_PINHOLE_TEMPLATES = ("pinhole_arc", "multi_pinhole_arc", "pinhole_flat")


@dataclass(frozen=True, slots=True)
class Template:
    """Exposures that one template takes.

    Attributes
    ----------
    arm, kind : str
    count : int
    off_count : int
        Lamp-off frames after them.
    slit : str
    lamp : {"QTH", "D2"}
    exposure_time : float or None [s]
        None: the usual one.
    """

    arm: str
    kind: str
    count: int = 1
    off_count: int = 0
    slit: str | None = None
    lamp: str = "QTH"
    exposure_time: float | None = None


def _arm_templates(arm: str, exposures: int, repeats: int) -> list[Template]:
    if arm == "VIS":
        start = [Template(arm, "bias", repeats)]
        off = {}
    else:
        times = (20.0, 180.0, 600.0)
        start = [Template(arm, "dark", repeats, exposure_time=time) for time in times]
        off = {"off_count": 1}
    return [
        *start,
        Template(arm, "pinhole_arc", **off),
        Template(arm, "pinhole_flat", **off),
        Template(arm, "slit_flat", repeats, slit="SLIT1.0", **({"off_count": repeats} if off else {})),
        Template(arm, "slit_flat", repeats, slit="SLIT5.0", **({"off_count": repeats} if off else {})),
        Template(arm, "multi_pinhole_arc", **off),
        Template(arm, "standard", slit="SLIT5.0"),
        Template(arm, "science", exposures, slit="SLIT1.0"),
    ]


def _both(exposures: int, repeats: int) -> list[Template]:
    return [*_arm_templates("VIS", exposures, repeats), *_arm_templates("NIR", exposures, repeats)]


def _without(templates: list[Template], kind: str, slit: str | None = None) -> list[Template]:
    return [t for t in templates if t.kind != kind or (slit is not None and t.slit != slit)]


def _full() -> list[Template]:
    deuterium = [Template("VIS", "slit_flat", 5, slit=slit, lamp="D2") for slit in ("SLIT1.0", "SLIT5.0")]
    other = [Template(arm, "slit_flat", 5, slit="SLIT1.5") for arm in ("VIS", "NIR")]
    other += [Template(arm, "science", 3, slit="SLIT1.5") for arm in ("VIS", "NIR")]
    return _both(4, 5) + deuterium + other


PLANS: dict[str, Callable[[], list[Template]]] = {
    "demo": lambda: _both(3, 5),
    "full": _full,
    "vis": lambda: _arm_templates("VIS", 3, 5),
    "nir": lambda: _arm_templates("NIR", 3, 5),
    "tiny": lambda: _both(1, 5),
    "no-standard": lambda: _without(_both(3, 5), "standard"),
    "no-wide-flat": lambda: _without(_both(3, 5), "slit_flat", "SLIT5.0"),
    "dead-xenon-lamp": lambda: _both(3, 5),
    "dead-arc-lamps": lambda: _both(3, 5),
    "dead-flat-lamp": lambda: _both(3, 5),
}
# What the lamps of the NIR arm then do: changes of their requests, by the kind of lamp.
_FAILURES: dict[str, tuple[str, dict[str, object]]] = {
    "dead-xenon-lamp": ("arc", {"dead_lamp": "Xe"}),
    "dead-arc-lamps": ("arc", {"lamp_scale": 1e-6}),
    "dead-flat-lamp": ("continuum", {"lamp_scale": 1e-6}),
}


def night_plan(name: str) -> list[Template]:
    """The templates of a plan; InputError lists the plans."""
    if name not in PLANS:
        raise InputError(f"there is no plan {name!r}; plans are {', '.join(PLANS)}")
    return PLANS[name]()


@dataclass(frozen=True, slots=True)
class _Exposure:
    request: FrameRequest
    sequence: Sequence


def _exposures(plan: str, seed: int, effects: Effects) -> Iterator[_Exposure]:
    """All exposures of a plan in time order of each arm, calibrations in the afternoon."""
    failing, failure = _FAILURES.get(plan, ("", {}))
    clocks: dict[tuple[str, bool], Time] = {}
    flexure = generator(seed, "flexure")
    index = 0
    for block, template in enumerate(night_plan(plan)):
        sky = template.kind in ("standard", "science")
        offset = 0.0 if template.arm == "VIS" else 7.0
        clock = clocks.get((template.arm, sky), (_NIGHT if sky else _AFTERNOON) + TimeDelta(offset, format="sec"))
        start = clock + TimeDelta(5.0, format="sec")
        request = _request(template, seed)
        if failing and request.kind.lamp == failing and template.arm == "NIR":
            request = replace(request, **failure)
        spread = (0.2 if sky else 0.03) * effects.flexure
        common = flexure.normal(0.0, spread, 2)
        moment = start
        for number in range(template.count + template.off_count):
            index += 1
            drift = flexure.normal(0.0, 0.05, 2) * effects.flexure if sky else np.zeros(2)
            off = number >= template.count
            one = replace(request, index=index, lamps_off=off, flexure=tuple(float(f) for f in common + drift))
            sequence = Sequence(
                moment, start, number + 1, template.count + template.off_count, 200000000 + block, off
            )
            yield _Exposure(one, sequence)
            wait = one.exposure_time + _READOUT[template.arm] + float(flexure.uniform(0.0, 0.5))
            moment = moment + TimeDelta(wait, format="sec")
        clocks[(template.arm, sky)] = moment


def _request(template: Template, seed: int) -> FrameRequest:
    changes: dict[str, object] = {"lamp": template.lamp}
    if template.slit is not None:
        changes["slit"] = template.slit
    if template.exposure_time is not None:
        changes["exposure_time"] = template.exposure_time
    if template.kind in ("standard", "science"):
        conditions = generator(seed, "conditions", template.kind)
        changes["airmass"] = float(conditions.uniform(1.05, 1.4))
        changes["seeing"] = float(conditions.uniform(0.75, 1.1))
        changes["transparency"] = float(conditions.uniform(0.85, 1.0))
        changes["moon"] = float(generator(seed, "moon").uniform(0.0, 0.5))
        if template.kind == "science":
            position = float(conditions.uniform(-2.0, 2.0))
            changes["source"] = supernova(slit_position=position, host_line=3e-16)
        else:
            changes["source"] = standard(slit_position=float(conditions.uniform(-0.8, 0.8)))
    return default_request(template.kind, template.arm, seed, **changes)


def simulate_night(
    folder: str | Path,
    seed: int = 1,
    plan: str = "demo",
    effects: Effects | None = None,
    keep_images: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> NightTruth:
    """Write a night of raw frames and its truth.

    Parameters
    ----------
    folder : path
        Made if needed; frames go there, truth to `truth/` in it.
    seed : int
        Instrument, sky and noise are functions of it.
    plan : str
        One of `PLANS`.
    effects : Effects, optional
        The instrument's own by default.
    keep_images : bool
        Whether truth files hold the expected electrons of every pixel, too.
    progress : callable, optional
        Called with (frames done, frames in all, file name), by one thread at a time.

    Returns
    -------
    NightTruth
    """
    effects = effects or Effects()
    folder = Path(folder)
    exposures = list(_exposures(plan, seed, effects))
    try:
        (folder / "truth").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made, {error.strerror}; choose another output folder") from error
    records = _write_arms(folder, exposures, lambda arm: FrameMaker(arm, seed, effects), keep_images, progress)
    night = NightTruth(folder, seed, plan, effects, tuple(records))
    night.save()
    return night


def _write_arms(
    folder: Path,
    exposures: list[_Exposure],
    maker_of: Callable[[str], FrameMaker],
    keep_images: bool,
    progress: Callable[[int, int, str], None] | None,
) -> list[FrameRecord]:
    """Write all frames, a thread an arm (numpy leaves the interpreter most of the time); records in plan order."""
    stop, lock, records = threading.Event(), threading.Lock(), {}

    def write_arm(arm: str) -> None:
        maker = maker_of(arm)
        for exposure in exposures:
            if exposure.request.arm != arm or stop.is_set():
                continue
            record = _write_frame(folder, maker, exposure, keep_images)
            with lock:
                records[record.index] = record
                if progress is not None:
                    progress(len(records), len(exposures), record.file)

    arms = list(dict.fromkeys(exposure.request.arm for exposure in exposures))
    with ThreadPoolExecutor(max_workers=len(arms)) as pool:
        running = [pool.submit(write_arm, arm) for arm in arms]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException:
            stop.set()
            raise
    return [records[exposure.request.index] for exposure in exposures]


def reproduce(night: NightTruth, record: FrameRecord) -> SimulatedFrame:
    """Make a frame of a simulated night again, with the expected electrons and cosmic rays as truth.

    The noise is the same, but the persistence of the frame before is left out.
    """
    exposure = _exposure_of(night, record)
    maker = FrameMaker(record.arm, night.seed, night.effects)
    return maker.make(exposure.request, exposure.sequence, pointing_of(exposure.request))


def expected_light(night: NightTruth, record: FrameRecord) -> tuple[np.ndarray, np.ndarray]:
    """(all light, all but the first source) of a frame on the trimmed detector, (ny, nx) float32 [e-] each.

    For a pixel response of 1 and without dark current; zero in dark frames.
    """
    request = _exposure_of(night, record).request
    maker = FrameMaker(record.arm, night.seed, night.effects)
    scenes = [maker.scene(each) for each in (request, replace(request, sources=request.sources[1:]))]
    blank = np.zeros(maker.hardware.shape, np.float32)
    return tuple(blank if scene is None else scene.electrons for scene in scenes)


def _exposure_of(night: NightTruth, record: FrameRecord) -> _Exposure:
    for exposure in _exposures(night.plan, night.seed, night.effects):
        if exposure.request.index == record.index:
            return exposure
    raise InputError(f"{record.file}: plan {night.plan} of seed {night.seed} has no such frame")


def _write_frame(folder: Path, maker: FrameMaker, exposure: _Exposure, keep_images: bool) -> FrameRecord:
    request = exposure.request
    pointing = pointing_of(request)
    frame = maker.make(request, exposure.sequence, pointing)
    name = f"SOXS.{exposure.sequence.start.isot}.fits"
    write_bytes_atomic(folder / name, raw_bytes(frame.data, frame.header))
    tables = dict(frame.truth.tables)
    if keep_images and frame.truth.electrons is not None:
        tables["electrons"] = frame.truth.electrons
    if tables:
        with (folder / "truth" / f"{name.removesuffix('.fits')}.npz").open("wb") as stream:
            np.savez(stream, **tables)
    return FrameRecord(
        file=name,
        kind=request.kind.name,
        arm=request.arm,
        slit=request.slit,
        lamp=request.lamp,
        exposure_time=request.exposure_time,
        flexure=request.flexure,
        lamps_off=request.lamps_off,
        target=pointing.target,
        airmass=0.5 * (pointing.airmass_start + pointing.airmass_end),
        seeing=pointing.seeing,
        transparency=1.0 if request.observation is None else request.observation.transparency,
        index=request.index,
    )


def raw_bytes(data: np.ndarray, header: fits.Header) -> bytes:
    """A raw FITS file with checksums."""
    stream = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(stream, checksum=True)
    return stream.getvalue()
