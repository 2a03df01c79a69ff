"""What soxs_disp_solution and soxs_spatial_solution have in common: arc frames, line lists, line tables and QC."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Parameter
from soxs_recipes.recipes.steps.linearity_correction import CORRECT_LINEARITY
from soxs_recipes.recipes.steps.order_geometry import LAMP_CALIBRATIONS, lamp_exposures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from soxs_recipes.data.frame import Frame
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.reduction.dispersion.arc_lines import ArcSettings, ArcSolution
    from soxs_recipes.reduction.dispersion.arc_tables import ArcLineList, MeasuredLines

__all__ = [
    "ARC_CALIBRATIONS",
    "ARC_PARAMETERS",
    "ARC_QC",
    "arc_frame",
    "arc_qc",
    "arc_settings",
    "line_columns",
    "line_list",
    "name_missing",
    "slit_geometry",
]

_log = logging.getLogger(__name__)

ARC_CALIBRATIONS = (
    *LAMP_CALIBRATIONS,
    CalibrationInput("ARC_LINE_LIST_<ARM>", "lamp lines, vacuum wavelengths", static=True, agree_binning=False),
)

ARC_PARAMETERS = (
    CORRECT_LINEARITY,
    Parameter(
        "pinhole-detection-thres-sigma",
        float,
        6.0,
        "sigma",
        "Spots that stand out less than this from the filtered frame are not detected.",
        minimum=3.0,
        maximum=50.0,
        group="lines",
    ),
    Parameter(
        "search",
        float,
        25.0,
        "px",
        "Largest shift of the frame against the prediction that is looked for.",
        minimum=2.0,
        maximum=60.0,
        group="lines",
    ),
    Parameter(
        "wavelength-deg",
        int,
        7,
        "",
        "Highest degree in wavelength of the correction to the predicted format; the lines choose within it.",
        minimum=2,
        maximum=9,
        group="fit",
    ),
    Parameter(
        "order-deg",
        int,
        6,
        "",
        "Highest degree in order number of the same, where orders belong to one grating.",
        minimum=2,
        maximum=8,
        group="fit",
    ),
)

_PER_ORDER = (
    ("DETLINES TOT", "", "Listed lines that fall on the detector.", None, ""),
    ("DETLINES NUM", "", "Of these, measured.", None, "higher"),
    ("DETLINES FRAC", "", "DETLINES NUM over TOT.", None, "higher"),
    ("DETLINES CLIP NUM", "", "Measured lines that deviate and were left out.", None, ""),
    (
        "GOODLINES FRAC",
        "",
        "Unblended listed lines that hold the solution, over all of them.",
        (0.2, 1.0),
        "higher",
    ),
    ("X RES MIN", "px", "Smallest residual in x of the lines that hold the solution.", None, ""),
    ("X RES MAX", "px", "Largest residual in x.", None, "lower"),
    ("X RES MEDIAN", "px", "Median absolute residual in x.", (0.0, 0.15), "lower"),
    ("X RES SD", "px", "Standard deviation of the residuals in x.", None, "lower"),
    ("Y RES MIN", "px", "Smallest residual in y.", None, ""),
    ("Y RES MAX", "px", "Largest residual in y.", None, "lower"),
    ("Y RES MEDIAN", "px", "Median absolute residual in y.", (0.0, 0.15), "lower"),
    ("Y RES SD", "px", "Standard deviation of the residuals in y.", None, "lower"),
    ("XY RES MIN", "px", "Smallest distance between measured and fitted place.", None, ""),
    ("XY RES MAX", "px", "Largest distance between measured and fitted place.", None, "lower"),
    ("XY RES MEDIAN", "px", "Median distance between measured and fitted place.", None, "lower"),
    ("XY RES SD", "px", "Standard deviation of these distances.", None, "lower"),
    ("X DIFF MEDIAN", "px", "Median of measured minus predicted x.", None, ""),
    ("X DIFF SD", "px", "Robust scatter of measured minus predicted x.", None, ""),
    ("Y DIFF MEDIAN", "px", "Median of measured minus predicted y.", None, ""),
    ("Y DIFF SD", "px", "Robust scatter of measured minus predicted y.", None, ""),
    ("FWHM PIN MEDIAN", "px", "Median FWHM of the pinholes, the pixel's width taken out.", (0.5, 6.0), ""),
    ("FWHM PIN SD", "px", "Robust scatter of the FWHM.", None, ""),
    ("R PIN MEDIAN", "", "Median resolving power of pinhole images, the pixel's width taken out.", None, "higher"),
    ("R PIN SD", "", "Robust scatter of the resolving power.", None, ""),
    ("WAVE SCATTER", "nm", "Scatter of the listed wavelengths beyond the centring errors.", None, "lower"),
)

ARC_QC = (
    *(
        QCDefinition(name, unit, sentence, limits, per_order=True, better=better)
        for name, unit, sentence, limits, better in _PER_ORDER
    ),
    QCDefinition("SHIFT X", "px", "Shift in x of the frame against the prediction.", (-20.0, 20.0)),
    QCDefinition("SHIFT Y", "px", "Shift in y of the frame against the prediction.", (-20.0, 20.0)),
    QCDefinition("N ORDERS", "", "Orders with lines that hold the solution.", better="higher"),
)


def arc_frame(inputs: Inputs, tag: str) -> tuple[Frame, list[Path]]:
    """(the sum of the lamp frames, lamp-off subtracted; the frames used)."""
    from soxs_recipes.reduction.frames.preparation import subtract_off

    infrared = not inputs.arm.detector.has_bias
    paths = inputs.raw(f"{tag}_ON") if infrared else inputs.raw(tag)
    off_paths = inputs.raw(f"{tag}_OFF") if infrared else []
    on, off, used = lamp_exposures(inputs, paths, off_paths, photon_noise=True)
    if off:
        on = [subtract_off(frame, off) for frame in on]
    return _sum(on), used


def _sum(frames):
    """Sum of frames: each may show another lamp; a pixel unusable in one is unusable."""
    import numpy as np

    if len(frames) == 1:
        return frames[0]
    data, variance = (np.sum([getattr(f, name) for f in frames], axis=0) for name in ("data", "variance"))
    quality = np.bitwise_or.reduce([frame.quality for frame in frames])
    return frames[0].with_arrays(
        data=data.astype(np.float32), variance=variance.astype(np.float32), quality=quality, shared_variance=None
    )


def line_list(inputs: Inputs) -> ArcLineList:
    """The arm's lamp lines; a list without the optional columns serves as well."""
    import numpy as np

    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.dispersion.arc_tables import ArcLineList

    rows = {name.upper(): values for name, values in read_table(inputs.calibration("ARC_LINE_LIST"), 1).items()}
    wavelength = np.asarray(rows["WAVELENGTH"], dtype=np.float64)
    n = wavelength.size
    intensity = np.asarray(rows.get("INTENSITY", np.ones(n)), dtype=np.float64)
    positive = intensity[np.isfinite(intensity) & (intensity > 0)]
    fill = float(np.median(positive)) if positive.size else 1.0
    return ArcLineList(
        order=np.asarray(rows["ORDER"], dtype=int),
        wavelength=wavelength,
        ion=np.array([str(value).strip() for value in rows.get("ION", np.full(n, ""))]),
        intensity=np.where(np.isfinite(intensity) & (intensity > 0), intensity, fill),
        blend=np.asarray(rows.get("BLEND", np.zeros(n)), dtype=bool),
        seen=np.asarray(rows.get("SEEN", np.zeros(n)), dtype=bool),
    )


