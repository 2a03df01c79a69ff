from __future__ import annotations

import numpy as np
import pytest

from soxs_recipes.reduction.frames.reference_pixels import mean_pattern, reference_level, reference_pattern

NY, NX, BORDER, NOISE = 512, 512, 4, 3.0


def readout(seed=1, groups=None, rows=None, level=60.0):
    random = np.random.default_rng(seed)
    data = level + random.normal(0, NOISE, (NY, NX))
    if groups is not None:
        data += np.repeat(groups, NX // len(groups))[None, :]
    if rows is not None:
        data += rows[:, None]
    return data.astype(np.float32)


def test_level_alone_is_one_number():
    errors = []
    for seed in range(20):
        found = reference_level(readout(seed), BORDER)
        assert not found.per_group
        assert found.row_window == 0
        assert np.ptp(found.level) == 0
        errors.append((found.level[0, 0] - 60.0) / np.sqrt(found.variance))
    assert len(errors) == 20
    assert abs(np.mean(errors)) < 0.7
    assert 0.6 < np.std(errors) < 1.5
    assert found.noise == pytest.approx(NOISE, rel=0.05)


def test_groups_of_columns_are_corrected_when_they_differ():
    groups = np.random.default_rng(3).normal(0, 8, 32)
    data = readout(groups=groups)
    found = reference_level(data, BORDER)
    assert found.per_group
    left = (data - found.level)[BORDER:-BORDER, BORDER:-BORDER].mean(axis=0)
    assert np.std(np.add.reduceat(left, np.arange(0, left.size, 16)) / 16) < 1.0


def test_rows_are_followed_when_they_drift():
    rows = 10 * np.sin(np.arange(NY) / 80.0)
    data = readout(rows=rows)
    found = reference_level(data, BORDER)
    assert found.row_window > 1
    assert np.std((data - found.level).mean(axis=1)) < 0.6
    assert found.drift == pytest.approx(20.0, abs=4.0)


def test_what_a_master_keeps_is_not_corrected_twice():
    groups = np.random.default_rng(3).normal(0, 8, 32)
    rows = 4 * np.exp(-np.arange(NY) / 50.0)
    pattern = mean_pattern([reference_pattern(readout(seed, groups, rows), BORDER) for seed in range(5)])
    assert pattern.frames == 5
    found = reference_level(readout(50, groups, rows), BORDER, static=pattern)
    assert not found.per_group
    assert found.row_window == 0
    drifted = groups + np.where(np.arange(32) == 7, 30.0, 0.0)
    found = reference_level(readout(51, drifted, rows), BORDER, static=pattern)
    assert found.per_group
    step = found.level[:, 7 * 16 : 8 * 16].mean() - found.level[:, 8 * 16 :].mean()
    assert step == pytest.approx(30.0, abs=2.0)


@pytest.mark.parametrize("fill", [np.nan, 0.0])
def test_border_without_information_is_refused(fill):
    data = readout()
    inside = data[BORDER:-BORDER, BORDER:-BORDER].copy()
    data[:] = fill
    data[BORDER:-BORDER, BORDER:-BORDER] = inside
    assert reference_level(data, BORDER) is None
    assert reference_pattern(data, BORDER) is None


def test_width_that_groups_do_not_divide():
    found = reference_level(readout()[:, :500], BORDER)
    assert found is not None
    assert not found.per_group


def test_outliers_in_the_border_do_no_harm():
    data = readout()
    data[1, ::40] = 5000
    data[100, 2] = 3000
    data[::60, 2] = np.nan
    found = reference_level(data, BORDER)
    assert found.level.mean() == pytest.approx(60.0, abs=0.3)
    assert np.ptp(found.level) < 3.0


@pytest.mark.parametrize("light", [30.0, 3000.0])
def test_light_on_the_border_is_not_taken_for_a_level(light):
    """Frames whose border pixels see light (no true reference pixels) keep their orders."""
    y = np.arange(NY)
    orders = ((y // 20) % 4 == 1) & (y < 480)
    data = readout()
    data += (orders[:, None] * np.linspace(light, 0.3 * light, NX)[None, :]).astype(np.float32)
    found = reference_level(data, BORDER)
    assert found.row_window == 0
    assert np.ptp(found.level) < 1e-3
    assert found.level.mean() == pytest.approx(60.0, abs=0.5)
