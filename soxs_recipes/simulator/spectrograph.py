"""One arm at one moment: its geometry, line spread and slits, ready to render light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from soxs_recipes.simulator.detector import scattered_light
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.geometry import OrderGeometry, order_geometry
from soxs_recipes.simulator.hardware import ArmHardware, generator
from soxs_recipes.simulator.optics import OpticalModel
from soxs_recipes.simulator.render import Profile, SampledSpectrum, render_order, slit_profile

__all__ = ["SLIT_LENGTH", "Spectrograph"]

SLIT_LENGTH = 12.0  # arcsec
_SHARPEST = 0.35  # px; the quadrature of the renderer resolves nothing narrower


@dataclass
class Spectrograph:
    """An arm with its optical model; geometries of the orders are computed once.

    Attributes
    ----------
    model : OpticalModel
    seed : int
    effects : Effects
    """

    model: OpticalModel
    seed: int
    effects: Effects
    _geometries: dict[int, OrderGeometry] = field(default_factory=dict)
    _fringes: np.ndarray | None = None

    @classmethod
    def of_seed(
        cls, arm: str, seed: int, effects: Effects, flexure: tuple[float, float] = (0.0, 0.0)
    ) -> Spectrograph:
        """The arm of a seed, moved by a flexure [px]."""
        return cls(OpticalModel.of_seed(arm, seed, effects).shifted(*flexure), seed, effects)

    @property
    def hardware(self) -> ArmHardware:
        """The arm's fixed properties."""
        return self.model.hardware

    @property
    def orders(self) -> tuple[int, ...]:
        """Order numbers."""
        return tuple(order.number for order in self.hardware.orders)

    def geometry(self, order: int) -> OrderGeometry:
        """Pixel coordinates of one order."""
        if order not in self._geometries:
            self._geometries[order] = order_geometry(self.model, order)
        return self._geometries[order]

    def sigma_along(self, order: int) -> Callable[[np.ndarray], np.ndarray]:
        """Optical sigma along the dispersion [px] as a function of the dispersion coordinate."""
        base, n = self._base_sigma(order), self.hardware.along
        growth = self.hardware.psf_growth

        def sigma(v: np.ndarray) -> np.ndarray:
            t = 2.0 * np.asarray(v) / (n - 1.0) - 1.0
            return base * (1.0 + growth / self.hardware.psf_sigma * t * t * (1.0 + 0.15 * t))

        return sigma

    def sigma_slit(self, order: int) -> Callable[[np.ndarray], np.ndarray]:
        """Optical sigma along the slit [arcsec] as a function of the dispersion coordinate."""
        along, scale = self.sigma_along(order), self.geometry(order).arcsec_per_pixel
        return lambda v: 1.05 * scale * along(v)

    def _base_sigma(self, order: int) -> float:
        random = generator(self.seed, "psf", self.hardware.name, order)
        sigma = self.hardware.psf_sigma * (1.0 + 0.05 * random.uniform(-1.0, 1.0)) * self.effects.psf
        return max(sigma, _SHARPEST)

    def box_width(self, width: float, v: np.ndarray) -> np.ndarray:
        """Width [px] along the dispersion of the image of a slit of `width` [arcsec]."""
        t = 2.0 * np.asarray(v) / (self.hardware.along - 1.0) - 1.0
        return width / self.hardware.dispersion_scale * (1.0 + 0.06 * self.effects.anamorphism * t)

    def slit_surface(self, order: int, even: bool = False) -> Profile:
        """Transmission along the slit for light that fills it: 1 with soft ends, jaws uneven by some 0.3 %."""
        random = generator(self.seed, "slit", self.hardware.name)
        phase, period = random.uniform(0.0, 2.0 * np.pi), random.uniform(5.0, 15.0)
        roughness = 0.0 if even else 0.003 * self.effects.pixel_response
        sigma = float(self.sigma_slit(order)(np.array(0.5 * self.hardware.along)))
        return slit_profile(
            SLIT_LENGTH, sigma, lambda s: 1.0 + roughness * np.sin(2.0 * np.pi * s / period + phase)
        )

    def line_positions(self, order: int, wavelength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which wavelengths fall in an order's illuminated range, and their dispersion coordinates [px]."""
        geometry = self.geometry(order)
        low, high = geometry.wavelength_of(geometry.v_start), geometry.wavelength_of(geometry.v_end)
        low, high = min(low, high), max(low, high)
        chosen = np.flatnonzero((wavelength > low) & (wavelength < high))
        v, _ = self.model.evaluate_axes(order, wavelength[chosen], 0.0)
        return chosen, v

    def blank(self) -> np.ndarray:
        """A dark image, dispersion axis first."""
        return np.zeros((self.hardware.along, self.hardware.across))

    def render(self, image: np.ndarray, order: int, spectrum: SampledSpectrum, profile: Profile) -> None:
        """Add light to an image made by `blank`."""
        render_order(image, self.geometry(order), spectrum, profile)

    def finish(self, image: np.ndarray) -> np.ndarray:
        """Fringes and scattered light added, in the detector's own orientation: (ny, nx) float32 [e-]."""
        light = image if self.hardware.dispersion_axis == 0 else np.ascontiguousarray(image.T)
        total = light * self.fringes() if self.effects.fringing else light
        return (total + scattered_light(light, self.effects)).astype(np.float32)

    def fringes(self) -> np.ndarray:
        """Interference in the detector as a factor around 1, (ny, nx)."""
        if self._fringes is None:
            image = np.ones((self.hardware.along, self.hardware.across))
            for order in self.orders:
                self._add_fringes(image, order)
            self._fringes = image if self.hardware.dispersion_axis == 0 else np.ascontiguousarray(image.T)
        return self._fringes

    def _add_fringes(self, image: np.ndarray, order: int) -> None:
        geometry = self.geometry(order)
        wavelength = geometry.wavelength_of(geometry.v)
        if self.hardware.reference_border:
            amplitude, thickness, index = 0.004, 15000.0, 2.6
        else:
            amplitude, thickness, index = 0.03, 40000.0, 3.6
        strength = self.effects.fringing * amplitude
        if not self.hardware.reference_border:
            strength = strength * np.clip((wavelength - 700.0) / 130.0, 0.0, 1.0) ** 2
            if not np.any(strength):
                return
        columns = geometry.first_across[:, None] + np.arange(geometry.v.shape[1])[None, :]
        rows = np.arange(geometry.v.shape[0])[:, None]
        local = thickness * (1.0 + 0.004 * np.sin(columns / 180.0) + 0.006 * np.cos(rows / 700.0))
        factor = 1.0 + strength * np.sin(4.0 * np.pi * index * local / wavelength)
        inside = (columns >= 0) & (columns < image.shape[1]) & (np.abs(geometry.s) < 0.5 * SLIT_LENGTH + 0.7)
        image[np.broadcast_to(rows, columns.shape)[inside], columns[inside]] = factor[inside]
