"""What a header says of its frame's readout, checked against the pixels: gain, read noise, binning, windows."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.instrument import header_value, load_instrument
from soxs_recipes.instrument.times import end_time

if TYPE_CHECKING:
    from soxs_recipes.data.frame import FrameMeta
    from soxs_recipes.fits_files import RawFrame
    from soxs_recipes.instrument.model import Arm, Instrument, ReadMode
    from soxs_recipes.reduction.frames.preparation import ReadoutLayout

__all__ = ["DetectorSetup", "detector_setup"]

# ln(noise * gain / read noise) within which a gain is supported by the noise.
_SUPPORTED = 0.3
# Measured and stated read noise that agree to this fraction: the measured one is used.
_AGREEMENT = 0.25
# Unlit pixels [ADU] with less noise than this were not read by a real amplifier.
_LEAST_NOISE = 0.35


@dataclass(frozen=True, slots=True)
class DetectorSetup:
    """How a frame was read.

    Attributes
    ----------
    layout : ReadoutLayout
    meta : FrameMeta
    read_noise_measured : bool
        Whether `meta.read_noise` comes from the frame's own unlit pixels.
    notes : tuple of str
    """

    layout: ReadoutLayout
    meta: FrameMeta
    read_noise_measured: bool
    notes: tuple[str, ...]


class _Header:
    """Checked access to one frame's header values."""

    def __init__(self, raw: RawFrame, arm: Arm, instrument: Instrument):
        self.name = raw.path.name
        self._header, self._arm, self._instrument = raw.header, arm.name, instrument

    def number(self, name: str, default: float | None = None) -> float | None:
        """A finite number; `default` when the header lacks it; InputError when it holds something else."""
        value = header_value(self._header, self._instrument, name, self._arm, None)
        if value is None:
            return default
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{self.name}: header entry {name} = {value!r} is not a number; correct the header")
        return number

    def positive(self, name: str) -> float | None:
        """A number above 0, None when the header lacks it."""
        number = self.number(name)
        if number is not None and number <= 0:
            raise InputError(f"{self.name}: header entry {name} = {number:g} must be above 0; correct the header")
        return number

    def raw(self, keyword: str) -> float | None:
        """A finite number under a literal keyword (numbered ones, which have no name of ours)."""
        value = self._header.get(keyword)
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def detector_setup(raw: RawFrame, arm: Arm) -> DetectorSetup:
    """Read and check what `reduction.frames.preparation.prepare` needs.

    Gain comes from CONAD [e-/ADU], else from GAIN [ADU/e-], else from the read mode; when the noise of the unlit
    pixels contradicts it and supports another reading of the same two keywords (they are swapped in some headers),
    that is used and noted. Read noise is measured on the overscan where that agrees with the header.

    Raises
    ------
    InputError
        A value makes no sense, or the frame's shape fits no readout of the detector; names file and value.
    """
    from soxs_recipes.data.frame import FrameMeta

    header = _Header(raw, arm, load_instrument())
    binning = _binning(header, raw.data.shape, arm)
    layout = _layout(header, raw.data.shape, binning, arm)
    noise, layout = _unlit_noise(raw, layout)
    notes: list[str] = []
    mode = _read_mode(header, arm, noise)
    stated = header.positive("READ_NOISE")
    gain = _gain(header, mode, noise, stated or mode.read_noise, notes)
    read_noise, measured = _read_noise(stated, mode, noise, gain, bool(layout.amplifiers), notes)
    time = header.number("EXPTIME", None if not arm.detector.has_bias else 0.0)
    if time is None or time < 0:
        raise InputError(f"{header.name}: header entry EXPTIME = {time} must be 0 or more; correct the header")
    start = header.number("MJD_OBS", math.nan)
    airmasses = [header.number(name, math.nan) for name in ("AIRMASS_START", "AIRMASS_END")]
    meta = FrameMeta(
        name=raw.path.name.split(".fits")[0],
        exposure_time=time,
        mjd_start=start,
        mjd_end=_end(header, start, time, notes),
        gain=gain,
        read_noise=read_noise,
        binning=binning,
        airmass=0.5 * sum(airmasses),
    )
    return DetectorSetup(layout, meta, measured, tuple(notes))


def _end(header: _Header, start: float, time: float, notes: list[str]) -> float:
    stated = header.number("MJD_END", math.nan)
    if stated < start:
        notes.append("MJD-END lies before MJD-OBS: the end of the exposure is taken from its time")
    return end_time(start, end=stated, exposure_time=time)


