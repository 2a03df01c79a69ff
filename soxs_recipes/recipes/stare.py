"""soxs_stare: objects that stay where they are on the slit, from raw exposures to spectra."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from soxs_recipes.memory import return_freed
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter
from soxs_recipes.recipes.steps.object_declarations import (
    EXTRACTION_PARAMETERS,
    IMAGE_PRODUCTS,
    OBJECT_CALIBRATIONS,
    OBJECT_QC,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
    USER_ARC_CALIBRATIONS,
    USER_ARC_PARAMETERS,
    exposures_of_mode,
)
from soxs_recipes.recipes.steps.spectroscopy import (
    Exposure,
    Location,
    binning_of,
    find_geometry,
    prepare_exposures,
    tell_choice,
)

if TYPE_CHECKING:
    from soxs_recipes.reduction.extraction.extraction import ExposureResult

__all__ = ["Stare"]


_PARAMETERS = (
    Parameter(
        "combine",
        str,
        "extracted",
        "",
        "Combine several exposures after extraction, or as frames on the detector before it.",
        choices=("extracted", "frames"),
        group="exposures",
    ),
    Parameter(
        "synchronised-with",
        str,
        "",
        "",
        "Exposures of the other arm taken at the same time, comma-separated: files or mid-times (MJD).",
        group="exposures",
    ),
)


class Stare(Recipe):
    """Subtracts the sky and extracts what stands on the slit."""

    declaration = Declaration(
        name="soxs_stare",
        synopsis="Reduce exposures in stare mode: sky, sources on the slit, extraction, merging, flux.",
        description=(
            "Each exposure is located first: sky lines give its shift along the dispersion, the slit's ends that "
            "across, and the pixel maps follow where the shift is beyond 2 sigma and 0.05 px; arcs of the user's "
            "own, taken before and after it, move them first. Sky and sources of an order are then fitted "
            "together on the detector's own pixels, each with its wavelength and slit "
            "position: the sky as a spline in wavelength, dense where lines stand, times the slit's illumination, "
            "with small corrections of tilt and line width along the slit; every source as profile times "
            "spectrum. Profile and trace are smooth, shared among orders as far as the signal asks, and without "
            "signal stand where the target was expected. Cosmic rays are found on what the model leaves. Noise is "
            "that of the model; the error of each bin holds what sky and masters cost. The profile is found from "
            "the same light: what its error does to all bins alike is no part of their errors and stands apart, "
            "as QC PROFILE ERR, of each order and of all.\n\n"
            "The target is the source at the expected position, never simply the brightest; all sources are "
            "listed in the TRACE product. FLUX is all light that came through the slit. Orders are merged on one "
            "grid; with a RESP_TAB the flux-calibrated spectra are made, too.\n\n"
            "Several exposures are compared once each has its model: what only one of them holds beyond its model "
            "is a cosmic ray, whatever seeing, clouds and airglow did meanwhile. Then each is extracted again on "
            "the same bins with these masks, and the spectra are averaged, outliers between them left out. With "
            "combine = frames they are added on the detector and extracted once, each pixel that an exposure has "
            "lost made good by the others and the difference of the models; this asks for less than 0.1 px of "
            "flexure and 0.15 arcsec of motion between them. A target too faint to show its trace in each is "
            "sought in the sum, whose trace and width all exposures then share; one that is not seen at all is "
            "extracted along the trace of a standard, when one is given."
        ),
        raws=exposures_of_mode("STARE"),
        calibrations=(
            *OBJECT_CALIBRATIONS,
            *RESPONSE_CALIBRATIONS,
            CalibrationInput(
                "<KIND>_SLIT_TRACE_<ARM>",
                "trace of a standard, for targets that are not seen",
                ladder="the target is extracted where it is expected",
                made_by="soxs_stare",
                agree_binning=False,
            ),
            *USER_ARC_CALIBRATIONS,
        ),
        parameters=(*EXTRACTION_PARAMETERS, *USER_ARC_PARAMETERS, *_PARAMETERS),
        products=(*SPECTRUM_PRODUCTS, *IMAGE_PRODUCTS),
        qc=OBJECT_QC,
        algorithm_version=29,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, locate and extract each exposure, compare, extract again, combine, merge, calibrate."""
        from soxs_recipes.recipes.steps.exposure_series import Extractor, Series
        from soxs_recipes.recipes.steps.object_products import mark_targets, mid_times_told

        paths = inputs.all_raw
        mark_targets(inputs, paths)
        other_arm = mid_times_told(inputs, parameters["synchronised-with"])
        geometry = find_geometry(inputs, binning_of(inputs, paths[0]), arcs=parameters["use-arcs"])
        table = geometry.table if parameters["subtract-background"] else None
        extractor = Extractor(inputs, parameters, geometry)
        exposures = prepare_exposures(inputs, paths, table)
        if len(paths) == 1:
            alone = (
                _Extracted(exposure, place, extractor.extract_single(exposure, place), [exposure.path])
                for exposure in exposures
                for place in [extractor.locate(exposure)]
            )
            _add_products(inputs, other_arm, outputs, geometry, alone)
            return
        with Series(extractor, outputs.folder) as series:
            for exposure in exposures:
                series.add(exposure)
                del exposure  # before the next one is read
            series.find_hits()
            if parameters["combine"] == "frames" and _can_be_added(inputs, series):
                summed = _Extracted(*series.added(), series.paths)
                _add_products(inputs, other_arm, outputs, geometry, [summed], series.throughput())
                return
            again = (
                _Extracted(*series.refit(number, state), [series.paths[number]])
                for number, state in enumerate(series.states())
            )
            _add_products(inputs, other_arm, outputs, geometry, again)


class _Extracted(NamedTuple):
    """An extraction and the raw frames that it is of."""

    exposure: Exposure
    location: Location
    result: ExposureResult
    used: list[Path]


def _can_be_added(inputs, series) -> bool:
    why = series.why_not_added()
    if why:
        inputs.note(f"{why}: the exposures are combined after extraction")
    return not why


def _add_products(inputs, other_arm, outputs, geometry, extracted: Iterable[_Extracted], throughput=None) -> None:
    """Images of each extraction as it comes, then the spectra of all together; `other_arm`: its mid-times."""
    from soxs_recipes.recipes.steps.object_products import (
        add_images,
        add_sky,
        add_spectra,
        add_trace,
        combined_qc,
        object_qc,
        orders_of_all,
        time_qc,
    )
    from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions

    results, times, used, qc = [], [], [], []
    for item in extracted:
        tell_choice(inputs, item.exposure, item.result)
        qc = object_qc(item.exposure, item.location, geometry, item.result)
        own = [*qc, *time_qc(inputs, item.used, other_arm)]
        exposure, result, its_own = item.exposure, item.result.without_fits(), item.used
        del item  # its fits are large, and the next one is made when it is asked for
        return_freed()
        add_images(inputs, outputs, exposure, result, own, its_own)
        results.append(result.without_images())
        times.append(max(exposure.frame.meta.exposure_time, 1e-3))
        used += its_own
        del exposure, result
    combined = combine_extractions(orders_of_all(inputs, [result.orders for result in results]), times)
    if throughput is not None:
        combined = replace(combined, throughput=throughput)
    qc = [*combined_qc(qc, combined), *time_qc(inputs, used, other_arm)]
    add_trace(outputs, combined, results, qc, used)
    add_sky(outputs, combined, qc, used)
    add_spectra(inputs, outputs, combined, sum(times), qc, used)
