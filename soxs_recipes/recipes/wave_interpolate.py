"""soxs_wave_interpolate: the user's own arcs, before and after, brought to an exposure's time."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput
from soxs_recipes.recipes.steps.object_declarations import OBJECT_CALIBRATIONS, ON_SKY_TAGS

__all__ = ["WaveInterpolate"]

_QC = (
    QCDefinition("N ARCS", "", "Arcs that were measured."),
    QCDefinition("SHIFT", "px", "Shift along the dispersion that the solution was given."),
    QCDefinition("ERR", "px", "Error of SHIFT."),
    QCDefinition("ACROSS", "px", "Shift across the dispersion that the solution was given."),
    QCDefinition("ACROSS ERR", "px", "Error of ACROSS."),
    QCDefinition("BRACKETED", "", "Whether the time lies between two arcs."),
    QCDefinition("ARC DISTANCE", "h", "From the nearest arc."),
    QCDefinition("DRIFT", "px/h", "Drift along the dispersion between the first and the last arc."),
    QCDefinition("DRIFT ACROSS", "px/h", "Drift across the dispersion."),
    QCDefinition("N LINES", "", "Lines used, of the arc with fewest."),
    QCDefinition("FWHM SLIT", "px", "Median FWHM of the lines."),
    QCDefinition("R SLIT", "", "Resolving power of the lines, pixels' width taken out.", per_order=True),
    QCDefinition(
        "SLIT TILT CHANGE", "px", "By how much more lines are shifted at the slit's end than in mid-slit."
    ),
)


class WaveInterpolate(Recipe):
    """Moves the 2-D solution to where the user's own arcs have it at the time of an exposure."""

    declaration = Declaration(
        name="soxs_wave_interpolate",
        synopsis="Interpolate the user's own arcs in time to the middle of an exposure.",
        description=(
            "Takes arcs through the slit or the single pinhole that were taken before and after exposures, "
            "the exposures (or a time), and the 2-D solution of the day. Each arc is measured against the "
            "solution: through the slit its lines are taken all along it, order by order, and the slit's ends in "
            "their light give the shift across; through the pinhole each spot gives both. The shift in the middle "
            "of an exposure is linear in time between the two arcs that enclose it. A single arc is used as it "
            "is, a time outside of all arcs takes the nearest; both are marked.\n\n"
            "The product is a DISP_TAB_2D that holds at that time, one for each exposure; recipes that extract "
            "take it instead of the day's. soxs_stare does the same by itself when arcs are among its frames."
        ),
        raws=(
            RawInput("WAVE_SLIT_<ARM>", "arcs through the slit", required=False, one_of="arc"),
            RawInput("WAVE_PIN_<ARM>", "arcs through the pinhole", required=False, one_of="arc", detector="ccd"),
            RawInput(
                "WAVE_PIN_<ARM>_ON", "arcs through the pinhole", required=False, one_of="arc", detector="infrared"
            ),
            *(RawInput(tag, f"{text} to calibrate", required=False) for tag, text in ON_SKY_TAGS),
        ),
        calibrations=(
            *(
                entry
                for entry in OBJECT_CALIBRATIONS
                if entry.short in ("MASTER_BIAS", "MASTER_DARK", "BP_MAP_REF", "ORDER_TAB_EDGES")
            ),
            CalibrationInput(
                "DISP_TAB_2D_<ARM>",
                "2-D dispersion solution of the day",
                required=True,
                made_by="soxs_spatial_solution",
                agree_binning=False,
            ),
            CalibrationInput("ARC_LINE_LIST_<ARM>", "lamp lines", static=True, agree_binning=False),
        ),
        parameters=(
            Parameter(
                "mjd",
                float,
                0.0,
                "d",
                "Time (MJD) for which the solution is wanted; 0 takes the middle of the exposures given.",
                minimum=0.0,
            ),
        ),
        products=(Product("DISP_TAB_2D_<ARM>", "2-D solution at the time of the exposure", kind="table"),),
        qc=_QC,
        algorithm_version=5,
    )

    def process(self, inputs, parameters, outputs):
        """Measure the arcs, interpolate, move the solution."""
        from soxs_recipes.recipes.steps.spectroscopy import binning_of, find_geometry
        from soxs_recipes.recipes.steps.user_arcs import ARC_TAGS, measure_arcs

        declared = {entry.short for entry in inputs.declaration.raws if entry.serves(inputs.arm)}
        paths = [path for tag in ARC_TAGS if tag in declared for path in inputs.raw(tag)]
        wanted = _wanted(inputs, paths, parameters["mjd"])
        arcs = measure_arcs(inputs, paths, find_geometry(inputs, binning_of(inputs, paths[0])))
        if not arcs:
            raise InputError(f"{inputs.declaration.name}: the lamps were off in all arcs given; add lit ones")
        for time, reference in wanted:
            _write(inputs, outputs, arcs, time, reference)


