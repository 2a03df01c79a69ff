import math

import pytest

from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.barycentre import barycentric_velocity

# The Earth moves towards 90 deg west of the Sun: at the beginning of March (Sun at 341 deg) towards 251 deg.
APEX_RA, APEX_DEC = 249.3, -22.2
MJD = 61101.1


def test_the_earth_s_motion_stands_in_full_towards_its_apex():
    towards = barycentric_velocity(APEX_RA, APEX_DEC, MJD, load_instrument())
    away = barycentric_velocity(APEX_RA - 180, -APEX_DEC, MJD, load_instrument())
    assert towards == pytest.approx(30.0, abs=1.0)  # positive: moving towards the source, lines are seen too blue
    assert towards == pytest.approx(-away, abs=0.05)


def test_half_a_year_turns_the_sign():
    now = barycentric_velocity(APEX_RA, APEX_DEC, MJD, load_instrument())
    later = barycentric_velocity(APEX_RA, APEX_DEC, MJD + 182.6, load_instrument())
    assert now == pytest.approx(-later, abs=1.5)


def test_a_missing_number_gives_no_value():
    assert math.isnan(barycentric_velocity(math.nan, 0.0, MJD, load_instrument()))
