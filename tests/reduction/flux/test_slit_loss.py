import numpy as np
import pytest

from soxs_recipes.reduction.flux.slit_loss import slit_transmission


def image(fwhm, beta=4.0):
    """A round Moffat star on a fine grid; positions, light."""
    grid = np.arange(-14.99, 15.0, 0.02)
    alpha = fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    return grid, (1.0 + (grid[:, None] ** 2 + grid[None, :] ** 2) / alpha**2) ** -beta


def through(grid, light, width):
    """(share that passes, FWHM along the slit) by brute force."""
    passed = light[:, np.abs(grid) < 0.5 * width].sum(axis=1)
    above = grid[passed > 0.5 * passed.max()]
    return passed.sum() / light.sum(), above[-1] - above[0] + 0.02


@pytest.mark.parametrize("width", [0.6, 1.0, 1.5, 5.0])
@pytest.mark.parametrize("fwhm", [0.6, 1.1, 2.0])
def test_share_that_passes(width, fwhm):
    share, measured = through(*image(fwhm), width)
    assert slit_transmission(measured, width)[0] == pytest.approx(share, abs=0.012)


def test_a_cut_image_is_narrower_than_a_whole_one():
    # The same measured width means a larger star behind a narrow slit: the mutation that ignores it is off.
    share, measured = through(*image(1.1), 5.0)
    alpha_of_core = slit_transmission(measured, 1.0)[0]
    assert abs(alpha_of_core - through(*image(measured), 1.0)[0]) < 0.02
    assert slit_transmission(measured, 5.0)[0] > share - 0.01


def test_optics_behind_the_slit_cost_no_light():
    blurred = np.hypot(1.0, 0.5)
    plain = slit_transmission([1.0], 1.0)
    np.testing.assert_allclose(slit_transmission([blurred], 1.0, optics_fwhm=0.5), plain)
    assert slit_transmission([blurred], 1.0)[0] < plain[0] - 0.02
    assert np.isnan(slit_transmission([0.4, 1.0], 1.0, optics_fwhm=0.5)).tolist() == [True, False]
