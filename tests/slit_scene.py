"""Two synthetic orders, everything known: curved, tilted, undersampled; made by oversampling, not by the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre
from scipy.integrate import trapezoid

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.data.pixel_maps import PixelMaps

SCALE = 0.28  # arcsec/px
STEP = 0.04  # nm/px
SLIT = 11.2  # arcsec
SUB_ALONG, SUB_ACROSS = 7, 5


@dataclass
class Recipe:
    """What the scene is made of; lengths in px, light in e-."""

    seed: int = 1
    length: int = 600
    dispersion_axis: int = 0
    tilts: tuple = (0.2, -0.12)
    falling: tuple = (False, True)
    sky_level: float = 30.0
    line_peak: float = 15_000.0
    line_count: int = 30
    lsf_sigma: float = 0.85
    flux_level: float = 300.0
    emission: bool = True
    lit_until: float = np.inf  # row from which there is no object
    fwhm: float = 3.0
    beta: float | None = None  # Moffat; None is a Gaussian
    optics: float = 0.0  # px, sigma of a blur behind the slit
    position: float = 0.35  # arcsec
    drift: float = 0.25  # arcsec along an order
    others: tuple = ()  # (position, relative brightness, relative width)
    illumination: float = 0.0
    map_tilt_error: float = 0.0  # px at the slit's end
    shift: tuple = (0.0, 0.0)  # px along and across, of the light against maps and edges
    read_noise: float = 5.0
    noise: bool = True
    response: float = 0.0  # scatter of the pixels' response


@dataclass
class OrderLight:
    """One order's course and light."""

    number: int
    centre: float
    tilt: float
    falling: bool
    recipe: Recipe
    lines: np.ndarray
    heights: np.ndarray
    object_lines: np.ndarray

    def course(self, along):
        half = self.recipe.length / 2
        return self.centre + 5.0 * ((along - half) / half) ** 2

    def row(self, along, across):
        """The mid-slit row that has this pixel's wavelength."""
        d = across - self.course(along)
        return along + self.tilt * d + 2e-4 * d**2 * np.sign(self.tilt)

    def slit(self, along, across):
        return (across - self.course(along)) * SCALE * (-1 if self.falling else 1)

    def wavelength(self, row):
        return 500.0 * self.number + (-STEP if self.falling else STEP) * (row - self.recipe.length / 2)

    def row_of(self, wavelength):
        return (wavelength - 500.0 * self.number) / (-STEP if self.falling else STEP) + self.recipe.length / 2

    def sky(self, row):
        return self.recipe.sky_level + _gaussians(row, self.lines, self.heights, self.recipe.lsf_sigma)

    def flux(self, row):
        r = self.recipe
        level = r.flux_level * (1 + 0.3 * np.sin(row / 90.0))
        if r.emission:
            level = level + _gaussians(row, self.object_lines, np.full(4, 3 * r.flux_level), 1.2)
        return np.where(row < r.lit_until, level, 0.0)

    def trace(self, row):
        return self.recipe.position + self.recipe.drift * (row / self.recipe.length - 0.5)

    def light(self, along, across):
        """(sky, objects) at points of the detector [e-/px]."""
        r = self.recipe
        row, s = self.row(along, across), self.slit(along, across)
        inside = np.abs(s) <= SLIT / 2
        sky = self.sky(row) * (1 + r.illumination * s / 5.5)
        objects = self.flux(row) * profile((s - self.trace(row)) / SCALE, r.fwhm, r.beta, r.optics)
        for position, factor, width in r.others:
            objects = objects + factor * self.flux(row) * profile(
                (s - position) / SCALE, r.fwhm * width, r.beta, r.optics
            )
        return np.where(inside, sky, 0.0), np.where(inside, objects, 0.0)


@dataclass
class Scene:
    """Frame, maps, edges and the truth, all in the frame's orientation."""

    recipe: Recipe
    frame: Frame
    flat: Frame
    maps: PixelMaps
    table: OrderTable
    orders: dict
    mean: np.ndarray  # expected e- per pixel
    sky: np.ndarray
    base_variance: np.ndarray = field(repr=False)

    def truth(self, spectrum):
        """Object electrons in each bin of an OrderSpectrum, by fine summation over the bin."""
        order = self.orders[spectrum.order]
        fine = (np.arange(41) - 20) / 41.0
        width = spectrum.bin_width / STEP
        rows = order.row_of(spectrum.wavelength)[:, None] + fine * width[:, None]
        return order.flux(rows).mean(axis=1) * width

    def with_data(self, data):
        return replace(self, frame=self.frame.with_arrays(data=np.asarray(data, np.float32)))


def profile(x, fwhm, beta=None, optics=0.0):
    """Unit integral per px, x in px; blurred by optics [px]."""
    if optics > 0:
        nodes, weights = np.polynomial.hermite_e.hermegauss(9)
        pairs = zip(nodes, weights / weights.sum(), strict=True)
        return sum(w * profile(x - n * optics, fwhm, beta) for n, w in pairs)
    if beta is None:
        sigma = fwhm / 2.3548
        return np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    grid = np.linspace(-400, 400, 80001)
    return (1 + (x / alpha) ** 2) ** -beta / trapezoid((1 + (grid / alpha) ** 2) ** -beta, grid)


