from __future__ import annotations

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.reduction.frames.combine import combine_frames
from soxs_recipes.reduction.frames.frame_scatter import (
    frame_noises,
    noise_scale,
    pattern_peak,
    structure_slopes,
    truncated_variance,
)
from soxs_recipes.reduction.frames.master_frame import build_master

READ_NOISE = 3.8


@pytest.mark.parametrize("unit", [0.0, 2.0])
def test_truncated_variance_is_unbiased_even_for_coarse_integers(unit):
    values = np.random.default_rng(1).normal(0, 3.0, 400_000)
    if unit:
        values = np.rint(values / unit) * unit
    assert truncated_variance(values) == pytest.approx(9.0 + unit**2 / 12, rel=0.02)
    values[:400] = 1e4
    assert truncated_variance(values) == pytest.approx(9.0 + unit**2 / 12, rel=0.02)
    assert truncated_variance(np.zeros(0)) == 0.0


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_noise_of_each_frame(readouts, count):
    frames = readouts(seed=3, flat=True).frames(count, outliers=1e-3)
    noises = frame_noises(frames, combine_frames(frames))
    assert len(noises) == count
    assert noises == pytest.approx([READ_NOISE] * count, rel=0.02)


def test_one_noisier_frame_is_told_apart(readouts):
    frames = [*readouts(seed=3).frames(4), *readouts(noise=8.0, seed=4).frames(1)]
    noises = frame_noises(frames, combine_frames(frames))
    assert noises == pytest.approx([READ_NOISE] * 4 + [8.0], rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_noise_scale_measures_wrong_variances(readouts, factor):
    frames = readouts(seed=5).frames(5)
    frames = [frame.with_arrays(variance=frame.variance * np.float32(factor)) for frame in frames]
    assert noise_scale(frames, combine_frames(frames)) == pytest.approx(1 / factor, rel=0.01)


def test_slopes(structure):
    y, x = np.mgrid[0:512, 0:400]
    usable = np.ones(x.shape, bool)
    usable[::7] = False
    assert structure_slopes(0.002 * x - 0.001 * y, usable) == pytest.approx((2.0, -1.0))
    assert np.isnan(structure_slopes(x.astype(float), np.zeros(x.shape, bool))).all()


def test_pick_up_shows_as_a_peak(readouts):
    residual = readouts(flat=True).frames(1)[0].data
    usable = np.ones(residual.shape, bool)
    assert pattern_peak(residual, usable) < 1.5
    x = np.arange(residual.shape[1])
    assert pattern_peak(residual + 0.8 * np.sin(x * 2 * np.pi / 7.3)[None, :], usable) > 3.0


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("stated", [0.8, 1.0])
def test_master_is_true_even_when_the_stated_noise_is_not(readouts, structure, denoise, stated):
    frames = readouts(seed=6).frames(5, outliers=1e-4)
    frames = [frame.with_arrays(variance=frame.variance * np.float32(stated)) for frame in frames]
    master = build_master(frames, denoise=denoise)
    pulls = (master.frame.data - structure) / np.sqrt(master.frame.variance)
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert np.count_nonzero(master.bad_pixels) <= 2
    assert master.frame.meta.read_noise == pytest.approx(READ_NOISE, rel=0.02)
    cost = master.statistics.noise_cost
    assert (cost < 0.015) if denoise else (cost == pytest.approx(np.sqrt(1.2) - 1, rel=0.05))


def test_dark_with_glow_and_hot_pixels(readouts, structure):
    x = np.mgrid[0:512, 0:400][1]
    random = np.random.default_rng(9)
    charge = 3.0 + 10.0 * np.exp(-x / 60.0)
    hot = random.random(structure.shape) < 1e-3
    charge[hot] += random.uniform(60, 3000, int(hot.sum()))
    frames = readouts(seed=7, flat=True).frames(5, charge=charge, outliers=1e-4)
    master = build_master(frames, collects_charge=True)
    pulls = (master.frame.data - charge) / np.sqrt(master.frame.variance)
    assert hot.sum() > 150
    assert pulls[hot].std() == pytest.approx(1.0, abs=0.15)
    assert abs(pulls[~hot].mean()) < 0.05
    assert pulls[~hot].std() == pytest.approx(1.0, abs=0.05)
    found = (master.bad_pixels & int(QualityFlag.HOT)) != 0
    assert found[hot].mean() > 0.99
    assert np.count_nonzero(found & ~hot) <= 2
    assert master.frame.meta.read_noise == pytest.approx(READ_NOISE, rel=0.03)


def test_one_frame_is_enough_for_a_master(readouts, structure):
    master = build_master(readouts(seed=8).frames(1))
    pulls = (master.frame.data - structure) / np.sqrt(master.frame.variance)
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert master.statistics.noise_scale == 1.0


def test_same_input_same_master(readouts):
    frames = readouts(seed=9).frames(3, outliers=1e-3)
    first = build_master(frames)
    for _ in range(3):
        again = build_master(frames)
        assert np.array_equal(again.frame.data, first.frame.data)
        assert np.array_equal(again.frame.variance, first.frame.variance)
        assert np.array_equal(again.bad_pixels, first.bad_pixels)
