"""SPECTRAL_FORMAT_<ARM>: the optical model that a first dispersion solution starts from.

Smooth surfaces through the pinhole positions that soxspipe ships for the instrument. Those positions carry errors
of their own (wrong identifications of several pixels; in the NIR the frames of the Ar and Hg lamps are displaced
by 1.4 pixels along the dispersion against those of Ne and Xe), so the fit is robust, of low degree, and takes the
displacement between lamps as a free number.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander
from sources import Sources
from tables import column, table, write

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution, scaled
from soxs_recipes.data.wavelengths import air_to_vacuum
from soxs_recipes.fits_files import dispersion_solution_hdus
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.model import Arm

VIS_TABLE = "soxs/SOXS_MPH_TAB_VIS_ThAr_1x1.fits"
NIR_TABLE = "soxs/ArHgNeXe_clean_within_2.0pixel.fits"
# Lines of these ions lie within a pixel of one smooth surface; those tagged ArII, NeII, UNK do not (3.5 px).
NIR_IONS = ("ArI", "HgI", "NeI", "XeI")
ION_NAMES = {"Ar": "ArI"}  # one of the lists joined there names the element only
SLIT_DOMAIN = (-6.0, 6.0)
ECHELLE_DOMAIN = (18500.0, 20500.0)


def robust_fit(design: np.ndarray, values: np.ndarray, iterations: int = 40) -> np.ndarray:
    """Coefficients of least |residual| in the sense of a Cauchy loss of width twice the robust scatter."""
    weights = np.ones(len(values))
    for _ in range(iterations):
        solution = np.linalg.lstsq(design * weights[:, None], values * weights, rcond=None)[0]
        residual = values - design @ solution
        scatter = 1.4826 * np.median(np.abs(residual)) + 0.02
        weights = 1.0 / np.sqrt(1.0 + (residual / (2.0 * scatter)) ** 2)
    return solution


def basis(terms: np.ndarray, *variables: np.ndarray) -> np.ndarray:
    """Products of Legendre polynomials, (points, terms); variables already scaled."""
    product = np.ones((len(variables[0]), len(terms)))
    for degrees, values in zip(terms.T, variables, strict=True):
        product *= legvander(values, int(degrees.max()))[:, degrees]
    return product


def pinhole_positions(sources: Sources, arm: Arm) -> dict[str, np.ndarray]:
    """Columns order, wavelength (vacuum), slit, x, y, ion of the shipped pinhole positions."""
    rows = sources.soxspipe_table(NIR_TABLE if arm.echelle else VIS_TABLE)
    ion = np.full(len(rows), "ThAr")
    if arm.echelle:
        names = [str(value).strip() for value in rows["ion"]]
        ion = np.array([ION_NAMES.get(name, name) for name in names])
    keep = np.isin(np.asarray(rows["order"]), [order.number for order in arm.orders])
    return {
        "order": np.asarray(rows["order"], int)[keep],
        "wavelength": air_to_vacuum(np.asarray(rows["wavelength"], float))[keep],
        "slit": np.asarray(rows["slit_position"], float)[keep],
        "x": np.asarray(rows["detector_x"], float)[keep],
        "y": np.asarray(rows["detector_y"], float)[keep],
        "ion": ion[keep],
    }


def _block(orders, terms, x, y, order_domain, wavelength_domain, echelle) -> DispersionBlock:
    zeros = np.zeros((len(terms), len(terms)))
    return DispersionBlock(
        orders=tuple(orders),
        terms=terms,
        x_coefficients=x,
        y_coefficients=y,
        x_covariance=zeros,
        y_covariance=zeros.copy(),
        order_domain=order_domain,
        wavelength_domain=wavelength_domain,
        slit_domain=SLIT_DOMAIN,
        echelle=echelle,
    )


def order_block(positions: dict[str, np.ndarray], number: int, limits: tuple[float, float]) -> DispersionBlock:
    """One quasi-order on its own: degree 5 along the dispersion, 4 across, constant scale and tilt of the slit."""
    own = positions["order"] == number
    terms = np.array([(0, j, 0) for j in range(6)] + [(0, 0, 1)])
    across = terms[:, 1] <= 4
    wavelength, slit = scaled(positions["wavelength"][own], limits), scaled(positions["slit"][own], SLIT_DOMAIN)
    design = basis(terms, np.zeros_like(slit), wavelength, slit)
    x = np.zeros(len(terms))
    x[across] = robust_fit(design[:, across], positions["x"][own])
    y = robust_fit(design, positions["y"][own])
    return _block([number], terms, x, y, (number, number), limits, echelle=False)


def echelle_block(positions: dict[str, np.ndarray], numbers: list[int]) -> DispersionBlock:
    """All orders of a grating: total degree 6 in (order, order * wavelength), quadratic along the slit."""
    keep = np.isin(positions["ion"], NIR_IONS)
    positions = {name: values[keep] for name, values in positions.items()}
    flat = [(i, j, 0) for i in range(7) for j in range(6) if i + j <= 6]
    slit_terms = [
        (0, 0, 1),
        (1, 0, 1),
        (0, 1, 1),
        (2, 0, 1),
        (1, 1, 1),
        (0, 2, 1),
        (0, 0, 2),
        (1, 0, 2),
        (0, 1, 2),
    ]
    terms = np.array(flat + slit_terms)
    order_domain = (float(min(numbers)), float(max(numbers)))
    design = basis(
        terms,
        scaled(positions["order"], order_domain),
        scaled(positions["order"] * positions["wavelength"], ECHELLE_DOMAIN),
        scaled(positions["slit"], SLIT_DOMAIN),
    )
    # The displaced lamps count half each way: the model lies between the two groups.
    lamp = np.where(np.isin(positions["ion"], ("ArI", "HgI")), 0.5, -0.5)
    design = np.column_stack([design, lamp])
    x, y = (robust_fit(design, positions[axis])[:-1] for axis in ("x", "y"))
    return _block(numbers, terms, x, y, order_domain, ECHELLE_DOMAIN, echelle=True)


def spectral_format(sources: Sources, arm: Arm) -> DispersionSolution:
    """The prior optical model of an arm."""
    positions = pinhole_positions(sources, arm)
    numbers = [order.number for order in arm.orders]
    if arm.echelle:
        return DispersionSolution((echelle_block(positions, numbers),))
    limits = {order.number: (order.wavelength_min_full, order.wavelength_max_full) for order in arm.orders}
    return DispersionSolution(tuple(order_block(positions, number, limits[number]) for number in numbers))


def build(sources: Sources) -> None:
    """Write the tables of both arms."""
    for arm in load_instrument().arms:
        primary, *hdus = dispersion_solution_hdus(spectral_format(sources, arm))
        orders = [
            column("ORDER", np.array([order.number for order in arm.orders], np.int16)),
            column("BAND", np.array([order.band for order in arm.orders])),
            column("WLMIN", np.array([order.wavelength_min for order in arm.orders]), "nm"),
            column("WLMAX", np.array([order.wavelength_max for order in arm.orders]), "nm"),
            column("WLMINFUL", np.array([order.wavelength_min_full for order in arm.orders]), "nm"),
            column("WLMAXFUL", np.array([order.wavelength_max_full for order in arm.orders]), "nm"),
        ]
        history = [
            "Prior optical model: robust smooth fit to shipped pinhole positions.",
            "Wavelengths: nm, vacuum (source in air, converted with Morton 2000).",
            "Pixels: trimmed frame, 0-based centres, unbinned. Covariances unknown (0).",
        ]
        hdus.append(table("ORDERS", orders))
        write(f"SPECTRAL_FORMAT_{arm.name}", hdus, sources.take(), history, arm.name, primary=primary)
