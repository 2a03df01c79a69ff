"""Plots of finished products: what to draw for each PRO CATG.

Drawn after a recipe has written its products, never inside it, and never part of its set of products.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soxs_recipes.errors import InputError
from soxs_recipes.fits_files import (
    extension_names,
    primary_values,
    read_frame,
    read_line_table,
    read_linearity,
    read_merged_spectrum,
    read_order_spectra,
    read_order_table,
    read_rectified_images,
    read_response,
    read_signal,
    read_slit_map,
    read_table,
)
from soxs_recipes.instrument import load_instrument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TELLURIC_BANDS", "Drawing", "drawings", "for_products", "plot_all_arms"]

_TOLD = ("ESO PRO CATG", "OBJECT", "DATE-OBS", "ESO QC STATUS")  # of a product
_EVERY = 3  # of how many pixels of a large frame, along either axis, one is drawn
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
    """Draw what there is to draw of a recipe's products; spectra in counts only where none in flux goes with them.

    Parameters
    ----------
    products : sequence of Path
        Products of one recipe run; those of an unknown kind are passed over.
    folder : Path
        Made when missing.

    Returns
    -------
    list of Path
        Files written: PNG of all, PDF of merged spectra too.
    """
    written = []
    for drawing in drawings(products):
        figure = None if drawing.is_minor else drawing.draw()
        if figure is not None:
            written += _save(figure, folder, drawing.path.stem, pdf=drawing.kind.endswith("MERGE1D"))
    return written


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that can be made of a product.

    Attributes
    ----------
    path : Path
    kind : str
        Its tag without the arm.
    title : str
        What stands above the figure.
    draw : function
        Makes the figure, or gives None where the product holds nothing to draw.
    is_minor : bool
        Whether the same is shown in flux by another product.
    """

    path: Path
    kind: str
    title: str
    draw: Callable[[], Figure | None]
    is_minor: bool = False


def drawings(products: Sequence[Path]) -> list[Drawing]:
    """The figures that can be made of a recipe's products, by file name; nothing is read but headers."""
    run = _Run({path: primary_values(path, _TOLD) for path in products})
    found = []
    for path in sorted(products):
        draw = next((draw for ending, draw in _DRAWERS if run.kind(path).endswith(ending)), None)
        if draw is not None:
            is_minor = run.in_flux(path) in run.headers
            found.append(Drawing(path, run.kind(path), run.title(path), partial(draw, path, run), is_minor))
    return found


def plot_all_arms(spectra: Sequence[Path], folder: Path, name: str) -> list[Path]:
    """One figure of an object's merged spectra of all arms, as PNG and PDF.

    Parameters
    ----------
    spectra : sequence of Path
        MERGE1D products of one object, one an arm.
    folder : Path
    name : str
        File stem.
    """
    from soxs_recipes.plots.spectra import figure_all_arms

    run = _Run({path: primary_values(path, _TOLD) for path in spectra})
    labelled = [(run.arm(path).label, read_merged_spectrum(path)) for path in spectra]
    labelled.sort(key=lambda pair: pair[1].wavelength[0])
    header = run.headers[spectra[0]]
    title = f"{header.get('OBJECT', '')}  ·  {header.get('DATE-OBS', '')[:19]}"
    return _save(figure_all_arms(labelled, title, TELLURIC_BANDS), folder, name, pdf=True)


@dataclass(frozen=True, slots=True)
class _Run:
    """The products of one run and what their headers say."""

    headers: Mapping[Path, Mapping]

    def tag(self, path: Path) -> str:
        return str(self.headers[path].get("ESO PRO CATG", ""))

    def kind(self, path: Path) -> str:
        """The tag without its arm."""
        return self.tag(path).rsplit("_", 1)[0]

    def in_flux(self, path: Path) -> Path | None:
        """Where a spectrum in counts would have its calibrated form."""
        name = re.sub(r"_SLIT_(?=MERGE1D|ORDER1D)", "_SLIT_FLUX_", path.name)
        return path.with_name(name) if name != path.name else None

    def arm(self, path: Path):
        return load_instrument().arm(self.tag(path).rsplit("_", 1)[-1])

    def title(self, path: Path) -> str:
        header = self.headers[path]
        parts = [self.tag(path) or path.name, str(header.get("OBJECT", ""))]
        parts += [str(header.get("DATE-OBS", ""))[:19], str(header.get("ESO QC STATUS", ""))]
        return "  ·  ".join(part for part in parts if part)


def _master(path, run):
    from soxs_recipes.plots.detector import figure_master

    return figure_master(read_frame(path, verify=False), run.title(path))


def _flat(path, run):
    from soxs_recipes.plots.detector import figure_master, figure_order_table

    edges = next((other for other in run.headers if run.tag(other).startswith("ORDER_TAB_EDGES")), None)
    if edges is None:
        return figure_master(read_frame(path, verify=False), run.title(path), "relative")
    signal = read_signal(path, verify=False)
    return figure_order_table(signal, read_order_table(edges), run.title(path), "relative response")


def _orders(path, run):
    from soxs_recipes.plots.detector import figure_order_table

    return figure_order_table(None, read_order_table(path), run.title(path))


