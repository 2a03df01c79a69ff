"""Where a review meets the screen: a window with matplotlib's own toolkits, or a picture of it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from soxs_recipes import errors
from soxs_recipes.errors import InputError, Interrupted, SoxsError
from soxs_recipes.review.session import FAILED, ReviewSession
from soxs_recipes.review.window import SIZE, Keeping, ReviewWindow

__all__ = ["open_window", "size_on", "write_screenshot"]

_DPI = 100.0
_FRAME = (16, 110)  # px that toolbar, title bar and borders take
_TICK = 300  # ms between looks at the run that goes on
_QT = ("PySide6", "PyQt6", "PyQt5", "PySide2")


def open_window(
    session: ReviewSession, keeping: Keeping | None = None, *, finished: Callable[[], bool] = lambda: False
) -> None:
    """Show a session and wait until its window is closed; the session is closed with it.

    Parameters
    ----------
    session : ReviewSession
        Without a run one is begun at once.
    keeping : Keeping or None
        The button that keeps the result.
    finished : function
        Asked now and then; the window closes itself when it answers True.

    Raises
    ------
    InputError
        No window can be opened here.
    Interrupted
        A signal ended the program.
    """
    plt = _pyplot()
    figure = plt.figure(figsize=SIZE, dpi=_DPI)
    manager = figure.canvas.manager
    figure.set_size_inches(size_on(_screen_size(getattr(manager, "window", None))), forward=True)
    manager.set_window_title(f"soxs review: {session.declaration.name}")
    # The keys of matplotlib (s saves, q closes) would act while a person types a value.
    figure.canvas.mpl_disconnect(manager.key_press_handler_id)
    window = ReviewWindow(session, figure, keeping)
    if session.frames and not session.runs:
        window.press("run")

    stopped: list[int] = []

    def tick() -> None:
        window.poll()
        if finished() or stopped:
            plt.close(figure)

    timer = figure.canvas.new_timer(interval=_TICK)
    timer.add_callback(tick)
    timer.start()
    try:
        with _signals_noted(stopped):
            plt.show(block=True)
    finally:
        window.close()
        timer.stop()
        plt.close(figure)
    if stopped:
        raise Interrupted(f"stopped by {signal.Signals(stopped[0]).name}; what was not kept is gone")


@contextlib.contextmanager
def _signals_noted(received: list[int]) -> Iterator[None]:
    """Signals that end a program are noted: an exception would be lost in the toolkit's callbacks."""
    watched = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def size_on(screen: tuple[int, int] | None) -> tuple[float, float]:
    """Size [inch] of the figure that fits on a screen [px], toolbar and frame of the window included."""
    if screen is None:
        return SIZE
    return min(SIZE[0], (screen[0] - _FRAME[0]) / _DPI), min(SIZE[1], (screen[1] - _FRAME[1]) / _DPI)


def _screen_size(window) -> tuple[int, int] | None:
    """(width, height) [px] of the screen that a window of Tk or Qt is on, None of another toolkit's."""
    if hasattr(window, "winfo_screenwidth"):
        return window.winfo_screenwidth(), window.winfo_screenheight()
    if hasattr(window, "screen"):
        place = window.screen().availableGeometry()
        return place.width(), place.height()
    return None


def _pyplot():
    """`matplotlib.pyplot` with a backend that opens windows; InputError says why there is none."""
    import matplotlib.pyplot as plt

    wanted = os.environ.get("MPLBACKEND", "")
    has_qt = any(importlib.util.find_spec(name) for name in _QT)
    names = ["QtAgg"] if has_qt else []
    names += ["TkAgg", *(["macosx"] if sys.platform == "darwin" else [])]
    if wanted and wanted.lower() not in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        names = [wanted]
    reasons = []
    for name in names:
        try:
            plt.switch_backend(name)
        except (ImportError, ValueError, RuntimeError) as error:
            reasons.append(f"{name}: {' '.join(str(error).split())}")
        else:
            return plt
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        reasons = ["DISPLAY is not set"]
    raise InputError(
        f"no window can be opened here ({'; '.join(reasons)}); a display and Tk or Qt are needed "
        "(pip install 'soxs-recipes[review]'; ssh -X from afar); --screenshot FILE.png needs none"
    )


def write_screenshot(session: ReviewSession, path: Path, page: str = "") -> None:
    """Draw the window of a session into a file, without a display; runs the recipe first if it has no run.

    Parameters
    ----------
    session : ReviewSession
    path : Path
        PNG.
    page : str
        The page that is open; the first by default.

    Raises
    ------
    InputError
        There is no such page, or the file cannot be written.
    SoxsError
        The recipe failed: its own error.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from soxs_recipes.plots.style import save_png

    if session.frames and not session.runs:
        run = session.start()
        while session.poll(1.0) is None:
            pass
        if run.status == FAILED:
            raise getattr(errors, run.error_class, SoxsError)(run.error)
    figure = Figure(figsize=SIZE, dpi=_DPI)
    FigureCanvasAgg(figure)
    window = ReviewWindow(session, figure)
    if page:
        names = {name.lower(): name for name in window.page_names}
        if page.lower() not in names:
            raise InputError(f"there is no page {page!r}; there are {', '.join(window.page_names)}")
        window.show_page(names[page.lower()])
    try:
        save_png(figure, path, _DPI)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
