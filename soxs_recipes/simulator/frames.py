"""One raw frame of any type, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.time import Time

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.catalogues import standard_star
from soxs_recipes.simulator.detector import DetectorState, detector_state, expose
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.hardware import ArmHardware, arm_hardware, generator
from soxs_recipes.simulator.headers import STARING, FrameKind, Offset, Pointing, Sequence, frame_kind, raw_header
from soxs_recipes.simulator.light import (
    Observation,
    PointSource,
    Scene,
    arc_scene,
    flat_scene,
    sky_scene,
    sky_table,
    source_light,
)
from soxs_recipes.simulator.optics import OpticalModel
from soxs_recipes.simulator.spectra import ab_flux, narrow_line, supernova_flux
from soxs_recipes.simulator.spectrograph import Spectrograph

__all__ = ["FrameMaker", "FrameRequest", "SimulatedFrame", "default_request", "simulate_frame", "supernova"]

SLIT_WIDTHS = {"SLIT0.5": 0.5, "SLIT1.0": 1.0, "SLIT1.5": 1.5, "SLIT5.0": 5.0}
SHUTTER_DELAY = {"VIS": 0.015, "NIR": 0.0}  # s: the light lasts longer than the header says
_FLAT_PEAK = {"VIS": 60000.0, "NIR": 45000.0}  # e-
_PINHOLE_FLAT_PEAK = {"VIS": 30000.0, "NIR": 25000.0}  # e-
_EXPOSURE_TIMES = {  # s
    ("VIS", "bias"): 0.0, ("VIS", "pinhole_arc"): 60.0, ("VIS", "pinhole_flat"): 30.0, ("VIS", "slit_flat"): 20.0,
    ("VIS", "multi_pinhole_arc"): 60.0, ("VIS", "standard"): 120.0, ("VIS", "science"): 900.0,
    ("VIS", "dark"): 300.0, ("NIR", "bias"): 0.0, ("NIR", "dark"): 20.0, ("NIR", "pinhole_arc"): 20.0,
    ("NIR", "pinhole_flat"): 20.0, ("NIR", "slit_flat"): 20.0, ("NIR", "multi_pinhole_arc"): 20.0,
    ("VIS", "slit_arc"): 60.0, ("NIR", "slit_arc"): 20.0, ("VIS", "linearity"): 20.0, ("NIR", "linearity"): 20.0,
    ("NIR", "standard"): 180.0, ("NIR", "science"): 600.0,
}  # fmt: skip
_R_BAND = 622.0  # nm
_CIRCUMSTANCES = ("airmass", "seeing", "moon", "transparency", "airglow", "continuum")
_START = Time("2026-03-01T18:00:00.000", format="isot", scale="utc", precision=3)


@lru_cache(maxsize=4)
def supernova(
    magnitude: float = 18.0, slit_position: float = 0.6, redshift: float = 0.02, host_line: float = 0.0
) -> PointSource:
    """The demonstration target: a type-Ia-like supernova.

    Parameters
    ----------
    magnitude : float
        In V.
    slit_position : float [arcsec]
    redshift : float
    host_line : float [erg/s/cm2]
        Flux of a narrow H alpha line of the host at the same redshift.
    """
    wavelength = np.arange(300.0, 2150.0, 0.02)
    flux = supernova_flux(wavelength, magnitude, redshift)
    flux = flux + narrow_line(wavelength, 656.46 * (1.0 + redshift), host_line)
    return PointSource("SN2026abc", wavelength, flux, slit_position)


@lru_cache(maxsize=4)
def standard(name: str = "LTT3218", slit_position: float = -0.4) -> PointSource:
    """A spectrophotometric standard of the catalogue."""
    return PointSource(name, *standard_star(name), slit_position)


@lru_cache(maxsize=4)
def faint_star(magnitude: float = 20.0, slit_position: float = 0.6) -> PointSource:
    """The demonstration supernova dimmed to an AB magnitude in the middle of r (622 nm)."""
    source = supernova(18.0, slit_position)
    wanted = ab_flux(magnitude, _R_BAND)
    scale = wanted / np.interp(_R_BAND, source.wavelength, source.flux)
    return replace(source, name="SN2026faint", flux=source.flux * scale)


@lru_cache(maxsize=4)
def galaxy(magnitude: float = 15.5, slit_position: float = 0.0, extent: float = 3.0) -> PointSource:
    """An extended source with narrow lines: `magnitude` in r, own FWHM `extent` [arcsec]."""
    wavelength = np.arange(300.0, 2150.0, 0.02)
    flux = ab_flux(magnitude, wavelength) * (wavelength / _R_BAND) ** 0.8
    for centre, strength in ((656.46, 6e-14), (658.5, 2e-14), (500.82, 3e-14), (1282.2, 3e-14)):
        flux = flux + narrow_line(wavelength, centre * 1.004, strength)
    return PointSource("NGC2997", wavelength, flux, slit_position, extent=extent)


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What to expose.

    Attributes
    ----------
    kind : FrameKind
    arm : str
    exposure_time : float [s]
    slit : str
    lamp : {"QTH", "D2"}
    lamps_off : bool
    sources : tuple of PointSource
    observation : Observation or None
    flexure : (dx, dy) [px]
    index : int
        Number of the exposure in the night; frames that differ only in it are independent.
    lamp_scale : float
        Brightness of the lamps against the nominal.
    dead_lamp : str
        Element of an arc lamp that does not shine, such as "Xe".
    binning : (y, x)
        UV-VIS only.
    target : str
        What the observer asked for; "" for the name of the first source.
    offset : Offset
        Only described in the header: sources stand where their own positions say.
    position_angle : float [deg]
    """

    kind: FrameKind
    arm: str
    exposure_time: float
    slit: str = "SLIT1.0"
    lamp: str = "QTH"
    lamps_off: bool = False
    sources: tuple[PointSource, ...] = ()
    observation: Observation | None = None
    flexure: tuple[float, float] = (0.0, 0.0)
    index: int = 0
    lamp_scale: float = 1.0
    dead_lamp: str = ""
    binning: tuple[int, int] = (1, 1)
    target: str = ""
    offset: Offset = STARING
    position_angle: float = 0.0

    @property
    def scene_key(self) -> tuple:
        """Equal for requests that show the same light."""
        sources = tuple(
            (s.name, s.slit_position, s.cross_position, s.extent, float(s.flux.sum())) for s in self.sources
        )
        return (
            self.kind.name, self.slit, self.lamp, self.lamps_off, sources, self.observation, self.flexure,
            self.lamp_scale, self.dead_lamp, self.exposure_time,
        )  # fmt: skip


