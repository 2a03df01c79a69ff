"""Spectra above the atmosphere and in the lamps: a supernova of known form, continua, sky."""

from __future__ import annotations

import numpy as np

from soxs_recipes.simulator.effects import Effects

__all__ = [
    "ab_flux",
    "deuterium_lamp",
    "planck_photons",
    "quartz_lamp",
    "sky_continuum",
    "supernova_flux",
]

_AB_550 = 3.63e-9  # erg/s/cm2/Angstrom of magnitude 0 in V

# Broad features of a type-Ia supernova near maximum: rest wavelength [nm], sigma [nm], height (negative: depth).
_FEATURES = (
    (374.0, 8.5, -0.45), (395.0, 9.0, 0.25), (425.0, 8.0, -0.22), (455.0, 9.0, 0.12), (484.0, 10.0, -0.28),
    (510.0, 10.0, 0.12), (530.0, 6.0, -0.20), (544.0, 5.5, -0.22), (575.0, 7.0, -0.12), (612.5, 8.5, -0.42),
    (640.0, 11.0, 0.10), (750.0, 13.0, -0.22), (815.0, 16.0, -0.38), (860.0, 15.0, 0.18), (1050.0, 25.0, -0.08),
    (1240.0, 45.0, -0.18), (1560.0, 55.0, 0.35), (1780.0, 50.0, 0.25),
)  # fmt: skip


def planck_photons(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Photon radiance of a black body [photon/s/m2/um/arcsec2] at wavelengths in nm."""
    metres = np.asarray(wavelength, float) * 1e-9
    exponent = np.clip(0.0143877688 / (metres * temperature), 0.0, 600.0)
    per_metre = 2.0 * 2.99792458e8 / metres**4 / np.expm1(exponent)
    return per_metre * 1e-6 * 2.350443e-11


def quartz_lamp(wavelength: np.ndarray) -> np.ndarray:
    """Photon spectrum of the quartz lamp behind its colour-balance filter, 1 at 850 nm."""
    shape = planck_photons(wavelength, 2900.0) / planck_photons(np.array(850.0), 2900.0)
    return shape ** np.where(np.asarray(wavelength) < 850.0, 0.45, 0.8)


def deuterium_lamp(wavelength: np.ndarray) -> np.ndarray:
    """Photon spectrum of the deuterium lamp, 1 at 400 nm: a continuum that falls to the red."""
    return (np.asarray(wavelength, float) / 400.0) ** -3.0


def supernova_flux(wavelength: np.ndarray, magnitude: float = 18.0, redshift: float = 0.02) -> np.ndarray:
    """Flux of a synthetic type-Ia supernova [erg/s/cm2/Angstrom] at observed vacuum wavelengths [nm].

    A black body of 11 000 K (fainter to the infrared, as line blanketing leaves it) times Gaussian features.
    """
    rest = np.asarray(wavelength, float) / (1.0 + redshift)
    shape = _supernova_shape(rest)
    reference = _supernova_shape(np.array(550.0 / (1.0 + redshift)))
    return _AB_550 * 10.0 ** (-0.4 * magnitude) * shape / reference


def _supernova_shape(rest: np.ndarray) -> np.ndarray:
    continuum = planck_photons(rest, 11000.0) / rest
    blanketing = 1.0 / (1.0 + np.exp((360.0 - rest) / 18.0))
    feature = np.ones_like(rest)
    for centre, sigma, depth in _FEATURES:
        feature = feature * (1.0 + depth * np.exp(-0.5 * ((rest - centre) / sigma) ** 2))
    return continuum * blanketing * feature


def ab_flux(magnitude: float, wavelength: np.ndarray | float) -> np.ndarray:
    """Flux density [erg/s/cm2/Angstrom] of an AB magnitude at wavelengths in nm (Oke and Gunn 1983)."""
    per_hertz = 10.0 ** (-0.4 * (magnitude + 48.6))
    return per_hertz * 2.99792458e18 / (10.0 * np.asarray(wavelength, float)) ** 2


def narrow_line(wavelength: np.ndarray, centre: float, flux: float, sigma: float = 0.06) -> np.ndarray:
    """A Gaussian emission line of `flux` [erg/s/cm2] as flux density [erg/s/cm2/Angstrom]."""
    shape = np.exp(-0.5 * ((np.asarray(wavelength) - centre) / sigma) ** 2)
    return flux * shape / (np.sqrt(2.0 * np.pi) * sigma * 10.0)


def sky_continuum(wavelength: np.ndarray, effects: Effects, moon: float = 0.3) -> np.ndarray:
    """Sky continuum [photon/s/m2/um/arcsec2] at wavelengths in nm; `moon` is 1 for a bright night.

    Levels of ESO SkyCalc 2.0.9 (Noll et al. 2012): 148, 367 and 179 without moon over 350-850, 800-1350 and
    1350-2050 nm, 320, 86 and 23 of moonlight; thermal emission of telescope and slit as a 283 K grey body.
    """
    x = np.log(np.asarray(wavelength, float))
    dark = np.exp(np.interp(x, np.log([340, 500, 700, 1075, 1400, 1700, 2100]), np.log(
        [75.0, 130.0, 190.0, 367.0, 230.0, 179.0, 150.0])))  # fmt: skip
    bright = np.exp(np.interp(x, np.log([340, 450, 600, 800, 1075, 1700, 2100]), np.log(
        [260.0, 420.0, 320.0, 190.0, 86.0, 23.0, 13.0])))  # fmt: skip
    thermal = 0.2 * planck_photons(wavelength, 283.0)
    return effects.sky_continuum * dark + effects.moonlight * moon * bright + effects.thermal * thermal
