"""Each bad frame: refused by name with its cause when it stands alone, left out and named among good ones."""

import re

import numpy as np
import pytest
from spoiling import all_nan, all_zero, constant, cut, dead_quadrant, edited, flipped, saturated

from soxs_recipes.fits_files import read_frame

BLOCK = 2880
WAYS = {
    "empty": (lambda s, t: cut(s, t, 0), "is empty"),
    "one byte": (lambda s, t: cut(s, t, 1), "does not begin as FITS"),
    "half a header": (lambda s, t: cut(s, t, BLOCK), "truncated"),
    "half": (lambda s, t: cut(s, t, s.stat().st_size // 2), "truncated"),
    "one block short": (lambda s, t: cut(s, t, -BLOCK), "truncated"),
    "one bit": (flipped, "DATASUM"),
    "zero": (lambda s, t: edited(s, t, data=all_zero), "all pixels are zero"),
    "NaN": (lambda s, t: edited(s, t, data=all_nan), "no finite value|have no value"),
    "saturated": (lambda s, t: edited(s, t, data=saturated), "the value 65535"),
    "constant": (lambda s, t: edited(s, t, data=constant), "the value 777"),
    "negative time": (lambda s, t: edited(s, t, cards={"EXPTIME": -1.0}), "EXPTIME"),
    "gain 0": (lambda s, t: edited(s, t, cards={"ESO DET OUT1 CONAD": 0.0}), "CONAD = 0"),
    "noise 0": (lambda s, t: edited(s, t, cards={"ESO DET CHIP RON": 0.0}), "READ_NOISE = 0"),
}


@pytest.mark.parametrize("way", WAYS)
def test_alone(way, raws, reduce_sof, left, tmp_path):
    spoil, cause = WAYS[way]
    frame = spoil(raws["arc"][0], tmp_path / "spoilt.fits")
    answer = reduce_sof("disp_solution", frame, raws["arc_off"][0])
    assert answer.code in (20, 22, 23)
    assert "spoilt" in answer.error
    assert re.search(cause, answer.error)
    assert left() == []


@pytest.mark.parametrize("way", ["half", "one bit", "zero", "NaN", "saturated", "constant", "negative time"])
def test_among_good_ones(way, raws, reduce_sof, left, tmp_path):
    spoil, _ = WAYS[way]
    frame = spoil(raws["bias"][2], tmp_path / "spoilt.fits")
    answer = reduce_sof("mbias", *raws["bias"][:2], frame)
    assert answer.code == 0
    assert "PARTIAL" in answer.out
    assert "spoilt" in answer.err
    assert "left out" in answer.err
    assert any("MASTER_BIAS" in name for name in left())


@pytest.mark.parametrize("way", ["empty", "one byte", "half a header", "gain 0", "noise 0"])
def test_a_header_that_cannot_be_used_ends_the_call_by_name(way, raws, reduce_sof, left, tmp_path):
    spoil, _ = WAYS[way]
    frame = spoil(raws["bias"][2], tmp_path / "spoilt.fits")
    answer = reduce_sof("mbias", *raws["bias"][:2], frame)
    assert answer.code in (20, 22)
    assert "spoilt.fits" in answer.error
    assert left() == []


def test_padding_that_lacks_is_no_harm(raws, reduce_sof, left, tmp_path):
    frame = cut(raws["bias"][2], tmp_path / "short.fits", -100)
    answer = reduce_sof("mbias", *raws["bias"][:2], frame)
    assert answer.code == 0
    assert "short.fits: padding after HDU 0 is incomplete" in answer.err


def test_a_dead_quadrant_is_told_and_does_no_harm(raws, reduce_sof, left, tmp_path):
    frame = edited(raws["bias"][2], tmp_path / "spoilt.fits", data=dead_quadrant)
    answer = reduce_sof("mbias", *raws["bias"][:2], frame)
    assert answer.code == 0
    assert re.search(r"spoilt: 2[0-9] % of the pixels were not read", answer.err)
    assert "PARTIAL" in answer.out
    (name,) = [one for one in left() if "MASTER_BIAS" in one]
    master = read_frame(tmp_path / "out" / name)
    ny, nx = master.shape
    quadrant = master.data[: ny // 2, : nx // 2]
    assert abs(np.median(quadrant) - np.median(master.data)) < 3.0
    assert np.median(master.variance[: ny // 2, : nx // 2]) > np.median(master.variance[ny // 2 :])


MISSING = {
    "EXPTIME": "no EXPTIME",
    "ESO DPR TYPE": "",
    "ESO SEQ ARM": "",
    "ESO DET OUT1 CONAD": "",
    "MJD-OBS": "",
    "INSTRUME": "",
}


@pytest.mark.parametrize("keyword", MISSING)
def test_a_missing_keyword_is_named_or_made_good(keyword, raws, reduce_sof, left, tmp_path):
    frame = edited(raws["vis_arc"][0], tmp_path / "bare.fits", without=[keyword])
    answer = reduce_sof("disp_solution", frame)
    if MISSING[keyword]:
        assert answer.code == 20
        assert "bare.fits" in answer.error
        assert MISSING[keyword] in answer.error
        assert left() == []
    else:
        assert answer.code == 0, answer.err
        assert any("DISP_TAB" in name for name in left())


def test_nothing_that_says_what_it_is(raws, reduce_sof, left, tmp_path):
    without = ["ESO DPR TYPE", "ESO DPR TECH", "ESO DPR CATG", "ESO TPL ID", "ESO TPL NAME"]
    frame = edited(raws["vis_arc"][0], tmp_path / "bare.fits", without=without)
    answer = reduce_sof("disp_solution", frame)
    assert answer.code == 20
    assert "bare.fits" in answer.error
    assert left() == []
