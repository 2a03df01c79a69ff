"""Science and telluric standards in every mode, and what is made of their spectra and frames."""

from edps import CALCHECKER, IDP, QC0, QC1_CALIB, SCIENCE, alternative_associated_inputs, subworkflow

from .soxs_builders import associate, associate_tables, product_task
from .soxs_datasources import *
from .soxs_exposures import MODES, associate_flat, associate_response, associate_solutions, exposure_task
from .soxs_task_functions import is_nir, is_uvvis, which_arm


def associate_trace(task_building, standards):
    """Where a target runs that is not seen: along the slit's ends as a standard did."""
    traces = alternative_associated_inputs()
    for standard in standards:
        needed = int(standard is not standards[-1])
        traces = associate(traces, standard, [FLUX_SLIT_TRACE_VIS], [FLUX_SLIT_TRACE_NIR], min_ret=needed)
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
        associate_tables(
            product_task(name, "soxs_line_check", spectra),
            static_bad_pixels,
            static_spectral_format,
            static_sky_lines,
            static_tellurics,
        )
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
        needed = int(check is not uvvis[-1])
        checks = checks.with_associated_input(
            check, [LINE_CHECK_VIS], min_ret=needed, match_rules=match_line_check
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
        task_building = associate_flat(product_task("straighten" + mode, "soxs_straighten", frames), calibrations)
        task_building = associate_solutions(task_building, calibrations, [DISP_TAB_2D_VIS], [DISP_TAB_2D_NIR])
        task_building = associate_response(task_building, responses)
        tasks.append(
            associate_tables(task_building, static_bad_pixels, static_spectral_format, static_extinction)
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
