"""Every recipe prepares frames the same way: files and headers here, pixels in `reduction.frames.preparation`.

Numerics are imported inside functions, so that listing recipes stays instant.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.detector_setup import DetectorSetup, detector_setup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from astropy.io.fits import Header

    from soxs_recipes.data.frame import Frame
    from soxs_recipes.data.linearity import LinearityCurve
    from soxs_recipes.fits_files import RawFrame
    from soxs_recipes.instrument.model import Arm
    from soxs_recipes.reduction.frames.preparation import ReadoutReport
    from soxs_recipes.reduction.frames.reference_pixels import ReferencePattern

__all__ = [
    "Master",
    "PreparedFrame",
    "forget_masters",
    "prepare_detailed",
    "prepare_frame",
    "read_master",
    "reference_hdus",
]

# Exposure times that count as equal.
_SAME_TIME_SECONDS, _SAME_TIME_FRACTION = 0.5, 0.01
_READ_NOISE_AGREEMENT = 0.3
_LOST_FRACTION = 0.01

_MASTERS_KEPT = 3
_masters: dict[tuple[Path, int], Master] = {}  # by file and when it was changed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Master:
    """A master bias or dark with what goes beside its pixels.

    Attributes
    ----------
    frame : Frame
        Structure about the electronic level.
    level : float [e-]
        Electronic level that frames without overscan still have; 0 when unknown.
    pattern : ReferencePattern or None
        What the reference pixels showed in the frames that it was made of.
    name : str
        File name, for messages.
    """

    frame: Frame
    level: float = 0.0
    pattern: ReferencePattern | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A prepared frame and how it came about.

    Attributes
    ----------
    frame : Frame
    report : ReadoutReport
    header : astropy Header
        Of the raw frame.
    setup : DetectorSetup
    notes : tuple of str
        Decisions that a person should know of.
    """

    frame: Frame
    report: ReadoutReport
    header: Header = field(repr=False)
    setup: DetectorSetup
    notes: tuple[str, ...]

    @property
    def shortcoming(self) -> str:
        """What makes the products of this frame PARTIAL, "" when nothing does."""
        import numpy as np

        from soxs_recipes.data.quality import QualityFlag

        quality, bit = self.frame.quality, np.int32(QualityFlag.NO_DATA)
        if not np.bitwise_or.reduce(quality, axis=None) & bit:
            return ""
        lost = np.count_nonzero(quality & bit) / quality.size
        if lost < _LOST_FRACTION:
            return ""
        return f"{self.frame.meta.name}: {100 * lost:.0f} % of the pixels were not read"


def prepare_frame(
    path: str | Path,
    arm: Arm,
    *,
    master_bias: str | Path | Frame | None = None,
    dark: str | Path | Frame | Sequence[str | Path] | None = None,
    flat: str | Path | Frame | None = None,
    bad_pixels: str | Path | np.ndarray | None = None,
    poisson: bool = True,
) -> Frame:
    """A raw frame in electrons with variance and quality; decisions are logged.

    Parameters
    ----------
    path : path-like
    arm : Arm
    master_bias, dark, flat : path, Frame or None
        Products to subtract and divide by. Of several darks the one of equal exposure time is used; otherwise two
        are interpolated, or one is scaled and its pixels marked SCALED_DARK.
    bad_pixels : path, ndarray (ny, nx) or None
        Quality bits to add; a map of unbinned pixels fits a binned frame, too.
    poisson : bool
        Add the Poisson variance of the signal (False for frames without light).

    Returns
    -------
    Frame

    Raises
    ------
    InputError
        The file, a header value or the shape of a master does not fit; the message names it.
    UnprocessableData
        The pixels hold nothing to work on.
    """
    prepared = prepare_detailed(
        path, arm, master_bias=master_bias, dark=dark, flat=flat, bad_pixels=bad_pixels, poisson=poisson
    )
    for note in prepared.notes:
        _log.warning("%s: %s", Path(path).name, note)
    return prepared.frame


