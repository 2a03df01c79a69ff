from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soxs_recipes.instrument.classify import arm_of, classify, instrument_of


def header(kind: str, tech: str, arm: str = "VIS", **changes) -> dict:
    values = {
        "INSTRUME": "SOXS",
        "MJD-OBS": 61000.0,
        "EXPTIME": 1.0,
        "ESO SEQ ARM": arm,
        "ESO DPR CATG": "CALIB",
        "ESO DPR TYPE": kind,
        "ESO DPR TECH": tech,
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


QTH = {"ESO INS QTH NAME": "Qth_Lamp"}
D2 = {"ESO INS DEUT NAME": "Deut_Lamp"}


@pytest.mark.parametrize(
    ("tag", "kind", "tech", "arm", "changes"),
    [
        ("BIAS_VIS", "BIAS", "IMAGE", "VIS", {}),
        ("BIAS_VIS", "BIAS", "IMAGE", "UVVIS", {}),
        ("DARK_NIR", "DARK", "IMAGE", "NIR", {}),
        ("DARK_VIS", "DARK", "IMAGE", "VIS", {}),
        ("WAVE_PIN_VIS", "LAMP,WAVE", "ECHELLE,PINHOLE", "VIS", {}),
        ("WAVE_PIN_VIS", "lamp, wave", "echelle , pinhole", "vis", {}),
        ("WAVE_PIN_NIR_ON", "LAMP,WAVE", "ECHELLE,PINHOLE", "NIR", {}),
        ("WAVE_PIN_NIR_OFF", "LAMP,WAVE", "IMAGE", "NIR", {"ESO INS NISE NAME": "PINHOLE"}),
        ("WAVE_MPH_NIR_OFF", "LAMP,WAVE", "IMAGE", "NIR", {"ESO INS NISE NAME": "MULTPIN"}),
        ("WAVE_MPH_NIR_ON", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "NIR", {}),
        ("WAVE_MPH_VIS", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "VIS", {}),
        ("WAVE_SLIT_NIR", "LAMP,WAVE", "ECHELLE,SLIT", "NIR", {}),
        ("ORDERDEF_VIS", "LAMP,FLAT", "ECHELLE,PINHOLE", "VIS", QTH),
        ("ORDERDEF_NIR_ON", "LAMP,FLAT", "ECHELLE,PINHOLE", "NIR", {}),
        ("ORDERDEF_NIR_OFF", "LAMP,FLAT", "IMAGE", "NIR", {"ESO INS NISE NAME": "PINHOLE"}),
        ("ORDERDEF_VIS", "LAMP,QORDERDEF", "ECHELLE,PINHOLE", "VIS", QTH),
        ("WAVE_PIN_VIS", "LAMP,FMTCHK", "ECHELLE,PINHOLE", "VIS", {}),
        ("FLAT_SLIT_VIS_QTH", "LAMP,FLAT", "ECHELLE,SLIT", "VIS", QTH),
        ("FLAT_SLIT_VIS_D2", "LAMP,FLAT", "ECHELLE,SLIT", "VIS", D2),
        ("FLAT_SLIT_VIS_QTH", "LAMP,FLAT", "ECHELLE,SLIT", "VIS", {**QTH, "ESO INS DEUT NAME": "OFF"}),
        ("FLAT_SLIT_VIS", "LAMP,FLAT", "ECHELLE,SLIT", "VIS", {**QTH, **D2}),
        ("FLAT_SLIT_VIS", "LAMP,FLAT", "ECHELLE,SLIT", "VIS", {}),
        ("FLAT_SLIT_VIS_D2", "LAMP,DFLAT", "ECHELLE,SLIT", "VIS", {}),
        ("FLAT_SLIT_VIS_QTH", "LAMP,QFLAT", "ECHELLE,SLIT", "VIS", {}),
        ("FLAT_SLIT_NIR_ON", "LAMP,FLAT", "ECHELLE,SLIT", "NIR", QTH),
        ("FLAT_SLIT_NIR_OFF", "LAMP,FLAT", "IMAGE", "NIR", {"ESO INS NISE NAME": "SLIT1.0"}),
        ("DETLIN_NIR_ON", "LAMP,DETCHAR", "ECHELLE,SLIT", "NIR", {}),
        ("STD_FLUX_STARE_VIS", "STD,FLUX", "ECHELLE,SLIT,STARE", "VIS", {}),
        ("STD_FLUX_NOD_NIR", "STD,FLUX", "ECHELLE,SLIT,NODDING", "NIR", {}),
        ("STD_TELL_STARE_NIR", "STD,TELLURIC", "ECHELLE,SLIT,STARE", "NIR", {}),
        ("OBJECT_STARE_VIS", "OBJECT", "ECHELLE,SLIT,STARE", "VIS", {}),
        ("OBJECT_STARE_NIR", "OBJECT,ASYNC", "ECHELLE,SLIT,STARE", "NIR", {}),
        ("OBJECT_OFFSET_NIR", "OBJECT", "ECHELLE,SLIT,OFFSET", "NIR", {}),
        ("OBJECT_MAP_NIR", "OBJECT", "ECHELLE,SLIT,MAPPING", "NIR", {}),
        ("SKY_OFFSET_NIR", "SKY", "ECHELLE,SLIT,OFFSET", "NIR", {}),
        ("OBJECT_IMG_ACQ", "OBJECT", "IMAGE", "ACQ", {}),
        ("BIAS_ACQ", "BIAS", "IMAGE", None, {"ESO DET3 CAM NAME": "ACQ"}),
        ("FLAT_IMG_ACQ", "FLAT,TWILIGHT", "IMAGE", "ACQ", {}),
    ],
)
def test_tags(tag, kind, tech, arm, changes):
    found = classify(header(kind, tech, arm, **{"ESO SEQ ARM": arm, **changes}))
    assert (found.tag, found.reason) == (tag, "")
    assert found.arm in tag.split("_")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"INSTRUME": "XSHOOTER"}, "XSHOOTER"),
        ({"ESO SEQ ARM": None}, "arm"),
        ({"EXPTIME": None}, "EXPTIME"),
        ({"EXPTIME": -1.0}, "EXPTIME"),
        ({"EXPTIME": float("nan")}, "EXPTIME"),
        ({"EXPTIME": "soon"}, "EXPTIME"),
        ({"NAXIS1": 2048, "NAXIS2": 2048}, "pixels as the NIR"),
        ({"MJD-OBS": None}, "MJD-OBS"),
        ({"ESO INS VISE SWSIM": True}, "simulated"),
        ({"ESO INS VISE SWSIM": "T"}, "simulated"),
        ({"ESO INS VISE NAME": "BLANK"}, "closed slit"),
        ({"ESO DPR TYPE": None}, "DPR TYPE"),
        ({"ESO DPR TYPE": "NONSENSE"}, "NONSENSE"),
        ({"ESO DPR TYPE": "DOME,FLAT"}, "DOME"),
        ({"ESO DPR TYPE": "SKY,FLAT"}, "SKY"),
        ({"ESO SEQ ARM": "NIR", "ESO DPR TYPE": "BIAS"}, "infrared"),
    ],
)
def test_unusable_says_why(changes, word):
    found = classify(header("LAMP,FLAT", "ECHELLE,SLIT", **changes))
    assert found.tag == ""
    assert found.reason.startswith("unusable: ")
    assert word in found.reason


