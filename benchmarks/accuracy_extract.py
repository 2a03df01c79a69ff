"""Extraction on request: forced places, limits, blends, a galaxy beneath, apertures, against simulated truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measures import _bin_edges, robust_width
from true_exposures import TrueExposure, true_exposure

from soxs_recipes.reduction.extraction.aperture import extract_apertures
from soxs_recipes.reduction.extraction.extraction import ExposureResult
from soxs_recipes.reduction.extraction.limits import band_limits, bands_of
from soxs_recipes.reduction.extraction.request import ExtractionRequest, ExtractionSettings
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.truth import TableTruth

TITLE = "Extraction on request (soxs_extract)"

ARMS = {"VIS": (3, 4), "NIR": (12, 17)}
_BRIGHTER = {"VIS": 0.0, "NIR": -2.0}  # magnitudes, so that both arms see the sources about as well
_TIME, _SEEING = 900.0, 0.9
_BAND = 10.0  # nm

BARS: dict[str, tuple[float, str]] = {
    "forced at r = 21: bias [sigma]": (3.0, "max"),
    "forced at r = 21: pull width": (0.05, "near"),
    "empty place: width of band significances": (0.3, "near"),
    "empty place: false alarms at 2 sigma [%]": (6.0, "max"),
    "blend at 1.5 FWHM: worse bias [%]": (2.0, "max"),
    "blend at 1.5 FWHM: pull width": (0.05, "near"),
    "supernova on a galaxy: median pull": (1.0, "max"),
    "supernova on a galaxy, polynomial: median pull": (1.0, "max"),
    "aperture: bias [%]": (1.0, "max"),
    "aperture: pull width": (0.05, "near"),
}


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """All figures of one seed; nothing is written to the folder."""
    return {arm: _measure_arm(arm, seed) for arm in ARMS}


class _Bench:
    """One arm's calibrations, and scenes made of expected light, each with noise of its own."""

    def __init__(self, arm: str, seed: int):
        self.arm, self.seed = arm, seed
        self.empty = true_exposure(
            arm, seed, magnitude=None, exposure_time=_TIME, cosmic_rays=0.0, orders=ARMS[arm]
        )
        self.rng = np.random.default_rng(seed)

    def light(self, magnitude: float, position: float, seeing: float = _SEEING):
        """(expected light [e-], truth) of a source by itself."""
        effects = Effects(cosmic_rays=0.0, scattered_light=0.0, bias_drift=0.0, persistence=0.0)
        common = {"effects": effects, "exposure_time": _TIME, "seeing": seeing, "moon": 0.0, "airmass": 1.0}
        source = supernova(magnitude, position)
        _, _, truth = simulate_frame("science", self.arm, self.seed, sources=(source,), **common)
        return truth.electrons - self.empty.sky, TableTruth(truth.tables)

    def scene(self, *lights) -> TrueExposure:
        """An exposure on the sky and these sources."""
        mean = np.maximum((self.empty.sky + sum(lights)) * self.empty.response, 0.0)
        noise = self.rng.normal(0.0, np.sqrt(self.empty.base_variance))
        data = (self.rng.poisson(mean) + noise).astype(np.float32)
        values = {name: getattr(self.empty, name) for name in self.empty.__dataclass_fields__}
        return TrueExposure(**{**values, "frame": self.empty.frame.with_arrays(data=data)})


def _measure_arm(arm: str, seed: int) -> dict[str, float]:
    bench = _Bench(arm, seed)
    figures = _forced(bench) | _blend(bench) | _galaxy(bench)
    return figures | _aperture(bench)


