"""The forward optical model."""

import numpy as np
import pytest

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.optics import OpticalModel


def _grid(model, order):
    data = model.hardware.order(order)
    wavelength, slit = np.meshgrid(
        np.linspace(data.wavelength_min, data.wavelength_max, 60), np.linspace(-6.0, 6.0, 13), indexing="ij"
    )
    return wavelength, slit


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_equal_seeds_agree_and_others_differ_by_pixels(arm):
    order = OpticalModel.of_seed(arm, 1).hardware.orders[0].number
    wavelength, slit = _grid(OpticalModel.of_seed(arm, 1), order)
    first = OpticalModel.of_seed(arm, 1).evaluate(order, wavelength, slit)
    again = OpticalModel.of_seed(arm, 1).evaluate(order, wavelength, slit)
    other = OpticalModel.of_seed(arm, 2).evaluate(order, wavelength, slit)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - other[0]).max() > 0.5


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_misalignment_stays_within_its_bounds(arm):
    for seed in range(1, 9):
        waves = OpticalModel.of_seed(arm, seed).misalignment.waves
        assert waves.shape == (6, 5)
        for axis in (0, 1):
            amplitudes = waves[waves[:, 0] == axis, 1]
            assert np.sqrt((amplitudes**2 / 2).sum()) == pytest.approx(0.3)
        shift = OpticalModel.of_seed(arm, seed).misalignment.shift
        assert max(map(abs, shift)) <= 5.0


@pytest.mark.parametrize(("arm", "order"), [("VIS", 4), ("NIR", 12)])
def test_distortion_is_smooth_but_in_no_polynomial_family(arm, order):
    """Against the undistorted base: degree 5 leaves something in most seeds, degree 10 almost nothing in any."""
    u = np.linspace(-1.0, 1.0, 500)
    rms = {5: [], 10: []}
    for seed in range(1, 11):
        model = OpticalModel.of_seed(arm, seed)
        data = model.hardware.order(order)
        wavelength = np.linspace(data.wavelength_min, data.wavelength_max, 500)
        along, _ = model.evaluate_axes(order, wavelength, 0.0)
        for degree, found in rms.items():
            fit = np.polynomial.legendre.legfit(u, along, degree)
            found.append((along - np.polynomial.legendre.legval(u, fit)).std())
    assert 1e-3 < np.median(rms[5]) < 0.03
    assert np.max(rms[10]) < 1e-3


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_flexure_moves_every_position_alike(arm):
    model = OpticalModel.of_seed(arm, 1)
    order = model.hardware.orders[1].number
    wavelength, slit = _grid(model, order)
    x, y = model.evaluate(order, wavelength, slit)
    xs, ys = model.shifted(0.3, -0.2).evaluate(order, wavelength, slit)
    np.testing.assert_allclose(xs - x, 0.3, atol=1e-9)
    np.testing.assert_allclose(ys - y, -0.2, atol=1e-9)


def test_directions_of_wavelength_and_slit_follow_the_instrument():
    """UV-VIS: bands u and g run backwards with the slit reversed; NIR: wavelength along x, slit along y."""
    vis, nir = OpticalModel.of_seed("VIS", 1), OpticalModel.of_seed("NIR", 1)
    for order, sign in ((1, 1), (2, -1), (3, -1), (4, 1)):
        wavelength, slit = _grid(vis, order)
        x, y = vis.evaluate(order, wavelength, slit)
        assert np.all(sign * np.diff(y, axis=0) > 0)
        assert np.all(sign * np.diff(x, axis=1) > 0)
    for order in range(10, 25):
        wavelength, slit = _grid(nir, order)
        x, y = nir.evaluate(order, wavelength, slit)
        assert np.all(np.diff(x, axis=0) > 0)
        assert np.all(np.diff(y, axis=1) > 0)


def test_switches_straighten_lines_and_orders():
    tilted = OpticalModel.of_seed("VIS", 1, Effects.none())
    straight = OpticalModel.of_seed("VIS", 1, Effects.from_mapping({"line_tilt": 0, "misalignment": 0}))
    _, y_tilted = tilted.evaluate(4, 760.0, np.array([-5.0, 5.0]))
    _, y_straight = straight.evaluate(4, 760.0, np.array([-5.0, 5.0]))
    assert abs(np.diff(y_tilted)[0]) > 5.0
    assert abs(np.diff(y_straight)[0]) < 1e-9


def test_unknown_arm_and_order_are_named():
    with pytest.raises(InputError, match="no arm 'UVB'"):
        OpticalModel.of_seed("UVB", 1)
    with pytest.raises(InputError, match="no order 9"):
        OpticalModel.of_seed("NIR", 1).hardware.order(9)
