"""The inverse of the optical model on pixels."""

import numpy as np

from soxs_recipes.simulator.geometry import HALF_WIDTH


def test_inverse_closes_on_the_forward_model(spectrograph):
    """Wavelength and slit position of a pixel map back onto it to 1e-5 px, all orders."""
    rows = np.arange(0, spectrograph.hardware.along, 41)
    assert len(spectrograph.orders) in (4, 15)
    for order in spectrograph.orders:
        geometry = spectrograph.geometry(order)
        along, across = spectrograph.model.evaluate_axes(
            order, geometry.wavelength_of(geometry.v[rows]), geometry.s[rows]
        )
        columns = geometry.first_across[rows, None] + np.arange(2 * HALF_WIDTH + 1)
        assert np.abs(along - rows[:, None]).max() < 1e-5
        assert np.abs(across - columns).max() < 1e-5


def test_derivatives_agree_with_differences(spectrograph):
    order = spectrograph.orders[-1]
    g = spectrograph.geometry(order)
    middle = slice(5, -5)
    # Neighbours across are pixels of the same row; the window's first column moves from row to row.
    across = 0.5 * (g.v[:, 2:] - g.v[:, :-2])
    np.testing.assert_allclose(g.v_across[:, 1:-1][middle], across[middle], atol=2e-4)
    np.testing.assert_allclose(g.s_across[:, 1:-1][middle], 0.5 * (g.s[:, 2:] - g.s[:, :-2])[middle], atol=2e-5)
    still = np.flatnonzero(
        (g.first_across[2:] == g.first_across[:-2]) & (g.first_across[1:-1] == g.first_across[2:])
    )
    assert still.size > 100
    np.testing.assert_allclose(g.v_along[still + 1], 0.5 * (g.v[still + 2] - g.v[still]), atol=2e-4)
    np.testing.assert_allclose(g.s_along[still + 1], 0.5 * (g.s[still + 2] - g.s[still]), atol=2e-5)


def test_window_holds_the_whole_slit(spectrograph):
    for order in spectrograph.orders:
        s = spectrograph.geometry(order).s
        assert np.abs(s[:, [0, -1]]).min() > 6.8
