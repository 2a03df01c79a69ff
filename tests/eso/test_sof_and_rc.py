from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soxs_recipes.errors import InputError
from soxs_recipes.eso.rc import RcEntry, parse_rc, rc_text, read_rc, replace_text
from soxs_recipes.eso.sof import SofEntry, parse_sof, read_sof, sof_text, write_sof


def test_relative_to_the_sof_then_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "sofs").mkdir()
    (tmp_path / "here").mkdir()
    for name in ("sofs/a.fits", "here/a.fits", "here/b.fits"):
        (tmp_path / name).write_bytes(b"")
    sof = tmp_path / "sofs" / "x.sof"
    sof.write_text("a.fits BIAS_VIS RAW\nb.fits MASTER_BIAS_VIS calib\nc.fits\n\n# remark\n")
    monkeypatch.chdir(tmp_path / "here")
    assert read_sof(sof) == [
        SofEntry(tmp_path / "sofs" / "a.fits", "BIAS_VIS", "RAW"),
        SofEntry(tmp_path / "here" / "b.fits", "MASTER_BIAS_VIS", "CALIB"),
        SofEntry(tmp_path / "sofs" / "c.fits"),
    ]


def test_variables_blanks_and_comments(tmp_path, monkeypatch):
    monkeypatch.setenv("SOXS_TEST_DATA", str(tmp_path))
    (tmp_path / "with blank.fits").write_bytes(b"")
    blank = f"{tmp_path}/with blank.fits"
    text = f'$SOXS_TEST_DATA/x.fits T # note\n{blank} DARK RAW\n"{blank}" BIAS\n'
    assert parse_sof(text, tmp_path) == [
        SofEntry(tmp_path / "x.fits", "T"),
        SofEntry(tmp_path / "with blank.fits", "DARK", "RAW"),
        SofEntry(tmp_path / "with blank.fits", "BIAS"),
    ]


def test_what_is_written_is_absolute_and_read_back_by_both(tmp_path, monkeypatch):
    from soxs_recipes.eso import ui

    monkeypatch.chdir(tmp_path)
    Path("a.fits").write_bytes(b"")
    path = write_sof(tmp_path / "x.sof", [SofEntry(Path("a.fits"), "BIAS_VIS", "RAW")])
    assert path.read_text() == f"{tmp_path}/a.fits BIAS_VIS RAW\n"
    frame = ui.FrameSet(path)[0]
    assert (frame.file, frame.tag, frame.group.name) == (str(tmp_path / "a.fits"), "BIAS_VIS", "RAW")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00a"])
def test_unreadable(tmp_path, content):
    path = tmp_path / "x.sof"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.sof"):
        read_sof(path)


NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1
)
TAGS = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True).filter(
    lambda tag: tag not in ("RAW", "CALIB", "PRODUCT")
)


@given(
    st.lists(
        st.tuples(
            NAMES.filter(lambda name: name not in (".", "..") and name.strip() == name), TAGS,
            st.sampled_from(["", "RAW", "CALIB", "PRODUCT"]),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_round_trip_of_any_name(items):
    entries = [SofEntry(Path("/no/such/folder") / name, tag, group) for name, tag, group in items]
    assert parse_sof(sof_text(entries), Path("/elsewhere")) == entries


@given(st.text())
def test_any_text_is_parsed_without_surprise(text):
    for entry in parse_sof(text.replace("\0", ""), Path("/no/such/folder")):
        assert isinstance(entry.path, Path)


def test_a_line_break_in_a_name_is_refused():
    with pytest.raises(InputError, match="line break"):
        sof_text([SofEntry(Path("/x/a\nb.fits"), "T")])


def test_rc_is_read_in_both_spellings():
    text = "# c\n\nr.a=TRUE\nr.b=False\nr.c=true\nr.d = 3.5\nr.e=\nr.f='quoted text'\n"
    expected = {"r.a": True, "r.b": False, "r.c": True, "r.d": "3.5", "r.e": "", "r.f": "quoted text"}
    assert parse_rc(text) == expected


def test_rc_is_written_and_the_old_kept(tmp_path):
    entries = [RcEntry("r.a", True, "a", "A switch."), RcEntry("r.b", 2.5, "b", "word " * 40), RcEntry("r.c", "x")]
    path = tmp_path / "p.rc"
    path.write_text("old=1\n")
    assert replace_text(path, rc_text(entries, path.name)) == path
    text = path.read_text()
    assert "r.a=TRUE\n" in text
    assert "# --a\n" in text
    assert max(len(line) for line in text.splitlines()) < 81
    assert read_rc(path) == {"r.a": True, "r.b": "2.5", "r.c": "x"}
    assert (tmp_path / "p.rc.bak").read_text() == "old=1\n"


def test_rc_is_as_esorex_can_read_it():
    """EsoRex 3.13.7 stops at `name=`, writes `#name=` itself, and reads `name=""` as empty."""
    entries = [
        RcEntry("r.a", ""),
        RcEntry("r.b", "", default="x"),
        RcEntry("r.c", "y", "c", "Text.", "x", ("x", "y")),
    ]
    text = rc_text(entries)
    lines = text.splitlines()
    assert "#r.a=" in lines
    assert 'r.b=""' in lines
    assert "# Text. <x | y>" in lines
    assert parse_rc(text) == {"r.b": "", "r.c": "y"}


@pytest.mark.parametrize("text", ["no equals sign", "=3"])
def test_rc_errors_name_the_line(text):
    with pytest.raises(InputError, match=r"my\.rc, line 2"):
        parse_rc(f"a=1\n{text}\n", "my.rc")
    with pytest.raises(InputError, match="line break"):
        rc_text([RcEntry("a", "x\ny")])
