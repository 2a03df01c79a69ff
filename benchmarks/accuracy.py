"""Many-seed accuracy: simulate nights, reduce them with the `soxs` command, compare with the truth.

    python benchmarks/accuracy.py --seeds 1 2 3 4 5 --output docs/accuracy.md

A night and its reduction need some 1.5 GB of disk, which is freed before the next seed unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measures import (
    BARS,
    calibration_of,
    dispersion,
    extraction,
    flat,
    flux_calibration,
    lines_kept,
    master,
    meets,
    orders,
    pixel_maps,
    products_by_tag,
    raw_names,
    sky_residuals,
)

from soxs_recipes import __version__
from soxs_recipes.fits_files import read_header
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.product_plots import TELLURIC_BANDS
from soxs_recipes.simulator import load_truth, simulate_night

ARMS = ("VIS", "NIR")


def reduce_night(folder: Path) -> float:
    """Run the two commands a user runs; seconds of the second."""
    subprocess.run([sys.executable, "-m", "soxs_recipes.cli", "prep", str(folder)], check=True)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "soxs_recipes.cli", "reduce", "all", str(folder)], check=False)
    return time.monotonic() - started


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """All figures of a reduced night, per arm."""
    night, products = load_truth(folder), products_by_tag(folder)
    results = {}
    for arm in ARMS:
        found: dict[str, float] = {}
        for name, job in _jobs(arm, night, products):
            try:
                found.update(job())
            except (KeyError, IndexError, ValueError) as error:  # a product that is not there is a finding
                print(f"  {arm} {name}: not measured ({type(error).__name__}: {error})")
        results[arm] = found
    return results


def _jobs(arm, night, products):
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


def table(results: dict[int, dict]) -> str:
    """Markdown: worst seed and median of each figure, beside its bar."""
    lines = ["| arm | figure | bar | median | worst | seed | met |", "|---|---|---|---|---|---|---|"]
    for arm in ARMS:
        figures = dict.fromkeys(name for seed in results for name in results[seed][arm])
        for figure in figures:
            values = {seed: results[seed][arm][figure] for seed in results if figure in results[seed][arm]}
            bound, sense = BARS.get(figure, (None, ""))
            target = 1.0 if sense == "near" else 0.0
            distance = (
                (lambda s, v=values: -v[s]) if sense == "min" else (lambda s, v=values, t=target: abs(v[s] - t))
            )
            worst = max(values, key=distance)
            met = meets(figure, values[worst])
            bar = {"max": f"≤ {bound}", "min": f"≥ {bound}", "near": "1.00 ± 0.05"}.get(sense, "")
            verdict = "" if met is None else ("yes" if met else "**no**")
            lines.append(
                f"| {arm} | {figure} | {bar} | {np.median(list(values.values())):.4g} "
                f"| {values[worst]:.4g} | {worst} | {verdict} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--plan", default="demo", help="plan of the simulated nights")
    parser.add_argument("--output", type=Path, default=Path("docs/accuracy.md"))
    parser.add_argument("--night", type=Path, help="measure this reduced night only, simulating nothing")
    parser.add_argument("--keep", type=Path, help="keep nights below this folder")
    options = parser.parse_args()
    if options.night:
        print(json.dumps(measure(options.night), indent=1))
        return
    results, seconds = {}, {}
    for seed in options.seeds:
        base = options.keep or Path(tempfile.mkdtemp(prefix="soxs-accuracy-"))
        folder = base / f"seed{seed}"
        simulate_night(folder, seed=seed, plan=options.plan)
        seconds[seed] = reduce_night(folder)
        results[seed] = measure(folder)
        if not options.keep:
            shutil.rmtree(base)
        print(f"seed {seed}: reduced in {seconds[seed]:.0f} s")
        text = f"# Accuracy on simulated nights\n\nVersion {__version__}, seeds {sorted(results)}, "
        text += f"plan {options.plan}. "
        text += 'Made by `make accuracy`; "worst" is the worst seed.\n\n' + table(results)
        options.output.write_text(text, encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
