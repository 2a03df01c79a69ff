"""Hits between exposures, on residuals made by hand: what one hit does to the verdict on others."""

import numpy as np
import pytest
from scipy.stats import norm

from soxs_recipes.reduction.exposures.exposure_hits import ExposureResiduals, OrderResiduals, hits_between

SHAPE = (40, 60)
SIGMA = 4.0
NO_GROWTH = 99.0


def exposure(residual, usable=None, hit=None):
    """One order that fills the frame, without light of an object; noise of 4 e-."""
    size = residual.size
    return ExposureResiduals(
        {
            7: OrderResiduals(
                index=np.arange(size, dtype=np.int32),
                residual=residual.ravel().astype(np.float32),
                sigma=np.full(size, SIGMA, np.float32),
                tolerance=np.zeros(size, np.float32),
                response=np.zeros(size, np.float32),
                position=np.linspace(0, 49, size).astype(np.float32),
                usable=np.ones(size, bool) if usable is None else usable.ravel(),
                hit=np.zeros(size, bool) if hit is None else hit.ravel(),
                flux=np.zeros(50),
                variance=np.ones(50),
            )
        },
        residual.shape,
    )


def noise(count, seed):
    return SIGMA * np.random.default_rng(seed).standard_normal((count, *SHAPE))


@pytest.mark.parametrize("threshold", [1.0, 1.5, 2.0])
def test_noise_passes_as_often_as_the_threshold_says(threshold):
    shares = []
    for seed in range(20):
        found = hits_between(
            [exposure(part) for part in noise(2, seed)], [60.0, 60.0], threshold=threshold, growth=NO_GROWTH
        )
        shares.append([image.mean() for image in found])
    expected = norm.sf(threshold)
    error = np.sqrt(expected * (1 - expected) / (len(shares) * np.prod(SHAPE)))
    assert np.shape(shares) == (20, 2)
    assert np.abs(np.mean(shares, axis=0) - expected).max() < 4 * error


def test_times_scale_what_is_compared():
    """A hot spot that grows with the exposure time is in all exposures alike."""
    spot = np.zeros(SHAPE)
    spot[10, 20] = 3.0  # e-/s
    times = [60.0, 240.0, 120.0]
    parts = [exposure(part + time * spot) for part, time in zip(noise(3, 5), times, strict=True)]
    assert not np.any([image[10, 20] for image in hits_between(parts, times)])
    assert np.any([image[10, 20] for image in hits_between(parts, [60.0, 60.0, 60.0])])


@pytest.mark.parametrize("second", [30, 200, 2900])
def test_a_brighter_hit_on_the_same_pixel_hides_no_other(second):
    images = noise(4, 3)
    images[0, 12, 30] += 3000.0
    images[2, 12, 30] += second
    found = hits_between([exposure(part) for part in images], [60.0] * 4)
    assert [bool(image[12, 30]) for image in found] == [True, False, True, False]


def test_what_all_exposures_share_is_let_go_and_what_cannot_be_compared_stays():
    images = noise(3, 9)
    images[:, 5, 5] += 500.0  # a line too sharp for the search in single exposures
    images[1, 30, 40] += 500.0
    own, usable = np.zeros((3, *SHAPE), bool), np.ones((3, *SHAPE), bool)
    own[:, 5, 5] = own[1, 30, 40] = True
    own[0, 20, 20] = True
    usable[1:, 20, 20] = False
    parts = [exposure(*each) for each in zip(images, usable, own, strict=True)]
    found = np.array(hits_between(parts, [60.0] * 3, growth=3.0))
    assert not found[:, 5, 5].any()
    assert found[:, 30, 40].tolist() == [False, True, False]
    assert found[:, 20, 20].tolist() == [True, False, False]


def test_neighbours_above_the_growth_belong_to_a_hit():
    images = np.zeros((2, *SHAPE))
    images[0, 15, 25], images[0, 15, 26], images[0, 15, 27] = 400.0, 12.0, 4.0  # 12/sqrt(2)/4 = 2.1 sigma
    images[0, 30, 30] = 12.0
    usable = np.ones(SHAPE, bool)
    usable[15, 24] = False  # nothing to compare with
    found = hits_between([exposure(images[0]), exposure(images[1], usable)], [60.0, 60.0], growth=1.8)
    assert found[0][15, 24:29].tolist() == [False, True, True, False, False]
    assert not found[0][30, 30]
    assert not found[1].any()
