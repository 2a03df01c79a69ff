"""soxs_mbias: the master bias of a CCD."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Product, RawInput
from soxs_recipes.recipes.steps.master_making import (
    MASTER_PARAMETERS,
    MASTER_QC,
    levels_hdu,
    make_master,
    master_qc,
)

__all__ = ["MasterBias"]


class MasterBias(Recipe):
    """Combines biases into structure about the overscan level, with true variance and bad pixels."""

    declaration = Declaration(
        name="soxs_mbias",
        synopsis="Combine biases into a master bias.",
        description=(
            "The overscan level of each bias is subtracted, row by row where it drifts; the frames are combined "
            "pixel by pixel without outliers. The product holds the structure that remains about the overscan "
            "level: other frames subtract their own overscan first, then this. The level itself is in its LEVELS "
            "extension (BIASLEVL), which also keeps level and read noise of each frame; for biases without "
            "overscan the level stays in the pixels (OVERSCAN = F).\n\n"
            "With `denoise` the pixels move towards a smooth surface with row and column profiles unless they, or "
            "a piece of their column, row or surroundings, really deviate. This takes away most of the noise that "
            "the master would add to each frame (20 % of the read-noise variance with five biases); what is left "
            "is QC NOISE COST. Errors stay true either way.\n\n"
            "Bad pixels are found by what they do over the frames, with less than one false flag in 1e5 pixels."
        ),
        raws=(RawInput("BIAS_<ARM>", "bias frames", recommended=5, agree=("READ_MODE_ID",), detector="ccd"),),
        calibrations=(
            CalibrationInput("BP_MAP_REF_<ARM>", "bad pixels that are known", static=True, agree_binning=False),
        ),
        parameters=MASTER_PARAMETERS,
        products=(
            Product("MASTER_BIAS_<ARM>", "structure of the bias about the overscan level"),
            Product("BP_MAP_RP_<ARM>", "bad pixels seen on biases"),
        ),
        qc=(
            QCDefinition("MBIAS MEDIAN", "e-", "Median bias, electronic level included.", (0.0, 20000.0)),
            *MASTER_QC,
            QCDefinition("PRESCAN DIFF", "e-", "Overscan level minus prescan level, mean.", (-50.0, 50.0)),
        ),
        algorithm_version=5,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, combine, judge pixels, denoise."""
        import numpy as np

        from soxs_recipes.fits_files import image_hdus, quality_hdus

        made = make_master(inputs, parameters, "BIAS", collects_charge=False)
        reports, statistics = made.reports, made.master.statistics
        level = float(np.mean([report.level for report in reports]))
        contained = not all(report.subtracted for report in reports)
        qc = [
            *master_qc(inputs, made),
            QCParameter("MBIAS MEDIAN", statistics.median if contained else statistics.median + level),
            QCParameter("PRESCAN DIFF", float(np.mean([report.prescan_difference for report in reports]))),
        ]
        levels = levels_hdu(made)
        levels.header["OVERSCAN"] = (not contained, "the overscan level was subtracted from FLUX")
        levels.header["BIASLEVL"] = (statistics.median if contained else level, "[e-] electronic level")
        outputs.add("MASTER_BIAS", [*image_hdus(made.master.frame), levels], qc=qc, used=made.used)
        outputs.add("BP_MAP_RP", quality_hdus(made.master.bad_pixels), qc=qc[:4], used=made.used)
