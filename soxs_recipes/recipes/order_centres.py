"""soxs_order_centres: where the orders run, from the flat of a single pinhole."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput
from soxs_recipes.recipes.steps.linearity_correction import CORRECT_LINEARITY
from soxs_recipes.recipes.steps.order_geometry import (
    LAMP_CALIBRATIONS,
    dispersion_solution,
    full_ranges,
    lamp_exposures,
)

__all__ = ["OrderCentres"]

_FWHM = 2.3548200450309493


class OrderCentres(Recipe):
    """Measures order centres on single-pinhole flats."""

    declaration = Declaration(
        name="soxs_order_centres",
        synopsis="Find where the orders run, on the flat of a single pinhole.",
        description=(
            "The offset of the frame from the predicted trace (first dispersion solution, or the spectral format "
            "when there is none) is found by itself, up to just under half the distance of two orders, and may "
            "change smoothly over the detector. Gaussians integrated over pixels are fitted to blocks of rows "
            "across each order, and a robust weighted polynomial runs through their centres, of the lowest degree "
            "that the data ask for. An order that is too faint keeps its predicted trace, moved as the others "
            "moved, and the product says so.\n\n"
            "In the NIR lamp-off frames are subtracted, or the master dark when there are none."
        ),
        raws=(
            RawInput("ORDERDEF_<ARM>", "single-pinhole flat", detector="ccd", agree=("READ_MODE_ID",)),
            RawInput("ORDERDEF_<ARM>_ON", "single-pinhole flat, lamp on", detector="infrared"),
            RawInput("ORDERDEF_<ARM>_OFF", "the same with the lamp off", required=False, detector="infrared"),
        ),
        calibrations=(
            CalibrationInput(
                "DISP_TAB_<ARM>",
                "first dispersion solution",
                ladder="the spectral format predicts where the orders are",
                made_by="soxs_disp_solution",
                agree_binning=False,
            ),
            *LAMP_CALIBRATIONS,
        ),
        parameters=(
            CORRECT_LINEARITY,
            Parameter(
                "disp-axis-deg",
                int,
                11,
                "",
                "Highest degree of the polynomial along the dispersion axis; the data choose within it.",
                minimum=2,
                maximum=15,
                group="fit",
            ),
            Parameter(
                "search",
                float,
                25.0,
                "px",
                "Largest shift against the prediction that is looked for.",
                minimum=1.0,
                group="centres",
            ),
            Parameter(
                "peak-sigma-limit",
                float,
                5.0,
                "sigma",
                "Cross sections whose flux stands out less than this do not count.",
                minimum=2.0,
                group="centres",
            ),
            Parameter(
                "poly-fitting-residual-clipping-sigma",
                float,
                5.0,
                "sigma",
                "Centres further from the polynomial than this are left out.",
                minimum=2.0,
                group="fit",
            ),
        ),
        products=(Product("ORDER_TAB_CENTR_<ARM>", "order centres and the measured samples", kind="table"),),
        qc=(
            QCDefinition("N ORDERS", "", "Orders that were measured.", better="higher"),
            QCDefinition("SAMPLES TOT", "", "Cross sections tried.", per_order=True),
            QCDefinition(
                "SAMPLES DET NUM",
                "",
                "Cross sections in which the trace is seen.",
                per_order=True,
                better="higher",
            ),
            QCDefinition(
                "SAMPLES DET FRAC", "", "SAMPLES DET NUM over TOT.", (0.5, 1.0), per_order=True, better="higher"
            ),
            QCDefinition("SAMPLES CLIP NUM", "", "Detected centres that were left out.", per_order=True),
            QCDefinition(
                "SAMPLES CLIP FRAC",
                "",
                "SAMPLES CLIP NUM over DET NUM.",
                (0.0, 0.2),
                per_order=True,
                better="lower",
            ),
            QCDefinition("RES MIN", "px", "Smallest residual of a centre."),
            QCDefinition("RES MAX", "px", "Largest residual of a centre."),
            QCDefinition("RES MEDIAN", "px", "Median absolute residual.", per_order=True, better="lower"),
            QCDefinition(
                "RES SD", "px", "Standard deviation of the residuals.", (0.0, 0.15), per_order=True, better="lower"
            ),
            QCDefinition(
                "SHIFT", "px", "Median of measured minus predicted centre.", (-30.0, 30.0), per_order=True
            ),
            QCDefinition("FWHM PIN", "px", "Median width of the pinhole's image, pixel removed.", per_order=True),
            QCDefinition("FLUX PIN", "e-", "Median flux of a cross section.", per_order=True),
        ),
        algorithm_version=4,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, predict, trace."""
        from soxs_recipes.fits_files import order_table_hdus
        from soxs_recipes.reduction.orders.order_tracing import predict_centres, trace_orders

        frame, used = _frame(inputs)
        solution, own = dispersion_solution(inputs, ("DISP_TAB",))
        if not own:
            inputs.note("no DISP_TAB: the spectral format predicts where the orders are")
        axis, binning = inputs.arm.dispersion_axis, frame.meta.binning
        whole = inputs.arm.detector.science_shape(solution.binning)
        predicted = predict_centres(solution, full_ranges(inputs), whole, axis).rebinned(binning)
        tracing = trace_orders(
            frame,
            predicted,
            max_degree=parameters["disp-axis-deg"],
            search=parameters["search"],
            detection_sigma=parameters["peak-sigma-limit"],
            clip_sigma=parameters["poly-fitting-residual-clipping-sigma"],
        )
        if tracing.bridged:
            names = ", ".join(str(order) for order in tracing.bridged)
            inputs.mark_partial(f"too faint to be measured, predicted and moved with the others: order {names}")
        hdus = [*order_table_hdus(tracing.table), _samples_hdu(tracing)]
        outputs.add("ORDER_TAB_CENTR", hdus, qc=_qc(tracing, predicted), used=used)


