"""Small arc frames whose truth the reduction does not see: spots on a smooth layout that is no polynomial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre
from scipy.special import erf

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.reduction.dispersion.arc_tables import ArcLineList


def spot_image(shape, x, y, flux, sigma, wings=0.0):
    """Sum of pixel-integrated Gaussians; `wings` of the light in one of twice the width."""

    def profile(pixels, centre, width):
        return 0.5 * (
            erf((pixels + 0.5 - centre) / (width * np.sqrt(2.0)))
            - erf((pixels - 0.5 - centre) / (width * np.sqrt(2.0)))
        )

    image = np.zeros(shape)
    sigma = np.broadcast_to(sigma, np.shape(x))
    for cx, cy, light, width in zip(x, y, flux, sigma, strict=True):
        half = int(8 * width) + 2
        rows = np.arange(max(round(cy) - half, 0), min(round(cy) + half + 1, shape[0]))
        columns = np.arange(max(round(cx) - half, 0), min(round(cx) + half + 1, shape[1]))
        if rows.size and columns.size:
            core, wide = (profile(rows, cy, w)[:, None] * profile(columns, cx, w) for w in (width, 2.0 * width))
            image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += light * (
                (1.0 - wings) * core + wings * wide
            )
    return image


def exposed(image, random, read_noise=5.0):
    """(data, variance) of an exposure of expected light `image` [e-]."""
    data = random.poisson(image) + random.normal(0.0, read_noise, image.shape)
    return data.astype(np.float32), (np.maximum(data, 0.0) + read_noise**2).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """Truth (`place`) and what is believed beforehand (`prior`) of a little spectrograph."""

    echelle: bool
    shape: tuple[int, int]
    dispersion_axis: int
    ranges: dict
    shift: tuple[float, float]
    wobble: float

    def nominal(self, order, wavelength, slit):
        """(along, across) of the tables."""
        low, high = self.ranges[order]
        u = (2.0 * np.asarray(wavelength) - low - high) / (high - low)
        length = self.shape[self.dispersion_axis]
        sign = 1.0 if self.echelle or order % 2 else -1.0
        along = 0.5 * length * (1.0 + 1.02 * sign * np.sin(u * (1.0 + 0.05 * u)) / np.sin(1.05)) + 0.3 * slit
        number = sorted(self.ranges).index(order)
        across = 40.0 + 48.0 * number + 5.0 * np.cos(1.3 * u) + 3.3 * sign * slit * (1.0 + 0.02 * u)
        return along, across

    def place(self, order, wavelength, slit):
        """True (x, y)."""
        along, across = self.nominal(order, wavelength, np.asarray(slit, float))
        length = self.shape[self.dispersion_axis]
        phase = 2.0 * np.pi * along / (1.7 * length)
        along = along * 1.0004 + self.shift[0] + self.wobble * np.sin(phase + 1.0 + across / 300.0)
        across = across + self.shift[1] + 0.001 * (along - 0.5 * length) + 0.7 * self.wobble * np.cos(phase)
        return (across, along) if self.dispersion_axis == 0 else (along, across)

    def prior(self):
        """Polynomial surfaces through the nominal layout."""
        return (
            DispersionSolution(tuple(self._block([n], n) for n in self.ranges))
            if not self.echelle
            else (DispersionSolution((self._echelle_block(),)))
        )

    def _block(self, orders, number):
        low, high = self.ranges[number]
        w = np.linspace(low, high, 80)
        middle, upper = self.nominal(number, w, 0.0), self.nominal(number, w, 5.0)
        centre = [Legendre.fit(w, c, 5, domain=(low, high)).coef for c in middle]
        slope = [Legendre.fit(w, (b - a), 1, domain=(low, high)).coef for a, b in zip(middle, upper, strict=True)]
        terms = np.array([(0, j, 0) for j in range(6)] + [(0, 0, 1), (0, 1, 1)])
        along, across = (np.concatenate(pair) for pair in zip(centre, slope, strict=True))
        x, y = (across, along) if self.dispersion_axis == 0 else (along, across)
        zero = np.zeros((8, 8))
        return DispersionBlock(
            tuple(orders), terms, x, y, zero, zero, (number, number), (low, high), (-5.0, 5.0), echelle=False
        )

    def _echelle_block(self):
        numbers = sorted(self.ranges)
        terms = np.array(
            [(i, j, k) for k in (0, 1) for i in range(4) for j in range(6) if i + j <= (6 if k == 0 else 1)]
        )
        domain = (min(n * r[0] for n, r in self.ranges.items()), max(n * r[1] for n, r in self.ranges.items()))
        zero = np.zeros((len(terms), len(terms)))
        empty = np.zeros(len(terms))
        block = DispersionBlock(
            tuple(numbers),
            terms,
            empty,
            empty,
            zero,
            zero,
            (numbers[0], numbers[-1]),
            domain,
            (-5.0, 5.0),
            echelle=True,
        )
        order = np.repeat(numbers, 120)
        w = np.concatenate([np.tile(np.linspace(*self.ranges[n], 40), 3) for n in numbers])
        s = np.tile(np.repeat([-5.0, 0.0, 5.0], 40), len(numbers))
        along = np.empty(order.size)
        across = np.empty(order.size)
        for n in numbers:
            own = order == n
            along[own], across[own] = self.nominal(n, w[own], s[own])
        design = block.design_matrix(order, w, s)
        x, y = (np.linalg.lstsq(design, c, rcond=None)[0] for c in (along, across))
        return DispersionBlock(
            block.orders, terms, x, y, zero, zero, block.order_domain, domain, block.slit_domain, echelle=True
        )


def layout(kind="bands", shift=(3.0, -2.0), wobble=0.3):
    """A layout with separate gratings along y ("bands") or an echelle along x."""
    if kind == "bands":
        ranges = {1: (500.0, 560.0), 2: (440.0, 500.0), 3: (560.0, 640.0)}
        return Layout(False, (1200, 180), 0, ranges, shift, wobble)
    # Free spectral ranges of one grating: order * wavelength nearly the same for all.
    ranges = {m: (19000.0 / m, 20000.0 / m) for m in range(12, 18)}
    return Layout(True, (330, 1000), 1, ranges, shift, wobble)


@dataclass(frozen=True)
class ArcScene:
    """An arc frame and its truth."""

    layout: Layout
    data: np.ndarray
    variance: np.ndarray
    usable: np.ndarray
    lines: ArcLineList
    slits: tuple[float, ...]

    def true_places(self, table):
        """True (x, y) of measured rows, at the listed wavelengths."""
        x, y = np.empty(table.order.size), np.empty(table.order.size)
        for number in np.unique(table.order):
            own = table.order == number
            x[own], y[own] = self.layout.place(number, table.wavelength[own], table.slit[own])
        return x, y

    def solution_error(self, solution, slits=(0.0,)):
        """Per order: (x, y) differences [px] of a solution from the truth between the outermost listed lines."""
        errors = {}
        for number in self.layout.ranges:
            listed = self.lines.wavelength[self.lines.order == number]
            low, high = listed.min(), listed.max()
            w, s = np.meshgrid(np.linspace(low, high, 100), slits)
            true = self.layout.place(number, w, s)
            found = solution.surface(number).evaluate(w, s)
            along = true[1 - self.layout.dispersion_axis]
            seen = (along > 0) & (along < self.layout.shape[self.layout.dispersion_axis] - 1)
            errors[number] = tuple((f - t)[seen] for f, t in zip(found, true, strict=True))
        return errors


def make_scene(
    kind="bands",
    *,
    seed=1,
    slits=(0.0,),
    shift=(3.0, -2.0),
    wobble=0.3,
    lines=36,
    unlisted=4,
    missing=0.05,
    displacement=0.0,
    cosmic_rays=60,
    sigma=0.95,
    wings=0.0,
    background=15.0,
    dead_orders=(),
):
    """An arc frame: listed lines of random strength, some missing, some that no list holds, cosmic rays."""
    random = np.random.default_rng(seed)
    truth = layout(kind, shift, wobble)
    order, wavelength, intensity, light = [], [], [], []
    x, y, flux = [], [], []
    for number, (low, high) in truth.ranges.items():
        listed = np.sort(random.uniform(low, high, lines))
        strength = 10.0 ** random.uniform(3.3, 4.6, lines)
        order.append(np.full(lines, number))
        wavelength.append(listed)
        intensity.append(strength * 10.0 ** random.normal(0.0, 0.3, lines))
        there = (random.random(lines) >= missing) & (number not in dead_orders)
        true = np.concatenate(
            [
                listed[there] + random.normal(0.0, 1.0, there.sum()) * displacement,
                random.uniform(low, high, 0 if number in dead_orders else unlisted),
            ]
        )
        light = np.concatenate([strength[there], 10.0 ** random.uniform(2.8, 3.8, true.size - there.sum())])
        for slit in slits:
            place = truth.place(number, true, np.full(true.size, slit))
            x.append(place[0])
            y.append(place[1])
            flux.append(light)
    image = spot_image(truth.shape, *(np.concatenate(v) for v in (x, y, flux)), sigma, wings) + background
    data, variance = exposed(image, random)
    hits = tuple(random.integers(0, size, cosmic_rays) for size in truth.shape)
    data[hits] += 10.0 ** random.uniform(2.0, 4.5, cosmic_rays)
    order, wavelength, intensity = (np.concatenate(v) for v in (order, wavelength, intensity))
    blend = np.zeros(order.size, dtype=bool)
    for number in truth.ranges:
        own = np.flatnonzero(order == number)
        low, high = truth.ranges[number]
        pixels = wavelength[own] / (high - low) * truth.shape[truth.dispersion_axis]
        gap = np.diff(pixels, prepend=-np.inf, append=np.inf)
        blend[own] = np.minimum(gap[:-1], gap[1:]) < 5.0
    table = ArcLineList(
        order, wavelength, np.full(order.size, "ThI"), intensity, blend, np.ones(order.size, dtype=bool)
    )
    return ArcScene(truth, data, variance, np.ones(truth.shape, dtype=bool), table, slits)


@pytest.fixture(scope="session")
def spots():
    """(spot_image, exposed): makers of frames with spots."""
    return spot_image, exposed


@pytest.fixture(scope="session")
def arc_scene():
    """Maker of arc scenes."""
    return make_scene


@pytest.fixture(scope="session")
def arc_layout():
    """Maker of layouts."""
    return layout
