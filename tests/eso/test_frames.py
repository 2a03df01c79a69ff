"""Frames, sets of frames and the SOF grammar of `cpl.ui`, as observed of PyCPL."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from astropy.io import fits


def test_file_must_exist_when_the_frame_is_made(cpl, frame_file):
    with pytest.raises(cpl.core.FileIOError) as caught:
        cpl.ui.Frame("missing.fits")
    assert not isinstance(caught.value, FileNotFoundError)
    frame = cpl.ui.Frame(frame_file())
    frame.file = "missing.fits"
    assert frame.file == "missing.fits"


def test_path_is_kept_as_text(cpl, frame_file):
    path = frame_file("x/../x/a.fits")
    frame = cpl.ui.Frame(Path(path))
    assert isinstance(frame.file, str)
    assert frame.file == path


def test_defaults_and_keywords(cpl, frame_file):
    frame = cpl.ui.Frame(frame_file())
    kinds = cpl.ui.Frame
    assert (frame.tag, frame.group, frame.level, frame.type) == (
        "",
        kinds.FrameGroup.NONE,
        kinds.FrameLevel.NONE,
        kinds.FrameType.NONE,
    )
    full = kinds(
        file=frame_file(),
        tag="T",
        group=kinds.FrameGroup.RAW,
        level=kinds.FrameLevel.FINAL,
        frameType=kinds.FrameType.IMAGE,
    )
    assert full.type == kinds.FrameType.IMAGE
    for wrong in ("type", "ftype"):
        with pytest.raises(TypeError):
            kinds(frame_file(), **{wrong: kinds.FrameType.IMAGE})


def test_enumerations(cpl):
    frame = cpl.ui.Frame
    numbers = {
        "FrameGroup": {"NONE": 0, "RAW": 1, "CALIB": 2, "PRODUCT": 3},
        "FrameLevel": {"NONE": 0, "TEMPORARY": 1, "INTERMEDIATE": 2, "FINAL": 3},
        "FrameType": {"NONE": 1, "IMAGE": 2, "MATRIX": 4, "TABLE": 8, "PAF": 16, "ANY": 32},
    }
    for kind, members in numbers.items():
        enumeration = getattr(frame, kind)
        for name, number in members.items():
            assert int(getattr(enumeration, name)) == number
            assert enumeration(number) == getattr(enumeration, name)
            assert getattr(enumeration, name).name == name


@pytest.mark.parametrize("attribute", ["group", "level", "type"])
@pytest.mark.parametrize("wrong", [1, None])
def test_setters_take_enumerations_only(cpl, frame_file, attribute, wrong):
    with pytest.raises(TypeError):
        setattr(cpl.ui.Frame(frame_file()), attribute, wrong)


def test_closed_unhashable_equal_picklable(cpl, frame_file):
    frame = cpl.ui.Frame(frame_file(), "T")
    with pytest.raises(AttributeError):
        frame.anything = 1
    with pytest.raises(TypeError):
        hash(frame)
    assert frame == cpl.ui.Frame(frame_file(), "T")
    assert frame != cpl.ui.Frame(frame_file(), "U")
    assert pickle.loads(pickle.dumps(frame)) == frame


def test_attributes_are_these_and_no_others(cpl, frame_file):
    frame = cpl.ui.Frame(frame_file())
    assert {name for name in dir(frame) if not name.startswith("_")} == {
        "file", "tag", "group", "level", "type", "as_hdulist", "as_ccddata", "dump",
        "FrameGroup", "FrameLevel", "FrameType",
    }  # fmt: skip
    assert {name for name in dir(cpl.ui.FrameSet()) if not name.startswith("_")} == {
        "append", "dump", "sign_products", "update_product_header",
    }  # fmt: skip


def test_content_by_astropy(cpl, tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU([[1, 2], [3, 4]], fits.Header({"BUNIT": "adu"})).writeto(path)
    frame = cpl.ui.Frame(path)
    with frame.as_hdulist() as hdus:
        assert hdus[0].data[1, 0] == 3
    assert frame.as_ccddata().data.sum() == 10


def test_representations(cpl, frame_file, tmp_path, monkeypatch):
    frame_file("a.fits")
    monkeypatch.chdir(tmp_path)
    kinds = cpl.ui.Frame
    frame = kinds("a.fits", "T", kinds.FrameGroup.RAW, kinds.FrameLevel.FINAL, kinds.FrameType.IMAGE)
    assert repr(frame) == (
        "cpl.ui.Frame('a.fits', 'T', cpl.ui.Frame.FrameGroup.RAW, cpl.ui.Frame.FrameLevel.FINAL, "
        "cpl.ui.Frame.FrameType.IMAGE)"
    )
    assert str(frame) == (
        "(file=a.fits, tag=T, group=FrameGroup.RAW, level=FrameLevel.FINAL, type=FrameType.IMAGE)"
    )


def test_set(cpl, frame_file):
    frames = [cpl.ui.Frame(frame_file(f"{index}.fits"), "T") for index in range(3)]
    frame_set = cpl.ui.FrameSet(frames)
    assert len(frame_set) == 3
    assert [frame.file for frame in frame_set] == [frame.file for frame in frames]
    assert frame_set == cpl.ui.FrameSet(iter(frames))
    assert pickle.loads(pickle.dumps(frame_set)) == frame_set
    assert not cpl.ui.FrameSet()
    with pytest.raises(TypeError):
        frame_set[0:2]
    for missing in ("extend", "__add__", "__delitem__"):
        assert not hasattr(frame_set, missing)
    with pytest.raises(TypeError):
        cpl.ui.FrameSet(["a.fits"])


@pytest.mark.parametrize(("count", "lines"), [(15, 15), (16, 7)])
def test_long_sets_are_shortened(cpl, frame_file, count, lines):
    frame_set = cpl.ui.FrameSet([cpl.ui.Frame(frame_file(f"{index}.fits")) for index in range(count)])
    shown = [line for line in repr(frame_set).splitlines() if "cpl.ui.Frame(" in line or line.strip() == "..."]
    assert len(shown) == lines
    assert any("..." in line for line in shown) == (count > 15)


def test_sof_grammar(cpl, frame_file, tmp_path, monkeypatch):
    here = tmp_path / "elsewhere"
    here.mkdir()
    for name in ("a.fits", "b.fits", "c.fits", "d.fits", "e1.fits", "e2.fits"):
        frame_file(f"data/{name}")
    monkeypatch.setenv("SOXS_TEST_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(here)
    sof = tmp_path / "data" / "x.sof"
    sof.write_text(
        "# comment\n"
        "\n"
        "a.fits BIAS RAW extra columns\n"
        "$SOXS_TEST_DATA/b.fits  MASTER CALIB # trailing\n"
        "c.fits DARK PRODUCT\n"
        "d.fits\n"
        "e*.fits GLOB raw\n"
        '"with blank.fits" LOST\n'
    )
    group = cpl.ui.Frame.FrameGroup
    frames = cpl.ui.FrameSet(str(sof))
    found = [(Path(frame.file).name, frame.tag, frame.group) for frame in frames]
    assert found == [
        ("a.fits", "BIAS", group.RAW),
        ("b.fits", "MASTER", group.CALIB),
        ("c.fits", "DARK", group.NONE),
        ("d.fits", "", group.NONE),
        ("e1.fits", "GLOB", group.NONE),
    ]
    assert Path(frames[0].file).parent == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path / "data"))
    sof.write_text("~/a.fits T\n ,.;\n")
    assert [frame.file for frame in cpl.ui.FrameSet(sof)] == [str(tmp_path / "data" / "a.fits")]


def test_a_linked_sof_stands_where_it_leads(cpl, frame_file, tmp_path):
    frame_file("data/a.fits")
    sof = tmp_path / "data" / "x.sof"
    sof.write_text("a.fits T\n")
    link = tmp_path / "link.sof"
    link.symlink_to(sof)
    assert [frame.file for frame in cpl.ui.FrameSet(str(link))] == [str(tmp_path / "data" / "a.fits")]


def test_sof_errors(cpl, tmp_path):
    with pytest.raises(cpl.core.FileNotFoundError):
        cpl.ui.FrameSet(str(tmp_path / "none.sof"))
    sof = tmp_path / "x.sof"
    sof.write_text("missing.fits BIAS\n")
    with pytest.raises(cpl.core.FileIOError):
        cpl.ui.FrameSet(sof)
