"""What is drawn follows from PRO CATG; files are whole pictures; unknown products are passed over."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.spectrum import MergedSpectrum
from soxs_recipes.fits_files import image_hdus, merged_spectrum_hdus, table_hdu, write_product
from soxs_recipes.recipes.framework.product_plots import for_products, plot_all_arms


def header(tag):
    cards = fits.Header()
    cards["OBJECT"], cards["DATE-OBS"] = "SN $x_1", "2026-03-02T02:00:00"
    cards["HIERARCH ESO PRO CATG"] = tag
    return cards


def merged(low, high, n=300):
    wavelength = np.linspace(low, high, n)
    ones = np.ones(n)
    return MergedSpectrum(
        wavelength,
        np.gradient(wavelength),
        ones,
        0.01 * ones,
        0 * ones,
        np.zeros(n, np.int32),
        np.ones(n, np.int16),
    )


def frame(level):
    data = np.random.default_rng(1).normal(level, 1, (80, 60)).astype(np.float32)
    return Frame(data, np.ones((80, 60), np.float32), np.zeros((80, 60), np.int32))


@pytest.fixture
def products(tmp_path):
    parts = {
        "a_SLIT_MERGE1D": ("SCI_SLIT_MERGE1D_VIS", merged_spectrum_hdus(merged(350, 850))),
        "b_SLIT_SKYSUB": ("SCI_SLIT_SKYSUB_VIS", image_hdus(frame(0))),
        "b_SLIT_SKYMODEL": ("SCI_SLIT_SKYMODEL_VIS", image_hdus(frame(50))),
        "c_MASTER_BIAS": ("MASTER_BIAS_VIS", image_hdus(frame(0))),
        "d_ODD": ("BP_MAP_NL_VIS", [fits.PrimaryHDU(), table_hdu("T", {"A": np.arange(3)})]),
    }
    return [write_product(tmp_path / f"{stem}.fits", hdus, header(tag)) for stem, (tag, hdus) in parts.items()]


def test_each_known_product_is_drawn(products, tmp_path):
    names = {path.name for path in for_products(products, tmp_path / "plots")}
    assert names == {"a_SLIT_MERGE1D.png", "a_SLIT_MERGE1D.pdf", "b_SLIT_SKYSUB.png", "c_MASTER_BIAS.png"}
    for name in names:
        content = (tmp_path / "plots" / name).read_bytes()
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"%PDF")
        assert len(content) > 5000


def test_counts_are_drawn_only_without_flux(products, tmp_path):
    flux = write_product(
        tmp_path / "a_SLIT_FLUX_MERGE1D.fits",
        merged_spectrum_hdus(merged(350, 850)),
        header("SCI_SLIT_FLUX_MERGE1D_VIS"),
    )
    names = [path.name for path in for_products([products[0], flux], tmp_path / "plots")]
    assert names == ["a_SLIT_FLUX_MERGE1D.png", "a_SLIT_FLUX_MERGE1D.pdf"]


def test_both_arms_in_one_figure(products, tmp_path):
    nir = write_product(
        tmp_path / "n.fits", merged_spectrum_hdus(merged(800, 2050)), header("SCI_SLIT_MERGE1D_NIR")
    )
    written = plot_all_arms([nir, products[0]], tmp_path / "plots", "both")
    assert [path.name for path in written] == ["both.png", "both.pdf"]