class SimulatedFrame(NamedTuple):
    """A raw frame and its truth.

    Attributes
    ----------
    data : ndarray raw shape uint16 [ADU]
    header : fits.Header
    truth : FrameTruth
    """

    data: np.ndarray
    header: fits.Header
    truth: FrameTruth


@dataclass(frozen=True)
class FrameTruth:
    """What went into a frame.

    Attributes
    ----------
    model : OpticalModel
        With this exposure's flexure: where each (order, wavelength, slit) falls.
    electrons : ndarray (ny, nx) float32 [e-] or None
        Expected light on the trimmed, unbinned detector for a pixel response of 1, without dark; None: no light.
    cosmic_rays : ndarray (ny, nx) float32 [e-]
    tables : {name: ndarray}
        Lines, lamp, sky and object per order; see `truth.TableTruth`.
    detector : DetectorState
    """

    model: OpticalModel
    electrons: np.ndarray | None
    cosmic_rays: np.ndarray
    tables: dict[str, np.ndarray]
    detector: DetectorState


@dataclass
class FrameMaker:
    """Makes frames of one arm and seed; the light of a set-up is computed once and kept.

    Attributes
    ----------
    arm : str
    seed : int
    effects : Effects
    """

    arm: str
    seed: int = 1
    effects: Effects = field(default_factory=Effects)
    _detector: DetectorState | None = None
    _scenes: dict[tuple, Scene] = field(default_factory=dict)
    _previous: np.ndarray | None = None

    @property
    def hardware(self) -> ArmHardware:
        """The arm's fixed properties."""
        return arm_hardware(self.arm)

    @property
    def detector(self) -> DetectorState:
        """The detector of the seed."""
        if self._detector is None:
            self._detector = detector_state(self.arm, self.seed, self.effects)
        return self._detector

    def make(self, request: FrameRequest, sequence: Sequence, pointing: Pointing) -> SimulatedFrame:
        """Expose, read and describe one frame."""
        if request.binning != (1, 1) and self.hardware.reference_border:
            raise InputError(f"arm {self.arm} is read unbinned, not {request.binning}")
        scene = self.scene(request)
        random = generator(self.seed, "exposure", self.arm, request.kind.name, request.index)
        electrons = None if scene is None else scene.electrons
        raw, rays = expose(
            self.detector,
            electrons,
            request.exposure_time,
            random,
            self.effects,
            self._previous,
            binning=request.binning,
        )
        self._previous = electrons
        header = raw_header(
            request.kind,
            self.hardware,
            request.exposure_time,
            sequence,
            pointing,
            request.slit,
            request.lamp,
            request.binning,
        )
        model = OpticalModel.of_seed(self.arm, self.seed, self.effects).shifted(*request.flexure)
        tables = {} if scene is None else scene.tables
        return SimulatedFrame(raw, header, FrameTruth(model, electrons, rays, tables, self.detector))

    def scene(self, request: FrameRequest) -> Scene | None:
        """The light of a request; None for a dark one."""
        if request.lamps_off or request.kind.name in ("bias", "dark"):
            return None
        if request.kind.name == "linearity":  # the same light for rising times
            time = request.exposure_time + SHUTTER_DELAY[self.arm]
            return self._kept(replace(request, exposure_time=1.0, lamp_scale=1.0)).times(
                request.lamp_scale * time / _EXPOSURE_TIMES[(self.arm, "linearity")]
            )
        return self._kept(request)

    def _kept(self, request: FrameRequest) -> Scene:
        if request.scene_key not in self._scenes:
            self._scenes.clear()  # a night shows each set-up once, in sequence; a scene is 16 MB
            self._scenes[request.scene_key] = self._light(request)
        return self._scenes[request.scene_key]

    def _light(self, request: FrameRequest) -> Scene:
        spectrograph = Spectrograph.of_seed(self.arm, self.seed, self.effects, request.flexure)
        if request.kind.on_sky:
            return _sky_and_sources(spectrograph, request)
        if request.kind.name == "pinhole_arc":
            return arc_scene(spectrograph, np.array([0.0]), request.lamp_scale, request.dead_lamp)
        if request.kind.name == "multi_pinhole_arc":
            return arc_scene(spectrograph, np.array(self.hardware.pinholes), request.lamp_scale, request.dead_lamp)
        if request.kind.name == "slit_arc":
            return arc_scene(spectrograph, None, request.lamp_scale, request.dead_lamp, slit_width(request.slit))
        if request.kind.name == "pinhole_flat":
            return flat_scene(spectrograph, _PINHOLE_FLAT_PEAK[self.arm] * request.lamp_scale, request.lamp, None)
        width = slit_width(request.slit)
        return flat_scene(spectrograph, _FLAT_PEAK[self.arm] * request.lamp_scale, request.lamp, width)


