"""EXTCOEFF_TABLE: atmospheric extinction of La Silla, 300 to 2500 nm."""

from __future__ import annotations

import numpy as np
from sources import Sources
from tables import column, table, write

LAST_MEASURED = 900.0  # nm
RAYLEIGH_AT_550 = 0.0774  # mag per airmass at 2400 m, Hansen & Travis 1974 scaled to 770 hPa
AEROSOL_EXPONENT = 1.4


def extrapolation(wavelength: np.ndarray, anchor: float, value: float) -> np.ndarray:
    """Rayleigh lambda^-4 and aerosol lambda^-1.4, scaled together to meet `value` at `anchor`."""
    rayleigh = RAYLEIGH_AT_550 * (550.0 / wavelength) ** 4
    rayleigh_anchor = RAYLEIGH_AT_550 * (550.0 / anchor) ** 4
    if value >= rayleigh_anchor:
        return rayleigh + (value - rayleigh_anchor) * (anchor / wavelength) ** AEROSOL_EXPONENT
    return rayleigh * value / rayleigh_anchor


def build(sources: Sources) -> None:
    """Write the table."""
    shipped = sources.soxspipe_table("soxs/extinction_lasilla.fits")
    wavelength = np.asarray(shipped["WAVE"], float) / 10.0
    extinction = np.asarray(shipped["MAG_AIRMASS"], float)
    keep = wavelength <= LAST_MEASURED
    wavelength, extinction = wavelength[keep], extinction[keep]
    # The last values are given to 0.01 mag: the level at 900 nm is the mean from 800 nm on, in log lambda.
    tail = wavelength >= 800.0
    level = float(extinction[tail].mean() * (wavelength[tail].mean() / LAST_MEASURED) ** 2)
    beyond = np.arange(LAST_MEASURED + 25.0, 2501.0, 25.0)
    # Below 310 nm (ozone) the curve goes on as steeply as it ends.
    slope = (extinction[0] - extinction[1]) / (wavelength[1] - wavelength[0])
    first = np.array([300.0])
    all_wavelengths = np.concatenate([first, wavelength, beyond])
    values = np.concatenate(
        [extinction[0] + slope * (wavelength[0] - first), extinction, extrapolation(beyond, LAST_MEASURED, level)]
    )
    measured = (all_wavelengths >= wavelength[0]) & (all_wavelengths <= LAST_MEASURED)
    columns = [
        column("WAVELENGTH", all_wavelengths, "nm"),
        column("EXTINCTION", values, "mag"),
        column("MEASURED", measured),
    ]
    history = [
        "La Silla extinction, magnitudes per airmass: ESO's curve (310 to 900 nm, as",
        "shipped by soxspipe; given to 0.01 mag), then Rayleigh lambda^-4 and aerosol",
        "lambda^-1.4 (Patat et al. 2011, A&A 527, A91) matched to it. Wavelengths: the",
        "difference of air and vacuum is nothing to this curve. No telluric bands.",
    ]
    comments = {"EXTINCTION": "per airmass", "MEASURED": "false where extrapolated"}
    write("EXTCOEFF_TABLE", [table("EXTINCTION", columns, comments)], sources.take(), history)
