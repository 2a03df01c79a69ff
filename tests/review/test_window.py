"""The window of a review, driven by the events that a mouse and a keyboard would make."""

import time

import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.disp_solution import DispersionSolutionRecipe
from soxs_recipes.review import pages
from soxs_recipes.review.screen import write_screenshot
from soxs_recipes.review.session import STOPPED, ReviewSession
from soxs_recipes.review.window import SIZE, Keeping, ReviewWindow


class Hand:
    """Mouse and keyboard on a window."""

    def __init__(self, session, keeping=None):
        self.figure = Figure(figsize=SIZE, dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        self.window = ReviewWindow(session, self.figure, keeping)
        self.canvas.draw()

    def event(self, name, panel, place, **more):
        x, y = panel.axes.transData.transform(place)
        event = MouseEvent(name, self.canvas, x, y, **more)
        self.canvas.callbacks.process(name, event)

    def click(self, panel, place):
        self.event("button_press_event", panel, place, button=1)

    def press(self, key):
        window = self.window
        for bar in (window.actions, window.tabs, window.keeping, window.switches):
            if any(button.key == key for button in bar.buttons):
                self.click(bar, bar.button_place(key))
                return
        raise AssertionError(f"no button {key}")

    def value(self, name):
        self.click(self.window.parameters, self.window.parameters.value_place(name))

    def keys(self, *names):
        for name in names:
            self.canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", self.canvas, name))

    def type(self, name, text, end="enter"):
        self.value(name)
        self.keys(*text, end)

    def finish(self, seconds=60.0):
        until = time.monotonic() + seconds
        while self.window.session.running is not None:
            assert time.monotonic() < until
            self.window.poll()
            time.sleep(0.02)

    def texts(self, panel):
        return [text.get_text() for text in panel.axes.texts]


@pytest.fixture(autouse=True)
def plain_pages(request, monkeypatch):
    """Products of the stand-in are no FITS files: a page each that draws one axes."""
    if "fake_session" not in request.fixturenames:
        return
    from soxs_recipes.plots.style import new_figure

    def draw(run):
        figure, axes = new_figure(f"run {run.number}", bars=True)
        axes[0, 0].set_title(run.products[0].read_text())
        return figure

    def both(session, run):
        return [pages.Page("Flat", lambda: draw(run)), pages.Page("Broken", lambda: 1 / 0)]

    monkeypatch.setattr("soxs_recipes.review.window.pages_of", both)


@pytest.fixture
def hand(fake_session):
    return Hand(fake_session)


def test_a_person_runs_changes_compares_and_keeps(hand):
    session, window = hand.window.session, hand.window
    assert "Nothing has been run yet" in window.view.texts[0].get_text()
    hand.press("run")
    assert session.running is not None
    assert "under way" in window.status.message
    hand.finish()
    assert window.page_name == "Flat"
    assert window.view.axes[0].get_title() == "degree 5"
    hand.type("edge-degree", "8")
    assert session.value("edge-degree") == 8
    assert "Run again" in window.status.message
    hand.press("run")
    hand.finish()
    assert window.view.axes[0].get_title() == "degree 8"
    assert "3 better, 0 worse" in window.status.message or "2 better, 0 worse" in window.status.message
    assert hand.texts(window.run_panel).count("▲") == 2
    hand.click(window.run_panel, window.run_panel.run_place(1))
    assert window.view.axes[0].get_title() == "degree 5"
    assert hand.texts(window.run_panel).count("▼") == 2
    hand.press("keep")
    assert session.kept.run == 1
    assert (session.output / "flat.fits").read_text() == "degree 5"
    assert "Run 1 kept: 1 products" in window.status.message


def test_a_refused_value_stands_in_words_beside_the_field(hand):
    session, window = hand.window.session, hand.window
    hand.type("edge-degree", "99")
    assert session.value("edge-degree") == 5
    told = hand.texts(window.parameters)
    assert "99" in told
    assert any("must be from 0 to 10" in text for text in told)
    hand.press("run")
    assert session.runs == []
    assert "put this right first" in window.status.message
    hand.type("edge-degree", "9")
    told = hand.texts(window.parameters)
    assert not any("must be" in text for text in told)
    assert "99" not in told
    assert "9" in told
    hand.press("run")
    assert session.running is not None
    hand.press("stop")
    assert session.runs[0].status == STOPPED
    assert "stopped" in window.status.message


def test_typing(hand):
    parameters = hand.window.parameters
    hand.value("edge-sigma")
    hand.keys("right", "backspace", "7")  # 5.0 -> 5. -> 5.7
    assert parameters.typing.text == "5.7"
    hand.keys("home", "delete", "8", "shift", "end", "left")
    assert (parameters.typing.text, parameters.typing.cursor) == ("8.7", 2)
    hand.keys("escape")
    assert hand.window.session.value("edge-sigma") == 5.0
    hand.value("edge-sigma")
    hand.keys("backspace", "6", "tab")
    assert hand.window.session.value("edge-sigma") == 6.0
    assert parameters.typing.name == "blaze-knot-spacing"
    hand.keys("up")
    assert parameters.typing.name == "edge-sigma"
    hand.keys("4")
    hand.click(parameters, (3.0, 500.0))  # beside all fields: what was typed is taken
    assert parameters.typing is None
    assert hand.window.session.value("edge-sigma") == 4.0
    hand.press("defaults")
    assert hand.window.session.settings == {}


def test_check_boxes_and_choices_change_at_a_click(hand, flat_frames, tmp_path):
    hand.value("denoise")
    assert hand.window.session.settings == {"denoise": False}
    hand.value("denoise")
    assert hand.window.session.settings == {}
    from soxs_recipes.recipes.offset import Offset

    with ReviewSession(Offset.declaration, flat_frames, {}, tmp_path) as session:
        other = Hand(session)
        other.window.parameters.scroll(-8)
        other.value("sky-choice")
        assert session.settings == {"sky-choice": "nearest"}
        other.value("sky-choice")
        assert session.settings == {}


def test_the_mouse_explains_and_scrolls(hand):
    parameters = hand.window.parameters
    hand.event("motion_notify_event", parameters, parameters.value_place("low-sensitivity"))
    assert parameters.explained == "low-sensitivity"
    assert any("from 0.05 to 0.95" in text for text in hand.texts(parameters))
    hand.press("run")
    hand.finish()
    panel = hand.window.run_panel
    before = panel.scrolled
    hand.event("scroll_event", panel, (20, 200), step=-3)
    assert panel.scrolled == before  # all rows fit
    hand.event("scroll_event", parameters, (20, 200), step=-3)
    assert parameters.scrolled == 0.0


def test_a_failing_recipe_is_told_and_the_window_lives(hand):
    hand.press("run")
    hand.finish()
    hand.type("edge-degree", "1")
    hand.press("run")
    hand.finish()
    window = hand.window
    assert "Run 2 failed" in window.status.message
    assert "no edge was found" in window.status.message
    assert window.view.axes[0].get_title() == "degree 5"  # the good run stays
    hand.press("Broken")
    assert "cannot be drawn" in window.view.texts[0].get_text()
    hand.press("Flat")
    assert window.view.axes[0].get_title() == "degree 5"
    hand.keys("pagedown")
    assert window.page_name == "Broken"
    hand.keys("pagedown", "pagedown")
    assert window.page_name == "Flat"


def test_the_log_is_followed(hand):
    hand.type("edge-degree", "3")
    hand.keys("f5")
    window = hand.window
    hand.press("Log")
    until = time.monotonic() + 30
    while window.status.detail != "half done":
        assert time.monotonic() < until
        window.poll()
        time.sleep(0.02)
    assert any("half done" in text.get_text() for text in window.view.texts)
    assert window.status.is_busy
    hand.press("stop")
    assert not window.status.is_busy


def test_closing_the_window_ends_the_run(hand):
    hand.type("edge-degree", "3")
    hand.press("run")
    run = hand.window.session.running
    hand.window.close()
    assert run.status == STOPPED
    assert list(hand.window.session.output.iterdir()) == []
    hand.keys("f5")  # an event that was under way does nothing any more
    assert len(hand.window.session.runs) == 1


def test_wishes_and_the_caller_s_own_way_of_keeping(fake_session):
    asked = []
    keeping = Keeping("Go on", lambda wishes: asked.append(set(wishes)) or "gone on", ("for all", "never"))
    hand = Hand(fake_session, keeping)
    hand.press("keep")
    assert asked == []  # nothing to keep yet
    hand.press("run")
    hand.finish()
    hand.press("never")
    hand.press("for all")
    hand.press("never")
    hand.press("keep")
    assert asked == [{"for all"}]
    assert hand.window.status.message == "gone on"
    assert fake_session.kept is None


def test_pages_of_a_real_flat(real_session):
    real_session.show(real_session.runs[0])
    hand = Hand(real_session)
    window = hand.window
    assert window.page_names == ["Flat", "Edges", "Across orders", "Scattered light", "Log"]
    seen = {}
    for name in window.page_names:
        hand.press(name)
        hand.canvas.draw()
        assert not any("cannot be drawn" in text.get_text() for text in window.view.texts), name
        seen[name] = len(window.view.axes)
        assert all(axes.get_position().width > 0 for axes in window.view.axes)
    assert seen["Edges"] == 3
    assert seen["Across orders"] == 3
    assert seen["Log"] == 0
    hand.press("Edges")
    used = sum(len(c.get_offsets()) for axes in window.view.axes[:2] for c in axes.collections)
    assert used == pytest.approx(real_session.shown.qc["ESO QC EDGE SAMPLES NUM"], rel=0.2)


def test_a_picture_of_the_window(real_session, tmp_path):
    write_screenshot(real_session, tmp_path / "window.png", "edges")
    content = (tmp_path / "window.png").read_bytes()
    assert content[:4] == b"\x89PNG"
    assert len(content) > 30_000
    with pytest.raises(InputError, match="there are Flat, Edges"):
        write_screenshot(real_session, tmp_path / "no.png", "nonsense")
    with pytest.raises(InputError, match="cannot be written"):
        write_screenshot(real_session, tmp_path / "no" / "no.png")


@pytest.fixture(scope="module")
def arc_hand(tmp_path_factory):
    """A window on a simulated pinhole arc."""
    from astropy.io import fits

    from soxs_recipes.simulator import simulate_frame

    folder = tmp_path_factory.mktemp("arc")
    data, header, _ = simulate_frame("pinhole_arc", "VIS", seed=21)
    fits.PrimaryHDU(data, header).writeto(folder / "arc.fits")
    frames = [(str(folder / "arc.fits"), "WAVE_PIN_VIS")]
    with ReviewSession(DispersionSolutionRecipe.declaration, frames, {}, folder / "out") as session:
        session.start()
        while session.poll(1.0) is None:
            pass
        assert session.shown is not None, session.runs[0].error
        yield Hand(session)


def test_a_clicked_line_is_shown(arc_hand):
    hand, window = arc_hand, arc_hand.window
    assert window.page_names[:3] == ["Residuals", "Lines", "Map"]
    lines = window.pages[0].click.__self__.lines
    chosen = np.flatnonzero(lines["kept"])[40]
    for page, axis, columns in (
        ("Residuals", 0, ("x", "y")),
        ("Residuals", 3, ("wavelength", "fwhm")),
        ("Lines", 0, ("x", "y")),
    ):
        hand.press(page)
        hand.canvas.draw()
        axes = window.view.axes[axis]
        place = [float(lines[name][chosen]) for name in columns]
        low, high = axes.get_ylim()
        assert low < place[1] < high
        x, y = axes.transData.transform(place)
        event = MouseEvent("button_press_event", hand.canvas, x, y, button=1)
        hand.canvas.callbacks.process("button_press_event", event)
        assert f"{lines['wavelength'][chosen]:.4f} nm" in window.status.message
        assert "used" in window.status.message
        cutout = window.view.axes[-1]
        left, right = cutout.get_xlim()
        assert left < lines["x"][chosen] < right
        assert "nm" in cutout.get_title(loc="left")
    count = len(window.view.axes)
    hand.canvas.callbacks.process("button_press_event", event)
    assert len(window.view.axes) == count  # one cut-out at a time


def test_lines_are_counted_on_the_frame(arc_hand):
    arc_hand.press("Lines")
    lines = arc_hand.window.pages[0].click.__self__.lines
    names = [text.get_text() for text in arc_hand.window.view.axes[0].get_legend().get_texts()]
    assert names[0] == f"used ({lines['kept'].sum()})"
    assert lines["kept"].sum() > 100
    arc_hand.press("Map")
    labels = [text.get_text() for text in arc_hand.window.view.axes[0].texts]
    assert len(labels) > 20
    assert all(350 <= float(label) <= 850 for label in labels)


def test_a_click_on_the_slit_aims(fake_session, monkeypatch):
    from soxs_recipes.recipes.stare import Stare

    class Axes:
        def __init__(self, label):
            self.get_ylabel = lambda: label

    with ReviewSession(Stare.declaration, fake_session.frames, {}, fake_session.output) as session:
        (page,) = pages._object_pages(session, None, [pages.Page("Slit", lambda: None)])
        assert page.click(None, Axes("residual / σ"), 1.0, 0.0) == ""
        assert session.settings == {}
        assert "1.24 arcsec" in page.click(None, Axes("mean of all orders\n[e⁻]"), 1.2374, 50.0)
        assert session.settings == {"target-position": 1.24}
        assert "from -6.5 to 6.5" in page.click(None, Axes("mean of all orders"), 9.0, 50.0)
