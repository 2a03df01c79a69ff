import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soxs_recipes.reduction.rectified.pixel_overlap import overlap_areas

SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def shoelace(column, row):
    return 0.5 * np.abs((column * np.roll(row, -1, axis=1) - row * np.roll(column, -1, axis=1)).sum(axis=1))


def quadrilaterals(seed, count=300):
    """Squares turned, sheared and stretched at random places, either way around."""
    generator = np.random.default_rng(seed)
    matrices = np.eye(2) + generator.uniform(-0.45, 0.45, (count, 2, 2))
    corners = np.einsum("kj,nij->nki", SQUARE, matrices) + generator.uniform(-5, 50, (count, 1, 2))
    corners[::2] = corners[::2, ::-1]
    return corners[:, :, 0], corners[:, :, 1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_shares_add_up_to_the_area(seed):
    column, row = quadrilaterals(seed)
    overlaps = overlap_areas(column, row)
    assert overlaps.area.shape[0] == 300
    np.testing.assert_allclose(overlaps.own_area, shoelace(column, row), rtol=1e-9)
    assert overlaps.area.max() < 1.0 + 1e-9


def test_first_moments_agree_with_fine_sampling():
    column, row = quadrilaterals(7, 40)
    overlaps = overlap_areas(column, row)
    steps = (np.arange(400) + 0.5) / 400
    u, v = np.meshgrid(steps, steps)
    for n in range(40):
        # Bilinear in the corners; parallelograms, so that samples are even.
        x = column[n, 0] + u * (column[n, 1] - column[n, 0]) + v * (column[n, 3] - column[n, 0])
        y = row[n, 0] + u * (row[n, 1] - row[n, 0]) + v * (row[n, 3] - row[n, 0])
        counts = np.zeros(overlaps.area.shape[1:])
        place = (
            np.floor(y + 0.5).astype(int) - overlaps.first_row[n],
            np.floor(x + 0.5).astype(int) - overlaps.first_column[n],
        )
        np.add.at(counts, place, overlaps.own_area[n] / steps.size**2)
        np.testing.assert_allclose(overlaps.area[n], counts, atol=3e-3)


def test_upright_and_exactly_aligned_pixels():
    column = np.array([[0.0, 1.0, 1.0, 0.0], [0.25, 0.75, 0.75, 0.25]]) - 0.5 + 12
    row = np.array([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.5, 1.5]]) - 0.5 - 3
    overlaps = overlap_areas(column, row)
    assert overlaps.area[0, 0, 0] == pytest.approx(1.0)
    np.testing.assert_allclose(overlaps.area[1, :2, 0], [0.25, 0.25])
    assert overlaps.first_column.tolist() == [12, 12]
    assert overlaps.first_row.tolist() == [-3, -3]
