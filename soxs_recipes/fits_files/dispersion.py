"""Dispersion solutions as FITS: BLOCKS (domains), SOLUTION (a row a term), and LINES when they are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = ["dispersion_solution_hdus", "read_dispersion_solution", "read_line_table"]

_DOMAINS = (("ORDER", "order_domain"), ("WAVELENGTH", "wavelength_domain"), ("SLIT", "slit_domain"))


def dispersion_solution_hdus(
    solution: DispersionSolution,
    line_table: Mapping[str, np.ndarray] | None = None,
    line_units: Mapping[str, str] | None = None,
    line_comments: Mapping[str, str] | None = None,
) -> list[fits.hdu.base._BaseHDU]:
    """Everything of a solution, float64 to the bit; `line_table` (column name -> array) becomes LINES.

    `line_units` and `line_comments` (column name -> text) are those of its columns.
    """
    primary = fits.PrimaryHDU()
    primary.header["BINY"] = (solution.binning[0], "binning along axis 2 of the pixels counted")
    primary.header["BINX"] = (solution.binning[1], "binning along axis 1 of the pixels counted")
    hdus = [primary, _blocks_hdu(solution.blocks), _terms_hdu(solution.blocks)]
    if line_table is not None:
        hdus.append(table_hdu("LINES", line_table, line_units, line_comments))
    return hdus


def _blocks_hdu(blocks: tuple[DispersionBlock, ...]) -> fits.BinTableHDU:
    columns = {
        "BLOCK": np.arange(len(blocks), dtype=np.int16),
        "ORDERS": np.array([",".join(str(order) for order in block.orders) for block in blocks]),
        "ECHELLE": np.array([block.echelle for block in blocks]),
        "N_TERMS": np.array([len(block.terms) for block in blocks], dtype=np.int32),
    }
    comments = {
        "ECHELLE": "wavelength variable is order * wavelength",
        "ORDERS": "order numbers of this block",
    }
    for word, attribute in _DOMAINS:
        columns[f"{word}_LOW"] = np.array([getattr(block, attribute)[0] for block in blocks], dtype=np.float64)
        columns[f"{word}_HIGH"] = np.array([getattr(block, attribute)[1] for block in blocks], dtype=np.float64)
        comments[f"{word}_LOW"] = "what -1 means"
        comments[f"{word}_HIGH"] = "what +1 means"
    units = {"WAVELENGTH_LOW": "nm", "WAVELENGTH_HIGH": "nm", "SLIT_LOW": "arcsec", "SLIT_HIGH": "arcsec"}
    return table_hdu("BLOCKS", columns, units, comments)


def _terms_hdu(blocks: tuple[DispersionBlock, ...]) -> fits.BinTableHDU:
    widest = max(len(block.terms) for block in blocks)

    def padded(matrix: np.ndarray) -> np.ndarray:
        return np.pad(np.asarray(matrix, dtype=np.float64), ((0, 0), (0, widest - matrix.shape[1])))

    terms = np.concatenate([block.terms for block in blocks]).astype(np.int16)
    columns = {
        "BLOCK": np.repeat(np.arange(len(blocks), dtype=np.int16), [len(block.terms) for block in blocks]),
        "ORDER_DEGREE": terms[:, 0],
        "WAVELENGTH_DEGREE": terms[:, 1],
        "SLIT_DEGREE": terms[:, 2],
        "X": np.concatenate([block.x_coefficients for block in blocks]).astype(np.float64),
        "Y": np.concatenate([block.y_coefficients for block in blocks]).astype(np.float64),
        "X_COVARIANCE": np.concatenate([padded(block.x_covariance) for block in blocks]),
        "Y_COVARIANCE": np.concatenate([padded(block.y_covariance) for block in blocks]),
    }
    comments = {
        "X": "of the product of three Legendre polynomials",
        "Y": "of the product of three Legendre polynomials",
        "X_COVARIANCE": "row of the covariance, zeros behind",
        "Y_COVARIANCE": "row of the covariance, zeros behind",
    }
    units = {"X": "pixel", "Y": "pixel", "X_COVARIANCE": "pixel2", "Y_COVARIANCE": "pixel2"}
    return table_hdu("SOLUTION", columns, units, comments)


def read_dispersion_solution(path: str | Path) -> DispersionSolution:
    """Read what `dispersion_solution_hdus` made (DISP_TAB, DISP_TAB_2D, SPECTRAL_FORMAT)."""
    with open_product(path) as hdus:
        blocks = columns_of(find_extension(hdus, "BLOCKS", path))
        terms = columns_of(find_extension(hdus, "SOLUTION", path))
        header = hdus[0].header
        binning = (int(header.get("BINY", 1)), int(header.get("BINX", 1)))
    return DispersionSolution(tuple(_block(blocks, row, terms) for row in range(len(blocks["BLOCK"]))), binning)


def _block(blocks: dict[str, np.ndarray], row: int, terms: dict[str, np.ndarray]) -> DispersionBlock:
    own = terms["BLOCK"] == blocks["BLOCK"][row]
    count = int(own.sum())
    degrees = [terms[f"{word}_DEGREE"][own] for word, _ in _DOMAINS]
    domains = {
        attribute: (float(blocks[f"{word}_LOW"][row]), float(blocks[f"{word}_HIGH"][row]))
        for word, attribute in _DOMAINS
    }
    return DispersionBlock(
        orders=tuple(int(order) for order in str(blocks["ORDERS"][row]).split(",")),
        terms=np.stack(degrees, axis=1).astype(int),
        x_coefficients=terms["X"][own],
        y_coefficients=terms["Y"][own],
        x_covariance=_square(terms["X_COVARIANCE"][own], count),
        y_covariance=_square(terms["Y_COVARIANCE"][own], count),
        echelle=bool(blocks["ECHELLE"][row]),
        **domains,
    )


def _square(rows: np.ndarray, count: int) -> np.ndarray:
    # A column of width 1 comes back as a vector.
    return rows.reshape(count, -1)[:, :count].copy()


def read_line_table(path: str | Path) -> dict[str, np.ndarray]:
    """Columns of the LINES extension of a solution; InputError when it has none."""
    with open_product(path) as hdus:
        return columns_of(find_extension(hdus, "LINES", path))
