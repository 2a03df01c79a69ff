"""The header of a product, as CPL's `cpl_dfs_setup_product_header` makes it: ours, and PyCPL's where it is."""

from __future__ import annotations

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from soxs_recipes.eso.dfs import InputFrame, RecordedParameter, product_header, record_index


def header(**cards) -> fits.Header:
    made = fits.Header()
    for key, value in cards.items():
        made[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
    return made


RAW = {
    "ORIGIN": "ESO-LASILLA",
    "TELESCOP": "ESO-NTT",
    "INSTRUME": "SOXS",
    "OBJECT": "SN",
    "RA": (10.5, "[deg] right ascension"),
    "DEC": -20.25,
    "EQUINOX": 2000.0,
    "RADECSYS": "FK5",
    "DATE-OBS": "2026-02-03T04:05:06.789",
    "MJD-OBS": 61074.25,
    "UTC": 100.0,
    "LST": 200.0,
    "PI-COI": "N.N.",
    "OBSERVER": "O.O.",
    "EXPTIME": 30.0,
    "AIRMASS": 1.2,
    "HDRVER": "1",
    "ORIGFILE": "x.fits",
    "ARCFILE": "SOXS.2026-02-03T04:05:06.789.fits",
    "ESO DPR CATG": "SCIENCE",
    "ESO DPR TYPE": "OBJECT",
    "ESO DPR TECH": "ECHELLE,SLIT,STARE",
    "ESO DET OUT1 GAIN": 0.5,
    "ESO OBS ID": 12,
    "ESO TEL AIRM START": 1.2,
    "ESO INS SLIT": "SLIT1.0",
    "ESO DRS X": 1,
    "ESO QC OLD": 2.0,
    "ESO PRO OLD": 3.0,
}
PRODUCT = {
    "INSTRUME": "SOXS",
    "DATE-OBS": "2026-02-02T00:00:00",
    "DATAMD5": "0123456789abcdef0123456789abcdef",
    "ESO DET OUT1 GAIN": 0.6,
    "ESO PRO CATG": "MASTER_BIAS_VIS",
    "ESO PRO SCIENCE": True,
    "ESO PRO ANCESTOR": "SOXS.first.fits",
    "ESO PRO REC1 ID": "soxs_mbias",
    "ESO PRO REC2 ID": "soxs_again",
}
RAW_FRAME = InputFrame("raw.fits", "OBJECT_STARE_VIS", "RAW", header(**RAW))
CALIBRATION = InputFrame("master.fits", "MASTER_BIAS_VIS", "CALIB", header(**PRODUCT))


ARGUMENTS = {"catg": "SCI_X_VIS", "filename": "out.fits", "recipe": "soxs_stare", "pipe_id": "soxs/1.0.0"}


def own_header(frames, **changes) -> fits.Header:
    return product_header(frames, **{**ARGUMENTS, **changes})


def cpl_header(frames, folder, *, parameters=(), applied=None, inherit=None) -> fits.Header:
    """The same by PyCPL, by way of files."""
    from cpl import core, dfs, ui

    on_disk = {}
    for frame in frames:
        fits.PrimaryHDU(header=frame.header).writeto(folder / frame.name)
        group = getattr(ui.Frame.FrameGroup, frame.group or "NONE")
        on_disk[frame.name] = ui.Frame(str(folder / frame.name), frame.tag, group)
    fits.PrimaryHDU().writeto(folder / ARGUMENTS["filename"])
    product = ui.Frame(str(folder / ARGUMENTS["filename"]), ARGUMENTS["catg"], ui.Frame.FrameGroup.PRODUCT)
    entries = []
    for parameter in parameters:
        entry = ui.ParameterValue(f"soxs.x.{parameter.name}", parameter.sentence, "soxs.x", parameter.default)
        entry.cli_alias, entry.value = parameter.name, parameter.value
        entries.append(entry)
    header = core.PropertyList()
    for key, value in (applied or {}).items():
        header.append(core.Property(key, *(value if isinstance(value, tuple) else (value, ""))))
    dfs.setup_product_header(
        header, product, ui.FrameSet(on_disk.values()), ui.ParameterList(entries), ARGUMENTS["recipe"],
        ARGUMENTS["pipe_id"], "PRO-1.17", on_disk[inherit.name] if inherit else None,
    )  # fmt: skip
    found = fits.Header()
    for entry in header:
        found[f"HIERARCH {entry.name}" if entry.name.startswith("ESO ") else entry.name] = (
            entry.value, entry.comment,
        )  # fmt: skip
    return found


@pytest.fixture(params=["ours", "PyCPL"])
def made(request, tmp_path):
    """Make a header: `made(frames, parameters=..., applied=..., inherit=...)`."""
    if request.param == "ours":
        return own_header
    pytest.importorskip("cpl", reason="PyCPL is not installed")
    return lambda frames, **changes: cpl_header(frames, tmp_path, **changes)


def test_primary_keywords_and_no_others(made):
    product = made([CALIBRATION, RAW_FRAME])
    assert {key for key in product if not key.startswith("ESO ")} == {
        "ORIGIN", "TELESCOP", "INSTRUME", "OBJECT", "RA", "DEC", "EQUINOX", "RADESYS", "DATE-OBS", "MJD-OBS",
        "UTC", "LST", "PI-COI", "OBSERVER", "ARCFILE", "DATAMD5", "PIPEFILE",
    }  # fmt: skip
    assert product["RADESYS"] == "FK5"
    assert product["DATE-OBS"] == RAW["DATE-OBS"]
    assert product.comments["RA"] == "[deg] right ascension"
    assert (product["DATAMD5"], product.comments["DATAMD5"]) == ("Not computed", "MD5 checksum")
    assert (product["PIPEFILE"], product.comments["PIPEFILE"]) == ("out.fits", "Filename of data product")


def test_hierarchy_of_the_first_raw_frame(made):
    product = made([CALIBRATION, RAW_FRAME])
    assert product["ESO DET OUT1 GAIN"] == 0.5
    assert product["ESO OBS ID"] == 12
    for dropped in ("ESO DPR CATG", "ESO DPR TYPE", "ESO DRS X", "ESO QC OLD", "ESO PRO OLD"):
        assert dropped not in product


def test_product_keywords(made):
    product = made([RAW_FRAME, CALIBRATION])
    expected = {
        "ESO PRO DID": "PRO-1.17",
        "ESO PRO CATG": "SCI_X_VIS",
        "ESO PRO TYPE": "REDUCED",
        "ESO PRO TECH": "ECHELLE,SLIT,STARE",
        "ESO PRO SCIENCE": True,
        "ESO PRO ANCESTOR": RAW["ARCFILE"],
        "ESO PRO DATANCOM": 1,
        "ESO PRO REC1 ID": "soxs_stare",
        "ESO PRO REC1 PIPE ID": "soxs/1.0.0",
        "ESO PRO REC1 RAW1 NAME": "raw.fits",
        "ESO PRO REC1 RAW1 CATG": "OBJECT_STARE_VIS",
        "ESO PRO REC1 CAL1 NAME": "master.fits",
        "ESO PRO REC1 CAL1 CATG": "MASTER_BIAS_VIS",
        "ESO PRO REC1 CAL1 DATAMD5": PRODUCT["DATAMD5"],
    }
    assert product["ESO PRO REC1 DRS ID"].startswith(("no-cpl (soxs_recipes stand-in)", "cpl-"))
    del product["ESO PRO REC1 DRS ID"]
    assert {key: product[key] for key in product if key.startswith("ESO PRO")} == expected


def test_own_keywords_are_kept(made):
    own = {
        "ESO PRO TYPE": "TEMPORARY",
        "ESO PRO TECH": "IMAGE",
        "ESO PRO SCIENCE": (False, "no"),
        "ESO PRO DATANCOM": 7,
        "ESO PRO CATG": "IGNORED",
        "ESO QC X": 1.5,
        "EXPTIME": 30.0,
    }
    product = made([RAW_FRAME], applied=own)
    assert product["ESO PRO CATG"] == "SCI_X_VIS"
    assert product["EXPTIME"] == 30.0
    for key in ("ESO PRO TYPE", "ESO PRO TECH", "ESO PRO DATANCOM", "ESO QC X"):
        assert product[key] == own[key]
    assert product["ESO PRO SCIENCE"] is False


def test_product_of_a_product_continues_its_history(made):
    product = made([CALIBRATION])
    assert product["ESO PRO REC1 ID"] == "soxs_mbias"
    assert product["ESO PRO REC2 ID"] == "soxs_again"
    assert product["ESO PRO REC3 ID"] == "soxs_stare"
    assert product["ESO PRO REC3 CAL1 NAME"] == "master.fits"
    assert product["ESO PRO DATANCOM"] == 0
    assert product["ESO PRO SCIENCE"] is False
    assert product["ESO PRO TECH"] == "UNDEFINED"
    assert product["ESO PRO ANCESTOR"] == "SOXS.first.fits"
    assert product["DATE-OBS"] == PRODUCT["DATE-OBS"]


def test_raw_reference_starts_the_history_anew(made):
    assert "ESO PRO REC2 ID" not in made([CALIBRATION, RAW_FRAME])


def test_inherit_replaces_the_hierarchy_only(made):
    product = made([RAW_FRAME, CALIBRATION], inherit=CALIBRATION)
    assert product["ESO DET OUT1 GAIN"] == 0.6
    assert product["OBJECT"] == "SN"


def test_an_inherited_history_is_continued():
    product = own_header([RAW_FRAME, CALIBRATION], inherit=CALIBRATION)
    assert [product[f"ESO PRO REC{i} ID"] for i in (1, 2, 3)] == ["soxs_mbias", "soxs_again", "soxs_stare"]


def test_empty_set_is_refused(made):
    for frames in ([], [InputFrame("x.fits", "T", "", header(**RAW))]):
        with pytest.raises(RuntimeError) as caught:
            made(frames)
        assert type(caught.value).__name__ == "DataNotFoundError"
        assert caught.value.message == "Empty set-of-frames"


def test_calibrations_that_are_not_fits_and_raw_checksums():
    table = InputFrame("lines.txt", "LINES", "CALIB", None)
    unsigned = InputFrame("x.fits", "X", "CALIB", header(INSTRUME="SOXS"))
    raw = InputFrame("raw.fits", "OBJECT_STARE_VIS", "RAW", header(**RAW), data_md5="f" * 32)
    product = own_header([raw, table, unsigned])
    assert product["ESO PRO REC1 CAL1 NAME"] == "lines.txt"
    assert product["ESO PRO REC1 RAW1 DATAMD5"] == "f" * 32
    assert not [key for key in product if key.startswith("ESO PRO REC1 CAL") and key.endswith("DATAMD5")]


def test_parameters_are_recorded_in_order(made):
    parameters = [
        RecordedParameter("sigma", 2.5, 5.0, "Where values are clipped."),
        RecordedParameter("count", 3, 3, "How many."),
        RecordedParameter("keep", True, False, "Keep."),
        RecordedParameter("method", "mean", "auto", "How."),
    ]
    product = made([RAW_FRAME], parameters=parameters)
    found = [
        tuple(product[f"ESO PRO REC1 PARAM{number} {word}"] for word in ("NAME", "VALUE"))
        for number in range(1, 5)
    ]
    assert found == [("sigma", "2.5"), ("count", "3"), ("keep", "true"), ("method", "mean")]
    comments = [product.comments[f"ESO PRO REC1 PARAM{number} VALUE"] for number in range(1, 5)]
    assert comments == ["Default: 5", "Default: 3", "Default: false", "Default: 'auto'"]
    assert product.comments["ESO PRO REC1 PARAM1 NAME"] == "Where values are clipped."


def test_removal_after_the_merge():
    product = own_header([RAW_FRAME], remove="^ESO (TEL|OBS) ")
    assert "ESO TEL AIRM START" not in product
    assert "ESO INS SLIT" in product


def test_dicb_order():
    product = own_header(
        [RAW_FRAME], applied={"ESO QC X": 1, "ESO SEQ ARM": "VIS", "ESO PRO REC1 ALGO VERSION": 1}
    )
    groups = [key.split()[1] if key.startswith("ESO ") else "" for key in product]
    order = ["", "OBS", "TEL", "INS", "DET", "PRO", "QC", "SEQ"]
    assert [group for i, group in enumerate(groups) if i == 0 or group != groups[i - 1]] == order


def test_next_record():
    assert record_index(None) == 1
    assert record_index(header(**PRODUCT)) == 3
    assert record_index(header(**{"ESO PRO REC9 RAW1 NAME": "x", "ESO PRO REC10 ID": "y"})) == 11


@given(
    value=st.one_of(
        st.text(max_size=200),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(2**63), 2**63),
        st.booleans(),
    ),
    comment=st.text(max_size=120),
    keyword=st.sampled_from(["ESO QC X", "ESO INS SOME VERY LONG KEYWORD NAME VALUE", "OBJECT"]),
)
def test_any_text_survives_writing(value, comment, keyword):
    product = own_header([RAW_FRAME], applied={keyword: (value, comment)})
    again = fits.Header.fromstring(product.tostring())
    assert list(again) == list(product)
    if not isinstance(value, str):
        assert again[keyword] == pytest.approx(value, rel=1e-12)
        return
    printable = "".join(character if 32 <= ord(character) < 127 else "?" for character in value)
    assert printable.startswith(str(again[keyword]).rstrip()) or printable.strip() == str(again[keyword]).strip()
