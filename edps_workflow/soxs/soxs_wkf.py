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

from edps import CALCHECKER, QC1_CALIB, alternative_associated_inputs

from .soxs_builders import ALL_THERE_ARE, associate, associate_tables, raw_task
from .soxs_datasources import *
from .soxs_exposures import Calibrations, associate_linearity
from .soxs_science import check_lines, process_science, process_tellurics, straighten_science
from .soxs_standards import process_standards
from .soxs_task_functions import is_nir, is_uvvis, which_arm

__title__ = "SOXS workflow"

# --- Detector ----------------------------------------------------------------------------------------------------

# - Gain, read noise and linearity from flats of rising exposure time
lingain = (
    raw_task("lingain", "soxs_lingain", raw_detlin)
    .with_associated_input(
        raw_bias, condition=is_uvvis, min_ret=0, max_ret=ALL_THERE_ARE, match_rules=match_bias_for_linearity
    )
    .with_associated_input(raw_detlin_off, condition=is_nir, min_ret=0, max_ret=ALL_THERE_ARE)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_output_filter(LINEARITY_COEFF_VIS, BP_MAP_NL_VIS, LINEARITY_COEFF_NIR, BP_MAP_NL_NIR)
    .with_meta_targets([QC1_CALIB])
    .build()
)

# - Master bias (UV-VIS)
bias = (
    raw_task("bias", "soxs_mbias", raw_bias)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_output_filter(MASTER_BIAS_VIS)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Master dark (NIR)
dark = (
    raw_task("dark", "soxs_mdark", raw_dark)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_output_filter(MASTER_DARK_NIR)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - A dark from lamp-off frames (NIR). It has no meta target: it runs when exposures have no other dark.
lamp_off_dark = (
    raw_task("lamp_off_dark", "soxs_mdark", raw_lamp_off)
    .with_associated_input(static_bad_pixels, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_output_filter(MASTER_DARK_NIR)
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

# --- Wavelengths and orders --------------------------------------------------------------------------------------


def lamp_task(name, recipe, raw, raw_off):
    """A task on frames of a lamp: with the lamp off or a dark in their place, bias and linearity."""
    lamp_off = (
        alternative_associated_inputs()
        .with_associated_input(raw_off, condition=is_nir, max_ret=ALL_THERE_ARE)
        .with_associated_input(dark, [MASTER_DARK_NIR], condition=is_nir)
        .with_associated_input(raw_off, min_ret=0, max_ret=ALL_THERE_ARE, match_rules=match_off_any_exptime)
    )
    task_building = (
        raw_task(name, recipe, raw)
        .with_alternatives(lamp_off)
        .with_associated_input(bias, [MASTER_BIAS_VIS], condition=is_uvvis, min_ret=0)
    )
    return associate_tables(associate_linearity(task_building, lingain), static_bad_pixels, static_spectral_format)


# - First dispersion solution, on arcs through the single pinhole
disp_solution = (
    lamp_task("disp_solution", "soxs_disp_solution", raw_wave_pin, raw_wave_pin_off)
    .with_associated_input(static_arc_lines, min_ret=0)
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)


def associate_dispersion(task_building):
    """The dispersion solution."""
    return associate(task_building, disp_solution, [DISP_TAB_VIS], [DISP_TAB_NIR])


def associate_centres(task_building, match_rules=None):
    """Where the orders run."""
    return associate(task_building, order_centres, [ORDER_TAB_CENTR_VIS], [ORDER_TAB_CENTR_NIR], match_rules)


# - Where the orders run, on the flat through the single pinhole
order_centres = (
    associate_dispersion(lamp_task("order_centres", "soxs_order_centres", raw_orderdef, raw_orderdef_off))
    .with_dynamic_parameter("arm", which_arm)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Master flat and the edges of the orders
flat = (
    associate_dispersion(associate_centres(lamp_task("flat", "soxs_mflat", raw_flat, raw_flat_off)))
    .with_associated_input(raw_flat_d2, condition=is_uvvis, min_ret=0, max_ret=ALL_THERE_ARE)
    .with_dynamic_parameter("arm", which_arm)
    .with_output_filter(MASTER_FLAT_VIS, ORDER_TAB_EDGES_VIS, MASTER_FLAT_NIR, ORDER_TAB_EDGES_NIR)
    .with_meta_targets([QC1_CALIB, CALCHECKER])
    .build()
)

# - Wavelength and slit position of every pixel, on arcs through the pinholes
spatial_solution = lamp_task("spatial_solution", "soxs_spatial_solution", raw_wave_mph, raw_wave_mph_off)
spatial_solution = associate_centres(associate_dispersion(spatial_solution), match_centres_for_solution)
spatial_solution = (
    associate(spatial_solution, flat, [ORDER_TAB_EDGES_VIS], [ORDER_TAB_EDGES_NIR], match_edges)
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
