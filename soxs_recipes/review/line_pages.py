"""Pages of a dispersion solution: its lines on the frame, the pixels of a clicked line, the map of wavelengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from soxs_recipes.instrument import load_instrument

__all__ = ["LinePages"]

_NEAR = 0.03  # part of the axes within which a click means a line
_CUTOUT = (0.74, 0.3)  # width and height of the cut-out, in parts of the page; at its upper right
# Columns that the axes of the figure of residuals show, by their labels.
_COLUMNS = {
    ("x [px]", "y [px]"): ("x", "y"),
    ("x residual [px]", "y residual [px]"): ("x_residual", "y_residual"),
    ("wavelength [nm, vacuum]", "FWHM [px]"): ("wavelength", "fwhm"),
}
_ALONG = ("wavelength", "x_residual")


class LinePages:
    """The lines of one solution.

    Parameters
    ----------
    table : Path
        DISP_TAB or DISP_TAB_2D.
    load_image : function
        Gives the arc frame [e-] as ndarray (ny, nx), or None; called when it is first needed.
    """

    def __init__(self, table: Path, load_image: Callable[[], np.ndarray | None]):
        self.table, self._load_image = table, load_image
        self._marks: list = []

    @cached_property
    def image(self) -> np.ndarray | None:
        """The arc frame."""
        return self._load_image()

    @cached_property
    def lines(self) -> dict[str, np.ndarray]:
        """The line table."""
        from soxs_recipes.fits_files import read_line_table

        return read_line_table(self.table)

    def draw_identified(self):
        """The frame with its lines; None without the frame."""
        from soxs_recipes.plots.arcs import figure_identified_lines

        return None if self.image is None else figure_identified_lines(self.image, self.lines, self.table.name)

    def draw_map(self):
        """Wavelengths and slit over the detector."""
        from soxs_recipes.fits_files import read_dispersion_solution
        from soxs_recipes.plots.arcs import figure_solution_map

        solution = read_dispersion_solution(self.table)
        arm = load_instrument().arm(_arm_name(self.table))
        ranges = [(order.number, order.wavelength_min, order.wavelength_max) for order in arm.orders]
        shape = arm.detector.science_shape(solution.binning)
        return figure_solution_map(solution, ranges, shape, self.table.name)

    def click(self, figure, axes, x: float, y: float) -> str:
        """Ring the nearest line in all axes, show its pixels and tell about it; "" where there is none near."""
        index = self._nearest(axes, x, y)
        self._forget_marks(figure)
        if index is None:
            return ""
        line = {name: values[index] for name, values in self.lines.items()}
        for other in figure.axes:
            columns = _columns_of(other)
            if columns is not None:
                place = [line[name] for name in columns]
                ring = other.plot(*place, "o", ms=11, mfc="none", mec="#c2410c", mew=1.4, zorder=9)[0]
                self._marks.append(ring)
        if self.image is not None:
            self._draw_cutout(figure, line)
        return line_text(line)

    def _nearest(self, axes, x: float, y: float) -> int | None:
        columns = _columns_of(axes)
        if columns is None:
            return None
        across, up = (abs(high - low) for low, high in (axes.get_xlim(), axes.get_ylim()))
        distance = np.hypot((self.lines[columns[0]] - x) / across, (self.lines[columns[1]] - y) / up)
        if columns == _ALONG:  # both residuals stand over the wavelength
            beside = np.hypot((self.lines["wavelength"] - x) / across, (self.lines["y_residual"] - y) / up)
            distance = np.fmin(distance, beside)
        if not np.isfinite(distance).any():
            return None
        index = int(np.nanargmin(distance))
        return index if distance[index] < _NEAR else None

    def _draw_cutout(self, figure, line: Mapping[str, object]) -> None:
        from soxs_recipes.plots.arcs import draw_line_cutout

        left, height = _CUTOUT
        axis = figure.add_axes((left, 0.99 - height, 0.995 - left, height), zorder=10)
        draw_line_cutout(axis, self.image, line)
        axis.set_title(f"{float(line['wavelength']):.3f} nm {str(line['ion']).strip()}", fontsize=8, loc="left")
        axis.set_navigate(False)
        self._marks.append(axis)

    def _forget_marks(self, figure) -> None:
        """Take rings and cut-out away; those of a page that was left went with it."""
        for mark in self._marks:
            if getattr(mark, "axes", mark) in figure.axes:
                mark.remove()
        self._marks.clear()


def _columns_of(axes) -> tuple[str, str] | None:
    labels = (axes.get_xlabel(), axes.get_ylabel())
    if labels[1].startswith("residual [px]"):
        return _ALONG
    return _COLUMNS.get(labels)


def line_text(line: Mapping[str, object]) -> str:
    """All about one line in a sentence."""
    reason = str(line["reason"]).strip().lower().replace("_", " ")
    status = "used" if line["kept"] else reason
    words = [
        f"order {int(line['order'])}, {float(line['wavelength']):.4f} nm {str(line['ion']).strip()}: {status}"
    ]
    if np.isfinite(float(line["x"])):
        words.append(f"at x {float(line['x']):.2f}, y {float(line['y']):.2f} px")
        words.append(f"residual x {float(line['x_residual']):+.3f}, y {float(line['y_residual']):+.3f} px")
        words.append(f"FWHM {float(line['fwhm']):.2f} px, {float(line['flux']):.0f} e-")
    return "; ".join(words)


def _arm_name(path: Path) -> str:
    from soxs_recipes.recipes.framework.inputs import arm_of_frames

    return arm_of_frames([(path, "")])
