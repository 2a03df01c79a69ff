"""soxs_line_check: wavelengths held against the lines of the night sky and the bands of the atmosphere."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput
from soxs_recipes.recipes.steps.object_declarations import OBJECT_CALIBRATIONS, ON_SKY_TAGS

__all__ = ["LineCheck"]

_QC = (
    QCDefinition("SHIFT", "px", "Shift along the dispersion by sky lines.", per_order=True),
    QCDefinition("ERR", "px", "Error of SHIFT.", per_order=True),
    QCDefinition("N LINES", "", "Sky lines used.", per_order=True),
    QCDefinition("LINE SCATTER", "px", "Robust scatter of the lines about SHIFT."),
    QCDefinition("SCALE", "px", "What a linear change along the orders adds at their ends."),
    QCDefinition("SCALE ERR", "px", "Error of SCALE."),
    QCDefinition("R SKY", "", "Resolving power by the sky lines, pixels' width taken out.", per_order=True),
    QCDefinition(
        "TEMPLATE SHIFT", "px", "Shift by all faint lines of an order where none stands alone.", per_order=True
    ),
    QCDefinition("TEMPLATE ERR", "px", "Error of TEMPLATE SHIFT.", per_order=True),
    QCDefinition("TELL SHIFT", "px", "Shift of the target's light by telluric bands.", per_order=True),
    QCDefinition("TELL ERR", "px", "Error of TELL SHIFT.", per_order=True),
    QCDefinition("ACROSS", "px", "Shift of the slit's ends across the dispersion."),
    QCDefinition("ACROSS ERR", "px", "Error of ACROSS."),
    QCDefinition("APPLIED", "px", "Of SHIFT, what is corrected: in the product, or when it was made."),
    QCDefinition("APPLIED ACROSS", "px", "Of ACROSS, what is corrected."),
    QCDefinition("VELOCITY", "km/s", "Of wavelengths after correction against sky lines or tellurics."),
    QCDefinition("VELOCITY ERR", "km/s", "Error of VELOCITY."),
    QCDefinition("ARMS DIFF", "km/s", "VELOCITY minus that of the other arm.", (-3.0, 3.0)),
    QCDefinition("ARMS DIFF ERR", "km/s", "Error of ARMS DIFF."),
    QCDefinition("MJD MID", "d", "Middle of the exposure, of several weighted by time."),
    QCDefinition("SYNC DIFF", "s", "MJD MID after that of the other arm."),
    QCDefinition("N ORDERS BY ARM", "", "Orders without lines that take the arm's shift."),
)


class LineCheck(Recipe):
    """Measures shift, scale and resolution by the sky, per exposure, arm and order."""

    declaration = Declaration(
        name="soxs_line_check",
        synopsis="Check wavelengths against sky lines and telluric bands, and correct them.",
        description=(
            "Takes either extracted spectra (ORDER1D: the sky under the target and the target itself) or raw "
            "exposures of any mode with the calibrations that soxs_stare takes; in a nod each beam shows its sky. "
            "All orders together tell by how much the lines are shifted about; each isolated line is then fitted "
            "by itself. The shift of the arm is their mean, weighted by the errors of centring and of the "
            "listed wavelengths, outliers left out; orders have theirs beside it, those without lines take the "
            "arm's, marked in the table; a template of all their faint lines is held against their sky to check. "
            "A wide slit, in which lines run together, is compared with such a template everywhere. The shift "
            "across the dispersion is that of the slit's ends in the sky's own lines against "
            "the flat's; since lines are tilted, it is taken out of the shift along.\n\n"
            "Bands of O2, H2O, CO2 and CH4 in the target's own light tell where it stands in the slit along the "
            "dispersion, and replace sky lines where there are none (bright stars, short exposures).\n\n"
            "A shift beyond 2 sigma and 0.05 px is corrected: raw exposures give a DISP_TAB_2D that holds for "
            "this exposure, spectra are written again with their wavelengths moved. With the LINE_CHECK of the "
            "other arm the two are compared, their mid-times, too."
        ),
        raws=(
            RawInput(
                "<KIND>_SLIT_ORDER1D_<ARM>", "spectra per order with their sky", required=False, one_of="light"
            ),
            *(RawInput(tag, text, required=False, one_of="light") for tag, text in ON_SKY_TAGS),
        ),
        calibrations=(
            *OBJECT_CALIBRATIONS,
            CalibrationInput("TELLURIC_TRANSMISSION", "molecular bands", static=True, agree_binning=False),
            CalibrationInput(
                "LINE_CHECK_<ARM>",
                "line check of the other arm",
                ladder="arms are not compared",
                made_by="soxs_line_check",
                agree_binning=False,
                any_arm=True,
            ),
        ),
        parameters=(
            Parameter("search", float, 3.0, "px", "Largest shift that is looked for.", minimum=1.0, maximum=20.0),
            Parameter("correct", bool, True, "", "Write a corrected solution, or corrected spectra."),
            Parameter("use-tellurics", bool, True, "", "Measure telluric bands in the target's light."),
            Parameter("subtract-background", bool, True, "", "Subtract the light between the orders."),
        ),
        products=(
            Product("LINE_CHECK_<ARM>", "shift of every line and order", kind="table"),
            Product("DISP_TAB_2D_<ARM>", "2-D solution of this exposure", kind="table", always=False),
            Product("<KIND>_SLIT_ORDER1D_<ARM>", "spectra, wavelengths moved", kind="spectrum", always=False),
        ),
        qc=_QC,
        algorithm_version=6,
    )

    def process(self, inputs, parameters, outputs):
        """Measure each product or exposure, compare, correct, write down."""
        from soxs_recipes.recipes.steps.line_check_steps import check_exposures, check_spectra, write_check

        spectra = inputs.raw("SLIT_ORDER1D")
        checks = check_spectra(inputs, spectra, parameters)
        checks += check_exposures(inputs, [p for p in inputs.all_raw if p not in spectra], parameters)
        for check in checks:
            write_check(inputs, outputs, check, correct=parameters["correct"])
