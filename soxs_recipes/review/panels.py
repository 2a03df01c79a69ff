"""Parts of the review window: rows of text in an axes, clicked, typed into, scrolled, and redrawn by themselves.

Widgets of matplotlib redraw the whole figure at every key and every click anywhere, which takes a second with
detector frames in it; these draw their own axes only.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from soxs_recipes.plots.style import ACCENT, BAND, INK, MUTED

__all__ = ["BETTER", "PAPER", "WORSE", "Button", "ButtonBar", "Panel", "StatusBar"]

PAPER = "#f6f7f9"
BETTER, WORSE = "#2c8a57", ACCENT
_UNIT = 100.0  # steps an inch: the unit of length in a panel
ROW = 19.0
_SWING = 3.0  # s
_LETTER = 0.0076  # width of a letter [inch] for each point of its size


class Panel:
    """An axes whose coordinates count hundredths of an inch from its upper left corner.

    Parameters
    ----------
    axes : Axes
        Emptied.
    colour : str
        Of the background.
    """

    def __init__(self, axes: Axes, colour: str = PAPER):
        self.axes = axes
        self.scrolled = 0.0
        self.length = 0.0  # of all rows
        axes.set_navigate(False)
        axes.set(xticks=[], yticks=[], facecolor=colour)
        for spine in axes.spines.values():
            spine.set_visible(False)

    @property
    def size(self) -> tuple[float, float]:
        """(width, height)."""
        figure = self.axes.get_figure(root=True)
        width, height = _UNIT * self.axes.bbox.size / figure.dpi
        return float(width), float(height)

    def draw(self) -> None:
        """Put all that is to be seen into the axes."""
        raise NotImplementedError

    def compose(self) -> None:
        """Make the axes' content anew; the next drawing of the figure shows it."""
        for artist in (*self.axes.texts, *self.axes.patches, *self.axes.lines):
            artist.remove()
        width, height = self.size
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.draw()

    def repaint(self) -> None:
        """Show the panel as it is now, without drawing anything else."""
        self.compose()
        canvas = self.axes.get_figure(root=True).canvas
        self.axes.draw_artist(self.axes)
        canvas.blit(self.axes.bbox)

    def place_of(self, event) -> tuple[float, float] | None:
        """Where in the panel a mouse event happened, None outside."""
        if event.inaxes is not self.axes:
            return None
        return float(event.xdata), float(event.ydata)

    def scroll(self, steps: float) -> None:
        """Move the rows by `steps` rows, as far as there are any."""
        most = max(0.0, self.length - self.size[1])
        moved = min(max(self.scrolled - 2.0 * ROW * steps, 0.0), most)
        if moved != self.scrolled:
            self.scrolled = moved
            self.repaint()

    # -- drawing --------------------------------------------------------------------------------------------
    def text(self, x: float, y: float, text: str, *, size: float = 8.5, colour: str = INK, **style) -> None:
        """Text about the height `y`."""
        style = {"va": "center", "clip_on": True, "parse_math": False, **style}
        self.axes.text(x, y, text, fontsize=size, color=colour, **style)

    def box(self, x: float, y: float, width: float, height: float, colour: str, edge: str = "none") -> None:
        """A rectangle with its upper left corner at (x, y)."""
        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, lw=0.8))

    def button(self, x: float, y: float, width: float, height: float, colour: str, edge: str) -> None:
        """A rectangle with round corners."""
        shape = FancyBboxPatch((x + 3, y + 3), width - 6, height - 6, boxstyle="round,pad=3,rounding_size=4")
        shape.set(facecolor=colour, edgecolor=edge, linewidth=0.8)
        self.axes.add_patch(shape)

    @staticmethod
    def wrapped(text: str, width: float, size: float) -> list[str]:
        """Lines of `text` that fit into `width`."""
        letters = max(12, int(width / (_UNIT * _LETTER * size)))
        return textwrap.wrap(text, letters) or [""]

    @staticmethod
    def cut(text: str, width: float, size: float) -> str:
        """`text`, shortened to fit into `width`."""
        letters = max(3, int(width / (_UNIT * _LETTER * size)))
        return text if len(text) <= letters else text[: letters - 1] + "…"


