"""Accuracy of a whole night in stare mode: calibrations, extraction, sky, flux."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measures import (
    BARS,
    arm_overlap,
    calibration_of,
    dispersion,
    extraction,
    flat,
    flux_calibration,
    lines_kept,
    master,
    orders,
    pixel_maps,
    products_by_tag,
    raw_names,
    sky_residuals,
)

from soxs_recipes.fits_files import read_header
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.product_plots import TELLURIC_BANDS
from soxs_recipes.simulator import load_truth, simulate_night

__all__ = ["ARMS", "BARS", "MEANS", "TITLE", "measure", "measure_night"]

TITLE = "A night in stare mode: calibrations, supernova of magnitude 18, flux"
ARMS = ("VIS", "NIR")
# One night's noise is as large as these bars: 1.5 %, 0.2 % in the NIR with as much again by the profile that all
# bins have in common, more of the median of its faint bins, and 0.025 of widths in the UV-VIS.
MEANS = (
    "arms' disagreement in the overlap [%]",
    "flux bias median [%]",
    "flux bias, weighted [%]",
    "flux pull width, 10-bin sums",
)


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Simulate, run the command that a user runs, compare."""
    simulate_night(folder, seed=seed, plan="demo")
    words = [sys.executable, "-m", "soxs_recipes.cli", "reduce", "all", str(folder), "--no-plots", "-q"]
    subprocess.run(words, check=False, stdout=subprocess.DEVNULL)
    return measure_night(folder, folder)


def measure_night(raw: Path, products: Path) -> dict[str, dict[str, float]]:
    """All figures of a reduced night, per arm."""
    night, found = load_truth(raw), products_by_tag(products)
    results = {}
    for arm in ARMS:
        figures: dict[str, float] = {}
        for name, job in _jobs(arm, night, found):
            try:
                figures.update(job())
            except (KeyError, IndexError, ValueError) as error:  # a product that is not there is a finding
                print(f"  {arm} {name}: not measured ({type(error).__name__}: {error})")
        results[arm] = figures
    spectra = [found.get(f"SCI_SLIT_FLUX_MERGE1D_{arm}") for arm in ARMS]
    if all(spectra):
        results["both"] = arm_overlap(spectra[0][-1], spectra[1][-1])
    return results


def _jobs(arm, night, products) -> Iterator:
    """(name, function) of each family of figures; a missing product shows when the function runs."""

    def first(tag):
        return products[f"{tag}_{arm}"][0]

    yield "dispersion", lambda: dispersion(first("DISP_TAB"), night, "dispersion")
    yield (
        "2-D dispersion",
        lambda: dispersion(first("DISP_TAB_2D"), night, "2-D dispersion", (-5.5, -2.75, 0.0, 2.75, 5.5)),
    )
    yield "lines", lambda: lines_kept(first("DISP_TAB"))
    yield (
        "pixel maps",
        lambda: pixel_maps(
            first("DISP_IMAGE"),
            first("DISP_TAB_2D"),
            calibration_of(first("DISP_IMAGE"), "ORDER_TAB_EDGES", products[f"ORDER_TAB_EDGES_{arm}"]),
        ),
    )
    yield "orders", lambda: orders(first("ORDER_TAB_CENTR"), first("ORDER_TAB_EDGES"), night)
    for kind in ("bias", "dark"):
        for product in products.get(f"MASTER_{kind.upper()}_{arm}", []):
            yield (
                kind,
                lambda product=product, kind=kind: master(product, *_master_truth(night, arm, product), kind),
            )
    for product in products.get(f"MASTER_FLAT_{arm}", []):
        edges = product.with_name(product.name.replace("MASTER_FLAT", "ORDER_TAB_EDGES"))
        yield "flat", lambda product=product, edges=edges: flat(product, edges, night)
    for product in products.get(f"SCI_SLIT_ORDER1D_{arm}", []):
        yield "extraction", lambda product=product: extraction(product, night)
    if products.get(f"SCI_SLIT_SKYSUB_{arm}"):
        product = first("SCI_SLIT_SKYSUB")
        record = night.record(raw_names(product)[0])
        yield (
            "sky",
            lambda: sky_residuals(product, first("SCI_SLIT_SKYMODEL"), first("DISP_IMAGE"), night, record),
        )
    if products.get(f"SCI_SLIT_FLUX_MERGE1D_{arm}"):
        merged = products[f"SCI_SLIT_FLUX_MERGE1D_{arm}"][-1]
        record = night.record(raw_names(merged)[0])
        yield "flux calibration", lambda: flux_calibration(merged, night, record, TELLURIC_BANDS)


def _master_truth(night, arm, product):
    """What a bias or dark of no noise holds [e-], and its bad pixels."""
    detector, geometry = night.detector(arm), load_instrument().arm(arm).detector
    y0, y1, x0, x1 = geometry.science_window
    pattern = detector.bias[y0:y1, x0:x1]
    if geometry.overscan:  # rows are levelled on the columns that see no light
        unlit = np.concatenate(
            [detector.bias[:, slice(*geometry.prescan)], detector.bias[:, slice(*geometry.overscan)]], 1
        )
        pattern = pattern - unlit.mean(axis=1)[y0:y1, None]
    exposure = float(read_header(product)["EXPTIME"])
    return pattern + detector.dark * exposure, detector.hot | detector.dead
