"""The forward optical model of the simulated instrument: (order, wavelength, slit position) -> (x, y).

A smooth model of the published layout (per band for the four UV-VIS gratings, one echelle surface for the NIR)
is misaligned per seed by a shift, a rotation, a change of scale and a distortion made of long sine waves, which
no polynomial of the reduction contains exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.chebyshev import chebval, chebvander

from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.hardware import ArmHardware, arm_hardware, generator

__all__ = ["Misalignment", "OpticalModel"]

# Chebyshev series of position against wavelength over each band's format; then the slit's slope [px/arcsec],
# its change over half the band, and its curvature [px/arcsec^2]. Order: along dispersion, along the slit.
_BANDS = {
    1: (
        ((2016.102, 2093.1009, 97.3546, 20.2067, 2.4687), 0.3855, 0.010, 0.0050),
        ((169.8242, 9.6051, -2.2946, 0.2995, -1.2498), 3.6145, 0.025, 0.0006),
    ),
    2: (
        ((2127.3345, -2095.3032, -110.3615, -23.3756, -1.7677), 0.3855, -0.012, -0.0044),
        ((314.2136, -5.5716, -1.6941, 0.4687, -0.9076), -3.6145, 0.022, -0.0005),
    ),
    3: (
        ((2112.7133, -2074.316, -98.64, -20.211, -3.1611), 0.6327, -0.015, -0.0058),
        ((471.3368, -7.68, 0.3029, -0.4084, 0.8669), -3.6727, 0.027, 0.0004),
    ),
    4: (
        ((1964.1641, 2058.6587, 96.2787, 20.3446, 3.1044), 0.7273, 0.018, 0.0062),
        ((647.3512, 6.1243, 2.5244, -0.1252, 1.2872), 3.6727, 0.030, -0.0006),
    ),
}

# Echelle surface: {(degree in order, degree in order * wavelength, degree in slit): coefficient [px]}.
_ECHELLE_ORDER = (17.0, 7.0)
_ECHELLE_SPECTRAL = (19490.0, 950.0)
_ECHELLE_ALONG = {
    (0, 0, 0): 1005.9197, (0, 1, 0): 1096.1003, (0, 2, 0): 28.7467, (0, 3, 0): 3.2099, (0, 4, 0): 0.9076,
    (1, 0, 0): -43.5448, (1, 1, 0): -17.9120, (1, 2, 0): 0.1815, (1, 3, 0): -0.3821, (1, 4, 0): 0.2767,
    (2, 0, 0): -0.1090, (2, 1, 0): -1.2463, (2, 2, 0): 0.1832, (2, 3, 0): 0.3957, (3, 0, 0): 0.6923,
    (3, 1, 0): -0.1012, (3, 2, 0): -0.1502, (4, 0, 0): 0.3121, (4, 1, 0): -0.0232, (0, 0, 1): -0.5186,
    (0, 1, 1): -0.1388, (0, 2, 1): -0.0103, (1, 0, 1): 0.2259, (1, 1, 1): 0.0221, (2, 0, 1): 0.0188,
    (0, 0, 2): 0.0050,
}  # fmt: skip
_ECHELLE_ACROSS = {
    (0, 0, 0): 909.7786, (0, 1, 0): 18.3664, (0, 2, 0): 65.5137, (0, 3, 0): 2.8935, (0, 4, 0): 0.3355,
    (1, 0, 0): 518.6623, (1, 1, 0): -59.1385, (1, 2, 0): 5.0501, (1, 3, 0): 0.3947, (1, 4, 0): 0.6027,
    (2, 0, 0): 60.2671, (2, 1, 0): -8.6514, (2, 2, 0): 0.5515, (2, 3, 0): -0.0249, (2, 4, 0): 0.1250,
    (3, 0, 0): 4.4194, (3, 1, 0): -0.2834, (3, 2, 0): 0.1600, (3, 3, 0): 0.0256, (4, 0, 0): 0.1043,
    (4, 1, 0): -0.0438, (4, 2, 0): 0.1278, (5, 0, 0): 0.0553, (5, 1, 0): -0.0329, (0, 0, 1): 3.0590,
    (0, 1, 1): -0.1263, (0, 2, 1): 0.0082, (1, 0, 1): 0.3338, (1, 1, 1): 0.0187, (2, 0, 1): 0.0483,
    (0, 0, 2): 0.0009,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Misalignment:
    """How one seed's instrument differs from the tables.

    Attributes
    ----------
    shift : (dx, dy) [px]
    scale : float
        Relative change of the image scale.
    rotation : float [rad]
    band_shifts : {order: (along, across)} [px]
        Of each grating by itself (UV-VIS only).
    tilt_factor, curvature_factor : float
    waves : ndarray (n, 5) float64
        Sine waves of the distortion: axis (0 is x), amplitude [px], wave numbers in x and y [rad/px], phase;
        positions are counted from the centre of the detector.
    """

    shift: tuple[float, float]
    scale: float
    rotation: float
    band_shifts: dict[int, tuple[float, float]]
    tilt_factor: float
    curvature_factor: float
    waves: np.ndarray

    @classmethod
    def draw(cls, hardware: ArmHardware, seed: int, strength: float) -> Misalignment:
        """The misalignment of a seed; `strength` scales every part of it."""
        random = generator(seed, "misalignment", hardware.name)
        shift = random.uniform(-5.0, 5.0, 2) * strength
        scale = random.normal(0.0, 3e-4) * strength
        rotation = random.normal(0.0, 3e-4) * strength
        bands = {} if hardware.echelle else {o.number: random.normal(0.0, 0.4, 2) for o in hardware.orders}
        tilt = 1.0 + 0.03 * strength * random.normal()
        curvature = 1.0 + 0.3 * strength * random.uniform(-1.0, 1.0)
        return cls(
            shift=(float(shift[0]), float(shift[1])),
            scale=float(scale),
            rotation=float(rotation),
            band_shifts={k: (float(v[0] * strength), float(v[1] * strength)) for k, v in bands.items()},
            tilt_factor=float(tilt),
            curvature_factor=float(curvature),
            waves=_draw_waves(hardware, random, strength),
        )


def _draw_waves(hardware: ArmHardware, random: np.random.Generator, strength: float) -> np.ndarray:
    """Three sine waves an axis, 0.3 px rms together, 0.6 to 1.3 detectors long."""
    length = float(max(hardware.shape))
    waves = []
    for axis in (0, 1):
        parts = random.uniform(0.5, 1.0, 3)
        amplitudes = 0.3 * strength * np.sqrt(2.0) * parts / np.sqrt((parts**2).sum())
        for amplitude in amplitudes:
            number = 2.0 * np.pi / (length * random.uniform(0.6, 1.3))
            angle, phase = random.uniform(0.0, 2.0 * np.pi, 2)
            waves.append((axis, amplitude, number * np.cos(angle), number * np.sin(angle), phase))
    return np.array(waves)


@dataclass(frozen=True, slots=True)
class OpticalModel:
    """Where light falls on the trimmed detector (0-based pixel centres).

    Attributes
    ----------
    hardware : ArmHardware
    misalignment : Misalignment
    flexure : (dx, dy) [px]
        Shift of one exposure.
    line_tilt, order_curvature, anamorphism : float
        Strengths of these effects.
    """

    hardware: ArmHardware
    misalignment: Misalignment
    flexure: tuple[float, float] = (0.0, 0.0)
    line_tilt: float = 1.0
    order_curvature: float = 1.0
    anamorphism: float = 1.0

    @classmethod
    def of_seed(cls, arm: str, seed: int, effects: Effects | None = None) -> OpticalModel:
        """The model of an arm for a seed."""
        effects = effects or Effects()
        hardware = arm_hardware(arm)
        return cls(
            hardware,
            Misalignment.draw(hardware, seed, effects.misalignment),
            line_tilt=effects.line_tilt,
            order_curvature=effects.order_curvature,
            anamorphism=effects.anamorphism,
        )

    def shifted(self, dx: float, dy: float) -> OpticalModel:
        """The model moved by (dx, dy) [px] against the calibrations."""
        return replace(self, flexure=(self.flexure[0] + dx, self.flexure[1] + dy))

    def evaluate(self, order: int, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) [px] of vacuum wavelengths [nm] and slit positions [arcsec] of one order."""
        along, across = self.evaluate_axes(order, wavelength, slit)
        return (along, across) if self.hardware.dispersion_axis == 1 else (across, along)

    def evaluate_axes(self, order: int, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(along dispersion, along slit) [px] of vacuum wavelengths [nm] and slit positions [arcsec]."""
        wavelength, slit = np.broadcast_arrays(np.asarray(wavelength, float), np.asarray(slit, float))
        nominal = self._echelle if self.hardware.echelle else self._band
        along, across = nominal(order, wavelength, slit)
        if self.hardware.dispersion_axis == 1:
            return self._misaligned(along, across)
        across, along = self._misaligned(across, along)
        return along, across

    def _band(self, order: int, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hardware = self.hardware.order(order)
        half = 0.5 * (hardware.wavelength_max - hardware.wavelength_min)
        u = (wavelength - hardware.wavelength_min) / half - 1.0
        (along, tilt, along_change, along_bend), (across, scale, across_change, across_bend) = _BANDS[order]
        tilt_factor = self.line_tilt * self.misalignment.tilt_factor
        bend = self.line_tilt * self.misalignment.curvature_factor
        offset = self.misalignment.band_shifts[order]
        along_px = chebval(u, along) + offset[0]
        along_px = along_px + tilt_factor * slit * (tilt + along_change * u) + bend * along_bend * slit**2
        straight = np.array(across) * np.array([1.0, *[self.order_curvature] * 4])
        across_px = chebval(u, straight) + offset[1]
        across_px = (
            across_px + slit * (scale + self.anamorphism * across_change * u) + bend * across_bend * slit**2
        )
        return along_px, across_px

    def _echelle(self, order: int, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = (order - _ECHELLE_ORDER[0]) / _ECHELLE_ORDER[1]
        u = (order * wavelength - _ECHELLE_SPECTRAL[0]) / _ECHELLE_SPECTRAL[1]
        tilt = self.line_tilt * self.misalignment.tilt_factor
        bend = self.line_tilt * self.misalignment.curvature_factor
        along = _surface(_ECHELLE_ALONG, t, u, slit, 1.0, 1.0, tilt, bend)
        across = _surface(_ECHELLE_ACROSS, t, u, slit, self.order_curvature, self.anamorphism, 1.0, bend)
        return along, across

    def _misaligned(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ny, nx = self.hardware.shape
        m = self.misalignment
        x, y = x - 0.5 * (nx - 1), y - 0.5 * (ny - 1)
        cosine, sine = np.cos(m.rotation) * (1.0 + m.scale), np.sin(m.rotation) * (1.0 + m.scale)
        x_out = cosine * x - sine * y + m.shift[0] + self.flexure[0] + 0.5 * (nx - 1)
        y_out = sine * x + cosine * y + m.shift[1] + self.flexure[1] + 0.5 * (ny - 1)
        for axis, amplitude, kx, ky, phase in m.waves:
            wave = amplitude * np.sin(kx * x + ky * y + phase)
            if axis == 0:
                x_out = x_out + wave
            else:
                y_out = y_out + wave
        return x_out, y_out


def _surface(terms, t, u, slit, bending, anamorphism, slope, bend):
    """Sum the echelle series; the four factors scale the parts that effects may switch."""
    order_basis = chebvander(np.array([t]), 5)[0]
    spectral_basis = chebvander(u.ravel(), 4).T.reshape(5, *u.shape)
    total = np.zeros(np.shape(u))
    for (i, j, k), coefficient in terms.items():
        if k == 0:
            factor = bending if j > 1 else 1.0
        elif k == 1:
            factor = slope * (anamorphism if j > 0 else 1.0)
        else:
            factor = bend
        if factor:
            total = total + coefficient * factor * order_basis[i] * spectral_basis[j] * slit**k
    return total
