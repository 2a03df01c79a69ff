"""soxs_mflat: master flat, order edges, blaze and scattered light from slit flats."""

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

__all__ = ["MasterFlat"]

_FLATS = "slit flats of one slit"
_SETUP = ("READ_MODE_ID", "SLIT")
_EXAMPLE_SIGNAL = 1000.0  # e-/px for which the cost of the flat's noise is stated
_INNER = 3.0  # px inside the edges that QC leaves out

_PARAMETERS = (
    CORRECT_LINEARITY,
    Parameter(
        "stack-sigma",
        float,
        6.0,
        "sigma",
        "Values further from the median exposure than this are hits.",
        minimum=3.0,
        group="combination",
    ),
    Parameter(
        "edge-degree",
        int,
        5,
        "",
        "Highest degree of the distance from centre to edge along the dispersion axis.",
        minimum=0,
        maximum=10,
        group="order edges",
    ),
    Parameter(
        "edge-sigma",
        float,
        5.0,
        "sigma",
        "Edges further from their polynomial than this are left out.",
        minimum=2.0,
        group="order edges",
    ),
    Parameter(
        "subtract-background",
        bool,
        True,
        "",
        "Subtract the scattered light between orders.",
        group="scattered light",
    ),
    Parameter(
        "blaze-knot-spacing",
        float,
        "auto",
        "px",
        "Longest distance of the knots of the smooth blaze: finer structure stays in the flat.",
        minimum=20.0,
        typical=200.0,
        group="blaze",
    ),
    Parameter(
        "lamp-line-limit",
        float,
        "auto",
        "",
        "Height over the smooth blaze from which a sharp feature is the lamp's own and divided out; 0 for never.",
        minimum=0.0,
        typical=0.12,
        group="blaze",
    ),
    Parameter(
        "denoise",
        bool,
        True,
        "",
        "Where the lamp is faint, draw pixels towards what pixels usually are; errors stay true.",
        group="pixel response",
    ),
    Parameter(
        "low-sensitivity",
        float,
        0.5,
        "",
        "Pixels that answer less than this, beyond 6 sigma, are flagged.",
        minimum=0.05,
        maximum=0.95,
        group="pixel response",
    ),
)

_QC = (
    QCDefinition("N ORDERS", "", "Orders that are lit.", better="higher"),
    QCDefinition(
        "INNER ORDER PIX MEAN", "", "Mean of the flat inside the edges.", (0.9, 1.1), per_order=True, better=1.0
    ),
    QCDefinition("INNER ORDER PIX SUM", "", "Sum of the flat inside the edges."),
    QCDefinition("ORDEXP10", "e-", "10th percentile of a mean exposure inside the edges.", per_order=True),
    QCDefinition("ORDEXP50", "e-", "Median of a mean exposure inside the edges.", per_order=True),
    QCDefinition("ORDEXP90", "e-", "90th percentile of a mean exposure inside the edges.", per_order=True),
    QCDefinition("LAMP FLUX", "e-/s", "Median of a mean exposure inside the edges per second."),
    QCDefinition(
        "LEVEL SD", "%", "Standard deviation of the exposures' levels, largest of the lamps.", (0.0, 20.0)
    ),
    QCDefinition("COSMIC NUM", "", "Values of single exposures that were left out as hits."),
    QCDefinition("EDGE SAMPLES NUM", "", "Edge positions that were used.", per_order=True, better="higher"),
    QCDefinition("EDGE SAMPLES FRAC", "", "EDGE SAMPLES NUM over those detected.", (0.6, 1.0), better="higher"),
    QCDefinition("EDGE RES SD", "px", "Residuals of the edges, rms.", (0.0, 0.3), per_order=True, better="lower"),
    QCDefinition("SLIT LENGTH", "arcsec", "Distance of the edges, median.", (8.0, 16.0), per_order=True),
    QCDefinition("SLIT LENGTH PIX", "px", "Distance of the edges, median.", per_order=True),
    QCDefinition("BKG MEDIAN", "e-", "Scattered light under the orders, median."),
    QCDefinition("BKG FRAC", "%", "Scattered light over lamp light, median.", (-2.0, 10.0)),
    QCDefinition("RESPONSE SD", "%", "Spread of the pixels' response, lamp noise removed.", per_order=True),
    QCDefinition(
        "FLAT NOISE", "%", "Median relative error of the flat.", (0.0, 3.0), per_order=True, better="lower"
    ),
    QCDefinition(
        "NOISE COST",
        "%",
        "Signal-to-noise that the flat costs a pixel of 1000 e-, median.",
        (0.0, 5.0),
        per_order=True,
        better="lower",
    ),
    QCDefinition("N LOW SENS", "", "Pixels inside the edges of low sensitivity."),
    QCDefinition("COLDPIX NUM", "", "Unusable pixels inside the edges."),
    QCDefinition("COLDPIX FRAC", "", "COLDPIX NUM over all pixels inside the edges.", (0.0, 0.02), better="lower"),
    QCDefinition(
        "NO FLAT FRAC",
        "",
        "Pixels inside the edges that no lamp lights.",
        (0.0, 0.2),
        per_order=True,
        better="lower",
    ),
)


