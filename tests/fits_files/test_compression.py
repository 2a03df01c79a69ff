from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soxs_recipes.fits_files.compression import unpack_lzw

_spec = importlib.util.spec_from_file_location("reading_helpers", Path(__file__).with_name("test_reading.py"))
_helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_helpers)
pack_lzw = _helpers.pack_lzw


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=3000), width=st.integers(9, 16), repeats=st.integers(1, 5))
def test_unpacks_what_was_packed(content, width, repeats):
    assert unpack_lzw(pack_lzw(content * repeats, width), 1 << 20) == content * repeats


@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs gzip")
@pytest.mark.parametrize("width", [10, 12, 16])
def test_agrees_with_gzip(width):
    packed = pack_lzw(bytes(range(256)) * 300 + bytes(5000), width)
    unpacked = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert unpack_lzw(packed, 1 << 20) == unpacked


def test_only_what_is_wanted():
    assert unpack_lzw(pack_lzw(b"abc" * 1000), 100) == (b"abc" * 1000)[:100]


def test_corrupt_data_raise():
    with pytest.raises(ValueError, match="not LZW"):
        unpack_lzw(b"abcdef", 10)
    with pytest.raises(ValueError, match="corrupt"):
        unpack_lzw(b"\x1f\x9d\x90" + b"\xff" * 20, 10)
