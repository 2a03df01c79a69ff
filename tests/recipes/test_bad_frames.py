"""Frames that no recipe can use: one clear line that names them, and nothing is written."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class

CASES = {
    "mbias": ("VIS", {"ESO DPR TYPE": "BIAS", "ESO DPR TECH": "IMAGE"}, 2),
    "mdark": ("NIR", {"ESO DPR TYPE": "DARK", "ESO DPR TECH": "IMAGE"}, 2),
    "disp_solution": ("VIS", {"ESO DPR TYPE": "LAMP,WAVE", "ESO DPR TECH": "ECHELLE,PINHOLE"}, 1),
    "order_centres": ("NIR", {"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,PINHOLE"}, 1),
    "spatial_solution": ("NIR", {"ESO DPR TYPE": "LAMP,WAVE", "ESO DPR TECH": "ECHELLE,MULTI-PINHOLE"}, 1),
}
LEVELS = {"zero": 0.0, "NaN": np.nan, "saturated": 65535.0, "constant": 1000.0}


def frames_of(folder, arm_name, cards, count, level):
    arm = load_instrument().arm(arm_name)
    for index in range(count):
        data = np.full(arm.detector.raw_shape, level, np.float32)
        hdu = fits.PrimaryHDU(data)
        values = {
            "INSTRUME": "SOXS",
            "DATE-OBS": f"2026-02-03T04:0{index}:00",
            "MJD-OBS": 61074.0 + index / 1440,
            "EXPTIME": 0.0 if "BIAS" in cards["ESO DPR TYPE"] else 20.0,
            "ESO SEQ ARM": arm_name,
            "ESO DPR CATG": "CALIB",
            "ESO DET BINX": 1,
            "ESO DET BINY": 1,
            "ESO DET READ CURID": 1 if arm_name == "VIS" else 3,
            "ESO DET OUT1 CONAD": 2.0,
            "ESO DET CHIP RON": 4.0,
            **cards,
        }
        for key, value in values.items():
            hdu.header[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
        path = folder / f"odd{index}.fits"
        hdu.writeto(path)
        yield path


@pytest.mark.parametrize("kind", LEVELS)
@pytest.mark.parametrize("recipe", CASES)
def test_hopeless_frames(recipe, kind, tmp_path):
    arm_name, cards, count = CASES[recipe]
    frames = list(frames_of(tmp_path, arm_name, cards, count, LEVELS[kind]))
    result = run_recipe(recipe_class(recipe), frames, {}, tmp_path / "out")
    assert result.status == "FAILED"
    assert result.error_class in ("UnprocessableData", "AlgorithmError"), result.message
    assert "odd0" in result.message
    assert "\n" not in result.message
    assert not list((tmp_path / "out").glob("*"))
