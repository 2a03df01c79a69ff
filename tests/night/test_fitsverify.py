"""Every product keeps the FITS standard, as the program of its office sees it."""

import pytest

pytestmark = pytest.mark.night


def test_all_products_are_sound(night, fitsverify):
    products = sorted((night.workspace / "products").rglob("*.fits"))
    assert len(products) > 50
    assert fitsverify.faults(*products) == []


def test_raw_frames_are_sound(night, fitsverify):
    frames = sorted(night.folder.glob("*.fits"))
    assert len(frames) > 30
    assert fitsverify.faults(*frames) == []


def test_a_fault_would_be_seen(night, fitsverify, tmp_path):
    """A keyword in lower case, as no library lets us write it."""
    content = bytearray(night.product("MASTER_BIAS_VIS").read_bytes())
    place = content.index(b"ORIGIN  =")
    content[place : place + 6] = b"origin"
    (tmp_path / "x.fits").write_bytes(content)
    faults = fitsverify.faults(tmp_path / "x.fits")
    assert any("origin" in line for line in faults), faults