def _sky_and_sources(spectrograph: Spectrograph, request: FrameRequest) -> Scene:
    observation = request.observation
    sky = sky_scene(spectrograph, observation)
    tables = sky_table(spectrograph, sky)
    image = sky.electrons
    for number, source in enumerate(request.sources):
        truth = source_light(spectrograph, image, source, observation)
        prefix = "object" if number == 0 else f"object{number + 1}"
        tables.update({key.replace("object", prefix, 1): value for key, value in truth.items()})
        tables[f"{prefix}_spectrum_wavelength"] = source.wavelength
        tables[f"{prefix}_spectrum_flux"] = source.flux
    return Scene(spectrograph.finish(image), sky.spectra, tables)


def slit_width(name: str) -> float:
    """Width [arcsec] of a slit of the wheel."""
    if name not in SLIT_WIDTHS:
        raise InputError(f"there is no slit {name!r}; slits are {', '.join(SLIT_WIDTHS)}")
    return SLIT_WIDTHS[name]


def default_request(kind: str, arm: str, seed: int = 1, **changes: object) -> FrameRequest:
    """The usual frame of a kind; `changes` replace attributes of `FrameRequest` or of its `Observation`."""
    chosen = frame_kind(kind)
    values: dict[str, object] = {"kind": chosen, "arm": arm, "exposure_time": _EXPOSURE_TIMES[(arm, kind)]}
    values["slit"] = "SLIT5.0" if kind == "standard" else "SLIT1.0"
    sky = {name: changes.pop(name) for name in _CIRCUMSTANCES if name in changes}
    source = changes.pop("source", None)
    values.update(changes)
    if chosen.on_sky:
        if source is not None:
            values["sources"] = (source,)
        values.setdefault("sources", (standard() if kind == "standard" else supernova(),))
        width = slit_width(str(values["slit"]))
        exposure = float(values["exposure_time"])
        values.setdefault("observation", Observation(exposure, slit_width=width, **sky))
    return FrameRequest(**values)


