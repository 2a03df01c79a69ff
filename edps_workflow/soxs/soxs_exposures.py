"""What exposures on sky need, whatever the mode and whatever was observed."""

from dataclasses import dataclass

from edps import ReportInput, Task, alternative_associated_inputs, task

from .soxs_datasources import *
from .soxs_task_functions import is_nir, is_uvvis, use_response, use_response_nir, use_response_uvvis, which_arm

# Recipe of each mode, by the end of the tasks' names; standards and tellurics are not mapped.
RECIPES = {"": "soxs_stare", "_nod": "soxs_nod", "_offset": "soxs_offset", "_map": "soxs_mapping"}
MODES = tuple(RECIPES)
# More frames than any template takes.
ALL_THERE_ARE = 1000


@dataclass(frozen=True)
class Calibrations:
    """The tasks whose products exposures on sky take."""

    bias: Task
    dark: Task
    lamp_off_dark: Task
    lingain: Task
    disp_solution: Task
    flat: Task
    spatial_solution: Task


def associate_solutions(task_building, calibrations, products_uvvis, products_nir):
    """The 2-D solution; without multi-pinhole arcs the dispersion solution, which has no term along the slit."""
    solutions = (
        alternative_associated_inputs()
        .with_associated_input(calibrations.spatial_solution, products_uvvis, condition=is_uvvis)
        .with_associated_input(calibrations.spatial_solution, products_nir, condition=is_nir)
        .with_associated_input(
            calibrations.disp_solution,
            [DISP_TAB_VIS],
            condition=is_uvvis,
            min_ret=0,
            match_rules=match_dispersion_for_exposures,
        )
        .with_associated_input(
            calibrations.disp_solution,
            [DISP_TAB_NIR],
            condition=is_nir,
            min_ret=0,
            match_rules=match_dispersion_for_exposures,
        )
    )
    return task_building.with_alternatives(solutions)


def associate_flat(task_building, calibrations):
    """The flat with the edges of the orders."""
    return task_building.with_associated_input(
        calibrations.flat, [MASTER_FLAT_VIS, ORDER_TAB_EDGES_VIS], condition=is_uvvis, min_ret=0
    ).with_associated_input(calibrations.flat, [MASTER_FLAT_NIR, ORDER_TAB_EDGES_NIR], condition=is_nir, min_ret=0)


def associate_response(task_building, responses):
    """A response of the night, of the week, of the month, any; without one the archive of earlier nights."""
    alternatives = alternative_associated_inputs()
    for rules_of_level in match_response:
        for response in responses:
            alternatives = alternatives.with_associated_input(
                response, [RESP_TAB_VIS], condition=use_response_uvvis, match_rules=rules_of_level
            ).with_associated_input(
                response, [RESP_TAB_NIR], condition=use_response_nir, match_rules=rules_of_level
            )
    return task_building.with_alternatives(
        alternatives.with_associated_input(
            response_archive, condition=use_response, min_ret=0, match_rules=match_archive_for_exposures
        )
    )


def exposure_task(name, mode, raw, calibrations):
    """A task from raw exposures to spectra, up to what the kind of object adds."""
    darks = (
        alternative_associated_inputs()
        .with_associated_input(calibrations.dark, [MASTER_DARK_NIR], condition=is_nir)
        .with_associated_input(calibrations.lamp_off_dark, [MASTER_DARK_NIR], condition=is_nir, min_ret=0)
        .with_associated_input(
            calibrations.dark, [MASTER_DARK_VIS], condition=is_uvvis, min_ret=0, match_rules=match_dark_for_uvvis
        )
    )
    task_building = (
        task(name + mode)
        .with_recipe(RECIPES[mode])
        .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(raw)
    )
    if mode == "_offset":
        task_building = task_building.with_associated_input(raw_sky_offset, min_ret=0, max_ret=ALL_THERE_ARE)
    task_building = (
        task_building.with_associated_input(calibrations.bias, [MASTER_BIAS_VIS], condition=is_uvvis, min_ret=0)
        .with_alternatives(darks)
        .with_associated_input(
            calibrations.lingain, [LINEARITY_COEFF_VIS, BP_MAP_NL_VIS], condition=is_uvvis, min_ret=0
        )
        .with_associated_input(
            calibrations.lingain, [LINEARITY_COEFF_NIR, BP_MAP_NL_NIR], condition=is_nir, min_ret=0
        )
    )
    task_building = associate_flat(task_building, calibrations)
    task_building = associate_solutions(
        task_building, calibrations, [DISP_TAB_2D_VIS, DISP_IMAGE_VIS], [DISP_TAB_2D_NIR, DISP_IMAGE_NIR]
    )
    return (
        task_building.with_associated_input(raw_user_arc, min_ret=0, max_ret=ALL_THERE_ARE)
        .with_associated_input(static_bad_pixels, min_ret=0)
        .with_associated_input(static_spectral_format, min_ret=0)
        .with_associated_input(static_arc_lines, min_ret=0)
        .with_associated_input(static_sky_lines, min_ret=0)
        .with_associated_input(static_extinction, min_ret=0)
        .with_dynamic_parameter("arm", which_arm)
    )
