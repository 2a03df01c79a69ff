"""A made-up hot star seen through a made-up instrument, made without the code under test."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from soxs_recipes.data.spectrum import OrderSpectrum

C = 299792.458
BALMER = np.array([410.29, 434.17, 486.27, 656.46])


@dataclass
class Scene:
    """Orders as extracted, and what went in."""

    orders: list
    star: tuple
    extinction: tuple
    telluric: tuple
    sensitivity: dict
    exposure_time: float
    airmass: float
    velocity: float


def star_spectrum(wavelength):
    """Hot continuum with broad and sharp hydrogen lines [erg/s/cm2/A]."""
    flux = 6e-14 * (wavelength / 550.0) ** -3.6
    for line in BALMER:
        x = (wavelength - line) / line * C
        flux = flux * (1 - 0.45 / (1 + (np.abs(x) / 1300.0) ** 1.8) - 0.10 * np.exp(-0.5 * (x / 150.0) ** 2))
    return flux


def transmission_at_zenith(wavelength):
    """Two bands of narrow lines: a strong one on a broad trough, a weak one."""
    rng = np.random.default_rng(5)
    depth = 0.15 * np.exp(-0.5 * ((wavelength - 630.5) / 2.5) ** 2)
    for low, high, strength, count in ((627.0, 634.0, 1.2, 60), (445.0, 452.0, 0.10, 60)):
        for centre in rng.uniform(low, high, count):
            depth += strength * rng.uniform(0.2, 1.0) * np.exp(-0.5 * ((wavelength - centre) / 0.02) ** 2)
    return np.exp(-depth)


def sensitivity(number, wavelength, limits):
    """e-/s/nm per erg/s/cm2/A: a blaze that is nearly zero at the ends, a wavy throughput."""
    middle, width = 0.5 * sum(limits), limits[1] - limits[0]
    u = (wavelength - middle) / width
    blaze = np.sinc(0.85 * 2 * u) ** 2 + 0.002
    return 1.0e17 * number * blaze * (1 + 0.15 * u + 0.05 * np.sin(9 * u))


LIMITS = {1: (395.0, 500.0), 2: (460.0, 600.0), 3: (560.0, 700.0)}


def make_scene(
    seed=1, brightness=1.0, velocity=80.0, airmass=1.4, exposure_time=300.0, telluric_power=1.7, bins=1800
):
    """Counts with photon and read noise."""
    rng = np.random.default_rng(seed)
    fine = np.exp(np.arange(np.log(385.0), np.log(712.0), 2e-6))
    resolution = 5000.0
    sigma = 1 / 2.3548 / resolution / 2e-6
    flux = brightness * star_spectrum(fine / (1 + velocity / C))
    magnitudes = (np.array([380.0, 420.0, 500.0, 600.0, 720.0]), np.array([0.36, 0.25, 0.13, 0.09, 0.035]))
    air = 10 ** (-0.4 * airmass * np.interp(fine, *magnitudes))
    absorbed = gaussian_filter1d(flux * air * transmission_at_zenith(fine) ** telluric_power, sigma)
    orders, truth = [], {}
    for number, limits in LIMITS.items():
        edges = np.linspace(*limits, bins + 1)
        centre, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        integral = np.concatenate([[0], np.cumsum(0.5 * (absorbed[1:] + absorbed[:-1]) * np.diff(fine))])
        mean = np.diff(np.interp(edges, fine, integral)) / width
        expected = mean * sensitivity(number, centre, limits) * width * exposure_time
        variance = expected + 30.0
        data = expected + rng.normal(size=bins) * np.sqrt(variance)
        quality = np.zeros(bins, np.int32)
        hit = rng.choice(bins, 12, replace=False)
        data[hit] += rng.uniform(5, 50, 12) * np.sqrt(variance[hit])
        zero = np.zeros(bins)
        orders.append(
            OrderSpectrum(
                order=number,
                band=str(number),
                wavelength=centre,
                bin_width=width,
                flux=data,
                variance=variance,
                boxcar_flux=data,
                boxcar_variance=variance,
                sky=zero,
                background_variance=np.full(bins, 30.0),
                quality=quality,
                trace=zero,
            )
        )
        truth[number] = lambda w, number=number, limits=limits: sensitivity(number, w, limits)
    catalogue = np.arange(380.0, 720.0, 0.1)
    # The reference transmission is coarser than the truth, as SkyCalc's is.
    grid = np.exp(np.arange(np.log(380.0), np.log(715.0), 1 / 6000.0))
    smooth = gaussian_filter1d(transmission_at_zenith(fine), 1 / 2.3548 / 6000.0 / 2e-6)
    telluric = (grid, np.interp(grid, fine, smooth))
    return Scene(
        orders,
        (catalogue, brightness * star_spectrum(catalogue)),
        magnitudes,
        telluric,
        truth,
        exposure_time,
        airmass,
        velocity,
    )


@pytest.fixture(scope="session")
def scene():
    return make_scene()


@pytest.fixture(scope="session")
def scene_maker():
    return make_scene
