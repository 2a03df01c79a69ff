"""Small biases of the UV-VIS arm, for tests of runners that need frames a recipe can reduce."""

import numpy as np
from astropy.io import fits

_CARDS = {
    "INSTRUME": "SOXS", "OBJECT": "BIAS", "EXPTIME": 0.0, "ESO SEQ ARM": "VIS", "ESO DPR CATG": "CALIB",
    "ESO DPR TYPE": "BIAS", "ESO DPR TECH": "IMAGE", "ESO DET READ CURID": 1, "ESO DET BINX": 2,
    "ESO DET BINY": 2, "ESO DET OUT1 CONAD": 2.0, "ESO DET OUT1 GAIN": 0.5, "ESO DET CHIP RON": 4.0,
}  # fmt: skip


def write_biases(folder, pixels=None):
    """Write five binned biases, of noise about a level unless `pixels` are given; returns their names."""
    random = np.random.default_rng(5)
    names = []
    for number in range(5):
        cards = _CARDS | {"MJD-OBS": 61074.17 + number / 1000, "DATE-OBS": f"2026-02-03T04:0{number}:00.000"}
        header = fits.Header({f"HIERARCH {k}" if k.startswith("ESO ") else k: v for k, v in cards.items()})
        data = random.normal(1000.0, 2.0, (2048, 454)) if pixels is None else pixels
        names.append(f"bias{number}.fits")
        fits.PrimaryHDU(np.round(data).astype(np.uint16), header).writeto(folder / names[-1])
    return names
