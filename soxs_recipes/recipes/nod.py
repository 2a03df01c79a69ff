"""soxs_nod: objects nodded along the slit, each exposure's sky measured by another."""

from __future__ import annotations

import math

from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import Declaration, Parameter
from soxs_recipes.recipes.steps.beams import BEAM_PARAMETERS, BEAM_QC, reduce_beams
from soxs_recipes.recipes.steps.differences import BeamSequence, shots_of
from soxs_recipes.recipes.steps.object_declarations import (
    EXTRACTION_PARAMETERS,
    IMAGE_PRODUCTS,
    OBJECT_CALIBRATIONS,
    OBJECT_QC,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
    USER_ARC_CALIBRATIONS,
    USER_ARC_PARAMETERS,
    exposures_of_mode,
)

__all__ = ["Nod"]


class Nod(Recipe):
    """Subtracts exposures of opposite beams from one another and extracts both beams."""

    declaration = Declaration(
        name="soxs_nod",
        synopsis="Reduce exposures nodded along the slit: pairs, both beams, combination, flux.",
        description=(
            "Exposures are paired by time and by their offsets along the slit, in any pattern (AB, ABBA, with "
            "jitter, of any length): each with the nearest one that stands at least an arcsecond away. One that "
            "is left over is reduced with the nearest exposure of another beam. Without offsets in the headers "
            "exposures are taken to alternate, with beams where light is seen. The difference of a pair is "
            "free of all that both have in common; both beams and what the sky changed by are fitted in it "
            "together on the detector's own pixels, with the noise of all light that fell on both exposures.\n\n"
            "Where the target stands, and whether offsets run with the slit or against it, is found from all "
            "pairs together, shifted by their offsets and added. Each beam is extracted on its own trace; all "
            "beams are averaged with outliers between them left out, and with the noise that they share. A pair "
            "that cannot be used is named and left out. SKYSUB is the difference without the rest of the sky, "
            "SKYMODEL that rest, SKY1D the sky of the other beam."
        ),
        raws=exposures_of_mode("NOD"),
        calibrations=(*OBJECT_CALIBRATIONS, *RESPONSE_CALIBRATIONS, *USER_ARC_CALIBRATIONS),
        parameters=(
            *EXTRACTION_PARAMETERS,
            *USER_ARC_PARAMETERS,
            Parameter(
                "use-odd",
                bool,
                True,
                "",
                "Reduce an exposure without a partner with the nearest of another beam; else leave it out.",
                group="exposures",
            ),
            *BEAM_PARAMETERS,
        ),
        products=(*SPECTRUM_PRODUCTS, *IMAGE_PRODUCTS),
        qc=(*OBJECT_QC, *BEAM_QC),
        algorithm_version=25,
    )

    def process(self, inputs, parameters, outputs):
        """Pair, subtract, extract both beams, combine, merge, calibrate."""
        from soxs_recipes.reduction.exposures.beams import Subtraction, pair_beams

        paths = inputs.all_raw
        shots = shots_of(inputs, paths)
        if not all(math.isfinite(shot.offset) for shot in shots):
            inputs.mark_partial(
                "no ESO SEQ CUMOFF Y in the headers: exposures are taken to alternate, beams to be where seen"
            )

        odd = []

        def rule(usable):
            pairs, left = pair_beams([shots[i] for i in usable], use_odd=parameters["use-odd"])
            odd.clear()
            if not pairs:
                return [Subtraction(i, (), (), both=False) for i in usable], []
            pairs = [
                Subtraction(usable[p.plus], tuple(usable[i] for i in p.minus), p.shares, p.both) for p in pairs
            ]
            odd[:] = [pair for pair in pairs if not pair.both]
            return pairs, [usable[i] for i in left]

        reduce_beams(inputs, parameters, outputs, BeamSequence(paths, shots, rule))
        for pair in odd:
            other = paths[pair.minus[0]].name
            inputs.note(f"{paths[pair.plus].name} has no partner: {other} is subtracted a second time")
