"""soxs_mdark: the master dark of an infrared array."""

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

__all__ = ["MasterDark"]


class MasterDark(Recipe):
    """Combines darks of one exposure time, with true variance and hot pixels."""

    declaration = Declaration(
        name="soxs_mdark",
        synopsis="Combine darks of one exposure time into a master dark.",
        description=(
            "Each dark is corrected by its reference pixels; the pattern that these show in all frames is kept "
            "beside the product, so that other frames are corrected for deviations from it only. The frames are "
            "combined pixel by pixel without outliers (cosmic rays).\n\n"
            "With `denoise` the pixels move towards a smooth surface with row and column profiles unless they, or "
            "a piece of their column, row or surroundings, really deviate: hot pixels and glow stay, most of the "
            "noise goes. What is left costs QC NOISE COST. Errors stay true either way.\n\n"
            "Darks of different exposure times are refused: the dark of this detector is not proportional to time."
        ),
        raws=(
            RawInput(
                "DARK_<ARM>",
                "dark frames of one exposure time",
                recommended=5,
                agree=("EXPTIME", "READ_MODE_ID"),
                detector="infrared",
            ),
        ),
        calibrations=(
            CalibrationInput("BP_MAP_REF_<ARM>", "bad pixels that are known", static=True, agree_binning=False),
        ),
        parameters=MASTER_PARAMETERS,
        products=(
            Product("MASTER_DARK_<ARM>", "dark signal of one exposure time"),
            Product("BP_MAP_RP_<ARM>", "hot and noisy pixels seen on darks"),
        ),
        qc=(
            QCDefinition("MDARK MEDIAN", "e-", "Median dark signal.", (-50.0, 100.0)),
            QCDefinition("DARK RATE", "e-/s", "Median dark signal over exposure time."),
            QCDefinition("HOTPIX NUM", "", "Pixels with a dark signal far above their surroundings."),
            QCDefinition("HOTPIX FRAC", "", "HOTPIX NUM over all pixels.", (0.0, 0.02)),
            *MASTER_QC,
        ),
        algorithm_version=5,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, combine, judge pixels, denoise."""
        import numpy as np

        from soxs_recipes.data.quality import QualityFlag
        from soxs_recipes.fits_files import image_hdus, quality_hdus
        from soxs_recipes.recipes.framework.preparation import reference_hdus

        made = make_master(inputs, parameters, "DARK", collects_charge=True)
        frame, median = made.master.frame, made.master.statistics.median
        hot = int(np.count_nonzero(made.master.bad_pixels & np.int32(QualityFlag.HOT)))
        time = frame.meta.exposure_time
        qc = [
            *master_qc(inputs, made),
            QCParameter("HOTPIX NUM", hot),
            QCParameter("HOTPIX FRAC", hot / frame.data.size),
            QCParameter("MDARK MEDIAN", median),
            QCParameter("DARK RATE", median / time if time > 0 else float("nan")),
        ]
        hdus = [*image_hdus(frame), levels_hdu(made), *reference_hdus(made.pattern)]
        outputs.add("MASTER_DARK", hdus, qc=qc, used=made.used)
        outputs.add("BP_MAP_RP", quality_hdus(made.master.bad_pixels), qc=[*qc[:4], *qc[-4:-2]], used=made.used)
