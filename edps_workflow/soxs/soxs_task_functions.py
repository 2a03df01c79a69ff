"""Functions by which tasks look at their main input, and conditions that read what they found."""

from edps import ClassifiedFitsFile, JobParameters, List, get_parameter

from . import soxs_keywords as kwd
from .soxs_rules import UVVIS_NAMES

# --- Functions for dynamic parameters --------------------------------------------------------------------------


def which_arm(files: List[ClassifiedFitsFile]) -> str:
    """Arm of the main input: VIS or NIR, as in the tags."""
    # Only the files of the main input are visible here.
    name = str(files[0].get_keyword_value(kwd.seq_arm, "")).strip().upper()
    return "VIS" if name in UVVIS_NAMES else "NIR"


# --- Conditions ------------------------------------------------------------------------------------------------


def is_uvvis(params: JobParameters) -> bool:
    """Whether the main input is of the UV-VIS arm."""
    return get_parameter(params, "arm") == "VIS"


def is_nir(params: JobParameters) -> bool:
    """Whether the main input is of the NIR arm."""
    return get_parameter(params, "arm") == "NIR"


def use_response(params: JobParameters) -> bool:
    """Whether spectra are to be flux calibrated."""
    return get_parameter(params, "flux_calibration") == "TRUE"


def use_response_uvvis(params: JobParameters) -> bool:
    """Whether spectra of the UV-VIS arm are to be flux calibrated."""
    return use_response(params) and is_uvvis(params)


def use_response_nir(params: JobParameters) -> bool:
    """Whether spectra of the NIR arm are to be flux calibrated."""
    return use_response(params) and is_nir(params)