def _gaussians(rows, centres, heights, sigma):
    total = np.zeros_like(np.asarray(rows, float))
    for centre, height in zip(centres, heights, strict=True):
        near = np.abs(rows - centre) < 8 * sigma
        total[near] += height * np.exp(-0.5 * ((rows[near] - centre) / sigma) ** 2)
    return total


def _orders(recipe, rng, width):
    half = SLIT / 2 / SCALE
    for number, (centre, tilt, falling) in enumerate(
        zip((half + 16, width - half - 16), recipe.tilts, recipe.falling, strict=True), start=1
    ):
        heights = recipe.line_peak * rng.uniform(0.0, 1.0, recipe.line_count) ** 3
        heights[:1] = recipe.line_peak
        lines = rng.uniform(5, recipe.length - 5, recipe.line_count)
        yield OrderLight(
            number, centre, tilt, falling, recipe, lines, heights, rng.uniform(20, recipe.length - 20, 4)
        )


def _trace(order, length):
    grid = np.linspace(0, length - 1, 50)
    fit = Legendre.fit(grid, order.course(grid), 2, domain=[0.0, length - 1.0]).coef
    lower, upper = fit.copy(), fit.copy()
    lower[0] -= SLIT / 2 / SCALE
    upper[0] += SLIT / 2 / SCALE
    return OrderTrace(order.number, (0.0, length - 1.0), fit, lower, upper, 0.01)


def build_scene(**changes) -> Scene:
    """Make a scene."""
    recipe = Recipe(**changes)
    rng = np.random.default_rng(recipe.seed)
    length, width = recipe.length, int(2 * (SLIT / SCALE + 22))
    fine = np.meshgrid(
        (np.arange(length * SUB_ALONG) + 0.5) / SUB_ALONG - 0.5 - recipe.shift[0],
        (np.arange(width * SUB_ACROSS) + 0.5) / SUB_ACROSS - 0.5 - recipe.shift[1],
        indexing="ij",
    )
    coarse = np.meshgrid(np.arange(length) * 1.0, np.arange(width) * 1.0, indexing="ij")
    orders = {order.number: order for order in _orders(recipe, rng, width)}
    images = {name: np.zeros((length, width)) for name in ("sky", "objects")}
    maps = {"wavelength": np.full((length, width), np.nan), "slit": np.full((length, width), np.nan)}
    number = np.zeros((length, width), np.int16)
    for order in orders.values():
        for name, light in zip(("sky", "objects"), order.light(*fine), strict=True):
            images[name] += light.reshape(length, SUB_ALONG, width, SUB_ACROSS).mean(axis=(1, 3))
        slit = order.slit(*coarse)
        inside = np.abs(slit) <= SLIT / 2
        row = order.row(*coarse) + recipe.map_tilt_error * slit / 5.5
        maps["wavelength"][inside] = order.wavelength(row)[inside]
        maps["slit"][inside] = slit[inside]
        number[inside] = order.number
    table = OrderTable(tuple(_trace(order, length) for order in orders.values()), recipe.dispersion_axis)
    return _expose(recipe, rng, images, maps, number, table, orders)


def _expose(recipe, rng, images, maps, number, table, orders):
    turn = (lambda image: np.ascontiguousarray(image.T)) if recipe.dispersion_axis else (lambda image: image)
    response = 1.0 + recipe.response * rng.standard_normal(number.shape)
    mean = (images["sky"] + images["objects"]) * response
    data = mean
    if recipe.noise:
        data = np.round(rng.poisson(mean) + rng.normal(0, recipe.read_noise, mean.shape))
    base = np.full(mean.shape, recipe.read_noise**2 + 1.0 / 12.0, np.float32)
    quality = np.zeros(mean.shape, np.int32)
    meta = FrameMeta(name="scene", exposure_time=600.0, gain=1.0, read_noise=recipe.read_noise)
    frame = Frame(
        turn(data.astype(np.float32)), turn(base + np.maximum(data, 0).astype(np.float32)), turn(quality), meta
    )
    flat = Frame(turn(response.astype(np.float32)), turn(np.zeros_like(base)), turn(quality))
    pixel_maps = PixelMaps(turn(maps["wavelength"]), turn(maps["slit"]), turn(number))
    return Scene(
        recipe, frame, flat, pixel_maps, table, orders, turn(mean), turn(images["sky"] * response), turn(base)
    )


def robust_width(values):
    """1.4826 * median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


@pytest.fixture(scope="session")
def scene_of():
    """Builder of scenes; equal requests give the same scene."""
    made = {}

    def get(**changes):
        key = tuple(sorted(changes.items()))
        if key not in made:
            made[key] = build_scene(**changes)
        return made[key]

    return get


@pytest.fixture(scope="session")
def width_of():
    return robust_width


@pytest.fixture(scope="session")
def line_profile():
    return profile
