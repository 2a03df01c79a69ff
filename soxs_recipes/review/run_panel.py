"""The runs of a session and the QC of two of them side by side."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes

from soxs_recipes.plots.style import BAND, INK, MUTED
from soxs_recipes.review.comparison import QCRow
from soxs_recipes.review.panels import BETTER, ROW, WORSE, Panel
from soxs_recipes.review.session import FAILED, RUNNING, ReviewSession, Run, plain_text

__all__ = ["RunPanel"]

_STATUS_COLOURS = {"COMPLETE": BETTER, "PARTIAL": "#b7791f", FAILED: WORSE, RUNNING: "#1d6fb8"}
_LINE = 15.0


class RunPanel(Panel):
    """A line a run (a click shows it), then a line a QC parameter (a click on "each order" unfolds them).

    Parameters
    ----------
    axes : Axes
    session : ReviewSession
    chosen : function of a Run
        Called when a run is clicked.
    """

    def __init__(self, axes: Axes, session: ReviewSession, chosen: Callable[[Run], None]):
        super().__init__(axes)
        self.session, self.chosen = session, chosen
        self.with_orders = False
        self.explained = ""
        self._run_rows: list[tuple[float, Run]] = []
        self._qc_rows: list[tuple[float, QCRow]] = []
        self._switch: float | None = None

    def draw(self) -> None:
        """Runs, comparison."""
        self._run_rows.clear()
        self._qc_rows.clear()
        y = self._draw_runs(4.0 - self.scrolled)
        y = self._draw_reasons(y)
        y = self._draw_comparison(y + 6.0)
        self.length = y + self.scrolled + 8.0

    def _line(self, x: float, y: float, text: str, **style) -> None:
        if 0 < y < self.size[1] - 4:
            self.text(x, y, text, **{"size": 8.0, **style})

    def _draw_runs(self, y: float) -> float:
        width = self.size[0]
        self._line(8, y + 0.5 * ROW, "Runs", colour=MUTED, weight="bold")
        y += ROW
        for run in self.session.runs:
            is_shown, is_beside = run is self.session.shown, run is self.session.beside
            if is_shown:
                self.box(2, y, width - 4, 2 * _LINE, "white", edge=BAND)
            colour = _STATUS_COLOURS.get(run.status, MUTED)
            label = "now" if is_shown else "before" if is_beside else ""
            self._line(8, y + 0.5 * _LINE, f"{run.number}", weight="bold")
            self._line(26, y + 0.5 * _LINE, run.status.lower(), colour=colour, weight="bold")
            over = run.seconds and run.status != RUNNING
            self._line(106, y + 0.5 * _LINE, f"{run.seconds:.1f} s" if over else "")
            self._line(width - 8, y + 0.5 * _LINE, label, colour=MUTED, ha="right")
            changed = ", ".join(f"{name} {plain_text(value)}" for name, value in run.settings.items())
            text = self.cut(run.error or changed or "all at their defaults", width - 36, 7.5)
            self._line(26, y + 1.45 * _LINE, text, size=7.5, colour=WORSE if run.error else MUTED)
            self._run_rows.append((y, run))
            y += 2 * _LINE + 2
        return y

    def _draw_reasons(self, y: float) -> float:
        """Why the shown run is partial."""
        run, width = self.session.shown, self.size[0]
        for reason in run.reasons[:4] if run is not None else ():
            for line in self.wrapped(f"partial: {reason}", width - 16, 7.5)[:2]:
                y += 12.0
                self._line(8, y, line, size=7.5, colour="#b7791f")
        return y + 4.0

    def _draw_comparison(self, y: float) -> float:
        width = self.size[0]
        rows = self.session.comparison()
        if not rows:
            self._line(8, y + _LINE, "no QC yet" if self.session.shown is None else "", colour=MUTED)
            return y + 2 * _LINE
        columns = (width - 96.0, width - 26.0)
        self._line(8, y + 0.5 * _LINE, "QC", colour=MUTED, weight="bold")
        for run, x in zip((self.session.beside, self.session.shown), columns, strict=True):
            self._line(x, y + 0.5 * _LINE, f"run {run.number}" if run else "", colour=MUTED, ha="right", size=7.5)
        y += _LINE + 2
        for row in (row for row in rows if row.order is None):
            y = self._draw_qc(row, y, columns)
        orders = [row for row in rows if row.order is not None]
        self._switch = None
        if orders:
            self._switch = y
            sign = "▾" if self.with_orders else "▸"
            self._line(8, y + 0.5 * ROW, f"{sign} each order ({len(orders)})", colour="#1d6fb8")
            y += ROW
        for row in orders if self.with_orders else ():
            y = self._draw_qc(row, y, columns)
        if self.explained:
            y += 4.0
            for line in self.wrapped(self.explained, width - 16, 7.5)[:4]:
                self._line(8, y + 6.0, line, size=7.5)
                y += 12.0
        return y

    def _draw_qc(self, row: QCRow, y: float, columns: tuple[float, float]) -> float:
        middle = y + 0.5 * _LINE
        colour = INK if row.is_inside else WORSE
        name = f"{row.name} [{row.unit}]" if row.unit else row.name
        self._line(8, middle, self.cut(name, columns[0] - 62, 7.5), size=7.5, colour=colour)
        self._line(columns[0], middle, _number(row.before), size=7.5, colour=MUTED, ha="right")
        bold = "bold" if row.verdict in ("better", "worse") or not row.is_inside else "normal"
        self._line(columns[1], middle, _number(row.after), size=7.5, colour=colour, ha="right", weight=bold)
        mark, shade = {"better": ("▲", BETTER), "worse": ("▼", WORSE), "same": ("=", MUTED)}.get(
            row.verdict, ("", MUTED)
        )
        self._line(self.size[0] - 12, middle, mark, size=8.0, colour=shade, ha="center")
        self._qc_rows.append((y, row))
        return y + _LINE

    def click(self, event) -> bool:
        """Whether the click was for this panel."""
        place = self.place_of(event)
        if place is None:
            return False
        for top, run in self._run_rows:
            if top <= place[1] < top + 2 * _LINE:
                self.chosen(run)
                return True
        if self._switch is not None and self._switch <= place[1] < self._switch + ROW:
            self.with_orders = not self.with_orders
            self.repaint()
        for top, row in self._qc_rows:
            if top <= place[1] < top + _LINE:
                self.explained = _explained(row)
                self.repaint()
                break
        return True

    def run_place(self, number: int) -> tuple[float, float]:
        """A place on a run's line."""
        for top, run in self._run_rows:
            if run.number == number:
                return 30.0, top + 0.5 * _LINE
        raise KeyError(number)


def _explained(row: QCRow) -> str:
    limits = f" Acceptable: {row.acceptable[0]:g} to {row.acceptable[1]:g}." if row.acceptable else ""
    return f"{row.name}: {row.sentence}{limits}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.4g}"
