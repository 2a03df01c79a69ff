"""What the recipes that extract objects declare in common: calibrations, parameters, products, QC parameters."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Parameter, Product, RawInput
from soxs_recipes.recipes.steps.linearity_correction import CORRECT_LINEARITY, LINEARITY_CALIBRATIONS

__all__ = [
    "EXTRACTION_PARAMETERS",
    "GEOMETRY_CALIBRATIONS",
    "IMAGE_PRODUCTS",
    "OBJECT_CALIBRATIONS",
    "OBJECT_QC",
    "OBJECT_SETUP",
    "ON_SKY_TAGS",
    "RESPONSE_CALIBRATIONS",
    "SPECTRUM_PRODUCTS",
    "TRACE_RUNGS",
    "USER_ARC_CALIBRATIONS",
    "USER_ARC_PARAMETERS",
    "exposures_of_mode",
]

_MODES = ("STARE", "NOD", "OFFSET")
# (tag, what it is) of all exposures on sky.
ON_SKY_TAGS = (
    *((f"OBJECT_{mode}_<ARM>", "science") for mode in (*_MODES, "MAP")),
    ("SKY_OFFSET_<ARM>", "sky"),
    *((f"STD_FLUX_{mode}_<ARM>", "flux standard") for mode in _MODES),
    *((f"STD_TELL_{mode}_<ARM>", "telluric standard") for mode in _MODES),
)

# Keywords that agree among the exposures of one call.
OBJECT_SETUP = ("READ_MODE_ID", "SLIT")


def exposures_of_mode(mode: str) -> tuple[RawInput, ...]:
    """Exposures of one kind that a mode's recipe takes: science, or standards for flux or tellurics."""
    kinds = (("OBJECT", "science"), ("STD_FLUX", "flux standard"), ("STD_TELL", "telluric standard"))
    return tuple(
        RawInput(f"{stem}_{mode}_<ARM>", text, 1, None, False, OBJECT_SETUP, 1, "exposure") for stem, text in kinds
    )


_DETECTOR_CALIBRATIONS = (
    CalibrationInput(
        "MASTER_BIAS_<ARM>",
        "master bias",
        ladder="only the overscan level is subtracted",
        made_by="soxs_mbias",
        detector="ccd",
        agree=("READ_MODE_ID",),
    ),
    CalibrationInput(
        "MASTER_DARK_<ARM>",
        "master dark",
        ladder="in the NIR the sky fit takes up what is smooth of the dark; hot pixels stay",
        made_by="soxs_mdark",
        agree=("READ_MODE_ID",),
    ),
    CalibrationInput("BP_MAP_REF_<ARM>", "bad pixels that are known", static=True, agree_binning=False),
    *LINEARITY_CALIBRATIONS,
)

GEOMETRY_CALIBRATIONS = (
    CalibrationInput(
        "MASTER_FLAT_<ARM>",
        "master flat of the same slit",
        ladder="the flat of another slit, else no correction of pixel response",
        made_by="soxs_mflat",
        agree=("SLIT",),
    ),
    CalibrationInput(
        "ORDER_TAB_EDGES_<ARM>",
        "edges of the orders",
        ladder="orders are as wide as the slit is long",
        made_by="soxs_mflat",
        agree_binning=False,
    ),
    CalibrationInput(
        "DISP_TAB_2D_<ARM>",
        "2-D dispersion solution",
        ladder="the first solution, else the spectral format, shifted to the sky lines",
        made_by="soxs_spatial_solution",
        agree_binning=False,
    ),
    CalibrationInput(
        "DISP_TAB_<ARM>",
        "first dispersion solution",
        ladder="the spectral format, shifted to the sky lines",
        made_by="soxs_disp_solution",
        agree_binning=False,
    ),
    CalibrationInput(
        "DISP_IMAGE_<ARM>",
        "pixel maps; they are made anew from the solution",
        ladder="not needed",
        made_by="soxs_spatial_solution",
        agree_binning=False,
    ),
    CalibrationInput("SPECTRAL_FORMAT_<ARM>", "optical model", static=True, agree_binning=False),
    CalibrationInput("SKY_LINE_LIST", "night-sky lines", static=True, agree_binning=False),
)

