"""soxs_extract: spectra from the pipeline's own 2-D products, the way a person wants them."""

from __future__ import annotations

from soxs_recipes.recipes.base import Recipe
from soxs_recipes.recipes.declarations import CalibrationInput, Declaration, Parameter, RawInput
from soxs_recipes.recipes.object_declarations import (
    EXTRACTION_PARAMETERS,
    GEOMETRY_CALIBRATIONS,
    OBJECT_QC,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
)
from soxs_recipes.recipes.spectroscopy import extraction_settings, find_geometry, master_flat, tell_choice
from soxs_recipes.recipes.two_dimensional import locate_again, product_exposures

__all__ = ["Extract"]

# What is done to raw frames only.
_OF_RAW_FRAMES = ("correct-linearity", "subtract-background")


class Extract(Recipe):
    """Extracts again what stands on the slit of sky-subtracted exposures."""

    declaration = Declaration(
        name="soxs_extract",
        synopsis="Extract spectra from the pipeline's own sky-subtracted exposures.",
        description=(
            "Takes sky-subtracted exposures with their sky models, puts each pair together to the prepared "
            "exposure and fits sky and sources again, as the recipes do that work on raw frames: with the same "
            "parameters the spectrum is the same."
        ),
        raws=(RawInput("<KIND>_SLIT_SKYSUB_<ARM>", "sky-subtracted exposure", agree=("READ_MODE_ID", "SLIT")),),
        calibrations=(
            CalibrationInput(
                "<KIND>_SLIT_SKYMODEL_<ARM>",
                "sky model of the same exposure",
                ladder="the sky cannot be fitted again and errors are too large",
                made_by="soxs_stare",
            ),
            *GEOMETRY_CALIBRATIONS,
            *RESPONSE_CALIBRATIONS,
        ),
        parameters=(
            *(p for p in EXTRACTION_PARAMETERS if p.name not in _OF_RAW_FRAMES),
            Parameter(
                "measure-shift", bool, False, "", "Find the shift of the pixel maps anew, against the header's."
            ),
        ),
        products=SPECTRUM_PRODUCTS,
        qc=OBJECT_QC,
        algorithm_version=1,
    )

    def process(self, inputs, parameters, outputs):
        """Read, locate, extract, combine, merge, calibrate."""
        from soxs_recipes.recipes.object_products import (
            add_spectra,
            add_trace,
            combined_qc,
            object_qc,
            orders_in_common,
            time_qc,
        )
        from soxs_recipes.reduction.exposure_combination import combine_extractions
        from soxs_recipes.reduction.extraction import extract_exposure, make_grids

        settings, axis = extraction_settings(parameters), inputs.arm.dispersion_axis
        bands = {order.number: order.band for order in inputs.arm.orders}
        geometry = grids = flat = None
        results, times, used, qc = [], [], [], []
        for exposure in product_exposures(inputs, inputs.all_raw):
            frame = exposure.frame
            if grids is None:
                geometry = find_geometry(inputs, frame.meta.binning)
                grids = make_grids(geometry.maps(inputs, frame.shape), axis)
                flat = master_flat(inputs, frame.shape)
            location = locate_again(
                inputs,
                exposure,
                geometry,
                grids,
                correct=parameters["correct-flexure"],
                measure=parameters["measure-shift"],
            )
            result = extract_exposure(
                frame,
                location.maps,
                axis,
                bands=bands,
                base_variance=exposure.base_variance,
                flat=flat,
                grids=grids,
                settings=settings,
            )
            tell_choice(inputs, exposure, result)
            qc = object_qc(exposure, location, geometry, result)
            results.append(result.without_images())
            times.append(max(frame.meta.exposure_time, 1e-3))
            used.append(exposure.path)
        combined = combine_extractions(orders_in_common(inputs, results), times)
        qc = [*combined_qc(qc, combined), *time_qc(inputs, used)]
        add_trace(outputs, combined, results, qc, used)
        add_spectra(inputs, outputs, combined, sum(times), qc, used)
