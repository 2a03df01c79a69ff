"""Sets of frames that do not belong together are refused, and the odd frame is named."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from spoiling import edited


def test_wrong_arm(raws, reduce_sof, left):
    answer = reduce_sof("disp_solution", raws["arc"][0], raws["arc_off"][0], raws["vis_arc"][0])
    assert answer.code == 20
    assert "vis_arc0.fits" in answer.error
    assert "VIS arm" in answer.error
    assert left() == []


def test_wrong_arm_by_its_tag(raws, reduce_sof, left):
    answer = reduce_sof("mbias", *raws["bias"], (raws["dark"][0], "BIAS_VIS"))
    assert answer.code == 20
    assert "dark0.fits (BIAS_VIS) is of the NIR arm" in answer.error
    assert left() == []


def test_mixed_binning(raws, reduce_sof, left):
    answer = reduce_sof("mbias", *raws["bias"], raws["other_binning"][0])
    assert answer.code == 20
    assert "binning" in answer.error
    assert "other_binning0.fits" in answer.error
    assert left() == []


def test_binning_that_its_pixels_deny(raws, reduce_sof, tmp_path):
    frame = edited(raws["bias"][2], tmp_path / "odd.fits", cards={"ESO DET BINX": 1, "ESO DET BINY": 1})
    answer = reduce_sof("mbias", *raws["bias"][:2], frame)
    assert "odd.fits" in answer.err
    assert answer.code in (0, 20)


def test_mixed_exposure_times(raws, reduce_sof, left):
    answer = reduce_sof("mdark", *raws["dark"], raws["long_dark"][0])
    assert answer.code == 20
    assert "long_dark0.fits has 180" in answer.error
    assert left() == []


@pytest.mark.parametrize("value", [9, 2])
def test_mixed_read_modes(value, raws, reduce_sof, left, tmp_path):
    frame = edited(raws["bias"][2], tmp_path / "odd.fits", cards={"ESO DET READ CURID": value})
    answer = reduce_sof("mbias", *raws["bias"][:2], frame)
    assert answer.code == 20
    assert "odd.fits" in answer.error
    assert "read mode" in answer.error
    assert left() == []


@pytest.mark.parametrize("packed", [False, True])
def test_one_exposure_under_two_names_counts_once(packed, raws, reduce_sof, tmp_path):
    copy = tmp_path / ("copy.fits.fz" if packed else "copy.fits")
    if packed:
        with fits.open(raws["bias"][2]) as hdus:
            data, header = hdus[0].data, hdus[0].header
            fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header)]).writeto(copy)
    else:
        shutil.copy(raws["bias"][2], copy)
    answer = reduce_sof("mbias", *raws["bias"], copy)
    assert answer.code == 0
    assert "copy.fits" in answer.err
    assert "the same exposure as bias2.fits" in answer.err
    (product,) = (tmp_path / "out").glob("*MASTER_BIAS*.fits")
    header = fits.getheader(product)
    used = [header[f"ESO PRO REC1 RAW{number} NAME"] for number in (1, 2, 3)]
    assert sorted(used) == ["bias0.fits", "bias1.fits", "bias2.fits"]
    assert "ESO PRO REC1 RAW4 NAME" not in header
    assert f"{copy.name} is left out: the same exposure as bias2.fits" in str(header["NOTE*"])


def test_exposures_of_one_time_with_other_data_are_two(raws, reduce_sof, tmp_path):
    """A clock that says one time twice loses no frame: what differs by checksum is another exposure."""
    again = edited(raws["bias"][2], tmp_path / "again.fits", data=np.flipud)
    answer = reduce_sof("mbias", *raws["bias"], again)
    assert answer.code == 0
    assert "same exposure" not in answer.err


def test_lit_frames_given_as_biases(raws, reduce_sof):
    answer = reduce_sof("mbias", *raws["bias"][:2], (raws["flat"][0], "BIAS_VIS"))
    assert "flat0.fits is given as BIAS_VIS, but its header says FLAT_SLIT_VIS" in answer.err
    assert answer.code != 0 or "PARTIAL" in answer.out


def test_lamp_off_frame_of_another_time(raws, reduce_sof, tmp_path):
    off = edited(raws["arc_off"][0], tmp_path / "off.fits", cards={"EXPTIME": 180.0, "ESO DET SEQ1 DIT": 180.0})
    answer = reduce_sof("disp_solution", raws["arc"][0], off)
    assert answer.code == 0
    assert "PARTIAL" in answer.out
    assert "off.fits" in answer.err
    assert "180" in answer.err


def test_missing_calibration(raws, reduce_sof, left):
    answer = reduce_sof("response", raws["arc"][0])
    assert answer.code == 20
    assert "arc0.fits" in answer.error
    assert left() == []


def test_missing_file(raws, reduce_sof, left, tmp_path):
    answer = reduce_sof("mbias", *raws["bias"], tmp_path / "nowhere.fits")
    assert answer.code == 20
    assert "nowhere.fits: there is no such file" in answer.error
    assert left() == []


def test_nothing_at_all(soxs, write_sof, tmp_path, reduce_sof):
    assert "x.sof" in reduce_sof("mbias").error
    answer = soxs("mbias", tmp_path / "none.sof", "-o", tmp_path / "out")
    assert answer.code == 20
    assert "none.sof" in answer.error


def test_the_next_run_is_sound(raws, reduce_sof, left, tmp_path):
    assert reduce_sof("mbias", *raws["bias"], raws["other_binning"][0]).code == 20
    assert reduce_sof("mbias", *raws["bias"]).code == 0
    assert len(left()) == 2
