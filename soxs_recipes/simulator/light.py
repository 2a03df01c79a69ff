"""Noise-free light of every scene the instrument looks at: lamps through masks and slits, sky, stars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import fftconvolve

from soxs_recipes.simulator.catalogues import EmissionLines, airglow_family, lamp_lines, sky_lines
from soxs_recipes.simulator.hardware import generator
from soxs_recipes.simulator.render import (
    OVERSAMPLING,
    Profile,
    SampledSpectrum,
    empty_spectrum,
    line_shape,
    line_spectrum,
    pinhole_profile,
)
from soxs_recipes.simulator.spectra import deuterium_lamp, quartz_lamp, sky_continuum
from soxs_recipes.simulator.spectrograph import Spectrograph
from soxs_recipes.simulator.throughput import COLLECTING_AREA, atmosphere, differential_refraction, throughput

__all__ = [
    "Observation",
    "PointSource",
    "Scene",
    "arc_scene",
    "flat_scene",
    "sky_scene",
    "sky_table",
    "source_light",
]


@dataclass(frozen=True)
class Scene:
    """Expected light of one set-up and what it was made of.

    Attributes
    ----------
    electrons : ndarray (ny, nx) float32 [e-]
    spectra : {order: SampledSpectrum}
        Lamp or sky: e-/px of the dispersion coordinate, per unit of the slit profile.
    tables : {name: ndarray}
        Truth for the frame's truth file.
    """

    electrons: np.ndarray
    spectra: dict[int, SampledSpectrum]
    tables: dict[str, np.ndarray]

    def times(self, factor: float) -> Scene:
        """The scene of a lamp that shines brighter or longer."""
        spectra = {o: SampledSpectrum(one.start, one.values * factor) for o, one in self.spectra.items()}
        tables = {k: v * factor if k.endswith("_electrons") else v for k, v in self.tables.items()}
        return Scene(self.electrons * np.float32(factor), spectra, tables)


@dataclass(frozen=True, slots=True)
class PointSource:
    """A star on the slit.

    Attributes
    ----------
    name : str
    wavelength : ndarray (n,) [nm, vacuum, as observed]
    flux : ndarray (n,) [erg/s/cm2/Angstrom]
        Above the atmosphere.
    slit_position : float [arcsec]
        At the reference wavelength.
    cross_position : float [arcsec]
        From the middle of the slit across it, positive towards positive dispersion coordinates.
    extent : float [arcsec]
        Own FWHM, in quadrature with the seeing's: the image stays a Moffat profile.
    """

    name: str
    wavelength: np.ndarray
    flux: np.ndarray
    slit_position: float
    cross_position: float = 0.0
    extent: float = 0.0

    def displaced(self, along: float, across: float) -> PointSource:
        """The source moved on the slit [arcsec]."""
        return replace(self, slit_position=self.slit_position + along, cross_position=self.cross_position + across)


@dataclass(frozen=True, slots=True)
class Observation:
    """Circumstances of an exposure on sky.

    Attributes
    ----------
    exposure_time : float [s]
    airmass : float
    seeing : float [arcsec]
        FWHM at 500 nm and at the zenith.
    slit_width : float [arcsec]
    moon : float
        0 dark to 1 bright.
    transparency : float
        Of clouds; dims objects alike at all wavelengths.
    airglow : tuple of float
        Factor of the lines of each family (see `catalogues.airglow_family`); empty: 1.
    continuum : float
        Factor of the sky continuum.
    """

    exposure_time: float
    airmass: float = 1.2
    seeing: float = 0.9
    slit_width: float = 1.0
    moon: float = 0.3
    transparency: float = 1.0
    airglow: tuple[float, ...] = ()
    continuum: float = 1.0


_GUIDING = 620.0  # nm, where the object is held on the slit
_MOFFAT = 4.0
_SLIT_ARC = 2.0  # light of an arc line per arcsec of a slit of 1 arcsec, in pinholes
_TRANSMITTED_DISPERSION = {"VIS": 0.05, "NIR": 1.0}  # what the corrector leaves of it


def arc_scene(
    spectrograph: Spectrograph,
    positions: np.ndarray | None,
    exposure: float = 1.0,
    dead_lamp: str = "",
    slit_width: float = 1.0,
) -> Scene:
    """The arc lamps through pinholes, or through the slit when `positions` is None.

    Parameters
    ----------
    spectrograph : Spectrograph
    positions : ndarray (n,) or None [arcsec]
        Evenly spaced along the slit.
    exposure : float
        In units of the nominal one.
    dead_lamp : str
        Element that does not shine, such as "Xe".
    slit_width : float [arcsec]
        Of the slit; the truth's line electrons are then per arcsec along it.
    """
    lines = lamp_lines(spectrograph.hardware.name, spectrograph.seed, spectrograph.effects)
    if dead_lamp:
        lines = lines.without(dead_lamp)
    width, mask = 0.0, {}
    if positions is None:
        width, exposure = slit_width, exposure * _SLIT_ARC * slit_width
    else:
        random = generator(spectrograph.seed, "pinholes", spectrograph.hardware.name, len(positions))
        transmissions = 1.0 + 0.05 * random.uniform(-1.0, 1.0, len(positions))
        mask = {"pinhole_positions": np.asarray(positions, float), "pinhole_transmissions": transmissions}
    image, spectra, rows = spectrograph.blank(), {}, []
    for order in spectrograph.orders:
        spectra[order], table = _arc_order(spectrograph, order, lines, exposure, width)
        rows.append(table)
        profile = (
            spectrograph.slit_surface(order)
            if positions is None
            else pinhole_profile(positions, transmissions, spectrograph.sigma_slit(order))
        )
        spectrograph.render(image, order, spectra[order], profile)
    tables = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    return Scene(spectrograph.finish(image), spectra, tables | mask)


def _arc_order(
    spectrograph: Spectrograph, order: int, lines: EmissionLines, exposure: float, slit_width: float
) -> tuple[SampledSpectrum, dict[str, np.ndarray]]:
    chosen, v = spectrograph.line_positions(order, lines.wavelength)
    wavelength = lines.wavelength[chosen]
    data = spectrograph.hardware.order(order)
    passed = throughput(spectrograph.hardware, order, wavelength, spectrograph.seed, spectrograph.effects)
    electrons = exposure * lines.strength[chosen] * passed / data.peak_throughput
    sigma = spectrograph.sigma_along(order)(v)
    width = spectrograph.box_width(slit_width, v) if slit_width else 0.0
    spectrum = line_spectrum(spectrograph.geometry(order), v, electrons, width, sigma)
    x, y = spectrograph.model.evaluate(order, wavelength, 0.0)
    return spectrum, {
        "line_order": np.full(chosen.size, order),
        "line_wavelength": wavelength,
        "line_catalogue_wavelength": lines.catalogue_wavelength[chosen],
        "line_electrons": electrons,
        "line_x": x,
        "line_y": y,
    }


def flat_scene(
    spectrograph: Spectrograph,
    peak: float,
    lamp: str = "QTH",
    slit_width: float | None = 1.0,
) -> Scene:
    """A continuum lamp through a slit, or through the pinhole when `slit_width` is None.

    Parameters
    ----------
    spectrograph : Spectrograph
    peak : float [e-]
        Level of the brightest pixels.
    lamp : {"QTH", "D2"}
    slit_width : float or None [arcsec]
    """
    continuum = quartz_lamp if lamp == "QTH" else deuterium_lamp
    spectra = {order: _lamp_order(spectrograph, order, continuum, slit_width) for order in spectrograph.orders}
    profiles = {order: _mask(spectrograph, order, slit_width) for order in spectrograph.orders}
    scale = peak / max(_peak_level(spectrograph, order, spectra[order], profiles[order]) for order in spectra)
    image = spectrograph.blank()
    for order, spectrum in spectra.items():
        spectra[order] = SampledSpectrum(spectrum.start, spectrum.values * scale)
        spectrograph.render(image, order, spectra[order], profiles[order])
    return Scene(spectrograph.finish(image), spectra, _spectral_table(spectrograph, spectra, "lamp"))


def _mask(spectrograph: Spectrograph, order: int, slit_width: float | None) -> Profile:
    if slit_width is None:
        return pinhole_profile(np.array([0.0]), np.array([1.0]), spectrograph.sigma_slit(order))
    return spectrograph.slit_surface(order)


def _lamp_order(spectrograph, order, continuum, slit_width) -> SampledSpectrum:
    geometry = spectrograph.geometry(order)
    spectrum = empty_spectrum(geometry)
    wavelength = geometry.wavelength_of(spectrum.grid)
    passed = throughput(spectrograph.hardware, order, wavelength, spectrograph.seed, spectrograph.effects)
    values = continuum(wavelength) * passed * geometry.wavelength_step(spectrum.grid)
    kernel = None if slit_width is None else slit_width
    return _line_spread(spectrograph, order, SampledSpectrum(spectrum.start, values), kernel)


def _peak_level(spectrograph: Spectrograph, order: int, spectrum: SampledSpectrum, profile: Profile) -> float:
    geometry = spectrograph.geometry(order)
    s = np.linspace(-1.0, 1.0, 201)
    v = np.full_like(s, 0.5 * spectrograph.hardware.along)
    return float(spectrum.values.max() * profile(v, s).max() * geometry.arcsec_per_pixel)


def sky_scene(spectrograph: Spectrograph, observation: Observation) -> Scene:
    """Airglow, moonlight and thermal background through the slit."""
    lines = sky_lines(spectrograph.seed, spectrograph.effects)
    if observation.airglow:
        lines = replace(
            lines, strength=lines.strength * np.array(observation.airglow)[airglow_family(lines.wavelength)]
        )
    image, spectra = spectrograph.blank(), {}
    for order in spectrograph.orders:
        spectra[order] = _sky_order(spectrograph, order, lines, observation)
        spectrograph.render(image, order, spectra[order], spectrograph.slit_surface(order))
    truth = {
        "airglow_wavelength": lines.wavelength,
        "airglow_catalogue_wavelength": lines.catalogue_wavelength,
        "airglow_strength": lines.strength,
    }
    return Scene(image, spectra, truth)


def _sky_order(
    spectrograph: Spectrograph, order: int, lines: EmissionLines, observation: Observation
) -> SampledSpectrum:
    """Sky of one order [e-/px/arcsec]."""
    geometry, hardware = spectrograph.geometry(order), spectrograph.hardware
    seed, effects = spectrograph.seed, spectrograph.effects
    collecting = COLLECTING_AREA * 1e-4 * observation.slit_width * observation.exposure_time
    chosen, v = spectrograph.line_positions(order, lines.wavelength)
    passed = throughput(hardware, order, lines.wavelength[chosen], seed, effects)
    spectrum = line_spectrum(
        geometry,
        v,
        lines.strength[chosen] * passed * collecting * observation.airmass,
        spectrograph.box_width(observation.slit_width, v),
        spectrograph.sigma_along(order)(v),
    )
    grid = spectrum.grid
    wavelength = geometry.wavelength_of(grid)
    continuum = sky_continuum(wavelength, effects, observation.moon) * (collecting * observation.continuum)
    continuum *= throughput(hardware, order, wavelength, seed, effects) * geometry.wavelength_step(grid) * 1e-3
    return spectrum.plus(SampledSpectrum(spectrum.start, continuum))


def sky_table(spectrograph: Spectrograph, sky: Scene) -> dict[str, np.ndarray]:
    """Truth of the sky: e-/px of the dispersion coordinate and per arcsec; lines in photon/s/m2/arcsec2."""
    return {**sky.tables, **_spectral_table(spectrograph, sky.spectra, "sky")}


def source_light(
    spectrograph: Spectrograph, image: np.ndarray, source: PointSource, observation: Observation
) -> dict[str, np.ndarray]:
    """Add a star to an image made by `Spectrograph.blank`; returns its truth table."""
    rows = []
    for order in spectrograph.orders:
        star = _StarInOrder(spectrograph, order, source, observation)
        spectrograph.render(image, order, star.spectrum, star.profile)
        rows.append(star.table())
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


class _StarInOrder:
    """A star's light in one order: spectrum through the slit and profile along it."""

    def __init__(self, spectrograph: Spectrograph, order: int, source: PointSource, observation: Observation):
        self.spectrograph, self.order = spectrograph, order
        self.source, self.observation = source, observation
        geometry = spectrograph.geometry(order)
        self.ends = np.array([0.0, spectrograph.hardware.along - 1.0])
        self.end_wavelengths = geometry.wavelength_of(self.ends)
        self.end_tables = [self._slit_cut(w, v) for w, v in zip(self.end_wavelengths, self.ends, strict=True)]
        self.surface = spectrograph.slit_surface(order)
        v = np.linspace(geometry.v_start, geometry.v_end, 1000)
        self.trace = (v, self.position(geometry.wavelength_of(v)))
        self.spectrum = self._spectrum()

    def seeing(self, wavelength: np.ndarray) -> np.ndarray:
        """FWHM before the slit [arcsec], with the source's own extent."""
        o = self.observation
        air = o.seeing * o.airmass**0.6 * (np.asarray(wavelength, float) / 500.0) ** -0.2
        return np.hypot(air, self.source.extent) if self.source.extent else air

    def transmission(self, wavelength: np.ndarray) -> np.ndarray:
        """Fraction of the star that the slit passes."""
        if not self.spectrograph.effects.slit_loss:
            return np.ones_like(wavelength)
        nodes = np.linspace(wavelength.min(), wavelength.max(), 60)
        alpha = self.seeing(nodes) / (2.0 * np.sqrt(2.0 ** (1.0 / _MOFFAT) - 1.0))
        x = np.linspace(-300.0, 300.0, 600001)
        marginal = (1.0 + x * x) ** (0.5 - _MOFFAT)
        cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (marginal[1:] + marginal[:-1]))])
        low, high = ((edge - self.source.cross_position) / alpha for edge in self._jaws())
        passed = (np.interp(high, x, cumulative) - np.interp(low, x, cumulative)) / cumulative[-1]
        return np.interp(wavelength, nodes, passed)

    def _jaws(self) -> tuple[float, float]:
        half = 0.5 * self.observation.slit_width
        return -half, half

    def position(self, wavelength: np.ndarray) -> np.ndarray:
        """Slit position [arcsec]."""
        name = self.spectrograph.hardware.name
        refraction = differential_refraction(wavelength, _GUIDING, self.observation.airmass)
        strength = self.spectrograph.effects.atmospheric_dispersion * _TRANSMITTED_DISPERSION[name]
        return self.source.slit_position + strength * refraction

    def _slit_cut(self, wavelength: float, v: float) -> np.ndarray:
        """Profile along the slit of the light that passes it, blurred by the optics, of unit integral."""
        s = _PROFILE_GRID
        alpha = self.seeing(wavelength) / (2.0 * np.sqrt(2.0 ** (1.0 / _MOFFAT) - 1.0))
        nodes, weights = np.polynomial.legendre.leggauss(48)
        x = 0.5 * self.observation.slit_width * nodes - self.source.cross_position
        light = ((1.0 + (x[None, :] ** 2 + s[:, None] ** 2) / alpha**2) ** -_MOFFAT * weights[None, :]).sum(axis=1)
        sigma = float(self.spectrograph.sigma_slit(self.order)(np.array(v)))
        kernel = np.exp(-0.5 * (np.arange(-1500, 1501) * _PROFILE_STEP / sigma) ** 2)
        light = fftconvolve(light, kernel / kernel.sum(), mode="same")
        return light / (light.sum() * _PROFILE_STEP)

    def profile(self, v: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Light density along the slit [1/arcsec]."""
        return self._density(v, s, np.interp(v, *self.trace)) * self.surface(v, s)

    def _density(self, v, s, position):
        t = np.clip((s - position - _PROFILE_GRID[0]) / _PROFILE_STEP, 0.0, _PROFILE_GRID.size - 1.001)
        index = t.astype(np.int64)
        t -= index
        part = np.clip((v - self.ends[0]) / (self.ends[1] - self.ends[0]), 0.0, 1.0)
        blue, red = self.end_tables
        low = blue[index] + t * (blue[index + 1] - blue[index])
        high = red[index] + t * (red[index + 1] - red[index])
        return low + part * (high - low)

    def _spectrum(self) -> SampledSpectrum:
        spectrograph, observation = self.spectrograph, self.observation
        geometry, effects = spectrograph.geometry(self.order), spectrograph.effects
        blank = empty_spectrum(geometry)
        grid = blank.grid
        wavelength = geometry.wavelength_of(grid)
        flux = np.interp(wavelength, self.source.wavelength, self.source.flux)
        photons = flux * (wavelength / 1.98644586e-9) * 10.0 * COLLECTING_AREA * observation.exposure_time
        values = photons * geometry.wavelength_step(grid) * atmosphere(wavelength, observation.airmass, effects)
        values *= throughput(spectrograph.hardware, self.order, wavelength, spectrograph.seed, effects)
        values *= self.transmission(wavelength) * observation.transparency
        middle = float(np.median(self.seeing(wavelength)))
        image = (middle, self.source.cross_position)
        return _line_spread(
            spectrograph, self.order, SampledSpectrum(blank.start, values), observation.slit_width, image
        )

    def table(self) -> dict[str, np.ndarray]:
        """Truth, one row a pixel of the dispersion coordinate."""
        spectrograph = self.spectrograph
        geometry = spectrograph.geometry(self.order)
        low = int(np.ceil(max(geometry.v_start + 1.0, 0.0)))
        high = int(np.floor(min(geometry.v_end - 1.0, spectrograph.hardware.along - 1.0)))
        v = np.arange(low, high + 1, dtype=float)
        wavelength = geometry.wavelength_of(v)
        position = self.position(wavelength)
        s = position[:, None] + np.linspace(-8.0, 8.0, 801)[None, :]
        grid_v = np.broadcast_to(v[:, None], s.shape)[::64]
        light = self._density(grid_v, s[::64], position[::64, None])
        rough, even = (
            np.interp(v, v[::64], (light * surface(grid_v, s[::64])).sum(1) * 0.02)
            for surface in (self.surface, spectrograph.slit_surface(self.order, even=True))
        )
        counts = self.spectrum.integral(v + 0.5) - self.spectrum.integral(v - 0.5)
        return {
            "object_order": np.full(v.size, self.order),
            "object_dispersion_pixel": v,
            "object_wavelength": wavelength,
            "object_wavelength_step": geometry.wavelength_step(v),
            "object_electrons": counts * rough,
            "object_in_slit": even,
            "object_jaws": rough / even / float(self.surface(np.zeros(1), np.zeros(1))[0]),
            "object_slit_position": position,
            "object_fwhm": np.hypot(self.seeing(wavelength), 2.3548 * spectrograph.sigma_slit(self.order)(v)),
            "object_slit_transmission": self.transmission(wavelength),
        }


_PROFILE_STEP = 0.005
_PROFILE_GRID = np.arange(-12.0, 12.0 + 0.5 * _PROFILE_STEP, _PROFILE_STEP)


def _line_spread(
    spectrograph: Spectrograph,
    order: int,
    spectrum: SampledSpectrum,
    slit_width: float | None,
    star: tuple[float, float] | None = None,
) -> SampledSpectrum:
    """Convolve a spectrum with the line spread, which changes slowly along the order.

    `star` is FWHM and distance from the middle of the slit of the image that falls on it [arcsec].

    The kernel is the slit's box (or the star's image where that is narrower) convolved with the optical Gaussian;
    it is taken at five places and the results are blended linearly.
    """
    n = spectrograph.hardware.along
    nodes = np.linspace(0.0, n - 1.0, 5)
    sigma = spectrograph.sigma_along(order)
    convolved = []
    for node in nodes:
        reach = 4.0 + 6.0 * float(sigma(node))
        if slit_width is not None:
            reach += float(spectrograph.box_width(slit_width, node))
        distance = np.arange(-int(reach * OVERSAMPLING), int(reach * OVERSAMPLING) + 1) / OVERSAMPLING
        kernel = _kernel(spectrograph, order, float(node), distance, slit_width, star)
        # The ends of the spectrum are continued, for light goes on beyond the detector.
        half = distance.size // 2
        padded = np.pad(spectrum.values, half, mode="edge")
        convolved.append(fftconvolve(padded, kernel / kernel.sum(), mode="valid"))
    place = np.clip(spectrum.grid / (n - 1.0), 0.0, 1.0) * (nodes.size - 1)
    low = np.minimum(place.astype(int), nodes.size - 2)
    part = place - low
    stack = np.array(convolved)
    columns = np.arange(low.size)
    values = stack[low, columns] * (1.0 - part) + stack[low + 1, columns] * part
    return SampledSpectrum(spectrum.start, np.maximum(values, 0.0))


def _kernel(spectrograph, order, node, distance, slit_width, star) -> np.ndarray:
    sigma = float(spectrograph.sigma_along(order)(node))
    if slit_width is None:
        return line_shape(distance, np.array(0.0), np.array(sigma))
    width = float(spectrograph.box_width(slit_width, node))
    if star is None:
        return line_shape(distance, np.array(width), np.array(sigma))
    scale = width / slit_width
    alpha = star[0] * scale / (2.0 * np.sqrt(2.0 ** (1.0 / _MOFFAT) - 1.0))
    light = (1.0 + ((distance - star[1] * scale) / alpha) ** 2) ** (0.5 - _MOFFAT)
    edge = np.clip((0.5 * width - np.abs(distance)) * OVERSAMPLING + 0.5, 0.0, 1.0)
    return np.convolve(light * edge, np.exp(-0.5 * (distance / sigma) ** 2), mode="same")


def _spectral_table(
    spectrograph: Spectrograph, spectra: dict[int, SampledSpectrum], name: str
) -> dict[str, np.ndarray]:
    """Electrons per pixel of the dispersion coordinate of every order, with wavelengths."""
    rows = []
    for order, spectrum in spectra.items():
        geometry = spectrograph.geometry(order)
        low = int(np.ceil(max(geometry.v_start + 1.0, 0.0)))
        high = int(np.floor(min(geometry.v_end - 1.0, spectrograph.hardware.along - 1.0)))
        v = np.arange(low, high + 1, dtype=float)
        counts = spectrum.integral(v + 0.5) - spectrum.integral(v - 0.5)
        rows.append((np.full(v.size, order), v, geometry.wavelength_of(v), counts))
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    keys = ("order", "dispersion_pixel", "wavelength", "electrons")
    return {f"{name}_{key}": column for key, column in zip(keys, columns, strict=True)}
