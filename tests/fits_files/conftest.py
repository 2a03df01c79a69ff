from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits


def raw_image(seed: int = 1, shape: tuple[int, int] = (64, 91)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65535, shape).astype(np.uint16)


@pytest.fixture
def image() -> np.ndarray:
    return raw_image()


@pytest.fixture
def raw_path(tmp_path, image):
    path = tmp_path / "frame.fits"
    hdu = fits.PrimaryHDU(image)
    hdu.header["INSTRUME"] = "SOXS"
    hdu.header["HIERARCH ESO DPR TYPE"] = "BIAS"
    hdu.writeto(path, checksum=True)
    return path
