"""What a review shows of a run: a page a figure, of its products and, for some, of the frames it came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.recipes.framework.product_plots import TELLURIC_BANDS, Drawing, drawings
from soxs_recipes.review.line_pages import LinePages
from soxs_recipes.review.session import ReviewSession, Run

if TYPE_CHECKING:
    from soxs_recipes.recipes.framework.inputs import Inputs

__all__ = ["Page", "pages_of"]

_log = logging.getLogger(__name__)

# Kind of product -> name of its page, in the order of the pages; the first ending that fits counts.
_NAMES = (
    ("DISP_TAB_2D", "Residuals"),
    ("DISP_TAB", "Residuals"),
    ("ORDER_TAB_CENTR", "Centres"),
    ("MASTER_FLAT", "Flat"),
    ("SKYSUB", "Sky"),
    ("SLIT_TRACE", "Slit"),
    ("FLUX_ORDER1D", "Flux of orders"),
    ("ORDER1D", "Orders"),
    ("FLUX_MERGE1D", "Flux"),
    ("MERGE1D", "Spectrum"),
    ("RESP_TAB", "Response"),
    ("RESP_ARCHIVE", "Archive"),
)
_SLIT_END = 0.6  # arcsec at the slit's ends that are not shown
_MOST_SKIES = 4  # exposures whose frames get a page


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a window.

    Attributes
    ----------
    name : str
    draw : function
        Makes the figure (in the place that `plots.style.drawn_within` gives); None when there is nothing to draw.
    click : function of (figure, axes, x, y), or None
        Called with the place of a click in data coordinates; a sentence to show, "" for none.
    """

    name: str
    draw: Callable[[], object]
    click: Callable[[object, object, float, float], str] | None = None


def pages_of(session: ReviewSession, run: Run) -> list[Page]:
    """All pages of a run, the most telling first."""
    found = drawings(run.products)
    pages = _product_pages(found)
    extra = _EXTRA.get(session.declaration.name)
    return extra(session, run, pages) if extra is not None else pages


def _product_pages(found: Sequence[Drawing]) -> list[Page]:
    ranked = sorted(found, key=lambda drawing: _rank(drawing.kind))
    names = [_name(drawing.kind) for drawing in ranked]
    pages, count = [], dict.fromkeys(names, 0)
    for drawing, name in zip(ranked, names, strict=True):
        count[name] += 1
        if name == "Sky" and count[name] > _MOST_SKIES:
            continue
        numbered = f"{name} {count[name]}" if names.count(name) > 1 else name
        pages.append(Page(numbered, drawing.draw))
    return pages


def _rank(kind: str) -> int:
    return next((place for place, (ending, _) in enumerate(_NAMES) if kind.endswith(ending)), len(_NAMES))


def _name(kind: str) -> str:
    words = kind.replace("_", " ").capitalize()
    return next((name for ending, name in _NAMES if kind.endswith(ending)), words)


def _product(run: Run, part: str) -> Path | None:
    return next((path for path in run.products if part in path.name), None)


def run_inputs(session: ReviewSession, run: Run) -> Inputs:
    """The frames of a run as its recipe saw them, with its parameters."""
    from soxs_recipes.recipes.framework.base import resolve_parameters
    from soxs_recipes.recipes.framework.inputs import gather_inputs

    inputs = gather_inputs(session.declaration, session.frames)
    inputs.parameters = resolve_parameters(session.declaration, run.settings, inputs.arm)
    return inputs


# -- dispersion solutions -----------------------------------------------------------------------------------
def _arc_pages(tag: str, session: ReviewSession, run: Run, pages: list[Page]) -> list[Page]:
    """Residuals, identified lines, map."""
    from soxs_recipes.fits_files import extension_names

    table = _product(run, "_DISP_TAB")
    if table is None or "LINES" not in extension_names(table):
        return pages
    lines = LinePages(table, partial(_arc_image, tag, session, run))
    first = Page("Residuals", pages[0].draw, lines.click)
    return [first, Page("Lines", lines.draw_identified, lines.click), Page("Map", lines.draw_map), *pages[1:]]


def _arc_image(tag: str, session: ReviewSession, run: Run):
    """The arc frame as the recipe measured it, ndarray (ny, nx) [e-]; None when no frames were given."""
    from soxs_recipes.recipes.steps.arc_frames import arc_frame

    if not session.frames:
        return None
    return arc_frame(run_inputs(session, run), tag)[0].data


# -- flats --------------------------------------------------------------------------------------------------
def _flat_pages(session: ReviewSession, run: Run, pages: list[Page]) -> list[Page]:
    """The flat with its edges, how well they are measured, the lamp across the orders, scattered light."""
    table = _product(run, "_ORDER_TAB_EDGES")
    if table is None:
        return pages
    extra = [Page("Edges", partial(_draw_edges, table))]
    if session.frames:
        extra.append(Page("Across orders", partial(_draw_sections, session, run, table)))
    background = _product(run, "_BKG_FLAT")
    if background is not None:
        extra.append(Page("Scattered light", partial(_draw_background, background)))
    return [*pages[:1], *extra, *pages[1:]]


def _draw_edges(path: Path):
    from soxs_recipes.fits_files import read_order_table, read_table
    from soxs_recipes.plots.edges import figure_edge_residuals

    return figure_edge_residuals(read_table(path, "SAMPLES"), read_order_table(path), path.name)


