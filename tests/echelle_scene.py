"""Small flats with known truth: curved orders, tilted slit, blaze, illumination, pixel response, noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.polynomial.legendre import legfit
from scipy.special import ndtr

from soxs_recipes.data.dispersion_solution import scaled
from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.data.quality import QualityFlag


@dataclass
class Scene:
    """A detector with orders; arrays are (along, across) and turned when a frame is made."""

    rows: int
    columns: int
    axis: int
    middles: np.ndarray
    half_lengths: np.ndarray
    curvature: float
    tilt: float
    psf: float = 1.0
    first_order: int = 10
    read_noise: float = 4.0
    distortion: float = 0.3
    domains: dict = field(default_factory=dict)
    seed: int = 1

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.phases = rng.uniform(0, 2 * np.pi, self.middles.size)
        self.response = 1.0 + 0.005 * rng.standard_normal((self.rows, self.columns))
        self.along = np.arange(self.rows, dtype=float)

    @property
    def orders(self):
        return [self.first_order + k for k in range(self.middles.size)]

    def centre(self, k, along=None, *, plain=False):
        u = 2.0 * (self.along if along is None else along) / (self.rows - 1) - 1.0
        curve = self.middles[k] + self.curvature * (u**2 - 1 / 3) + 0.3 * self.curvature * u
        return curve if plain else curve + self.distortion * np.sin(2.5 * u + self.phases[k])

    def edges(self, k, along=None):
        u = 2.0 * (self.along if along is None else along) / (self.rows - 1) - 1.0
        half = self.half_lengths[k] * (1.0 + 0.02 * u)
        centre = self.centre(k, along)
        return centre - half + 0.4, centre + half + 0.4

    def prediction(self, shift=0.0, rotation=0.0):
        """The prior: no distortion, moved and turned."""
        traces = []
        for k, order in enumerate(self.orders):
            domain = self.domains.get(order, (0.0, self.rows - 1.0))
            along = np.linspace(*domain, 200)
            curve = self.centre(k, along, plain=True) - shift - rotation * (along / self.rows - 0.5)
            traces.append(OrderTrace(order, domain, legfit(scaled(along, domain), curve, 6)))
        return OrderTable(tuple(traces), self.axis)

    def true_table(self, *, edges=True):
        traces = []
        for k, order in enumerate(self.orders):
            domain = self.domains.get(order, (0.0, self.rows - 1.0))
            along = np.linspace(*domain, 300)
            curves = [self.centre(k, along), *self.edges(k, along)]
            fits = [legfit(scaled(along, domain), curve, 9) for curve in curves]
            traces.append(OrderTrace(order, domain, fits[0], *(fits[1:] if edges else ())))
        return OrderTable(tuple(traces), self.axis)

    def blaze(self, k, u):
        """Steep: a factor of some hundred between middle and ends."""
        x = 2.0 * u / (self.rows - 1) - 1.0
        shape = np.sinc(0.88 * x + 0.03) ** 2
        return shape * (1.0 + 0.2 * np.sin(1.5 * x + k))

    def in_domain(self, k):
        low, high = self.domains.get(self.orders[k], (0.0, self.rows - 1.0))
        return ((self.along >= low) & (self.along <= high))[:, None]

    def pinhole(self, flux):
        """Electrons per pixel row, before noise."""
        image = np.zeros((self.rows, self.columns))
        column = np.arange(self.columns)
        for k in range(self.middles.size):
            z = (column[None, :] - self.centre(k)[:, None]) / self.psf
            profile = ndtr(z + 0.5 / self.psf) - ndtr(z - 0.5 / self.psf)
            image += flux * self.blaze(k, self.along)[:, None] * profile * self.in_domain(k)
        return image * self.response

    def straight(self, k):
        """Along-dispersion coordinate at mid-slit of each pixel's wavelength."""
        across = np.arange(self.columns)[None, :] - self.centre(k)[:, None]
        return self.along[:, None] - self.tilt * across

    def illumination(self, k):
        """1 at mid-slit, falling and uneven towards the ends."""
        lower, upper = self.edges(k)
        t = (np.arange(self.columns)[None, :] - 0.5 * (lower + upper)[:, None]) / (0.5 * (upper - lower)[:, None])
        t = np.clip(t, -1.2, 1.2)
        return 1.0 + 0.02 * t - 0.05 * t**2

    def slit_function(self, k):
        lower, upper = self.edges(k)
        column = np.arange(self.columns)[None, :]

        def step(edge):
            z = np.stack([column + 0.5 - edge[:, None], column - 0.5 - edge[:, None]]) / self.psf
            primitive = self.psf * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
            return primitive[0] - primitive[1]

        return step(lower) - step(upper)

    def slit_flat(self, flux, lamp=None):
        image = np.zeros((self.rows, self.columns))
        for k in range(self.middles.size):
            spectrum = self.blaze(k, self.straight(k))
            if lamp is not None:
                spectrum = spectrum * lamp(k, self.straight(k))
            image += flux * spectrum * self.illumination(k) * self.slit_function(k) * self.in_domain(k)
        return image * self.response

    def true_flat(self):
        """Response times illumination (1 at the centres) in orders, 1 between; and the order of each pixel."""
        flat = np.ones((self.rows, self.columns))
        table = self.true_table()
        orders = table.order_image(self.turn(flat).shape)
        orders = orders if self.axis == 0 else orders.T
        for k, order in enumerate(self.orders):
            inside = orders == order
            light = self.illumination(k)
            at_centre = light[np.arange(self.rows), np.rint(self.centre(k)).astype(int)]
            flat[inside] = (self.response * light / at_centre[:, None])[inside]
        return self.turn(flat), self.turn(orders)

    def turn(self, image):
        return image if self.axis == 0 else np.ascontiguousarray(image.T)

    def frame(self, signal, seed, *, hits=0, dead=None, name="flat", scattered=0.0, photons=True):
        """Noise, cosmic rays, and the variance that an honest preparation would give."""
        rng = np.random.default_rng(seed)
        total = np.clip(signal + scattered, 0, None)
        data = rng.poisson(total) + self.read_noise * rng.standard_normal(signal.shape)
        y, x = rng.integers(0, self.rows, hits), rng.integers(0, self.columns, hits)
        data[y, x] += rng.uniform(500, 50000, hits)
        quality = np.zeros(signal.shape, dtype=np.int32)
        if dead is not None:
            data[dead] = 0.0
            quality[dead] |= QualityFlag.DEAD
        variance = self.read_noise**2 + np.clip(data, 0, None) * photons
        return Frame(
            self.turn(data).astype(np.float32),
            self.turn(variance).astype(np.float32),
            self.turn(quality),
            FrameMeta(name=name, exposure_time=10.0, read_noise=self.read_noise, saturation=1e5),
        )


def _echelle(axis=1, **changes):
    middles = 70 + np.cumsum([0, 46, 47, 49, 53, 60])
    half = np.linspace(16, 19, middles.size)
    scene = Scene(900, 420, axis, middles.astype(float), half, 30.0, -0.2)
    return replace(scene, **changes) if changes else scene


def _quasi(axis=0, **changes):
    middles = np.array([90.0, 240.0, 395.0])
    scene = Scene(1500, 480, axis, middles, np.full(3, 21.0), 12.0, 0.15, psf=0.8, first_order=1, read_noise=3.0)
    return replace(scene, **changes) if changes else scene


@pytest.fixture
def echelle():
    """Close orders, strongly curved, dispersion along axis 1."""
    return _echelle


@pytest.fixture
def quasi_orders():
    """Few, wide apart, dispersion along axis 0."""
    return _quasi
