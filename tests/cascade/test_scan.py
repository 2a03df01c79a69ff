import gzip
import os
import time

import pytest
from astropy.io import fits
from fake_night import MJD0, cards_of, header_bytes, write_frame

from soxs_recipes.cascade.scan import find_fits_files, scan_folder

SCIENCE = ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE")
BIAS = ("CALIB", "BIAS", "IMAGE")


def only_record(folder):
    frames = scan_folder(folder).frames
    assert len(frames) == 1
    return frames[0]


def test_a_complete_night_is_classified(complete_night):
    result = scan_folder(complete_night.folder)
    assert result.unusable == ()
    written = sum(len(paths) for paths in complete_night.written.values())
    assert len(result.usable) == written > 50
    tags = {frame.tag for frame in result.usable}
    assert {"BIAS_VIS", "DARK_NIR", "WAVE_PIN_VIS", "WAVE_PIN_NIR_OFF", "OBJECT_STARE_NIR"} <= tags


def test_nothing_is_read_twice(complete_night):
    first = scan_folder(complete_night.folder)
    again = scan_folder(complete_night.folder, known={frame.path: frame for frame in first.frames})
    assert (first.read, again.read) == (len(first.frames), 0)
    assert again.frames == first.frames


def test_a_replaced_file_is_read_again(night):
    (path,) = night.add("sci", "VIS", SCIENCE)
    first = scan_folder(night.folder)
    write_frame(path, cards_of("VIS", SCIENCE, mjd=MJD0, exptime=77.0))
    again = scan_folder(night.folder, known={frame.path: frame for frame in first.frames})
    assert again.read == 1
    assert again.frames[0].facts["exptime"] == 77.0
    assert again.frames[0].checksum != first.frames[0].checksum


@pytest.mark.parametrize("keep", [0, 1, 2879, 2880])
def test_a_stump_is_named(night, keep):
    (path,) = night.add("sci", "VIS", SCIENCE)
    os.truncate(path, keep)
    os.utime(path, (0, 0))
    record = only_record(night.folder)
    assert record.problem
    assert record.path == str(path)
    assert record.tag == ""


@pytest.mark.parametrize("missing", [2880, 4_000_000])
def test_missing_data_are_counted(night, missing):
    write_frame(night.folder / "a.fits", cards_of("NIR", SCIENCE, mjd=MJD0), truncate=missing)
    assert "truncated" in only_record(night.folder).problem


def test_missing_padding_is_no_harm(night):
    write_frame(night.folder / "a.fits", cards_of("NIR", SCIENCE, mjd=MJD0), truncate=100)
    assert only_record(night.folder).tag == "OBJECT_STARE_NIR"


def test_the_night_goes_on_without_a_bad_frame(complete_night):
    bad = complete_night.written["vis_bias"][2]
    bad.write_bytes(b"not FITS at all")
    result = scan_folder(complete_night.folder)
    assert [frame.path for frame in result.unusable] == [str(bad)]
    assert len(result.usable) > 50


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"EXPTIME": float("1e400")}, "EXPTIME"),
        ({"EXPTIME": -1.0}, "EXPTIME"),
        ({"EXPTIME": None}, "EXPTIME"),
        ({"EXPTIME": "long"}, "EXPTIME"),
        ({"ESO DET OUT1 CONAD": 0.0}, "CONAD"),
        ({"ESO DET CHIP RON": -3.0}, "RON"),
        ({"ESO DET BINX": 2}, "binning"),
        ({"NAXIS1": 404}, "pixels"),
        ({"ESO SEQ ARM": "NIR", "ESO INS NISE NAME": "SLIT1.0"}, "pixels"),
        ({"MJD-OBS": None}, "MJD-OBS"),
        ({"MJD-OBS": 9e9}, "MJD-OBS"),
        ({"INSTRUME": "FORS2"}, "FORS2"),
        ({"ESO DPR TYPE": "LUNCH"}, "LUNCH"),
    ],
)
def test_impossible_headers_are_refused_by_the_rule_they_break(night, change, word):
    cards = cards_of("VIS", SCIENCE, mjd=MJD0) | change
    cards = {key: value for key, value in cards.items() if value is not None}
    if cards.get("EXPTIME") == float("inf"):
        cards["EXPTIME"] = "NaN"
    write_frame(night.folder / "odd.fits", cards)
    record = only_record(night.folder)
    assert word in record.problem
    assert "\n" not in record.problem


