"""The spectra and all they stand on are what the simulator put in."""

import numpy as np
import pytest
from truth_figures import (
    calibration_ratios,
    dispersion_errors,
    extraction_figures,
    largest_order_error,
    robust_width,
    sky_residual_width,
)

from soxs_recipes.fits_files import read_frame, read_pixel_maps
from soxs_recipes.instrument import load_instrument

pytestmark = pytest.mark.night
ARMS = ("VIS", "NIR")
SLITS = (-5.5, -2.75, 0.0, 2.75, 5.5)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(("tag", "slits"), [("DISP_TAB", (0.0,)), ("DISP_TAB_2D", SLITS)])
def test_dispersion_solutions(night, arm, tag, slits):
    product = night.product(f"{tag}_{arm}")
    rms, velocity = dispersion_errors(product, night.truth, slits)
    assert rms < 0.03
    assert abs(velocity) < 0.5
    assert dispersion_errors(product, night.truth, slits, shift=0.04)[0] > 0.03


@pytest.mark.parametrize("arm", ARMS)
def test_orders(night, arm):
    assert largest_order_error(night.product(f"ORDER_TAB_CENTR_{arm}"), night.truth, edges=False) < 0.06
    assert largest_order_error(night.product(f"ORDER_TAB_EDGES_{arm}", "SLIT1.0"), night.truth, edges=True) < 0.12


def test_master_bias(night):
    frame = read_frame(night.product("MASTER_BIAS_VIS"))
    y0, y1, x0, x1 = load_instrument().arm("VIS").detector.science_window
    pattern = night.truth.detector("VIS").bias
    # Each row stands on the level of its own overscan.
    truth = pattern[y0:y1, x0:x1] - pattern[y0:y1, x1:].mean(axis=1, keepdims=True)
    good = frame.usable & (frame.variance > 0)
    assert good.mean() > 0.999
    pulls = (frame.data - truth)[good] / np.sqrt(frame.variance[good])
    assert abs(np.mean(np.clip(pulls, -10, 10))) < 0.15
    assert robust_width(pulls) == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(("tag", "bias"), [("FLUX_SLIT_ORDER1D", 0.01), ("SCI_SLIT_ORDER1D", 0.03)])
def test_extracted_counts(night, arm, tag, bias):
    product = night.product(f"{tag}_{arm}")
    error, width = extraction_figures(product, night.truth)
    assert abs(error) < bias
    assert width == pytest.approx(1.0, abs=0.1)
    if tag == "FLUX_SLIT_ORDER1D":
        assert abs(extraction_figures(product, night.truth, scale=1.02)[0]) > bias


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("tag", ["SCI_SLIT_SKYSUB", "FLUX_SLIT_SKYSUB"])
def test_nothing_is_left_of_the_sky(night, arm, tag):
    maps = read_pixel_maps(night.product(f"DISP_IMAGE_{arm}"))
    assert sky_residual_width(night.product(f"{tag}_{arm}"), maps, night.truth) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("arm", "bin_width", "count", "limit"), [("VIS", 10.0, 35, 0.03), ("NIR", 30.0, 12, 0.07)]
)
def test_flux_calibration(night, arm, bin_width, count, limit):
    product = night.product(f"SCI_SLIT_FLUX_MERGE1D_{arm}")
    wavelength, ratio, error = calibration_ratios(product, night.truth, bin_width)
    assert ratio.size >= count
    assert error.max() < 1.0 / 30.0
    assert np.sqrt(np.mean((ratio - 1.0) ** 2)) < limit
    # A tilt of four times the limit from end to end must show.
    tilt = 1.0 + 4.0 * limit * (wavelength - wavelength.mean()) / np.ptp(wavelength)
    assert np.sqrt(np.mean((ratio * tilt - 1.0) ** 2)) > limit