class MasterFlat(Recipe):
    """Makes the master flat, finds the order edges, keeps blaze and scattered light."""

    declaration = Declaration(
        name="soxs_mflat",
        synopsis="Make the master flat and find the order edges.",
        description=(
            "Exposures are normalised by level and added without hits; in the NIR lamp-off frames (or the dark) "
            "are subtracted. Order edges are the half-flux points of the slit's blurred ends. Scattered light, a "
            "smooth surface through the pixels between orders, is subtracted. In each order the lamp image is "
            "divided by a smooth blaze at each pixel's wavelength (along the tilted slit), so that the flat "
            "holds pixel response, fringes and the illumination along the slit (1 at mid-slit); between orders it "
            "is 1. Lamp and blaze are kept as BLAZE. In the UV-VIS the responses of QTH and deuterium lamp are "
            "averaged by variance, each counting where it is good. Emission lines of a lamp and what air absorbs "
            "in its path go with the blaze.\n\n"
            "With `denoise` (empirical Bayes) the noise never exceeds the true spread of the pixels. What the "
            "flat's noise costs is QC NOISE COST. Where no lamp reaches it is 1, with bit NO_FLAT. Extension "
            "RECTIFIED shows the orders of the flat laid straight."
        ),
        raws=(
            RawInput("FLAT_SLIT_<ARM>", _FLATS, 1, None, False, _SETUP, 5, "flat", "ccd"),
            RawInput("FLAT_SLIT_<ARM>_QTH", f"{_FLATS}, QTH lamp", 1, None, False, _SETUP, 5, "flat", "ccd"),
            RawInput("FLAT_SLIT_<ARM>_D2", f"{_FLATS}, deuterium lamp", 1, None, False, _SETUP, 5, "flat", "ccd"),
            RawInput("FLAT_SLIT_<ARM>_ON", f"{_FLATS}, lamp on", 1, None, True, _SETUP, 5, "", "infrared"),
            RawInput("FLAT_SLIT_<ARM>_OFF", "the same with the lamp off", required=False, detector="infrared"),
        ),
        calibrations=(
            CalibrationInput(
                "ORDER_TAB_CENTR_<ARM>",
                "order centres",
                ladder="the orders are looked for on the flats from their predicted trace",
                made_by="soxs_order_centres",
            ),
            CalibrationInput(
                "DISP_TAB_2D_<ARM>",
                "2-D solution",
                ladder="the first solution or the spectral format gives the slit's tilt",
                made_by="soxs_spatial_solution",
                agree_binning=False,
            ),
            CalibrationInput(
                "DISP_TAB_<ARM>",
                "first dispersion solution",
                ladder="the spectral format gives the slit's tilt",
                made_by="soxs_disp_solution",
                agree_binning=False,
            ),
            *LAMP_CALIBRATIONS,
        ),
        parameters=_PARAMETERS,
        products=(
            Product("MASTER_FLAT_<ARM>", "response of the pixels and illumination of the slit"),
            Product("ORDER_TAB_EDGES_<ARM>", "order centres and edges, and the measured samples", kind="table"),
            Product("BLAZE_<ARM>", "lamp times blaze of each order", kind="table"),
            Product("BKG_FLAT_<ARM>", "scattered light of a mean exposure"),
        ),
        qc=_QC,
        algorithm_version=6,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, then reduce; say what is missing."""
        from soxs_recipes.fits_files import image_hdus, order_table_hdus
        from soxs_recipes.reduction.flat.flat_field import slit_tilts
        from soxs_recipes.reduction.flat.flat_reduction import reduce_flats

        lamps, used = _lamps(inputs)
        shape, binning = lamps[0].frames[0].shape, lamps[0].frames[0].meta.binning
        solution, _ = dispersion_solution(inputs, ("DISP_TAB_2D", "DISP_TAB"))
        axis = inputs.arm.dispersion_axis
        table, slit_lengths = _centres(inputs, solution, binning)
        tilts = slit_tilts(solution, full_ranges(inputs), shape[axis], axis, binning)
        result = reduce_flats(
            _one_by_one(lamps),
            table,
            slit_lengths=slit_lengths,
            tilts=tilts,
            clip_sigma=parameters["stack-sigma"],
            edge_degree=parameters["edge-degree"],
            edge_clip_sigma=parameters["edge-sigma"],
            subtract_scattered=parameters["subtract-background"],
            knot_spacing=parameters["blaze-knot-spacing"] / binning[axis],
            denoise=parameters["denoise"],
            low_sensitivity=parameters["low-sensitivity"],
            lamp_line_limit=parameters["lamp-line-limit"],
        )
        _state_gaps(inputs, result)
        qc = _qc(result, _slit_scales(result.edges.table, solution))
        flat = [*image_hdus(result.master.frame, unit=""), _rectified_hdu(result, tilts)]
        outputs.add("MASTER_FLAT", flat, qc=qc, used=used)
        edges = [*order_table_hdus(result.edges.table), _edge_samples_hdu(result.edges.samples)]
        outputs.add("ORDER_TAB_EDGES", edges, qc=qc, used=used)
        outputs.add("BLAZE", [_blaze_hdu(result, solution, full_ranges(inputs))], qc=qc, used=used)
        outputs.add("BKG_FLAT", image_hdus(result.scattered), qc=qc, used=used)


def _one_by_one(lamps: list):
    """The list's items, which leave the list."""
    while lamps:
        yield lamps.pop(0)


def _lamps(inputs):
    """(exposures of each lamp, frames used)."""
    from soxs_recipes.reduction.flat.flat_reduction import LampExposures

    infrared = not inputs.arm.detector.has_bias
    tags = ("FLAT_SLIT_ON",) if infrared else ("FLAT_SLIT", "FLAT_SLIT_QTH", "FLAT_SLIT_D2")
    off_paths = inputs.raw("FLAT_SLIT_OFF") if infrared else []
    lamps, used = [], []
    for tag in tags:
        paths = inputs.raw(tag)
        if paths:
            on, off, kept = lamp_exposures(inputs, paths, off_paths, photon_noise=False)
            lamps.append(LampExposures(tag.rsplit("_", 1)[-1], on, off))
            used += [*kept, *(off_paths if off else [])]
    return lamps, used


def _centres(inputs, solution, binning):
    """(measured centres, None), or (predicted ones, slit lengths [px] to look for)."""
    from soxs_recipes.fits_files import read_order_table
    from soxs_recipes.reduction.orders.order_tracing import predict_centres

    path = inputs.calibration("ORDER_TAB_CENTR")
    if path is not None:
        return read_order_table(path).rebinned(binning), None
    inputs.mark_partial("no ORDER_TAB_CENTR: the orders were looked for on the flats, centres are half-way")
    whole = inputs.arm.detector.science_shape(solution.binning)
    table = predict_centres(solution, full_ranges(inputs), whole, inputs.arm.dispersion_axis).rebinned(binning)
    scales = _slit_scales(table, solution)
    return table, {order: inputs.arm.slit_length * scales[order] for order in table.orders}


def _state_gaps(inputs, result):
    for name in result.dark_exposures:
        inputs.mark_partial(f"flat exposure {name} holds next to no light and is left out")
    for name in result.dark_lamps:
        inputs.mark_partial(f"lamp {name} gives no light and is left out")
    if result.master.dark_orders:
        names = ", ".join(str(order) for order in result.master.dark_orders)
        inputs.mark_partial(f"no lamp lights order {names}: not flat-fielded there")
    if result.edges.unmeasured:
        names = ", ".join(
            f"{order} ({'lower' if side < 0 else 'upper'})" for order, side in result.edges.unmeasured
        )
        inputs.mark_partial(f"edges taken from the other orders' slit length: order {names}")


def _slit_scales(table, solution):
    """Pixels per arcsec across the dispersion of each order, in the table's pixels."""
    import numpy as np

    across = 1 - table.dispersion_axis
    factor = solution.binning[across] / table.binning[across]
    scales = {}
    for order in set(table.orders) & set(solution.orders):
        surface = solution.surface(order)
        wavelength = np.linspace(*surface.wavelength_domain, 33)[8:-8]
        slopes = surface.slit_derivative(wavelength, np.zeros_like(wavelength))
        scale = float(np.median(np.abs(slopes[0 if table.dispersion_axis == 0 else 1]))) * factor
        if scale > 0:
            scales[order] = scale
    return scales


def _rectified_hdu(result, tilts):
    """All orders laid straight, one above the other, to be looked at."""
    import numpy as np
    from astropy.io import fits

    from soxs_recipes.reduction.orders.order_rectification import rectify_order

    table = result.edges.table
    strips = [rectify_order(result.master.frame.data, table, order, tilts.get(order)) for order in table.orders]
    hdu = fits.ImageHDU(np.concatenate(strips), name="RECTIFIED")
    first = 1
    for order, strip in zip(table.orders, strips, strict=True):
        hdu.header[f"ORD{order}"] = (first, f"first row of order {order}")
        first += strip.shape[0]
    return hdu


def _edge_samples_hdu(samples):
    from soxs_recipes.fits_files import table_hdu

    columns = {
        "ORDER": samples.order,
        "SIDE": samples.side.astype("i2"),
        "ALONG": samples.along,
        "EDGE": samples.edge,
        "ERROR": samples.error,
        "BLUR": samples.blur,
        "DETECTED": samples.detected,
        "USED": samples.used,
    }
    units = dict.fromkeys(("ALONG", "EDGE", "ERROR", "BLUR"), "pix")
    return table_hdu("SAMPLES", columns, units, {"SIDE": "-1 lower pixel coordinate, 1 upper"})


def _blaze_hdu(result, solution, ranges):
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    curves = result.master.blazes
    axis, binning = result.edges.table.dispersion_axis, result.edges.table.binning
    factor = binning[axis] / solution.binning[axis]
    columns = {
        "ORDER": np.concatenate([np.full(curve.along.size, curve.order, dtype=np.int16) for curve in curves]),
        "PIXEL": np.concatenate([curve.along for curve in curves]),
        "WAVELENGTH": np.concatenate([_wavelengths(curve, solution, ranges, axis, factor) for curve in curves]),
        "BLAZE": np.concatenate([curve.blaze for curve in curves]),
        "ERROR": np.concatenate([curve.error for curve in curves]),
    }
    units = {"PIXEL": "pix", "WAVELENGTH": "nm", "BLAZE": "electron", "ERROR": "electron"}
    comments = {
        "PIXEL": "along the dispersion, 0-based, trimmed",
        "WAVELENGTH": "vacuum, at mid-slit",
        "BLAZE": "mean exposure at mid-slit, 0 where unlit",
    }
    return table_hdu("BLAZE", columns, units, comments)


def _wavelengths(curve, solution, ranges, axis, factor):
    """Wavelength at mid-slit of each row."""
    import numpy as np

    if curve.order not in solution.orders or curve.order not in ranges:
        return np.full(curve.along.size, np.nan)
    wavelength = np.linspace(*ranges[curve.order], 512)
    x, y = solution.surface(curve.order).evaluate(wavelength, np.zeros_like(wavelength))
    along = y if axis == 0 else x
    ascending = np.argsort(along)
    return np.interp((curve.along + 0.5) * factor - 0.5, along[ascending], wavelength[ascending])


def _qc(result, scales):
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag, is_usable

    frame, table = result.master.frame, result.edges.table
    orders = table.order_image(frame.shape, margin=-_INNER).ravel()
    inside = np.flatnonzero(orders)
    # Order after order, each a slice.
    inside = inside[np.argsort(orders[inside], kind="stable")]
    orders = orders[inside]
    light, background, flat, variance, quality = (
        image.ravel()[inside]
        for image in (result.light, result.scattered.data, frame.data, frame.variance, frame.quality)
    )
    low, cold = (quality & np.int32(QualityFlag.LOW_SENSITIVITY)) != 0, ~is_usable(quality)
    time = max(frame.meta.exposure_time, 1e-3)
    samples = result.edges.samples
    values = {
        "N ORDERS": len(result.master.blazes),
        "INNER ORDER PIX SUM": float(flat.sum(dtype=np.float64)),
        "LAMP FLUX": float(np.median(light)) / time,
        "LEVEL SD": 100.0 * max(float(np.std(levels)) for levels in result.levels.values()),
        "COSMIC NUM": result.rejected,
        "EDGE SAMPLES FRAC": float(samples.used.sum() / max(samples.detected.sum(), 1)),
        "BKG MEDIAN": float(np.median(background)),
        "BKG FRAC": 100.0 * float(np.median(background) / max(np.median(light), 1.0)),
        "N LOW SENS": int(low.sum()),
        "COLDPIX NUM": int(cold.sum()),
        "COLDPIX FRAC": float(cold.sum() / max(cold.size, 1)),
    }
    qc = [QCParameter(name, value) for name, value in values.items()]
    pixels = light, flat, variance, quality
    qc += _pixel_qc(*pixels, None)
    for order in table.orders:
        own = slice(*np.searchsorted(orders, (order, order + 1)))
        qc += _pixel_qc(*(values[own] for values in pixels), order)
    return qc + _edge_qc(result.edges, scales) + _blaze_qc(result.master.blazes)


def _pixel_qc(light, flat, variance, quality, order):
    """QC of some pixels, arrays (n,)."""
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag, is_usable

    if not quality.size:
        return []
    levels = np.percentile(light, (10, 50, 90))
    unlit = (quality & np.int32(QualityFlag.NO_FLAT)) != 0
    values = {"ORDEXP10": levels[0], "ORDEXP50": levels[1], "ORDEXP90": levels[2], "NO FLAT FRAC": unlit.mean()}
    good = is_usable(quality)
    if good.any():
        flat = flat[good]
        relative = np.median(variance[good] / flat**2)
        loss = 1.0 - 1.0 / np.sqrt(1.0 + _EXAMPLE_SIGNAL * relative)
        values["INNER ORDER PIX MEAN"] = flat.mean(dtype=np.float64)
        values["FLAT NOISE"] = 100.0 * np.sqrt(relative)
        values["NOISE COST"] = 100.0 * loss
    return [QCParameter(name, float(value), order) for name, value in values.items()]


def _edge_qc(edges, scales):
    import numpy as np

    residuals = np.array(list(edges.residual.values()))
    qc = [
        QCParameter("EDGE SAMPLES NUM", int(edges.samples.used.sum())),
        QCParameter("EDGE RES SD", float(np.sqrt(np.mean(residuals**2)))),
    ]
    lengths, arcseconds = [], []
    for trace in edges.table.traces:
        along = np.linspace(*trace.along_domain, 101)
        lower, upper = trace.edges_at(along)
        length = float(np.median(upper - lower))
        lengths.append(length)
        own = [value for (order, _), value in edges.residual.items() if order == trace.order]
        qc.append(QCParameter("SLIT LENGTH PIX", length, trace.order))
        used = int(edges.samples.used[edges.samples.order == trace.order].sum())
        qc.append(QCParameter("EDGE SAMPLES NUM", used, trace.order))
        if own:
            qc.append(QCParameter("EDGE RES SD", float(np.sqrt(np.mean(np.square(own)))), trace.order))
        if trace.order in scales:
            arcseconds.append(length / scales[trace.order])
            qc.append(QCParameter("SLIT LENGTH", arcseconds[-1], trace.order))
    qc.append(QCParameter("SLIT LENGTH PIX", float(np.median(lengths))))
    if arcseconds:
        qc.append(QCParameter("SLIT LENGTH", float(np.median(arcseconds))))
    return qc


def _blaze_qc(blazes):
    import numpy as np

    qc = [QCParameter("RESPONSE SD", 100.0 * float(np.median([curve.spread for curve in blazes])))]
    return qc + [QCParameter("RESPONSE SD", 100.0 * curve.spread, curve.order) for curve in blazes]
