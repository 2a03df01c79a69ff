"""Calibrations made of the simulator's truth, so that a measurement tells of one step alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.polynomial.legendre import Legendre

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.fits_files import dispersion_solution_hdus, image_hdus, order_table_hdus, write_product

__all__ = ["header_of", "true_calibrations", "true_masters"]


def true_calibrations(arm, model, header, folder: Path):
    """(solution, order table, paths) that say what the simulator's optics do."""
    blocks, traces = [], []
    axis = arm.dispersion_axis
    shape = arm.detector.science_shape()
    for order in arm.orders:
        limits = (order.wavelength_min_full, order.wavelength_max_full)
        wavelength, slit = (v.ravel() for v in np.meshgrid(np.linspace(*limits, 120), np.linspace(-6.2, 6.2, 9)))
        terms = np.array([(0, j, k) for j in range(10) for k in range(4)])
        empty = np.zeros((len(terms), len(terms)))
        block = DispersionBlock(
            (order.number,), terms, empty[0], empty[0], empty, empty, (0.0, 0.0), limits, (-6.2, 6.2)
        )
        design = block.design_matrix(order.number, wavelength, slit)
        x, y = (np.linalg.lstsq(design, v, rcond=None)[0] for v in model.evaluate(order.number, wavelength, slit))
        blocks.append(DispersionBlock((order.number,), terms, x, y, empty, empty, (0.0, 0.0), limits, (-6.2, 6.2)))
        traces.append(_trace(order.number, model, limits, axis, shape[axis]))
    solution, table = DispersionSolution(tuple(blocks)), OrderTable(tuple(traces), axis)
    paths = []
    for tag, hdus in (
        ("DISP_TAB_2D", dispersion_solution_hdus(solution, None, None)),
        ("ORDER_TAB_EDGES", order_table_hdus(table)),
    ):
        path = write_product(folder / f"{tag}.fits", hdus, header_of(header, f"{tag}_{arm.name}"))
        paths.append((str(path), f"{tag}_{arm.name}"))
    return solution, table, paths


def _trace(number, model, limits, axis, pixels) -> OrderTrace:
    wavelength = np.linspace(*limits, 300)
    courses = []
    for slit in (0.0, -5.8, 5.8):
        place = model.evaluate(number, wavelength, np.full(300, slit))
        courses.append((place[1], place[0]) if axis == 0 else place)
    low = max(courses[0][0].min(), 3.0)
    high = min(courses[0][0].max(), pixels - 4.0)
    centre, *edges = (Legendre.fit(*course, 8, domain=(low, high)).coef for course in courses)
    lower, upper = edges if edges[0][0] < edges[1][0] else edges[::-1]
    return OrderTrace(number, (low, high), centre, lower, upper, 0.0)


def true_masters(arm, detector, header, exposure_time: float, folder: Path) -> list[tuple[str, str]]:
    """(path, tag) of a flat, and for a detector without bias a dark, that say what the detector does."""
    shape = detector.response.shape
    nothing = np.zeros(shape, np.int32)
    response = np.asarray(detector.response, np.float32)
    dead = np.where(np.asarray(detector.dead, bool), np.int32(1), nothing)
    frames = {
        "MASTER_FLAT": Frame(
            np.where(dead, 1.0, response).astype(np.float32), np.full(shape, 1e-8, np.float32), dead
        )
    }
    if not arm.detector.has_bias:
        charge = np.asarray(detector.dark, np.float32) * np.float32(exposure_time)
        meta = FrameMeta(name="dark", exposure_time=exposure_time)
        frames["MASTER_DARK"] = Frame(charge, np.full(shape, 1e-4, np.float32), nothing, meta)
    paths = []
    for tag, frame in frames.items():
        cards = header_of(header, f"{tag}_{arm.name}")
        cards["EXPTIME"] = exposure_time
        path = write_product(folder / f"{tag}.fits", image_hdus(frame), cards)
        paths.append((str(path), f"{tag}_{arm.name}"))
    return paths


def header_of(header, tag: str) -> fits.Header:
    """What a product of an exposure with this header says of itself."""
    cards = fits.Header()
    for key in ("INSTRUME", "DATE-OBS", "MJD-OBS", "OBJECT", "ESO SEQ ARM"):
        if key in header:
            cards[f"HIERARCH {key}" if key.startswith("ESO") else key] = header[key]
    cards["HIERARCH ESO PRO CATG"] = tag
    return cards
