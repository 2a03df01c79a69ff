"""The one table of the cascade: which frames make a task, what a task needs, and what to do when that is missing.

Tags hold placeholders as in `recipes.framework.declarations`. Facts are the names of `FrameRecord.facts`. Time
ranges are in days relative to the frames that need the calibration; levels are ESO's: 0 as the calibration plan
asks, 1 good, 2 probably acceptable, 3 risky.
"""

from __future__ import annotations

from dataclasses import dataclass

from soxs_recipes.instrument.model import Arm

__all__ = ["LAMP_OFF", "NIGHT", "OPTIONAL_TASKS", "TASKS", "Association", "Rung", "Task", "TimeRange", "serves"]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """How far a calibration may lie from what it calibrates [days], and the level it then has."""

    before: float
    after: float
    level: int


# From the calibrations of the afternoon before to those of the morning after.
NIGHT = TimeRange(0.7, 0.7, 0)
WEEK = TimeRange(7.0, 7.0, 1)
MONTH = TimeRange(30.0, 30.0, 2)
EVER = TimeRange(1e9, 1e9, 3)
UP_TO_A_WEEK = (NIGHT, WEEK)
UP_TO_A_MONTH = (NIGHT, WEEK, MONTH)
ALWAYS = (NIGHT, WEEK, MONTH, EVER)


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder: a kind of calibration that would do.

    Attributes
    ----------
    source : str
        Name of the task that makes it, or "raw" for raw frames as they are.
    tags : tuple of str
        Tags that are handed on; the first must be there, the others come along when they are.
    match : tuple of str
        Facts that must agree (a fact that one side does not know agrees with anything).
    ranges : tuple of TimeRange
        The narrowest that holds gives the level.
    nearest : str
        Fact that ranks the candidates before their distance in time does.
    bracket : str
        Fact that needs one candidate below and one above, between which the recipe interpolates; of raw frames
        those on one side will do.
    mark : str
        What the product is told when this rung is used; "" when it is as planned.
    of_other_arm : bool
        Whether it is made in another arm.
    """

    source: str
    tags: tuple[str, ...]
    match: tuple[str, ...] = ()
    ranges: tuple[TimeRange, ...] = UP_TO_A_MONTH
    nearest: str = ""
    mark: str = ""
    bracket: str = ""
    of_other_arm: bool = False


@dataclass(frozen=True, slots=True)
class Association:
    """A calibration that a task wants: the ladder of what may serve, best first.

    Attributes
    ----------
    name : str
        For people.
    rungs : tuple of Rung
    otherwise : str
        What the product is told when no rung holds; "" when nothing is lost.
    detector : str
        "ccd" or "infrared" when only such detectors need it, "" for all.
    """

    name: str
    rungs: tuple[Rung, ...]
    otherwise: str = ""
    detector: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of recipe call.

    Attributes
    ----------
    name : str
        Also the folder of its products.
    recipe : str
    main : tuple of str
        Tags of its main input.
    companions : tuple of str
        Tags that join a call of main frames and make none by themselves.
    group : tuple of str
        Facts that agree within one call.
    associations : tuple of Association
    main_from : tuple of str
        Tasks whose products are the main input, a call each; none for raw frames.
    detector : str
        As in Association.
    label : tuple of str
        Facts that make the name of a call.
    seconds : float
        Typical duration in an arm with a CCD, to begin long work first; what counts is how tasks compare.
    megabytes : float
        Typical size of its products, for the check of disk space.
    per_frame : bool
        Whether both are those of one frame, not of the whole call.
    is_target : bool
        Whether it is what an observer asked for.
    is_standard : bool
        Whether it is a star that the response is made from; these and the targets are in the closing table.
    relabel : str
        Tag under which the recipe gets its main frames, when that is not their own.
    on_demand : bool
        Whether it runs only when a ladder leads to it.
    optional : bool
        Whether it runs only when a person asks for it.
    """

    name: str
    recipe: str
    main: tuple[str, ...]
    group: tuple[str, ...]
    associations: tuple[Association, ...] = ()
    main_from: tuple[str, ...] = ()
    detector: str = ""
    label: tuple[str, ...] = ()
    seconds: float = 5.0
    megabytes: float = 40.0
    is_target: bool = False
    is_standard: bool = False
    relabel: str = ""
    on_demand: bool = False
    per_frame: bool = False
    companions: tuple[str, ...] = ()
    optional: bool = False

    def expected(self, frames: int, arm: Arm) -> tuple[float, float]:
        """(seconds, megabytes) of a call on that many frames of an arm."""
        number = max(1, frames) if self.per_frame else 1
        slower = 1.0 if arm.detector.has_bias else _INFRARED_SLOWER
        return self.seconds * number * slower, self.megabytes * number


