import numpy as np
import pytest
from scipy import ndimage

from soxs_recipes.reduction.dispersion.detection_kernels import filtered_frame, local_maxima

KERNEL = np.array([0.05, 0.25, 0.4, 0.25, 0.05])
HALF_BOX = 4


@pytest.fixture
def frame():
    """Noise with masked pixels that hold NaN, wide enough for all of a box and no multiple of it."""
    random = np.random.default_rng(8)
    data = random.normal(50.0, 10.0, (41, 57)).astype(np.float32)
    good = random.uniform(size=data.shape) > 0.1
    good[10:14, 20:40] = False
    data[~good] = np.nan
    return data, good


def plain_filter(data, good):
    """The same by scipy's filters, a pass each."""
    values, seen = np.where(good, data, 0.0).astype(float), good.astype(float)

    def smoothed(image):
        return ndimage.correlate(image, np.outer(KERNEL, KERNEL), mode="constant")

    def boxed(image):
        return ndimage.uniform_filter(image, 2 * HALF_BOX + 1, mode="constant")

    border = smoothed(seen)
    return smoothed(values) / np.maximum(border, 0.3) - boxed(values) / np.maximum(boxed(seen), 0.1), border


def test_one_sweep_gives_what_separate_filters_give(frame):
    filtered, weight = filtered_frame(*frame, KERNEL, HALF_BOX)
    expected, border = plain_filter(*frame)
    assert filtered == pytest.approx(expected, abs=1.0e-4)
    assert weight == pytest.approx(border, abs=1.0e-6)
    level, _ = filtered_frame(np.full((20, 30), 7.0, dtype=np.float32), np.ones((20, 30), bool), KERNEL, HALF_BOX)
    assert np.abs(level).max() < 1.0e-5


def test_maxima_stand_above_their_neighbours_and_their_own_noise(frame):
    data, good = frame
    random = np.random.default_rng(9)
    variance = random.uniform(50.0, 150.0, data.shape).astype(np.float32)
    variance[~good] = np.nan
    filtered, weight = filtered_frame(data, good, KERNEL, HALF_BOX)
    rows, columns, noise = local_maxima(filtered, weight, variance, good, 100.0, 4.0, 0.5)
    local = ndimage.uniform_filter(np.where(good, variance, 100.0).astype(float), 5, mode="nearest")
    expected = np.sqrt(local / 4.0)
    highest = filtered >= ndimage.maximum_filter(filtered, 3, mode="constant", cval=np.inf)
    chosen = np.nonzero(highest & (filtered > 0.5 * expected) & (weight > 0.6))
    assert len(rows) > 20
    assert np.array_equal(np.stack([rows, columns]), np.stack(chosen))
    assert noise == pytest.approx(expected[chosen], rel=1.0e-6)
    assert len(local_maxima(filtered, weight, variance, good, 100.0, 4.0, 50.0)[0]) == 0
