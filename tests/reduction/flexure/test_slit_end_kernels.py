"""Loops about the edges of orders against numpy's own functions."""

import numpy as np
import pytest

from soxs_recipes.reduction.flexure.slit_end_kernels import block_continuum, cut_edge, share_of_sky

MASKED, REACH, SHAPE = 4, 3, (40, 30)


def scene(axis):
    """Images of an order whose wavelength is known inside only, flat, and the steps in them."""
    rng = np.random.default_rng(8)
    row, column = np.indices(SHAPE)
    light = rng.normal(50.0, 5.0, SHAPE).astype(np.float32)
    quality = np.where(rng.random(SHAPE) < 0.2, MASKED, 1).astype(np.int32)
    wavelength = np.where((column >= 10) & (column <= 20), 500.0 + 0.5 * row + 0.02 * column, np.nan)
    images = light, quality, (light * 0.1 + 9.0).astype(np.float32), wavelength
    if axis == 0:
        return images, tuple(image.ravel() for image in images), (SHAPE[1], 1, SHAPE[1])
    return images, tuple(image.T.ravel() for image in images), (1, SHAPE[0], SHAPE[1])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_about_an_edge(axis, sign):
    images, flat, steps = scene(axis)
    edge = np.linspace(9.0, 11.0, SHAPE[0]) if sign > 0 else np.linspace(19.0, 21.0, SHAPE[0])
    edge[3], edge[7] = 1.0, 28.6  # at the borders
    bins = np.sort(np.random.default_rng(1).uniform(502.0, 518.0, 60))
    sky = np.random.default_rng(2).normal(20.0, 3.0, 60)
    where, offset, light, variance, brightness = cut_edge(flat, steps, MASKED, edge, sign, REACH, bins, sky)
    first = np.rint(edge).astype(int)
    near, far = first + 2 * sign, first + (REACH + 1) * sign
    told = (
        (first - REACH >= 0) & (first + REACH < SHAPE[1]) & (near >= 10) & (near <= 20) & (far >= 10) & (far <= 20)
    )
    rows = np.flatnonzero(told)
    assert 20 < rows.size < SHAPE[0]
    assert np.array_equal(where, rows)
    columns = first[rows, None] + np.arange(-REACH, REACH + 1)
    place = (rows[:, None], columns)
    assert offset == pytest.approx(sign * (columns - edge[rows, None]))
    assert np.array_equal(light, images[0][place])
    assert np.array_equal(variance, np.where(images[1][place] & MASKED, 0.0, images[2][place]))
    # Straight on beyond the edge; ends of the sky are held.
    expected = np.interp(500.0 + 0.5 * rows[:, None] + 0.02 * columns, bins, sky)
    assert brightness == pytest.approx(expected)


def test_an_edge_off_the_frame_has_no_pixels():
    _, flat, steps = scene(0)
    for value in (-1e6, 1e6):
        edge = np.full(SHAPE[0], value)
        where, *cut = cut_edge(flat, steps, MASKED, edge, 1, REACH, np.arange(9.0), np.ones(9))
        assert where.shape == (0,)
        assert [part.shape for part in cut] == [(0, 2 * REACH + 1)] * 4


@pytest.mark.parametrize(("rows", "block"), [(1, 32), (31, 32), (100, 32), (101, 9)])
def test_continuum_joins_medians_of_blocks(rows, block):
    values = np.random.default_rng(4).normal(size=(rows, 3))
    count = max(rows // block, 1)
    size = rows // count
    medians = np.median(values[: count * size].reshape(count, size, 3), axis=1)
    middle = (np.arange(count) + 0.5) * size
    for k in range(3):
        expected = np.interp(np.arange(rows) + 0.5, middle, medians[:, k])
        assert block_continuum(values, block)[:, k] == pytest.approx(expected)


def test_share_of_the_sky_without_hits():
    rng = np.random.default_rng(6)
    shape = (400, 9)
    offset = np.broadcast_to(np.arange(-3.0, 6.0), shape) + rng.uniform(-0.4, 0.4, shape)
    sky, variance = rng.uniform(50.0, 100.0, shape), np.full(shape, 4.0)
    truth = np.clip(0.5 + 0.5 * np.floor(offset), 0.0, 1.0)
    light = truth * sky + rng.normal(0.0, 2.0, shape)
    light[rng.random(shape) < 0.01] += 40.0
    masked = rng.random(shape) < 0.1
    light[masked], variance[masked] = 1e6, 0.0
    share, error = share_of_sky((offset, light, variance, sky), 4.0, 1.0, 2, 12)
    known = np.isfinite(share)
    assert known.sum() == 20
    assert np.array_equal(np.isfinite(error), known)
    cell = np.clip(0.5 + 0.5 * (np.arange(12) - 4.0), 0.0, 1.0)
    pulls = ((share - cell) / error)[known]
    assert np.abs(pulls).max() < 4.0
    assert 0.6 < pulls.std() < 1.4
    # The number of pixels in a cell is that of its errors.
    inside = (variance > 0) & (np.floor(offset) == 2.0) & (np.arange(400)[:, None] < 200)
    assert error[0, 6] == pytest.approx(2.0 / np.sqrt((sky[inside] ** 2).sum()), rel=0.03)
