"""FLUX_STD_CATALOG: spectrophotometric standards, positions with proper motion, spectra in vacuum and at rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sources import Sources
from tables import column, table, write

from soxs_recipes.data.wavelengths import air_to_vacuum

NAN = float("nan")
FIRST, LAST = 305.0, 2400.0  # nm
FINE, COARSE, MIDDLE = 0.1, 0.5, 0.2  # nm: to 1000 nm, beyond, and beyond near hydrogen lines
RYDBERG = 91.17634  # nm, hydrogen, vacuum


@dataclass(frozen=True)
class Star:
    """A standard: ICRS position at epoch 2000 [h m s, d m s], proper motion [mas/yr, RA with cos Dec], V, km/s."""

    column: str
    name: str
    right_ascension: tuple[int, int, float]
    declination: tuple[int, int, int, float]
    proper_motion: tuple[float, float]
    magnitude: float
    velocity: float
    aliases: tuple[str, ...]


# Positions and proper motions: SIMBAD (Hipparcos, Gaia DR2), rounded to what a match within some arcseconds needs;
# radial velocities: SIMBAD, gravitational redshift included, NaN where there is none.
STARS = (
    Star("GD71", "GD 71", (5, 52, 27.62), (1, 15, 53, 13.2), (77.0, -173.0), 13.03, 12.0,
         ("WD 0549+158", "EGGR 210", "LTT 11733", "NLTT 15730", "FS 12")),
    Star("LTT3218", "LTT 3218", (8, 41, 32.43), (-1, 32, 56, 32.9), (-1055.0, 1350.0), 11.86, 29.3,
         ("CD-32 5613", "WD 0839-327", "GJ 318", "LHS 253", "EGGR 62", "LAWD 28", "L 532-81")),
    Star("GD153", "GD 153", (12, 57, 2.33), (1, 22, 1, 52.6), (-38.0, -203.0), 13.35, 67.0,
         ("WD 1254+223", "EGGR 187", "LTT 13724", "NLTT 32398", "FS 33")),
    Star("EG274", "EG 274", (16, 23, 33.84), (-1, 39, 13, 46.2), (75.0, 0.0), 11.03, 13.0,
         ("CD-38 10980", "WD 1620-391", "EGGR 274", "HIP 80300", "GJ 620.1 B", "CPD-38 6406")),
    Star("LTT7987", "LTT 7987", (20, 10, 56.85), (-1, 30, 13, 6.6), (-345.0, -252.0), 12.23, 75.4,
         ("CD-30 17706", "WD 2007-303", "GJ 2147", "HIP 99438", "EC 20078-3022", "L 565-18")),
    Star("Feige110", "Feige 110", (23, 19, 58.40), (-1, 5, 9, 56.2), (-10.7, 0.3), 11.83, NAN,
         ("WD 2317-054", "EGGR 158", "HIP 115195", "PHL 464", "FB 186", "GJ 894.3")),
    Star("EG21", "EG 21", (3, 10, 31.02), (-1, 68, 36, 3.4), (40.0, -105.0), 11.39, NAN,
         ("CPD-69 177", "WD 0310-688", "EGGR 21", "LTT 1561", "HIP 14754", "GJ 127.1 A", "LB 3303")),
)  # fmt: skip


def hydrogen_lines() -> np.ndarray:
    """Vacuum wavelengths [nm] of the Paschen and Brackett lines in range."""
    series = [
        RYDBERG / (1.0 / lower**2 - 1.0 / np.arange(lower + 1, upper + 1) ** 2)
        for lower, upper in ((3, 12), (4, 20))
    ]
    lines = np.concatenate(series)
    return np.sort(lines[(lines > 900.0) & (lines < LAST)])


def bin_edges() -> np.ndarray:
    """Edges of the table's bins."""
    edges = [*np.arange(FIRST, 1000.0, FINE)]
    lines = hydrogen_lines()
    position = 1000.0
    while position < LAST:
        edges.append(position)
        position += MIDDLE if np.abs(lines - position).min() < 8.0 else COARSE
    return np.array(edges)


def bin_means(wavelength: np.ndarray, flux: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean flux between edges, the spectrum taken as straight between its samples."""
    steps = np.diff(wavelength)
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (flux[1:] + flux[:-1]) * steps)])
    # Within a step the integral is a parabola.
    index = np.clip(np.searchsorted(wavelength, edges, side="right") - 1, 0, len(steps) - 1)
    offset = edges - wavelength[index]
    slope = (flux[index + 1] - flux[index]) / steps[index]
    at_edges = integral[index] + flux[index] * offset + 0.5 * slope * offset**2
    return np.diff(at_edges) / np.diff(edges)


def _index(stars: tuple[Star, ...]) -> object:
    right_ascension = [15.0 * (h + m / 60 + s / 3600) for h, m, s in (star.right_ascension for star in stars)]
    declination = [sign * (d + m / 60 + s / 3600) for sign, d, m, s in (star.declination for star in stars)]
    columns = [
        column("NAME", np.array([star.name for star in stars])),
        column("EXTENSION", np.array([star.column.upper() for star in stars])),
        column("RA", np.array(right_ascension), "deg"),
        column("DEC", np.array(declination), "deg"),
        column("EPOCH", np.full(len(stars), 2000.0), "yr"),
        column("PM_RA", np.array([star.proper_motion[0] for star in stars]), "mas yr-1"),
        column("PM_DEC", np.array([star.proper_motion[1] for star in stars]), "mas yr-1"),
        column("V", np.array([star.magnitude for star in stars], np.float32), "mag"),
        column("VELOCITY", np.array([star.velocity for star in stars], np.float32), "km s-1"),
        column("ALIASES", np.array([";".join(star.aliases) for star in stars])),
    ]
    comments = {
        "RA": "ICRS, at EPOCH",
        "PM_RA": "with cos(DEC)",
        "VELOCITY": "with gravitational redshift; NaN unknown",
        "ALIASES": "separated by semicolons",
    }
    return table("INDEX", columns, comments)


def build(sources: Sources) -> None:
    """Write the catalogue."""
    spectra = sources.soxspipe_table("soxs/flux_standards.fits")
    wavelength = air_to_vacuum(np.asarray(spectra["WAVE"], float))
    edges = bin_edges()
    hdus = [_index(STARS)]
    for star in STARS:
        flux = bin_means(wavelength, np.asarray(spectra[star.column], float), edges)
        columns = [
            column("WAVELENGTH", 0.5 * (edges[1:] + edges[:-1]), "nm"),
            column("FLUX", flux.astype(np.float32), "erg s-1 cm-2 Angstrom-1"),
        ]
        hdus.append(table(star.column.upper(), columns, {"WAVELENGTH": "vacuum, star at rest"}))
    history = [
        "Model spectra scaled to X-shooter data: Moehler et al. 2014, A&A 568, A9",
        "(EG 21: as shipped with soxspipe). Source in air, here vacuum (Morton 2000).",
        "Means in bins of 0.1 nm (< 1000 nm), 0.5 nm, 0.2 nm near hydrogen lines.",
        "Positions, motions, velocities: SIMBAD (Hipparcos, Gaia DR2), rounded.",
    ]
    write("FLUX_STD_CATALOG", hdus, sources.take(), history)
