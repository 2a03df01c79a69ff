"""Calibrations that hold the simulator's own optics, for tests that do not want to measure them first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial.legendre import Legendre

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.fits_files import dispersion_solution_hdus, order_table_hdus, write_product
from soxs_recipes.instrument import load_instrument
from soxs_recipes.simulator.optics import OpticalModel

_DEGREES = (9, 3)


def solution_of(model: OpticalModel, arm_name: str) -> DispersionSolution:
    """A dispersion solution that follows a model to a few thousandths of a pixel."""
    blocks = []
    for order in load_instrument().arm(arm_name).orders:
        # A little beyond the full range: pixels at its ends are seen through tilted lines.
        low, high = order.wavelength_min_full - 2.0, order.wavelength_max_full + 2.0
        wavelength, slit = (
            grid.ravel() for grid in np.meshgrid(np.linspace(low, high, 80), np.linspace(-6.5, 6.5, 14))
        )
        x, y = model.evaluate(order.number, wavelength, slit)
        degrees = [(0, i, j) for i in range(_DEGREES[0] + 1) for j in range(_DEGREES[1] + 1)]
        terms, empty = np.array(degrees), np.zeros(len(degrees))
        nothing = np.zeros((len(degrees), len(degrees)))
        block = DispersionBlock(
            (order.number,), terms, empty, empty, nothing, nothing, (order.number - 1.0, order.number + 1.0),
            (low, high), (-6.5, 6.5),
        )  # fmt: skip
        design = block.design_matrix(np.full(x.size, order.number), wavelength, slit)
        fitted = [np.linalg.lstsq(design, values, rcond=None)[0] for values in (x, y)]
        blocks.append(
            DispersionBlock(
                block.orders, terms, *fitted, nothing, nothing, block.order_domain, block.wavelength_domain,
                block.slit_domain,
            )
        )  # fmt: skip
    return DispersionSolution(tuple(blocks))


def _edges(model: OpticalModel, arm_name: str) -> OrderTable:
    arm = load_instrument().arm(arm_name)
    length = model.hardware.along
    traces = []
    for order in arm.orders:
        wavelength = np.linspace(order.wavelength_min_full, order.wavelength_max_full, 200)
        curves = {}
        for name, slit in (("centre", 0.0), ("one", -6.0), ("other", 6.0)):
            x, y = model.evaluate(order.number, wavelength, np.full(200, slit))
            along, across = (y, x) if arm.dispersion_axis == 0 else (x, y)
            seen = (along > -20) & (along < length + 20)
            curves[name] = Legendre.fit(along[seen], across[seen], 6, domain=[0.0, length - 1.0]).coef
        lower, upper = sorted((curves["one"], curves["other"]), key=lambda curve: curve[0])
        traces.append(OrderTrace(order.number, (0.0, length - 1.0), curves["centre"], lower, upper, 0.01))
    return OrderTable(tuple(traces), arm.dispersion_axis)


def _known_geometry(arm_name: str, seed: int, folder: Path) -> list[tuple[str, str]]:
    """(path, tag) of a DISP_TAB_2D and an ORDER_TAB_EDGES of a seed's optics without flexure."""
    model = OpticalModel.of_seed(arm_name, seed)
    made = {
        "DISP_TAB_2D": dispersion_solution_hdus(solution_of(model, arm_name)),
        "ORDER_TAB_EDGES": order_table_hdus(_edges(model, arm_name)),
    }
    pairs = []
    for stem, hdus in made.items():
        header = fits.Header()
        header["INSTRUME"] = "SOXS"
        header["HIERARCH ESO SEQ ARM"] = arm_name
        header["HIERARCH ESO PRO CATG"] = f"{stem}_{arm_name}"
        header["MJD-OBS"] = 61100.75
        path = write_product(Path(folder) / f"{arm_name}_{stem}.fits", hdus, header)
        pairs.append((str(path), f"{stem}_{arm_name}"))
    return pairs


@pytest.fixture(scope="session")
def known_geometry():
    """Writer of calibrations: (arm, seed, folder) -> (path, tag) pairs."""
    return _known_geometry


@pytest.fixture(scope="session")
def known_solution():
    """(model, arm) -> DispersionSolution."""
    return solution_of
