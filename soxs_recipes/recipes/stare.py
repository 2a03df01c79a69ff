"""soxs_stare: objects that stay where they are on the slit, from raw exposures to spectra."""

from __future__ import annotations

import logging

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.recipes.base import Recipe
from soxs_recipes.recipes.declarations import CalibrationInput, Declaration, Product, RawInput
from soxs_recipes.recipes.spectroscopy import (
    EXTRACTION_PARAMETERS,
    OBJECT_CALIBRATIONS,
    extraction_settings,
    find_geometry,
    locate_exposure,
    master_flat,
    prepare_exposures,
)

__all__ = ["Stare"]

_log = logging.getLogger(__name__)
_SETUP = ("READ_MODE_ID", "SLIT")

_QC = (
    QCDefinition("N ORDERS", "", "Orders that were extracted."),
    QCDefinition("N EXPOSURES", "", "Exposures that went in."),
    QCDefinition("N SOURCES", "", "Sources found on the slit."),
    QCDefinition("VRAD BARYCOR", "km/s", "Barycentric correction at mid-exposure, not applied."),
    QCDefinition("TARGET FOUND", "", "Whether the target was seen at all."),
    QCDefinition("SNR MEDIAN", "", "Median signal-to-noise per bin.", per_order=True),
    QCDefinition("INNER ORDER PIX MEAN", "e-", "Mean of the pixels inside the orders.", per_order=True),
    QCDefinition("INNER ORDER PIX SUM", "e-", "Sum of the pixels inside the orders."),
    QCDefinition("SEEING", "arcsec", "FWHM along the slit at mid-order.", per_order=True),
    QCDefinition("SLIT POSITION", "arcsec", "Where the target stands on the slit.", per_order=True),
    QCDefinition("TRACE RUNG", "", "0 own trace, 1 joint with the other orders, 2 expected.", per_order=True),
    QCDefinition("TRACE ERR", "arcsec", "Error of the trace.", per_order=True),
    QCDefinition("TRACE RES", "arcsec", "Residuals of the trace, rms.", per_order=True),
    QCDefinition("SKYRES ON", "", "Width of sky residuals over noise on lines.", (0.7, 1.3), per_order=True),
    QCDefinition("SKYRES OFF", "", "Width of sky residuals over noise off lines.", (0.85, 1.05), per_order=True),
    QCDefinition("CR FRAC", "", "Pixels of the orders hit by cosmic rays.", (0.0, 0.05)),
    QCDefinition("ZP SHIFT", "px", "Shift along the dispersion from sky lines.", per_order=True),
    QCDefinition("ZP ERR", "px", "Error of ZP SHIFT.", per_order=True),
    QCDefinition("ZP N LINES", "", "Sky lines used.", per_order=True),
    QCDefinition("ZP APPLIED", "px", "Shift along the dispersion that the pixel maps were given."),
    QCDefinition("EDGE APPLIED", "px", "Shift across the dispersion that the pixel maps were given."),
    QCDefinition("SKY FWHM", "px", "Median FWHM of the sky lines."),
    QCDefinition("EDGE SHIFT", "px", "Shift of the slit's ends across the dispersion."),
    QCDefinition("EDGE ERR", "px", "Error of EDGE SHIFT."),
    QCDefinition("DISP RUNG", "", "0 2-D solution, 1 first solution, 2 spectral format."),
    QCDefinition("MASTER COST", "%", "Signal-to-noise that the masters' noise costs, median.", per_order=True),
    QCDefinition("THROUGHPUT MIN", "", "Smallest relative throughput of an exposure."),
    QCDefinition("COMBINE REJ NUM", "", "Bins of single exposures that disagreed with the others."),
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
            CalibrationInput(
                "RESP_TAB_<ARM>",
                "response of the arm",
                ladder="the archive's response, else spectra in counts",
                made_by="soxs_response",
                agree_binning=False,
            ),
            CalibrationInput(
                "RESP_ARCHIVE_<ARM>",
                "median response of earlier nights",
                ladder="spectra in counts",
                agree_binning=False,
            ),
            CalibrationInput("EXTCOEFF_TABLE", "atmospheric extinction", static=True, agree_binning=False),
        ),
        parameters=EXTRACTION_PARAMETERS,
        products=(
            Product("<KIND>_SLIT_ORDER1D_<ARM>", "counts per order", kind="spectrum"),
            Product("<KIND>_SLIT_MERGE1D_<ARM>", "counts, orders merged", kind="spectrum"),
            Product("<KIND>_SLIT_FLUX_ORDER1D_<ARM>", "flux per order", kind="spectrum", always=False),
            Product("<KIND>_SLIT_FLUX_MERGE1D_<ARM>", "flux, orders merged", kind="spectrum", always=False),
            Product("<KIND>_SLIT_SKYSUB_<ARM>", "sky-subtracted exposure", kind="image"),
            Product("<KIND>_SLIT_SKYMODEL_<ARM>", "model of the sky", kind="image"),
            Product("<KIND>_SLIT_SKY1D_<ARM>", "spectrum of the sky under the target", kind="table"),
            Product("<KIND>_SLIT_TRACE_<ARM>", "trace of the target and sources on the slit", kind="table"),
        ),
        qc=_QC,
        algorithm_version=1,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, locate, extract, combine, merge, calibrate."""
        from soxs_recipes.recipes.object_products import add_images, add_spectra, add_trace, object_qc
        from soxs_recipes.reduction.exposure_combination import combine_extractions
        from soxs_recipes.reduction.extraction import extract_exposure, make_grids

        paths = inputs.all_raw
        geometry = find_geometry(inputs, _binning(inputs, paths[0]))
        settings, axis = extraction_settings(parameters), inputs.arm.dispersion_axis
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
            _tell(inputs, exposure, result)
            qc = object_qc(exposure, location, geometry, result)
            add_images(inputs, outputs, exposure, result, qc)
            results.append(result.without_images())
            times.append(max(frame.meta.exposure_time, 1e-3))
            used.append(exposure.path)
        combined = combine_extractions(_same_orders(inputs, results), times)
        qc = [*_only_if_single(qc, len(results)), *_combined_qc(combined, results)]
        add_trace(outputs, combined, results, qc, used)
        add_spectra(inputs, outputs, combined, sum(times), qc, used)


def _binning(inputs, path) -> tuple[int, int]:
    """(y, x)."""
    values = [inputs.keyword(name, path, 1) for name in ("BINNING_Y", "BINNING_X")]
    return tuple(int(float(str(value))) for value in values)


def _tell(inputs, exposure, result) -> None:
    name, choice = exposure.path.name, result.choice
    inputs.note(f"{name}: {choice.reason}")
    if choice.doubtful:
        inputs.mark_partial(f"{name}: {choice.reason}")
    for source in choice.sources[1:]:
        _log.info("%s: another source at %+.2f arcsec, FWHM %.2f", name, source.position, source.fwhm)


def _same_orders(inputs, results):
    """Spectra of the orders that all exposures have."""
    common = set.intersection(*({item.spectrum.order for item in result.orders} for result in results))
    missing = {order.number for order in inputs.arm.orders} - common
    if missing:
        inputs.mark_partial(f"orders without a spectrum: {', '.join(str(order) for order in sorted(missing))}")
    return [[item for item in result.orders if item.spectrum.order in common] for result in results]


def _only_if_single(qc_parts, count):
    """Values that belong to one exposure; with several they stand in each exposure's image products."""
    return qc_parts if count == 1 else [item for item in qc_parts if item.name not in _REPLACED]


_REPLACED = ("SNR MEDIAN", "SEEING", "SLIT POSITION", "SKYRES ON", "SKYRES OFF", "MASTER COST", "N ORDERS")


def _combined_qc(combined, results):
    from soxs_recipes.recipes.object_products import spectrum_qc

    qc = [
        QCParameter("N EXPOSURES", len(results)),
        QCParameter("THROUGHPUT MIN", float(combined.throughput.min())),
        QCParameter("COMBINE REJ NUM", combined.rejected),
    ]
    return [*qc, *(spectrum_qc(combined.orders) if len(results) > 1 else [])]