def serves(entry: Task | Association, arm: Arm) -> bool:
    """Whether a task or an association exists in an arm."""
    return not entry.detector or (entry.detector == "ccd") == arm.detector.has_bias


_INFRARED_SLOWER = 1.6  # fifteen orders instead of four
SETUP = ("binning", "read_mode", "read_name")
LAMP_OFF = ("WAVE_PIN_<ARM>_OFF", "ORDERDEF_<ARM>_OFF", "FLAT_SLIT_<ARM>_OFF", "WAVE_MPH_<ARM>_OFF")

BIAS = Association(
    name="bias",
    rungs=(
        Rung("bias", ("MASTER_BIAS_<ARM>", "BP_MAP_RP_<ARM>"), SETUP, UP_TO_A_WEEK),
        # Frames without overscan have no other level than that of a bias, however old.
        Rung("bias", ("MASTER_BIAS_<ARM>", "BP_MAP_RP_<ARM>"), SETUP, ALWAYS, mark="bias older than a week"),
    ),
    otherwise="no bias: level from the overscan only",
    detector="ccd",
)
_DARK_TAGS = ("MASTER_DARK_<ARM>", "BP_MAP_RP_<ARM>")
_DARKS = (
    Rung("dark", _DARK_TAGS, (*SETUP, "exptime"), UP_TO_A_MONTH),
    Rung(
        "dark", _DARK_TAGS, ("binning", "exptime"), ALWAYS, mark="dark older than a month or of another read mode"
    ),
    Rung("dark", _DARK_TAGS, SETUP, UP_TO_A_MONTH, nearest="exptime", bracket="exptime"),
    Rung(
        "dark", _DARK_TAGS, ("binning",), ALWAYS, nearest="exptime", mark="dark of another exposure time, scaled"
    ),
    Rung(
        "lamp_off_dark",
        _DARK_TAGS,
        ("binning",),
        ALWAYS,
        nearest="exptime",
        mark="no dark: lamp-off frames of the calibrations instead",
    ),
)
DARK = Association("dark", _DARKS, "no dark: thermal background and dark current stay in", "infrared")
CCD_DARK = Association(
    "dark", (Rung("dark", ("MASTER_DARK_<ARM>",), (*SETUP, "exptime"), UP_TO_A_MONTH),), detector="ccd"
)


def _lamp_off(off_tag: str) -> Association:
    """Lamp-off frames of one template (or at least of the night) with equal exposure time, else a dark."""
    return Association(
        name="lamp-off",
        rungs=(
            Rung("raw", (off_tag,), ("template_start", "exptime", "binning"), UP_TO_A_WEEK),
            Rung("raw", (off_tag,), ("night", "exptime", "binning"), UP_TO_A_WEEK),
            *_DARKS[:4],
            Rung(
                "raw",
                (off_tag,),
                ("night", "binning"),
                UP_TO_A_WEEK,
                "exptime",
                "lamp-off of another exposure time",
            ),
        ),
        otherwise="no lamp-off frames and no dark: background stays in",
        detector="infrared",
    )


