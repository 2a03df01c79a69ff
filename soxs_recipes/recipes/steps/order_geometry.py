"""What soxs_order_centres and soxs_mflat have in common: the optical model, and lamp-off frames or darks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.recipes.framework.declarations import CalibrationInput
from soxs_recipes.recipes.steps.linearity_correction import LINEARITY_CALIBRATIONS, curves_of, known_bad_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soxs_recipes.data.dispersion_solution import DispersionSolution
    from soxs_recipes.data.frame import Frame
    from soxs_recipes.recipes.framework.inputs import Inputs

__all__ = [
    "LAMP_CALIBRATIONS",
    "dispersion_solution",
    "full_ranges",
    "lamp_exposures",
]

_SAME_TIME = 0.01  # relative difference of exposure times that count as equal

_log = logging.getLogger(__name__)

LAMP_CALIBRATIONS = (
    CalibrationInput(
        "MASTER_BIAS_<ARM>",
        "master bias",
        ladder="only the overscan level is subtracted",
        made_by="soxs_mbias",
        detector="ccd",
        agree=("READ_MODE_ID",),
    ),
    CalibrationInput(
        "MASTER_DARK_<ARM>",
        "master dark",
        ladder="lamp-off frames are subtracted",
        made_by="soxs_mdark",
        detector="infrared",
        agree=("READ_MODE_ID",),
    ),
    CalibrationInput("BP_MAP_REF_<ARM>", "bad pixels that are known", static=True, agree_binning=False),
    *LINEARITY_CALIBRATIONS,
    CalibrationInput(
        "SPECTRAL_FORMAT_<ARM>", "where wavelengths fall by the optical model", static=True, agree_binning=False
    ),
)


def full_ranges(inputs: Inputs) -> dict[int, tuple[float, float]]:
    """Full wavelength range [nm] of each order."""
    return {order.number: (order.wavelength_min_full, order.wavelength_max_full) for order in inputs.arm.orders}


def dispersion_solution(inputs: Inputs, tags: Sequence[str]) -> tuple[DispersionSolution, bool]:
    """(the first solution there is of some tags, True), else (the spectral format's, False)."""
    from soxs_recipes.fits_files import read_dispersion_solution

    for tag in tags:
        path = inputs.calibration(tag)
        if path is not None:
            return read_dispersion_solution(path), True
    return read_dispersion_solution(inputs.calibration("SPECTRAL_FORMAT")), False


def lamp_exposures(
    inputs: Inputs, paths: Sequence[Path], off_paths: Sequence[Path], *, photon_noise: bool
) -> tuple[list[Frame], list[Frame], list[Path]]:
    """Prepared lamp-on frames, lamp-off frames (empty when a dark was subtracted), and the on frames used.

    Bias or, where no lamp-off frame of the same exposure time is given, dark is subtracted. Frames without
    content are left out and named; the last error is raised when none is left.
    """
    detector = inputs.arm.detector
    bias = inputs.calibration("MASTER_BIAS") if detector.has_bias else None
    dark = None if detector.has_bias else inputs.calibrations("MASTER_DARK") or None
    if detector.has_bias and bias is None:
        inputs.mark_partial("no MASTER_BIAS: only the overscan level is subtracted")
    bad_pixels = _bad_pixels(inputs, dark)
    given_off, off_paths = off_paths, _of_same_time(inputs, paths, off_paths)
    off = _prepared(inputs, off_paths, bias, None, bad_pixels, photon_noise=photon_noise)[0]
    if not detector.has_bias and not off:
        if dark is None:
            which = "lamp-off frames of equal exposure time" if given_off else "lamp-off frames"
            inputs.mark_partial(f"neither {which} nor MASTER_DARK: dark and background are not subtracted")
        else:
            inputs.note("no lamp-off frames of equal exposure time: MASTER_DARK is subtracted")
    on, used, failures = _prepared(
        inputs, paths, bias, None if off else dark, bad_pixels, photon_noise=photon_noise
    )
    if not on:
        raise failures[-1]
    return on, off, used


def _of_same_time(inputs, paths, off_paths) -> list[Path]:
    """Lamp-off frames whose exposure time is that of the lamp-on frames."""
    wanted = [float(inputs.keyword("EXPTIME", path, 0.0)) for path in paths]
    kept = []
    for path in off_paths:
        time = float(inputs.keyword("EXPTIME", path, 0.0))
        if all(abs(time - value) <= max(_SAME_TIME * value, 0.01) for value in wanted):
            kept.append(path)
        else:
            note = f"{Path(path).name} is left out: lamp-off of {time:g} s, lamp-on of {wanted[0]:g} s"
            inputs.note(note)
            _log.warning("%s: %s", inputs.declaration.name, note)
    return kept


def _bad_pixels(inputs, darks):
    """Quality bits of the reference map, with those of a dark that is not subtracted but knows hot pixels."""
    from soxs_recipes.fits_files import read_frame, read_quality

    known = known_bad_pixels(inputs)
    if not darks:
        return known
    bits = read_frame(darks[0]).quality
    reference = read_quality(known) if isinstance(known, Path) else known
    return bits | reference if reference is not None and reference.shape == bits.shape else bits


def _prepared(inputs, paths, bias, dark, bad_pixels, *, photon_noise):
    from soxs_recipes.recipes.framework.preparation import prepare_detailed

    frames, used, notes, failures = [], [], [], []
    curves = curves_of(inputs)
    for path in paths:
        try:
            prepared = prepare_detailed(
                path,
                inputs.arm,
                master_bias=bias,
                dark=dark,
                bad_pixels=bad_pixels,
                linearity=curves,
                poisson=photon_noise,
            )
        except (InputError, UnprocessableData) as error:
            inputs.mark_partial(f"left out: {error}")
            failures.append(error)
            continue
        frames.append(prepared.frame)
        used.append(path)
        if prepared.shortcoming:
            inputs.mark_partial(prepared.shortcoming)
        notes += prepared.notes
    for note in dict.fromkeys(notes):
        inputs.note(note)
    return frames, used, failures
