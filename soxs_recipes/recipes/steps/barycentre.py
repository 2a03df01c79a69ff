"""The barycentric correction of an exposure: stated in products, never applied."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soxs_recipes.instrument.model import Instrument
    from soxs_recipes.recipes.framework.inputs import Inputs

__all__ = ["barycentric_velocity", "mean_barycentric_velocity"]

_MJD_ZERO = 2400000.5
_LIGHT = 299792458.0  # m/s
_AU = 149597870700.0  # m
_DAY = 86400.0  # s
_GM_SUN, _GM_EARTH = 1.32712440018e20, 3.986004418e14  # m^3/s^2


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
    # astropy's own SkyCoord.radial_velocity_correction gives the same to a cm/s, but reads tables of the Earth's
    # rotation for more than a second; those matter by less than a mm/s.
    import erfa
    import numpy as np

    utc = (_MJD_ZERO, mjd)
    with warnings.catch_warnings():
        # Of leap seconds that nobody can know yet.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        terrestrial = erfa.taitt(*erfa.utctai(*utc))
    from_sun, earth = erfa.epv00(*terrestrial)
    place = (math.radians(instrument.longitude), math.radians(instrument.latitude), instrument.altitude)
    site = erfa.pvtob(*place, 0.0, 0.0, 0.0, erfa.era00(*utc))
    spin = erfa.trxp(erfa.c2i06a(*terrestrial), site["v"])
    beta = (earth["v"] * _AU / _DAY + spin) / _LIGHT
    potential = _GM_SUN / (_AU * np.linalg.norm(from_sun["p"])) + _GM_EARTH / np.linalg.norm(site["p"])
    towards = erfa.s2c(math.radians(ra), math.radians(dec))
    # Wright & Eastman 2014, equation 28, without light's delay and the star's own motion.
    ratio = (1.0 + beta @ towards) / math.sqrt(1.0 - beta @ beta) / (1.0 - potential / _LIGHT**2)
    return float(ratio - 1.0) * _LIGHT / 1000.0


def mean_barycentric_velocity(inputs: Inputs, exposures: Sequence[Path]) -> float:
    """Mean over exposures of the correction at their mid-times [km/s]; NaN when headers do not tell."""
    velocities = []
    for path in exposures:
        start, duration = (_number(inputs.keyword(name, path)) for name in ("MJD_OBS", "EXPTIME"))
        ra, dec = (_number(inputs.keyword(name, path)) for name in ("RA", "DEC"))
        velocities.append(barycentric_velocity(ra, dec, start + 0.5 * duration / _DAY, inputs.instrument))
    return math.fsum(velocities) / len(velocities) if velocities else math.nan


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