DISPERSION = Association(
    name="dispersion solution",
    rungs=(
        Rung("disp_solution", ("DISP_TAB_<ARM>",), ("binning",), UP_TO_A_WEEK),
        Rung(
            "disp_solution",
            ("DISP_TAB_<ARM>",),
            ("binning",),
            ALWAYS,
            mark="dispersion solution older than a week",
        ),
    ),
    otherwise="no single-pinhole arc: dispersion of the format tables",
)
ORDER_CENTRES = Association(
    name="order centres",
    rungs=(
        Rung("order_centres", ("ORDER_TAB_CENTR_<ARM>",), ("binning",), UP_TO_A_WEEK),
        Rung(
            "order_centres",
            ("ORDER_TAB_CENTR_<ARM>",),
            ("binning",),
            ALWAYS,
            mark="order centres older than a week",
        ),
    ),
    otherwise="no pinhole flat: order positions of the format tables",
)
KNOWN_CENTRES = Association("order centres", ORDER_CENTRES.rungs[:1])
_FLAT_TAGS = ("MASTER_FLAT_<ARM>", "ORDER_TAB_EDGES_<ARM>", "BLAZE_<ARM>")
FLAT = Association(
    name="flat",
    rungs=(
        Rung("flat", _FLAT_TAGS, (*SETUP, "slit"), UP_TO_A_WEEK),
        Rung(
            "flat", _FLAT_TAGS, ("binning", "slit"), ALWAYS, mark="flat older than a week or of another read mode"
        ),
        Rung("flat", _FLAT_TAGS, ("binning",), ALWAYS, nearest="slit_width", mark="flat of another slit"),
        Rung(
            "order_centres",
            ("ORDER_TAB_CENTR_<ARM>",),
            ("binning",),
            ALWAYS,
            mark="no flat: pixel response stays in",
        ),
    ),
    otherwise="no flat: pixel response and edges of the orders unknown",
)
EDGES = Association(
    "order edges",
    (
        Rung("flat", ("ORDER_TAB_EDGES_<ARM>", "MASTER_FLAT_<ARM>"), ("binning",), UP_TO_A_WEEK),
        Rung(
            "flat",
            ("ORDER_TAB_EDGES_<ARM>", "MASTER_FLAT_<ARM>"),
            ("binning",),
            ALWAYS,
            mark="flat older than a week",
        ),
    ),
)
_SPATIAL_TAGS = ("DISP_TAB_2D_<ARM>", "DISP_IMAGE_<ARM>")
SPATIAL = Association(
    name="2-D solution",
    rungs=(
        Rung("spatial_solution", _SPATIAL_TAGS, ("binning",), (NIGHT,)),
        Rung(
            "spatial_solution",
            _SPATIAL_TAGS,
            ("binning",),
            ALWAYS,
            mark="2-D solution of another night, shifted to the sky lines",
        ),
        Rung(
            "disp_solution",
            ("DISP_TAB_<ARM>",),
            ("binning",),
            ALWAYS,
            mark="no multi-pinhole arc: dispersion solution without slit term",
        ),
    ),
    otherwise="no arcs: dispersion of the format tables, shifted to the sky lines",
)
RESPONSE = Association(
    name="response",
    rungs=(
        Rung("response", ("RESP_TAB_<ARM>",), (), UP_TO_A_WEEK),
        Rung("response", ("RESP_TAB_<ARM>",), (), ALWAYS, mark="response older than a week"),
        Rung("response", ("RESP_ARCHIVE_<ARM>",), (), ALWAYS, mark="no standard star: median of earlier nights"),
        Rung("static", ("RESP_ARCHIVE_<ARM>",), mark="no standard star: archive response"),
    ),
    otherwise="no standard star: spectrum in counts",
)
OTHER_ARM = Association(
    "line check of the other arm",
    (Rung("line_check", ("LINE_CHECK_<ARM>",), ("target", "night"), UP_TO_A_WEEK, of_other_arm=True),),
)
# Each response joins those before it.
ARCHIVE = Association(
    "responses of earlier nights",
    (
        Rung("response", ("RESP_ARCHIVE_<ARM>",), (), (TimeRange(1e9, 0.0, 0),)),
        Rung("static", ("RESP_ARCHIVE_<ARM>",)),
    ),
)
LINEARITY = Association(
    "linearity", (Rung("lingain", ("LINEARITY_COEFF_<ARM>", "BP_MAP_NL_<ARM>"), SETUP, ALWAYS),)
)
# Where faint targets should run: along the slit's ends as a bright star does.
STANDARD_TRACE = Association(
    "trace of a standard",
    tuple(
        Rung(f"standard{mode}", ("FLUX_SLIT_TRACE_<ARM>",), ("binning",), UP_TO_A_WEEK)
        for mode in ("", "_nod", "_offset")
    ),
)
# Arcs that an observer took around an exposure: within hours, not those of the afternoon.
USER_ARCS = Association(
    "arcs before and after",
    (Rung("raw", ("WAVE_SLIT_<ARM>",), ("binning",), (TimeRange(0.15, 0.15, 0),), bracket="mjd"),),
)
DETECTOR = (BIAS, DARK, CCD_DARK, LINEARITY)


