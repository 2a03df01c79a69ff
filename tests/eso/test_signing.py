from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.eso.signing import data_md5, sign_product


def product(path):
    primary = fits.PrimaryHDU(np.arange(6000, dtype=np.int16).reshape(60, 100))
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=np.arange(5.0))])
    fits.HDUList([primary, fits.ImageHDU(), table]).writeto(path)
    return path


def independent_md5(path) -> str:
    """Data units by astropy's own offsets."""
    content = path.read_bytes()
    digest = hashlib.md5(usedforsecurity=False)
    with fits.open(path) as hdus:
        for hdu in hdus:
            info = hdu.fileinfo()
            digest.update(content[info["datLoc"] : info["datLoc"] + info["datSpan"]])
    return digest.hexdigest()


def test_md5_of_all_data_units(tmp_path):
    path = product(tmp_path / "p.fits")
    assert data_md5(path) == independent_md5(path)


def test_header_does_not_matter_and_data_do(tmp_path):
    path = product(tmp_path / "p.fits")
    before = data_md5(path)
    fits.setval(path, "OBJECT", value="other")
    assert data_md5(path) == before
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[3, 3] += 1
    assert data_md5(path) != before


def test_no_data(tmp_path):
    path = tmp_path / "p.fits"
    fits.PrimaryHDU().writeto(path)
    assert data_md5(path) == "d41d8cd98f00b204e9800998ecf8427e"


def test_compressed_and_broken_files(tmp_path):
    path = product(tmp_path / "p.fits")
    packed = tmp_path / "p.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert data_md5(packed) == data_md5(path)
    for content in (b"", b"text", path.read_bytes()[:7000]):
        broken = tmp_path / f"b{len(content)}.fits"
        broken.write_bytes(content)
        assert data_md5(broken) == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_signing(tmp_path):
    path = product(tmp_path / "p.fits")
    expected = data_md5(path)
    sign_product(path)
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["DATAMD5"] == expected
        assert hdus[0].header["PIPEFILE"] == "p.fits"
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
    assert [item.name for item in tmp_path.iterdir()] == ["p.fits"]


@pytest.mark.parametrize("group", ["PRODUCT", "RAW"])
def test_a_set_signs_its_products_only(cpl, tmp_path, group):
    path = product(tmp_path / "p.fits")
    before = independent_md5(path)
    frame = cpl.ui.Frame(str(path), "T", getattr(cpl.ui.Frame.FrameGroup, group))
    frames = cpl.ui.FrameSet([frame])
    frames.sign_products()
    header = fits.getheader(path)
    if group == "RAW":
        assert not {"DATAMD5", "CHECKSUM"} & set(header)
        return
    assert header["DATAMD5"] == before == independent_md5(path)
    with fits.open(path, checksum=True) as hdus:
        assert all("CHECKSUM" in hdu.header for hdu in hdus)
    frame.file = str(path.rename(tmp_path / "renamed.fits"))
    cpl.ui.FrameSet([frame]).update_product_header()
    assert fits.getheader(frame.file)["PIPEFILE"] == "renamed.fits"


def test_signing_in_part(cpl, tmp_path):
    path = product(tmp_path / "p.fits")
    frames = cpl.ui.FrameSet([cpl.ui.Frame(str(path), "T", cpl.ui.Frame.FrameGroup.PRODUCT)])
    frames.sign_products(compute_md5=True, compute_checksum=False)
    header = fits.getheader(path)
    assert "DATAMD5" in header
    assert "CHECKSUM" not in header
