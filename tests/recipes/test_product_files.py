from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.outputs import file_name_part, product_file_name

HOSTILE = [
    "../../etc/passwd",
    "a/b",
    "..",
    ".",
    "",
    "con:",
    "x\0y",
    "-rf",
    "SN 2026abc",
    "näme",
    "a\nb",
    "💥",
    "'; DROP",
]


@pytest.mark.parametrize(
    ("text", "part"),
    [("SN 2026abc", "SN-2026abc"), ("../../etc/passwd", "etc-passwd"), ("näme", "name"),
     ("CD-32 5613", "CD-32-5613"), ("..", ""), ("-rf", "rf"), ("BD+17 4708", "BD+17-4708")],
)  # fmt: skip
def test_parts(text, part):
    assert file_name_part(text) == part


@given(st.one_of(st.text(), st.sampled_from(HOSTILE)))
def test_any_object_gives_a_safe_part(text):
    part = file_name_part(text)
    assert re.fullmatch(r"[A-Za-z0-9+-]*", part)
    assert len(part) <= 40
    assert not part.startswith("-")
    assert not part.endswith("-")
    assert file_name_part(part) == part


@given(
    date=st.one_of(st.text(), st.just("2026-02-03T04:05:06.789")),
    name=st.one_of(st.text(), st.sampled_from(HOSTILE)),
)
def test_any_header_gives_a_file_in_the_folder(date, name):
    file_name = product_file_name(date, "VIS", "MASTER_BIAS", name)
    assert PurePosixPath(file_name).name == file_name
    assert re.fullmatch(r"[A-Za-z0-9_+-]+\.fits", file_name)
    assert "_VIS_MASTER_BIAS" in file_name
    assert len(file_name) < 100
    assert file_name == product_file_name(date, "VIS", "MASTER_BIAS", name)


def test_dates_are_compact():
    assert product_file_name("2026-02-03T04:05:06.789", "NIR", "DISP_TAB") == "20260203T040506_NIR_DISP_TAB.fits"
    assert product_file_name("", "NIR", "DISP_TAB") == "undated_NIR_DISP_TAB.fits"


def test_long_reasons_stand_whole_in_the_header(mean_frame, make_raw, tmp_path):
    sentence = (
        "no multi-pinhole arc of this night: the 2-D solution of 2026-01-05 moved by (0.31, -0.12) px to sky lines"
    )
    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    result = run_recipe(
        mean_frame, frames, {}, tmp_path / "out", notes=["told by the caller"], partial_reasons=[sentence]
    )
    assert result.reasons == (sentence,)
    header = fits.getheader(result.paths[1])
    assert header["REASON1"] == sentence
    assert header["NOTE1"] == "told by the caller"
    assert header["ESO QC STATUS"] == "PARTIAL"


def test_a_partial_calibration_is_noted(mean_frame, make_raw, tmp_path):
    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    calibration = make_raw(
        "map.fits", **{"ESO PRO CATG": "BP_MAP_RP_VIS", "ESO QC STATUS": "PARTIAL", "REASON1": "few darks"}
    )
    result = run_recipe(mean_frame, [*frames, calibration], {}, tmp_path / "out")
    assert result.status == "COMPLETE"
    assert result.notes == ("BP_MAP_RP_VIS map.fits is itself PARTIAL: few darks",)
    header = fits.getheader(result.paths[0])
    assert header["ESO PRO REC1 CAL1 CATG"] == "BP_MAP_RP_VIS"
    assert header["ESO PRO DATANCOM"] == 3


def test_what_the_recipe_does_not_need_is_left_out(mean_frame, make_raw, tmp_path, caplog):
    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    other = make_raw("flat.fits", **{"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,SLIT"})
    result = run_recipe(mean_frame, [*frames, other], {}, tmp_path / "out")
    assert result.status == "COMPLETE"
    assert "flat.fits is left out" in caplog.text
    assert not [key for key in fits.getheader(result.paths[0]) if "RAW4" in key]


def test_tags_of_the_peer_are_left_to_the_header(mean_frame, make_raw, tmp_path):
    pairs = [(make_raw(f"b{index}.fits"), "BIAS,IMAGE_VIS") for index in range(3)]
    header = fits.getheader(run_recipe(mean_frame, pairs, {}, tmp_path / "out").paths[0])
    assert header["ESO PRO REC1 RAW1 CATG"] == "BIAS_VIS"


def test_a_sof_is_a_way_to_run(mean_frame, make_raw, tmp_path):
    sof = tmp_path / "x.sof"
    sof.write_text("".join(f"{make_raw(f'b{index}.fits')} BIAS_VIS\n" for index in range(3)))
    assert run_recipe(mean_frame, sof, {}, tmp_path / "out").status == "COMPLETE"
    missing = run_recipe(mean_frame, tmp_path / "none.sof", {}, tmp_path / "out")
    assert (missing.status, missing.error_class) == ("FAILED", "InputError")
    assert "none.sof" in missing.message


