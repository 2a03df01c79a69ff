"""Real windows, on a display of the tests' own; where there is none (Xvfb), or no toolkit, that is said."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import soxs_recipes
from soxs_recipes.errors import InputError
from soxs_recipes.review.screen import open_window, size_on
from soxs_recipes.review.window import SIZE

ROOT = Path(soxs_recipes.__file__).parent.parent

# Opens a window, begins a run that takes a minute, and while it goes on closes the window or is told to end.
PROGRAM = """
import os
import signal
import sys
from pathlib import Path
import matplotlib.pyplot as plt
from soxs_recipes.errors import Interrupted
from soxs_recipes.recipes.mflat import MasterFlat
from soxs_recipes.review.screen import open_window, size_on
from soxs_recipes.review.window import SIZE
from soxs_recipes.review.session import ReviewSession

def main():
    session = ReviewSession(
        MasterFlat.declaration, [(sys.argv[1], "FLAT_SLIT_VIS")], {"edge-degree": 3}, Path(sys.argv[2]),
        target="fake_call:run",
    )
    looks = []
    def finished():
        looks.append(session.running is not None)
        if len(looks) == 4 and sys.argv[3] == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        if len(looks) == 4 and sys.argv[3] == "person":
            window = plt.gcf().canvas.manager.window
            # As the cross in the window's corner does.
            window.close() if hasattr(window, "close") else window.tk.call(window.protocol("WM_DELETE_WINDOW"))
        return len(looks) > 3 and sys.argv[3] == "close"
    try:
        open_window(session, finished=finished)
    except Interrupted as error:
        print(error)
    print(looks[:4], session.runs[0].status, session._pool.busy)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def display(tmp_path_factory):
    """Name of a display."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed: no window was opened")
    reading, writing = os.pipe()
    with (tmp_path_factory.mktemp("xvfb") / "log").open("w") as log:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1000x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[writing], stdout=log, stderr=log,
        )  # fmt: skip
    os.close(writing)
    try:
        with os.fdopen(reading) as stream:
            yield f":{stream.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize(
    ("backend", "way"),
    [("TkAgg", "close"), ("TkAgg", "signal"), ("TkAgg", "person"), ("QtAgg", "signal"), ("QtAgg", "person")],
)
def test_closing_a_window_during_a_run(display, backend, way, flat_frames, tmp_path):
    module = {"TkAgg": "tkinter", "QtAgg": "PySide6"}[backend]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), flat_frames[0][0], str(tmp_path / "out"), way],
        env={**os.environ, "DISPLAY": display, "MPLBACKEND": backend, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *told, last = done.stdout.splitlines()
    assert last == "[True, True, True, True] STOPPED 0"
    assert len(told) == (way == "signal")
    assert all("SIGTERM" in line for line in told)
    assert list((tmp_path / "out").iterdir()) == []


def test_without_a_display_the_error_says_what_to_do(fake_session, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    with pytest.raises(InputError, match=r"no window can be opened here \(DISPLAY is not set\).*--screenshot"):
        open_window(fake_session)


def test_the_window_fits_on_the_screen():
    assert size_on(None) == SIZE
    assert size_on((2560, 1440)) == SIZE
    width, height = size_on((1280, 800))
    assert 100 * width < 1280
    assert 100 * height + 100 < 800
