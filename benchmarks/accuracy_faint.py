"""Faint objects: found or not, where, and what is found on an empty slit, in many draws of the noise.

The first seeds draw the noise many times and seek the magnitude that is found half of the time; every other seed
is another instrument, sky and noise with one draw on the object and one on an empty slit. A hundred seeds take
half an hour of one core:

    python benchmarks/accuracy.py --topics faint --seeds $(seq 1 100)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from true_exposures import TrueExposure, true_exposure

from soxs_recipes.reduction.extraction.extraction import make_grids, set_up_fits
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.extraction.target_search import find_target

TITLE = "Faint objects: one exposure of an hour, no moon, seeing 0.9 arcsec"
BARS: dict[str, tuple[float, str]] = {
    "found, magnitude 20 [%]": (100.0, "min"),
    "farthest from its place [px]": (0.2, "max"),
    "found on an empty slit [%]": (1.0, "max"),
}
MEANS = ("found on an empty slit [%]",)  # one of a hundred may be, whichever it is

_HOUR = 3600.0  # s
_THOROUGH = 2  # seeds, from the first, with many draws
_DRAWS = 20
_STEPS = (-0.5, -0.25, 0.0, 0.25, 0.5)  # magnitudes about the one at which half is expected to be found
_DRAWS_A_STEP = 4


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """All figures of one seed; nothing is written to the folder."""
    return {arm: _measure_arm(arm, seed) for arm in ("VIS", "NIR")}


def _measure_arm(arm: str, seed: int) -> dict[str, float]:
    slit = _Slit(true_exposure(arm, seed, magnitude=20.0, exposure_time=_HOUR), seed)
    draws = _DRAWS if seed <= _THOROUGH else 1
    found = [slit.look(1.0) for _ in range(draws)]
    seen = [choice for choice in found if choice.detected]
    empty = [slit.look(0.0) for _ in range(draws)]
    figures = {
        "found, magnitude 20 [%]": 100.0 * len(seen) / draws,
        "found on an empty slit [%]": 100.0 * float(np.mean([choice.detected for choice in empty])),
    }
    if not seen:
        return figures
    figures["farthest from its place [px]"] = max(slit.distance(choice) for choice in seen)
    significance = np.median([choice.sources[choice.index].significance for choice in seen])
    figures["significance, magnitude 20"] = float(significance)
    if seed <= _THOROUGH:
        figures["magnitude found half of the time"] = slit.half_magnitude(20.0, float(significance))
    return figures


class _Slit:
    """The light of one exposure, drawn again and again, and the search for its target."""

    def __init__(self, exposure: TrueExposure, seed: int):
        self.exposure = exposure
        self.random = np.random.default_rng(seed)
        self.settings = ExtractionSettings()
        axis = exposure.arm.dispersion_axis
        grids = make_grids(exposure.maps, axis)
        arguments = (exposure.frame, exposure.maps, axis, exposure.base_variance, exposure.flat, grids)
        self.fits = set_up_fits(*arguments, self.settings)
        response = exposure.response
        self.light = [
            [fit.pixels.take(image * response) for image in (exposure.sky, exposure.light - exposure.sky)]
            for fit in self.fits
        ]
        self.rays = [fit.pixels.take(exposure.cosmic_rays) for fit in self.fits]

    def look(self, brightness: float):
        """Draw the noise, with the object so many times its brightness, and search."""
        for fit, (sky, source), rays in zip(self.fits, self.light, self.rays, strict=True):
            expected = np.maximum(sky + brightness * source, 0.0)
            noise = np.sqrt(fit.base_variance) * self.random.standard_normal(expected.size)
            # The same particles, elsewhere.
            struck = np.roll(rays, int(self.random.integers(rays.size)))
            fit.data = self.random.poisson(expected) + noise + struck
            fit.estimate_sky()
        return find_target(self.fits, self.settings)

    def distance(self, choice) -> float:
        """From the found to the true position [px]."""
        truth = self.exposure.truth.tables["object_slit_position"]
        scale = np.median([np.median(fit.pixels.footprint) for fit in self.fits])
        return float(abs(choice.sources[choice.index].position - np.median(truth)) / scale)

    def half_magnitude(self, magnitude: float, significance: float) -> float:
        """Where half of the draws find the object: the mean over magnitudes of the step from all to none."""
        centre = magnitude + 2.5 * np.log10(significance / 6.0)
        share = [
            np.mean(
                [self.look(10.0 ** (-0.4 * (centre + step - magnitude))).detected for _ in range(_DRAWS_A_STEP)]
            )
            for step in _STEPS
        ]
        width = _STEPS[1] - _STEPS[0]
        return float(centre + _STEPS[0] - 0.5 * width + width * np.sum(share))
