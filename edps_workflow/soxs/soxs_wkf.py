"""The spectroscopic cascade of SOXS, both arms, for EDPS.

It is the cascade of `soxs_recipes/cascade/tasks.py`; tests hold the two together. Where EDPS has no word for what
the pipeline's own planner (`soxs reduce`) does, the workflow does this:

1. A task has one main input. Responses, line checks and rectified images are a task for each mode, and of
   responses of one level those of stare come before nod, nod before offset.
2. Files of different classification never share a group. Flats of the deuterium lamp and sky frames are associated
   with flats of the halogen lamp and exposures on target, and make nothing alone. Lamp-off frames of several kinds
   make a dark each.
3. Calibrations are grouped by template, where the planner takes all of a night.
4. Candidates are ranked by time. Between a shorter and a longer dark the planner interpolates, and of the flats of
   other slits it takes that of the nearest width; here the nearest in time serves.
5. A task cannot take its own products. A response is joined to an archive that lies among the input, not to that
   of the night before in the same request; and it is the NIR whose wavelengths are compared with the UV-VIS.
6. All arcs of the user's own within 3.6 hours are handed on, where the planner picks the nearest on either side.
7. Frames without a keyword that must match are not associated by it; the planner lets the unknown agree.
"""

from edps import CALCHECKER, QC1_CALIB, ReportInput, alternative_associated_inputs, task

from .soxs_datasources import *
from .soxs_exposures import ALL_THERE_ARE, Calibrations
from .soxs_science import check_lines, process_science, process_tellurics, straighten_science
from .soxs_standards import process_standards
from .soxs_task_functions import is_nir, is_uvvis, which_arm

__title__ = "SOXS workflow"

# --- Detector --------------------------------------------------------------------------------------------------

# - Gain, read noise and linearity from flats of rising exposure time
lingain = (
    task("lingain")
    .with_recipe("soxs_lingain")
    .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
    .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
    .with_main_input(raw_detlin)
    .with_associated_input(
        raw_bias, condition=is_uvvis, min_ret=0, max_ret=ALL_THERE_ARE, match_rules=match_bias_for_linearity
    )
    .with_associated_input(raw_detlin_off, condition=is_nir, min_ret=0, max_ret=ALL_THERE_ARE)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB])
    .build()
)

