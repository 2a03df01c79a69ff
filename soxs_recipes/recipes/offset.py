"""soxs_offset: objects whose sky was exposed apart from them."""

from __future__ import annotations

import math
from pathlib import Path

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import Declaration, Parameter, RawInput
from soxs_recipes.recipes.steps.beams import BEAM_PARAMETERS, BEAM_QC, reduce_beams
from soxs_recipes.recipes.steps.differences import BeamSequence, header_number, shots_of
from soxs_recipes.recipes.steps.object_declarations import (
    EXTRACTION_PARAMETERS,
    IMAGE_PRODUCTS,
    OBJECT_CALIBRATIONS,
    OBJECT_QC,
    OBJECT_SETUP,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
    USER_ARC_CALIBRATIONS,
    USER_ARC_PARAMETERS,
    exposures_of_mode,
)

__all__ = ["Offset"]

_APART = 3.0  # arcsec: farther than this from the position of no offset nothing of the object is on the slit


class Offset(Recipe):
    """Subtracts the sky that was exposed beside the object and extracts the object."""

    declaration = Declaration(
        name="soxs_offset",
        synopsis="Reduce exposures with the sky apart: fixed offset or any pattern, combination, flux.",
        description=(
            "Which exposures show sky is told by sky-frames, by the type in the header, by the cumulative "
            "offsets (exposures near zero show the object) or by the fixed offset; where the last is not borne "
            "out by what is seen on the slit, the roles are exchanged, and that is said. From each exposure of "
            "the object the sky nearest in time is subtracted, or that interpolated between the two around it, "
            "scaled by exposure time. What the sky changed by meanwhile is fitted together with the object, on "
            "the detector's own pixels, with the noise of all light that fell on the exposures.\n\n"
            "Only the object's exposures are extracted; several are averaged with outliers between them left "
            "out, and with the noise that they share where the same sky served twice. Without any sky exposure "
            "the sky of the exposure itself is fitted as in stare mode, and the products are marked."
        ),
        raws=(
            *exposures_of_mode("OFFSET"),
            RawInput("SKY_OFFSET_<ARM>", "sky apart from the object", required=False, agree=OBJECT_SETUP),
        ),
        calibrations=(*OBJECT_CALIBRATIONS, *RESPONSE_CALIBRATIONS, *USER_ARC_CALIBRATIONS),
        parameters=(
            *EXTRACTION_PARAMETERS,
            *USER_ARC_PARAMETERS,
            Parameter(
                "sky-frames",
                str,
                "",
                "",
                "Exposures that show sky: numbers in order of time or file names; headers tell when empty.",
                group="exposures",
            ),
            Parameter(
                "sky-choice",
                str,
                "interpolated",
                "",
                "Sky that is subtracted: nearest in time or interpolated between two.",
                choices=("interpolated", "nearest"),
                group="exposures",
            ),
            *BEAM_PARAMETERS,
        ),
        products=(*SPECTRUM_PRODUCTS, *IMAGE_PRODUCTS),
        qc=(*OBJECT_QC, *BEAM_QC),
        algorithm_version=25,
    )

    def process(self, inputs, parameters, outputs):
        """Tell sky from object, subtract, extract, combine, merge, calibrate."""
        paths = inputs.all_raw
        sky, certain = _sky_exposures(inputs, paths, parameters["sky-frames"])
        interpolate = parameters["sky-choice"] == "interpolated"
        turned = None
        if sky and not certain:
            others = [i for i in range(len(paths)) if i not in sky]
            turned = _sequence(inputs, paths, others, interpolate)
        reduce_beams(inputs, parameters, outputs, _sequence(inputs, paths, sky, interpolate), turned)


def _sequence(inputs, paths, sky, interpolate) -> BeamSequence:
    from dataclasses import replace

    from soxs_recipes.reduction.exposures.beams import skies_of

    # The object stays on the slit; what lies beyond its ends is no offset along it.
    half = 0.5 * inputs.arm.slit_length
    shots = [shot if abs(shot.offset) < half else replace(shot, offset=0.0) for shot in shots_of(inputs, paths)]
    sky_set = set(sky)

    def rule(usable):
        seen = [i for i in usable if i not in sky_set]
        return skies_of(shots, seen, [i for i in usable if i in sky_set], interpolate=interpolate), []

    return BeamSequence(paths, shots, rule)


def _sky_exposures(inputs, paths: list[Path], asked: str) -> tuple[list[int], bool]:
    """Indices of the exposures that show sky, and whether that is sure."""
    if asked.strip():
        return _asked_for(inputs, paths, asked), True
    tagged = set(inputs.raw("SKY_OFFSET"))
    sky = [i for i, path in enumerate(paths) if path in tagged]
    if sky:
        return sky, True
    ways = (
        ("cumulative offsets", "CUMULATIVE_OFFSET_X", "CUMULATIVE_OFFSET_Y", math.hypot, _APART, True),
        ("fixed offsets", "OFFSET_RA", "OFFSET_DEC", lambda x, y: x + y, 0.0, False),
    )
    for name, first, second, measure, limit, certain in ways:
        values = [
            measure(*(value if math.isfinite(value) else 0.0 for value in _pair(inputs, path, first, second)))
            for path in paths
        ]
        sky = [i for i, value in enumerate(values) if value > limit or (not certain and value >= limit)]
        if 0 < len(sky) < len(paths):
            shown = ", ".join(paths[i].name for i in sky)
            inputs.note(f"the {name} in the headers say that sky is shown by {shown}")
            return sky, certain
    return [], True


def _pair(inputs, path, first, second):
    return header_number(inputs, first, path), header_number(inputs, second, path)


def _asked_for(inputs, paths: list[Path], asked: str) -> list[int]:
    """Indices of the exposures named by number (from 1) or file name."""
    chosen = set()
    for word in (word.strip() for word in asked.split(",")):
        if word.isdigit() and 1 <= int(word) <= len(paths):
            chosen.add(int(word) - 1)
            continue
        named = [i for i, path in enumerate(paths) if word and Path(word).name in (path.name, path.stem)]
        if not named:
            raise InputError(
                f"{inputs.declaration.name}: sky-frames = {asked}: no exposure is {word!r}; give numbers from 1 "
                f"to {len(paths)} or file names"
            )
        chosen.update(named)
    if len(chosen) == len(paths):
        raise InputError(f"{inputs.declaration.name}: sky-frames = {asked}: no exposure of the object is left")
    return sorted(chosen)
