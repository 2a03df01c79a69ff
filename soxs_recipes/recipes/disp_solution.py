"""soxs_disp_solution: the first dispersion solution, from arcs through a single pinhole."""

from __future__ import annotations

from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import Declaration, Product, RawInput
from soxs_recipes.recipes.steps.arc_frames import (
    ARC_CALIBRATIONS,
    ARC_PARAMETERS,
    ARC_QC,
    arc_frame,
    arc_qc,
    arc_settings,
    line_columns,
    line_list,
    name_missing,
)

__all__ = ["DispersionSolutionRecipe"]


class DispersionSolutionRecipe(Recipe):
    """Identifies and measures arc lines and fits (order, wavelength) -> (x, y)."""

    declaration = Declaration(
        name="soxs_disp_solution",
        synopsis="Find the dispersion solution on arcs through a single pinhole.",
        description=(
            "The spectral format predicts where the lamp lines fall. The frame's shift against it is found by "
            "itself (every pair of predicted line and detected spot votes), then its smooth distortion, then the "
            "lines one by one. Centres come from fits of Gaussians integrated over pixels, all close lines "
            "together, weighted by the model's own noise; what unresolved neighbours may do to a centre is added "
            "to its error.\n\n"
            "The solution is the format plus a smooth correction: Legendre polynomials whose degrees left-out "
            "lines choose within the given bounds, robust against wrong lines, with errors of listed wavelengths "
            "shared by all appearances of a line. Beyond the last line it goes over into the format's shape. "
            "UV-VIS orders are fitted one by one, NIR orders together.\n\n"
            "The LINES extension says of every listed line where it was predicted, measured and fitted, and why "
            "it was not used. An order without lines keeps the format's shape and the product is PARTIAL. Several "
            "frames (lamps lit one after the other) are added."
        ),
        raws=(
            RawInput("WAVE_PIN_<ARM>", "single-pinhole arc", detector="ccd", agree=("READ_MODE_ID",)),
            RawInput("WAVE_PIN_<ARM>_ON", "single-pinhole arc, lamps on", detector="infrared"),
            RawInput("WAVE_PIN_<ARM>_OFF", "the same with the lamps off", required=False, detector="infrared"),
        ),
        calibrations=ARC_CALIBRATIONS,
        parameters=ARC_PARAMETERS,
        products=(Product("DISP_TAB_<ARM>", "dispersion solution at mid-slit, with its lines", kind="table"),),
        qc=ARC_QC,
        algorithm_version=4,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, solve, write down."""
        from soxs_recipes.fits_files import dispersion_solution_hdus, read_dispersion_solution
        from soxs_recipes.reduction.dispersion.arc_lines import solve_arc

        frame, used = arc_frame(inputs, "WAVE_PIN")
        prior = read_dispersion_solution(inputs.calibration("SPECTRAL_FORMAT")).rebinned(frame.meta.binning)
        result = solve_arc(
            frame.data,
            frame.variance,
            frame.usable,
            prior,
            line_list(inputs),
            dispersion_axis=inputs.arm.dispersion_axis,
            common_shift=inputs.arm.echelle,
            smooth_orders=inputs.arm.echelle,
            settings=arc_settings(parameters),
        )
        name_missing(inputs, result)
        hdus = dispersion_solution_hdus(result.solution, *line_columns(inputs, result.lines))
        outputs.add("DISP_TAB", hdus, qc=arc_qc(inputs, result), used=used)
