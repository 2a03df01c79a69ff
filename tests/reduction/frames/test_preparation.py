from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve, correlate1d

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.frames.preparation import (
    Amplifier,
    ReadoutLayout,
    divide_by_flat,
    local_signal,
    prepare,
    subtract_master,
    subtract_off,
    with_poisson_noise,
)

GAIN, NOISE, LEVEL = 0.6, 3.0, 500.0
META = FrameMeta("frame", 10.0, gain=GAIN, read_noise=NOISE)
ONE = ReadoutLayout((0, 300, 20, 220), (Amplifier((20, 220), (220, 250), (0, 20)),))


def raw_frame(electrons, seed=1, level=LEVEL, width=250):
    random = np.random.default_rng(seed)
    values = level * GAIN + random.normal(0, NOISE, (300, width))
    values[:, 20:220] += random.poisson(electrons, (300, 200))
    return np.rint(values / GAIN).astype(np.float32)


def frame_of(value, variance=1.0, shared=None, seed=None, shape=(40, 50)):
    data = np.full(shape, value, np.float32)
    if seed is not None:
        data += np.random.default_rng(seed).normal(0, np.sqrt(variance), shape).astype(np.float32)
    shared = None if shared is None else np.full(shape, shared, np.float32)
    return Frame(data, np.full(shape, variance, np.float32), np.zeros(shape, np.int32), META, shared)


def prepared(data, layout=ONE, **changes):
    return prepare(data, layout, META, **{"saturation": 65535.0, **changes})


@pytest.mark.parametrize("electrons", [0.0, 30.0, 5000.0])
def test_signal_and_variance_are_true(electrons):
    frame, report = prepared(raw_frame(electrons))
    frame = with_poisson_noise(frame)
    found = (frame.data - electrons) / np.sqrt(frame.variance)
    assert found.size == 60_000
    assert abs(found.mean()) < 0.03  # a quarter of a pixel's own noise is in its variance
    assert found.std() == pytest.approx(1.0, abs=0.015)
    assert report.level == pytest.approx(LEVEL * GAIN, abs=0.1)
    assert report.noise[0] == pytest.approx(np.hypot(NOISE, GAIN / np.sqrt(12)), rel=0.03)
    assert abs(report.prescan_difference) < 0.3


def test_wrong_gain_would_be_seen():
    frame, _ = prepare(raw_frame(5000.0), ONE, FrameMeta(gain=1.1 * GAIN, read_noise=NOISE), saturation=65535.0)
    frame = with_poisson_noise(frame)
    assert ((frame.data - frame.data.mean()) / np.sqrt(frame.variance)).std() > 1.03


def test_smoothed_model_does_not_bias_weighted_means():
    """Weights from a pixel's own count make a weighted mean of Poisson data low by 1; from neighbours hardly."""
    frame, _ = prepared(raw_frame(30.0, seed=3))
    biases = {}
    for name, model in (("own", frame.data), ("smooth", None), ("true", np.full(frame.shape, 30.0))):
        noisy = with_poisson_noise(frame, model)
        weights = 1.0 / noisy.variance
        biases[name] = float((weights * frame.data).sum() / weights.sum()) - 30.0
    assert biases["own"] < -0.7
    assert abs(biases["smooth"]) < 0.3 * abs(biases["own"])
    assert abs(biases["true"]) < 0.1


def test_two_amplifiers_have_their_own_levels():
    layout = ReadoutLayout(
        (0, 300, 20, 220), (Amplifier((20, 120), (120, 140)), Amplifier((160, 260), (140, 160)))
    )
    layout = ReadoutLayout((0, 300, 0, 200), (Amplifier((0, 100), (200, 225)), Amplifier((100, 200), (225, 250))))
    data = raw_frame(0.0)
    data = np.concatenate([data[:, 20:220], data[:, 220:], data[:, :20]], axis=1)
    data[:, 100:200] += 40
    data[:, 225:] += 40
    frame, report = prepared(data, layout)
    assert abs(frame.data[:, :100].mean()) < 0.3
    assert abs(frame.data[:, 100:].mean()) < 0.3
    assert len(report.noise) == 2


def test_frame_without_overscan_keeps_its_level():
    frame, report = prepared(raw_frame(0.0), ReadoutLayout((0, 300, 20, 220)))
    assert not report.subtracted
    assert frame.data.mean() == pytest.approx(LEVEL * GAIN, abs=0.1)


