"""The header contract: what each raw type must carry to be classified and reduced."""

import pytest
from astropy.io import fits
from astropy.time import Time

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.hardware import ARMS
from soxs_recipes.simulator.headers import KINDS, Pointing, Sequence, frame_kind, raw_header

_MANDATORY = (
    "INSTRUME",
    "OBJECT",
    "RA",
    "DEC",
    "EXPTIME",
    "MJD-OBS",
    "DATE-OBS",
    "ESO SEQ ARM",
    "ESO DPR CATG",
    "ESO DPR TYPE",
    "ESO DPR TECH",
    "ESO DET READ CURID",
    "ESO DET OUT1 CONAD",
    "ESO DET OUT1 GAIN",
    "ESO DET CHIP RON",
    "ESO INS ACFW ID",
    "ESO INS TEMP104 VAL",
    "ESO INS TEMP217 VAL",
    "ESO INS TEMP301 VAL",
    "ESO INS AFC1 POS1",
    "ESO INS AFC2 POS2",
    "ESO ADA ABSROT END",
    "ESO OBS ID",
    "ESO OBS NAME",
    "ESO OBS TARG NAME",
    "ESO OBS NTPL",
    "ESO OBS TPLNO",
    "ESO OBS START",
    "ESO TPL ID",
    "ESO TPL NAME",
    "ESO TPL START",
    "ESO TPL EXPNO",
    "ESO TPL NEXP",
    "ESO TEL AIRM START",
    "ESO TEL AIRM END",
    "ESO TEL PARANG START",
    "ESO TEL PARANG END",
    "ESO TEL AZ",
    "ESO TEL ALT",
    "ESO TEL AMBI FWHM START",
    "ESO TEL AMBI FWHM END",
)
_DPR = {
    "bias": ("CALIB", "BIAS", "IMAGE"),
    "dark": ("CALIB", "DARK", "IMAGE"),
    "pinhole_arc": ("CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE"),
    "pinhole_flat": ("CALIB", "LAMP,FLAT", "ECHELLE,PINHOLE"),
    "slit_flat": ("CALIB", "LAMP,FLAT", "ECHELLE,SLIT"),
    "multi_pinhole_arc": ("CALIB", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE"),
    "slit_arc": ("CALIB", "LAMP,WAVE", "ECHELLE,SLIT"),
    "linearity": ("CALIB", "LAMP,DETCHAR", "ECHELLE,SLIT"),
    "standard": ("CALIB", "STD,FLUX", "ECHELLE,SLIT,STARE"),
    "science": ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE"),
}
_START = Time("2026-03-02T01:02:03.456", precision=3)


def _header(kind, arm, slit="SLIT1.0", lamp="QTH", **sequence):
    place = Sequence(_START, _START, **sequence)
    return raw_header(frame_kind(kind), ARMS[arm], 60.0, place, Pointing("LTT3218", 130.4, -32.9), slit, lamp)


def test_every_kind_is_covered():
    assert set(KINDS) == set(_DPR)


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
@pytest.mark.parametrize("kind", sorted(_DPR))
def test_mandatory_keywords_and_classification(kind, arm):
    header = _header(kind, arm)
    missing = [key for key in _MANDATORY if key not in header]
    assert not missing
    assert (header["ESO DPR CATG"], header["ESO DPR TYPE"], header["ESO DPR TECH"]) == _DPR[kind]
    assert header["INSTRUME"] == "SOXS"
    assert header["ESO SEQ ARM"] == arm
    assert header["DATE-OBS"] == "2026-03-02T01:02:03.456"
    assert header["MJD-OBS"] == pytest.approx(_START.mjd, abs=1e-7)
    wheel = "VISE" if arm == "VIS" else "NISE"
    assert header[f"ESO INS {wheel} SWSIM"] is False
    mask = {"pinhole": "PINHOLE", "multi-pinhole": "MULTPIN"}.get(KINDS[kind].mask, "SLIT1.0")
    assert header[f"ESO INS {wheel} NAME"] == mask
    assert len(header["ESO INS ACFW ID"]) >= 2
    assert ("ESO DET BINX" in header) == ("ESO DET BINY" in header) == (arm == "VIS")
    fits.HDUList([fits.PrimaryHDU(header=header)]).verify("exception")


@pytest.mark.parametrize(
    ("kind", "arm", "lamp", "keys"),
    [
        ("pinhole_arc", "VIS", "QTH", {"THAR": "ThAr_Lamp"}),
        (
            "multi_pinhole_arc",
            "NIR",
            "QTH",
            {key.upper(): f"{key}_Lamp" for key in ("Argo", "Merc", "Neon", "Xeno")},
        ),
        ("slit_flat", "VIS", "QTH", {"QTH": "Qth_Lamp"}),
        ("slit_flat", "VIS", "D2", {"DEUT": "Deut_Lamp"}),
        ("science", "NIR", "QTH", {}),
    ],
)
def test_lamps(kind, arm, lamp, keys):
    header = _header(kind, arm, lamp=lamp)
    lamps = {
        key: header[f"ESO INS {key} NAME"]
        for key in ("QTH", "DEUT", "ARGO", "NEON", "MERC", "XENO", "THAR")
        if f"ESO INS {key} NAME" in header
    }
    assert lamps == keys


def test_lamp_off_frames_are_images_with_empty_lamps():
    header = _header("slit_flat", "NIR", number=6, count=10, lamps_off=True)
    assert header["ESO DPR TECH"] == "IMAGE"
    assert header["ESO DPR TYPE"] == "LAMP,FLAT"
    assert header["ESO INS QTH NAME"] == ""
    assert (header["ESO TPL EXPNO"], header["ESO TPL NEXP"]) == (6, 10)


def test_gain_pair_is_consistent():
    for arm in ARMS:
        header = _header("bias", arm)
        assert header["ESO DET OUT1 CONAD"] * header["ESO DET OUT1 GAIN"] == pytest.approx(1.0, abs=1e-3)


def test_unknown_kind_is_named():
    with pytest.raises(InputError, match="no 'twilight' frames"):
        frame_kind("twilight")
