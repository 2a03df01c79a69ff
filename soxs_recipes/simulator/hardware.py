"""The simulated spectrographs: detectors, orders, slits and lamps as the instrument has them.

The simulator keeps these numbers itself, apart from the pipeline's instrument description, so that an error in
one shows against the other.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from soxs_recipes.errors import InputError

__all__ = ["ARMS", "ArmHardware", "OrderHardware", "arm_hardware", "generator"]


@dataclass(frozen=True, slots=True)
class OrderHardware:
    """One order: wavelengths on the detector, and what its grating and filters pass.

    Attributes
    ----------
    number : int
    wavelength_min, wavelength_max : float [nm]
        Full format.
    cut_on, cut_off : float [nm]
        Half-power wavelengths of the dichroics; 0 and inf without.
    peak_throughput : float
        Telescope to detected electron at the blaze.
    """

    number: int
    wavelength_min: float
    wavelength_max: float
    cut_on: float
    cut_off: float
    peak_throughput: float


@dataclass(frozen=True, slots=True)
class ArmHardware:
    """One arm and its detector.

    Attributes
    ----------
    name : str
    raw_shape : (ny, nx)
    window : (y0, y1, x0, x1)
        Light-sensitive part of the raw frame.
    dispersion_axis : int
        numpy axis along which wavelength runs.
    gain : float [e-/ADU], read_noise : float [e-]
    pedestal : float [ADU]
    full_well : float [e-]
    linear_limit : float [e-]
    dark_current : float [e-/s]
    pixel_size : float [micron]
    reference_border : int
    dispersion_scale : float [arcsec/px]
        Slit width per pixel of its image.
    psf_sigma, psf_growth : float [px]
        Gaussian sigma at mid-order, and its growth towards the ends.
    pinholes : tuple of float [arcsec]
    read_mode : (int, str)
    orders : tuple of OrderHardware
    echelle : bool
    """

    name: str
    raw_shape: tuple[int, int]
    window: tuple[int, int, int, int]
    dispersion_axis: int
    gain: float
    read_noise: float
    pedestal: float
    full_well: float
    linear_limit: float
    dark_current: float
    pixel_size: float
    reference_border: int
    dispersion_scale: float
    psf_sigma: float
    psf_growth: float
    pinholes: tuple[float, ...]
    read_mode: tuple[int, str]
    orders: tuple[OrderHardware, ...]
    echelle: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the light-sensitive part."""
        y0, y1, x0, x1 = self.window
        return y1 - y0, x1 - x0

    @property
    def along(self) -> int:
        """Pixels along the dispersion axis."""
        return self.shape[self.dispersion_axis]

    @property
    def across(self) -> int:
        """Pixels along the slit axis."""
        return self.shape[1 - self.dispersion_axis]

    def binned_window(self, binning: tuple[int, int]) -> tuple[int, int, int, int]:
        """The light-sensitive part of a binned raw frame."""
        y0, y1, x0, x1 = self.window
        return y0 // binning[0], y1 // binning[0], x0 // binning[1], x1 // binning[1]

    def order(self, number: int) -> OrderHardware:
        """One order by number."""
        for order in self.orders:
            if order.number == number:
                return order
        raise InputError(f"arm {self.name} has no order {number}; it has {[o.number for o in self.orders]}")


_NIR_FORMAT = (
    (10, 1858.3, 2032.9, 0.11), (11, 1689.9, 1848.4, 0.15), (12, 1549.2, 1694.9, 0.18),
    (13, 1430.2, 1565.0, 0.19), (14, 1328.5, 1453.6, 0.19), (15, 1240.0, 1357.1, 0.18),
    (16, 1163.0, 1272.7, 0.18), (17, 1094.6, 1198.3, 0.17), (18, 1034.2, 1132.1, 0.16),
    (19, 979.8, 1072.9, 0.15), (20, 931.0, 1019.6, 0.14), (21, 886.7, 971.4, 0.12),
    (22, 846.6, 927.5, 0.10), (23, 809.8, 887.5, 0.085), (24, 776.0, 850.0, 0.07),
)  # fmt: skip

ARMS = {
    "VIS": ArmHardware(
        name="VIS",
        raw_shape=(4096, 908),
        window=(0, 4096, 50, 858),
        dispersion_axis=0,
        gain=2.0,
        read_noise=3.8,
        pedestal=500.0,
        full_well=150000.0,
        linear_limit=110000.0,
        dark_current=1e-5,
        pixel_size=15.0,
        reference_border=0,
        dispersion_scale=0.28,
        psf_sigma=0.64,
        psf_growth=0.24,
        pinholes=tuple(np.linspace(-5.5, 5.5, 9)),
        read_mode=(1, "FAST"),
        orders=(
            OrderHardware(1, 524.5, 685.0, 536.5, 676.5, 0.24),
            OrderHardware(2, 347.0, 442.0, 0.0, 433.8, 0.15),
            OrderHardware(3, 423.5, 549.5, 430.0, 542.5, 0.22),
            OrderHardware(4, 660.0, 853.0, 669.5, 853.0, 0.21),
        ),
        echelle=False,
    ),
    "NIR": ArmHardware(
        name="NIR",
        raw_shape=(2048, 2048),
        window=(4, 2044, 4, 2044),
        dispersion_axis=1,
        gain=2.3,
        read_noise=7.3,
        pedestal=17.0,
        full_well=115000.0,
        linear_limit=85000.0,
        dark_current=0.004,
        pixel_size=18.0,
        reference_border=4,
        dispersion_scale=0.30,
        psf_sigma=0.90,
        psf_growth=0.10,
        pinholes=tuple(np.linspace(-5.745, 5.745, 9)),
        read_mode=(3, "FOWLER"),
        orders=tuple(
            OrderHardware(number, low, high, 797.0 if number > 22 else 0.0, np.inf, peak)
            for number, low, high, peak in _NIR_FORMAT
        ),
        echelle=True,
    ),
}


def arm_hardware(name: str) -> ArmHardware:
    """The arm of that name."""
    if name not in ARMS:
        raise InputError(f"the simulator has no arm {name!r}; it has {', '.join(ARMS)}")
    return ARMS[name]


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """A random generator of its own for each purpose, so that switching one draw leaves the others alone."""
    words = [zlib.crc32(str(word).encode()) for word in purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), *words])))