@pytest.mark.parametrize(
    ("change", "fact", "value"),
    [
        ({"MJD-OBS": None, "DATE-OBS": "2025-11-21T02:24:00.000"}, "mjd", MJD0 + 0.1),
        ({"ESO SEQ ARM": None}, "arm", "VIS"),
        ({"ESO DET BINX": None}, "binning", "1x1"),
        ({"ESO DET BINX": None, "ESO DET BINY": None, "NAXIS1": 454, "NAXIS2": 2048}, "binning", "2x2"),
        ({"ESO DET READ CURID": None}, "read_mode", None),
        ({"ESO TPL START": None}, "template_start", None),
        ({"OBJECT": None, "ESO OBS TARG NAME": "SN 2026 xyz"}, "target", "SN 2026 xyz"),
        ({"CDELT1": 0.0305}, "binning", "1x1"),
        ({"NAXIS1": 1072, "NAXIS2": 4146}, "binning", "1x1"),
        ({"NAXIS1": 858}, "binning", "1x1"),
        ({"ESO DET BINX": 2, "ESO DET BINY": 2, "NAXIS1": 504, "NAXIS2": 2098}, "binning", "2x2"),
    ],
)
def test_what_can_be_inferred_is(night, change, fact, value):
    cards = cards_of("VIS", SCIENCE, mjd=MJD0) | change
    write_frame(night.folder / "odd.fits", {key: v for key, v in cards.items() if v is not None})
    record = only_record(night.folder)
    assert record.problem == ""
    assert record.facts[fact] == pytest.approx(value) if isinstance(value, float) else record.facts[fact] == value


def test_only_regular_files_are_opened(night):
    night.add("sci", "VIS", SCIENCE)
    os.mkfifo(night.folder / "pipe.fits")
    (night.folder / "folder.fits").mkdir()
    (night.folder / "loop").symlink_to(night.folder, target_is_directory=True)
    (night.folder / "dangling.fits").symlink_to(night.folder / "nowhere.fits")
    result = scan_folder(night.folder)
    assert len(result.usable) == 1
    assert sorted(frame.name for frame in result.unusable) == ["dangling.fits", "folder.fits", "pipe.fits"]


def test_one_frame_in_two_forms_counts_once(night):
    (path,) = night.add("sci", "VIS", SCIENCE)
    (night.folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    (night.folder / "link.fits").symlink_to(path)
    files, odd = find_fits_files(night.folder)
    assert len(files) == 1
    assert odd == []


def test_a_copy_under_another_name_counts_once(night):
    (path,) = night.add("sci", "VIS", SCIENCE)
    (night.folder / "a copy.fits").write_bytes(path.read_bytes())
    result = scan_folder(night.folder)
    assert len(result.usable) == 1
    assert [frame.problem for frame in result.unusable] == ["the same frame as SOXS.sci.01.fits"]


@pytest.mark.parametrize("name", ["a packed copy.fits.fz", "z packed copy.fits.gz"])
def test_a_packed_copy_under_another_name_counts_once(night, name):
    """Its bytes are others than those of the plain frame, which is taken whichever comes first."""
    (path,) = night.add("sci", "VIS", SCIENCE, DATASUM=None)
    with fits.open(path) as hdus:
        data, header = hdus[0].data, hdus[0].header
    if name.endswith(".fz"):
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header)]).writeto(night.folder / name)
    else:
        (night.folder / name).write_bytes(gzip.compress(path.read_bytes()))
    result = scan_folder(night.folder)
    assert [frame.name for frame in result.usable] == [path.name]
    assert [frame.problem for frame in result.unusable] == [f"the same frame as {path.name}"]


