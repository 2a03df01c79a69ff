"""Plots of finished products: what to draw for each PRO CATG, written as PNG and PDF beside each other.

Drawn after a recipe has written its products, never inside it, and never part of its set of products.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from soxs_recipes.fits_files import (
    read_frame,
    read_header,
    read_line_table,
    read_merged_spectrum,
    read_order_spectra,
    read_order_table,
    read_response,
)
from soxs_recipes.instrument import load_instrument

__all__ = ["TELLURIC_BANDS", "for_products", "plot_all_arms"]

_log = logging.getLogger(__name__)

# Where the atmosphere absorbs more than a few percent over La Silla [nm]: O2 B and A, H2O, O2, CO2.
TELLURIC_BANDS = (
    (686.0, 696.0),
    (716.0, 734.0),
    (759.0, 771.0),
    (810.0, 838.0),
    (895.0, 985.0),
    (1106.0, 1166.0),
    (1255.0, 1280.0),
    (1300.0, 1500.0),
    (1730.0, 1980.0),
    (1995.0, 2035.0),
)


def for_products(products: Sequence[Path], folder: Path) -> list[Path]:
    """Draw what there is to draw of a recipe's products.

    Parameters
    ----------
    products : sequence of Path
        Products of one recipe run; those of an unknown kind are passed over.
    folder : Path
        Made when missing.

    Returns
    -------
    list of Path
        PNG and PDF files written.
    """
    tags = {path: _tag(path) for path in products}
    written = []
    for path, tag in sorted(tags.items()):
        draw = next((draw for ending, draw in _DRAWERS if _kind(tag).endswith(ending)), None)
        figure = draw(path, tags) if draw else None
        if figure is not None:
            written += _save(figure, folder, path.stem)
    return written


def plot_all_arms(spectra: Sequence[Path], folder: Path, name: str) -> list[Path]:
    """One figure of an object's merged spectra of all arms.

    Parameters
    ----------
    spectra : sequence of Path
        MERGE1D products of one object, one an arm.
    folder : Path
    name : str
        File stem.
    """
    from soxs_recipes.plots.spectra import figure_all_arms

    labelled = [(_arm_label(path), read_merged_spectrum(path)) for path in spectra]
    labelled.sort(key=lambda pair: pair[1].wavelength[0])
    title = f"{read_header(spectra[0]).get('OBJECT', '')}  ·  {read_header(spectra[0]).get('DATE-OBS', '')[:19]}"
    return _save(figure_all_arms(labelled, title, TELLURIC_BANDS), folder, name)


def _master(path, _):
    from soxs_recipes.plots.detector import figure_master

    return figure_master(read_frame(path), _title(path))


def _flat(path, tags):
    from soxs_recipes.plots.detector import figure_master, figure_order_table

    edges = next((other for other, tag in tags.items() if tag.startswith("ORDER_TAB_EDGES")), None)
    frame = read_frame(path)
    if edges is None:
        return figure_master(frame, _title(path), "relative")
    return figure_order_table(frame.data, read_order_table(edges), _title(path), "relative response")


def _orders(path, _):
    from soxs_recipes.plots.detector import figure_order_table

    return figure_order_table(None, read_order_table(path), _title(path))


def _lines(path, _):
    from soxs_recipes.plots.calibration import figure_line_residuals

    return figure_line_residuals(read_line_table(path), _title(path))


def _response(path, _):
    from soxs_recipes.plots.calibration import figure_response

    return figure_response(read_response(path), _title(path), TELLURIC_BANDS)


def _merged(path, _):
    from soxs_recipes.plots.spectra import figure_merged

    return figure_merged(read_merged_spectrum(path), _title(path), TELLURIC_BANDS, smooth=3)


def _order_spectra(path, _):
    from soxs_recipes.plots.spectra import figure_orders

    return figure_orders(read_order_spectra(path), _title(path))


def _sky_subtraction(path, tags):
    from soxs_recipes.plots.detector import figure_sky_subtraction

    model = path.with_name(path.name.replace("SKYSUB", "SKYMODEL"))
    if model not in tags:
        return None
    sky = read_frame(model)
    arm = load_instrument().arm(_arm(path))
    return figure_sky_subtraction(read_frame(path), sky.data, _title(path), arm.dispersion_axis, sky.data != 0)


_DRAWERS: tuple[tuple[str, Callable], ...] = (
    ("MASTER_BIAS", _master),
    ("MASTER_DARK", _master),
    ("MASTER_FLAT", _flat),
    ("ORDER_TAB_CENTR", _orders),
    ("DISP_TAB", _lines),
    ("DISP_TAB_2D", _lines),
    ("RESP_TAB", _response),
    ("MERGE1D", _merged),
    ("ORDER1D", _order_spectra),
    ("SKYSUB", _sky_subtraction),
)


def _save(figure, folder: Path, stem: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        figure.savefig(path, dpi=110)
    return paths


def _tag(path: Path) -> str:
    return str(read_header(path).get("HIERARCH ESO PRO CATG", ""))


def _kind(tag: str) -> str:
    """The tag without its arm."""
    return tag.rsplit("_", 1)[0]


def _arm(path: Path) -> str:
    return _tag(path).rsplit("_", 1)[-1]


def _arm_label(path: Path) -> str:
    return load_instrument().arm(_arm(path)).label


def _title(path: Path) -> str:
    header = read_header(path)
    parts = [str(header.get("HIERARCH ESO PRO CATG", path.name)), str(header.get("OBJECT", ""))]
    parts += [str(header.get("DATE-OBS", ""))[:19], str(header.get("HIERARCH ESO QC STATUS", ""))]
    return "  ·  ".join(part for part in parts if part)