def test_a_folder_that_cannot_be_written(mean_frame, make_raw, tmp_path):
    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    (tmp_path / "out").write_text("a file is in the way")
    result = run_recipe(mean_frame, frames, {}, tmp_path / "out")
    assert (result.status, result.error_class) == ("FAILED", "InputError")
    assert "out" in result.message


def test_reference_and_used_frames(mean_frame, make_raw, tmp_path):
    class Chosen(mean_frame):
        def process(self, inputs, parameters, outputs):
            _, second, third = inputs.raw("BIAS")
            outputs.add("COUNT_TAB", [fits.PrimaryHDU()], reference=third, used=[second, third])

    frames = [
        make_raw(f"b{i}.fits", **{"DATE-OBS": f"2026-02-03T04:05:0{i}", "MJD-OBS": 61000.0 + i}) for i in range(3)
    ]
    result = run_recipe(Chosen, frames, {}, tmp_path / "out")
    assert result.paths[0].name == "20260203T040502_VIS_COUNT_TAB.fits"
    header = fits.getheader(result.paths[0])
    assert header["ESO PRO REC1 RAW1 NAME"] == "b2.fits"
    assert header["ESO PRO REC1 RAW2 NAME"] == "b1.fits"
    assert header["ESO PRO DATANCOM"] == 2
    assert header["MJD-OBS"] == 61001.0


def test_undeclared_products_and_qc_are_refused(mean_frame, make_raw, tmp_path):
    from soxs_recipes.data.qc import QCParameter

    for arguments in (
        ("NONSENSE", []),
        ("MEAN_FRAME", [QCParameter("NONSENSE", 1.0)]),
        ("MEAN_FRAME", [QCParameter("MEAN LEVEL", 1.0, order=3)]),
    ):

        class Wrong(mean_frame):
            def process(self, inputs, parameters, outputs, arguments=arguments):
                outputs.add(arguments[0], [fits.PrimaryHDU()], qc=arguments[1])

        frames = [make_raw(f"{arguments[0]}{len(arguments[1])}{index}{id(arguments)}.fits") for index in range(3)]
        result = run_recipe(Wrong, frames, {}, tmp_path / "out")
        assert result.status == "FAILED"
        assert "declares no" in result.message


def test_a_failed_write_leaves_no_product(mean_frame, make_raw, tmp_path, monkeypatch):
    from soxs_recipes import fits_files
    from soxs_recipes.errors import InputError

    real, calls = fits_files.write_product, []

    def second_fails(path, hdus, header=None):
        calls.append(path)
        if len(calls) == 2:
            raise InputError(f"{path}: cannot be written, the disk is full; free some space")
        return real(path, hdus=hdus, header=header)

    monkeypatch.setattr(fits_files, "write_product", second_fails, raising=False)
    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    result = run_recipe(mean_frame, frames, {}, tmp_path / "out")
    assert "disk is full" in result.message
    assert len(calls) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_dates_are_inferred_from_each_other(mean_frame, make_raw, tmp_path):
    by_mjd = [make_raw(f"m{index}.fits", **{"DATE-OBS": None}) for index in range(3)]
    result = run_recipe(mean_frame, by_mjd, {}, tmp_path / "m")
    assert result.paths[0].name.startswith("20260203T040506_VIS_")
    by_date = [make_raw(f"d{index}.fits", EXPTIME=86.4, **{"MJD-OBS": None}) for index in range(3)]
    header = fits.getheader(run_recipe(mean_frame, by_date, {}, tmp_path / "d").paths[0])
    assert header["MJD-OBS"] == pytest.approx(61074.170217465, abs=1e-8)
    assert header["MJD-END"] == pytest.approx(61074.171217465, abs=1e-8)


def test_an_end_before_the_start_does_not_reach_the_products(mean_frame, make_raw, tmp_path):
    times = {"EXPTIME": 86.4, "MJD-OBS": 61074.2, "MJD-END": 61074.1}
    frames = [make_raw(f"b{number}.fits", **times) for number in range(2)]
    paths = run_recipe(mean_frame, frames, {}, tmp_path / "out").paths
    assert fits.getheader(paths[0])["MJD-END"] == pytest.approx(61074.201, abs=1e-8)


def test_unknown_binning(mean_frame, make_raw, tmp_path):
    frames = [make_raw(f"b{i}.fits", **{"ESO DET BINX": 7, "ESO DET BINY": 3}) for i in range(3)]
    result = run_recipe(mean_frame, frames, {}, tmp_path)
    assert "b0.fits is binned 7x3 (x, y)" in result.message
    assert "1x1" in result.message


def test_calibration_of_another_setup_marks(mean_frame, make_raw, tmp_path):
    from dataclasses import replace

    entry = replace(mean_frame.declaration.calibrations[0], agree=("SLIT", "READ_MODE_ID"))

    class Agreeing(mean_frame):
        declaration = replace(mean_frame.declaration, calibrations=(entry,))

    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    other = make_raw("map.fits", **{"ESO PRO CATG": "BP_MAP_RP_VIS", "ESO INS VISE NAME": "SLIT5.0"})
    result = run_recipe(Agreeing, [*frames, other], {}, tmp_path / "out")
    assert result.reasons == ("BP_MAP_RP_VIS has slit SLIT5.0, the frames have SLIT1.0",)


