"""A whole night of raw frames as files, with their truth."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.writing import write_bytes_atomic
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.frames import FrameMaker, SimulatedFrame, pointing_of
from soxs_recipes.simulator.plans import PLAN_EFFECTS, PLANS, Template, night_plan
from soxs_recipes.simulator.schedule import Exposure, exposures
from soxs_recipes.simulator.truth import FrameRecord, NightTruth

__all__ = ["PLANS", "Template", "expected_light", "night_plan", "reproduce", "simulate_night"]


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
        The instrument's own by default, with those that the plan is there to show.
    keep_images : bool
        Whether truth files hold the expected electrons of every pixel, too.
    progress : callable, optional
        Called with (frames done, frames in all, file name), by one thread at a time.

    Returns
    -------
    NightTruth
    """
    effects = effects or Effects.from_mapping(PLAN_EFFECTS.get(plan, {}))
    folder = Path(folder)
    planned = list(exposures(plan, seed, effects))
    try:
        (folder / "truth").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made, {error.strerror}; choose another output folder") from error
    records = _write_arms(folder, planned, lambda arm: FrameMaker(arm, seed, effects), keep_images, progress)
    night = NightTruth(folder, seed, plan, effects, tuple(records))
    night.save()
    return night


def _write_arms(
    folder: Path,
    planned: list[Exposure],
    maker_of: Callable[[str], FrameMaker],
    keep_images: bool,
    progress: Callable[[int, int, str], None] | None,
) -> list[FrameRecord]:
    """Write all frames, a thread an arm (numpy leaves the interpreter most of the time); records in plan order."""
    stop, lock, records = threading.Event(), threading.Lock(), {}

    def write_arm(arm: str) -> None:
        maker = maker_of(arm)
        for exposure in planned:
            if exposure.request.arm != arm or stop.is_set():
                continue
            record = _write_frame(folder, maker, exposure, keep_images)
            with lock:
                records[record.index] = record
                if progress is not None:
                    progress(len(records), len(planned), record.file)

    arms = list(dict.fromkeys(exposure.request.arm for exposure in planned))
    with ThreadPoolExecutor(max_workers=len(arms)) as pool:
        running = [pool.submit(write_arm, arm) for arm in arms]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException:
            stop.set()
            raise
    return [records[exposure.request.index] for exposure in planned]


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


def _exposure_of(night: NightTruth, record: FrameRecord) -> Exposure:
    for exposure in exposures(night.plan, night.seed, night.effects):
        if exposure.request.index == record.index:
            return exposure
    raise InputError(f"{record.file}: plan {night.plan} of seed {night.seed} has no such frame")


def _write_frame(folder: Path, maker: FrameMaker, exposure: Exposure, keep_images: bool) -> FrameRecord:
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
        **_circumstances(exposure),
    )


def _circumstances(exposure: Exposure) -> dict[str, object]:
    """What a record tells of place and time."""
    request = exposure.request
    first = request.sources[0] if request.kind.on_sky and request.sources else None
    return {
        "mode": request.offset.mode if request.kind.on_sky else "",
        "beam": request.offset.beam,
        "offset": (request.offset.x, request.offset.y),
        "slit_position": None if first is None else first.slit_position,
        "cross_position": None if first is None else first.cross_position,
        "position_angle": request.position_angle,
        "mjd_middle": float(exposure.sequence.start.mjd) + 0.5 * request.exposure_time / 86400.0,
    }


def raw_bytes(data: np.ndarray, header: fits.Header) -> bytes:
    """A raw FITS file with checksums."""
    stream = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(stream, checksum=True)
    return stream.getvalue()