def arc_settings(parameters: Mapping[str, object], **changes: object) -> ArcSettings:
    """Settings of the search and the fit from a recipe's parameters."""
    from soxs_recipes.reduction.dispersion.arc_lines import ArcSettings

    return ArcSettings(
        search=parameters["search"],
        threshold=parameters["pinhole-detection-thres-sigma"],
        wavelength_degrees=(2, parameters["wavelength-deg"]),
        order_degrees=(2, parameters["order-deg"]),
        **changes,
    )


def name_missing(inputs: Inputs, result: ArcSolution) -> None:
    """Say which orders have no line, and which lamps seem to be dead; all notes of the fit go along."""
    import numpy as np

    lines = result.lines
    for note in result.notes:
        inputs.note(note)
    dead = [order.number for order in inputs.arm.orders if not lines.kept[lines.order == order.number].any()]
    if dead:
        names = ", ".join(str(number) for number in dead)
        inputs.mark_partial(f"no arc line found in order {names}: shape of the spectral format kept")
    clean = lines.inside & ~lines.blend
    for ion in np.unique(lines.ion[clean]):
        own = clean & (lines.ion == ion)
        if own.sum() >= 8 and lines.kept[own].mean() < 0.1:
            inputs.mark_partial(f"hardly a line of {ion} was found: lamp dead, or not lit?")


