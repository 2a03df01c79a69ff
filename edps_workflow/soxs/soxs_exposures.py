"""What exposures on sky need, whatever the mode and whatever was observed."""

from dataclasses import dataclass

from edps import Task, alternative_associated_inputs

from .soxs_builders import ALL_THERE_ARE, associate, associate_tables, raw_task
from .soxs_datasources import *
from .soxs_task_functions import is_nir, is_uvvis, use_response, use_response_nir, use_response_uvvis, which_arm

# Recipe of each mode, by the end of the tasks' names; standards and tellurics are not mapped.
RECIPES = {"": "soxs_stare", "_nod": "soxs_nod", "_offset": "soxs_offset", "_map": "soxs_mapping"}
MODES = tuple(RECIPES)


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


def associate_linearity(task_building, lingain):
    """How the detector answers to light."""
    return associate(
        task_building,
        lingain,
        [LINEARITY_COEFF_VIS, BP_MAP_NL_VIS],
        [LINEARITY_COEFF_NIR, BP_MAP_NL_NIR],
    )


def associate_solutions(task_building, calibrations, products_uvvis, products_nir):
    """The 2-D solution; without multi-pinhole arcs the dispersion solution, which has no term along the slit."""
    solutions = associate(
        alternative_associated_inputs(), calibrations.spatial_solution, products_uvvis, products_nir, min_ret=1
    )
    solutions = associate(
        solutions, calibrations.disp_solution, [DISP_TAB_VIS], [DISP_TAB_NIR], match_dispersion_for_exposures
    )
    return task_building.with_alternatives(solutions)


def associate_flat(task_building, calibrations):
    """The flat with the edges of the orders."""
    return associate(
        task_building,
        calibrations.flat,
        [MASTER_FLAT_VIS, ORDER_TAB_EDGES_VIS],
        [MASTER_FLAT_NIR, ORDER_TAB_EDGES_NIR],
    )


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
    task_building = raw_task(name + mode, RECIPES[mode], raw)
    if mode == "_offset":
        task_building = task_building.with_associated_input(raw_sky_offset, min_ret=0, max_ret=ALL_THERE_ARE)
    task_building = task_building.with_associated_input(
        calibrations.bias, [MASTER_BIAS_VIS], condition=is_uvvis, min_ret=0
    ).with_alternatives(darks)
    task_building = associate_linearity(task_building, calibrations.lingain)
    task_building = associate_flat(task_building, calibrations)
    task_building = associate_solutions(
        task_building, calibrations, [DISP_TAB_2D_VIS, DISP_IMAGE_VIS], [DISP_TAB_2D_NIR, DISP_IMAGE_NIR]
    ).with_associated_input(raw_user_arc, min_ret=0, max_ret=ALL_THERE_ARE)
    return associate_tables(
        task_building,
        static_bad_pixels,
        static_spectral_format,
        static_arc_lines,
        static_sky_lines,
        static_extinction,
    ).with_dynamic_parameter("arm", which_arm)