# The user's own wavelength calibration: arcs before and after the exposures; without them nothing changes.
USER_ARC_CALIBRATIONS = (
    CalibrationInput("WAVE_SLIT_<ARM>", "arcs of the user's own, through the slit", ladder="not needed"),
    CalibrationInput(
        "WAVE_PIN_<ARM>", "arcs of the user's own, through the pinhole", ladder="not needed", detector="ccd"
    ),
    CalibrationInput(
        "WAVE_PIN_<ARM>_ON",
        "arcs of the user's own, through the pinhole",
        ladder="not needed",
        detector="infrared",
    ),
    CalibrationInput("ARC_LINE_LIST_<ARM>", "lamp lines", static=True, agree_binning=False),
)
USER_ARC_PARAMETERS = (
    Parameter(
        "use-arcs",
        bool,
        True,
        "",
        "With arcs within 3 h before and after the exposure, move the solution to its mid-time between them.",
        group="wavelengths",
    ),
)

OBJECT_CALIBRATIONS = (*_DETECTOR_CALIBRATIONS, *GEOMETRY_CALIBRATIONS)

RESPONSE_CALIBRATIONS = (
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
)

EXTRACTION_PARAMETERS = (
    CORRECT_LINEARITY,
    Parameter(
        "target-position",
        float,
        0.0,
        "arcsec",
        "Where on the slit the target should be, from mid-slit.",
        minimum=-6.5,
        maximum=6.5,
        group="target",
    ),
    Parameter(
        "position-tolerance",
        float,
        2.0,
        "arcsec",
        "A source this near the expected position is the target.",
        minimum=0.1,
        maximum=13.0,
        group="target",
    ),
    Parameter(
        "force-position",
        bool,
        False,
        "",
        "Extract exactly at target-position, whatever is seen on the slit.",
        group="target",
    ),
    Parameter(
        "force-fwhm",
        float,
        0.0,
        "arcsec",
        "Extract with a profile of this width; 0 lets the data tell.",
        minimum=0.0,
        maximum=10.0,
        group="target",
    ),
    Parameter(
        "boxcar-aperture",
        float,
        1.25,
        "FWHM",
        "Half-width of the boxcar extraction that stands beside the optimal one.",
        minimum=0.2,
        maximum=6.0,
        group="aperture",
    ),
    Parameter(
        "clip-slit-edge",
        float,
        1.5,
        "px",
        "Pixels nearer than this to either end of the slit are left out.",
        minimum=0.0,
        maximum=15.0,
        group="aperture",
    ),
    Parameter("use-lacosmic", bool, True, "", "Look for cosmic rays in single exposures.", group="cosmic rays"),
    Parameter(
        "lacosmic-sigma",
        float,
        5.0,
        "sigma",
        "How far above the model a cosmic ray must stand.",
        minimum=3.0,
        maximum=100.0,
        group="cosmic rays",
    ),
    Parameter(
        "subtract-background", bool, True, "", "Subtract the light between the orders.", group="scattered light"
    ),
    Parameter(
        "refine-sky",
        bool,
        True,
        "",
        "Fit slit illumination, tilt and line width along the slit to the sky.",
        group="sky",
    ),
    Parameter(
        "correct-flexure",
        bool,
        True,
        "",
        "Shift the pixel maps to the sky lines and the slit's ends.",
        group="wavelengths",
    ),
    Parameter(
        "maximum-sources",
        int,
        3,
        "",
        "Other sources on the slit that are fitted with the target.",
        minimum=0,
        maximum=6,
        group="target",
    ),
)

SPECTRUM_PRODUCTS = (
    Product("<KIND>_SLIT_ORDER1D_<ARM>", "counts per order", kind="spectrum"),
    Product("<KIND>_SLIT_MERGE1D_<ARM>", "counts, orders merged", kind="spectrum"),
    Product("<KIND>_SLIT_FLUX_ORDER1D_<ARM>", "flux per order", kind="spectrum", always=False),
    Product("<KIND>_SLIT_FLUX_MERGE1D_<ARM>", "flux, orders merged", kind="spectrum", always=False),
    Product("<KIND>_SLIT_SKY1D_<ARM>", "spectrum of the sky under the target", kind="table"),
    Product("<KIND>_SLIT_TRACE_<ARM>", "trace of the target and sources on the slit", kind="table"),
)