def test_what_is_missing_is_inferred_with_a_warning():
    bare = header("X", "Y", **{"ESO DPR TYPE": None, "ESO DPR TECH": None, "ESO DPR CATG": None})
    found = classify({**bare, "ESO TPL ID": "SOXS_slt_cal_VISArcsMultiplePinhole"})
    assert found.tag == "WAVE_MPH_VIS"
    assert len(found.warnings) == 1
    no_arm = header("LAMP,FLAT", "ECHELLE,SLIT", None, **{"ESO INS NISE NAME": "SLIT1.0"})
    found = classify(no_arm)
    assert found.tag == "FLAT_SLIT_NIR_ON"
    assert "SEQ ARM" in found.warnings[0]


@pytest.mark.parametrize(
    ("changes", "arm"),
    [
        ({"ESO TPL NAME": "SOXS_gen_cal_NIRDark"}, "NIR"),
        ({"NAXIS1": 2048, "NAXIS2": 2048}, "NIR"),
        ({"NAXIS1": 908, "NAXIS2": 4096}, "VIS"),
        ({"ESO PRO CATG": "DISP_TAB_2D_NIR"}, "NIR"),
        ({}, ""),
    ],
)
def test_arm_is_inferred(changes, arm):
    assert arm_of(changes, instrument_of({})) == arm


def test_products_keep_their_category():
    found = classify({"INSTRUME": "SOXS", "ESO PRO CATG": "MASTER_BIAS_VIS", "ESO SEQ ARM": "VIS"})
    assert (found.tag, found.arm, found.is_product) == ("MASTER_BIAS_VIS", "VIS", True)


def test_static_table_without_arm():
    found = classify({"ESO PRO CATG": "SKY_LINE_LIST"})
    assert (found.tag, found.is_product) == ("SKY_LINE_LIST", True)


KEYWORDS = [
    "INSTRUME", "EXPTIME", "MJD-OBS", "DATE-OBS", "NAXIS1", "NAXIS2", "ESO SEQ ARM", "ESO DPR CATG",
    "ESO DPR TYPE",
    "ESO DPR TECH", "ESO PRO CATG", "ESO TPL ID", "ESO TPL NAME", "ESO INS VISE NAME", "ESO INS NISE NAME",
    "ESO INS QTH NAME", "ESO INS VISE SWSIM", "ESO DET3 CAM NAME",
]  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from(
        ["SOXS", "VIS", "NIR", "ACQ", "LAMP,FLAT", "ECHELLE,SLIT", "OBJECT", "SLIT1.0", ",", "STD,FLUX"]
    ),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYWORDS), VALUES))
def test_any_header_is_classified_or_told_why_not(values):
    found = classify(values)
    assert bool(found.tag) != bool(found.reason)
    assert not found.reason or found.reason.startswith("unusable: ")
    assert "{" not in found.tag