# How an object is observed: end of the task's name -> recipe, word in the tag, typical seconds and megabytes.
_MODES = {
    "": ("soxs_stare", "STARE", 5.0, 135.0),
    "_nod": ("soxs_nod", "NOD", 3.5, 70.0),
    "_offset": ("soxs_offset", "OFFSET", 2.7, 70.0),
    "_map": ("soxs_mapping", "MAP", 5.0, 135.0),
}


def _observed(name: str, prefix: str, mode: str, *, is_standard: bool = False) -> Task:
    """Exposures of an object in one mode, from raw frames to spectra."""
    recipe, word, seconds, megabytes = _MODES[mode]
    is_offset = word == "OFFSET"
    # Exposures that are subtracted from one another need not be equally long.
    subtracted = word in ("NOD", "OFFSET")
    return Task(
        name=name + mode,
        recipe=recipe,
        main=(f"{prefix}_{word}_<ARM>",),
        companions=("SKY_OFFSET_<ARM>",) if is_offset else (),
        group=("arm", *SETUP, "slit", "night", "observation", *(() if subtracted else ("exptime",))),
        associations=(*DETECTOR, FLAT, SPATIAL, USER_ARCS, *(() if is_standard else (RESPONSE, STANDARD_TRACE))),
        label=("target", "slit"),
        seconds=seconds,
        megabytes=megabytes,
        per_frame=True,
        is_target=not is_standard,
        is_standard=is_standard,
    )


_STANDARDS = tuple(_observed("standard", "STD_FLUX", mode, is_standard=True) for mode in ("", "_nod", "_offset"))
_TELLURICS = tuple(_observed("telluric", "STD_TELL", mode) for mode in ("", "_nod", "_offset"))
_SCIENCE = tuple(_observed("science", "OBJECT", mode) for mode in _MODES)


