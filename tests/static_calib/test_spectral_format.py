import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.fits_files import read_dispersion_solution
from soxs_recipes.instrument import load_instrument, static_calibration_path

ARMS = load_instrument().arms
ORDERS = [(arm, order) for arm in ARMS for order in arm.orders]


def solution(arm):
    return read_dispersion_solution(static_calibration_path(f"SPECTRAL_FORMAT_{arm.name}"))


@pytest.mark.parametrize(
    ("arm", "order"), ORDERS, ids=lambda value: getattr(value, "band", value.__class__.__name__)
)
def test_each_order_runs_one_way_over_its_full_range(arm, order):
    surface = solution(arm).surface(order.number)
    wavelength = np.linspace(order.wavelength_min_full, order.wavelength_max_full, 400)
    derivative = np.array(surface.wavelength_derivative(wavelength, 0.0))[1 - arm.dispersion_axis]
    assert np.all(derivative > 0) or np.all(derivative < 0)
    # Pixels of 0.016 to 0.1 nm everywhere: an extrapolation that ran away would leave this.
    assert np.all((np.abs(1 / derivative) > 0.015) & (np.abs(1 / derivative) < 0.1))


@pytest.mark.parametrize(
    ("arm", "order"), ORDERS, ids=lambda value: getattr(value, "band", value.__class__.__name__)
)
def test_the_useful_range_lies_on_the_detector(arm, order):
    limits = np.array([order.wavelength_min, order.wavelength_max])
    x, y = solution(arm).surface(order.number).evaluate(limits[:, None], np.array([-5.5, 0.0, 5.5]))
    ny, nx = arm.detector.science_shape()
    assert x.shape == (2, 3)
    assert np.all((x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1))


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_slit_scale_and_sense(arm):
    found = solution(arm)
    assert found.orders == tuple(order.number for order in arm.orders)
    for order in arm.orders:
        middle = 0.5 * (order.wavelength_min + order.wavelength_max)
        along_slit = np.array(found.surface(order.number).slit_derivative(middle, 0.0))[arm.dispersion_axis]
        assert 0.26 < 1 / abs(along_slit) < 0.40
        # The slit's image is reversed in the quasi-orders u and g only.
        assert (along_slit < 0) == (order.band in ("u", "g"))


# Single mid-slit pinholes of the shipped tables (order, vacuum nm, x, y): each may be off by a pixel or two.
LANDMARKS = {
    "VIS": [
        (1, 545.3734, 163.90, 486.15),
        (1, 668.5213, 177.96, 3697.54),
        (2, 354.6608, 318.69, 3836.62),
        (2, 426.7728, 311.28, 733.57),
        (3, 439.2345, 476.15, 3647.52),
        (3, 529.9757, 465.59, 706.52),
        (4, 686.3162, 641.74, 483.39),
        (4, 832.3142, 651.12, 3591.47),
    ],
    "NIR": [
        (10, 2019.2719, 1870.78, 502.20),
        (12, 1675.0304, 1740.32, 569.18),
        (15, 1245.4637, 94.01, 707.06),
        (18, 1129.2201, 1978.18, 975.98),
        (21, 893.3299, 150.52, 1203.77),
        (23, 882.1850, 1888.90, 1379.82),
    ],
}


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_the_model_passes_through_the_pinholes(arm):
    order, wavelength, x, y = np.array(LANDMARKS[arm.name]).T
    found_x, found_y = solution(arm).evaluate(order.astype(int), wavelength, 0.0)
    assert np.median(np.abs(found_x - x)) < 1.0
    assert np.abs(found_x - x).max() < 5.0
    assert np.median(np.abs(found_y - y)) < 1.0
    assert np.abs(found_y - y).max() < 5.0


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_order_limits_stand_in_the_table_too(arm):
    table = fits.getdata(static_calibration_path(f"SPECTRAL_FORMAT_{arm.name}"), "ORDERS")
    assert [(int(row["ORDER"]), row["BAND"], float(row["WLMIN"]), float(row["WLMAXFUL"])) for row in table] == [
        (o.number, o.band, o.wavelength_min, o.wavelength_max_full) for o in arm.orders
    ]
