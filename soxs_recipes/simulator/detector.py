"""From expected electrons to raw counts: the detectors with their flaws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.hardware import ArmHardware, arm_hardware, generator

__all__ = ["DetectorState", "detector_state", "expose", "limited", "mean_curvature", "scattered_light"]

_COSMIC_RATE = 1.5 / 60.0  # events/s/cm2
_BRIGHT = 50.0  # e-; above it a normal deviate stands for a Poisson one
_PERSISTENCE_FLOOR = 30000.0  # e-
_PERSISTENCE_FRACTION = 5e-4
_PERSISTENCE_DECAY = 300.0  # s


@dataclass(frozen=True, slots=True)
class DetectorState:
    """What one seed's detector is like.

    Attributes
    ----------
    hardware : ArmHardware
    response : ndarray (ny, nx) float32
        Pixel response around 1, dead pixels included.
    dark : ndarray (ny, nx) float32 [e-/s]
        Dark current and hot pixels.
    dead, hot : ndarray (ny, nx) bool
        Hot: over ten times the typical dark current and 0.02 e-/s.
    bias : ndarray raw shape float32 [e-]
        Pedestal and fixed pattern.
    curvature : ndarray (ny, nx) float32 or None
        Relative loss of signal at the full well before it saturates, see `recorded`; None: linear.
    deviating : ndarray (ny, nx) bool
        Pixels whose curvature is not that of the others.
    """

    hardware: ArmHardware
    response: np.ndarray
    dark: np.ndarray
    dead: np.ndarray
    hot: np.ndarray
    bias: np.ndarray
    curvature: np.ndarray | None
    deviating: np.ndarray

    def recorded(self, signal: np.ndarray, curvature: np.ndarray | float | None = None) -> np.ndarray:
        """What is read of a collected signal [e-]: s (1 - k (x + 0.35 x^3) / 1.35), x = s over the full well.

        `curvature` k is that of each pixel unless given.
        """
        if curvature is None:
            curvature = self.curvature
        if curvature is None:
            return signal
        x = signal * np.float32(1.0 / self.hardware.full_well)
        return signal * (1.0 - curvature * (x + np.float32(0.35) * x**3) / np.float32(1.35))


def detector_state(arm: str, seed: int, effects: Effects) -> DetectorState:
    """The detector of an arm for a seed."""
    hardware = arm_hardware(arm)
    shape = hardware.shape
    random = generator(seed, "response", arm)
    response = (1.0 + 0.01 * effects.pixel_response * random.standard_normal(shape, np.float32)).astype(np.float32)
    random = generator(seed, "bad pixels", arm)
    dead = random.random(shape, np.float32) < 6e-5 * effects.dead_pixels
    if effects.dead_pixels:
        _kill_columns(dead, hardware, random)
    response[dead] *= random.uniform(0.0, 0.3, int(dead.sum())).astype(np.float32)
    dark, hot = _dark_current(hardware, generator(seed, "dark", arm), effects)
    bias = _bias_pattern(hardware, seed, effects)
    return DetectorState(hardware, response, dark, dead, hot, bias, *_curvature(hardware, seed, effects))


def mean_curvature(arm: str, seed: int, effects: Effects) -> float:
    """Curvature of the pixels of an arm but the deviating ones, see `DetectorState.recorded`."""
    return 0.05 * effects.curvature * float(generator(seed, "curvature", arm).uniform(0.8, 1.2))


def _curvature(hardware: ArmHardware, seed: int, effects: Effects) -> tuple[np.ndarray | None, np.ndarray]:
    """Curvature of each pixel: 2 % scatter; 4 pixels in 10000 have two to five times it, or the opposite one."""
    shape = hardware.shape
    if not effects.curvature:
        return None, np.zeros(shape, bool)
    random = generator(seed, "curvature of pixels", hardware.name)
    factor = 1.0 + 0.02 * random.standard_normal(shape, np.float32)
    deviating = random.random(shape, np.float32) < 4e-4
    count = int(deviating.sum())
    other = np.where(random.random(count) < 0.7, random.uniform(2.0, 5.0, count), -1.0)
    factor[deviating] = other.astype(np.float32)
    return np.float32(mean_curvature(hardware.name, seed, effects)) * factor, deviating


def _kill_columns(dead: np.ndarray, hardware: ArmHardware, random: np.random.Generator) -> None:
    """Two partly dead columns of a CCD; clusters of an infrared array."""
    ny, nx = dead.shape
    if hardware.reference_border:
        for _ in range(25):
            y, x = int(random.integers(2, ny - 3)), int(random.integers(2, nx - 3))
            dead[y - 1 : y + 2, x : x + 2] = True
        return
    for _ in range(2):
        y, x = int(random.integers(0, ny)), int(random.integers(0, nx))
        dead[y : y + int(random.integers(100, 900)), x] = True


def _dark_current(
    hardware: ArmHardware, random: np.random.Generator, effects: Effects
) -> tuple[np.ndarray, np.ndarray]:
    shape = hardware.shape
    dark = np.full(shape, hardware.dark_current * effects.dark, dtype=np.float32)
    if hardware.reference_border:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        glow = np.exp(-x / 60.0) + np.exp(-(shape[0] - y) / 90.0)
        dark += (0.006 * effects.dark * glow).astype(np.float32)
        fraction, level = 1.5e-3, 0.3
    else:
        fraction, level = 3e-5, 0.02
    chosen = np.flatnonzero(random.random(shape, np.float32).ravel() < fraction * min(effects.hot_pixels, 1.0))
    rates = level * 10.0 ** random.normal(0.0, 0.6, chosen.size) * max(effects.hot_pixels, 1.0)
    dark.ravel()[chosen] += rates.astype(np.float32)
    hot = np.zeros(shape, bool)
    hot.ravel()[chosen[rates > max(10.0 * hardware.dark_current, 0.02)]] = True
    return dark, hot


def _bias_pattern(hardware: ArmHardware, seed: int, effects: Effects) -> np.ndarray:
    """Pedestal, smooth column structure and a gentle ramp [e-]."""
    ny, nx = hardware.raw_shape
    random = generator(seed, "bias", hardware.name)
    pattern = np.full((ny, nx), hardware.pedestal * hardware.gain, dtype=np.float32)
    columns = random.normal(0.0, 1.0, nx)
    smooth = gaussian_filter1d(random.normal(0.0, 1.0, nx), 25.0) * 3.0
    ramp = -np.expm1(-np.arange(ny) / 400.0) * 3.0
    structure = (0.5 * columns + smooth)[None, :] + ramp[:, None]
    return pattern + (effects.bias_structure * structure).astype(np.float32)


def scattered_light(light: np.ndarray, effects: Effects) -> np.ndarray:
    """Smooth light between the orders: 2.5 % of the light, spread by 120 and 400 px.

    Parameters
    ----------
    light : ndarray (ny, nx) [e-]

    Returns
    -------
    ndarray (ny, nx) float64 [e-]
    """
    if not effects.scattered_light:
        return np.zeros_like(light)
    step = 8
    ny, nx = light.shape
    padded = np.zeros((-(-ny // step) * step, -(-nx // step) * step))
    padded[:ny, :nx] = light
    coarse = padded.reshape(padded.shape[0] // step, step, -1, step).mean(axis=(1, 3))
    spread = np.zeros_like(coarse)
    for fraction, width in ((0.6, 120.0), (0.4, 400.0)):
        blurred = gaussian_filter1d(coarse, width / step, axis=0, mode="constant", truncate=3.0)
        spread += fraction * gaussian_filter1d(blurred, width / step, axis=1, mode="constant", truncate=3.0)
    fine = _upsample(_upsample(spread, step, ny, 0), step, nx, 1)
    return 0.025 * effects.scattered_light * fine


def _upsample(values: np.ndarray, step: int, size: int, axis: int) -> np.ndarray:
    """Linear interpolation from block means to pixels along one axis."""
    position = np.clip((np.arange(size) - 0.5 * (step - 1)) / step, 0.0, values.shape[axis] - 1.0)
    low = np.minimum(position.astype(int), values.shape[axis] - 2)
    fraction = position - low
    shape = [1, 1]
    shape[axis] = size
    fraction = fraction.reshape(shape)
    return values.take(low, axis) * (1.0 - fraction) + values.take(low + 1, axis) * fraction


def expose(
    state: DetectorState,
    electrons: np.ndarray | None,
    exposure_time: float,
    random: np.random.Generator,
    effects: Effects,
    previous: np.ndarray | None = None,
    delay: float = 60.0,
    binning: tuple[int, int] = (1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """Take an exposure and read it.

    Parameters
    ----------
    state : DetectorState
    electrons : ndarray (ny, nx) or None [e-]
        Light that the pixels would detect with a response of 1; None is no light.
    exposure_time : float [s]
    random : numpy.random.Generator
    effects : Effects
    previous : ndarray (ny, nx) or None [e-]
        Light of the exposure before, for persistence.
    delay : float [s]
        Time since it ended.
    binning : (y, x)
        Pixels added on the chip before they are read.

    Returns
    -------
    raw : ndarray raw shape uint16 [ADU]
        Binned.
    cosmic_rays : ndarray (ny, nx) float32 [e-]
    """
    hardware = state.hardware
    expected = state.dark * exposure_time
    if electrons is not None:
        expected = expected + np.maximum(electrons, 0.0) * state.response
    if previous is not None and effects.persistence and hardware.reference_border:
        trapped = np.maximum(np.minimum(previous, hardware.full_well) - _PERSISTENCE_FLOOR, 0.0)
        decay = np.exp(-delay / _PERSISTENCE_DECAY) * -np.expm1(-exposure_time / _PERSISTENCE_DECAY)
        expected = expected + effects.persistence * _PERSISTENCE_FRACTION * decay * trapped
    signal = poisson(expected.astype(np.float32), random) if effects.photon_noise else expected.astype(np.float32)
    rays = cosmic_rays(hardware, exposure_time, random, effects)
    signal += rays
    signal = limited(state.recorded(signal), hardware, effects)
    counts = np.array(state.bias[:: binning[0], :: binning[1]])
    if effects.bias_drift:
        counts += np.float32(effects.bias_drift * random.normal(0.0, 1.5))
    y0, y1, x0, x1 = hardware.binned_window(binning)
    counts[y0:y1, x0:x1] += binned(signal, binning)
    if effects.read_noise:
        noise = random.standard_normal(counts.shape, np.float32)
        counts += np.float32(hardware.read_noise * effects.read_noise) * noise
    counts /= np.float32(hardware.gain)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16), rays


def binned(image: np.ndarray, binning: tuple[int, int]) -> np.ndarray:
    """Sums over blocks of (y, x) pixels."""
    if binning == (1, 1):
        return image
    ny, nx = image.shape[0] // binning[0], image.shape[1] // binning[1]
    return image.reshape(ny, binning[0], nx, binning[1]).sum(axis=(1, 3))


def poisson(expected: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Poisson deviates, rounded normal ones where the expectation exceeds 50."""
    bright = expected > _BRIGHT
    drawn = np.empty(expected.shape, np.float32)
    drawn[~bright] = random.poisson(expected[~bright])
    level = expected[bright]
    deviates = random.standard_normal(level.size, np.float32)
    # The skew term of Cornish and Fisher keeps the third moment of the Poisson distribution.
    drawn[bright] = np.rint(level + np.sqrt(level) * deviates + (deviates * deviates - 1.0) / np.float32(6.0))
    return drawn


