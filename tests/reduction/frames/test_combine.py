from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.frames.combine import combine_frames, sorting_network


def pulls(combination, truth):
    frame = combination.frame
    return (frame.data - truth) / np.sqrt(frame.variance)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 24), seed=st.integers(0, 1000))
def test_sorting_network_sorts(count, seed):
    values = np.random.default_rng(seed).random(count)
    for low, high in sorting_network(count):
        if values[low] > values[high]:
            values[low], values[high] = values[high], values[low]
    assert np.all(np.diff(values) >= 0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 12])
def test_clean_frames_give_true_variance(readouts, structure, count):
    combination = combine_frames(readouts(seed=count).frames(count))
    found = pulls(combination, structure)
    assert abs(found.mean()) < 0.02
    assert found.std() == pytest.approx(1.0, abs=0.02)
    lost = int((combination.count < count).sum())
    assert lost < 5e-5 * found.size * count
    assert combination.frame.meta.combined == count


@pytest.mark.parametrize(("count", "outliers"), [(3, 5e-4), (5, 5e-3), (10, 5e-3)])
@pytest.mark.parametrize("weighting", ["mean", "inverse-variance"])
def test_outliers_do_not_bias(readouts, structure, count, outliers, weighting):
    frames = readouts(seed=20 + count).frames(count, outliers=outliers)
    combination = combine_frames(frames, weighting=weighting)
    found = pulls(combination, structure)
    assert int((combination.count < count).sum()) > 0.8 * outliers * count * found.size
    assert abs(found.mean()) < 0.03
    assert found.std() < 1.05


def test_without_clipping_outliers_do_bias(readouts, structure):
    frames = readouts(seed=2).frames(5, outliers=5e-3)
    assert pulls(combine_frames(frames, clip_sigma=np.inf), structure).std() > 3.0


def test_of_two_frames_the_higher_outlier_goes(readouts, structure):
    combination = combine_frames(readouts(seed=3).frames(2, outliers=5e-4))
    found = pulls(combination, structure)
    assert np.count_nonzero(found > 8.0) <= 2  # both frames hit
    assert 0.0008 < (combination.count == 1).mean() < 0.0012


def test_result_does_not_depend_on_order_or_repetition(readouts):
    frames = readouts(seed=4).frames(3, outliers=1e-3)
    first = combine_frames(frames)
    for order in permutations(range(3)):
        again = combine_frames([frames[index] for index in order])
        assert np.array_equal(again.count, first.count)
        np.testing.assert_allclose(again.frame.data, first.frame.data, atol=2e-5)
    for _ in range(3):
        again = combine_frames(frames)
        assert np.array_equal(again.frame.data, first.frame.data)
        assert np.array_equal(again.frame.variance, first.frame.variance)


def test_masks_of_single_frames_are_respected(readouts, structure):
    frames = readouts(seed=5).frames(4)
    frames[1].data[10, 10] = frames[2].data[10, 10] = 1e6
    frames[1].quality[10, 10] = frames[2].quality[10, 10] = int(QualityFlag.COSMIC_RAY)
    frames[3].quality[20, :] = int(QualityFlag.NON_LINEAR)
    combination = combine_frames(frames)
    assert combination.count[10, 10] == 2
    assert combination.frame.quality[10, 10] == 0
    assert combination.frame.data[10, 10] == pytest.approx((frames[0].data[10, 10] + frames[3].data[10, 10]) / 2)
    assert np.all(combination.frame.quality[20] == int(QualityFlag.NON_LINEAR))
    assert np.all(combination.frame.quality[21] == 0)


def test_pixel_that_no_frame_can_use_keeps_value_and_flags(readouts):
    frames = readouts(seed=6).frames(3)
    for frame in frames:
        frame.quality[5, 5] = int(QualityFlag.HOT)
        frame.quality[6, 6] = int(QualityFlag.NO_DATA)
        frame.data[6, 6] = 0.0
    combination = combine_frames(frames)
    assert combination.frame.quality[5, 5] == int(QualityFlag.HOT)
    assert combination.frame.data[5, 5] == pytest.approx(np.mean([frame.data[5, 5] for frame in frames]), rel=1e-5)
    assert combination.frame.data[6, 6] == 0.0
    assert combination.frame.quality[6, 6] == int(QualityFlag.NO_DATA)
    assert combination.count[5, 5] == combination.count[6, 6] == 0
    assert np.isfinite(combination.frame.variance).all()


def test_drifting_level_throws_nothing_away(readouts):
    frames = readouts(seed=7, flat=True).frames(5)
    frames = [
        frame.with_arrays(data=frame.data + np.float32(60.0 * (index - 2))) for index, frame in enumerate(frames)
    ]
    # Frames 60 e- (16 sigma) apart: the pixel's own deviation says that this is how they scatter.
    assert combine_frames(frames).count.mean() > 4.5


def test_inverse_variance_weights_are_optimal(readouts, structure):
    frames = [*readouts(noise=3.0, seed=8).frames(2), *readouts(noise=9.0, seed=9).frames(2)]
    combination = combine_frames(frames, weighting="inverse-variance")
    assert pulls(combination, structure).std() == pytest.approx(1.0, abs=0.02)
    assert combination.frame.variance.mean() == pytest.approx(1.0 / (2 / 9.0 + 2 / 81.0), rel=1e-3)


def test_shared_noise_does_not_average_down(readouts, structure):
    random = np.random.default_rng(10)
    common = random.normal(0, 2.0, structure.shape).astype(np.float32)
    shared = np.full(structure.shape, 4.0, np.float32)
    frames = [
        frame.with_arrays(data=frame.data + common, variance=frame.variance + shared, shared_variance=shared)
        for frame in readouts(seed=11).frames(5)
    ]
    combination = combine_frames(frames)
    assert pulls(combination, structure).std() == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(combination.frame.shared_variance, 4.0, rtol=1e-5)
    blind = combine_frames([replace(frame, shared_variance=None) for frame in frames])
    assert pulls(blind, structure).std() > 1.2


def test_meta_of_a_combination():
    def frame(start, time):
        meta = FrameMeta("a", time, start, start + 1, 0.6, 3.0, 1e5, (1, 1), 1.1, 2)
        return Frame(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), np.zeros((2, 2), np.int32), meta)

    meta = combine_frames([frame(2.0, 10.0), frame(1.0, 20.0)]).frame.meta
    assert (meta.exposure_time, meta.mjd_start, meta.mjd_end, meta.combined) == (15.0, 1.0, 3.0, 4)


def test_bad_calls_are_named(readouts):
    frames = readouts().frames(2)
    with pytest.raises(AlgorithmError, match="no frames"):
        combine_frames([])
    with pytest.raises(AlgorithmError, match="shapes"):
        combine_frames([frames[0], Frame(*(np.zeros((3, 3), np.float32),) * 2, np.zeros((3, 3), np.int32))])
    with pytest.raises(ValueError, match="weighting"):
        combine_frames(frames, weighting="median")


def test_memory_is_bounded():
    shape, count = (2048, 808), 5
    random = np.random.default_rng(1)
    frames = [
        Frame(
            random.normal(0, 4, shape).astype(np.float32),
            np.full(shape, 16.0, np.float32),
            np.zeros(shape, np.int32),
        )
        for _ in range(count)
    ]
    tracemalloc.start()
    combine_frames(frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = 3 * 4 * frames[0].data.size
    assert peak < result + 60e6