TASKS = (
    Task(
        name="lingain",
        recipe="soxs_lingain",
        main=("DETLIN_<ARM>", "DETLIN_<ARM>_ON"),
        companions=("DETLIN_<ARM>_OFF",),
        group=("arm", *SETUP, "slit", "night"),
        associations=(
            Association("biases", (Rung("raw", ("BIAS_<ARM>",), SETUP, UP_TO_A_WEEK),), detector="ccd"),
        ),
        label=("read_mode",),
        seconds=10.0,
        megabytes=20.0,
    ),
    Task(
        name="bias",
        recipe="soxs_mbias",
        main=("BIAS_<ARM>",),
        group=("arm", *SETUP, "night"),
        detector="ccd",
        label=("read_mode",),
        seconds=2.0,
        megabytes=55.0,
    ),
    Task(
        name="dark",
        recipe="soxs_mdark",
        main=("DARK_<ARM>",),
        group=("arm", *SETUP, "exptime", "night"),
        associations=(BIAS, LINEARITY),
        label=("exptime",),
        seconds=1.5,
        megabytes=65.0,
    ),
    Task(
        name="lamp_off_dark",
        recipe="soxs_mdark",
        main=LAMP_OFF,
        group=("arm", *SETUP, "exptime", "night"),
        detector="infrared",
        label=("exptime",),
        relabel="DARK_<ARM>",
        on_demand=True,
        seconds=1.5,
        megabytes=65.0,
    ),
    Task(
        name="disp_solution",
        recipe="soxs_disp_solution",
        main=("WAVE_PIN_<ARM>", "WAVE_PIN_<ARM>_ON"),
        group=("arm", *SETUP, "night", "template_start", "exptime"),
        associations=(BIAS, CCD_DARK, LINEARITY, _lamp_off("WAVE_PIN_<ARM>_OFF")),
        seconds=1.0,
        megabytes=2.0,
    ),
    Task(
        name="order_centres",
        recipe="soxs_order_centres",
        main=("ORDERDEF_<ARM>", "ORDERDEF_<ARM>_ON"),
        group=("arm", *SETUP, "night", "template_start", "exptime"),
        associations=(BIAS, CCD_DARK, LINEARITY, _lamp_off("ORDERDEF_<ARM>_OFF"), DISPERSION),
        seconds=0.7,
        megabytes=2.0,
    ),
    Task(
        name="flat",
        recipe="soxs_mflat",
        main=("FLAT_SLIT_<ARM>", "FLAT_SLIT_<ARM>_QTH", "FLAT_SLIT_<ARM>_D2", "FLAT_SLIT_<ARM>_ON"),
        group=("arm", *SETUP, "slit", "night"),
        associations=(BIAS, CCD_DARK, LINEARITY, _lamp_off("FLAT_SLIT_<ARM>_OFF"), ORDER_CENTRES, DISPERSION),
        label=("slit",),
        seconds=3.0,
        megabytes=100.0,
    ),
    Task(
        name="spatial_solution",
        recipe="soxs_spatial_solution",
        main=("WAVE_MPH_<ARM>", "WAVE_MPH_<ARM>_ON"),
        group=("arm", *SETUP, "night", "template_start", "exptime"),
        associations=(
            BIAS,
            CCD_DARK,
            LINEARITY,
            _lamp_off("WAVE_MPH_<ARM>_OFF"),
            DISPERSION,
            KNOWN_CENTRES,
            EDGES,
        ),
        seconds=3.5,
        megabytes=75.0,
    ),
    *_STANDARDS,
    Task(
        name="response",
        recipe="soxs_response",
        main=("FLUX_SLIT_ORDER1D_<ARM>",),
        main_from=tuple(task.name for task in _STANDARDS),
        group=(),
        associations=(ARCHIVE,),
        label=("target", "slit"),
        seconds=0.7,
        megabytes=2.0,
    ),
    *_TELLURICS,
    *_SCIENCE,
    Task(
        name="line_check",
        recipe="soxs_line_check",
        main=("SCI_SLIT_ORDER1D_<ARM>",),
        main_from=tuple(task.name for task in _SCIENCE),
        group=(),
        associations=(OTHER_ARM,),
        label=("target", "slit"),
        seconds=0.2,
        megabytes=2.0,
    ),
    Task(
        name="straighten",
        recipe="soxs_straighten",
        main=("SCI_SLIT_SKYSUB_<ARM>", "SCI_SLIT_SKYMODEL_<ARM>"),
        main_from=tuple(task.name for task in _SCIENCE),
        group=(),
        associations=(FLAT, SPATIAL, RESPONSE),
        label=("target", "slit"),
        seconds=2.0,
        megabytes=120.0,
        optional=True,
    ),
)
OPTIONAL_TASKS = tuple(task.name for task in TASKS if task.optional)
