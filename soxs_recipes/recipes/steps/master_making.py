"""What soxs_mbias and soxs_mdark have in common: parameters, QC, preparing and combining."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.recipes.framework.declarations import Parameter

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU

    from soxs_recipes.fits_files import RawFrame
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.preparation import PreparedFrame
    from soxs_recipes.reduction.frames.master_frame import MasterFrame
    from soxs_recipes.reduction.frames.preparation import ReadoutReport
    from soxs_recipes.reduction.frames.reference_pixels import ReferencePattern

__all__ = ["MASTER_PARAMETERS", "MASTER_QC", "MadeMaster", "levels_hdu", "make_master", "master_qc"]

_AMPLIFIERS = 4
# The frames may scatter by this much more or less than the read noise says.
_NOISE_AGREEMENT = 0.15

MASTER_PARAMETERS = (
    Parameter(
        "stack-sigma",
        float,
        5.0,
        "sigma",
        "Values further from the median of their pixel than this are left out.",
        minimum=2.0,
    ),
    Parameter(
        "bad-pixel-sigma",
        float,
        4.0,
        "sigma",
        "A pixel that lies further from its surroundings than this (in noise of one frame) is hot or cold.",
        minimum=1.0,
    ),
    Parameter(
        "denoise",
        bool,
        True,
        "",
        "Replace most of the master's pixel noise by its smooth structure; real features stay.",
    ),
)

MASTER_QC = (
    QCDefinition("BADPIX NUM", "", "Pixels with any flag of the bad-pixel map."),
    QCDefinition("BADPIX FRAC", "", "BADPIX NUM over all pixels.", (0.0, 0.02)),
    QCDefinition("BADPIX NOISY", "", "Pixels that fluctuate more than their noise."),
    QCDefinition("BADPIX COLD", "", "Pixels far below their surroundings."),
    QCDefinition("RAW RON", "e-", "Noise of one frame, mean over the frames.", (0.0, 30.0)),
    QCDefinition("RAW RON SD", "e-", "Standard deviation of RAW RON over the frames."),
    *(
        QCDefinition(f"RAW RON AMP{number}", "e-", f"Noise of the unlit pixels of output {number}, mean.")
        for number in range(1, _AMPLIFIERS + 1)
    ),
    QCDefinition("MASTER RON", "e-", "Median noise of the master as delivered.", (0.0, 10.0)),
    QCDefinition("NOISE SCALE", "", "Measured over expected variance of one frame.", (0.7, 1.4)),
    QCDefinition("NOISE COST", "%", "Signal-to-noise lost to the master where read noise dominates.", (0.0, 20.0)),
    QCDefinition("STRUCTX", "e-/kpx", "Slope of the column means of the master."),
    QCDefinition("STRUCTY", "e-/kpx", "Slope of the row means of the master."),
    QCDefinition("STRUCT RMS", "e-", "Smooth structure with row and column profiles, rms."),
    QCDefinition("FPN RMS", "e-", "Fixed pixel-to-pixel pattern beyond the noise, rms.", (0.0, 5.0)),
    QCDefinition("FPN PEAK", "", "Largest periodic power along rows over that of white noise.", (0.0, 5.0)),
    QCDefinition("OVERSCAN DRIFT", "e-", "Largest range of the row level within a frame."),
    QCDefinition("LEVEL SD", "e-", "Standard deviation of the electronic level over the frames."),
    QCDefinition("DETECTOR TEMP", "K", "Detector temperature, first frame."),
    QCDefinition("CPATH TEMP", "C", "Common-path temperature, first frame."),
)


@dataclass(frozen=True, slots=True)
class MadeMaster:
    """A master and what went in.

    Attributes
    ----------
    master : MasterFrame
    reports : tuple of ReadoutReport
        One a frame that could be used.
    starts : tuple of float
        Their MJD-OBS.
    used : tuple of Path
        Their paths.
    pattern : ReferencePattern or None
    """

    master: MasterFrame
    reports: tuple[ReadoutReport, ...]
    starts: tuple[float, ...]
    used: tuple[Path, ...]
    pattern: ReferencePattern | None


def make_master(inputs: Inputs, parameters, tag: str, *, collects_charge: bool) -> MadeMaster:
    """Prepare the frames of a tag and build their master; frames without content are left out and named.

    UnprocessableData when none is left.
    """
    from soxs_recipes.reduction.frames.master_frame import build_master

    paths = inputs.raw(tag)
    raws: dict[Path, RawFrame] = {}
    pattern = _reference_pattern(inputs, paths, raws)
    prepared, used = _prepared(inputs, paths, raws, pattern)
    for note in dict.fromkeys(note for entry in prepared for note in entry.notes):
        inputs.note(note)
    master = build_master(
        [entry.frame for entry in prepared],
        clip_sigma=parameters["stack-sigma"],
        deviation_sigma=parameters["bad-pixel-sigma"],
        collects_charge=collects_charge,
        denoise=parameters["denoise"],
    )
    scale = master.statistics.noise_scale
    if abs(scale - 1.0) > _NOISE_AGREEMENT:
        inputs.note(
            f"the frames' variance is {scale:.2f} times what their read noise says; the measured one is used"
        )
    reports = tuple(entry.report for entry in prepared)
    starts = tuple(entry.frame.meta.mjd_start for entry in prepared)
    return MadeMaster(master, reports, starts, tuple(used), pattern)


def _prepared(
    inputs: Inputs, paths: list[Path], raws: dict[Path, RawFrame], pattern: ReferencePattern | None
) -> tuple[list[PreparedFrame], list[Path]]:
    from soxs_recipes.recipes.framework.preparation import prepare_detailed

    known = inputs.calibration("BP_MAP_REF")
    prepared, used, failures = [], [], []
    for path in paths:
        try:
            source = raws.pop(path, path)
            prepared.append(prepare_detailed(source, inputs.arm, bad_pixels=known, poisson=False, pattern=pattern))
            used.append(path)
            if prepared[-1].shortcoming:
                inputs.mark_partial(prepared[-1].shortcoming)
        except UnprocessableData as error:
            failures.append(error)
            inputs.mark_partial(f"left out: {error}")
    if not prepared:
        raise failures[0]
    return prepared, used


def _reference_pattern(inputs: Inputs, paths: list[Path], raws: dict[Path, RawFrame]) -> ReferencePattern | None:
    """What the reference pixels of all frames show, which then stand in `raws`; None for a CCD."""
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_raw
    from soxs_recipes.reduction.frames.reference_pixels import mean_pattern, reference_pattern

    border, shape = inputs.arm.detector.reference_border, inputs.arm.detector.raw_shape
    patterns = []
    for path in paths if border else ():
        try:
            raws[path] = raw = read_raw(path)
        except SoxsError:
            continue  # preparing it says why
        if raw.data.shape == shape:
            patterns.append(reference_pattern(raw.data, border))
    return mean_pattern([pattern for pattern in patterns if pattern is not None])


def master_qc(inputs: Inputs, made: MadeMaster) -> list[QCParameter]:
    """The QC parameters of MASTER_QC; the first four are those of the bad-pixel map."""
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag

    statistics, quality = made.master.statistics, made.master.bad_pixels
    bad = int(np.count_nonzero(quality))
    reports = made.reports
    noises = np.array(statistics.frame_noises)
    values = {
        "BADPIX NUM": bad,
        "BADPIX FRAC": bad / quality.size,
        "BADPIX NOISY": int(np.count_nonzero(quality & np.int32(QualityFlag.NOISY))),
        "BADPIX COLD": int(np.count_nonzero(quality & np.int32(QualityFlag.COLD))),
        "RAW RON": float(noises.mean()),
        "RAW RON SD": float(noises.std(ddof=1)) if noises.size > 1 else float("nan"),
        "MASTER RON": statistics.master_noise,
        "NOISE SCALE": statistics.noise_scale,
        "NOISE COST": 100.0 * statistics.noise_cost,
        "STRUCTX": statistics.slopes[0],
        "STRUCTY": statistics.slopes[1],
        "STRUCT RMS": statistics.structure_rms,
        "FPN RMS": statistics.pattern_rms,
        "FPN PEAK": statistics.pattern_peak,
        "OVERSCAN DRIFT": max(report.drift for report in reports),
        "LEVEL SD": float(np.std([report.level for report in reports])),
        "DETECTOR TEMP": _number(inputs.keyword("DETECTOR_TEMPERATURE")),
        "CPATH TEMP": _number(inputs.keyword("COMMON_PATH_TEMPERATURE")),
    }
    amplifiers = min((len(report.noise) for report in reports), default=0)
    for number in range(min(amplifiers, _AMPLIFIERS)):
        values[f"RAW RON AMP{number + 1}"] = float(np.mean([report.noise[number] for report in reports]))
    return [QCParameter(name, value) for name, value in values.items()]


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def levels_hdu(made: MadeMaster) -> BinTableHDU:
    """Table LEVELS: name, level, noise and drift of each frame."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    reports = made.reports
    columns = {
        "FRAME": np.array([path.name for path in made.used]),
        "MJD_OBS": np.array(made.starts),
        "LEVEL": np.array([report.level for report in reports]),
        "READ_NOISE": np.array(made.master.statistics.frame_noises),
        "UNLIT_NOISE": np.array([np.mean(report.noise) if report.noise else np.nan for report in reports]),
        "DRIFT": np.array([report.drift for report in reports]),
    }
    units = dict.fromkeys(("LEVEL", "READ_NOISE", "UNLIT_NOISE", "DRIFT"), "electron") | {"MJD_OBS": "d"}
    comments = {
        "LEVEL": "mean electronic level that was subtracted",
        "READ_NOISE": "noise of the frame about the others",
        "UNLIT_NOISE": "noise of overscan or reference pixels",
        "DRIFT": "range of the row level",
    }
    return table_hdu("LEVELS", columns, units, comments)
