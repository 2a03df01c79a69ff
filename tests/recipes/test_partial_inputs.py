"""A product made with less than planned marks what is made from it; a QC value out of range does not."""

import pytest
from astropy.io import fits

from soxs_recipes.recipes.framework.inputs import gather_inputs
from soxs_recipes.recipes.framework.registry import recipe_class


@pytest.fixture
def standard(tmp_path):
    """An extracted standard with reasons."""

    def make(*reasons):
        header = fits.Header()
        header["INSTRUME"] = "SOXS"
        header["HIERARCH ESO PRO CATG"] = "FLUX_SLIT_ORDER1D_VIS"
        header["HIERARCH ESO QC STATUS"] = "PARTIAL" if reasons else "COMPLETE"
        for number, reason in enumerate(reasons, 1):
            header[f"REASON{number}"] = reason
        path = tmp_path / "standard.fits"
        fits.PrimaryHDU(header=header).writeto(path)
        return path

    return make


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ((), []),
        (("QC SKYRES ON = 1.4 is outside 0.8 .. 1.3",), []),
        (("flat of another slit",), ["FLUX_SLIT_ORDER1D_VIS is itself PARTIAL: flat of another slit"]),
        (
            ("QC SKYRES ON = 1.4 is outside 0.8 .. 1.3", "MASTER_BIAS is itself PARTIAL: one frame only"),
            ["FLUX_SLIT_ORDER1D_VIS is itself PARTIAL: one frame only"],
        ),
    ],
)
def test_partial_main_inputs(standard, reasons, expected):
    declaration = recipe_class("response").declaration
    inputs = gather_inputs(declaration, [(standard(*reasons), "FLUX_SLIT_ORDER1D_VIS")])
    assert inputs.partial_reasons == expected
