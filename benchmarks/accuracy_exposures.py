"""Accuracy of several exposures of one object: repeated spectra, sums, cosmic rays between exposures.

Seeing, clouds, airglow and flexure change from exposure to exposure; cosmic rays fall ten times as often as they
do. The simulator's own optics serve as the dispersion solution and every pixel answers alike, so that what is
measured is extraction and combination.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta
from true_calibrations import true_calibrations

from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import resolve_parameters
from soxs_recipes.recipes.framework.inputs import gather_inputs
from soxs_recipes.recipes.stare import Stare
from soxs_recipes.recipes.steps.exposure_series import Extractor, Series
from soxs_recipes.recipes.steps.spectroscopy import binning_of, find_geometry, prepare_exposures
from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.catalogues import AIRGLOW_FAMILIES
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.truth import TableTruth

__all__ = ["BARS", "TITLE", "measure"]

TITLE = "Several exposures: repeated spectra, sums, cosmic rays at ten times the nominal rate"
BARS: dict[str, tuple[float, str]] = {
    "chi2 of repeated exposures": (0.1, "near"),
    "chi2 of repeated exposures, worst order": (0.1, "near"),
    "bins of one exposure off by over 5 sigma [%]": (0.1, "max"),
    "pull width, combined after extraction": (0.05, "near"),
    "pull width, added on the detector": (0.05, "near"),
    "S/N of the sum over that of the mean of spectra": (0.03, "near"),
    "throughput of an exposure, worst error [%]": (1.0, "max"),
    "hits over 5 sigma found, between exposures [%]": (99.0, "min"),
    "false hits on the trace [%]": (0.1, "max"),
    "false hits on sky lines [%]": (0.1, "max"),
    "false hits elsewhere [%]": (0.1, "max"),
}


def _airglow(level: float) -> tuple[float, ...]:
    """Strength of each family of lines, the higher ones changing more."""
    return tuple(1.0 + (level - 1.0) * (1.0 + 0.1 * family) for family in range(AIRGLOW_FAMILIES))


_SKY = (  # of each exposure
    {"seeing": 0.8, "transparency": 1.0, "airglow": _airglow(1.0), "flexure": (0.03, -0.02)},
    {"seeing": 1.1, "transparency": 0.7, "airglow": _airglow(1.12), "flexure": (-0.02, 0.03)},
    {"seeing": 0.9, "transparency": 0.9, "airglow": _airglow(0.93), "flexure": (0.0, 0.0)},
)
_EFFECTS = dict.fromkeys(("pixel_response", "fringing", "dark", "hot_pixels", "dead_pixels"), 0.0)
_EFFECTS |= {"bias_structure": 0.0, "persistence": 0.0, "cosmic_rays": 10.0}
_TIME = 900.0  # s
_START = Time("2026-03-02T02:00:00")


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Figures of both arms."""
    return {arm.name: _measure_arm(arm.name, seed, folder / arm.name) for arm in load_instrument().arms}


def _measure_arm(arm: str, seed: int, folder: Path) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    frames, truths = _exposures(arm, seed, folder)
    inputs = gather_inputs(Stare.declaration, frames)
    parameters = resolve_parameters(Stare.declaration, {}, inputs.arm)
    geometry = find_geometry(inputs, binning_of(inputs, inputs.all_raw[0]))
    with Series(Extractor(inputs, parameters, geometry), folder) as series:
        single, places = [], []
        for exposure in prepare_exposures(inputs, inputs.all_raw, geometry.table):
            series.add(exposure)
            residuals = series._residuals[-1]
            single.append(_image(residuals, "hit"))
            places.append(_places(residuals))
        series.find_hits()
        figures = _hit_figures(single, series.hits, places, [truth.cosmic_rays for truth in truths])
        results = []
        for number, state in enumerate(series.states()):
            results.append(series.refit(number, state)[2].without_images())
        summed = series.added()[2].without_images()
        throughput = series.throughput()
    tables = [TableTruth(truth.tables) for truth in truths]
    figures |= _repeats([result.orders for result in results], throughput)
    combined = combine_extractions([result.orders for result in results], [_TIME] * len(results))
    after, mean_ratio = _pulls(combined.orders, tables)
    before, sum_ratio = _pulls(summed.orders, tables)
    # Seeing changes what the slit lets through, too.
    light = np.array([np.nansum(truth.tables["object_electrons"]) for truth in truths])
    error = throughput / (light / light.mean()) - 1.0
    return figures | {
        "pull width, combined after extraction": _width(after),
        "pull width, added on the detector": _width(before),
        "S/N of the sum over that of the mean of spectra": float(np.median(sum_ratio) / np.median(mean_ratio)),
        "throughput of an exposure, worst error [%]": 100.0 * float(max(error, key=abs)),
    }


def _exposures(arm: str, seed: int, folder: Path):
    frames, truths = [], []
    for number, sky in enumerate(_SKY):
        start = _START + TimeDelta(number * (_TIME + 60.0), format="sec")
        data, header, truth = simulate_frame(
            "science", arm, seed=seed, exposure_time=_TIME, index=number, start=start,
            source=supernova(17.5), effects=Effects(**_EFFECTS), **sky,
        )  # fmt: skip
        path = folder / f"SOXS.{start.isot}.fits"
        fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
        frames.append((str(path), f"OBJECT_STARE_{arm}"))
        truths.append(truth)
    calibrations = true_calibrations(load_instrument().arm(arm), truths[-1].model, header, folder)[2]
    return [*frames, *calibrations], truths