def test_infrared_frame_uses_its_border():
    random = np.random.default_rng(4)
    data = np.rint((100 + random.normal(0, 7, (256, 256))) / 2.0).astype(np.float32)
    data[4:-4, 4:-4] += 25
    meta = FrameMeta(gain=2.0, read_noise=7.0)
    frame, report = prepare(data, ReadoutLayout((4, 252, 4, 252), reference_border=4), meta, saturation=65535.0)
    assert frame.data.mean() == pytest.approx(50.0, abs=0.4)
    assert report.noise[0] == pytest.approx(7.0, rel=0.05)


def test_missing_saturated_and_non_linear_pixels_are_flagged():
    data = raw_frame(100.0)
    data[3, 25], data[4, 26], data[5, 27], data[6, 28] = np.nan, np.inf, 65535, 30000
    frame, _ = prepared(data, linear_limit=15000.0)
    assert np.isfinite(frame.data).all()
    for y, x in ((3, 5), (4, 6)):
        assert frame.quality[y, x] == int(QualityFlag.NO_DATA)
        assert frame.data[y, x] == 0
    assert frame.quality[5, 7] & int(QualityFlag.SATURATED)
    assert frame.quality[6, 8] == int(QualityFlag.NON_LINEAR)
    assert np.count_nonzero(frame.quality) == 4
    assert frame.meta.saturation == pytest.approx((65535 - LEVEL) * GAIN, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "all pixels are zero"), (7.0, "have the value 7"), (np.nan, "no value"), (65535.0, "value|saturated")],
)
def test_hopeless_frames_are_refused_with_numbers(value, words):
    with pytest.raises(UnprocessableData, match=rf"^frame: .*({words})"):
        prepared(np.full((300, 250), value, np.float32))


def test_one_value_is_refused_beside_lost_rows_and_two_are_not():
    """What is not finite, before the first value and after it, is no other value."""
    data = np.full((300, 250), 7.0, np.float32)
    data[:20], data[100, 3:9] = np.nan, np.inf
    with pytest.raises(UnprocessableData, match="have the value 7"):
        prepared(data)
    data[250, 100:110] = 8.0
    assert prepared(data)[0].data.max() > 0.0


def test_mostly_saturated_frame_is_refused():
    data = raw_frame(100.0)
    data[:200] = 65535
    with pytest.raises(UnprocessableData, match="40000 of 60000 pixels are saturated"):
        prepared(data)


def test_saturated_areas_are_bright_not_unread():
    raw = raw_frame(100.0)
    raw[50:200, 100:180] = 65535.0
    frame, _ = prepared(raw)
    area = frame.quality[60:190, 90:150]
    assert area.size == 130 * 60
    assert np.all(area & np.int32(QualityFlag.SATURATED))
    assert not np.any(area & np.int32(QualityFlag.NO_DATA))
    assert frame.data[60:190, 90:150].min() > 30_000.0


def test_one_dead_quadrant_is_no_reason_to_refuse():
    data = raw_frame(100.0)
    data[:150, 20:120] = 0
    frame, _ = prepared(data)
    assert frame.shape == (300, 200)


def test_master_noise_is_shared():
    science, master = frame_of(10.0, 4.0), frame_of(3.0, 0.5)
    master.quality[2, 2] = int(QualityFlag.HOT)
    result = subtract_master(science, master)
    assert np.allclose(result.data, 7.0)
    assert np.allclose(result.variance, 4.5)
    assert np.allclose(result.shared_variance, 0.5)
    assert result.quality[2, 2] == int(QualityFlag.HOT)
    assert np.count_nonzero(result.quality) == 1
    twice = subtract_master(result, master, scale=2.0)
    assert np.allclose(twice.data, 1.0)
    assert np.allclose(twice.shared_variance, 2.5)
    assert np.all(twice.quality & int(QualityFlag.SCALED_DARK))
    assert science.data[0, 0] == 10.0
    with pytest.raises(ValueError, match="do not fit"):
        subtract_master(science, frame_of(0.0, shape=(3, 3)))


def test_flat_division_propagates_both_noises():
    pulls = []
    for seed in range(10):
        flat_noise = np.random.default_rng(100 + seed).normal(0, 0.01, (40, 50)).astype(np.float32)
        flat = frame_of(1.2, 1e-4)
        flat = flat.with_arrays(data=flat.data + flat_noise)
        science = frame_of(1200.0, 50.0, shared=0.0, seed=seed)
        result = divide_by_flat(science, flat)
        pulls.append((result.data - 1000.0) / np.sqrt(result.variance))
    pulls = np.array(pulls)
    assert pulls.std() == pytest.approx(1.0, abs=0.02)
    assert np.median(result.shared_variance) == pytest.approx(1000.0**2 * 1e-4 / 1.44, rel=0.05)