def prepare_detailed(
    source: str | Path | RawFrame,
    arm: Arm,
    *,
    master_bias: str | Path | Frame | None = None,
    dark: str | Path | Frame | Sequence[str | Path] | None = None,
    flat: str | Path | Frame | None = None,
    bad_pixels: str | Path | np.ndarray | None = None,
    linearity: Sequence[LinearityCurve] = (),
    poisson: bool = True,
    pattern: ReferencePattern | None = None,
) -> PreparedFrame:
    """As `prepare_frame`, with the readout report, the header and the decisions; nothing is logged.

    A frame that has been read already is taken as it is.
    `pattern` is what a master dark in the making will keep of the reference pixels; `linearity` are the curves of
    the amplifiers, applied before anything but the electronic level.
    """
    import numpy as np

    from soxs_recipes.fits_files import read_raw
    from soxs_recipes.reduction.frames import preparation as pixels

    raw = read_raw(source) if isinstance(source, (str, Path)) else source
    path = raw.path
    setup = detector_setup(raw, arm)
    notes = list(setup.notes)
    bias = None if master_bias is None else read_master(master_bias)
    dark_master, dark_scale = _chosen_dark(dark, setup.meta.exposure_time, notes)
    meta, layout = setup.meta, setup.layout
    if dark_master is not None:
        pattern = dark_master.pattern
        meta = replace(meta, read_noise=_read_noise_beside_dark(setup, dark_master, notes))
    layout = replace(layout, reference_static=pattern)
    detector = arm.detector
    frame, report = pixels.prepare(
        raw.data,
        layout,
        meta,
        saturation=detector.saturation,
        linear_limit=detector.linear_limit,
        curves=linearity,
    )
    if bad_pixels is not None:
        np.bitwise_or(frame.quality, _fitting_map(bad_pixels, frame, path), out=frame.quality)
    if bias is not None:
        frame = _subtracted(frame, bias, 1.0, path)
        if not report.subtracted and bias.level:
            frame.data[frame.quality == 0] -= bias.level
            notes.append(f"no overscan: the level of the master bias, {bias.level:.1f} e-, is subtracted")
    if dark_master is not None:
        frame = _subtracted(frame, dark_master, dark_scale, path)
    if poisson:
        frame = pixels.with_poisson_noise(frame, _expected_charge(frame, dark_master, dark_scale))
    if flat is not None:
        frame = pixels.divide_by_flat(frame, _checked(read_master(flat), frame, path).frame)
    return PreparedFrame(frame, report, raw.header, setup, tuple(notes))


def _expected_charge(frame: Frame, dark: Master | None, scale: float) -> np.ndarray:
    """Signal that made Poisson noise: smoothed light plus dark charge."""
    import numpy as np

    from soxs_recipes.reduction.frames.preparation import frame_noise, local_signal

    charge = local_signal(frame.data, frame_noise(frame))
    if dark is not None:
        charge += np.maximum(np.float32(scale) * dark.frame.data, np.float32(0.0))
    return charge


def _subtracted(frame: Frame, master: Master, scale: float, path: str | Path) -> Frame:
    from soxs_recipes.reduction.frames.preparation import subtract_master

    return subtract_master(frame, _checked(master, frame, path).frame, scale)


def _checked(master: Master, frame: Frame, path: str | Path) -> Master:
    if master.frame.shape != frame.shape:
        raise InputError(
            f"{Path(path).name}: its pixels {_size(frame.shape)} do not fit {master.name or 'the master'} "
            f"{_size(master.frame.shape)}; use one of the same binning and window"
        )
    return master


def _size(shape: tuple[int, int]) -> str:
    return f"({shape[1]} x {shape[0]})"


# --- masters ------------------------------------------------------------------------------------------------


def read_master(source: str | Path | Frame) -> Master:
    """A master from its product (kept in memory for the next frame), or from a Frame."""
    if not isinstance(source, (str, Path)):
        return Master(source, name=source.meta.name)
    key = Path(source), _changed_at(Path(source))
    if key not in _masters:
        if len(_masters) == _MASTERS_KEPT:
            _masters.pop(next(iter(_masters)))
        _masters[key] = _master_of(key[0])
    return _masters[key]


def forget_masters(but: Iterable[Path] = ()) -> None:
    """Let go of masters that are kept in memory, except those of some files."""
    kept = set(but)
    for key in [key for key in _masters if key[0] not in kept]:
        del _masters[key]


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=1)
def _read_map(path: Path, _changed: int) -> np.ndarray:
    from soxs_recipes.fits_files import read_quality

    return read_quality(path)


def _master_of(path: Path) -> Master:
    from soxs_recipes.fits_files import frame_of, open_product

    with open_product(path) as hdus:
        frame = frame_of(hdus, path)
        header = hdus["LEVELS"].header if "LEVELS" in hdus else {}
        level, contained = float(header.get("BIASLEVL", 0.0)), not header.get("OVERSCAN", True)
        pattern = _read_pattern(hdus)
    if contained:
        frame = frame.with_arrays(data=frame.data - level)
    return Master(frame, level, pattern, path.name)


def reference_hdus(pattern: ReferencePattern | None) -> list:
    """Tables REFERENCE_GROUPS and REFERENCE_ROWS of a master dark; none without a pattern."""
    from soxs_recipes.fits_files import table_hdu

    if pattern is None:
        return []
    groups = table_hdu(
        "REFERENCE_GROUPS",
        {"BELOW": pattern.groups[0], "ABOVE": pattern.groups[1]},
        {"BELOW": "adu", "ABOVE": "adu"},
        {"BELOW": "reference rows below the array, by output", "ABOVE": "reference rows above the array"},
    )
    groups.header["NCOMBINE"] = (pattern.frames, "frames averaged")
    rows = table_hdu(
        "REFERENCE_ROWS",
        {"LEFT": pattern.rows[0], "RIGHT": pattern.rows[1]},
        {"LEFT": "adu", "RIGHT": "adu"},
        {"LEFT": "reference columns at low x, row by row", "RIGHT": "reference columns at high x"},
    )
    return [groups, rows]


