"""Which catalogue star was observed: by position with proper motion, then by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CatalogueStar", "StarMatch", "match_star", "normalised_name"]

MJD_2000 = 51544.5
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class CatalogueStar:
    """Where a standard stands and what it is called.

    Attributes
    ----------
    name : str
    aliases : tuple of str
    right_ascension, declination : float [deg], at `epoch`
    epoch : float [Julian year]
    motion : (float, float) [mas/yr]
        Proper motion in right ascension (with cos Dec) and declination.
    """

    name: str
    aliases: tuple[str, ...]
    right_ascension: float
    declination: float
    epoch: float
    motion: tuple[float, float]

    def position(self, mjd: float) -> tuple[float, float]:
        """(RA, Dec) [deg] at a date; at `epoch` when the date is NaN."""
        years = 2000.0 + (mjd - MJD_2000) / DAYS_PER_YEAR - self.epoch if np.isfinite(mjd) else 0.0
        cosine = np.cos(np.radians(self.declination))
        return (
            self.right_ascension + years * self.motion[0] / 3.6e6 / cosine,
            self.declination + years * self.motion[1] / 3.6e6,
        )


@dataclass(frozen=True, slots=True)
class StarMatch:
    """The star found, how ("position" or "name"), and its distance [arcsec] from its place (NaN unknown)."""

    star: CatalogueStar
    by: str
    separation: float


def normalised_name(name: str) -> str:
    """Letters and digits only, upper case: "CD-32 5613" and "cd_325613" are one name."""
    return re.sub(r"[^A-Z0-9]", "", str(name).upper())


def _separation(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Great-circle distance [arcsec] of two positions [deg], exact at small distances."""
    (ra1, dec1), (ra2, dec2) = np.radians(first), np.radians(second)
    half = np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    return float(np.degrees(2 * np.arcsin(np.sqrt(min(half, 1.0)))) * 3600.0)


def match_star(
    stars: Sequence[CatalogueStar],
    right_ascension: float,
    declination: float,
    mjd: float,
    names: Iterable[str] = (),
    radius: float = 15.0,
) -> StarMatch | None:
    """The catalogue star that was observed, None when no star fits.

    Parameters
    ----------
    stars : sequence of CatalogueStar
    right_ascension, declination : float [deg]
        Where the telescope pointed; NaN when unknown.
    mjd : float
        Date, for proper motion; NaN when unknown.
    names : iterable of str
        What the headers call the target.
    radius : float [arcsec]
        A star is matched by position within this.

    Notes
    -----
    A header may give the position at the date or at the catalogue's epoch: the nearer counts. A name serves when
    no position does, and also when the pointing is off, since a name that fits is no accident.
    """
    wanted = {normalised_name(name) for name in names} - {""}
    pointed = np.isfinite(right_ascension) and np.isfinite(declination)
    found = []
    for star in stars:
        here = (right_ascension, declination)
        places = (star.position(mjd), (star.right_ascension, star.declination))
        distance = min(_separation(here, place) for place in places) if pointed else float("nan")
        named = bool(wanted & {normalised_name(name) for name in (star.name, *star.aliases)})
        found.append((distance, named, star))
    near = [entry for entry in found if entry[0] <= radius]
    if near:
        distance, _, star = min(near, key=lambda entry: entry[0])
        return StarMatch(star, "position", distance)
    for distance, named, star in found:
        if named:
            return StarMatch(star, "name", distance)
    return None
