"""The look that all figures share; Figure objects only, never pyplot state."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotParams
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

from soxs_recipes.plots.late_ticks import LateAxes
from soxs_recipes.plots.quick_image import QuickImage, add_bar, add_image
from soxs_recipes.plots.quick_scales import quick_scales
from soxs_recipes.plots.quick_text import QuickCanvas

__all__ = [
    "ACCENT",
    "ERROR",
    "INK",
    "MUTED",
    "ORDER_COLOURS",
    "counted",
    "draw_counts",
    "drawn_within",
    "is_part_of_window",
    "label_decades",
    "label_places",
    "new_figure",
    "order_colour",
    "robust_limits",
    "save_pdf",
    "save_png",
    "set_margins",
    "shade_bands",
    "show_image",
]

INK = "#1f2430"
MUTED = "#8a919e"
ERROR = "#c3c8d1"
ACCENT = "#c2410c"
_DPI = 110.0
_PDF_PACKING = 1
_MARGINS = (0.8, 0.25, 0.55, 0.6)  # inches: left, right, bottom, top
_BAR = 0.55  # inches for the labels of a colour bar
_AXES_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": "black",
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelcolor": "black",
    "ytick.labelsize": 8,
}
# Of ticks that are made when the settings above no longer hold.
_TICK_STYLE = {
    "color": MUTED,
    "labelcolor": "black",
    "labelsize": 8,
    "grid_color": "#eceff3",
    "grid_linewidth": 0.6,
}
_GAP_ACROSS, _GAP_DOWN, _GAP_TIGHT = 0.95, 0.75, 0.15  # inches between axes
BAND = "#dfe5ee"
# Neighbouring orders must differ for colour-blind readers too: blue, orange, green, purple by turns.
ORDER_COLOURS = ("#1d6fb8", "#d9730d", "#2c8a57", "#8250a8")
# Where figures are drawn instead of by themselves.
_WITHIN: ContextVar[SubFigure | None] = ContextVar("within", default=None)


@contextmanager
def drawn_within(place: SubFigure) -> Iterator[None]:
    """Figures made in this block fill a part of a window (emptied) instead of standing by themselves."""
    token = _WITHIN.set(place)
    try:
        yield
    finally:
        _WITHIN.reset(token)


def is_part_of_window() -> bool:
    """Whether the figure that is being made can be zoomed: all pixels are kept then."""
    return _WITHIN.get() is not None


def new_figure(
    title: str,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (11.0, 6.0),
    *,
    bars: bool = False,
    wide: int = 0,
    layout: str | None = None,
    **grid,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """A figure with a title and a grid of styled axes, or the place given by `drawn_within` filled with them.

    The first `wide` rows have one axes, over all columns. Margins are fixed, wide enough for labels and, where
    `bars` says so, for colour bars; `layout` "constrained" finds them from the labels, which takes as long as
    drawing.

    Returns
    -------
    Figure
    ndarray (rows, columns) of Axes
    """
    figure = _WITHIN.get()
    if figure is None:
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasAgg(figure)
    else:
        figure.clear()
        figure.subplotpars = SubplotParams()  # by itself a part of a window shares the window's
        layout, size = None, _size_inches(figure)
    with rc_context(_AXES_STYLE):
        if wide:
            axes = _with_wide_rows(figure, rows, columns, wide, **grid)
        else:
            axes = figure.subplots(rows, columns, squeeze=False, subplot_kw={"axes_class": LateAxes}, **grid)
    for axis in figure.axes:
        axis.tick_params(which="both", **_TICK_STYLE)
    if layout is None:
        _set_margins(figure, rows, columns, tight=bool(grid.get("sharex")), bars=bars)
        place = {"y": 1.0 - 0.12 / size[1], "va": "top"}
    else:
        place = {}
    figure.suptitle(_plain(title), fontsize=11, color=INK, x=0.01, ha="left", **place)
    return figure, axes


def _with_wide_rows(figure: Figure | SubFigure, rows: int, columns: int, wide: int, **grid) -> np.ndarray:
    """A grid of axes (rows, columns) of which the first `wide` rows hold one, over all columns."""
    places = figure.add_gridspec(rows, columns, **grid)
    axes = np.empty((rows, columns), object)
    for row in range(rows):
        for column in range(columns):
            if row >= wide:
                axes[row, column] = figure.add_subplot(places[row, column], axes_class=LateAxes)
            elif column == 0:
                axes[row, :] = figure.add_subplot(places[row, :], axes_class=LateAxes)
    return axes


def _size_inches(figure: Figure | SubFigure) -> tuple[float, float]:
    width, height = figure.bbox.size / figure.dpi
    return float(width), float(height)


def _set_margins(figure: Figure, rows: int, columns: int, *, tight: bool, bars: bool) -> None:
    """Room about the axes; rows that share their x axis stand close."""
    left, right, bottom, top = _MARGINS
    bar = _BAR if bars else 0.0
    gaps = _GAP_ACROSS + bar, _GAP_TIGHT if tight else _GAP_DOWN
    set_margins(figure, rows, columns, (left, right + bar, bottom, top), gaps)


def set_margins(
    figure: Figure | SubFigure,
    rows: int,
    columns: int,
    margins: tuple[float, float, float, float],
    gaps: tuple[float, float],
) -> None:
    """Place a grid of axes: margins (left, right, bottom, top) and gaps (across, down) in inches."""
    width, height = _size_inches(figure)
    left, right, bottom, top = margins
    across, down = gaps
    inner_width, inner_height = width - left - right, height - bottom - top
    figure.subplots_adjust(
        left=left / width,
        right=1.0 - right / width,
        bottom=bottom / height,
        top=1.0 - top / height,
        # Gaps count in units of the mean axes.
        wspace=across * columns / max(inner_width - across * (columns - 1), 1.0),
        hspace=down * rows / max(inner_height - down * (rows - 1), 1.0),
    )


def save_png(figure: Figure, path: str | PathLike, dpi: float = _DPI) -> None:
    """Draw a figure into a PNG file, once (`savefig` draws it twice)."""
    figure.set_dpi(dpi)
    canvas = QuickCanvas(figure)
    with quick_scales(figure):
        canvas.draw()
    Path(path).write_bytes(_png(np.asarray(canvas.buffer_rgba()), dpi))


def _png(pixels: np.ndarray, dpi: float) -> bytes:
    """Pixels (ny, nx, 3 or more) uint8, red, green and blue, as PNG (ISO/IEC 15948), rows as they are.

    Programs that choose a filter for every row take twice as long and make figures a third larger: most of their
    pixels repeat a few colours.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with the number of its filter: 0, none
    for colour in range(3):  # numpy goes through runs of three bytes four times as slowly
        rows[:, 1 + colour :: 3] = pixels[:, :, colour]
    per_metre = round(dpi / 0.0254)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def save_pdf(figure: Figure, path: str | PathLike) -> None:
    """Draw a figure into a PDF file, once."""
    dpi = figure.get_dpi()
    # Packed as tightly as can be, a file is a sixth smaller and takes a third longer.
    with quick_scales(figure), rc_context({"pdf.compression": _PDF_PACKING}):
        FigureCanvasPdf(figure).print_pdf(path)
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure)


