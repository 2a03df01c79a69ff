"""What an instrument is, as immutable data. Filled from YAML by `soxs_recipes.instrument.load`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from soxs_recipes.errors import InputError

__all__ = ["Arm", "Detector", "Instrument", "Order", "ReadMode", "Slit"]


@dataclass(frozen=True, slots=True)
class ReadMode:
    """One way of reading a detector.

    Attributes
    ----------
    name : str
    identifier : int or None
        `ESO DET READ CURID`.
    gain : float [e-/ADU]
    read_noise : float [e-]
    """

    name: str
    identifier: int | None
    gain: float
    read_noise: float


@dataclass(frozen=True, slots=True)
class Detector:
    """Geometry and properties of a detector, in unbinned pixels.

    Attributes
    ----------
    raw_shape : (ny, nx)
    science_window : (y0, y1, x0, x1)
        numpy half-open slice of the light-sensitive part of the raw frame.
    prescan, overscan : (x0, x1) or None
        Columns without light (CCD); None for an infrared array.
    reference_border : int
        Width of the frame of reference pixels (infrared array), 0 for a CCD.
    saturation : float [ADU]
        Raw value at which a pixel is saturated.
    linear_limit : float [e-]
        Signal beyond which a pixel is not linear.
    dark_current : float [e-/s]
    pixel_size : float [micron]
    read_modes : tuple of ReadMode
        The first is the default.
    binnings : tuple of (y, x)
    has_bias : bool
        True where biases are taken (CCD), False where darks are (infrared array).
    """

    name: str
    raw_shape: tuple[int, int]
    science_window: tuple[int, int, int, int]
    prescan: tuple[int, int] | None
    overscan: tuple[int, int] | None
    reference_border: int
    saturation: float
    linear_limit: float
    dark_current: float
    pixel_size: float
    read_modes: tuple[ReadMode, ...]
    binnings: tuple[tuple[int, int], ...]
    has_bias: bool

    def science_shape(self, binning: tuple[int, int] = (1, 1)) -> tuple[int, int]:
        """(ny, nx) of a trimmed frame."""
        y0, y1, x0, x1 = self.science_window
        return (y1 - y0) // binning[0], (x1 - x0) // binning[1]


@dataclass(frozen=True, slots=True)
class Order:
    """A spectral order: useful range and full range on the detector [nm, vacuum]."""

    number: int
    band: str
    wavelength_min: float
    wavelength_max: float
    wavelength_min_full: float
    wavelength_max_full: float


@dataclass(frozen=True, slots=True)
class Slit:
    """A slit that the wheel holds: header string and width [arcsec]."""

    name: str
    width: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One spectrograph arm.

    Attributes
    ----------
    name : str
        As in `ESO SEQ ARM`: "VIS", "NIR".
    label : str
        For people: "UV-VIS", "NIR".
    dispersion_axis : int
        numpy axis along which wavelength runs.
    echelle : bool
        Whether the orders belong to one grating (a fit over orders makes sense).
    orders : tuple of Order, ascending number
    slits : tuple of Slit
    slit_length : float [arcsec]
    pinhole_positions : tuple of float [arcsec]
        Slit positions of the multi-pinhole mask.
    arc_lamps : tuple of str
    resolution : float
        Typical R for the 1 arcsec slit.
    pixel_scale : float [arcsec/px]
        Typical, along the slit.
    wavelength_step : float [nm]
        Grid of merged spectra.
    defaults : mapping
        What a parameter's `auto` means in this arm: "recipe.parameter" -> value.
    """

    name: str
    label: str
    detector: Detector
    dispersion_axis: int
    echelle: bool
    orders: tuple[Order, ...]
    slits: tuple[Slit, ...]
    slit_length: float
    pinhole_positions: tuple[float, ...]
    arc_lamps: tuple[str, ...]
    resolution: float
    pixel_scale: float
    wavelength_step: float
    defaults: Mapping[str, object]

    def order(self, number: int) -> Order:
        """One order by number; KeyError names those there are."""
        for order in self.orders:
            if order.number == number:
                return order
        raise KeyError(f"order {number} is not one of {[order.number for order in self.orders]}")


@dataclass(frozen=True, slots=True)
class Instrument:
    """The whole instrument.

    Attributes
    ----------
    name : str
        As in `INSTRUME`.
    arms : tuple of Arm
    keywords : mapping
        Our name -> header keyword(s), first that is present wins; arm-dependent ones under "NAME_ARM".
    telescope_area : float [cm^2]
    latitude, longitude : float [deg], altitude : float [m]
    """

    name: str
    arms: tuple[Arm, ...]
    keywords: Mapping[str, tuple[str, ...]]
    telescope_area: float
    latitude: float
    longitude: float
    altitude: float

    def arm(self, name: str) -> Arm:
        """One arm by name; InputError lists the valid names."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise InputError(f"{self.name} has no arm {name!r}; its arms are {', '.join(a.name for a in self.arms)}")