_LINE_COMMENTS = {
    "band": "name of the order",
    "wavelength": "in vacuum",
    "blend": "whether the list calls it blended",
    "slit": "slit position of the pinhole",
    "pinhole": "number of the pinhole, from 0",
    "x_predicted": "before the fit, from 0",
    "y_predicted": "before the fit, from 0",
    "x": "measured, from 0",
    "y": "measured, from 0",
    "x_fit": "by the solution",
    "y_fit": "by the solution",
    "fwhm_along": "along the dispersion, pixel width taken out",
    "fwhm_across": "across the dispersion",
    "x_residual": "measured minus fitted",
    "y_residual": "measured minus fitted",
    "fwhm": "geometric mean of both",
    "resolving_power": "wavelength over FWHM along the dispersion",
    "chi_square": "of the line's fit, reduced",
    "weight": "in the fit of the solution",
    "kept": "whether it holds the solution",
    "reason": "KEPT, or why not",
}


def line_columns(
    inputs: Inputs, lines: MeasuredLines
) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """Columns of the line table, their units and comments."""
    import numpy as np

    from soxs_recipes.reduction.dispersion.arc_tables import LineStatus

    bands = {order.number: order.band for order in inputs.arm.orders}
    pixels = (
        "x_predicted", "y_predicted", "x", "y", "x_error", "y_error", "x_fit", "y_fit", "fwhm_along",
        "fwhm_across",
    )  # fmt: skip
    columns = {
        "order": lines.order.astype(np.int16),
        "band": np.array([bands.get(int(number), "") for number in lines.order]),
        "wavelength": lines.wavelength,
        "ion": lines.ion,
        "blend": lines.blend,
        "slit": lines.slit,
        "pinhole": lines.pinhole.astype(np.int16),
        **{name: getattr(lines, name) for name in pixels},
        "x_residual": lines.x - lines.x_fit,
        "y_residual": lines.y - lines.y_fit,
        "flux": lines.flux.astype(np.float32),
        "flux_error": lines.flux_error.astype(np.float32),
        "fwhm": np.sqrt(lines.fwhm_along * lines.fwhm_across),
        "resolving_power": lines.resolving_power.astype(np.float32),
        "chi_square": lines.chi_square.astype(np.float32),
        "weight": lines.weight.astype(np.float32),
        "kept": lines.kept,
        "reason": np.array([LineStatus(code).name for code in lines.status]),
    }
    units = dict.fromkeys((*pixels, "x_residual", "y_residual", "fwhm"), "pix")
    units |= {"wavelength": "nm", "slit": "arcsec", "flux": "electron", "flux_error": "electron"}
    return columns, units, _LINE_COMMENTS