def _read_pattern(hdus) -> ReferencePattern | None:
    import numpy as np

    from soxs_recipes.reduction.frames.reference_pixels import ReferencePattern

    if "REFERENCE_GROUPS" not in hdus or "REFERENCE_ROWS" not in hdus:
        return None
    groups = hdus["REFERENCE_GROUPS"]
    levels = np.array([groups.data["BELOW"], groups.data["ABOVE"]], dtype=np.float64)
    rows = np.array([hdus["REFERENCE_ROWS"].data[side] for side in ("LEFT", "RIGHT")], dtype=np.float64)
    return ReferencePattern(levels, rows, int(groups.header.get("NCOMBINE", 1)))


def _chosen_dark(dark: object, exposure_time: float, notes: list[str]) -> tuple[Master | None, float]:
    """The dark for an exposure time and the factor that it needs."""
    if dark is None:
        return None, 1.0
    sources = list(dark) if isinstance(dark, (list, tuple)) else [dark]
    masters = sorted((read_master(source) for source in sources), key=_time)
    nearest = min(masters, key=lambda master: abs(_time(master) - exposure_time))
    if _same_time(_time(nearest), exposure_time):
        return nearest, 1.0
    if len(masters) > 1:
        below = [master for master in masters if _time(master) <= exposure_time] or masters[:1]
        above = [master for master in masters if _time(master) > _time(below[-1])] or masters[-2:-1]
        return _interpolated(below[-1], above[0], exposure_time, notes), 1.0
    if _time(nearest) <= 0:
        return nearest, 1.0
    scale = exposure_time / _time(nearest)
    notes.append(f"dark of {_time(nearest):g} s scaled to {exposure_time:g} s (SCALED_DARK)")
    return nearest, scale


def _time(master: Master) -> float:
    return master.frame.meta.exposure_time


def _same_time(first: float, second: float) -> bool:
    return abs(first - second) <= max(_SAME_TIME_SECONDS, _SAME_TIME_FRACTION * second)


def _interpolated(first: Master, second: Master, exposure_time: float, notes: list[str]) -> Master:
    """A dark between two (or beyond them), linear in time: offset and rate of each pixel are both known."""
    import numpy as np

    share = (exposure_time - _time(first)) / (_time(second) - _time(first))
    one, two = first.frame, _checked(second, first.frame, second.name).frame
    weights = np.float32(1.0 - share), np.float32(share)
    frame = one.with_arrays(
        data=weights[0] * one.data + weights[1] * two.data,
        variance=weights[0] ** 2 * one.variance + weights[1] ** 2 * two.variance,
        quality=one.quality | two.quality,
        meta=replace(one.meta, exposure_time=exposure_time),
    )
    notes.append(f"dark interpolated to {exposure_time:g} s from {_time(first):g} s and {_time(second):g} s")
    pattern = first.pattern
    if pattern is not None and second.pattern is not None:
        pattern = replace(
            pattern,
            groups=(1 - share) * pattern.groups + share * second.pattern.groups,
            rows=(1 - share) * pattern.rows + share * second.pattern.rows,
        )
    return Master(frame, 0.0, pattern, f"{first.name} and {second.name}")


def _read_noise_beside_dark(setup: DetectorSetup, dark: Master, notes: list[str]) -> float:
    """Read noise measured on the dark's frames, when they had the same read mode and nothing better is known."""
    measured = dark.frame.meta.read_noise
    if setup.read_noise_measured or measured <= 0 or dark.frame.meta.gain != setup.meta.gain:
        return setup.meta.read_noise
    if abs(math.log(measured / setup.meta.read_noise)) > _READ_NOISE_AGREEMENT:
        notes.append(
            f"read noise {setup.meta.read_noise:.2f} e- (header) differs from the dark's {measured:.2f} e-: "
            "another read mode?"
        )
        return setup.meta.read_noise
    return measured


def _fitting_map(bad_pixels: str | Path | np.ndarray, frame: Frame, path: str | Path) -> np.ndarray:
    """Quality bits in the frame's own pixels."""
    import numpy as np

    if isinstance(bad_pixels, (str, Path)):
        quality = _read_map(Path(bad_pixels), _changed_at(Path(bad_pixels)))
    else:
        quality = np.asarray(bad_pixels)
    if quality.shape == frame.shape:
        return quality.astype(np.int32, copy=False)
    by, bx = frame.meta.binning
    ny, nx = frame.shape
    if quality.shape[0] // by != ny or quality.shape[1] // bx != nx:
        raise InputError(
            f"{Path(path).name}: its pixels {_size(frame.shape)} do not fit the bad-pixel map "
            f"{_size(quality.shape)}; use one of the same binning and window"
        )
    blocks = quality[: ny * by, : nx * bx].reshape(ny, by, nx, bx)
    return np.bitwise_or.reduce(np.bitwise_or.reduce(blocks, axis=3), axis=1).astype(np.int32)
