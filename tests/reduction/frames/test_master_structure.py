from __future__ import annotations

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.reduction.frames.combine import combine_frames
from soxs_recipes.reduction.frames.master_structure import denoise_master


def robust_width(values):
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def pulls(denoised, truth, where=...):
    frame = denoised.frame
    return ((frame.data - truth) / np.sqrt(frame.variance))[where]


def master_of(readouts, count=5, seed=1, **changes):
    return combine_frames(readouts(seed=seed).frames(count, **changes)).frame


def assert_true(found, mean=0.05):
    assert found.size > 1000
    assert abs(found.mean()) < mean
    assert found.std() == pytest.approx(1.0, abs=0.05)
    assert robust_width(found) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_smooth_structure_keeps_true_errors_and_loses_noise(readouts, structure, count):
    master = master_of(readouts, count, seed=count)
    denoised = denoise_master(master)
    assert_true(pulls(denoised, structure))
    left = np.var(denoised.frame.data - structure) / np.var(master.data - structure)
    assert left < 0.15
    assert denoised.noise_fraction == pytest.approx(left, rel=0.15)
    assert denoised.pattern_variance == 0.0


def test_errors_that_ignore_the_kept_noise_would_be_seen(readouts, structure):
    denoised = denoise_master(master_of(readouts))
    assert np.std(1.2 * pulls(denoised, structure)) > 1.05


def test_hot_pixels_keep_their_value(readouts, structure):
    moved = readouts(seed=4)
    moved.structure = structure.copy()
    random = np.random.default_rng(2)
    hot = random.random(structure.shape) < 2e-3
    moved.structure[hot] += random.uniform(15, 500, int(hot.sum()))
    denoised = denoise_master(combine_frames(moved.frames(5)).frame)
    assert hot.sum() > 300
    assert np.std(pulls(denoised, moved.structure, hot)) == pytest.approx(1.0, abs=0.12)
    assert_true(pulls(denoised, moved.structure, ~hot))


def test_hot_piece_of_a_column_keeps_its_values(readouts, structure):
    moved = readouts(seed=5)
    moved.structure = structure.copy()
    moved.structure[150:420, 77] += 2.5
    denoised = denoise_master(combine_frames(moved.frames(5)).frame)
    piece = (slice(170, 400), slice(77, 78))
    assert abs(np.mean((denoised.frame.data - moved.structure)[piece])) < 0.4
    assert robust_width(pulls(denoised, moved.structure, piece)) < 1.4


def test_local_glow_that_the_surface_lacks_is_kept(readouts, structure):
    moved = readouts(seed=6)
    y, x = np.mgrid[0:512, 0:400]
    moved.structure = structure + 12.0 * np.exp(-((y - 100.0) ** 2 + (x - 300.0) ** 2) / (2 * 12.0**2))
    denoised = denoise_master(combine_frames(moved.frames(5)).frame)
    bump = (slice(90, 110), slice(290, 310))
    assert abs(np.mean((denoised.frame.data - moved.structure)[bump])) < 0.5


@pytest.mark.parametrize("pattern", [0.5, 1.0, 3.0])
def test_pixel_pattern_is_measured_and_weighed(readouts, structure, pattern):
    moved = readouts(seed=7)
    moved.structure = structure + np.random.default_rng(3).normal(0, pattern, structure.shape)
    master = combine_frames(moved.frames(5)).frame
    denoised = denoise_master(master)
    assert np.sqrt(denoised.pattern_variance) == pytest.approx(pattern, rel=0.1)
    assert_true(pulls(denoised, moved.structure))
    assert np.var(denoised.frame.data - moved.structure) < np.var(master.data - moved.structure)


def test_weight_one_changes_nothing(readouts):
    master = master_of(readouts)
    same = denoise_master(master, weight_floor=1.0).frame
    np.testing.assert_allclose(same.data, master.data, atol=1e-4)
    np.testing.assert_allclose(same.variance, master.variance, rtol=1e-5)


def test_masked_pixels_are_left_alone(readouts):
    master = master_of(readouts)
    quality = master.quality.copy()
    quality[10:20, 10:20] = int(QualityFlag.HOT)
    data = master.data.copy()
    data[10:20, 10:20] = 1e6
    denoised = denoise_master(master.with_arrays(data=data, quality=quality))
    assert np.allclose(denoised.frame.data[10:20, 10:20], 1e6)
    assert np.abs(denoised.structure).max() < 50


def test_same_input_same_output(readouts):
    master = master_of(readouts)
    first = denoise_master(master).frame
    for _ in range(3):
        assert np.array_equal(denoise_master(master).frame.data, first.data)


def test_small_frames_work(readouts):
    frames = [
        frame.with_arrays(
            data=frame.data[:30, :40], variance=frame.variance[:30, :40], quality=frame.quality[:30, :40]
        )
        for frame in readouts(flat=True).frames(5)
    ]
    assert np.isfinite(denoise_master(combine_frames(frames).frame).frame.data).all()
