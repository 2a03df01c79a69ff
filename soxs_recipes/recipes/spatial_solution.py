"""soxs_spatial_solution: the two-dimensional solution and the pixel maps, from arcs through nine pinholes."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput
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
    slit_geometry,
)
from soxs_recipes.recipes.steps.order_geometry import dispersion_solution, full_ranges

__all__ = ["SpatialSolution"]

_SHIFT_ALONG_SLIT = 12.0  # [unbinned px] hardly more between single- and multi-pinhole frames; breaks ties only


class SpatialSolution(Recipe):
    """Adds the slit to the dispersion solution and reads it backwards at every pixel."""

    declaration = Declaration(
        name="soxs_spatial_solution",
        synopsis="Find the 2-D solution on multi-pinhole arcs, and wavelength and slit position of every pixel.",
        description=(
            "As soxs_disp_solution, with all pinholes of the mask. The single-pinhole solution says which pinhole "
            "is which: it lies at slit position 0. Tilt, scale and curvature of the slit's image are fitted with "
            "the dispersion; left-out lines choose how they may change along the orders. Missing pinholes or an "
            "order without lines degrade the solution and never stop it.\n\n"
            "The pixel maps (DISP_IMAGE) hold wavelength, slit position and order of every pixel inside the edges "
            "of the orders, or inside the slit's length where no edges are given. They close to better than 0.005 "
            "px without holes."
        ),
        raws=(
            RawInput("WAVE_MPH_<ARM>", "multi-pinhole arc", detector="ccd", agree=("READ_MODE_ID",)),
            RawInput("WAVE_MPH_<ARM>_ON", "multi-pinhole arc, lamps on", detector="infrared"),
            RawInput("WAVE_MPH_<ARM>_OFF", "the same with the lamps off", required=False, detector="infrared"),
        ),
        calibrations=(
            CalibrationInput(
                "DISP_TAB_<ARM>",
                "single-pinhole dispersion solution",
                ladder="the spectral format predicts the lines",
                made_by="soxs_disp_solution",
                agree_binning=False,
            ),
            CalibrationInput(
                "ORDER_TAB_EDGES_<ARM>",
                "edges of the orders",
                ladder="pixel maps reach as far as the slit is long",
                made_by="soxs_mflat",
                agree_binning=False,
            ),
            CalibrationInput(
                "ORDER_TAB_CENTR_<ARM>",
                "centres of the orders",
                ladder="not needed",
                made_by="soxs_order_centres",
                agree_binning=False,
            ),
            *ARC_CALIBRATIONS,
        ),
        parameters=(
            *ARC_PARAMETERS,
            Parameter(
                "slit-deg",
                int,
                2,
                "",
                "Highest degree along the slit; the lines choose within it.",
                minimum=1,
                maximum=3,
                group="fit",
            ),
        ),
        products=(
            Product("DISP_TAB_2D_<ARM>", "dispersion solution over the slit, with its lines", kind="table"),
            Product("DISP_IMAGE_<ARM>", "wavelength, slit position and order of every pixel", kind="image"),
        ),
        qc=(
            *ARC_QC,
            QCDefinition("PINHOLE COUNT", "", "Median number of pinholes a line.", (5.0, 9.5), per_order=True),
            QCDefinition(
                "SLIT SCALE", "arcsec/px", "Scale along the slit, mid-order.", (0.1, 2.0), per_order=True
            ),
            QCDefinition(
                "SLIT TILT", "deg", "Tilt of the slit's image, mid-order.", (-45.0, 45.0), per_order=True
            ),
            QCDefinition("R PIN ENDS", "", "Resolving power near both ends of the slit.", per_order=True),
        ),
        algorithm_version=4,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, solve, invert, write down."""
        from soxs_recipes.fits_files import dispersion_solution_hdus, pixel_maps_hdus
        from soxs_recipes.reduction.dispersion.arc_lines import solve_arc

        frame, used = arc_frame(inputs, "WAVE_MPH")
        prior, own = dispersion_solution(inputs, ("DISP_TAB",))
        if not own:
            inputs.mark_partial("no DISP_TAB: the spectral format alone says which pinhole is which")
        across_binning = frame.meta.binning[1 - inputs.arm.dispersion_axis]
        result = solve_arc(
            frame.data,
            frame.variance,
            frame.usable,
            prior.rebinned(frame.meta.binning),
            line_list(inputs),
            slit_positions=inputs.arm.pinhole_positions,
            dispersion_axis=inputs.arm.dispersion_axis,
            common_shift=own or inputs.arm.echelle,
            smooth_orders=inputs.arm.echelle,
            settings=arc_settings(
                parameters,
                slit_degrees=(1, parameters["slit-deg"]),
                shift_sigma=_SHIFT_ALONG_SLIT / across_binning,
            ),
        )
        name_missing(inputs, result)
        qc = [*arc_qc(inputs, result), *slit_geometry(inputs, result)]
        hdus = dispersion_solution_hdus(result.solution, *line_columns(inputs, result.lines))
        outputs.add("DISP_TAB_2D", hdus, qc=qc, used=used)
        maps = _maps(inputs, result.solution, frame)
        outputs.add("DISP_IMAGE", pixel_maps_hdus(maps), qc=qc, used=used)


def _maps(inputs, solution, frame):
    """Pixel maps inside the edges of the orders, or of the slit where there are none."""
    from soxs_recipes.fits_files import read_order_table
    from soxs_recipes.reduction.dispersion.pixel_maps import pixel_maps

    edges = inputs.calibration("ORDER_TAB_EDGES")
    table = read_order_table(edges).rebinned(frame.meta.binning) if edges is not None else None
    if table is None:
        inputs.note("no ORDER_TAB_EDGES: the pixel maps reach as far as the slit is long")
    return pixel_maps(
        solution,
        frame.shape,
        dispersion_axis=inputs.arm.dispersion_axis,
        order_table=table,
        slit_half_length=0.5 * inputs.arm.slit_length,
        wavelength_ranges=full_ranges(inputs),
    )