# -- cosmic rays --------------------------------------------------------------------------------


def _image(residuals, name: str) -> np.ndarray:
    image = np.zeros(residuals.shape, dtype=bool)
    for order in residuals.orders.values():
        image.ravel()[order.index] = getattr(order, name)
    return image


def _places(residuals) -> dict[str, np.ndarray]:
    """Masks of the trace, of sky lines beside it, and of the rest; and the noise of each pixel."""
    trace, line = np.zeros(residuals.shape, bool), np.zeros(residuals.shape, bool)
    sigma = np.full(residuals.shape, np.inf)
    for order in residuals.orders.values():
        near = order.response > 0.25 * np.max(order.response)
        trace.ravel()[order.index] = near
        line.ravel()[order.index] = ~near & (order.sigma > 1.7 * np.median(order.sigma))
        sigma.ravel()[order.index] = order.sigma
    usable = _image(residuals, "usable")
    return {"sigma": sigma, "trace": usable & trace, "line": usable & line, "rest": usable & ~trace & ~line}


def _hit_figures(single, between, places, rays) -> dict[str, float]:
    found = {"single": 0, "between": 0, "there": 0}
    false = {name: [0, 0] for name in ("trace", "line", "rest")}
    for alone, hits, place, light in zip(single, between, places, rays, strict=True):
        hit = (light > 5.0 * place["sigma"]) & (place["trace"] | place["line"] | place["rest"])
        found["there"] += hit.sum()
        found["single"] += (alone & hit).sum()
        found["between"] += (hits & hit).sum()
        for name, counts in false.items():
            clean = place[name] & (light < 0.3 * place["sigma"])
            counts[0] += (hits & clean).sum()
            counts[1] += clean.sum()
    share = {name: 100.0 * counts[0] / counts[1] for name, counts in false.items()}
    return {
        "hits over 5 sigma found, single exposures [%]": 100.0 * found["single"] / found["there"],
        "hits over 5 sigma found, between exposures [%]": 100.0 * found["between"] / found["there"],
        "false hits on the trace [%]": share["trace"],
        "false hits on sky lines [%]": share["line"],
        "false hits elsewhere [%]": share["rest"],
    }


# -- spectra --------------------------------------------------------------------------------


def _repeats(exposures, throughput: np.ndarray) -> dict[str, float]:
    """Scatter of the exposures about their mean over what their errors say."""
    per_order, far, total = [], 0, 0
    for group in zip(*exposures, strict=True):
        flux = np.array([item.spectrum.flux for item in group])
        variance = np.array([item.spectrum.variance - item.shared_variance for item in group])
        known = np.all(np.isfinite(variance) & (variance > 0), axis=0)
        rate, weight = flux[:, known] / throughput[:, None], throughput[:, None] ** 2 / variance[:, known]
        # Seeing, slit loss and refraction change the colour a little: a parabola along the order.
        mean = (weight * rate).sum(axis=0) / weight.sum(axis=0)
        scaled = np.linspace(-1, 1, mean.size)
        for row in range(len(rate)):
            design = mean * np.stack([scaled**k for k in range(3)])
            root = np.sqrt(weight[row])
            course = np.linalg.lstsq((design * root).T, rate[row] * root, rcond=None)[0]
            ratio = sum(value * scaled**k for k, value in enumerate(course))
            rate[row] /= ratio
            weight[row] *= ratio**2
        mean = (weight * rate).sum(axis=0) / weight.sum(axis=0)
        pull = (rate - mean) * np.sqrt(weight)
        far += (np.abs(pull) > 5.0).sum()
        total += pull.size
        chi2 = (pull**2).sum(axis=0)
        per_order.append(chi2[np.abs(pull).max(axis=0) < 5.0].mean() / (len(rate) - 1))
    return {
        "chi2 of repeated exposures": float(np.median(per_order)),
        "chi2 of repeated exposures, worst order": float(max(per_order, key=lambda value: abs(value - 1.0))),
        "bins of one exposure off by over 5 sigma [%]": 100.0 * far / total,
    }


def _pulls(orders, tables) -> tuple[np.ndarray, np.ndarray]:
    """(pulls, signal over noise) of the summed exposures where the object is bright enough to have a truth."""
    pulls, ratios = [], []
    for item in orders:
        spectrum = item.spectrum
        edges = np.append(
            spectrum.wavelength - 0.5 * spectrum.bin_width, spectrum.wavelength[-1] + 0.5 * spectrum.bin_width[-1]
        )
        light = sum(np.nan_to_num(table.truth_counts(spectrum.order, edges, which="object")) for table in tables)
        known = np.isfinite(spectrum.variance) & (spectrum.variance > 0) & (light > 0.3 * np.median(light))
        sigma = np.sqrt(spectrum.variance[known])
        pulls.append((spectrum.flux[known] - light[known]) / sigma)
        ratios.append(light[known] / sigma)
    return np.concatenate(pulls), np.concatenate(ratios)


def _width(values: np.ndarray) -> float:
    low, high = np.percentile(values, [15.865, 84.135])
    return float(0.5 * (high - low))