def arc_qc(inputs: Inputs, result: ArcSolution) -> list[QCParameter]:
    """All QC of `ARC_QC`, global and per order."""
    import numpy as np

    lines = result.lines
    qc = [
        QCParameter("SHIFT X", result.shift[0]),
        QCParameter("SHIFT Y", result.shift[1]),
        QCParameter("N ORDERS", int(np.unique(lines.order[lines.kept]).size)),
    ]
    for order in (None, *(order.number for order in inputs.arm.orders)):
        own = lines.inside & (True if order is None else lines.order == order)
        scatter = result.fit.wavelength_scatter
        values = [scatter[order]] if order in scatter else list(scatter.values())
        defined = [value for value in values if np.isfinite(value)]
        numbers = _line_numbers(lines, own) | ({"WAVE SCATTER": float(np.median(defined))} if defined else {})
        qc += [QCParameter(name, value, order) for name, value in numbers.items()]
    return qc


def _line_numbers(lines, own):
    import numpy as np

    kept, found, clean = own & lines.kept, own & lines.found, own & ~lines.blend
    total = int(own.sum())
    numbers = {
        "DETLINES TOT": total,
        "DETLINES NUM": int(found.sum()),
        "DETLINES FRAC": float(found.sum() / max(total, 1)),
        "DETLINES CLIP NUM": int((found & ~kept).sum()),
    }
    if clean.any():
        numbers["GOODLINES FRAC"] = float((kept & clean).sum() / clean.sum())
    if kept.any():
        x, y = (lines.x - lines.x_fit)[kept], (lines.y - lines.y_fit)[kept]
        for name, residual in (("X", x), ("Y", y), ("XY", np.hypot(x, y))):
            numbers |= {
                f"{name} RES MIN": float(residual.min()),
                f"{name} RES MAX": float(residual.max()),
                f"{name} RES MEDIAN": float(np.median(np.abs(residual))),
                f"{name} RES SD": float(residual.std()),
            }
        numbers |= _median_and_scatter("X DIFF", (lines.x - lines.x_predicted)[kept])
        numbers |= _median_and_scatter("Y DIFF", (lines.y - lines.y_predicted)[kept])
        numbers |= _median_and_scatter("FWHM PIN", np.sqrt(lines.fwhm_along * lines.fwhm_across)[kept])
        numbers |= _median_and_scatter("R PIN", lines.resolving_power[kept])
    return numbers


def _median_and_scatter(name, values):
    import numpy as np

    median = float(np.median(values))
    return {f"{name} MEDIAN": median, f"{name} SD": 1.4826 * float(np.median(np.abs(values - median)))}


def slit_geometry(inputs: Inputs, result: ArcSolution) -> list[QCParameter]:
    """Pinholes per line, slit scale and tilt at the middle of each order, and resolving power along the slit."""
    import numpy as np

    lines, axis = result.lines, inputs.arm.dispersion_axis
    qc = []
    for order in inputs.arm.orders:
        own = lines.kept & (lines.order == order.number)
        if not own.any():
            continue
        counts = np.unique(lines.wavelength[own], return_counts=True)[1]
        middle = 0.5 * (order.wavelength_min + order.wavelength_max)
        slope = result.solution.surface(order.number).slit_derivative(np.array([middle]), np.array([0.0]))
        across, along = (float(value[0]) for value in (slope if axis == 0 else slope[::-1]))
        ends = own & (np.abs(lines.slit) > 0.7 * np.abs(lines.slit).max())
        values = {
            "PINHOLE COUNT": float(np.median(counts)),
            "SLIT SCALE": 1.0 / abs(across),
            "SLIT TILT": float(np.degrees(np.arctan2(along, across)))
            if across > 0
            else float(np.degrees(np.arctan2(-along, -across))),
        }
        if ends.any():
            values["R PIN ENDS"] = float(np.median(lines.resolving_power[ends]))
        qc += [QCParameter(name, value, order.number) for name, value in values.items()]
    for name in ("PINHOLE COUNT", "SLIT SCALE", "SLIT TILT", "R PIN ENDS", ""):
        values = [parameter.value for parameter in qc if parameter.name == name and parameter.order is not None]
        if values:
            qc.append(QCParameter(name, float(np.median(values))))
    return qc