def _frame(inputs):
    """(the mean of the lamp frames, lamp-off subtracted; the frames used)."""
    from soxs_recipes.reduction.frames.preparation import subtract_off

    infrared = not inputs.arm.detector.has_bias
    paths = inputs.raw("ORDERDEF_ON") if infrared else inputs.raw("ORDERDEF")
    off_paths = inputs.raw("ORDERDEF_OFF") if infrared else []
    on, off, used = lamp_exposures(inputs, paths, off_paths, photon_noise=True)
    frame = _mean(on)
    return (subtract_off(frame, off) if off else frame), used


def _mean(frames):
    """Mean of frames; a pixel counts where it is usable."""
    import numpy as np

    if len(frames) == 1:
        return frames[0]
    good = np.stack([frame.usable for frame in frames])
    count = np.maximum(good.sum(axis=0), 1)
    data = np.where(good, np.stack([frame.data for frame in frames]), 0.0).sum(axis=0) / count
    variance = np.where(good, np.stack([frame.variance for frame in frames]), 0.0).sum(axis=0) / count**2
    bits = np.stack([frame.quality for frame in frames])
    quality = np.where(good.any(axis=0), np.bitwise_and.reduce(bits), np.bitwise_or.reduce(bits))
    variance = np.where(good.any(axis=0), variance, frames[0].variance)
    return frames[0].with_arrays(
        data=data.astype(np.float32), variance=variance.astype(np.float32), quality=quality.astype(np.int32)
    )


def _samples_hdu(tracing):
    from soxs_recipes.fits_files import table_hdu

    samples = tracing.samples
    columns = {
        "ORDER": samples.order,
        "ALONG": samples.along,
        "CENTRE": samples.centre,
        "ERROR": samples.error,
        "SIGMA": samples.sigma,
        "FLUX": samples.amplitude,
        "DETECTED": samples.detected,
        "USED": samples.used,
    }
    units = dict.fromkeys(("ALONG", "CENTRE", "ERROR", "SIGMA"), "pix") | {"FLUX": "electron"}
    return table_hdu("SAMPLES", columns, units)


def _qc(tracing, predicted):
    import numpy as np

    samples = tracing.samples
    residual = np.full(samples.order.size, np.nan)
    shift = residual.copy()
    for trace in tracing.table.traces:
        mine = samples.order == trace.order
        residual[mine] = samples.centre[mine] - trace.centre_at(samples.along[mine])
        shift[mine] = samples.centre[mine] - predicted[trace.order].centre_at(samples.along[mine])
    found = len(tracing.table.traces) - len(tracing.bridged)
    used = residual[samples.used]
    qc = [QCParameter("N ORDERS", found)]
    qc += [QCParameter("RES MIN", used.min()), QCParameter("RES MAX", used.max())]
    for order in (None, *tracing.table.orders):
        mine = np.ones(samples.order.size, dtype=bool) if order is None else samples.order == order
        qc += _sample_qc(samples, mine, residual, shift, order)
    return qc


def _sample_qc(samples, mine, residual, shift, order):
    import numpy as np

    detected, used = mine & samples.detected, mine & samples.used
    total, seen, kept = int(mine.sum()), int(detected.sum()), int(used.sum())
    values = {
        "SAMPLES TOT": total,
        "SAMPLES DET NUM": seen,
        "SAMPLES DET FRAC": seen / max(total, 1),
        "SAMPLES CLIP NUM": seen - kept,
    }
    if seen:
        values["SAMPLES CLIP FRAC"] = (seen - kept) / seen
    if kept:
        values |= {
            "RES MEDIAN": float(np.median(np.abs(residual[used]))),
            "RES SD": float(np.std(residual[used])),
            "SHIFT": float(np.median(shift[used])),
            "FWHM PIN": _FWHM * float(np.median(samples.sigma[used])),
            "FLUX PIN": float(np.median(samples.amplitude[used])),
        }
    return [QCParameter(name, value, order) for name, value in values.items()]
