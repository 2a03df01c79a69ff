"""A night with bad frames: each is named, the rest goes on, and the next run does the rest."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from spoiling import all_nan, all_zero, cut, edited, flipped, saturated


@pytest.fixture
def folder(tmp_path, raws):
    """Sound biases and darks of one night."""
    path = tmp_path / "raw"
    path.mkdir()
    for frame in (*raws["bias"], *raws["dark"]):
        shutil.copy(frame, path)
    return path


@pytest.fixture
def reduce_all(soxs, folder):
    """(exit code, what --json tells)."""

    def run(*options):
        answer = soxs("reduce", "all", folder, "--no-plots", "-j", "1", "--json", *options)
        return answer.code, json.loads(answer.out)

    return run


def calls(report):
    return {call["call"].split("/", 1)[1]: call for call in report["calls"]}


def test_bad_frames_are_named_and_the_night_goes_on(folder, raws, reduce_all):
    sound = raws["bias"][0]
    cut(sound, folder / "cut.fits", sound.stat().st_size // 2)
    (folder / "empty.fits").write_bytes(b"")
    (folder / "text.fits").write_text("no FITS")
    edited(sound, folder / "nothing.fits", without=["ESO DPR TYPE", "ESO DPR CATG", "ESO DPR TECH", "ESO TPL ID"])
    edited(sound, folder / "arm.fits", cards={"ESO SEQ ARM": "NIR"})
    flipped(raws["bias"][2], folder / "bias2.fits")
    edited(sound, folder / "zero.fits", data=all_zero)
    edited(raws["dark"][0], folder / "nan.fits", data=all_nan)
    edited(raws["dark"][0], folder / "saturated.fits", data=saturated)
    # Its own data: the same data twice would count as a copy.
    edited(raws["dark"][0], folder / "gain.fits", data=np.flipud, cards={"ESO DET OUT1 CONAD": 0.0})
    shutil.copy(raws["other_binning"][0], folder)
    code, report = reduce_all()
    assert code == 0
    unusable = {entry["file"].rsplit("/", 1)[-1]: entry["reason"] for entry in report["unusable"]}
    assert {"cut.fits", "empty.fits", "text.fits", "arm.fits"} <= set(unusable)
    assert "truncated" in unusable["cut.fits"]
    assert "empty" in unusable["empty.fits"]
    assert "VIS detector" in unusable["arm.fits"]
    assert all("\n" not in reason for reason in unusable.values())
    made = calls(report)
    bias = made["bias/VIS_1_2x2"]
    assert (bias["state"], bias["status"]) == ("done", "PARTIAL")
    assert "bias2.fits: DATASUM" in bias["why"]
    assert "zero" in bias["why"]
    (dark,) = [call for name, call in made.items() if name.startswith("dark/NIR")]
    assert (dark["state"], dark["status"]) == ("done", "PARTIAL")
    for name in ("nan", "saturated"):
        assert name in dark["why"]
    assert "CONAD = 0" in dark["why"] + unusable.get("gain.fits", "")
    assert [name for name in made if name.startswith("bias/") and name != "bias/VIS_1_2x2"]


def test_a_hopeless_call_fails_alone_and_the_next_run_repeats_it_only(folder, raws, reduce_all):
    for path in raws["bias"]:
        (folder / path.name).unlink()
        edited(path, folder / path.name, data=all_zero)
    code, report = reduce_all()
    made = calls(report)
    assert made["bias/VIS_1_2x2"]["state"] == "failed"
    assert "all pixels are zero" in made["bias/VIS_1_2x2"]["why"]
    (dark,) = [call for name, call in made.items() if name.startswith("dark/")]
    assert dark["state"] == "done"
    assert code == 0
    products = folder / "soxs" / "products"
    assert not list(products.glob("**/*BIAS*.fits"))
    for path in raws["bias"]:
        shutil.copy(path, folder)
    code, report = reduce_all()
    assert code == 0
    assert [name.split("/")[1] for name in report["ran"]] == ["bias"]
    assert calls(report)["bias/VIS_1_2x2"]["state"] == "done"
    assert len(list(products.glob("**/*MASTER_BIAS*.fits"))) == 1


def test_nothing_but_rubbish(tmp_path, soxs):
    folder = tmp_path / "rubbish"
    folder.mkdir()
    (folder / "a.fits").write_bytes(b"SIMPLE")
    answer = soxs("reduce", "all", folder, "--no-plots")
    assert "a.fits" in answer.out + answer.err
    assert soxs("reduce", "all", tmp_path / "nowhere").code == 20


def test_a_second_run_does_nothing_and_a_forced_one_makes_the_same(folder, reduce_all):
    assert reduce_all()[0] == 0
    products = sorted((folder / "soxs" / "products").glob("**/*.fits"))
    assert len(products) == 4
    before = [path.stat().st_mtime_ns for path in products]
    sums = [fits.getheader(path)["DATAMD5"] for path in products]
    assert reduce_all()[1]["ran"] == []
    assert [path.stat().st_mtime_ns for path in products] == before
    assert len(reduce_all("-x")[1]["ran"]) == 2
    assert [path.stat().st_mtime_ns for path in products] != before
    assert [fits.getheader(path)["DATAMD5"] for path in products] == sums


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "a;rm -rf *", "C/2014 UN271", "CON", "-x", "", "long " * 10]
)
def test_names_of_objects_stay_inside(name, raws, soxs, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in raws["bias"][:2]:
        edited(path, folder / path.name, cards={"OBJECT": (name, "")})
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert soxs("reduce", "all", folder, "--no-plots", "-j", "1", "-q").code == 0
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert len([path for path in new if path.suffix == ".fits"]) == 2
    assert all((folder / "soxs") in path.parents for path in new)
