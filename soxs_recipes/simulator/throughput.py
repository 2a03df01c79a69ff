"""What fraction of the light arrives: gratings, dichroics, atmosphere."""

from __future__ import annotations

import numpy as np

from soxs_recipes.data.wavelengths import vacuum_to_air
from soxs_recipes.simulator.catalogues import extinction_curve, telluric_curve
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.hardware import ArmHardware, generator

__all__ = ["COLLECTING_AREA", "atmosphere", "blaze", "differential_refraction", "throughput"]

COLLECTING_AREA = 89000.0  # cm2: 3.58 m with a 1.2 m central obstruction
_BLAZE_PRODUCT = 19490.0  # nm: order * blaze wavelength of the NIR echelle
_BLAZE_NARROWING = 0.65  # measured echelle blazes are wider than sinc^2
_EDGE = 1.1  # nm, logistic scale of the dichroics
_SITE_PRESSURE = 0.76  # of standard air, at 2375 m


def blaze(hardware: ArmHardware, order: int, wavelength: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Relative efficiency of the grating in one order, 1 at its peak; `strength` 0 makes it flat."""
    wavelength = np.asarray(wavelength, float)
    if hardware.echelle:
        shape = np.sinc(_BLAZE_NARROWING * order * (1.0 - _BLAZE_PRODUCT / (order * wavelength))) ** 2
    else:
        data = hardware.order(order)
        middle = 0.5 * (data.wavelength_min + data.wavelength_max)
        u = (wavelength - middle) / (0.5 * (data.wavelength_max - data.wavelength_min))
        shape = np.sinc(0.45 * (u + 0.05)) ** 2
    return np.clip(shape, 1e-4, 1.0) ** strength


def throughput(
    hardware: ArmHardware, order: int, wavelength: np.ndarray, seed: int, effects: Effects
) -> np.ndarray:
    """Detected electrons per photon that enters the telescope and passes the slit."""
    wavelength = np.asarray(wavelength, float)
    data = hardware.order(order)
    grey = 1.0 + 0.05 * generator(seed, "throughput", hardware.name, order).uniform(-1.0, 1.0)
    result = data.peak_throughput * grey * effects.throughput * blaze(hardware, order, wavelength, effects.blaze)
    if data.cut_on > 0.0:
        result = result / (1.0 + np.exp(-(wavelength - data.cut_on) / _EDGE))
    if np.isfinite(data.cut_off):
        result = result / (1.0 + np.exp((wavelength - data.cut_off) / _EDGE))
    return result


def atmosphere(wavelength: np.ndarray, airmass: float, effects: Effects) -> np.ndarray:
    """Transmission of the sky: continuous extinction and molecular bands, at full resolution."""
    dimming = 10.0 ** (-0.4 * extinction_curve(wavelength) * airmass * effects.extinction)
    absorption = np.clip(telluric_curve(wavelength), 1e-6, 1.0) ** (airmass * effects.telluric)
    return dimming * absorption


def differential_refraction(wavelength: np.ndarray, reference: float, airmass: float) -> np.ndarray:
    """Shift along the horizon-to-zenith line against a reference wavelength [arcsec]."""
    tangent = np.sqrt(max(airmass**2 - 1.0, 0.0))

    def refractivity(vacuum: np.ndarray) -> np.ndarray:
        return _SITE_PRESSURE * (np.asarray(vacuum) / vacuum_to_air(vacuum) - 1.0)

    return 206264.8 * tangent * (refractivity(wavelength) - refractivity(np.array(reference)))