def _forced(bench: _Bench) -> dict[str, float]:
    """A faint source and an empty place, with the profiles of a bright star of the same night."""
    star = bench.scene(bench.light(14.0, 0.6)[0]).extract()
    light, truth = bench.light(21.0, -1.0)
    request = ExtractionRequest(profiles=star.profiles[0], further_positions=(3.0,))
    place = _middle(star) - 0.6
    result = bench.scene(light).extract(forced_position=place - 1.0, request=request)
    bias, error, pulls = _against(truth, result.orders)
    spectra = [item.spectrum for item in result.others[0]]
    bands = [item.significance for item in band_limits(spectra, bands_of(spectra, _BAND)) if item is not None]
    return {
        "forced at r = 21: bias [sigma]": abs(bias) / error,
        "forced at r = 21: bias [%]": 100.0 * bias,
        "forced at r = 21: error of it [%]": 100.0 * error,
        "forced at r = 21: pull width": robust_width(pulls),
        "empty place: width of band significances": float(np.std(bands)),
        "empty place: false alarms at 2 sigma [%]": float(100.0 * np.mean(np.array(bands) > 2.0)),
    }


def _middle(result: ExposureResult) -> float:
    profiles = result.profiles[0].values()
    return float(np.median([profile.centre_at(0.5 * profile.bins) for profile in profiles]))


def _blend(bench: _Bench) -> dict[str, float]:
    """Two sources 1.5 FWHM apart, one magnitude between them."""
    half, more = 0.75 * _SEEING, _BRIGHTER[bench.arm]
    (one, truth), (other, its_truth) = bench.light(17.5 + more, -half), bench.light(18.5 + more, half)
    request = ExtractionRequest(further_positions=(half,), may_move=True)
    result = bench.scene(one, other).extract(forced_position=-half, request=request)
    first, _, pulls = _against(truth, result.orders)
    second, _, its_pulls = _against(its_truth, result.others[0])
    return {
        "blend at 1.5 FWHM: worse bias [%]": 100.0 * max(abs(first), abs(second)),
        "blend at 1.5 FWHM: pull width": robust_width(np.concatenate([pulls, its_pulls])),
    }


def _galaxy(bench: _Bench) -> dict[str, float]:
    """A supernova 1 arcsec from the middle of a galaxy of 3.5 arcsec, three times as bright."""
    more = _BRIGHTER[bench.arm]
    light, truth = bench.light(18.5 + more, 0.3)
    galaxy, _ = bench.light(17.3 + more, 1.3, seeing=3.5)
    scene = bench.scene(light, galaxy)
    figures = {}
    for name, request in (
        ("", ExtractionRequest(may_move=True)),
        (", polynomial", ExtractionRequest(may_move=True, host_degree=3, host_window=2.0)),
    ):
        result = scene.extract(forced_position=0.3, request=request)
        bias, _, pulls = _against(truth, result.orders)
        figures[f"supernova on a galaxy{name}: median pull"] = abs(float(np.median(pulls)))
        figures[f"supernova on a galaxy{name}: bias [%]"] = 100.0 * bias
        figures[f"supernova on a galaxy{name}: pull width"] = robust_width(pulls)
    return figures


def _aperture(bench: _Bench) -> dict[str, float]:
    """A star summed over 5 arcsec."""
    light, truth = bench.light(17.0, 0.2)
    scene = bench.scene(light)
    result = extract_apertures(
        scene.frame,
        scene.maps,
        scene.arm.dispersion_axis,
        [(-2.3, 2.7)],
        bands={},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(),
    )
    bias, _, pulls = _against(truth, result.orders)
    return {"aperture: bias [%]": abs(100.0 * bias), "aperture: pull width": robust_width(pulls)}


def _against(truth: TableTruth, orders) -> tuple[float, float, np.ndarray]:
    """(relative bias, its error, pulls) of spectra."""
    product, square, pulls = 0.0, 0.0, []
    for item in orders:
        spectrum = item.spectrum
        counts = np.nan_to_num(truth.truth_counts(spectrum.order, _bin_edges(spectrum), which="object"))
        known = np.isfinite(spectrum.variance) & (spectrum.variance > 0) & (counts > 0)
        known[:20] = known[-20:] = False
        flux, variance, counts = spectrum.flux[known], spectrum.variance[known], counts[known]
        pulls.append((flux - counts) / np.sqrt(variance))
        product += float((flux * counts / variance).sum())
        square += float((counts**2 / variance).sum())
    return product / square - 1.0, square**-0.5, np.concatenate(pulls)