def _wanted(inputs, arcs, mjd):
    """(time, reference frame) of every solution to make."""
    import math

    if mjd > 0:
        return [(mjd, arcs[0])]
    times = [(inputs.mid_time(path), path) for path in inputs.all_raw if path not in arcs]
    known = [(time, path) for time, path in times if math.isfinite(time)]
    for time, path in times:
        if not math.isfinite(time):
            inputs.mark_partial(f"left out: {path.name}: its time is unknown")
    if not known:
        raise InputError(f"{inputs.declaration.name}: add the exposures to calibrate, or give their time as mjd")
    return known


def _write(inputs, outputs, arcs, time, reference):
    from soxs_recipes.fits_files import dispersion_solution_hdus, read_dispersion_solution
    from soxs_recipes.recipes.steps.object_products import object_name
    from soxs_recipes.recipes.steps.user_arcs import drift_table, shift_at

    point = shift_at(inputs, arcs, time, reference.name)
    moves = (point.across, point.along) if inputs.arm.dispersion_axis == 0 else (point.along, point.across)
    binning = tuple(int(inputs.keyword(name, reference, 1)) for name in ("BINNING_Y", "BINNING_X"))
    solution = read_dispersion_solution(inputs.calibration("DISP_TAB_2D")).rebinned(binning).shifted(*moves)
    outputs.add(
        "DISP_TAB_2D",
        [*dispersion_solution_hdus(solution), drift_table(arcs, point, time)],
        qc=_quality(inputs, arcs, point),
        reference=reference,
        object_name=object_name(inputs, reference),
    )


def _quality(inputs, arcs, point):
    import math

    from soxs_recipes.reduction.flexure.zero_point import resolving_powers

    tilts = [arc.tilt for arc in arcs if math.isfinite(arc.tilt)]  # a pinhole tells none
    qc = [
        QCParameter("N ARCS", len(arcs)),
        QCParameter("SHIFT", point.along),
        QCParameter("ERR", point.along_error),
        QCParameter("ACROSS", point.across),
        QCParameter("ACROSS ERR", point.across_error),
        QCParameter("BRACKETED", point.how == "interpolated"),
        QCParameter("ARC DISTANCE", point.distance),
        QCParameter("N LINES", min(arc.zero_point.lines for arc in arcs)),
        QCParameter("FWHM SLIT", max(arc.zero_point.fwhm for arc in arcs)),
        QCParameter("SLIT TILT CHANGE", max(tilts, key=abs, default=math.nan)),
    ]
    first, last = (pick(arcs, key=lambda arc: arc.shift.time).shift for pick in (min, max))
    hours = 24.0 * (last.time - first.time)
    if hours > 0:
        qc.append(QCParameter("DRIFT", (last.along - first.along) / hours))
        qc.append(QCParameter("DRIFT ACROSS", (last.across - first.across) / hours))
    powers = resolving_powers(arcs[0].zero_point, arcs[0].boxes)
    qc += [QCParameter("R SLIT", value, order) for order, value in powers.items()]
    if powers:
        qc.append(QCParameter("R SLIT", sorted(powers.values())[len(powers) // 2]))
    return qc
