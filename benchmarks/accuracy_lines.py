"""Wavelengths against the sky and against the user's own arcs, calibrations by the recipes, beside the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.fits_files import read_dispersion_solution, read_header
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.simulator import simulate_frame

__all__ = ["BARS", "TITLE", "measure"]

TITLE = "Flexure of a pixel, and a drift between the user's own arcs"
BARS: dict[str, tuple[float, str]] = {
    "1 px of flexure: left in an order with lines, worst [px]": (0.05, "max"),
    "1 px of flexure: left in an order without lines, worst [px]": (0.1, "max"),
    "1 px of flexure across: left [px]": (0.05, "max"),
    "shift across over its error": (4.0, "max"),
    "shift along over its error": (4.0, "max"),
    "arms apart after the check [km/s]": (3.0, "max"),
    "user's slit arcs, 1 px of drift: left at the exposure [px]": (0.02, "max"),
    "user's slit arcs: error of the drift along [px]": (0.02, "max"),
    "user's slit arcs: error of the drift across [px]": (0.1, "max"),
}
_START = Time("2026-03-02T02:00:00.000")
_SPEED = 299792.458  # km/s
_TIMES = {"VIS": 60.0, "NIR": 20.0}  # s, arcs


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Figures of both arms."""
    found, velocity = {}, {}
    for arm in load_instrument().arms:
        (folder / arm.name).mkdir(parents=True, exist_ok=True)
        calibrations = _calibrations(arm, seed, folder / arm.name)
        figures, velocity[arm.name] = _flexure(arm, seed, folder / arm.name, calibrations)
        found[arm.name] = figures | _drift(arm, seed, folder / arm.name, calibrations)
    apart = velocity["VIS"] - velocity["NIR"]
    return {name: figures | {"arms apart after the check [km/s]": apart} for name, figures in found.items()}


def _expose(kind, arm, seed, folder, *, hours=0.0, name="", **changes):
    start = _START + TimeDelta(3600.0 * hours, format="sec")
    data, header, truth = simulate_frame(kind, arm.name, seed=seed, start=start, **changes)
    path = folder / f"{kind}{name}.fits"
    fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
    return path, truth


def _run(name, frames, folder):
    result = run_recipe(recipe_class(name), [(str(path), "") for path in frames], {}, str(folder))
    if not result.products:
        raise RuntimeError(f"{name}: {result.message}")
    return {product.tag.rsplit("_", 1)[0]: product.path for product in result.products}


def _calibrations(arm, seed, folder) -> list[Path]:
    """Dispersion solutions and edges of the orders, by the recipes."""
    made = folder / "made"
    pinhole, _ = _expose("pinhole_arc", arm, seed, folder)
    first = _run("disp_solution", [pinhole], made)["DISP_TAB"]
    lamps = ("QTH", "D2") if arm.detector.has_bias else ("QTH",)
    flats = [
        _expose("slit_flat", arm, seed, folder, name=f"{lamp}{i}", lamp=lamp, index=i)[0]
        for lamp in lamps
        for i in range(2)
    ]
    edges = _run("mflat", [*flats, first], made)["ORDER_TAB_EDGES"]
    holes, _ = _expose("multi_pinhole_arc", arm, seed, folder)
    return [_run("spatial_solution", [holes, first, edges], made)["DISP_TAB_2D"], edges]


