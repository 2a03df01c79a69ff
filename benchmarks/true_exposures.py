"""Science exposures with the calibrations of a perfect instrument: what is left to err is the extraction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.instrument import load_instrument
from soxs_recipes.reduction.extraction.extraction import ExposureResult, extract_exposure
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.light import PointSource
from soxs_recipes.simulator.optics import OpticalModel
from soxs_recipes.simulator.render import render_order
from soxs_recipes.simulator.spectrograph import SLIT_LENGTH, Spectrograph
from soxs_recipes.simulator.truth import TableTruth

__all__ = ["TrueExposure", "true_exposure"]


@dataclass(frozen=True)
class TrueExposure:
    """A prepared frame, its true calibrations and its truth.

    Attributes
    ----------
    arm : Arm
    frame : Frame
        Bias and dark subtracted without error [e-].
    flat : Frame
        The pixels' response, fringes and the slit's jaws, without error.
    maps : PixelMaps
    base_variance : ndarray (ny, nx) [e-^2]
    truth : TableTruth
    model : OpticalModel
    light, sky : ndarray (ny, nx) [e-]
        Expected light of everything and of all but the sources, for a response of 1.
    response : ndarray (ny, nx)
        Of the pixels alone.
    cosmic_rays : ndarray (ny, nx) [e-]
    """

    arm: object
    frame: Frame
    flat: Frame
    maps: PixelMaps
    base_variance: np.ndarray = field(repr=False)
    truth: TableTruth = field(repr=False)
    model: OpticalModel = field(repr=False)
    light: np.ndarray = field(repr=False)
    sky: np.ndarray = field(repr=False)
    response: np.ndarray = field(repr=False)
    cosmic_rays: np.ndarray = field(repr=False)

    def extract(self, **settings) -> ExposureResult:
        """The spectra, by the engine that the recipes use."""
        return extract_exposure(
            self.frame,
            self.maps,
            self.arm.dispersion_axis,
            bands={order.number: order.band for order in self.arm.orders},
            base_variance=self.base_variance,
            flat=self.flat,
            settings=ExtractionSettings(**settings),
        )


def true_exposure(
    arm: str,
    seed: int,
    *,
    magnitude: float | None = 18.0,
    seeing: float = 0.9,
    slit_position: float = 0.6,
    exposure_time: float = 900.0,
    moon: float = 0.0,
    cosmic_rays: float = 1.0,
    orders: tuple[int, ...] | None = None,
    index: int = 0,
) -> TrueExposure:
    """Expose on a supernova of a magnitude (None: on empty sky).

    Parameters
    ----------
    orders : tuple of int or None
        Those in the maps; None for all.
    cosmic_rays : float
        Times the nominal rate.
    index : int
        Exposures that differ only in it are independent.
    """
    effects = Effects(cosmic_rays=cosmic_rays, scattered_light=0.0, bias_drift=0.0, persistence=0.0)
    source: tuple[PointSource, ...] = () if magnitude is None else (supernova(magnitude, slit_position),)
    conditions = {"seeing": seeing, "moon": moon, "airmass": 1.0, "index": index}
    common = {"effects": effects, "exposure_time": exposure_time, **conditions}
    raw, _, truth = simulate_frame("science", arm, seed, sources=source, **common)
    sky = truth.electrons
    if source:
        sky = simulate_frame("science", arm, seed, sources=(), **common)[2].electrons
    instrument = load_instrument().arm(arm)
    state, hardware = truth.detector, truth.detector.hardware
    spectrograph = Spectrograph.of_seed(arm, seed, effects)
    maps, jaws = _maps(spectrograph, instrument, orders)
    y0, y1, x0, x1 = hardware.binned_window((1, 1))
    charge = raw.astype(np.float32) * np.float32(hardware.gain) - state.bias
    dark = state.dark * exposure_time
    data = charge[y0:y1, x0:x1] - dark
    base = hardware.read_noise**2 + hardware.gain**2 / 12.0 + dark
    quality = np.where(state.dead | state.hot, 1, 0).astype(np.int32)
    response = (state.response * spectrograph.fringes() * jaws).astype(np.float32)
    meta = FrameMeta(name="true", exposure_time=exposure_time, gain=hardware.gain, read_noise=hardware.read_noise)
    return TrueExposure(
        instrument,
        Frame(data, base.astype(np.float32), quality, meta),
        Frame(response, np.zeros_like(response), np.zeros_like(quality)),
        maps,
        base.astype(np.float32),
        TableTruth(truth.tables),
        truth.model,
        truth.electrons.astype(float),
        sky.astype(float),
        state.response,
        truth.cosmic_rays,
    )


def _maps(spectrograph: Spectrograph, arm, orders) -> tuple[PixelMaps, np.ndarray]:
    """The optical model read backwards, and the slit's transmission over that at its middle: jaws, soft ends."""
    shape = (spectrograph.hardware.along, spectrograph.hardware.across)
    wavelength, slit = np.full(shape, np.nan), np.full(shape, np.nan)
    number, jaws = np.zeros(shape, np.int16), np.ones(shape)
    for order in arm.orders if orders is None else [arm.order(each) for each in orders]:
        geometry = spectrograph.geometry(order.number)
        columns = geometry.first_across[:, None] + np.arange(geometry.v.shape[1])
        rows = np.broadcast_to(np.arange(shape[0])[:, None], columns.shape)
        wave = geometry.wavelength_of(geometry.v)
        inside = (np.abs(geometry.s) < 0.5 * SLIT_LENGTH) & (columns >= 0) & (columns < shape[1])
        span = 0.005 * (order.wavelength_max - order.wavelength_min)
        inside &= (wave > order.wavelength_min - span) & (wave < order.wavelength_max + span)
        at = rows[inside], columns[inside]
        wavelength[at], slit[at], number[at] = wave[inside], geometry.s[inside], order.number
        lit = [np.zeros(shape), np.zeros(shape)]
        surface = spectrograph.slit_surface(order.number)
        for image, slit_profile in zip(lit, (surface, _open), strict=True):
            render_order(image, geometry, np.ones_like, slit_profile)
        # A flat is 1 at mid-slit, and so is the truth that spectra are compared with.
        middle = float(surface(np.zeros(1), np.zeros(1))[0])
        jaws[at] = np.maximum(lit[0][at] / np.maximum(middle * lit[1][at], 1e-9), 0.02)
    images = (wavelength, slit, number, jaws)
    if arm.dispersion_axis == 1:
        images = tuple(np.ascontiguousarray(image.T) for image in images)
    return PixelMaps(*images[:3]), images[3]


def _open(v: np.ndarray, s: np.ndarray) -> np.ndarray:
    """A slit without jaws or ends."""
    return np.ones_like(s)
