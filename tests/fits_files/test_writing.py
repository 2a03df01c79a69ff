from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files import read_raw, table_hdu, write_product, write_text_atomic
from soxs_recipes.fits_files.checksums import encoded_checksum, ones_complement_sum
from soxs_recipes.fits_files.hdu_scan import scan_hdus


def some_hdus(seed: int = 0):
    generator = np.random.default_rng(seed)
    primary = fits.PrimaryHDU(generator.normal(size=(31, 17)).astype(np.float32))
    extension = fits.ImageHDU(generator.integers(0, 9, (5, 7)).astype(np.int32), name="QUAL")
    return [primary, extension, table_hdu("T", {"A": np.arange(3.0)}, {"A": "nm"})]


def test_checksums_are_what_astropy_expects(tmp_path):
    for seed in range(20):
        path = write_product(tmp_path / "a.fits", some_hdus(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path, checksum=True) as hdus:
                assert len(hdus) == 3
                for hdu in hdus:
                    assert hdu.verify_checksum() == 1
                    assert hdu.verify_datasum() == 1


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i4", "i8", "u1", "u2", ">f4", ">i2"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (0, 4), (300, 401)])
def test_pixels_of_every_kind_are_written_and_add_up(tmp_path, kind, shape):
    """Those that are turned round in pieces, larger than one piece, and those that astropy writes."""
    data = np.random.default_rng(5).integers(0, 200, shape).astype(kind)
    turned = np.asfortranarray(data)
    path = write_product(tmp_path / "a.fits", [fits.PrimaryHDU(data), fits.ImageHDU(turned, name="TURNED")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            for hdu in hdus:
                assert hdu.verify_checksum() == 1
                assert hdu.verify_datasum() == 1
                if data.size:
                    assert np.array_equal(hdu.data, data)
    assert path.stat().st_size % 2880 == 0


def test_every_checksum_can_be_encoded():
    generator = np.random.default_rng(3)
    for value in [0, 1, 0xFFFFFFFF, *generator.integers(0, 1 << 32, 500)]:
        text = encoded_checksum(int(value))
        assert text.isalnum()
        assert len(text) == 16
        # The card puts the text at byte 11, 3 beyond a word; the zeros that it replaces are taken away.
        total = ones_complement_sum(f"= '{text}'".encode())
        zeros = ones_complement_sum(b"= '0000000000000000'")
        difference = (total - zeros + int(value)) % 0xFFFFFFFF
        assert difference in (0, 0xFFFFFFFF)


def test_datamd5_is_over_data_units_with_padding(tmp_path):
    path = write_product(tmp_path / "a.fits", some_hdus())
    content = path.read_bytes()
    digest = hashlib.md5()
    for span in scan_hdus(content, "a", 1 << 30):
        digest.update(content[span.data : span.end])
    assert fits.getheader(path)["DATAMD5"] == digest.hexdigest()


def test_no_data_has_the_md5_of_nothing(tmp_path):
    path = write_product(tmp_path / "a.fits", [fits.PrimaryHDU()])
    assert fits.getheader(path)["DATAMD5"] == "d41d8cd98f00b204e9800998ecf8427e"


def test_long_texts_are_announced(tmp_path):
    """CONTINUE cards want LONGSTRN in their header, and only there."""
    primary, image, table = some_hdus()
    image.header["REASON1"] = "a reason that does not fit on one card " * 3
    table.header["NOTE1"] = "short"
    path = write_product(tmp_path / "a.fits", [primary, image, table])
    with fits.open(path, checksum=True) as hdus:
        assert ["LONGSTRN" in hdu.header for hdu in hdus] == [False, True, False]
        assert hdus[1].header["LONGSTRN"] == "OGIP 1.0"
        assert hdus[1].header["REASON1"] == image.header["REASON1"]
        assert all(hdu.verify_checksum() == 1 for hdu in hdus)
    assert "LONGSTRN" not in image.header
    path = write_product(tmp_path / "b.fits", [primary], fits.Header({"NOTE1": "x" * 100}))
    assert fits.getheader(path).count("LONGSTRN") == 1


def test_header_is_merged_and_the_callers_objects_stay(tmp_path):
    hdus = some_hdus()
    addition = fits.Header()
    addition["HIERARCH ESO QC RON"] = (3.5, "[e-] read noise")
    addition["NAXIS1"] = 99
    addition["DATAMD5"] = "stale"
    addition.add_history("made")
    path = write_product(tmp_path / "a.fits", hdus, addition)
    header = fits.getheader(path)
    assert header["ESO QC RON"] == 3.5
    assert header["NAXIS1"] == 17
    assert header["DATAMD5"] != "stale"
    assert "CHECKSUM" not in hdus[0].header
    assert addition["DATAMD5"] == "stale"


def test_a_primary_is_put_before_extensions(tmp_path):
    path = write_product(tmp_path / "a.fits", [table_hdu("T", {"A": np.arange(3.0)})])
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "T"]


def test_same_input_same_bytes(tmp_path):
    first = write_product(tmp_path / "a.fits", some_hdus()).read_bytes()
    assert write_product(tmp_path / "b.fits", some_hdus()).read_bytes() == first


def test_product_is_verified_on_reading(tmp_path):
    path = write_product(tmp_path / "a.fits", some_hdus())
    assert read_raw(path).data.shape == (31, 17)


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "a.fits")]
)
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_failure_leaves_what_was_there(tmp_path, monkeypatch, number, words, call):
    path = write_text_atomic(tmp_path / "a.fits", "old")

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", fail)
        else:
            patched.setattr("pathlib.Path.replace", fail)
        with pytest.raises(InputError, match=words):
            write_product(path, some_hdus())
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.fits"]


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_product(tmp_path / "a.fits", some_hdus())
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*folder does not exist"):
        write_product(tmp_path / "nowhere" / "a.fits", some_hdus())


def test_umask_is_respected(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_text_atomic(tmp_path / "a.txt", "text µ")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_text("utf-8") == "text µ"


def test_real_size_limit_leaves_nothing(tmp_path):
    """A write that the system itself cuts short, in a process of its own."""
    code = (
        "import resource, signal, sys\n"
        "from soxs_recipes.errors import InputError\n"
        "from soxs_recipes.fits_files import write_bytes_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n"
        "    write_bytes_atomic(sys.argv[1], bytes(20000))\n"
        "except InputError as error:\n"
        "    sys.exit(7 if 'too large' in str(error) else 8)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.fits")], check=False)
    assert done.returncode == 7
    assert list(tmp_path.iterdir()) == []