# - Master bias (UV-VIS)
bias = (
    task("bias")
    .with_recipe("soxs_mbias")
    .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
    .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
    .with_main_input(raw_bias)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Master dark (NIR)
dark = (
    task("dark")
    .with_recipe("soxs_mdark")
    .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
    .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
    .with_main_input(raw_dark)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - A dark from lamp-off frames (NIR). It has no meta target: it runs when exposures have no other dark.
lamp_off_dark = (
    task("lamp_off_dark")
    .with_recipe("soxs_mdark")
    .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
    .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
    .with_main_input(raw_lamp_off)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_input_map(
        {
            wave_pin_nir_off_class: dark_nir_class,
            orderdef_nir_off_class: dark_nir_class,
            flat_slit_nir_off_class: dark_nir_class,
            wave_mph_nir_off_class: dark_nir_class,
        }
    )
    .build()
)

# --- Wavelengths and orders ------------------------------------------------------------------------------------


def associate_detector(task_building, raw_off):
    """Bias, linearity, and frames with the lamp off or a dark in their place."""
    lamp_off = (
        alternative_associated_inputs()
        .with_associated_input(raw_off, condition=is_nir, max_ret=ALL_THERE_ARE)
        .with_associated_input(dark, [MASTER_DARK_NIR], condition=is_nir)
        .with_associated_input(raw_off, min_ret=0, max_ret=ALL_THERE_ARE, match_rules=match_off_any_exptime)
    )
    return (
        task_building.with_alternatives(lamp_off)
        .with_associated_input(bias, [MASTER_BIAS_VIS], condition=is_uvvis, min_ret=0)
        .with_associated_input(lingain, [LINEARITY_COEFF_VIS, BP_MAP_NL_VIS], condition=is_uvvis, min_ret=0)
        .with_associated_input(lingain, [LINEARITY_COEFF_NIR, BP_MAP_NL_NIR], condition=is_nir, min_ret=0)
        .with_associated_input(static_bad_pixels, min_ret=0)
        .with_associated_input(static_spectral_format, min_ret=0)
    )


# - First dispersion solution, on arcs through the single pinhole
disp_solution = (
    associate_detector(
        task("disp_solution")
        .with_recipe("soxs_disp_solution")
        .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(raw_wave_pin),
        raw_wave_pin_off,
    )
    .with_associated_input(static_arc_lines, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Where the orders run, on the flat through the single pinhole
order_centres = (
    associate_detector(
        task("order_centres")
        .with_recipe("soxs_order_centres")
        .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(raw_orderdef),
        raw_orderdef_off,
    )
    .with_associated_input(disp_solution, [DISP_TAB_VIS], condition=is_uvvis, min_ret=0)
    .with_associated_input(disp_solution, [DISP_TAB_NIR], condition=is_nir, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Master flat and the edges of the orders
flat = (
    associate_detector(
        task("flat")
        .with_recipe("soxs_mflat")
        .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(raw_flat)
        .with_associated_input(raw_flat_d2, condition=is_uvvis, min_ret=0, max_ret=ALL_THERE_ARE),
        raw_flat_off,
    )
    .with_associated_input(order_centres, [ORDER_TAB_CENTR_VIS], condition=is_uvvis, min_ret=0)
    .with_associated_input(order_centres, [ORDER_TAB_CENTR_NIR], condition=is_nir, min_ret=0)
    .with_associated_input(disp_solution, [DISP_TAB_VIS], condition=is_uvvis, min_ret=0)
    .with_associated_input(disp_solution, [DISP_TAB_NIR], condition=is_nir, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Wavelength and slit position of every pixel, on arcs through the pinholes
spatial_solution = (
    associate_detector(
        task("spatial_solution")
        .with_recipe("soxs_spatial_solution")
        .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(raw_wave_mph),
        raw_wave_mph_off,
    )
    .with_associated_input(disp_solution, [DISP_TAB_VIS], condition=is_uvvis, min_ret=0)
    .with_associated_input(disp_solution, [DISP_TAB_NIR], condition=is_nir, min_ret=0)
    .with_associated_input(
        order_centres,
        [ORDER_TAB_CENTR_VIS],
        condition=is_uvvis,
        min_ret=0,
        match_rules=match_centres_for_solution,
    )
    .with_associated_input(
        order_centres,
        [ORDER_TAB_CENTR_NIR],
        condition=is_nir,
        min_ret=0,
        match_rules=match_centres_for_solution,
    )
    .with_associated_input(flat, [ORDER_TAB_EDGES_VIS], condition=is_uvvis, min_ret=0, match_rules=match_edges)
    .with_associated_input(flat, [ORDER_TAB_EDGES_NIR], condition=is_nir, min_ret=0, match_rules=match_edges)
    .with_associated_input(static_arc_lines, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

calibrations = Calibrations(bias, dark, lamp_off_dark, lingain, disp_solution, flat, spatial_solution)

# --- Exposures on sky ------------------------------------------------------------------------------------------

# EDPS finds tasks by the names that they have in this module.

standards, responses = process_standards(calibrations)
standard, standard_nod, standard_offset = standards
response, response_nod, response_offset = responses

telluric, telluric_nod, telluric_offset = process_tellurics(calibrations, standards, responses)

exposures_of_science = process_science(calibrations, standards, responses)
science, science_nod, science_offset, science_map = exposures_of_science

uvvis_checks, nir_checks = check_lines(exposures_of_science)
line_check_vis, line_check_vis_nod, line_check_vis_offset, line_check_vis_map = uvvis_checks
line_check_nir, line_check_nir_nod, line_check_nir_offset, line_check_nir_map = nir_checks

straighten, straighten_nod, straighten_offset, straighten_map = straighten_science(
    calibrations, exposures_of_science, responses
)
