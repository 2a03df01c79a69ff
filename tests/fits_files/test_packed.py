"""Tables made and read as bytes are those that astropy makes and reads."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.fits_files import open_product, read_table, table_hdu, write_product
from soxs_recipes.fits_files.packed import plain_columns
from soxs_recipes.fits_files.tables import columns_of

COLUMNS = {
    "REAL": (np.array([1.5, np.nan, -3.0]), "D"),
    "SINGLE": (np.array([1.5, np.inf, -3.0], np.float32), "E"),
    "SHORT": (np.array([1, -2, 3], np.int16), "I"),
    "WHOLE": (np.array([1, -2, 1 << 30], np.int32), "J"),
    "LONG": (np.array([1, -2, 1 << 60]), "K"),
    "BYTE": (np.array([0, 7, 255], np.uint8), "B"),
    "FLAG": (np.array([True, False, True]), "L"),
    "PAIR": (np.arange(6.0).reshape(3, 2), "2D"),
    "TEXT": (np.array([b"one", b"", b"three"]), "5A"),
}


UNITS = {"REAL": "nm", "PAIR": "arcsec"}
COMMENTS = {"SHORT": "a small number", "TEXT": "what it is called"}


def made_by_astropy(columns, units=(), comments=(), **keywords):
    units = dict(units)
    listed = [
        fits.Column(name=name, format=code, array=values, unit=units.get(name), **keywords)
        for name, (values, code) in columns.items()
    ]
    hdu = fits.BinTableHDU.from_columns(listed, name="T")
    for name, comment in dict(comments).items():
        hdu.header.comments[f"TTYPE{list(columns).index(name) + 1}"] = comment
    return hdu


@pytest.mark.parametrize("rows", [3, 1, 0])
def test_a_table_is_written_as_astropy_writes_it(tmp_path, rows):
    columns = {name: (values[:rows], code) for name, (values, code) in COLUMNS.items()}
    ours = table_hdu("T", {name: values for name, (values, _) in columns.items()}, UNITS, COMMENTS)
    assert hasattr(ours, "packed_rows")
    first = write_product(tmp_path / "a.fits", [ours]).read_bytes()
    second = write_product(tmp_path / "b.fits", [made_by_astropy(columns, UNITS, COMMENTS)]).read_bytes()
    assert first == second


def test_columns_come_back_with_their_types(tmp_path):
    path = write_product(tmp_path / "a.fits", [made_by_astropy(COLUMNS)])
    with open_product(path) as hdus:
        assert plain_columns(hdus["T"]) is not None
    read = read_table(path, "T")
    assert list(read) == list(COLUMNS)
    for name, (values, _) in COLUMNS.items():
        if name == "TEXT":
            assert read[name].tolist() == ["one", "", "three"]
        else:
            assert read[name].dtype == values.dtype
            assert np.array_equal(read[name], values, equal_nan=values.dtype.kind == "f")


def test_data_that_were_replaced_are_written(tmp_path):
    hdu = table_hdu("T", {"A": np.arange(3.0)})
    other = table_hdu("T", {"A": np.arange(4.0) + 7.0})
    hdu.data = other.data
    assert plain_columns(hdu) is None
    assert columns_of(hdu)["A"].tolist() == [7.0, 8.0, 9.0, 10.0]
    assert read_table(write_product(tmp_path / "a.fits", [hdu]), "T")["A"].tolist() == [7.0, 8.0, 9.0, 10.0]


@pytest.mark.parametrize(
    ("values", "code", "keywords"),
    [
        (np.array([1, 2, 40000], np.uint16), "I", {"bzero": 32768}),
        (np.array([0.5, 1.0, 1.5]), "D", {"bscale": 0.5}),
        (np.array([1, -1, 3], np.int16), "I", {"null": -1}),
        (np.arange(12.0).reshape(3, 2, 2), "4D", {"dim": "(2,2)"}),
        (np.array([np.arange(2.0), np.arange(3.0), np.arange(1.0)], dtype=object), "PD()", {}),
    ],
)
def test_what_bytes_do_not_tell_is_left_to_astropy(tmp_path, values, code, keywords):
    path = write_product(tmp_path / "a.fits", [made_by_astropy({"A": (values, code)}, **keywords)])
    with open_product(path) as hdus:
        assert plain_columns(hdus["T"]) is None
    with fits.open(path, checksum=True) as hdus:
        assert hdus[1].verify_datasum() == 1
        for read, value in zip(hdus["T"].data["A"], values, strict=True):
            assert np.array_equal(read, value)


def test_columns_of_one_name_are_left_to_astropy():
    hdu = table_hdu("T", {"A": np.arange(3.0), "B": np.arange(3.0)})
    assert plain_columns(hdu) is not None
    hdu.header["TTYPE2"] = "A"
    assert plain_columns(hdu) is None


@pytest.mark.parametrize(("keyword", "value"), [("TFORM2", "0D"), ("TFORM2", "1E"), ("TFORM2", "1X")])
def test_rows_that_the_header_does_not_tell_fully_are_left_to_astropy(keyword, value):
    """A column without width, one narrower than its room in the rows, and one of bits."""
    hdu = table_hdu("T", {"A": np.arange(3.0), "B": np.arange(3.0)})
    hdu.header[keyword] = value
    assert plain_columns(hdu) is None


def test_pixels_of_a_product_are_those_that_astropy_reads(tmp_path):
    """Images that are views of the file's bytes, scaled ones, and an empty primary."""
    scaled = fits.ImageHDU(np.arange(12, dtype=np.uint16).reshape(3, 4), name="SCALED")
    plain = fits.ImageHDU(np.arange(12.0).reshape(3, 4), name="PLAIN")
    for hdus in ([fits.PrimaryHDU(), plain], [fits.PrimaryHDU(np.arange(5)), plain, scaled]):
        path = write_product(tmp_path / "a.fits", hdus)
        with open_product(path) as ours, fits.open(path) as theirs:
            assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
            for own, other in zip(ours, theirs, strict=True):
                assert repr(own.header) == repr(other.header)
                assert (own.data is None) == (other.data is None)
                assert own.data is None or np.array_equal(own.data, other.data)