_FEW_DECADES = 60.0  # highest over lowest value of an axis that needs more labels than powers of ten
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label_decades(axis: Axis) -> None:
    """Label the decades of a logarithmic axis 10ⁿ in plain text: typesetting formulas takes as long as drawing.

    Where hardly a decade is shown, 2 and 5 times a power are labelled, too.
    """

    def between(value: float, _: int) -> str:
        low, high = axis.get_view_interval()
        power = int(np.floor(np.log10(value) + 1e-9))
        factor = round(value / 10.0**power)
        return f"{factor}·{_power_of_ten(power)}" if factor in (2, 5) and high < _FEW_DECADES * low else ""

    axis.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(round(np.log10(value)))))
    axis.set_minor_formatter(FuncFormatter(between))


def label_places(axis: Axis, places: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks at these places alone, labelled so (`set_ticks` makes each of them at once)."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FixedFormatter(labels))


def _power_of_ten(power: int) -> str:
    return "10" + str(power).translate(_SUPERSCRIPTS)


def counted(values: np.ndarray, limits: tuple[float, float], bins: int) -> tuple[np.ndarray, np.ndarray]:
    """(number of values in each of equal bins, edges); those beyond the limits do not count."""
    low, high = limits
    place = (values - low) * (bins / (high - low))
    place = place[(place >= 0) & (place < bins)]
    return np.bincount(place.astype(np.intp), minlength=bins), np.linspace(low, high, bins + 1)


def draw_counts(axis: Axes, heights: np.ndarray, edges: np.ndarray, color: str, label: str | None = None) -> None:
    """Draw a histogram over a logarithmic axis as one outline (`hist` draws a rectangle a bin)."""
    axis.set_yscale("log")
    axis.minorticks_off()
    label_decades(axis.yaxis)
    positive = heights[heights > 0]
    least = float(positive.min()) if positive.size else 1.0
    nothing = 1e-9 * least  # far below what is shown
    axis.stairs(np.maximum(heights, nothing), edges, baseline=nothing, fill=True, color=color, label=label)
    axis.set_ylim(0.5 * least, 2.0 * max(float(np.max(heights)), least))


def order_colour(position: int) -> str:
    """Colour of the n-th order."""
    return ORDER_COLOURS[position % len(ORDER_COLOURS)]


def robust_limits(
    values: np.ndarray, low: float = 0.5, high: float = 99.5, margin: float = 0.05
) -> tuple[float, float]:
    """Axis limits that hold the bulk of finite values; (0, 1) when there are none."""
    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    bottom, top = np.percentile(finite, [low, high])
    pad = margin * (top - bottom) or 0.5 * abs(top) or 0.5
    return float(bottom - pad), float(top + pad)


def shade_bands(axis: Axes, bands: Sequence[tuple[float, float]], label: str) -> None:
    """Shade wavelength ranges behind the data, labelled once in the legend."""
    low, high = axis.get_xlim()
    for start, end in bands:
        if end > low and start < high:
            axis.axvspan(max(start, low), min(end, high), color=BAND, lw=0, zorder=0, label=label)
            label = "_nolegend_"


def show_image(
    axis: Axes,
    image: np.ndarray,
    unit: str,
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
    shape: tuple[int, int] | None = None,
    through: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> None:
    """Draw a detector frame, thinned to what a screen can show, with its colour bar.

    `shape` is that of the frame, where `image` has been thinned already; `through` makes of the
    pixels kept what is shown.
    """
    ny, nx = shape or image.shape
    place = axis.get_position()
    shown_size = _DPI * np.array(_size_inches(axis.figure)) * (place.width, place.height)
    step = max(1, int(max(image.shape[1] / shown_size[0], image.shape[0] / shown_size[1])))
    step = 1 if is_part_of_window() else step
    thin = through(image[::step, ::step])
    low, high = limits or robust_limits(thin, 1, 99)
    extent = (-0.5, nx - 0.5, -0.5, ny - 0.5)
    axis.set_xlabel("x [px]")
    axis.set_ylabel("y [px]")
    axis.grid(visible=False)
    if is_part_of_window():
        shown = axis.imshow(
            thin,
            origin="lower",
            cmap=cmap,
            vmin=low,
            vmax=high,
            aspect="auto",
            interpolation="auto",
            extent=extent,
        )
        bar = axis.figure.colorbar(shown, ax=axis, pad=0.01, fraction=0.05)
        bar.set_label(unit, fontsize=8)
        bar.ax.tick_params(labelsize=8)
        return
    shown = QuickImage(axis, thin, (low, high), cmap, extent)
    add_image(axis, shown)
    add_bar(shown, unit, 8.0)


def _plain(text: str) -> str:
    """Header text must not start mathtext."""
    return text.replace("$", r"\$")