def test_calibration_of_another_binning_is_refused(mean_frame, make_raw, tmp_path):
    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    other = make_raw("map.fits", **{"ESO PRO CATG": "BP_MAP_RP_VIS", "ESO DET BINX": 2})
    result = run_recipe(mean_frame, [*frames, other], {}, tmp_path / "out")
    assert result.error_class == "InputError"
    assert "map.fits has 2" in result.message


def test_frames_of_two_instruments(mean_frame, make_raw, tmp_path):
    frames = [make_raw("a.fits"), make_raw("b.fits"), make_raw("x.fits", INSTRUME="XSHOOTER")]
    result = run_recipe(mean_frame, frames, {}, tmp_path / "out")
    assert "a.fits is of SOXS, x.fits of XSHOOTER" in result.message
    result = run_recipe(mean_frame, frames[2:], {}, tmp_path / "out")
    assert result.error_class == "InputError"
    assert "x.fits" in result.message


def test_the_log_tells_how_to_repeat(mean_frame, make_raw, tmp_path, caplog):
    caplog.set_level("INFO")
    frames = [make_raw(f"b {index}.fits") for index in range(3)]
    run_recipe(mean_frame, frames, {"iterations": 4, "keep": True}, tmp_path / "out")
    command = next(line for line in caplog.messages if line.startswith("to repeat: "))
    words = shlex.split(command.removeprefix("to repeat: "))
    expected = [
        "soxs",
        "mean_frame",
        *map(str, frames),
        "--iterations=4",
        "--keep=true",
        "-o",
        str(tmp_path / "out"),
    ]
    assert words == expected
    assert "UV-VIS arm, 3 BIAS_VIS" in caplog.text


def test_tags_of_a_family_agree_with_one_another(mean_frame, make_raw, tmp_path):
    from dataclasses import replace

    from soxs_recipes.recipes.framework.declarations import RawInput

    family = {"required": False, "one_of": "flat", "agree": ("SLIT",), "detector": "ccd"}
    raws = (RawInput("FLAT_SLIT_<ARM>_QTH", "flats", **family), RawInput("FLAT_SLIT_<ARM>_D2", "flats", **family))

    class Family(mean_frame):
        declaration = replace(mean_frame.declaration, raws=raws)

    flat = {"ESO DPR TYPE": "LAMP,QFLAT", "ESO DPR TECH": "ECHELLE,SLIT", "EXPTIME": 1.0}
    frames = [make_raw(f"q{i}.fits", **flat) for i in range(2)]
    other = make_raw("d.fits", **{**flat, "ESO DPR TYPE": "LAMP,DFLAT", "ESO INS VISE NAME": "SLIT5.0"})
    assert run_recipe(Family, frames, {}, tmp_path / "out").status == "COMPLETE"
    result = run_recipe(Family, [*frames, other], {}, tmp_path / "out")
    assert "slit: 2 with SLIT1.0, but d.fits has SLIT5.0" in result.message
    none = run_recipe(Family, [make_raw(f"b{i}.fits") for i in range(2)], {}, tmp_path / "out")
    assert "needs frames FLAT_SLIT_QTH or FLAT_SLIT_D2" in none.message


def test_what_was_observed_stands_in_the_name(mean_frame, make_raw, tmp_path):
    from dataclasses import replace

    from soxs_recipes.recipes.framework.declarations import Product, RawInput

    class Extract(mean_frame):
        declaration = replace(
            mean_frame.declaration,
            raws=(RawInput("STD_FLUX_STARE_<ARM>", "standard"),),
            products=(Product("<KIND>_SLIT_TRACE_<ARM>", "trace", "table"),),
        )

        def process(self, inputs, parameters, outputs):
            outputs.add("SLIT_TRACE", [fits.PrimaryHDU()], object_name="LTT 3218")

    star = {"ESO DPR TYPE": "STD,FLUX", "ESO DPR TECH": "ECHELLE,SLIT,STARE", "EXPTIME": 1.0}
    result = run_recipe(Extract, [make_raw("a.fits", **star)], {}, tmp_path)
    assert result.products[0].tag == "FLUX_SLIT_TRACE_VIS"
    assert result.paths[0].name == "20260203T040506_VIS_FLUX_SLIT_TRACE_LTT-3218.fits"
    header = fits.getheader(result.paths[0])
    assert header["ESO PRO CATG"] == "FLUX_SLIT_TRACE_VIS"
    assert header["ESO PRO SCIENCE"] is False
    assert header["ESO PRO TECH"] == "ECHELLE,SLIT,STARE"


def test_products_of_these_tests_are_verified(mean_frame, make_raw, tmp_path, verified_products):
    if verified_products is None:
        pytest.skip("fitsverify is not here: make esorex gets it")
    verified_products.clear()
    result = run_recipe(mean_frame, [make_raw(f"b{index}.fits") for index in range(3)], {}, tmp_path / "out")
    assert result.paths
    assert verified_products == [path.name for path in result.paths]
