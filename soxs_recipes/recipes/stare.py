"""soxs_stare: objects that stay where they are on the slit, from raw exposures to spectra."""

from __future__ import annotations

from soxs_recipes.recipes.base import Recipe
from soxs_recipes.recipes.declarations import Declaration, Parameter, RawInput
from soxs_recipes.recipes.object_declarations import (
    EXTRACTION_PARAMETERS,
    IMAGE_PRODUCTS,
    OBJECT_CALIBRATIONS,
    OBJECT_QC,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
)
from soxs_recipes.recipes.spectroscopy import (
    binning_of,
    extraction_settings,
    find_geometry,
    locate_exposure,
    master_flat,
    prepare_exposures,
    tell_choice,
)

__all__ = ["Stare"]

_SETUP = ("READ_MODE_ID", "SLIT")

_PARAMETERS = (
    Parameter(
        "synchronised-with",
        str,
        "",
        "",
        "Exposures of the other arm taken at the same time, comma-separated: files or mid-times (MJD).",
    ),
)


class Stare(Recipe):
    """Subtracts the sky and extracts what stands on the slit."""

    declaration = Declaration(
        name="soxs_stare",
        synopsis="Reduce exposures in stare mode: sky, sources on the slit, extraction, merging, flux.",
        description=(
            "Each exposure is located first: sky lines give its shift along the dispersion, the slit's ends that "
            "across, and the pixel maps follow where the shift is beyond 2 sigma and 0.05 px. Sky and sources of "
            "an order are then fitted together on the detector's own pixels, each with its wavelength and slit "
            "position: the sky as a spline in wavelength, dense where lines stand, times the slit's illumination, "
            "with small corrections of tilt and line width along the slit; every source as profile times "
            "spectrum. Profile and trace are smooth, shared among orders as far as the signal asks, and without "
            "signal stand where the target was expected. Cosmic rays are found on what the model leaves. Noise is "
            "that of the model; the error of each bin holds what sky and masters cost.\n\n"
            "The target is the source at the expected position, never simply the brightest; all sources are "
            "listed in the TRACE product. FLUX is all light that came through the slit. Several exposures are "
            "extracted on the same bins and averaged, with outliers between them left out. Orders are merged on "
            "one grid; with a RESP_TAB the flux-calibrated spectra are made, too."
        ),
        raws=(
            RawInput("OBJECT_STARE_<ARM>", "science", 1, None, False, _SETUP, 1, "exposure"),
            RawInput("STD_FLUX_STARE_<ARM>", "flux standard", 1, None, False, _SETUP, 1, "exposure"),
            RawInput("STD_TELL_STARE_<ARM>", "telluric standard", 1, None, False, _SETUP, 1, "exposure"),
        ),
        calibrations=(
            *OBJECT_CALIBRATIONS,
            *RESPONSE_CALIBRATIONS,
        ),
        parameters=(*EXTRACTION_PARAMETERS, *_PARAMETERS),
        products=(*SPECTRUM_PRODUCTS, *IMAGE_PRODUCTS),
        qc=OBJECT_QC,
        algorithm_version=3,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, locate, extract, combine, merge, calibrate."""
        from soxs_recipes.recipes.object_products import (
            add_images,
            add_sky,
            add_spectra,
            add_trace,
            combined_qc,
            object_qc,
            orders_in_common,
            time_qc,
        )
        from soxs_recipes.reduction.exposure_combination import combine_extractions
        from soxs_recipes.reduction.extraction import extract_exposure, make_grids

        paths = inputs.all_raw
        geometry = find_geometry(inputs, binning_of(inputs, paths[0]))
        settings, axis = extraction_settings(parameters), inputs.arm.dispersion_axis
        other_arm = parameters["synchronised-with"]
        bands = {order.number: order.band for order in inputs.arm.orders}
        table = geometry.table if parameters["subtract-background"] else None
        flat = grids = None
        results, times, used, qc = [], [], [], []
        for exposure in prepare_exposures(inputs, paths, table):
            frame = exposure.frame
            if grids is None:
                grids = make_grids(geometry.maps(inputs, frame.shape), axis)
                flat = master_flat(inputs, frame.shape)
            location = locate_exposure(inputs, exposure, geometry, grids, correct=parameters["correct-flexure"])
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
            own = [*qc, *time_qc(inputs, [exposure.path], other_arm)]
            add_images(inputs, outputs, exposure, result, own)
            results.append(result.without_images())
            times.append(max(frame.meta.exposure_time, 1e-3))
            used.append(exposure.path)
        combined = combine_extractions(orders_in_common(inputs, results), times)
        qc = [*combined_qc(qc, combined), *time_qc(inputs, used, other_arm)]
        add_trace(outputs, combined, results, qc, used)
        add_sky(outputs, combined, qc, used)
        add_spectra(inputs, outputs, combined, sum(times), qc, used)
