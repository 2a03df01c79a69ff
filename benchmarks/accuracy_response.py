"""Responses from one standard star observed in three modes, against one another and against what the star sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta
from true_calibrations import true_calibrations, true_masters

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.fits_files import read_response
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.simulator import simulate_frame
from soxs_recipes.simulator.frames import standard
from soxs_recipes.simulator.headers import Offset

__all__ = ["BARS", "TITLE", "measure"]

TITLE = "Responses from a standard in stare, nod and offset mode"
BARS: dict[str, tuple[float, str]] = {
    "nod over stare, level [%]": (1.0, "max"),
    "nod over stare, 10-nm bins rms [%]": (1.0, "max"),
    "offset over stare, level [%]": (1.0, "max"),
    "offset over stare, 10-nm bins rms [%]": (1.0, "max"),
    "slit loss over truth, stare [%]": (1.0, "max"),
}
_START = Time("2026-03-02T01:00:00.000", format="isot", scale="utc", precision=3)
_SECONDS = {"VIS": 60.0, "NIR": 60.0}
_MODES = {
    "stare": ("soxs_stare", (Offset(),)),
    "nod": (
        "soxs_nod",
        (Offset("NOD", "A", 0.0, 2.5, throw=5.0), Offset("NOD", "B", 0.0, -2.5, throw=5.0)),
    ),
    "offset": (
        "soxs_offset",
        (Offset("OFFSET", "O", fixed=(25.0, 15.0)), Offset("OFFSET", "S", 25.0, 15.0, fixed=(25.0, 15.0))),
    ),
}


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Figures of both arms."""
    return {arm.name: _measure_arm(arm, seed, folder / arm.name) for arm in load_instrument().arms}


def _measure_arm(arm, seed: int, folder: Path) -> dict[str, float]:
    responses = {}
    losses = []
    for mode, (recipe, offsets) in _MODES.items():
        place = folder / mode
        place.mkdir(parents=True)
        raws, calibrations, passed = _observed(arm, seed, place, offsets)
        run = run_recipe(recipe_class(recipe), [*raws, *calibrations], {}, str(place / "extracted"))
        tag = f"FLUX_SLIT_ORDER1D_{arm.name}"
        (spectra,) = [product.path for product in run.products if product.tag == tag]
        done = run_recipe(recipe_class("soxs_response"), [(str(spectra), tag)], {}, str(place / "response"))
        responses[mode] = read_response(done.paths[0])
        losses.append((done.qc["ESO QC SLIT LOSS"], 1.0 - passed))
    stated, true = losses[0]
    figures = {"slit loss over truth, stare [%]": 100 * (stated - true)}
    for mode in ("nod", "offset"):
        ratios = _ratios(responses[mode], responses["stare"])
        level = float(np.median(ratios))
        figures[f"{mode} over stare, level [%]"] = 100 * (level - 1.0)
        figures[f"{mode} over stare, 10-nm bins rms [%]"] = 100 * float(np.std(ratios / level))
    return figures


def _observed(arm, seed: int, folder: Path, offsets):
    """(raw frames, calibrations, share of the star that the slit passes)."""
    seconds, raws, first = _SECONDS[arm.name], [], None
    for number, offset in enumerate(offsets):
        start = _START + TimeDelta((seconds + 20.0) * number, format="sec")
        sources = () if offset.beam == "S" else (standard().displaced(offset.y, 0.0),)
        data, header, truth = simulate_frame(
            "standard",
            arm.name,
            seed=seed,
            exposure_time=seconds,
            start=start,
            index=number,
            sources=sources,
            offset=offset,
            target="LTT3218",
        )
        path = folder / f"SOXS.{start.isot}.fits"
        fits.PrimaryHDU(data, header).writeto(path)
        raws.append(str(path))
        first = first or (header, truth)
    header, truth = first
    calibrations = true_calibrations(arm, truth.model, header, folder)[2]
    masters = true_masters(arm, truth.detector, header, seconds, folder)
    return raws, [*calibrations, *masters], float(np.median(truth.tables["object_slit_transmission"]))


def _ratios(response, reference) -> np.ndarray:
    """Ratios of 10-nm means in the useful part of each order, absorption bands left out."""
    bad = int(QualityFlag.EXTRAPOLATED | QualityFlag.TELLURIC)
    found = []
    for number in np.unique(reference.order):
        own, other = response.order == number, reference.order == number
        at = reference.wavelength[other]
        ratio = np.interp(at, response.wavelength[own], response.response[own]) / reference.response[other]
        use = (reference.quality[other] & bad == 0) & (
            reference.efficiency[other] > 0.2 * reference.efficiency.max()
        )
        bins = (at[use] // 10.0).astype(int)
        found += [ratio[use][bins == value].mean() for value in np.unique(bins) if (bins == value).sum() > 3]
    return np.array(found)
