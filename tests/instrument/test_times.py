from __future__ import annotations

import math

import pytest

from soxs_recipes.instrument.times import (
    end_time,
    iso_from_mjd,
    mean_mid_time,
    mid_time,
    mid_time_differences,
    mjd_from_iso,
    observation_mjd,
)


@pytest.mark.parametrize(
    ("text", "mjd"),
    [("1858-11-17T00:00:00", 0.0), ("2000-01-01T12:00:00", 51544.5), ("2026-02-03T04:05:06.789", 61074.170217465)],
)
def test_both_ways(text, mjd):
    assert mjd_from_iso(text) == pytest.approx(mjd, abs=1e-9)
    assert iso_from_mjd(mjd_from_iso(text))[: len(text)] == text


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00"])
def test_no_date(text):
    assert math.isnan(mjd_from_iso(text))
    assert iso_from_mjd(math.nan) == iso_from_mjd(1e12) == ""


def test_either_keyword():
    assert observation_mjd({"MJD-OBS": 61000, "DATE-OBS": "2000-01-01T12:00:00"}) == 61000.0
    assert observation_mjd({"MJD-OBS": "x", "DATE-OBS": "2000-01-01T12:00:00"}) == 51544.5
    assert math.isnan(observation_mjd({}))


def test_the_end_of_an_exposure():
    start, second = 61000.25, 1.0 / 86400.0
    end = start + 600 * second
    assert end_time(start, end=end, exposure_time=20.0) == end
    assert end_time(start, end=start, exposure_time=0.0) == start
    assert end_time(start, end=start - 5 * second, exposure_time=600.0) == end
    assert end_time(start, exposure_time=600.0) == end
    assert end_time(math.nan, end=end, exposure_time=600.0) == end
    assert math.isnan(end_time(start))


def test_the_middle_of_an_exposure():
    start, second = 61000.25, 1.0 / 86400.0
    middle = start + 300 * second
    assert mid_time(start, end=start + 600 * second, exposure_time=600.0) == pytest.approx(middle, abs=1e-9)
    assert mid_time(start, end=start + 610 * second, exposure_time=600.0) > middle + 4 * second
    assert mid_time(start, exposure_time=600.0) == pytest.approx(middle, abs=1e-9)
    assert mid_time(start, end=start - 5 * second, exposure_time=600.0) == pytest.approx(middle, abs=1e-9)
    assert mid_time(start, end=start + 1.0, exposure_time=600.0) == pytest.approx(middle, abs=1e-9)
    assert mid_time(start, end=start + 600 * second) == pytest.approx(middle, abs=1e-9)
    assert math.isnan(mid_time(start))
    assert math.isnan(mid_time(math.nan, exposure_time=600.0))


def test_the_mean_of_middles_keeps_microseconds():
    second = 1.0 / 86400.0
    mids = [61000.0, 61000.0 + 1e-5 * second]
    assert (mean_mid_time(mids, [1.0, 1.0]) - 61000.0) * 86400 == pytest.approx(5e-6, abs=1e-6)
    assert mean_mid_time([61000.0, 61001.0], [3.0, 1.0]) == pytest.approx(61000.25, abs=1e-9)
    assert math.isnan(mean_mid_time([], []))
    assert math.isnan(mean_mid_time([61000.0], [0.0]))
    assert math.isnan(mean_mid_time([61000.0, math.nan], [1.0, 1.0]))


def test_synchronised_arms():
    second = 1.0 / 86400.0
    optical = [61000.0, 61000.01]
    infrared = [61000.01 + 2 * second, 61000.0 - 3 * second, math.nan]
    assert mid_time_differences(optical, infrared) == pytest.approx([3.0, -2.0], abs=1e-5)
    assert mid_time_differences(infrared[:2], optical) == pytest.approx([2.0, -3.0], abs=1e-5)
    assert all(math.isnan(value) for value in mid_time_differences(optical, [math.nan]))
