"""Bad science frames beside the calibrations of a sound night, and a target that has hardly any calibrations."""

import json
import re
from pathlib import Path

import pytest
from astropy.io import fits
from reduced_night import catg
from spoiling import all_nan, all_zero, constant, cut, edited, saturated

pytestmark = pytest.mark.night
WAYS = {
    "half": (lambda s, t: cut(s, t, s.stat().st_size // 2), 22, "truncated"),
    "zero": (lambda s, t: edited(s, t, data=all_zero), 22, "all pixels are zero"),
    "NaN": (lambda s, t: edited(s, t, data=all_nan), 22, "no finite value"),
    "saturated": (lambda s, t: edited(s, t, data=saturated), 22, "the value 65535"),
    "constant": (lambda s, t: edited(s, t, data=constant), 22, "the value 777"),
    "no time": (lambda s, t: edited(s, t, without=["EXPTIME"]), 20, "no EXPTIME"),
    "binned": (lambda s, t: edited(s, t, cards={"ESO DET BINX": 2}), 20, "binning"),
}


@pytest.fixture
def science(night):
    """(raw frame, calibrations) of the UV-VIS target, from the set of frames that its call was given."""
    (sof,) = (night.workspace / "sof").rglob("science/VIS*.sof")
    rows = [line.split() for line in sof.read_text().splitlines()]
    (raw,) = [path for path, tag in rows if tag == "OBJECT_STARE_VIS"]
    calibrations = [(path, tag) for path, tag in rows if tag != "OBJECT_STARE_VIS"]
    assert len(calibrations) == 7
    return Path(raw), calibrations


@pytest.mark.parametrize("way", WAYS)
def test_a_bad_exposure_is_refused_by_name(way, science, soxs, tmp_path):
    raw, calibrations = science
    spoil, code, cause = WAYS[way]
    rows = [*calibrations, (spoil(raw, tmp_path / "spoilt.fits"), "")]
    sof = tmp_path / "x.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in rows))
    done = soxs("stare", sof, "-o", tmp_path / "out", "--no-plots")
    assert done.returncode == code, done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("soxs: error: ")]
    assert "spoilt" in line
    assert re.search(cause, line)
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("*.fits"))


def test_a_calibration_of_the_other_arm_is_refused_by_name(science, soxs, night, tmp_path):
    raw, calibrations = science
    other = night.product("MASTER_FLAT_NIR", "SLIT1.0")
    sof = tmp_path / "x.sof"
    rows = [*calibrations, (raw, ""), (other, "MASTER_FLAT_NIR")]
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in rows))
    done = soxs("stare", sof, "-o", tmp_path / "out", "--no-plots")
    assert done.returncode == 20
    assert f"{other.name} (MASTER_FLAT_NIR) is of the NIR arm" in done.stderr
    assert not list((tmp_path / "out").glob("*.fits"))


def test_a_target_with_biases_only_still_gives_a_spectrum(night, soxs, tmp_path):
    raws = tmp_path / "raw"
    raws.mkdir()
    for frame in (*night.truth.select("bias", "VIS"), *night.truth.select("science", "VIS")):
        (raws / frame.file).symlink_to(night.truth.path(frame))
    done = soxs("reduce", "all", raws, "-o", tmp_path / "ws", "-j", "1", "--no-plots", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["targets"]
    assert row["status"] == "PARTIAL"
    reasons = "; ".join(row["why"])
    for lack in ("no flat", "no arcs", "no standard star"):
        assert lack in reasons
    (spectrum,) = [p for p in (tmp_path / "ws").rglob("*.fits") if catg(p) == "SCI_SLIT_MERGE1D_VIS"]
    assert fits.getheader(spectrum)["ESO QC STATUS"] == "PARTIAL"
    assert spectrum.with_suffix(".txt").is_file()