# --- geometry -----------------------------------------------------------------------------------------------


def _binning(header: _Header, shape: tuple[int, int], arm: Arm) -> tuple[int, int]:
    """(y, x); what the header lacks is 1 when the shape allows it."""
    stated = []
    for name in ("BINNING_Y", "BINNING_X"):
        value = header.number(name)
        if value is not None and (value != int(value) or value < 1):
            raise InputError(
                f"{header.name}: header entry {name} = {value:g} must be 1 or more; correct the header"
            )
        stated.append(None if value is None else int(value))
    candidates = [(1, 1), *arm.detector.binnings]
    if None not in stated:
        candidates = [tuple(stated)]
    fitting = [
        (by, bx)
        for by, bx in candidates
        if stated[0] in (None, by) and stated[1] in (None, bx) and _fits(shape, (by, bx), arm)
    ]
    if not fitting:
        expected = arm.detector.raw_shape
        binned = f"binning {stated[1] or '?'} x {stated[0] or '?'}"
        raise InputError(
            f"{header.name}: {shape[1]} x {shape[0]} px ({binned}) are no readout of the {arm.label} detector, "
            f"{expected[1]} x {expected[0]} unbinned; is it of another arm?"
        )
    return fitting[0]


def _fits(shape: tuple[int, int], binning: tuple[int, int], arm: Arm) -> bool:
    """Whether the shape is a whole readout, or one that was trimmed."""
    ny, nx = (length // bins for length, bins in zip(arm.detector.raw_shape, binning, strict=True))
    science_y, science_x = arm.detector.science_shape(binning)
    if shape == (science_y, science_x):
        return True
    if arm.detector.reference_border:
        return shape == (ny, nx)
    # The width of the overscan is the frame's own affair; the light and the prescan must be there.
    least = arm.detector.science_window[3] // binning[1]
    return shape[0] >= science_y and least <= shape[1] < 2 * nx and shape[0] < 2 * ny


def _layout(header: _Header, shape: tuple[int, int], binning: tuple[int, int], arm: Arm) -> ReadoutLayout:
    from soxs_recipes.reduction.frames.preparation import Amplifier, ReadoutLayout

    detector = arm.detector
    ny, nx = detector.science_shape(binning)
    if shape == (ny, nx):
        return ReadoutLayout((0, ny, 0, nx))
    y0, _, x0, _ = (
        edge // bins
        for edge, bins in zip(detector.science_window, (binning[0],) * 2 + (binning[1],) * 2, strict=True)
    )
    if detector.reference_border:
        return ReadoutLayout((y0, y0 + ny, x0, x0 + nx), reference_border=detector.reference_border)
    stated = _stated_outputs(header, shape[1], nx)
    if stated:
        amplifiers = tuple(Amplifier(columns, overscan, prescan) for columns, overscan, prescan in stated)
        first, last = amplifiers[0].columns[0], amplifiers[-1].columns[1]
        return ReadoutLayout((y0, y0 + ny, first, last), amplifiers)
    prescan = (0, x0) if x0 > 0 else None
    overscan = (x0 + nx, shape[1]) if shape[1] > x0 + nx else None
    amplifiers = (Amplifier((x0, x0 + nx), overscan, prescan),) if prescan or overscan else ()
    return ReadoutLayout((y0, y0 + ny, x0, x0 + nx), amplifiers)


def _stated_outputs(header: _Header, width: int, science: int) -> list[tuple]:
    """(columns, overscan, prescan) of each output as the header states them; empty unless they add up.

    One output: prescan, light, overscan. Two: the second is the mirror image of the first.
    """
    outputs = []
    for number in (1, 2):
        entries = [header.raw(f"ESO DET OUT{number} {name}") for name in ("PRSCX", "NX", "OVSCX")]
        if None in entries:
            break
        outputs.append([int(entry) for entry in entries])
    if not outputs or sum(map(sum, outputs)) != width or sum(entry[1] for entry in outputs) != science:
        return []
    windows, start = [], 0
    for number, (prescan, light, overscan) in enumerate(outputs):
        widths = (prescan, light, overscan) if number == 0 else (overscan, light, prescan)
        edges = [start]
        for piece in widths:
            edges.append(edges[-1] + piece)
        ranges = [(low, high) if high > low else None for low, high in itertools.pairwise(edges)]
        before, columns, after = ranges if number == 0 else ranges[::-1]
        windows.append((columns, after, before))
        start = edges[-1]
    return windows


# --- gain and noise -----------------------------------------------------------------------------------------


def _unlit_noise(raw: RawFrame, layout: ReadoutLayout) -> tuple[float, ReadoutLayout]:
    """Standard deviation [ADU] of pixels without light; 0 when there are none, or none that carry noise.

    And the layout, which knows then what has been measured.
    """
    from soxs_recipes.reduction.frames.reference_pixels import reference_noise

    if layout.reference_border:
        noise = reference_noise(raw.data, layout.reference_border)
        return (noise if noise > _LEAST_NOISE else 0.0), layout
    y0, y1, _, _ = layout.science_window
    try:
        levels = [amplifier.level(raw.data[y0:y1]) for amplifier in layout.amplifiers]
    except ValueError as error:
        raise UnprocessableData(f"{raw.path.name}: {error}; the frame cannot be used") from error
    amplifiers = zip(layout.amplifiers, levels, strict=True)
    layout = replace(layout, amplifiers=tuple(replace(one, measured=level) for one, level in amplifiers))
    noises = [level.noise for level in levels if level is not None and level.noise > _LEAST_NOISE]
    return math.sqrt(sum(noise**2 for noise in noises) / len(noises)) if noises else 0.0, layout


def _read_mode(header: _Header, arm: Arm, noise: float) -> ReadMode:
    """The read mode that header or noise point to, else the first."""
    modes = arm.detector.read_modes
    identifier = header.number("READ_MODE_ID") if _is_number(header, "READ_MODE_ID") else None
    for mode in modes:
        if mode.identifier is not None and mode.identifier == identifier:
            return mode
    if noise > 0:
        return min(modes, key=lambda mode: abs(math.log(noise * mode.gain / mode.read_noise)))
    return modes[0]


def _is_number(header: _Header, name: str) -> bool:
    try:
        header.number(name)
    except InputError:
        return False
    return True


def _gain(header: _Header, mode: ReadMode, noise: float, read_noise: float, notes: list[str]) -> float:
    """e-/ADU."""
    conad, gain = header.positive("CONAD"), header.positive("GAIN")
    readings = []
    if conad is not None:
        readings.append(("CONAD", conad))
    if gain is not None:
        readings += [("1/GAIN", 1.0 / gain), ("GAIN", gain)]
    if conad is not None:
        readings.append(("1/CONAD", 1.0 / conad))
    if not readings:
        notes.append(
            f"neither CONAD nor GAIN in the header: {mode.gain:g} e-/ADU of read mode {mode.name} is used"
        )
        return mode.gain
    name, value = readings[0]
    if noise <= 0:
        return value

    def mismatch(reading: tuple[str, float]) -> float:
        return abs(math.log(noise * reading[1] / read_noise))

    if mismatch(readings[0]) < _SUPPORTED:
        return value
    best_name, best = min(readings, key=mismatch)
    stated = f"noise of unlit pixels {noise:.2f} ADU, read noise {read_noise:.2f} e-"
    if mismatch((best_name, best)) < _SUPPORTED:
        notes.append(
            f"gain {best:.3g} e-/ADU ({best_name}) is used, not {value:.3g} ({name}): {stated}; "
            "are CONAD and GAIN swapped?"
        )
        return best
    notes.append(
        f"no reading of CONAD and GAIN agrees with the noise ({stated}); {value:.3g} e-/ADU ({name}) is used"
    )
    return value


def _read_noise(
    stated: float | None, mode: ReadMode, noise: float, gain: float, has_overscan: bool, notes: list[str]
) -> tuple[float, bool]:
    """Read noise [e-] without quantisation, and whether it was measured on this frame."""
    measured = gain * math.sqrt(max(noise**2 - 1.0 / 12.0, 0.0)) if has_overscan else 0.0
    if stated is None:
        if measured > 0:
            return measured, True
        notes.append(f"no read noise in the header: {mode.read_noise:g} e- of read mode {mode.name} is used")
        return mode.read_noise, False
    if measured <= 0:
        return stated, False
    if abs(measured / stated - 1.0) <= _AGREEMENT:
        return measured, True
    notes.append(
        f"read noise measured on the overscan, {measured:.2f} e-, is not the header's {stated:.2f} e-, used"
    )
    return stated, False
