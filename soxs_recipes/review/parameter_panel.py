"""The parameters of the recipe, in groups: text, check boxes and choices; a refused value is told beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes

from soxs_recipes.plots.style import BAND, INK, MUTED
from soxs_recipes.recipes.framework.declarations import Parameter
from soxs_recipes.review.panels import ROW, WORSE, Panel
from soxs_recipes.review.session import ReviewSession

__all__ = ["ParameterPanel"]

_VALUE_PART = 0.6  # of the width, where values begin
_HELP = 84.0  # height of the explanation below
_CHANGED = "#1d6fb8"


@dataclass(slots=True)
class _Row:
    """A parameter's row on the panel."""

    name: str
    top: float
    bottom: float


@dataclass(slots=True)
class _Typing:
    """A value that is being typed: its text, where the cursor stands, and whether the next letter replaces it."""

    name: str
    text: str
    cursor: int
    is_marked: bool = True


class ParameterPanel(Panel):
    """All parameters of a session.

    A click on a value begins to type it (Enter or Tab takes it, Escape leaves it); check boxes and choices change
    at a click. What a parameter means stands below when the mouse is over it.

    Parameters
    ----------
    axes : Axes
    session : ReviewSession
    changed : function
        Called after a value was taken or refused.
    """

    def __init__(self, axes: Axes, session: ReviewSession, changed: Callable[[], None]):
        super().__init__(axes)
        self.session, self.changed = session, changed
        self.typing: _Typing | None = None
        self.explained = session.declaration.parameters[0].name if session.declaration.parameters else ""
        self._rows: list[_Row] = []
        self._refused_text: dict[str, str] = {}

    # -- drawing --------------------------------------------------------------------------------------------
    def draw(self) -> None:
        """Groups with their rows, the explanation below."""
        width, height = self.size
        self._rows.clear()
        y = 4.0 - self.scrolled
        for group, parameters in self.session.groups.items():
            self._text_above_help(8, y + 0.5 * ROW, group.capitalize(), colour=MUTED, weight="bold", size=8.0)
            y += ROW
            for parameter in parameters:
                y = self._draw_parameter(parameter, y, width)
            y += 3.0
        self.length = y + self.scrolled + _HELP
        self.box(0, height - _HELP, width, _HELP, "white")
        if self.explained:
            line = height - _HELP + 11.0
            self.text(8, line, self.explained, size=8.0, weight="bold")
            for text in self.wrapped(self.session.explain(self.explained), width - 16, 7.5)[:5]:
                line += 13.0
                self.text(8, line, text, size=7.5)

    def _text_above_help(self, x, y, text, **style) -> None:
        if 0 < y < self.size[1] - _HELP:
            self.text(x, y, text, **style)

    def _draw_parameter(self, parameter: Parameter, y: float, width: float) -> float:
        """One row, and the refusal below it; returns where the next one begins."""
        name, middle, left = parameter.name, y + 0.5 * ROW, _VALUE_PART * width
        is_changed = name in self.session.settings
        if 0 <= y < self.size[1] - _HELP - 0.5 * ROW:
            label = self.cut(name, left - 14, 9.4 if is_changed else 8.5)  # bold letters are wider
            colour = _CHANGED if is_changed else INK
            self.text(12, middle, label, colour=colour, weight="bold" if is_changed else "normal")
            self._draw_value(parameter, y, left, width)
            self._rows.append(_Row(name, y, y + ROW))
        y += ROW
        message = self.session.refused.get(name, "")
        for line in self.wrapped(message.removeprefix("parameter "), width - 24, 7.5) if message else ():
            self._text_above_help(14, y + 6.0, line, size=7.5, colour=WORSE)
            y += 13.0
        return y

    def _draw_value(self, parameter: Parameter, y: float, left: float, width: float) -> None:
        name, middle = parameter.name, y + 0.5 * ROW
        right = width - 52.0
        is_typed = self.typing is not None and self.typing.name == name
        if parameter.type is bool:
            self.box(left, y + 3, 12, 12, "white", edge=MUTED)
            if self.session.value(name):
                self.text(left + 6.2, middle - 0.5, "✓", size=10, colour=_CHANGED, ha="center", weight="bold")
            return
        refused = name in self.session.refused
        edge = WORSE if refused else _CHANGED if is_typed else BAND
        self.box(left, y + 1.5, right - left, ROW - 3, "white", edge=edge)
        text = self.typing.text if is_typed else self._refused_text.get(name) or self.session.text(name)
        if is_typed and self.typing.is_marked:
            self.box(left + 3, y + 4, min(7.0 * len(text), right - left - 6), ROW - 8, "#cfe3f5")
        if is_typed and not self.typing.is_marked:
            text = text[: self.typing.cursor] + "│" + text[self.typing.cursor :]
        if parameter.choices:
            text += "  ▾"
        shown = self._end_of(text, right - left - 8) if is_typed else self.cut(text, right - left - 4, 8.5)
        self.text(left + 5, middle, shown, colour=WORSE if refused else INK)
        self.text(right + 5, middle, parameter.unit, size=7.5, colour=MUTED)

    @staticmethod
    def _end_of(text: str, width: float) -> str:
        """As much of the end of `text` as fits: what is typed must be seen."""
        letters = max(4, int(width / 5.9))
        return text if len(text) <= letters else "…" + text[1 - letters :]

    # -- events ---------------------------------------------------------------------------------------------
    def value_place(self, name: str) -> tuple[float, float]:
        """A place on a parameter's value, in the panel's coordinates; KeyError when it is not to be seen."""
        for row in self._rows:
            if row.name == name:
                return _VALUE_PART * self.size[0] + 6.0, 0.5 * (row.top + row.bottom)
        raise KeyError(name)

    def _row_at(self, place: tuple[float, float]) -> _Row | None:
        return next((row for row in self._rows if row.top <= place[1] < row.bottom), None)

    def click(self, event) -> bool:
        """Whether the click was for this panel; one elsewhere takes what was typed."""
        place = self.place_of(event)
        row = None if place is None else self._row_at(place)
        if self.typing is not None and (row is None or row.name != self.typing.name):
            self.take()
        if row is None:
            return place is not None
        self.explained = row.name
        if place[0] >= _VALUE_PART * self.size[0]:
            self._touch(self.session.declaration.parameter(row.name))
        self.repaint()
        return True

    def _touch(self, parameter: Parameter) -> None:
        """A click on a value."""
        value = self.session.value(parameter.name)
        if parameter.type is bool:
            self._set(parameter.name, "false" if value else "true")
        elif parameter.choices:
            choices = [str(choice) for choice in parameter.choices]
            if parameter.is_auto:
                choices.insert(0, "auto")
            self._set(parameter.name, choices[(choices.index(str(value)) + 1) % len(choices)])
        else:
            text = self._refused_text.get(parameter.name) or self.session.text(parameter.name)
            self.typing = _Typing(parameter.name, text, len(text))

    def hover(self, event) -> None:
        """Explain the parameter under the mouse."""
        place = self.place_of(event)
        row = None if place is None else self._row_at(place)
        if row is not None and row.name != self.explained and self.typing is None:
            self.explained = row.name
            self.repaint()

    def key(self, name: str | None) -> bool:
        """Whether a key was for this panel."""
        if self.typing is None or name is None:
            return False
        if name in ("enter", "return"):
            self.take()
        elif name in ("tab", "down", "up"):
            self._next(-1 if name == "up" else 1)
        elif name == "escape":
            self.typing = None
        else:
            _edit(self.typing, name)
        self.repaint()
        return True

    def _next(self, step: int) -> None:
        """Go on to the neighbouring value that can be typed."""
        own = self.typing.name
        self.take()
        names = [row.name for row in self._rows]
        parameters = [self.session.declaration.parameter(name) for name in names]
        typed = [p.name for p in parameters if p.type is not bool and not p.choices]
        if own in typed:
            self._touch(self.session.declaration.parameter(typed[(typed.index(own) + step) % len(typed)]))
            self.explained = self.typing.name

    def take(self) -> None:
        """Take what was typed, or remember why it was refused."""
        typing, self.typing = self.typing, None
        if typing is not None and (
            typing.text != self.session.text(typing.name) or typing.name in self._refused_text
        ):
            self._set(typing.name, typing.text.strip())

    def _set(self, name: str, text: str) -> None:
        if self.session.set(name, text):
            self._refused_text[name] = text
        else:
            self._refused_text.pop(name, None)
        self.changed()

    def forget_refused(self) -> None:
        """After all parameters went to their defaults."""
        self._refused_text.clear()
        self.typing = None


def _edit(typing: _Typing, key: str) -> None:
    """One key, in the text."""
    text, cursor = typing.text, typing.cursor
    if typing.is_marked and (len(key) == 1 or key in ("backspace", "delete")):
        text, cursor = "", 0
        if len(key) > 1:
            key = ""
    if len(key) == 1:
        text, cursor = text[:cursor] + key + text[cursor:], cursor + 1
    elif key == "backspace" and cursor > 0:
        text, cursor = text[: cursor - 1] + text[cursor:], cursor - 1
    elif key == "delete":
        text = text[:cursor] + text[cursor + 1 :]
    moves = {"left": max(cursor - 1, 0), "right": min(cursor + 1, len(text)), "home": 0, "end": len(text)}
    cursor = moves.get(key, cursor)
    if key in ("shift", "control", "alt", "caps_lock"):
        return
    typing.text, typing.cursor, typing.is_marked = text, cursor, False
