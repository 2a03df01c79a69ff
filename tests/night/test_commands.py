"""Two commands: what they say, what they leave, and that saying them again changes nothing."""

import json

import pytest
from astropy.io import fits
from reduced_night import catg

pytestmark = pytest.mark.night
CALLS = 22


def test_two_commands_make_spectra(night):
    assert night.prep.returncode == 0, night.prep.stderr
    assert "0 unusable" in night.prep.stdout
    assert night.reduce.returncode == 0, night.reduce.stderr
    assert "Traceback" not in night.reduce.stdout + night.reduce.stderr
    assert f"{CALLS} recipe calls run" in night.reduce.stdout
    for target in ("SN2026abc", "LTT3218"):
        for arm in ("VIS", "NIR"):
            (line,) = [one for one in night.reduce.stdout.splitlines() if one.startswith(f"{target} {arm}: ")]
            assert line.split(": ", 1)[1].endswith(".txt")


def test_every_call_ended_well(night):
    report = night.report()
    assert len(report["calls"]) == CALLS
    assert {call["state"] for call in report["calls"]} == {"done"}
    rows = {(row["target"], row["arm"]): row for row in report["targets"]}
    assert len(rows) == 4
    for row in rows.values():
        assert row["status"] == "COMPLETE", row
        assert {link["level"] for link in row["calibrations"]} <= {0, None}


def snapshot(night):
    files = [path for path in (night.workspace / "products").rglob("*") if path.is_file()]
    files += [path for path in (night.workspace / "plots").rglob("*") if path.is_file()]
    assert len(files) > 100
    return {path: path.stat().st_mtime_ns for path in files}


def test_the_second_run_does_nothing(night):
    before = snapshot(night)
    report = night.report()
    assert report["ran"] == []
    assert snapshot(night) == before


def test_raw_frames_are_as_they_were(night):
    raws = sorted(night.folder.glob("*.fits"))
    assert len(raws) == 63
    for path in raws[::7]:
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")


def data_sums(night, paths):
    sums = {}
    for path in paths:
        with fits.open(path) as hdus:
            for hdu in hdus:
                sums[path.name, hdu.name] = hdu.header["DATASUM"]
    return sums


def test_one_arm_without_a_standard_gives_the_same_counts(night, soxs, tmp_path):
    """One arm, no standard, another workspace, one process: the same data up to the counts, marked."""
    workspace = tmp_path / "again"
    raws = tmp_path / "raw"
    raws.mkdir()
    kept = night.truth.select(arm="VIS")
    kept = [frame for frame in kept if frame.kind != "standard"]
    for frame in kept:
        (raws / frame.file).symlink_to(night.truth.path(frame))
    done = soxs("reduce", "all", raws, "-o", workspace, "-j", "1", "--no-plots", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["ran"]) == 8
    made = sorted(workspace.glob("products/**/*.fits"))
    same = [path for path in made if "/science/" not in str(path)]
    assert len(same) > 10
    ours = [night.workspace / path.relative_to(workspace) for path in same]
    assert len({catg(path) for path in same}) >= 9
    assert data_sums(night, same) == data_sums(night, ours)
    science = [path for path in made if catg(path) in ("SCI_SLIT_ORDER1D_VIS", "SCI_SLIT_SKYSUB_VIS")]
    assert len(science) == 2
    ours = [night.workspace / path.relative_to(workspace) for path in science]
    assert data_sums(night, science) == data_sums(night, ours)
    assert {catg(path) for path in made if "/science/" in str(path)}.isdisjoint({"SCI_SLIT_FLUX_MERGE1D_VIS"})
    header = fits.getheader(next(path for path in made if catg(path) == "SCI_SLIT_MERGE1D_VIS"))
    assert header["ESO QC STATUS"] == "PARTIAL"
    assert "no standard star" in " ".join(str(header.get(f"REASON{n}", "")) for n in range(1, 5))
