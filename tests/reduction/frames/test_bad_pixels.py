from __future__ import annotations

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.frames.bad_pixels import find_bad_pixels, local_level
from soxs_recipes.reduction.frames.combine import combine_frames
from soxs_recipes.reduction.frames.frame_scatter import thinned

READ_NOISE = 3.8
CHOSEN = (np.arange(40, 480, 11), np.arange(20, 376, 9)[:40])


def judged(frames, **options):
    return find_bad_pixels(frames, combine_frames(frames), **options)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_clean_frames_have_no_bad_pixels(readouts, count):
    false, total = 0, 0
    for seed in range(4):
        quality = judged(readouts(seed=100 * count + seed).frames(count, outliers=1e-4))
        # One frame alone cannot tell a cosmic ray from a hot pixel.
        false += int(np.count_nonzero(quality)) if count > 2 else 0
        total += quality.size
    assert total > 8e5
    assert false <= 1e-5 * total


@pytest.mark.parametrize("count", [1, 2])
def test_few_clean_frames_have_no_bad_pixels(readouts, count):
    quality = judged(readouts(seed=count).frames(count))
    assert np.count_nonzero(quality) <= 1e-5 * quality.size + 1


@pytest.mark.parametrize("sign", [1, -1])
def test_deviating_pixels_are_found(readouts, structure, sign):
    moved = readouts(seed=7)
    moved.structure = structure.copy()
    where = np.ix_(CHOSEN[0][:40], CHOSEN[1][:5])
    moved.structure[where] += sign * 5.0 * READ_NOISE
    quality = judged(moved.frames(5))
    flag = QualityFlag.HOT if sign > 0 else QualityFlag.COLD
    found = (quality[where] & int(flag)) != 0
    assert found.size == 200
    assert found.mean() > 0.95
    assert np.count_nonzero(quality) - np.count_nonzero(found) <= 3


def test_hot_pixels_with_their_own_poisson_noise_are_hot_not_noisy(readouts, structure):
    charge = np.zeros(structure.shape)
    where = np.ix_(CHOSEN[0], CHOSEN[1][:10])
    charge[where] = 800.0
    quality = judged(readouts(seed=8).frames(5, charge=charge))
    assert np.all((quality[where] & int(QualityFlag.HOT)) != 0)
    assert np.count_nonzero(quality[where] & int(QualityFlag.NOISY)) <= 4


def test_noisy_pixels_are_found(readouts):
    frames = readouts(seed=9).frames(6)
    random = np.random.default_rng(1)
    where = np.ix_(CHOSEN[0], CHOSEN[1][:10])
    for frame in frames:
        frame.data[where] += random.normal(0, 12 * READ_NOISE, (len(CHOSEN[0]), 10)).astype(np.float32)
    quality = judged(frames)
    assert ((quality[where] & int(QualityFlag.NOISY)) != 0).mean() > 0.9


def test_stuck_pixels_are_dead(readouts):
    frames = readouts(seed=10).frames(10)
    for frame in frames:
        frame.data[100, 100:110] = frames[0].data[100, 100:110]
    quality = judged(frames)
    assert np.all(quality[100, 100:110] & int(QualityFlag.DEAD))
    assert np.count_nonzero(quality) <= 12


def test_cosmic_rays_make_no_pixel_noisy(readouts):
    quality = judged(readouts(seed=11).frames(5, outliers=1e-3))
    assert np.count_nonzero(quality) <= 3


def test_local_level_follows_structure_and_ignores_masked_pixels(structure):
    data = (structure + np.random.default_rng(1).normal(0, 1.0, structure.shape)).astype(np.float32)
    quality = np.zeros(structure.shape, np.int32)
    data[200:216, 100:120] = 1e6
    quality[200:216, 100:120] = int(QualityFlag.HOT)
    data[::50, ::50] += 1e5
    level = local_level(data, quality)
    assert np.abs(level - structure).max() < 1.5
    assert np.std(level - structure) < 0.3


def test_all_masked_gives_zero():
    data = np.ones((70, 70), np.float32)
    assert np.all(local_level(data, np.full((70, 70), int(QualityFlag.NO_DATA), np.int32)) == 0)


def test_no_frames_is_an_error(readouts):
    with pytest.raises(AlgorithmError, match="no frames"):
        find_bad_pixels([], combine_frames(readouts().frames(1)))


def test_the_level_of_large_frames_is_of_rows_and_columns_of_either_parity():
    ny, nx = 1300, 1250
    structure = 4.0 * (np.arange(ny) % 2)[:, None] + 2.0 * (np.arange(nx) % 2) + 0.01 * np.arange(nx)
    noise = np.random.default_rng(8).normal(0.0, 3.0, (ny, nx))
    level = local_level((structure + noise).astype(np.float32))
    error = (level - structure)[32:-32, 32:-32]
    # Half of what rows or columns differ by would be left if those of one parity alone were looked at.
    assert np.abs(error.mean()) < 0.1
    assert error.std() < 0.3
    assert abs(error[::2].mean() - error[1::2].mean()) < 0.1


def test_views_of_one_number_are_thinned_to_it():
    assert thinned(np.broadcast_to(np.float32(7.0), (3000, 2000))).tolist() == [7.0]
    assert thinned(np.float32(7.0)[None]).tolist() == [7.0]
    assert thinned(np.arange(10)).tolist() == list(range(10))
