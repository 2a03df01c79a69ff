"""Science and telluric standards in every mode, and what is made of their spectra and frames."""

from edps import (
    CALCHECKER,
    IDP,
    QC0,
    QC1_CALIB,
    SCIENCE,
    ReportInput,
    alternative_associated_inputs,
    subworkflow,
    task,
)

from .soxs_datasources import *
from .soxs_exposures import MODES, associate_flat, associate_response, associate_solutions, exposure_task
from .soxs_task_functions import is_nir, is_uvvis, which_arm


def associate_trace(task_building, standards):
    """Where a target runs that is not seen: along the slit's ends as a standard did."""
    traces = alternative_associated_inputs()
    for standard in standards:
        traces = traces.with_associated_input(
            standard, [FLUX_SLIT_TRACE_VIS], condition=is_uvvis, min_ret=int(standard is not standards[-1])
        ).with_associated_input(
            standard, [FLUX_SLIT_TRACE_NIR], condition=is_nir, min_ret=int(standard is not standards[-1])
        )
    return task_building.with_alternatives(traces)


def target_task(name, mode, raw, calibrations, standards, responses):
    """Exposures of a target, flux calibrated."""
    task_building = associate_response(exposure_task(name, mode, raw, calibrations), responses)
    # The other modes find a target in the difference of exposures.
    return associate_trace(task_building, standards) if mode == "" else task_building


@subworkflow("telluric_standards", "")
def process_tellurics(calibrations, standards, responses):
    """Spectra of telluric standards."""
    raws = (raw_std_tell_stare, raw_std_tell_nod, raw_std_tell_offset)
    return tuple(
        target_task("telluric", mode, raw, calibrations, standards, responses)
        .with_meta_targets([QC1_CALIB, CALCHECKER])
        .build()
        for mode, raw in zip(MODES, raws, strict=False)
    )


@subworkflow("science", "")
def process_science(calibrations, standards, responses):
    """Spectra of science targets, a task for each mode."""
    raws = (raw_object_stare, raw_object_nod, raw_object_offset, raw_object_map)
    return tuple(
        target_task("science", mode, raw, calibrations, standards, responses)
        .with_meta_targets([SCIENCE, QC0, CALCHECKER, IDP])
        .build()
        for mode, raw in zip(MODES, raws, strict=True)
    )


def line_check_task(name, spectra, condition, *products):
    """Wavelengths of one arm against the lines of the sky; of products only those named are taken."""
    return (
        task(name)
        .with_recipe("soxs_line_check")
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(spectra)
        .with_associated_input(static_bad_pixels, min_ret=0)
        .with_associated_input(static_spectral_format, min_ret=0)
        .with_associated_input(static_sky_lines, min_ret=0)
        .with_associated_input(static_tellurics, min_ret=0)
        .with_condition(condition)
        .with_dynamic_parameter("arm", which_arm)
        .with_input_filter(
            *products,
            bp_map_ref_vis_class,
            bp_map_ref_nir_class,
            spectral_format_vis_class,
            spectral_format_nir_class,
            sky_line_list_class,
            telluric_transmission_class,
        )
        .with_meta_targets([SCIENCE, QC0])
    )


@subworkflow("line_checks", "")
def check_lines(science):
    """The UV-VIS first, so that the NIR can be compared with it whatever mode the target was observed in."""
    uvvis = tuple(
        line_check_task("line_check_vis" + mode, spectra, is_uvvis, SCI_SLIT_ORDER1D_VIS).build()
        for mode, spectra in zip(MODES, science, strict=True)
    )
    checks = alternative_associated_inputs()
    for check in uvvis:
        checks = checks.with_associated_input(
            check, [LINE_CHECK_VIS], min_ret=int(check is not uvvis[-1]), match_rules=match_line_check
        )
    nir = tuple(
        line_check_task("line_check_nir" + mode, spectra, is_nir, SCI_SLIT_ORDER1D_NIR, LINE_CHECK_VIS)
        .with_alternatives(checks)
        .build()
        for mode, spectra in zip(MODES, science, strict=True)
    )
    return uvvis, nir


@subworkflow("rectified", "")
def straighten_science(calibrations, science, responses):
    """Rectified images; they have no meta target: `-t straighten` asks for them."""
    tasks = []
    for mode, frames in zip(MODES, science, strict=True):
        task_building = (
            task("straighten" + mode)
            .with_recipe("soxs_straighten")
            .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
            .with_main_input(frames)
        )
        task_building = associate_flat(task_building, calibrations)
        task_building = associate_solutions(task_building, calibrations, [DISP_TAB_2D_VIS], [DISP_TAB_2D_NIR])
        tasks.append(
            associate_response(task_building, responses)
            .with_associated_input(static_bad_pixels, min_ret=0)
            .with_associated_input(static_spectral_format, min_ret=0)
            .with_associated_input(static_extinction, min_ret=0)
            .with_dynamic_parameter("arm", which_arm)
            .with_input_filter(
                SCI_SLIT_SKYSUB_VIS,
                SCI_SLIT_SKYSUB_NIR,
                SCI_SLIT_SKYMODEL_VIS,
                SCI_SLIT_SKYMODEL_NIR,
                MASTER_FLAT_VIS,
                MASTER_FLAT_NIR,
                ORDER_TAB_EDGES_VIS,
                ORDER_TAB_EDGES_NIR,
                DISP_TAB_2D_VIS,
                DISP_TAB_2D_NIR,
                DISP_TAB_VIS,
                DISP_TAB_NIR,
                RESP_TAB_VIS,
                RESP_TAB_NIR,
                resp_archive_vis_class,
                resp_archive_nir_class,
                bp_map_ref_vis_class,
                bp_map_ref_nir_class,
                spectral_format_vis_class,
                spectral_format_nir_class,
                extcoeff_table_class,
            )
            .build()
        )
    return tuple(tasks)
