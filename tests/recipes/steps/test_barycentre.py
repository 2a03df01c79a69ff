import math

import pytest

from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.steps.barycentre import barycentric_velocity

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


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning", "ignore::erfa.ErfaWarning")
@pytest.mark.parametrize(
    ("ra", "dec", "mjd"), [(10.0, -30.0, 61000.1), (250.0, -80.0, 60500.2), (80.0, 5.0, 65200.9)]
)
def test_it_agrees_with_astropy(ra, dec, mjd):
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    instrument = load_instrument()
    site = EarthLocation.from_geodetic(instrument.longitude, instrument.latitude, instrument.altitude)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        shift = SkyCoord(ra * units.deg, dec * units.deg).radial_velocity_correction(
            "barycentric", Time(mjd, format="mjd"), location=site
        )
    expected = shift.to_value(units.km / units.s)
    assert barycentric_velocity(ra, dec, mjd, instrument) == pytest.approx(expected, abs=1e-4)