@dataclass(slots=True)
class Button:
    """One of a row of buttons."""

    key: str
    label: str
    is_on: bool = True
    is_strong: bool = False


class ButtonBar(Panel):
    """Buttons side by side, or tabs (with `chosen`).

    Parameters
    ----------
    axes : Axes
    pressed : function of a key
        Called when a button that is on is pressed.
    equal : bool
        All of one width over the whole bar; otherwise as wide as their labels.
    """

    def __init__(self, axes: Axes, pressed: Callable[[str], None], *, equal: bool = True, colour: str = PAPER):
        super().__init__(axes, colour)
        self.pressed, self.equal = pressed, equal
        self.buttons: Sequence[Button] = ()
        self.chosen = ""
        self._spans: list[tuple[float, float, Button]] = []

    def draw(self) -> None:
        """All buttons."""
        width, height = self.size
        self._spans.clear()
        wide = [22.0 + _UNIT * _LETTER * 9.0 * len(button.label) for button in self.buttons]
        if self.equal and wide:
            wide = [width / len(wide)] * len(wide)
        elif sum(wide) > width:
            wide = [one * width / sum(wide) for one in wide]
        x = 0.0
        for button, own in zip(self.buttons, wide, strict=True):
            self._draw_button(button, x, own, height)
            self._spans.append((x, x + own, button))
            x += own

    def _draw_button(self, button: Button, x: float, width: float, height: float) -> None:
        is_chosen = button.key == self.chosen
        colour = "#1d6fb8" if button.is_strong and button.is_on else "white" if is_chosen or self.equal else BAND
        ink = "white" if button.is_strong and button.is_on else INK if button.is_on else "#b9bfca"
        self.button(x + 2, 1, width - 4, height - 2, colour, MUTED if button.is_on else BAND)
        weight = "bold" if is_chosen or button.is_strong else "normal"
        label = self.cut(button.label, width - 8, 9.0)
        self.text(x + 0.5 * width, 0.5 * height, label, size=9.0, colour=ink, ha="center", weight=weight)

    def click(self, event) -> bool:
        """Whether a button was hit."""
        place = self.place_of(event)
        if place is None:
            return False
        for low, high, button in self._spans:
            if low <= place[0] < high and button.is_on:
                self.pressed(button.key)
                return True
        return False

    def button_place(self, key: str) -> tuple[float, float]:
        """Middle of a button in the panel's coordinates."""
        for low, high, button in self._spans:
            if button.key == key:
                return 0.5 * (low + high), 0.5 * self.size[1]
        raise KeyError(key)


class StatusBar(Panel):
    """One message, a bar of progress, and what the log said last."""

    def __init__(self, axes: Axes):
        super().__init__(axes, "white")
        self.message, self.detail = "", ""
        self.colour = INK
        self.part: float | None = None
        self.is_busy = False

    def tell(self, message: str, *, bad: bool = False, detail: str = "") -> None:
        """Change the message."""
        self.message, self.detail, self.colour = message, detail, WORSE if bad else INK

    def draw(self) -> None:
        """The message, the bar while a run goes on, one line of the log."""
        width, height = self.size
        y = 12.0
        for line in self.wrapped(self.message, width - 12, 8.5)[:4]:
            self.text(6, y, line, colour=self.colour)
            y += 15.0
        if self.is_busy:
            self.box(6, y, width - 12, 7, BAND)
            if self.part is None:  # how long it takes is not known: a piece goes to and fro
                whole = 0.8 * (width - 12)
                start = 6 + whole * abs((time.monotonic() / _SWING) % 2.0 - 1.0)
                self.box(start, y, 0.2 * (width - 12), 7, "#1d6fb8")
            else:
                self.box(6, y, (width - 12) * self.part, 7, "#1d6fb8")
            y += 18.0
        if self.detail and y < height:
            self.text(6, y, self.cut(self.detail, width - 12, 7.5), size=7.5, colour=MUTED)
