import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.fits_files import read_dispersion_solution
from soxs_recipes.instrument import load_instrument, static_calibration_path

ARMS = load_instrument().arms
ORDERS = [(arm, order) for arm in ARMS for order in arm.orders]
BY_ORDER = pytest.mark.parametrize(("arm", "order"), ORDERS, ids=lambda value: getattr(value, "band", "of"))


def lines_of(arm):
    return fits.getdata(static_calibration_path(f"ARC_LINE_LIST_{arm.name}"), "LINES")


@BY_ORDER
def test_each_order_has_unblended_lines_towards_both_ends(arm, order):
    rows = lines_of(arm)
    clean = np.sort(rows["WAVELENGTH"][(rows["ORDER"] == order.number) & ~rows["BLEND"]])
    assert len(clean) >= 15
    span = order.wavelength_max - order.wavelength_min
    assert clean[0] < order.wavelength_min + 0.1 * span
    assert clean[-1] > order.wavelength_max - 0.1 * span


@BY_ORDER
def test_lines_fall_inside_the_order_and_on_the_detector(arm, order):
    rows = lines_of(arm)
    wavelength = rows["WAVELENGTH"][rows["ORDER"] == order.number].astype(float)
    assert np.all((wavelength >= order.wavelength_min_full) & (wavelength <= order.wavelength_max_full))
    model = read_dispersion_solution(static_calibration_path(f"SPECTRAL_FORMAT_{arm.name}"))
    x, y = model.surface(order.number).evaluate(wavelength, 0.0)
    ny, nx = arm.detector.science_shape()
    assert np.all((x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1))


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_no_line_stands_twice_in_an_order(arm):
    rows = lines_of(arm)
    assert len(rows) > 500
    for number in np.unique(rows["ORDER"]):
        wavelength = np.sort(rows["WAVELENGTH"][rows["ORDER"] == number])
        assert np.diff(wavelength).min() > 0.002


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_unblended_lines_have_no_bright_neighbour(arm):
    """Judged another way than the builder: nothing half as bright within a resolution element."""
    rows = lines_of(arm)
    checked = 0
    for number in np.unique(rows["ORDER"]):
        own = rows[rows["ORDER"] == number]
        wavelength, intensity = own["WAVELENGTH"].astype(float), own["INTENSITY"].astype(float)
        for i in np.flatnonzero(~own["BLEND"]):
            near = np.abs(wavelength - wavelength[i]) < wavelength[i] / 6500.0
            near[i] = False
            assert not np.any(intensity[near] > 0.5 * intensity[i])
            checked += 1
    assert checked > 200


# NIST, vacuum, nm: strong lines that everybody knows.
KNOWN = {
    "VIS": [
        ("ArI", 763.7208),
        ("ArI", 811.7542),
        ("ArI", 696.7352),
        ("ThII", 402.0265),
        ("ArI", 750.5935),
    ],
    "NIR": [("HgI", 1014.2534), ("ArI", 912.5471), ("XeI", 980.2384), ("NeI", 837.9909), ("XeI", 823.3891)],
}


@pytest.mark.parametrize(("name", "known"), KNOWN.items())
def test_wavelengths_are_vacuum(name, known):
    rows = fits.getdata(static_calibration_path(f"ARC_LINE_LIST_{name}"), "LINES")
    for ion, wavelength in known:
        own = rows["WAVELENGTH"][np.char.strip(rows["ION"]) == ion]
        # Air and vacuum differ by 0.1 nm and more.
        assert np.abs(own - wavelength).min() < 0.005, (ion, wavelength)


def test_every_lamp_of_the_infrared_serves_most_orders():
    rows = fits.getdata(static_calibration_path("ARC_LINE_LIST_NIR"), "LINES")
    clean = rows[~rows["BLEND"]]
    for ion in ("ArI", "NeI", "XeI"):
        assert len(np.unique(clean["ORDER"][np.char.strip(clean["ION"]) == ion])) >= 13