def test_packed_frames_of_other_times_are_no_copies(night):
    for path in night.add("sci", "VIS", SCIENCE, 3, DATASUM=None)[1:]:
        (night.folder / f"packed {path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert len(scan_folder(night.folder).usable) == 3


def test_packed_exposures_of_one_second_are_no_copies(night):
    """Clocks may tell no more than seconds; the template counts its exposures."""
    for number, name in enumerate(("one.fits", "two.fits"), start=1):
        cards = cards_of("VIS", BIAS, mjd=MJD0, exptime=0.0, start="2025-11-21T00:00:00", expno=number)
        write_frame(night.folder / name, cards | {"DATASUM": "0"})
    packed = night.folder / "two.fits.gz"
    packed.write_bytes(gzip.compress((night.folder / "two.fits").read_bytes()))
    (night.folder / "two.fits").unlink()
    assert [frame.name for frame in scan_folder(night.folder).usable] == ["one.fits", "two.fits.gz"]


def test_an_end_before_the_start_is_named(night):
    for name, end in (("a", MJD0 - 0.01), ("b", MJD0 + 0.01), ("c", MJD0 - 1e-8)):
        write_frame(night.folder / f"{name}.fits", cards_of("VIS", SCIENCE, mjd=MJD0) | {"MJD-END": end})
    frames = scan_folder(night.folder).frames
    assert [frame.problem for frame in frames] == ["", "", ""]
    assert ["MJD-END lies before MJD-OBS" in "".join(frame.warnings) for frame in frames] == [True, False, False]


def test_compressed_frames_are_read(night):
    (path,) = night.add("sci", "VIS", SCIENCE)
    (night.folder / "SOXS.other.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert only_record(night.folder).tag == "OBJECT_STARE_VIS"


def test_subfolders_are_searched_and_workspaces_are_not(night):
    night.add("sci", "VIS", SCIENCE)
    for name in ("deeper", "results", "excluded", ".hidden"):
        (night.folder / name).mkdir()
        write_frame(night.folder / name / f"{name}.fits", cards_of("VIS", SCIENCE, mjd=MJD0))
    (night.folder / "results" / "soxs.db").touch()
    files, _ = find_fits_files(night.folder, exclude=(night.folder / "excluded").resolve())
    assert sorted(path.name for path in files) == ["SOXS.sci.01.fits", "deeper.fits"]


def test_data_decide_the_checksum_where_the_header_does_not(night):
    for name, byte in (("a", 1), ("b", 2), ("c", 1)):
        path = write_frame(night.folder / f"{name}.fits", cards_of("VIS", BIAS, mjd=MJD0) | {"DATASUM": "0"})
        with path.open("r+b") as stream:
            stream.seek(-1000, os.SEEK_END)
            stream.write(bytes([byte]))
    first, second, third = (frame.checksum for frame in scan_folder(night.folder).frames)
    assert first == third != second


def test_products_of_others_are_not_calibrations(night):
    cards = cards_of("VIS", BIAS, mjd=MJD0) | {"ESO PRO CATG": "MASTER_BIAS_VIS"}
    write_frame(night.folder / "theirs.fits", cards | {"ESO PRO REC1 PIPE ID": "soxspipe/0.17.4"})
    write_frame(
        night.folder / "ours.fits", cards | {"ESO PRO REC1 PIPE ID": "soxs/0.1.0", "ESO QC STATUS": "PARTIAL"}
    )
    ours, theirs = scan_folder(night.folder).frames
    assert (ours.tag, ours.is_product, ours.problem) == ("MASTER_BIAS_VIS", True, "")
    assert "another pipeline" in theirs.problem


def test_a_file_that_grows_is_waited_for(night, monkeypatch):
    path = night.folder / "growing.fits"
    whole = header_bytes(cards_of("VIS", SCIENCE, mjd=MJD0))
    path.write_bytes(whole[:1000])
    sleeps = []

    def grow(seconds):
        sleeps.append(seconds)
        write_frame(path, cards_of("VIS", SCIENCE, mjd=MJD0))

    monkeypatch.setattr(time, "sleep", grow)
    assert only_record(night.folder).tag == "OBJECT_STARE_VIS"
    assert sleeps


def test_files_from_the_future_are_not_waited_for(night, monkeypatch):
    """After a clock was set back, or from a computer whose clock is ahead."""
    (path,) = night.add("sci", "VIS", SCIENCE)
    packed = night.folder / "SOXS.other.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()) + b"?")
    assert packed.stat().st_size % 2880
    path.unlink()
    os.utime(packed, (time.time() + 3600, time.time() + 3600))
    sleeps = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    assert only_record(night.folder).tag == "OBJECT_STARE_VIS"
    assert sleeps == []


def test_seventy_frames_take_less_than_two_seconds(complete_night):
    complete_night.science("VIS", count=14, target="SN2026more")
    begin = time.process_time()
    assert len(scan_folder(complete_night.folder).usable) >= 71
    assert time.process_time() - begin < 2.0
