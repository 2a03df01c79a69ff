"""The window of a review: parameters on the left, what a run gave in the middle, runs and QC on the right."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from matplotlib.figure import Figure

from soxs_recipes.errors import InputError
from soxs_recipes.plots.style import INK, MUTED, drawn_within
from soxs_recipes.review.pages import Page, pages_of
from soxs_recipes.review.panels import PAPER, Button, ButtonBar, Panel, StatusBar
from soxs_recipes.review.parameter_panel import ParameterPanel
from soxs_recipes.review.run_panel import RunPanel
from soxs_recipes.review.session import FAILED, STOPPED, ReviewSession, Run

__all__ = ["SIZE", "Keeping", "ReviewWindow"]

_log = logging.getLogger(__name__)
SIZE = (15.0, 9.0)  # inches
_LEFT, _RIGHT = 0.235, 0.215  # parts of the width
_TOP, _TABS = 0.038, 0.036  # parts of the height
_BUTTONS, _STATUS = 0.042, 0.13
_LOG_PAGE = "Log"
_LOG_LINES = 46


@dataclass(frozen=True, slots=True)
class Keeping:
    """The button that keeps a result.

    Attributes
    ----------
    label : str
    act : function of the wishes that are on, or None
        Keeps the shown run and tells what was done; None puts it into the session's output folder.
    wishes : tuple of str
        Switches beside the button.
    """

    label: str = "Use this result"
    act: Callable[[Collection[str]], str] | None = None
    wishes: tuple[str, ...] = ()


class ReviewWindow:
    """A session on a figure; the figure may belong to a window on a screen or to none.

    Parameters
    ----------
    session : ReviewSession
    figure : Figure
        Emptied and filled.
    keeping : Keeping
    """

    def __init__(self, session: ReviewSession, figure: Figure, keeping: Keeping | None = None):
        self.session, self.figure = session, figure
        self._keeping = keeping or Keeping()
        self.wishes: set[str] = set()
        self.pages: list[Page] = []
        self.page_name = ""
        self._log_shown: tuple[object, int] = (None, -1)
        figure.clear()
        figure.set_facecolor(PAPER)
        self._lay_out()
        canvas = figure.canvas
        handlers = {
            "button_press_event": self._click,
            "key_press_event": self._key,
            "motion_notify_event": self._motion,
            "scroll_event": self._scroll,
            "resize_event": self._resized,
        }
        self._connections = [canvas.mpl_connect(name, handler) for name, handler in handlers.items()]
        self.status.tell(self._greeting())
        self._show_pages()

    # -- layout ---------------------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        middle = 1.0 - _LEFT - _RIGHT
        top = 1.0 - _TOP
        heights = (_TOP + _TABS, 1.0 - _TOP - _TABS)
        grid = self.figure.add_gridspec(2, 3, width_ratios=(_LEFT, middle, _RIGHT), height_ratios=heights)
        self.view = self.figure.add_subfigure(grid[1, 1], facecolor="white")
        add = self.figure.add_axes
        self.title = _Title(add((0.0, top, 1.0, _TOP)), self.session)
        panel_bottom = _BUTTONS + _STATUS
        self.parameters = ParameterPanel(
            add((0.0, panel_bottom, _LEFT, top - panel_bottom)), self.session, self._changed
        )
        self.actions = ButtonBar(add((0.0, _STATUS, _LEFT, _BUTTONS)), self.press)
        self.status = StatusBar(add((0.0, 0.0, _LEFT, _STATUS)))
        self.tabs = ButtonBar(add((_LEFT, top - _TABS, middle, _TABS)), self.show_page, equal=False)
        self.run_panel = RunPanel(
            add((1.0 - _RIGHT, _BUTTONS + _TABS, _RIGHT, top - _BUTTONS - _TABS)), self.session, self._choose_run
        )
        self.keeping = ButtonBar(add((1.0 - _RIGHT, 0.0, _RIGHT, _BUTTONS)), self.press)
        self.switches = ButtonBar(add((1.0 - _RIGHT, _BUTTONS, _RIGHT, _TABS)), self._wish)
        self._panels: tuple[Panel, ...] = (
            self.title, self.parameters, self.actions, self.status, self.tabs, self.run_panel, self.keeping,
            self.switches,
        )  # fmt: skip

    def _set_buttons(self) -> None:
        is_running = self.session.running is not None
        again = "Run again" if self.session.runs else "Run"
        self.actions.buttons = (
            Button("run", again, not is_running and bool(self.session.frames), is_strong=not is_running),
            Button("stop", "Stop", is_running, is_strong=is_running),
            Button("defaults", "Defaults", bool(self.session.settings or self.session.refused)),
        )
        can_keep = self.session.shown is not None and not is_running
        self.keeping.buttons = (Button("keep", self._keeping.label, can_keep, is_strong=True),)
        self.switches.buttons = tuple(
            Button(wish, f"{'☑' if wish in self.wishes else '☐'} {wish}") for wish in self._keeping.wishes
        )
        self.tabs.buttons = tuple(Button(name, name) for name in self.page_names)
        self.tabs.chosen = self.page_name

    def draw_all(self) -> None:
        """Draw the whole window."""
        self._set_buttons()
        for panel in self._panels:
            panel.compose()
        self.figure.canvas.draw_idle()

    def _repaint(self, *panels: Panel) -> None:
        self._set_buttons()
        for panel in panels:
            panel.repaint()

    # -- pages ----------------------------------------------------------------------------------------------
    @property
    def page_names(self) -> list[str]:
        """Names of the pages there are."""
        return [*(page.name for page in self.pages), *([_LOG_PAGE] if self.session.runs else [])]

    def _show_pages(self) -> None:
        """Pages of the shown run; the page that was open stays open if there is one of its name."""
        run = self.session.shown
        self.pages = pages_of(self.session, run) if run is not None else []
        names = self.page_names
        self.show_page(self.page_name if self.page_name in names else (names or [""])[0])

    def show_page(self, name: str) -> None:
        """Open a page."""
        self.page_name = name
        page = next((page for page in self.pages if page.name == name), None)
        if page is None:
            self._draw_log()
        else:
            self._draw_page(page)
        toolbar = getattr(self.figure.canvas, "toolbar", None)
        if toolbar is not None:
            toolbar.update()  # forget the views of the axes that are gone
        self.draw_all()

    def _draw_page(self, page: Page) -> None:
        self._say_in_view("")
        try:
            with drawn_within(self.view):
                figure = page.draw()
        # A page that cannot be drawn must not close the window: the person sees why, and goes on.
        except Exception as error:  # noqa: BLE001
            _log.warning("page %s cannot be drawn", page.name, exc_info=True)
            self._say_in_view(f"This page cannot be drawn:\n{error}")
            return
        if figure is None:
            self._say_in_view("There is nothing to draw here.")

    def _say_in_view(self, text: str) -> None:
        self.view.clear()
        lines = "\n".join(Panel.wrapped(line, 700, 10)[0] for line in text.splitlines())
        self.view.text(0.5, 0.5, lines, ha="center", va="center", fontsize=10, color=MUTED, parse_math=False)

    def _draw_log(self) -> None:
        """Last lines of the log of the run that is under way, or of the last one."""
        run = self.session.running or (self.session.runs[-1] if self.session.runs else None)
        self.view.clear()
        if run is None:
            text = "Nothing has been run yet.\n\nChange what you like on the left, then press Run."
            self.view.text(0.5, 0.55, text, ha="center", va="center", fontsize=11, color=MUTED)
            return
        lines = run.log_lines()
        self._log_shown = (run, len(lines))
        shown = "\n".join(line[:132] for line in lines[-_LOG_LINES:]) or run.error or "no log"
        self.view.text(0.01, 0.985, f"run {run.number}", fontsize=9, color=MUTED, va="top")
        style = {"fontsize": 7, "family": "monospace", "va": "top", "color": INK, "parse_math": False}
        self.view.text(0.01, 0.95, shown, **style)

    # -- what a person does ---------------------------------------------------------------------------------
    def _click(self, event) -> None:
        toolbar = getattr(self.figure.canvas, "toolbar", None)
        if event.button != 1 or (toolbar is not None and toolbar.mode):
            return
        took = self.parameters.click(event)  # first: it takes what is being typed
        if took or any(
            panel.click(event) for panel in (self.actions, self.tabs, self.run_panel, self.keeping, self.switches)
        ):
            return
        page = next((page for page in self.pages if page.name == self.page_name), None)
        if page is not None and page.click is not None and event.inaxes in self.view.axes:
            text = page.click(self.view, event.inaxes, event.xdata, event.ydata)
            self.status.tell(text or self.status.message)
            self.draw_all()

    def _key(self, event) -> None:
        if self.parameters.key(event.key):
            return
        if event.key in ("ctrl+r", "f5"):
            self.press("run")
        elif event.key in ("pageup", "pagedown") and self.page_names:
            names = self.page_names
            step = 1 if event.key == "pagedown" else -1
            self.show_page(names[(names.index(self.page_name) + step) % len(names)])

    def _motion(self, event) -> None:
        self.parameters.hover(event)

    def _scroll(self, event) -> None:
        for panel in (self.parameters, self.run_panel):
            if panel.place_of(event) is not None:
                panel.scroll(event.step)

    def _resized(self, _event) -> None:
        self.draw_all()

    def _changed(self) -> None:
        """After a parameter was set."""
        refused = next(iter(self.session.refused.values()), "")
        if refused:
            self.status.tell(refused, bad=True)
        else:
            changed = self.session.settings
            shown = {} if self.session.shown is None else self.session.shown.settings
            is_new = changed != shown or not self.session.runs
            self.status.tell("Press Run again to see what this changes." if is_new else self._greeting())
        self._repaint(self.actions, self.status)

    def press(self, key: str) -> None:
        """Press a button: run, stop, defaults or keep."""
        try:
            getattr(self, f"_press_{key}")()
        except InputError as error:
            self.status.tell(str(error), bad=True)
        self.draw_all()

    def _press_run(self) -> None:
        run = self.session.start()
        self.status.tell(f"Run {run.number} is under way.")
        self.status.is_busy = True
        if self.session.shown is None:
            self.show_page(_LOG_PAGE)

    def _press_stop(self) -> None:
        run = self.session.running
        self.session.stop()
        self._run_ended(run)

    def _press_defaults(self) -> None:
        self.session.reset()
        self.parameters.forget_refused()
        self._changed()

    def _press_keep(self) -> None:
        self.status.tell(self._keep_in_folder() if self._keeping.act is None else self._keeping.act(self.wishes))

    def _wish(self, wish: str) -> None:
        self.wishes ^= {wish}
        self._repaint(self.switches)

    def _keep_in_folder(self) -> str:
        kept = self.session.keep()
        count = len(kept.products)
        return (
            f"Run {kept.run} kept: {count} products in {self.session.output}. "
            f"Its settings: soxs reduce all -s {kept.settings.name}"
        )

    def _choose_run(self, run: Run) -> None:
        if run.has_products:
            self.session.show(run)
            self._show_pages()
        elif run.error:
            self.status.tell(f"Run {run.number}: {run.error}", bad=True)
            self._repaint(self.status)

    # -- while a run goes on --------------------------------------------------------------------------------
    def poll(self) -> None:
        """Look after the run that is under way; called by a timer."""
        if self.session.running is None:
            return
        ended = self.session.poll()
        if ended is not None:
            self._run_ended(ended)
            return
        run = self.session.running
        lines = run.log_lines()
        self.status.part = self.session.progress()
        self.status.detail = lines[-1].split(": ", 1)[-1] if lines else "starting"
        self.status.message = f"Run {run.number} is under way, {run.seconds:.0f} s."
        self.status.repaint()
        if self.page_name == _LOG_PAGE and self._log_shown != (run, len(lines)):
            self.show_page(_LOG_PAGE)

    def _run_ended(self, run: Run) -> None:
        self.status.is_busy, self.status.part, self.status.detail = False, None, ""
        if run.status == FAILED:
            self.status.tell(f"Run {run.number} failed: {run.error}", bad=True)
        elif run.status == STOPPED:
            self.status.tell(f"Run {run.number} was stopped; nothing of it stays.")
        else:
            self.status.tell(self._summary(run))
            if self.page_name == _LOG_PAGE:
                self.page_name = ""
        if run.has_products:
            self._show_pages()
        else:
            self.draw_all()

    def _summary(self, run: Run) -> str:
        verdicts = [row.verdict for row in self.session.comparison() if row.order is None]
        better, worse = verdicts.count("better"), verdicts.count("worse")
        compared = f" QC: {better} better, {worse} worse than before." if self.session.beside is not None else ""
        return f"Run {run.number} is {run.status.lower()} after {run.seconds:.1f} s.{compared}"

    def _greeting(self) -> str:
        shown = self.session.shown
        if shown is None:
            return "Press Run to see what the recipe makes of these frames."
        return f"Run {shown.number} is shown. Change a parameter and run again, or use this result."

    def close(self) -> None:
        """Let go of the figure and end the session."""
        for connection in self._connections:
            self.figure.canvas.mpl_disconnect(connection)
        self._connections.clear()
        self.session.close()


class _Title(Panel):
    """Recipe, arm and frames, over the whole width."""

    def __init__(self, axes, session: ReviewSession):
        super().__init__(axes, "#1f2430")
        self.session = session

    def draw(self) -> None:
        """One line."""
        session = self.session
        arm = "" if session.arm is None else f"{session.arm.label} arm"
        width, height = self.size
        self.text(10, 0.5 * height, session.declaration.name, size=11, colour="white", weight="bold")
        count = len(session.frames)
        frames = f"{count} frame{'s' if count > 1 else ''}" if count else ""
        facts = [arm, session.declaration.synopsis, frames]
        left = max(190.0, 30.0 + 10.5 * len(session.declaration.name))
        self.text(left, 0.5 * height, "   ·   ".join(filter(None, facts)), size=9, colour="#d7dbe3")
        hint = "F5 runs   ·   page keys turn pages"
        self.text(width - 10, 0.5 * height, hint, size=8, colour="#9aa3b2", ha="right")