def limited(signal: np.ndarray, hardware: ArmHardware, effects: Effects) -> np.ndarray:
    """Departure from linearity above the linear limit, and the full well."""
    if effects.nonlinearity:
        excess = np.maximum(signal - np.float32(hardware.linear_limit), 0.0)
        lost = np.float32(0.15 * effects.nonlinearity) * excess**2 / (np.float32(hardware.full_well) + excess)
        signal = signal - np.minimum(lost, 0.9 * excess)
    return np.minimum(signal, np.float32(hardware.full_well)) if effects.saturation else signal


def cosmic_rays(
    hardware: ArmHardware, exposure_time: float, random: np.random.Generator, effects: Effects
) -> np.ndarray:
    """Tracks of energetic particles [e-]: straight, of random direction, some thousand electrons each."""
    ny, nx = hardware.shape
    image = np.zeros((ny, nx), np.float32)
    area = ny * nx * (hardware.pixel_size * 1e-4) ** 2
    count = int(random.poisson(_COSMIC_RATE * area * exposure_time * effects.cosmic_rays))
    if count == 0:
        return image
    start = np.stack([random.uniform(0, ny, count), random.uniform(0, nx, count)])
    angle = random.uniform(0.0, 2.0 * np.pi, count)
    length = np.minimum(1.0 + random.exponential(3.0, count), 60.0)
    deposit = 10.0 ** random.normal(2.9, 0.35, count)  # e- per pixel of track
    steps = np.arange(0.0, 60.0, 0.1)
    along = np.minimum(steps[None, :], length[:, None])
    weight = np.where(steps[None, :] < length[:, None], 0.1 * deposit[:, None], 0.0)
    y = (start[0][:, None] + along * np.sin(angle)[:, None]).astype(int)
    x = (start[1][:, None] + along * np.cos(angle)[:, None]).astype(int)
    inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
    flat = np.bincount((y * nx + x)[inside], weights=weight[inside], minlength=ny * nx)
    return flat.reshape(ny, nx).astype(np.float32)