@lru_cache(maxsize=2)
def _maker(arm: str, seed: int, effects: Effects) -> FrameMaker:
    return FrameMaker(arm, seed, effects)


def simulate_frame(
    kind: str,
    arm: str,
    seed: int = 1,
    *,
    effects: Effects | None = None,
    start: Time | None = None,
    **changes: object,
) -> SimulatedFrame:
    """Make one raw frame in memory.

    Parameters
    ----------
    kind : str
        "bias", "dark", "pinhole_arc", "pinhole_flat", "slit_flat", "multi_pinhole_arc", "slit_arc",
        "linearity", "standard", "science".
    arm : {"VIS", "NIR"}
    seed : int
        Instrument, sky and noise are functions of it.
    effects : Effects, optional
    start : Time, optional
        Of the exposure.
    **changes
        exposure_time [s], slit, lamp ("QTH" or "D2"), lamps_off, flexure (dx, dy) [px], index (independent noise),
        lamp_scale, dead_lamp, binning (y, x), source (a PointSource), sources, airmass, seeing [arcsec], moon,
        transparency, airglow, continuum, target, offset (an Offset), position_angle [deg].

    Returns
    -------
    SimulatedFrame
        (data uint16, header, truth).
    """
    arm_hardware(arm)
    request = default_request(kind, arm, seed, **changes)
    start = start or _START
    sequence = Sequence(start, start, lamps_off=request.lamps_off)
    maker = _maker(arm, seed, effects or Effects())
    maker._previous = None
    return maker.make(request, sequence, pointing_of(request))


_POSITIONS = {  # deg, in 2026
    "LTT3218": (130.37599, -32.93266), "SN2026abc": (162.4313, -21.2750), "SN2026abd": (171.8820, -12.0441),
    "SN2026abe": (155.1207, -35.6318), "NGC2997": (146.4117, -31.1911),
}  # fmt: skip


def pointing_of(request: FrameRequest) -> Pointing:
    """Where the telescope looks for a request; calibrations look at the zenith."""
    if not request.kind.on_sky:
        return Pointing(request.kind.type, 0.0, -29.2584)
    name = request.target or (request.sources[0].name if request.sources else "SKY")
    ra, dec = _POSITIONS.get(name, (150.0, -30.0))
    east, north = displacement_on_sky(request.offset, request.position_angle)
    dec -= north / 3600.0
    ra -= east / 3600.0 / np.cos(np.radians(dec))
    airmass = request.observation.airmass
    change = 0.01 * request.observation.exposure_time / 600.0
    low, high = max(1.0, airmass - change), airmass + change
    seeing = request.observation.seeing
    return Pointing(name, ra, dec, low, high, seeing, request.offset, request.position_angle)


def displacement_on_sky(offset: Offset, position_angle: float) -> tuple[float, float]:
    """(east, north) [arcsec] by which an offset moves the target from the middle of the slit.

    The slit's positive half points to the position angle; across it, positive is 90 degrees on to the east [I].
    """
    angle = np.radians(position_angle)
    east = offset.y * np.sin(angle) + offset.x * np.cos(angle)
    north = offset.y * np.cos(angle) - offset.x * np.sin(angle)
    return float(east), float(north)


def displacement_on_slit(east: float, north: float, position_angle: float) -> tuple[float, float]:
    """(x, y) [arcsec] across and along the slit of a displacement on the sky; inverse of `displacement_on_sky`."""
    angle = np.radians(position_angle)
    return (
        float(east * np.cos(angle) - north * np.sin(angle)),
        float(east * np.sin(angle) + north * np.cos(angle)),
    )
