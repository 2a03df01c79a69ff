"""Frames of a linearity series: prepared in ADU, paired by exposure time, divided by amplifiers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError, UnprocessableData

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.preparation import PreparedFrame
    from soxs_recipes.reduction.frames.linearity_series import Pair

__all__ = ["Series", "read_series"]

_FEWEST_PAIRS = 3
_DARKS = 5  # frames without light, the shortest first, that tell structure and read noise


@dataclass(frozen=True)
class Series:
    """A series ready to be measured.

    Attributes
    ----------
    pairs : list of Pair
    dark : list of (time, ndarray (ny, nx))
        The shortest exposures without light [ADU], their common structure subtracted.
    good : ndarray (ny, nx) bool
    amplifiers : list of (first, end)
        Columns of the trimmed frame.
    level_variance : float [ADU^2]
        That the subtraction of the electronic level added.
    used : list of Path
    """

    pairs: list[Pair]
    dark: list[tuple[float, np.ndarray]]
    good: np.ndarray
    amplifiers: list[tuple[int, int]]
    level_variance: float
    used: list[Path]


def read_series(inputs: Inputs, lit: Sequence[Path], unlit: Sequence[Path]) -> Series:
    """Prepare all frames; one that cannot be used, or has no partner, is named and left out.

    UnprocessableData when fewer than three pairs are left.
    """
    import numpy as np

    dark, pairs, used, example = [], [], [], None
    for one in _prepared(inputs, sorted(unlit, key=lambda path: _time(inputs, path))[:_DARKS]):
        dark.append((float(one.frame.meta.exposure_time), _adu(one)))
        used.append(_path_of(unlit, one))
    structure = _structure(inputs, [image for _, image in dark])
    if structure is not None:
        dark = [(time, image - structure) for time, image in dark if time <= dark[0][0] + 1e-3]
    for _, group in groupby(sorted(lit, key=lambda path: _time(inputs, path)), lambda path: _time(inputs, path)):
        frames = list(_prepared(inputs, list(group)))
        if len(frames) % 2:
            inputs.note(f"{frames[-1].frame.meta.name} is left out: it has no partner of its exposure time")
        for one, two in zip(frames[::2], frames[1::2], strict=False):
            pairs.append(_pair(one, two, structure))
            used += [_path_of(lit, one), _path_of(lit, two)]
            example = one
    if len(pairs) < _FEWEST_PAIRS:
        raise UnprocessableData(
            f"{inputs.declaration.name}: {len(pairs)} pairs of flats of equal exposure time; give at least "
            f"{_FEWEST_PAIRS}, from faint to saturated"
        )
    good = ~np.logical_and.reduce([pair.bad for pair in pairs])
    if structure is not None:
        pattern = structure - np.median(structure)
        good &= np.abs(pattern) < 20.0 * 1.4826 * max(float(np.median(np.abs(pattern))), 0.5)  # hot pixels
    meta = example.frame.meta
    added = float(np.median(example.frame.variance)) - meta.read_noise**2 - meta.gain**2 / 12.0
    amplifiers = _amplifiers(example, good.shape[1], inputs)
    return Series(pairs, dark, good, amplifiers, max(added, 0.0) / meta.gain**2, used)


def _time(inputs: Inputs, path: Path) -> float:
    return round(float(inputs.keyword("EXPTIME", path, 0.0)), 3)


def _path_of(paths: Sequence[Path], prepared: PreparedFrame) -> Path:
    return next(path for path in paths if Path(path).name.split(".fits")[0] == prepared.frame.meta.name)


def _prepared(inputs: Inputs, paths: Sequence[Path]):
    """Prepared frames one by one, without masters: levels count, and masters are made of corrected frames."""
    from soxs_recipes.recipes.framework.preparation import prepare_detailed

    known = inputs.calibration("BP_MAP_REF")
    for path in paths:
        try:
            prepared = prepare_detailed(path, inputs.arm, bad_pixels=known, poisson=False)
        except (InputError, UnprocessableData) as error:
            inputs.mark_partial(f"left out: {error}")
            continue
        for note in prepared.notes:
            inputs.note(note)
        if prepared.shortcoming:
            inputs.mark_partial(prepared.shortcoming)
        yield prepared


def _adu(prepared: PreparedFrame) -> np.ndarray:
    return prepared.frame.data / prepared.frame.data.dtype.type(prepared.frame.meta.gain)


def _structure(inputs: Inputs, dark: Sequence[np.ndarray]) -> np.ndarray | None:
    """What frames without light show beyond their level [ADU]."""
    import numpy as np

    if dark:
        return np.median(np.stack(dark), axis=0) if len(dark) > 2 else sum(dark) / np.float32(len(dark))
    inputs.mark_partial(
        "no frames without light: their structure is not subtracted, the read noise comes from fits"
    )
    return None


def _pair(one: PreparedFrame, two: PreparedFrame, structure: np.ndarray | None) -> Pair:
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag
    from soxs_recipes.reduction.frames.linearity_series import Pair

    images = [_adu(frame) if structure is None else _adu(frame) - structure for frame in (one, two)]
    bits = one.frame.quality | two.frame.quality
    saturated = (bits & np.int32(QualityFlag.SATURATED)) != 0
    harmless = np.int32(QualityFlag.SATURATED | QualityFlag.NON_LINEAR)
    return Pair(one.frame.meta.exposure_time, *images, (bits & ~harmless) != 0, saturated)


def _amplifiers(prepared: PreparedFrame, width: int, inputs: Inputs) -> list[tuple[int, int]]:
    """Columns that each output reads, of the trimmed frame."""
    layout = prepared.setup.layout
    if layout.amplifiers:
        widths = [amplifier.columns[1] - amplifier.columns[0] for amplifier in layout.amplifiers]
        edges = [sum(widths[:number]) for number in range(len(widths) + 1)]
    else:
        outputs = inputs.keyword("OUTPUTS")
        count = int(outputs) if isinstance(outputs, (int, float)) and outputs >= 1 else 1
        x0 = layout.science_window[2]
        full = inputs.arm.detector.raw_shape[1] // prepared.frame.meta.binning[1]
        edges = [min(max(number * full // count - x0, 0), width) for number in range(count)] + [width]
    return [(low, high) for low, high in pairwise(edges) if high > low]