def _flexure(arm, seed, folder, calibrations) -> tuple[dict[str, float], float]:
    """One pixel in both axes, found by the line check on the raw exposure."""
    signs = np.array([1.0, -1.0])[np.random.default_rng(seed).integers(0, 2, 2)]
    science, truth = _expose("science", arm, seed, folder, exposure_time=600.0, flexure=tuple(signs))
    made = _run("line_check", [science, *calibrations], folder / "check")
    left = _left(arm, truth.model, read_dispersion_solution(made["DISP_TAB_2D"]))
    header = read_header(made["LINE_CHECK"])
    with_lines = [order for order in left if header.get(f"ESO QC ORD{order} N LINES", 0) >= 2]
    before = _left(arm, truth.model, read_dispersion_solution(calibrations[0]))
    across = 0 if arm.dispersion_axis == 0 else 1
    shift_error = header["ESO QC SHIFT"] - signs[1 - across]
    figures = {
        "1 px of flexure: in an order before, worst [px]": max((v[0] for v in before.values()), key=abs),
        "1 px of flexure: left in an order with lines, worst [px]": max((left[o][0] for o in with_lines), key=abs),
        "1 px of flexure across: left [px]": float(np.median([value[1] for value in left.values()])),
        "shift along over its error": shift_error / np.hypot(header["ESO QC ERR"], 0.01),
        "shift across over its error": (header["ESO QC ACROSS"] - signs[across])
        / np.hypot(header["ESO QC ACROSS ERR"], 0.02),
        "sky lines": float(header["ESO QC N LINES"]),
        "resolving power by the sky": float(header["ESO QC R SKY"]),
    }
    others = [values[0] for order, values in left.items() if order not in with_lines]
    if others:
        figures["1 px of flexure: left in an order without lines, worst [px]"] = max(others, key=abs)
    return figures, float(np.median([left[order][2] for order in with_lines]))


def _drift(arm, seed, folder, calibrations) -> dict[str, float]:
    """Arcs an hour apart, one pixel of drift along and across, an exposure between them."""
    rng = np.random.default_rng(seed + 100)
    begin, rate = rng.uniform(-0.5, 0.5, 2), np.array([1.0, 1.0]) * rng.choice([-1.0, 1.0], 2)
    frames, truth = [], None
    hours = float(rng.uniform(0.2, 0.6))
    for name, (kind, when, length) in enumerate(
        (("slit_arc", 0.0, _TIMES[arm.name]), ("science", hours, 600.0), ("slit_arc", 1.0, _TIMES[arm.name]))
    ):
        flexure = tuple(begin + rate * (when + length / 7200.0))
        options = {"flexure": flexure, "exposure_time": length, "index": name}
        path, known = _expose(kind, arm, seed, folder, hours=when, name=f"_drift{name}", **options)
        frames.append(path)
        truth = known if kind == "science" else truth
    made = _run("wave_interpolate", [*frames, *calibrations], folder / "arcs")["DISP_TAB_2D"]
    left = _left(arm, truth.model, read_dispersion_solution(made))
    header = read_header(made)
    along, across = rate[::-1] if arm.dispersion_axis == 0 else rate
    return {
        "user's slit arcs, 1 px of drift: left at the exposure [px]": float(
            np.median([value[0] for value in left.values()])
        ),
        "user's slit arcs: left in an order, worst [px]": max((value[0] for value in left.values()), key=abs),
        "user's slit arcs: error of the drift along [px]": header["ESO QC DRIFT"] - along,
        "user's slit arcs: error of the drift across [px]": header["ESO QC DRIFT ACROSS"] - across,
    }


def _left(arm, model, solution) -> dict[int, tuple[float, float, float]]:
    """Order -> (error of a pixel's wavelength [px], error across [px], error of wavelength [km/s]), medians."""
    found = {}
    for order in arm.orders:
        wavelength, slit = (
            grid.ravel()
            for grid in np.meshgrid(np.linspace(order.wavelength_min, order.wavelength_max, 60), (-4.0, 0.0, 4.0))
        )
        surface = solution.surface(order.number)
        off = np.array(model.evaluate(order.number, wavelength, slit)) - np.array(
            surface.evaluate(wavelength, slit)
        )
        by_wavelength = np.array(surface.wavelength_derivative(wavelength, slit))
        by_slit = np.array(surface.slit_derivative(wavelength, slit))
        # At a pixel: which change of wavelength and slit position makes up for the difference in place.
        determinant = by_wavelength[0] * by_slit[1] - by_wavelength[1] * by_slit[0]
        wrong = (off[0] * by_slit[1] - off[1] * by_slit[0]) / determinant
        along = 1 - arm.dispersion_axis
        found[order.number] = (
            float(np.median(wrong * by_wavelength[along])),
            float(np.median(off[1 - along])),
            float(np.median(_SPEED * wrong / wavelength)),
        )
    return found
