import pytest

from soxs_recipes.errors import InputError
from soxs_recipes.instrument import header_keywords, header_value, load_instrument

SOXS = load_instrument()


def test_the_first_present_keyword_with_a_value_wins():
    header = {"ESO TEL AIRM END": "", "ESO TEL AIRM START": 1.25, "AIRMASS": 1.3}
    assert header_value(header, SOXS, "AIRMASS_END") == 1.25
    assert header_value({}, SOXS, "AIRMASS_END") is None
    assert header_value({}, SOXS, "AIRMASS_END", default=1.0) == 1.0


def test_arm_dependent_names():
    header = {"ESO INS VISE NAME": "SLIT1.0 ", "ESO INS NISE NAME": "SLIT1.5"}
    assert header_value(header, SOXS, "SLIT", "VIS") == "SLIT1.0"
    assert header_value(header, SOXS, "SLIT", "NIR") == "SLIT1.5"
    assert header_keywords(SOXS, "EXPTIME", "VIS")[0] == "EXPTIME"
    with pytest.raises(InputError, match="SLIT_VIS"):
        header_keywords(SOXS, "SLIT")


def test_false_and_zero_are_values():
    assert header_value({"ESO INS VISE SWSIM": False}, SOXS, "SHUTTER_SIMULATED", "VIS") is False
    assert header_value({"EXPTIME": 0.0}, SOXS, "EXPTIME") == 0.0


def test_astropy_headers_and_hierarch_spellings():
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.Header()
    header["HIERARCH ESO SEQ FIXOFF RA"] = -3.5
    header["AIRMASS"] = None
    assert header_value(header, SOXS, "OFFSET_RA") == -3.5
    assert header_value(header, SOXS, "AIRMASS_END") is None
    assert header_value({"HIERARCH ESO SEQ FIXOFF RA": 2.0}, SOXS, "OFFSET_RA") == 2.0
