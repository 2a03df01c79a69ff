"""The barycentric correction of an exposure: stated in products, never applied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soxs_recipes.instrument.model import Instrument
    from soxs_recipes.recipes.inputs import Inputs

__all__ = ["barycentric_velocity", "mean_barycentric_velocity"]


def barycentric_velocity(ra: float, dec: float, mjd: float, instrument: Instrument) -> float:
    """Velocity to add to measured ones to refer them to the solar system's barycentre.

    Parameters
    ----------
    ra, dec : float [deg]
        Where the telescope looks, ICRS.
    mjd : float
        UTC, mid-exposure.
    instrument : Instrument
        Where it stands.

    Returns
    -------
    float [km/s]
        Good to some m/s (Wright & Eastman 2014, PASP 126, 838); NaN when a number is missing.
    """
    if not all(math.isfinite(value) for value in (ra, dec, mjd)):
        return math.nan
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    site = EarthLocation.from_geodetic(instrument.longitude, instrument.latitude, instrument.altitude)
    target = SkyCoord(ra * units.deg, dec * units.deg)
    # The rotation of the Earth is known well enough from the tables at hand; nothing is fetched.
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        shift = target.radial_velocity_correction("barycentric", Time(mjd, format="mjd"), location=site)
    return float(shift.to_value(units.km / units.s))


def mean_barycentric_velocity(inputs: Inputs, exposures: Sequence[Path]) -> float:
    """Mean over exposures of the correction at their mid-times [km/s]; NaN when headers do not tell."""
    velocities = []
    for path in exposures:
        start, duration = (_number(inputs.keyword(name, path)) for name in ("MJD_OBS", "EXPTIME"))
        ra, dec = (_number(inputs.keyword(name, path)) for name in ("RA", "DEC"))
        velocities.append(barycentric_velocity(ra, dec, start + 0.5 * duration / 86400.0, inputs.instrument))
    return math.fsum(velocities) / len(velocities) if velocities else math.nan


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