def test_flat_without_value_leaves_the_pixel():
    flat = frame_of(1.0)
    flat.data[1, 1], flat.data[2, 2] = 0.0, -1.0
    flat.quality[3, 3] = int(QualityFlag.NO_DATA)
    result = divide_by_flat(frame_of(5.0), flat)
    assert np.allclose(result.data, 5.0)
    flagged = (result.quality & int(QualityFlag.NO_FLAT)) != 0
    assert np.argwhere(flagged).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_lamp_off_cancels_what_both_share():
    random = np.random.default_rng(7)
    common = random.normal(0, 2, (40, 50)).astype(np.float32)
    on, off = (frame_of(value, 9.0, seed=seed) for value, seed in ((50.0, 1), (20.0, 2)))
    on, off = (
        frame.with_arrays(
            data=frame.data + common,
            variance=frame.variance + 4,
            shared_variance=np.full((40, 50), 4.0, np.float32),
        )
        for frame in (on, off)
    )
    off.quality[4, 4] = int(QualityFlag.COSMIC_RAY)
    result = subtract_off(on, off)
    assert ((result.data - 30.0) / np.sqrt(result.variance)).std() == pytest.approx(1.0, abs=0.05)
    assert np.allclose(result.variance, 18.0)
    assert result.quality[4, 4] == int(QualityFlag.COSMIC_RAY)
    several = subtract_off(on, [off, off.with_arrays(data=off.data + 2)])
    assert np.allclose(several.data, result.data - 1, atol=1e-4)
    assert np.allclose(several.variance, 9.0 + 9.0 / 2)


def test_local_signal_is_a_1_2_1_mean_up_to_the_border():
    data = np.random.default_rng(8).gamma(4.0, 25.0, (40, 30)).astype(np.float32)
    kernel = np.array([0.25, 0.5, 0.25])
    expected = correlate1d(
        correlate1d(data.astype(np.float64), kernel, 0, mode="nearest"), kernel, 1, mode="nearest"
    )
    assert np.allclose(local_signal(data), expected, rtol=1e-6)


@pytest.mark.parametrize("one_noise", [True, False])
@pytest.mark.parametrize("shape", [(150, 90), (5, 4), (1, 1)])
def test_local_signal_tells_faint_areas_and_sharp_features(shape, one_noise):
    """Against the plain form of its description: borders, running sums, both kinds of noise."""
    rng = np.random.default_rng(8)
    data = rng.normal(2.0, 6.0, shape).astype(np.float32)
    data[:, shape[1] // 2 :] += rng.poisson(400.0, (shape[0], shape[1] - shape[1] // 2))
    data[:: max(shape[0] // 9, 1), ::7] += 300.0
    data[3 :: max(shape[0] // 9, 1), 3::7] -= 60.0
    noise = np.full(shape, 6.0, np.float32) if one_noise else rng.uniform(4.0, 8.0, shape).astype(np.float32)
    kernel = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16.0
    smooth = convolve(data.astype(float), kernel, mode="nearest")
    faint = smooth < 3.0 * 0.375 * noise
    wide = convolve(np.minimum(data, 3.0 * noise).astype(float), np.full((7, 7), 1.0 / 49.0), mode="nearest")
    level = np.maximum(np.where(faint, np.minimum(wide, 3.0 * 0.375 * noise), smooth), 0.0)
    sharp = np.square(data - level) > np.where(faint, 16.0, 6.25) * (np.square(noise) + level)
    expected = np.where(sharp, np.maximum(data, 0.0), level)
    given = np.broadcast_to(np.float32(6.0), shape) if one_noise else noise
    assert np.allclose(local_signal(data, given), expected, rtol=1e-4, atol=1e-3)
    if data.size > 100:
        assert faint.any()
        assert (sharp & faint).any()
        assert (sharp & ~faint).any()


def test_local_signal_keeps_the_sum():
    data = np.zeros((9, 9), np.float32)
    data[4, 4] = 16.0
    smooth = local_signal(data)
    assert smooth.sum() == pytest.approx(16.0)
    assert smooth[4, 4] == pytest.approx(4.0)
