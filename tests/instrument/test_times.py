from __future__ import annotations

import math

import pytest

from soxs_recipes.instrument.times import iso_from_mjd, mjd_from_iso, observation_mjd


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