def _lines(path, run):
    from soxs_recipes.plots.calibration import figure_line_residuals
    from soxs_recipes.plots.wavelengths import figure_drift

    held = extension_names(path)
    if "DRIFT" in held:
        return figure_drift(read_table(path, "DRIFT"), run.title(path))
    if "LINES" not in held:
        return None  # a solution that was only moved
    return figure_line_residuals(read_line_table(path), run.title(path))


def _response(path, run):
    from soxs_recipes.plots.calibration import figure_response

    return figure_response(read_response(path), run.title(path), TELLURIC_BANDS, _earlier(path))


def _earlier(path):
    """The median of earlier nights that a response was compared with, None without one."""
    from soxs_recipes.data.response import Response

    try:
        table = read_table(path, "ARCHIVE")
    except InputError:
        return None
    nothing = np.zeros(table["WAVE"].size)
    return Response(
        table["ORDER"], table["WAVE"], table["MEDIAN"], table["SCATTER"], nothing, nothing.astype(np.int32)
    )


def _photon_transfer(path, run):
    from soxs_recipes.plots.linearity import figure_photon_transfer

    return figure_photon_transfer(read_table(path, "POINTS"), read_table(path, "GAIN"), run.title(path))


def _linearity(path, run):
    from soxs_recipes.plots.linearity import figure_linearity

    return figure_linearity(read_table(path, "POINTS"), read_linearity(path), run.title(path))


def _merged(path, run):
    from soxs_recipes.plots.spectra import figure_merged

    return figure_merged(read_merged_spectrum(path), run.title(path), TELLURIC_BANDS, smooth=3)


def _order_spectra(path, run):
    from soxs_recipes.plots.spectra import figure_orders

    return figure_orders(read_order_spectra(path), run.title(path))


def _line_check(path, run):
    from soxs_recipes.plots.wavelengths import figure_line_check

    tables = read_table(path, "LINES"), read_table(path, "ORDERS")
    return figure_line_check(*tables, run.title(path), TELLURIC_BANDS)


def _sky_subtraction(path, run):
    from soxs_recipes.plots.detector import figure_sky_subtraction
    from soxs_recipes.plots.style import is_part_of_window

    model = path.with_name(path.name.replace("SKYSUB", "SKYMODEL"))
    if model not in run.headers:
        return None
    # Neither a page nor a histogram needs every pixel.
    every = 1 if is_part_of_window() else _EVERY
    sky = read_signal(model, every)
    axis = run.arm(path).dispersion_axis
    return figure_sky_subtraction(read_frame(path, every), sky, run.title(path), axis, sky != 0, every)


def _rectified(path, run):
    from soxs_recipes.plots.rectified import figure_rectified

    return figure_rectified(read_rectified_images(path)[0], run.title(path))


def _rectified_orders(path, run):
    from soxs_recipes.plots.rectified import figure_rectified_orders

    return figure_rectified_orders(read_rectified_images(path), run.title(path))


def _slit_map(path, run):
    from soxs_recipes.plots.slit_map import figure_slit_map

    positions, sources = (read_table(path, name) for name in ("POSITIONS", "SOURCES"))
    return figure_slit_map(read_slit_map(path), positions, sources, run.title(path))


def _trace(path, run):
    from soxs_recipes.plots.slit import figure_slit_light
    from soxs_recipes.recipes.framework.trace_tables import has_slit_light, read_slit_light

    if not has_slit_light(path):
        return None
    light, sources = read_slit_light(path), read_table(path, "SOURCES")
    first = sources["EXPOSURE"] == 1
    columns = (sources[name][first] for name in ("SLIT_POSITION", "FWHM", "TARGET"))
    bands = {order.number: order.band for order in run.arm(path).orders}
    names = [bands.get(item.order, str(item.order)) for item in light[1:]]
    return figure_slit_light(light, list(zip(*columns, strict=True)), run.title(path), names)


_DRAWERS: tuple[tuple[str, Callable], ...] = (
    ("MASTER_BIAS", _master),
    ("MASTER_DARK", _master),
    ("MASTER_FLAT", _flat),
    ("GAIN_INFO", _photon_transfer),
    ("LINEARITY_COEFF", _linearity),
    ("ORDER_TAB_CENTR", _orders),
    ("DISP_TAB", _lines),
    ("DISP_TAB_2D", _lines),
    ("RESP_TAB", _response),
    ("LINE_CHECK", _line_check),
    ("RESP_ARCHIVE", _response),
    ("MERGE1D", _merged),
    ("ORDER1D", _order_spectra),
    ("SKYSUB", _sky_subtraction),
    ("SCI_MAP", _slit_map),
    ("SLIT_TRACE", _trace),
    ("MERGE2D", _rectified),
    ("ORDER2D", _rectified_orders),
)


def _save(figure, folder: Path, stem: str, *, pdf: bool) -> list[Path]:
    from soxs_recipes.plots.style import save_pdf, save_png

    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{stem}.png"]
    save_png(figure, written[0])
    if pdf:
        written.append(folder / f"{stem}.pdf")
        save_pdf(figure, written[1])
    return written
