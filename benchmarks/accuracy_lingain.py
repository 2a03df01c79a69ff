"""Accuracy of soxs_lingain: gain, read noise, corrected linearity and odd pixels of simulated series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soxs_recipes.fits_files import read_linearity, read_quality, read_table
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.lingain import LinearityAndGain
from soxs_recipes.simulator import NightTruth, expected_light, simulate_night
from soxs_recipes.simulator.detector import limited, mean_curvature

__all__ = ["BARS", "TITLE", "measure"]

TITLE = "Gain, read noise and linearity from series of flats (4 to 5 % of curvature)"
BARS = {
    "gain error [%]": (0.5, "max"),
    "gain pull": (4.0, "max"),
    "read noise error [%]": (1.0, "max"),
    "linearity error as read [%]": (10.0, "max"),
    "linearity error corrected [%]": (0.1, "max"),
    "odd pixels found": (0.95, "min"),
    "good pixels called odd": (1e-5, "max"),
}
_FAINTEST = 2000.0  # e-; below it read noise, not the curve, decides


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Simulate a series of each arm, characterise it, compare."""
    night = simulate_night(folder / "raw", seed=seed, plan="lingain")
    results = {}
    for arm in ("VIS", "NIR"):
        paths = [str(night.path(record)) for record in night.select(arm=arm)]
        run = run_recipe(LinearityAndGain, paths, {}, str(folder / arm))
        products = {product.tag.removesuffix(f"_{arm}"): product.path for product in run.products}
        results[arm] = _figures(night, arm, products)
    return results


def _figures(night: NightTruth, arm: str, products: dict[str, Path]) -> dict[str, float]:
    detector = night.detector(arm)
    hardware = detector.hardware
    gain = {name: values[0] for name, values in read_table(products["GAIN_INFO"], "GAIN").items()}
    (curve,) = read_linearity(products["LINEARITY_COEFF"])
    light = np.linspace(_FAINTEST, hardware.full_well, 1000).astype(np.float32)
    bent = detector.recorded(light, np.float32(mean_curvature(arm, night.seed, night.effects)))
    read = limited(bent, hardware, night.effects).astype(float) / hardware.gain
    inside = read < curve.limit
    return {
        "gain error [%]": 100.0 * (gain["GAIN"] / hardware.gain - 1.0),
        "gain pull": (gain["GAIN"] - hardware.gain) / gain["GAIN_ERR"],
        "read noise error [%]": 100.0 * (gain["READ_NOISE"] / hardware.read_noise - 1.0),
        "linearity error as read [%]": _largest(read * hardware.gain / light, inside),
        "linearity error corrected [%]": _largest(curve.corrected(read) * hardware.gain / light, inside),
        "linear up to [full well]": curve.limit * hardware.gain / hardware.full_well,
        **_odd_pixels(detector, read_quality(products["BP_MAP_NL"]) != 0, night, arm),
    }


def _largest(ratio: np.ndarray, inside: np.ndarray) -> float:
    return 100.0 * float(np.abs(ratio[inside] - 1.0).max())


def _odd_pixels(detector, found: np.ndarray, night: NightTruth, arm: str) -> dict[str, float]:
    """Of pixels with a third of the brightest light or more, where a departure of 4 % is beyond 5 sigma."""
    series = night.select("linearity", arm, lamps_off=False)
    middle = min(series, key=lambda record: abs(record.exposure_time - 20.0))
    light, _ = expected_light(night, middle)
    lit = (light > 0.35 * np.percentile(light, 99.9)) & ~detector.dead
    odd = detector.deviating
    return {
        "odd pixels found": float(found[lit & odd].mean()) if (lit & odd).any() else float("nan"),
        "good pixels called odd": float((found & ~odd & ~detector.dead).sum() / found.size),
    }
