"""The static tables of flux calibration as what the algorithms take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soxs_recipes.data.response import Response
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.reduction.flux.flux_calibration import ExtinctionCurve
    from soxs_recipes.reduction.flux.response import StandardSpectrum, TelluricTransmission
    from soxs_recipes.reduction.flux.standard_stars import CatalogueStar

__all__ = [
    "airmass_of",
    "flux_tables",
    "pointing_of",
    "read_extinction",
    "read_star",
    "read_stars",
    "read_transmission",
]


def read_extinction(path: str | Path) -> ExtinctionCurve:
    """Curve of an EXTCOEFF_TABLE."""
    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.flux.flux_calibration import ExtinctionCurve

    table = read_table(path, 1)
    return ExtinctionCurve(_column(table, "WAVELENGTH", path), _column(table, "EXTINCTION", path))


def read_transmission(path: str | Path) -> TelluricTransmission:
    """Transmission of the molecules at the zenith of a TELLURIC_TRANSMISSION table."""
    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.flux.response import TelluricTransmission

    table = read_table(path, 1)
    return TelluricTransmission(_column(table, "WAVELENGTH", path), _column(table, "MOLECULES", path))


def flux_tables(inputs: Inputs, used: Sequence[Path]) -> tuple[Response, ExtinctionCurve, float] | None:
    """Response, extinction and mean airmass with which exposures are calibrated; None without any response.

    The archive's response stands in for one of the night, which marks the products.
    """
    import math

    from soxs_recipes.fits_files import read_response

    table = inputs.calibration("RESP_TAB")
    if table is None:
        table = inputs.calibration("RESP_ARCHIVE")
        if table is not None:
            inputs.mark_partial("no RESP_TAB: the archive's response is used")
    if table is None:
        return None
    inputs.mark_if_partial(table, "RESP_TAB")
    airmasses = [value for path in used if math.isfinite(value := airmass_of(inputs, path))]
    airmass = math.fsum(airmasses) / max(len(airmasses), 1)
    if not airmasses:
        airmass = 1.0
        inputs.mark_partial("no airmass in the header: extinction is that of the zenith")
    return read_response(table), read_extinction(inputs.calibration("EXTCOEFF_TABLE")), airmass


def read_stars(path: str | Path) -> dict[CatalogueStar, str]:
    """Stars of a FLUX_STD_CATALOG with the name of the extension that holds each one's spectrum."""
    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.flux.standard_stars import CatalogueStar

    index = read_table(path, "INDEX")
    names = ("NAME", "EXTENSION", "RA", "DEC", "EPOCH", "PM_RA", "PM_DEC", "ALIASES")
    stars = {}
    for name, extension, *place, aliases in zip(*(_column(index, key, path) for key in names), strict=True):
        ra, dec, epoch, motion_ra, motion_dec = map(float, place)
        known = tuple(alias.strip() for alias in str(aliases).split(";") if alias.strip())
        star = CatalogueStar(str(name).strip(), known, ra, dec, epoch, (motion_ra, motion_dec))
        stars[star] = str(extension).strip()
    return stars


def read_star(path: str | Path, extension: str) -> StandardSpectrum:
    """Spectrum of one star of a FLUX_STD_CATALOG."""
    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.flux.response import StandardSpectrum

    table = read_table(path, extension)
    return StandardSpectrum(_column(table, "WAVELENGTH", path), _column(table, "FLUX", path))


def _column(table: dict, name: str, path: str | Path):
    import numpy as np

    if name not in table:
        raise InputError(f"{path}: has no column {name}; it holds {', '.join(table)}")
    values = np.asarray(table[name])
    return values.astype(np.float64) if values.dtype.kind in "fiu" else values


def airmass_of(inputs: Inputs, path: Path | None = None) -> float:
    """Mean airmass of an exposure: of start and end, or by the telescope's altitude; NaN when unknown."""
    import math

    stated = [_number(inputs.keyword(name, path)) for name in ("AIRMASS_START", "AIRMASS_END")]
    known = [value for value in stated if math.isfinite(value) and value >= 1.0]
    if known:
        return sum(known) / len(known)
    altitude = _number(inputs.keyword("ALTITUDE", path))
    if 5.0 < altitude <= 90.0:
        return 1.0 / math.sin(math.radians(altitude))
    return math.nan


def pointing_of(inputs: Inputs, path: Path | None = None) -> tuple[float, float]:
    """(RA, Dec) [deg] of an exposure, whether the header holds degrees or h m s and d m s; NaN when unknown."""
    import math

    right_ascension, declination = inputs.keyword("RA", path), inputs.keyword("DEC", path)
    place = [_number(right_ascension), _number(declination)]
    if all(math.isfinite(value) for value in place):
        return place[0], place[1]
    return 15.0 * _sexagesimal(right_ascension), _sexagesimal(declination)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def _sexagesimal(text: object) -> float:
    words = str(text).replace(":", " ").split()
    if not 2 <= len(words) <= 3:
        return float("nan")
    values = [abs(_number(word)) for word in words]
    total = sum(value / 60.0**place for place, value in enumerate(values))
    return -total if words[0].startswith("-") else total
