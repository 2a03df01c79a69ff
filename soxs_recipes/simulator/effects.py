"""Which physical effects act on a simulated frame, and how strongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from soxs_recipes.errors import InputError

__all__ = ["Effects"]


@dataclass(frozen=True, slots=True)
class Effects:
    """Strength of every effect: 0 is off, 1 is the instrument's own, other values scale it.

    Attributes
    ----------
    misalignment : float
        Shift, rotation, scale and smooth distortion against the instrument's tables.
    line_tilt, order_curvature : float
        Tilt and curvature of the slit image; bending of the orders.
    anamorphism : float
        Change of slit width and pixel scale along an order.
    psf : float
        Width of the optical point spread function.
    slit_loss, blaze, throughput : float
    telluric, extinction : float
        Molecular absorption; continuous extinction.
    airglow, sky_continuum, moonlight, thermal : float
    atmospheric_dispersion : float
        Drift of the object along the slit with wavelength (the UV-VIS corrector leaves a twentieth).
    scattered_light : float
    pixel_response, fringing : float
    dark, hot_pixels, dead_pixels, persistence : float
    cosmic_rays : float
    bias_structure, bias_drift : float
        Fixed pattern; change of the pedestal from frame to frame.
    read_noise, photon_noise : float
        Photon noise is either on or off.
    nonlinearity, saturation : float
        Departure near the full well; saturation is either on or off.
    curvature : float
        Departure at all levels, 4 % at 80 % of the full well, and pixels that depart otherwise. Off but in plans
        that measure it, as the instrument's electronics are said to correct it.
    flexure : float
        Shift between exposures.
    variability : float
        Change of seeing, clouds and airglow from exposure to exposure, in the plans that have it.
    line_displacement, line_intensity : float
        Lamp and sky lines away from their catalogue values.
    """

    misalignment: float = 1.0
    line_tilt: float = 1.0
    order_curvature: float = 1.0
    anamorphism: float = 1.0
    psf: float = 1.0
    slit_loss: float = 1.0
    blaze: float = 1.0
    throughput: float = 1.0
    telluric: float = 1.0
    extinction: float = 1.0
    airglow: float = 1.0
    sky_continuum: float = 1.0
    moonlight: float = 1.0
    thermal: float = 1.0
    atmospheric_dispersion: float = 1.0
    scattered_light: float = 1.0
    pixel_response: float = 1.0
    fringing: float = 1.0
    dark: float = 1.0
    hot_pixels: float = 1.0
    dead_pixels: float = 1.0
    persistence: float = 1.0
    cosmic_rays: float = 1.0
    bias_structure: float = 1.0
    bias_drift: float = 1.0
    read_noise: float = 1.0
    photon_noise: float = 1.0
    nonlinearity: float = 1.0
    curvature: float = 0.0
    saturation: float = 1.0
    flexure: float = 1.0
    variability: float = 1.0
    line_displacement: float = 1.0
    line_intensity: float = 1.0

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not value >= 0.0:
                raise InputError(f"effect {name} is {value}, but must be 0 (off) or positive")

    @classmethod
    def none(cls) -> Effects:
        """Everything off that can be without losing the light: geometry and PSF stay nominal."""
        kept = {"line_tilt", "order_curvature", "psf", "blaze", "throughput", "slit_loss", "saturation"}
        return cls(**{field.name: float(field.name in kept) for field in fields(cls)})

    @classmethod
    def from_mapping(cls, strengths: Mapping[str, float]) -> Effects:
        """The instrument's own effects with some replaced; an unknown name lists the valid ones."""
        valid = [field.name for field in fields(cls)]
        for name in strengths:
            if name not in valid:
                raise InputError(f"there is no effect {name!r}; effects are {', '.join(valid)}")
        return replace(cls(), **{name: float(value) for name, value in strengths.items()})

    def as_dict(self) -> dict[str, float]:
        """Name -> strength."""
        return asdict(self)
