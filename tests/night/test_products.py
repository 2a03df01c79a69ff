"""What the products are like: valid FITS, provenance, plots, text, spectra that other programs open."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from reduced_night import catg

from soxs_recipes import __version__
from soxs_recipes.fits_files import read_header

pytestmark = pytest.mark.night
MERGED = ("SCI_SLIT_FLUX_MERGE1D", "SCI_SLIT_MERGE1D", "FLUX_SLIT_MERGE1D")
EXPECTED = {
    "MASTER_FLAT": 2, "ORDER_TAB_EDGES": 2, "BKG_FLAT": 2, "BLAZE": 2, "ORDER_TAB_CENTR": 1, "DISP_TAB": 1,
    "DISP_TAB_2D": 1, "DISP_IMAGE": 1, "RESP_TAB": 1, "EFFICIENCY_TAB": 1, "SCI_SLIT_FLUX_MERGE1D": 1,
    "SCI_SLIT_FLUX_ORDER1D": 1, "SCI_SLIT_MERGE1D": 1, "SCI_SLIT_ORDER1D": 1, "SCI_SLIT_SKYSUB": 1,
    "SCI_SLIT_SKYMODEL": 1, "SCI_SLIT_SKY1D": 1, "SCI_SLIT_TRACE": 1, "FLUX_SLIT_ORDER1D": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def products(night):
    found = sorted(night.workspace.glob("products/**/*.fits"))
    assert len(found) > 40
    return found


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_all_products_are_there(night, products, arm):
    tags = [catg(path) for path in products]
    assert {tag: tags.count(f"{tag}_{arm}") for tag in EXPECTED} == EXPECTED
    assert tags.count("MASTER_BIAS_VIS") == 1
    assert tags.count("MASTER_DARK_NIR") == 3


def test_products_are_valid_fits_with_checksums(products):
    for path in products:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path, checksum=True) as hdus:
                hdus.verify("exception")
                assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus), path


def test_the_page_of_products_names_every_extension_and_column(products):
    page = (Path(__file__).parents[2] / "docs" / "products.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Za-z_0-9]+)`", page)) | {"PRIMARY", "ORDER", "CORREL2", "CORREL3"}
    found = {}
    for path in products:
        with fits.open(path) as hdus:
            for hdu in hdus:
                columns = hdu.columns.names if isinstance(hdu, fits.BinTableHDU) else ()
                found |= dict.fromkeys((re.sub(r"_\d+$", "", hdu.name), *columns), path.name)
    assert len(found) > 80
    assert {name: where for name, where in found.items() if name not in named} == {}


def test_no_quality_parameter_is_undefined(products):
    count = 0
    for path in products:
        for key, value in read_header(path).items():
            if key.startswith("ESO QC ") and key not in ("ESO QC STATUS", "ESO QC STD NAME"):
                count += 1
                assert isinstance(value, (bool, int, float)), (path.name, key, value)
                assert np.isfinite(value), (path.name, key, value)
    assert count > 1000


def test_provenance(night, products):
    raws = {path.name: read_header(path) for path in sorted(night.folder.glob("*.fits"))}
    made = {path.name: read_header(path)["DATAMD5"] for path in products}
    for path in products:
        header = read_header(path)
        numbers = range(1, 100)
        named = [header[f"ESO PRO REC1 RAW{n} NAME"] for n in numbers if f"ESO PRO REC1 RAW{n} NAME" in header]
        assert named, path.name
        for n, name in enumerate(named, 1):
            assert name in raws or name in made
            checksum = header[f"ESO PRO REC1 RAW{n} DATAMD5"]
            assert len(checksum) == 32
            if name in made:
                assert checksum == made[name]
        for n in numbers:
            name = header.get(f"ESO PRO REC1 CAL{n} NAME")
            if name in made:
                assert header[f"ESO PRO REC1 CAL{n} DATAMD5"] == made[name]
        assert header["ESO PRO REC1 PIPE ID"] == f"soxs/{__version__}"
        assert header["ESO PRO REC1 ID"].startswith("soxs_")
        assert header["ESO PRO REC1 PARAM1 NAME"]
        assert "ESO PRO REC1 PARAM1 VALUE" in header
        assert len(header["ESO PRO REC1 CALL KEY"]) == 32


def test_science_names_its_whole_ancestry(night):
    header = read_header(night.product("SCI_SLIT_FLUX_MERGE1D_NIR"))
    calibrations = {header.get(f"ESO PRO REC1 CAL{n} CATG") for n in range(1, 20)}
    assert {
        "MASTER_DARK_NIR", "MASTER_FLAT_NIR", "ORDER_TAB_EDGES_NIR", "DISP_TAB_2D_NIR", "RESP_TAB_NIR",
    } <= calibrations  # fmt: skip
    assert header["SPECSYS"] == "TOPOCENT"


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
@pytest.mark.parametrize("tag", MERGED)
def test_spectra_open_elsewhere(night, arm, tag):
    path = night.product(f"{tag}_{arm}")
    with warnings.catch_warnings():
        # astropy knows electrons, but tells that the FITS standard does not.
        warnings.filterwarnings("ignore", message=".*electron.*")
        table = Table.read(path, hdu=1)
    assert table["WAVE"].unit == "nm"
    assert len(table) > 5000
    assert np.all(np.diff(table["WAVE"]) > 0)
    assert table["ERR"].unit == table["FLUX"].unit
    good = np.isfinite(table["ERR"])
    assert good.mean() > 0.9
    assert np.isfinite(table["FLUX"][good]).all()


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_a_spectrum_opens_in_specutils(night, arm):
    specutils = pytest.importorskip("specutils", exc_type=ImportError)
    reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    spectrum = reader.read(night.product(f"SCI_SLIT_FLUX_MERGE1D_{arm}"), format="tabular-fits")
    assert spectrum.spectral_axis.unit == "nm"
    assert spectrum.flux.unit.is_equivalent("W / m3")
    assert spectrum.uncertainty is not None


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_text_says_the_same_as_the_table(night, arm):
    path = night.product(f"SCI_SLIT_FLUX_MERGE1D_{arm}")
    text = np.loadtxt(path.with_suffix(".txt"))
    table = Table.read(path, hdu=1)
    assert text.shape[1] == 3
    assert text.shape[0] > 5000
    flux = np.interp(text[:, 0], 10.0 * np.asarray(table["WAVE"]), np.asarray(table["FLUX"]))
    assert np.median(np.abs(flux - text[:, 1]) / text[:, 2]) < 0.01


def test_plots(night):
    plots = night.workspace / "plots" / "2026-03-01"
    found = [path for path in plots.rglob("*") if path.suffix in (".png", ".pdf")]
    assert len(found) > 25
    for path in found:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")
        assert len(content) > 5000, path
    for suffix in (".png", ".pdf"):
        names = [path.stem for path in found if path.suffix == suffix and "/science" in str(path)]
        for arm in ("VIS", "NIR"):
            assert any(f"_{arm}_" in name and "FLUX_MERGE1D" in name for name in names)
        assert any(name.endswith("all_arms") and "SN2026abc" in name for name in names)
