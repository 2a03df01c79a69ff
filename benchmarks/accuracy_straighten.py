"""Accuracy of straightened images: light, errors of sums, wavelengths and slit positions, against the truth.

Light and noise are laid straight by the recipe, with the simulator's own optics as the dispersion solution, so
that what is measured is the straightening.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from true_calibrations import header_of, true_calibrations

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.fits_files import image_hdus, read_rectified_images, write_product
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.reduction.dispersion.pixel_maps import pixel_maps
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.truth import TableTruth

__all__ = ["BARS", "TITLE", "measure"]

TITLE = "Straightened images: light, errors of sums, wavelengths, slit positions"
BARS: dict[str, tuple[float, str]] = {
    "light of an order, straightened over detected [%]": (0.1, "max"),
    "light of the object in 60 columns over the truth, median [%]": (0.1, "max"),
    "light of the object in 60 columns over the truth, worst [%]": (0.5, "max"),
    "pull width of single bins": (0.03, "near"),
    "pull width of 3 x 3 bins": (0.03, "near"),
    "pull width of 8 x 25 bins": (0.03, "near"),
    "pull width of 8 x 25 bins, merged": (0.03, "near"),
    "line wavelength, median [px]": (0.02, "max"),
    "line wavelength, scatter [px]": (0.02, "max"),
    "object position, median [px]": (0.02, "max"),
    "object position, scatter [px]": (0.02, "max"),
}
_NOISE_FRAMES = 4
_BOXES = {"single bins": (1, 1), "3 x 3 bins": (3, 3), "8 x 25 bins": (8, 25)}


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Figures of both arms."""
    return {arm.name: _measure_arm(arm, seed, folder / arm.name) for arm in load_instrument().arms}


def _measure_arm(arm, seed: int, folder: Path) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    clean = Effects.none()
    options = {"seed": seed, "exposure_time": 600.0, "effects": clean}
    _, header, truth = simulate_frame("science", arm.name, **options)
    _, _, sky = simulate_frame("science", arm.name, **options, sources=())
    calibrations = true_calibrations(arm, truth.model, header, folder)
    light = truth.electrons - sky.electrons
    orders, _ = _straightened(folder / "light", light, np.ones_like(light), header, arm, calibrations)
    figures = _light(orders, light, truth, arm, calibrations) | _positions(orders, truth.tables)
    variance = truth.electrons + arm.detector.read_modes[0].read_noise ** 2
    generator = np.random.default_rng(seed)
    pulls: dict[str, list[np.ndarray]] = {}
    for _ in range(_NOISE_FRAMES):
        noise = generator.normal(0.0, np.sqrt(variance))
        orders, merged = _straightened(folder / "noise", noise, variance, header, arm, calibrations)
        for name, (rows, columns) in _BOXES.items():
            pulls.setdefault(name, []).extend(_pulls(order, rows, columns) for order in orders)
        pulls.setdefault("8 x 25 bins, merged", []).append(_pulls(merged, 8, 25, 5000))
    figures |= {f"pull width of {name}": _width(np.concatenate(values)) for name, values in pulls.items()}
    return figures | _places(arm, seed, folder)


def _places(arm, seed: int, folder: Path) -> dict[str, float]:
    """Lines of an arc through pinholes: where they come to lie against where they belong."""
    options = {"seed": seed, "exposure_time": 60.0, "effects": Effects.none()}
    _, header, truth = simulate_frame("multi_pinhole_arc", arm.name, **options)
    calibrations = true_calibrations(arm, truth.model, header, folder)
    images, _ = _straightened(
        folder / "arc", truth.electrons, np.ones_like(truth.electrons), header, arm, calibrations
    )
    table, found = truth.tables, []
    for image in images:
        own = table["line_order"] == image.order
        wavelength, light = table["line_wavelength"][own], table["line_electrons"][own]
        for value in wavelength[_isolated(wavelength, light, 12 * image.wavelength_step)]:
            found += [_offset(image, value, place) for place in table["pinhole_positions"][1:-1]]
    offsets = np.array([offset for offset in found if offset is not None])
    return {
        "line wavelength, median [px]": float(np.median(offsets)),
        "line wavelength, scatter [px]": _width(offsets),
    }


def _isolated(wavelength, light, distance) -> np.ndarray:
    """Bright lines with nothing of a hundredth of their light near."""
    near = np.abs(wavelength[:, None] - wavelength[None, :]) < distance
    np.fill_diagonal(near, False)
    around = np.where(near, light[None, :], 0.0).sum(axis=1)
    return np.flatnonzero((light > np.median(light)) & (around < 0.01 * light))


