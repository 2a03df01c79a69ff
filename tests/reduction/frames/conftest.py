"""Synthetic readouts with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from soxs_recipes.data.frame import Frame, FrameMeta

READ_NOISE, GAIN = 3.8, 0.6


def robust_width(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


@dataclass
class Readouts:
    """N frames of one structure, each with its own noise."""

    structure: np.ndarray
    noise: float
    seed: int

    def frames(self, count: int, *, outliers: float = 0.0, charge: np.ndarray | None = None) -> list[Frame]:
        random = np.random.default_rng(self.seed)
        frames = []
        for _ in range(count):
            data = self.structure + random.normal(0, self.noise, self.structure.shape)
            if charge is not None:
                data += random.poisson(charge)
            struck = random.random(data.shape) < outliers
            data[struck] += random.uniform(100, 5000, int(struck.sum()))
            variance = np.full(data.shape, self.noise**2, np.float32)
            meta = FrameMeta("synthetic", 300.0, gain=GAIN, read_noise=self.noise)
            frames.append(Frame(data.astype(np.float32), variance, np.zeros(data.shape, np.int32), meta))
        return frames


@pytest.fixture
def structure() -> np.ndarray:
    """Smooth surface, columns of their own, a ramp."""
    random = np.random.default_rng(99)
    y, x = np.mgrid[0:512, 0:400]
    columns = random.normal(0, 0.8, 400)
    return 3.0 * np.sin(x / 150.0) * np.cos(y / 200.0) + columns[None, :] + 4.0 * np.exp(-y / 60.0)


@pytest.fixture
def readouts(structure):
    def make(noise: float = READ_NOISE, seed: int = 1, flat: bool = False) -> Readouts:
        return Readouts(np.zeros_like(structure) if flat else structure, noise, seed)

    return make