def _draw_sections(session: ReviewSession, run: Run, table: Path):
    from soxs_recipes.fits_files import read_order_table
    from soxs_recipes.plots.edges import figure_cross_sections
    from soxs_recipes.recipes.steps.order_geometry import lamp_exposures
    from soxs_recipes.reduction.frames.preparation import subtract_off

    inputs = run_inputs(session, run)
    lit = [file.path for file in inputs.raw_files if not file.tag.endswith("_OFF")][:1]
    off = [file.path for file in inputs.raw_files if file.tag.endswith("_OFF")]
    on, dark, used = lamp_exposures(inputs, lit, off, photon_noise=False)
    frame = subtract_off(on[0], dark) if dark else on[0]
    return figure_cross_sections(frame.data, read_order_table(table), used[0].name)


def _draw_background(path: Path):
    from soxs_recipes.fits_files import read_frame
    from soxs_recipes.plots.detector import figure_master

    return figure_master(read_frame(path), path.name)


# -- objects ------------------------------------------------------------------------------------------------
def _object_pages(session: ReviewSession, run: Run, pages: list[Page]) -> list[Page]:
    """As they are; a click on the light along the slit says where the target is to be looked for."""
    aim = partial(_aim, session)
    return [Page(page.name, page.draw, aim) if page.name == "Slit" else page for page in pages]


def _beam_pages(session: ReviewSession, run: Run, pages: list[Page]) -> list[Page]:
    """The same, the light along the slit taken from the differences of exposures."""
    beams = partial(_draw_beams, session, run)
    shown = [Page(page.name, beams) if page.name == "Slit" else page for page in pages]
    return _object_pages(session, run, shown)


def _draw_beams(session: ReviewSession, run: Run):
    import numpy as np

    from soxs_recipes.fits_files import extension_names, read_frame, read_pixel_maps, read_table
    from soxs_recipes.plots.slit import figure_beams
    from soxs_recipes.recipes.framework.product_plots import drawings
    from soxs_recipes.reduction.extraction.slit_light import frame_slit_light

    table = _product(run, "_SLIT_TRACE")
    if "SLIT_LIGHT" in extension_names(table):  # the sky of the exposure itself was fitted
        return next(drawing.draw() for drawing in drawings([table]))
    maps = next((path for path, tag in session.frames if tag.startswith("DISP_IMAGE")), None)
    lights = []
    if maps is not None:
        pixels = read_pixel_maps(maps)
        slit = np.where(pixels.order > 0, pixels.slit, np.nan)
        inner = 0.5 * session.arm.slit_length - _SLIT_END
        for path in sorted(path for path in run.products if "_SLIT_SKYSUB" in path.name):
            frame = read_frame(path)
            variance = np.where(frame.usable, frame.variance, np.inf)
            if frame.data.shape == slit.shape:
                lights.append(frame_slit_light(frame.data, variance, slit, inner))
    return figure_beams(lights, read_table(table, "SOURCES"), read_table(table, "TRACE"), table.name)


def _aim(session: ReviewSession, _figure, axes, x: float, _y: float) -> str:
    """Take a place on the slit as that of the target."""
    if not axes.get_ylabel().startswith("mean of all orders"):
        return ""
    refused = session.set("target-position", f"{x:.2f}")
    return refused or f"target-position is {x:.2f} arcsec now; with force-position it is extracted there."


# -- response -----------------------------------------------------------------------------------------------
def _response_pages(session: ReviewSession, run: Run, pages: list[Page]) -> list[Page]:
    """Response and efficiency, then the star against its model."""
    table = _product(run, "_RESP_TAB")
    if table is None or not session.frames:
        return pages
    return [*pages[:1], Page("Star and model", partial(_draw_star, session, run, table)), *pages[1:]]


def _draw_star(session: ReviewSession, run: Run, table: Path):
    from soxs_recipes.fits_files import read_order_spectra, read_response
    from soxs_recipes.plots.standard import figure_standard
    from soxs_recipes.recipes.response import observed_standard, seconds_of_light
    from soxs_recipes.recipes.steps.flux_tables import airmass_of, read_extinction
    from soxs_recipes.reduction.flux.flux_calibration import flux_calibrate

    inputs = run_inputs(session, run)
    path = inputs.raw("FLUX_SLIT_ORDER1D")[0]
    match, star = observed_standard(inputs, inputs.parameters, path)
    response, extinction = read_response(table), read_extinction(inputs.calibration("EXTCOEFF_TABLE"))
    airmass, seconds = airmass_of(inputs, path), seconds_of_light(inputs, path)
    orders = [flux_calibrate(order, response, extinction, airmass, seconds) for order in read_order_spectra(path)]
    title = f"{match.star.name}: {path.name}"
    return figure_standard(orders, star.wavelength, star.flux, title, TELLURIC_BANDS)


_EXTRA: dict[str, Callable[[ReviewSession, Run, list[Page]], list[Page]]] = {
    "soxs_disp_solution": partial(_arc_pages, "WAVE_PIN"),
    "soxs_spatial_solution": partial(_arc_pages, "WAVE_MPH"),
    "soxs_mflat": _flat_pages,
    "soxs_response": _response_pages,
    "soxs_stare": _object_pages,
    **dict.fromkeys(("soxs_nod", "soxs_offset"), _beam_pages),
}