def _offset(image, wavelength: float, place: float) -> float | None:
    """Columns by which a spot is off; None at the image's end."""
    column = round((wavelength - image.wavelength_start) / image.wavelength_step)
    row = round((place - image.slit_start) / image.slit_step)
    box = (slice(row - 3, row + 4), slice(column - 8, column + 9))
    if column < 8 or column > image.shape[1] - 9 or row < 3 or not (image.coverage[box] > 0.99).all():
        return None
    light = image.flux[box].sum(axis=0, dtype=float)
    found = _centroid(image.wavelength[box[1]], light, wavelength, 3.0 * image.wavelength_step)
    return (found - wavelength) / image.wavelength_step


def _centroid(grid, light, start: float, sigma: float) -> float:
    """Place at which a Gaussian window lies in the middle of the light."""
    place = start
    for _ in range(20):
        weight = light * np.exp(-0.5 * ((grid - place) / sigma) ** 2)
        place += 2.0 * (weight @ grid / weight.sum() - place)
    return place


def _light(orders, light, truth, arm, calibrations) -> dict[str, float]:
    solution, table = calibrations[:2]
    ranges = {order.number: (order.wavelength_min_full, order.wavelength_max_full) for order in arm.orders}
    maps = pixel_maps(
        solution,
        light.shape,
        dispersion_axis=arm.dispersion_axis,
        order_table=table,
        wavelength_ranges=ranges,
    )
    counts = TableTruth(truth.tables)
    whole, parts = [], []
    for image in orders:
        detected = light[maps.order == image.order].sum()
        whole.append(image.flux.sum(dtype=float) / detected - 1.0)
        edges = image.wavelength_start + image.wavelength_step * (np.arange(30, image.shape[1] - 30, 60) - 0.5)
        true = counts.truth_counts(image.order, edges, which="object")
        sums = np.add.reduceat(image.flux.sum(axis=0, dtype=float), np.arange(30, image.shape[1] - 30, 60))[
            : true.size
        ]
        kept = true > 0.1 * np.nanmax(true)
        parts.append(sums[kept] / true[kept] - 1.0)
    parts = np.concatenate(parts)
    return {
        "light of an order, straightened over detected [%]": 100 * float(max(whole, key=abs)),
        "light of the object in 60 columns over the truth, median [%]": 100 * float(np.median(parts)),
        "light of the object in 60 columns over the truth, worst [%]": 100 * float(max(parts, key=abs)),
    }


def _positions(orders, table) -> dict[str, float]:
    """The object's place on the slit, in means of 60 columns."""
    offsets = []
    for image in orders:
        own = table["object_order"] == image.order
        ranked = np.argsort(table["object_wavelength"][own])
        known = [table[f"object_{name}"][own][ranked] for name in ("wavelength", "slit_position")]
        for left in range(60, image.shape[1] - 120, 60):
            columns = slice(left, left + 60)
            profile = image.flux[:, columns].sum(axis=1, dtype=float)
            if (image.coverage[image.shape[0] // 2, columns] > 0.99).all() and profile.sum() > 100.0:
                place = float(np.interp(image.wavelength[columns].mean(), *known))
                offsets.append((_centroid(image.slit, profile, place, 1.2) - place) / image.slit_step)
    return {
        "object position, median [px]": float(np.median(offsets)),
        "object position, scatter [px]": _width(np.array(offsets)),
    }


def _pulls(image, rows: int, columns: int, most: int = 1000) -> np.ndarray:
    """(sum - truth) / error of boxes that lie apart, evenly chosen."""
    whole = image.known & (image.coverage > 0.99)
    tops = range(0, image.shape[0] - rows + 1, rows)
    lefts = range(5, image.shape[1] - columns - 5, columns + 3)
    places = [(top, left) for left in lefts for top in tops]
    found = []
    for top, left in places[:: max(1, len(places) // most)]:
        box = (slice(top, top + rows), slice(left, left + columns))
        if whole[box].all():
            total, error = image.sum_box(*box)
            found.append(total / error)
    return np.array(found)


def _width(values: np.ndarray) -> float:
    low, high = np.percentile(values, [15.865, 84.135])
    return float(0.5 * (high - low))


def _straightened(folder: Path, data, variance, header, arm, calibrations):
    """(orders, merged) that the recipe makes of light on the detector."""
    folder.mkdir(exist_ok=True)
    meta = FrameMeta(name=folder.name, exposure_time=600.0)
    frame = Frame(
        np.asarray(data, np.float32), np.asarray(variance, np.float32), np.zeros(data.shape, np.int32), meta
    )
    tag = f"SCI_SLIT_SKYSUB_{arm.name}"
    path = write_product(folder / "SKYSUB.fits", image_hdus(frame), header_of(header, tag))
    run = run_recipe(recipe_class("soxs_straighten"), [(str(path), tag), *calibrations[2]], {}, str(folder))
    found = {product.tag: product.path for product in run.products}
    return (
        read_rectified_images(found[f"SCI_SLIT_ORDER2D_{arm.name}"]),
        read_rectified_images(found[f"SCI_SLIT_MERGE2D_{arm.name}"])[0],
    )