IMAGE_PRODUCTS = (
    Product("<KIND>_SLIT_SKYSUB_<ARM>", "sky-subtracted exposure", kind="image"),
    Product("<KIND>_SLIT_SKYMODEL_<ARM>", "model of the sky", kind="image"),
)

# Where a trace came from, best first: what `TRACE RUNG` says in headers.
TRACE_RUNGS = {"own": 0, "joint": 1, "exposures": 2, "standard": 3, "expected": 4}

OBJECT_QC = (
    QCDefinition("N ORDERS", "", "Orders that were extracted.", better="higher"),
    QCDefinition("N EXPOSURES", "", "Exposures that went in."),
    QCDefinition("MJD MID", "d", "Middle of the exposure, of several weighted by time."),
    QCDefinition("SYNC DIFF", "s", "Mid-time after that of the other arm; the largest.", (-60.0, 60.0)),
    QCDefinition("N SOURCES", "", "Sources found on the slit."),
    QCDefinition("VRAD BARYCOR", "km/s", "Barycentric correction at mid-exposure, not applied."),
    QCDefinition("TARGET FOUND", "", "Whether the target was seen at all.", better="higher"),
    QCDefinition("SNR MEDIAN", "", "Median signal-to-noise per bin.", per_order=True, better="higher"),
    QCDefinition("INNER ORDER PIX MEAN", "e-", "Mean of the pixels inside the orders.", per_order=True),
    QCDefinition("INNER ORDER PIX SUM", "e-", "Sum of the pixels inside the orders."),
    QCDefinition(
        "PROFILE ERR",
        "%",
        "Error of the flux, the same in all bins, from the profile along the slit; not part of ERR.",
        per_order=True,
        better="lower",
    ),
    QCDefinition("SEEING", "arcsec", "FWHM along the slit at mid-order.", per_order=True),
    QCDefinition("SLIT POSITION", "arcsec", "Where the target stands on the slit.", per_order=True),
    QCDefinition(
        "TRACE RUNG",
        "",
        "0 own trace, 1 joint over orders, 2 over exposures, 3 a standard's, 4 expected.",
        per_order=True,
    ),
    QCDefinition("TRACE ERR", "arcsec", "Error of the trace.", per_order=True, better="lower"),
    QCDefinition("TRACE RES", "arcsec", "Residuals of the trace, rms.", per_order=True, better="lower"),
    QCDefinition(
        "SKYRES ON", "", "Width of sky residuals over noise on lines.", (0.7, 1.3), per_order=True, better=1.0
    ),
    QCDefinition(
        "SKYRES OFF", "", "Width of sky residuals over noise off lines.", (0.85, 1.05), per_order=True, better=1.0
    ),
    QCDefinition("CR FRAC", "", "Pixels of the orders hit by cosmic rays.", (0.0, 0.05)),
    QCDefinition("ZP SHIFT", "px", "Shift along the dispersion from sky lines.", per_order=True),
    QCDefinition("ZP ERR", "px", "Error of ZP SHIFT.", per_order=True, better="lower"),
    QCDefinition("ZP N LINES", "", "Sky lines used.", per_order=True, better="higher"),
    QCDefinition("ZP APPLIED", "px", "Shift along the dispersion that the pixel maps were given."),
    QCDefinition("EDGE APPLIED", "px", "Shift across the dispersion that the pixel maps were given."),
    QCDefinition("ARCS ALONG", "px", "Of ZP APPLIED, what arcs of the user's own tell."),
    QCDefinition("ARCS ACROSS", "px", "Of EDGE APPLIED, what arcs of the user's own tell."),
    QCDefinition("SKY FWHM", "px", "Median FWHM of the sky lines."),
    QCDefinition("EDGE SHIFT", "px", "Shift of the slit's ends across the dispersion."),
    QCDefinition("EDGE ERR", "px", "Error of EDGE SHIFT.", better="lower"),
    QCDefinition("DISP RUNG", "", "0 2-D solution, 1 first solution, 2 spectral format."),
    QCDefinition(
        "MASTER COST",
        "%",
        "Signal-to-noise that the masters' noise costs, median.",
        per_order=True,
        better="lower",
    ),
    QCDefinition("THROUGHPUT MIN", "", "Smallest relative throughput of an exposure."),
    QCDefinition("COMBINE REJ NUM", "", "Bins of single exposures that disagreed with the others."),
)
