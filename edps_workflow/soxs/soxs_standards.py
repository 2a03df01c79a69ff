"""Flux standards in every mode, and the responses that are made from them."""

from edps import CALCHECKER, QC0, QC1_CALIB, subworkflow

from .soxs_builders import associate_tables, product_task
from .soxs_datasources import *
from .soxs_exposures import MODES, exposure_task
from .soxs_task_functions import which_arm


@subworkflow("flux_standards", "")
def process_standards(calibrations):
    """Spectra of the standards and their responses, of stare, nod and offset."""
    standards, responses = [], []
    raws = (raw_std_flux_stare, raw_std_flux_nod, raw_std_flux_offset)
    for mode, raw in zip(MODES, raws, strict=False):
        standard = (
            exposure_task("standard", mode, raw, calibrations)
            .with_output_filter(
                FLUX_SLIT_ORDER1D_VIS, FLUX_SLIT_ORDER1D_NIR, FLUX_SLIT_TRACE_VIS, FLUX_SLIT_TRACE_NIR
            )
            .with_meta_targets([QC0, QC1_CALIB, CALCHECKER])
            .build()
        )
        response = (
            associate_tables(
                product_task("response" + mode, "soxs_response", standard),
                response_archive,
                static_flux_standards,
                static_extinction,
                static_tellurics,
            )
            .with_dynamic_parameter("arm", which_arm)
            .with_input_filter(
                FLUX_SLIT_ORDER1D_VIS,
                FLUX_SLIT_ORDER1D_NIR,
                resp_archive_vis_class,
                resp_archive_nir_class,
                flux_std_catalog_class,
                extcoeff_table_class,
                telluric_transmission_class,
            )
            # The archive that comes with it is for later nights.
            .with_output_filter(RESP_TAB_VIS, RESP_TAB_NIR)
            .with_meta_targets([QC1_CALIB, CALCHECKER])
            .build()
        )
        standards.append(standard)
        responses.append(response)
    return tuple(standards), tuple(responses)
