from __future__ import annotations

import numpy as np
import pytest

from soxs_recipes.reduction.frames.overscan import overscan_level, smooth_by_risk


def strip(seed=1, rows=2000, columns=50, noise=1.9, level=500.0, drift=None):
    random = np.random.default_rng(seed)
    values = level + random.normal(0, noise, (rows, columns)) + random.normal(0, 0.4, columns)[None, :]
    if drift is not None:
        values += drift[:, None]
    return np.rint(values).astype(np.float32)


def test_constant_level_is_found_without_bias():
    errors = []
    for seed in range(30):
        found = overscan_level(strip(seed, level=500.3))
        # The strip's columns have levels of their own, whose mean belongs to the level.
        random = np.random.default_rng(seed)
        random.normal(0, 1.9, (2000, 50))
        truth = 500.3 + random.normal(0, 0.4, 50)[5:].mean()
        assert found.window == 0
        errors.append((found.level.mean() - truth) / np.sqrt(found.variance))
    assert len(errors) == 30
    assert abs(np.mean(errors)) < 0.55
    assert 0.7 < np.std(errors) < 1.4


def test_noise_is_that_of_the_pixels_not_of_the_columns():
    found = overscan_level(strip())
    assert found.noise == pytest.approx(np.hypot(1.9, np.sqrt(1 / 12)), rel=0.01)


@pytest.mark.parametrize("scale", [60.0, 400.0])
def test_drift_is_followed(scale):
    rows = np.arange(2000)
    drift = 5.0 * np.exp(-rows / scale)
    found = overscan_level(strip(drift=drift))
    residual = found.level - drift - np.mean(found.level - drift)
    assert found.window > 0
    assert np.sqrt(np.square(residual).mean()) < 0.2
    assert found.drift == pytest.approx(5.0, abs=1.0)


def test_banding_from_row_to_row_is_not_smoothed_away():
    drift = np.random.default_rng(5).normal(0, 4.0, 2000)
    found = overscan_level(strip(drift=drift))
    assert found.window == 1
    assert np.std(found.level - drift) < 0.4


def test_cosmic_rays_and_trailing_charge_do_no_harm():
    clean = overscan_level(strip()).level.mean()
    hit = strip()
    hit[::37, 20] += 3000
    hit[:, :4] += 6
    hit[5, 7] = np.nan
    assert overscan_level(hit).level.mean() == pytest.approx(clean, abs=0.05)
    mirrored = overscan_level(hit[:, ::-1], trailing_side="high").level.mean()
    assert mirrored == pytest.approx(clean, abs=0.05)
    assert overscan_level(hit[:, ::-1]).level.mean() > clean + 0.2


def test_dead_overscan_has_no_noise():
    found = overscan_level(np.full((100, 30), 7.0, np.float32))
    assert (found.noise, found.drift) == (0.0, 0.0)
    assert np.all(found.level == 7.0)


def test_empty_overscan_is_refused():
    with pytest.raises(ValueError, match="no finite"):
        overscan_level(np.full((10, 10), np.nan, np.float32))


def test_smoothing_takes_the_constant_for_noise_alone():
    chosen = [smooth_by_risk(np.random.default_rng(seed).normal(0, 1, 1000), 1.0)[1] for seed in range(200)]
    assert len(chosen) == 200
    assert np.count_nonzero(chosen) <= 4


def test_smoothing_keeps_a_trend_to_its_ends():
    rows = np.linspace(0, 50, 1000) + np.random.default_rng(2).normal(0, 1, 1000)
    smooth, window, variance = smooth_by_risk(rows, 1.0)
    assert window > 17
    assert abs(smooth[0] - 0) < 1.0
    assert abs(smooth[-1] - 50) < 1.0
    assert variance == pytest.approx(1.0 / window)
