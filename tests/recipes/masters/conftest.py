"""Raw frames of both detectors with known structure, written as the instrument writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.instrument import load_instrument

GAIN = {"VIS": 2.0, "NIR": 2.3}
READ_NOISE = {"VIS": 3.8, "NIR": 7.3}
LEVEL = {"VIS": 1000.0, "NIR": 345.0}
SHAPE = {"VIS": (4096, 908), "NIR": (2048, 2048)}


@dataclass
class Detector:
    """A detector whose structure is known [e-, raw frame]."""

    arm: str
    binning: tuple[int, int] = (1, 1)

    def __post_init__(self):
        random = np.random.default_rng(77)
        ny, nx = (length // bins for length, bins in zip(SHAPE[self.arm], self.binning, strict=True))
        y, x = np.mgrid[0:ny, 0:nx].astype(np.float32)
        columns = random.normal(0, 0.8, nx).astype(np.float32)
        self.structure = 3 * np.sin(x / 300) * np.cos(y / 900) + columns[None, :]
        self.window = (slice(0, ny), slice(50 // self.binning[1], 858 // self.binning[1]))
        if self.arm == "NIR":
            self.window = (slice(4, -4), slice(4, -4))
        self.hot = np.zeros((ny, nx), bool)

    def header(self, kind: str, time: float, **changes) -> fits.Header:
        arm = load_instrument().arm(self.arm)
        values = {
            "INSTRUME": "SOXS", "OBJECT": kind, "DATE-OBS": "2026-02-03T04:05:06.789", "MJD-OBS": 61074.170217,
            "EXPTIME": time, "ESO SEQ ARM": arm.name, "ESO DPR CATG": "CALIB", "ESO DPR TYPE": kind,
            "ESO DPR TECH": "IMAGE", "ESO DET READ CURID": 1, "ESO DET OUT1 CONAD": GAIN[self.arm],
            "ESO DET OUT1 GAIN": 1 / GAIN[self.arm], "ESO DET CHIP RON": READ_NOISE[self.arm],
            "ESO DET BINX": self.binning[1], "ESO DET BINY": self.binning[0], "ESO INS TEMP104 VAL": 153.0,
            "ESO INS TEMP217 VAL": 40.0, "ESO INS TEMP301 VAL": 10.0, "ESO TEL AIRM START": 1.2,
            "ESO TEL AIRM END": 1.4,
        }  # fmt: skip
        values.update({key.replace("__", " "): value for key, value in changes.items()})
        header = fits.Header()
        for key, value in values.items():
            if value is not None:
                header[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
        return header

    def adu(self, seed: int, charge: np.ndarray | float = 0.0) -> np.ndarray:
        random = np.random.default_rng(seed)
        values = self.structure + random.standard_normal(self.structure.shape, np.float32) * READ_NOISE[self.arm]
        values += LEVEL[self.arm] + random.normal(0, 1.5)
        if np.any(charge):
            values[self.window] += random.poisson(charge, values[self.window].shape)
        return np.clip(np.rint(values / GAIN[self.arm]), 0, 65535).astype(np.uint16)

    def write(self, path: Path, data: np.ndarray, kind: str = "BIAS", time: float = 0.0, **changes) -> Path:
        fits.PrimaryHDU(data, self.header(kind, time, **changes)).writeto(path, checksum=True, overwrite=True)
        return path

    @property
    def truth(self) -> np.ndarray:
        """Structure of the light-sensitive pixels about the electronic level that the unlit ones show."""
        if self.arm == "VIS":
            level = self.structure[:, (858 // self.binning[1]) + 5 :].mean(axis=1, keepdims=True)
        else:
            border = np.ones(self.structure.shape, bool)
            border[self.window] = False
            level = self.structure[border].mean()
        return (self.structure - level)[self.window]


@pytest.fixture(scope="session")
def vis() -> Detector:
    return Detector("VIS")


@pytest.fixture(scope="session")
def nir() -> Detector:
    return Detector("NIR")


@pytest.fixture(scope="session")
def biases(vis, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("biases")
    return [vis.write(folder / f"bias{seed}.fits", vis.adu(seed)) for seed in range(5)]


@pytest.fixture(scope="session")
def dark_charge(nir) -> np.ndarray:
    random = np.random.default_rng(5)
    charge = np.full((2040, 2040), 1.5)
    hot = random.random(charge.shape) < 1e-3
    charge[hot] += random.uniform(60, 2000, int(hot.sum()))
    return charge


@pytest.fixture(scope="session")
def darks(nir, dark_charge, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("darks")
    return [nir.write(folder / f"dark{seed}.fits", nir.adu(seed, dark_charge), "DARK", 300.0) for seed in range(5)]
