"""The lists that the sky and the lamps of the simulator start from, read from the static calibrations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.instrument.paths import static_calibration_path
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.hardware import arm_hardware, generator

__all__ = [
    "AIRGLOW_FAMILIES",
    "EmissionLines",
    "airglow_family",
    "extinction_curve",
    "lamp_lines",
    "sky_lines",
    "standard_star",
    "telluric_curve",
]

# Vibrational constants of the hydroxyl radical [1/cm] (Herzberg 1950; NIST WebBook).
_OMEGA, _ANHARMONICITY, _CUBIC = 3737.76, 84.881, 0.541
AIRGLOW_FAMILIES = 10  # upper levels 1 to 9, and atoms
_ATOMIC = np.array([557.89, 589.16, 589.76, 630.20, 636.55])  # nm, vacuum: O I and Na I


@dataclass(frozen=True, slots=True)
class EmissionLines:
    """Lines as they truly are in one seed's lamp or sky.

    Attributes
    ----------
    wavelength : ndarray (n,) float64 [nm]
        Vacuum, true.
    strength : ndarray (n,) float64
        Lamp: e- of a pinhole image at the peak of the blaze in the nominal exposure.
        Sky: photon/s/m2/arcsec2.
    catalogue_wavelength : ndarray (n,) float64 [nm]
        What the list says; NaN for a line that no list knows.
    species : ndarray (n,) str
        Atom or ion, "" when unknown.
    """

    wavelength: np.ndarray
    strength: np.ndarray
    catalogue_wavelength: np.ndarray
    species: np.ndarray

    def without(self, element: str) -> EmissionLines:
        """The lines of all other elements."""
        kept = ~np.char.startswith(self.species, element)
        columns = (self.wavelength, self.strength, self.catalogue_wavelength, self.species)
        return EmissionLines(*(column[kept] for column in columns))


def _table(tag: str) -> dict[str, np.ndarray]:
    with fits.open(static_calibration_path(tag), memmap=False) as hdus:
        rows = hdus[1].data
        return {name: np.array(rows[name]) for name in rows.names}


@lru_cache(maxsize=4)
def _arc_catalogue(arm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths [nm], intensities (1 for the typical line that stands alone) and species."""
    rows = _table(f"ARC_LINE_LIST_{arm}")
    wavelength, first = np.unique(np.round(rows["WAVELENGTH"].astype(float), 5), return_index=True)
    alone = rows["INTENSITY"][~rows["BLEND"]]
    species = np.char.strip(rows["ION"].astype(str))[first]
    return wavelength, rows["INTENSITY"].astype(float)[first] / float(np.median(alone)), species


def lamp_lines(arm: str, seed: int, effects: Effects) -> EmissionLines:
    """The arc lamps of an arm: the list's lines, displaced and of other strengths, and faint ones of their own."""
    random = generator(seed, "lamp", arm)
    catalogue, intensity, species = _arc_catalogue(arm)
    # The lists' intensities span more than one lamp does on one detector: their logarithms are compressed.
    strength = 4.1 + 0.75 * np.log10(np.maximum(intensity, 1e-4))
    strength = strength + 0.3 * effects.line_intensity * random.normal(size=catalogue.size)
    true = catalogue + 2e-4 * effects.line_displacement * random.normal(size=catalogue.size)
    orders = arm_hardware(arm).orders
    low, high = min(o.wavelength_min for o in orders), max(o.wavelength_max for o in orders)
    count = 120
    extra = random.uniform(low, high, count)
    extra_strength = random.normal(2.6, 0.35, count)
    if not effects.line_intensity:
        extra, extra_strength = extra[:0], extra_strength[:0]
    return EmissionLines(
        np.concatenate([true, extra]),
        10.0 ** np.clip(np.concatenate([strength, extra_strength]), 1.5, 5.3),
        np.concatenate([catalogue, np.full(extra.size, np.nan)]),
        np.concatenate([species, np.full(extra.size, "")]),
    )


def sky_lines(seed: int, effects: Effects) -> EmissionLines:
    """Airglow lines, displaced from the catalogue by its own errors (0.002 to 0.015 nm, some 0.1)."""
    random = generator(seed, "airglow")
    rows = _table("SKY_LINE_LIST")
    catalogue, flux = rows["WAVELENGTH"].astype(float), rows["FLUX"].astype(float)
    error = rows["WAVELENGTH_ERROR"].astype(float) * effects.line_displacement
    true = catalogue + error * random.normal(size=catalogue.size)
    activity = 10.0 ** (0.1 * effects.line_intensity * random.normal())
    scatter = 10.0 ** (0.08 * effects.line_intensity * random.normal(size=catalogue.size))
    strength = effects.airglow * activity * flux * scatter
    return EmissionLines(true, strength, catalogue, np.full(catalogue.size, ""))


def airglow_family(wavelength: np.ndarray) -> np.ndarray:
    """Upper vibrational level (1 to 9) of the hydroxyl band nearest to each line, 0 for the lines of atoms.

    Bands lie where the term values of an anharmonic oscillator put them; lines of a band scatter about a place
    some 80 /cm to the red of its origin, as the P branch is the longest.
    """
    upper, lower = np.array([(v, w) for v in range(1, AIRGLOW_FAMILIES) for w in range(max(0, v - 6), v)]).T
    origin = _term(upper) - _term(lower) - 80.0
    nearest = np.abs(1e7 / np.asarray(wavelength)[:, None] - origin[None, :]).argmin(axis=1)
    atomic = np.abs(np.asarray(wavelength)[:, None] - _ATOMIC[None, :]).min(axis=1) < 0.1
    return np.where(atomic, 0, upper[nearest])


def _term(level: np.ndarray) -> np.ndarray:
    half = level + 0.5
    return _OMEGA * half - _ANHARMONICITY * half**2 + _CUBIC * half**3


@lru_cache(maxsize=1)
def _extinction_table() -> tuple[np.ndarray, np.ndarray]:
    rows = _table("EXTCOEFF_TABLE")
    return rows["WAVELENGTH"].astype(float), rows["EXTINCTION"].astype(float)


def extinction_curve(wavelength: np.ndarray) -> np.ndarray:
    """Extinction [mag/airmass] at vacuum wavelengths [nm]."""
    return np.interp(wavelength, *_extinction_table())


@lru_cache(maxsize=1)
def _telluric_table() -> tuple[np.ndarray, np.ndarray]:
    rows = _table("TELLURIC_TRANSMISSION")
    return rows["WAVELENGTH"].astype(float), rows["MOLECULES"].astype(float)


def telluric_curve(wavelength: np.ndarray) -> np.ndarray:
    """Molecular transmission at unit airmass of vacuum wavelengths [nm]."""
    return np.interp(wavelength, *_telluric_table())


@lru_cache(maxsize=8)
def standard_star(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(wavelength [nm, vacuum], flux [erg/s/cm2/Angstrom]) above the atmosphere, at the star's own velocity."""
    wanted = name.replace(" ", "").upper()
    with fits.open(static_calibration_path("FLUX_STD_CATALOG"), memmap=False) as hdus:
        index = hdus["INDEX"].data
        names = [str(extension).strip().upper() for extension in index["EXTENSION"]]
        if wanted not in names:
            raise InputError(f"no standard star {name!r} in the catalogue, which holds {', '.join(names)}")
        velocity = float(index["VELOCITY"][names.index(wanted)])
        rows = hdus[wanted].data
        wavelength, flux = np.array(rows["WAVELENGTH"], float), np.array(rows["FLUX"], float)
    return wavelength * (1.0 + velocity / 299792.458), flux
