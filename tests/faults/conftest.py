"""A few small simulated frames, ways to spoil them, and the command that must answer."""

import sys
from pathlib import Path

import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parent))

from soxs_recipes.cli.main import main
from soxs_recipes.simulator import simulate_frame

SEED = 5
# (kind, arm, number of frames, further wishes): binned where it may be, so that a call takes a moment only.
FRAMES = {
    "bias": ("bias", "VIS", 3, {"binning": (2, 2)}),
    "flat": ("slit_flat", "VIS", 1, {"binning": (2, 2)}),
    "other_binning": ("bias", "VIS", 1, {"binning": (2, 1)}),
    "dark": ("dark", "NIR", 3, {"exposure_time": 20.0}),
    "long_dark": ("dark", "NIR", 1, {"exposure_time": 180.0}),
    "arc": ("pinhole_arc", "NIR", 1, {}),
    "arc_off": ("pinhole_arc", "NIR", 1, {"lamps_off": True}),
    "vis_arc": ("pinhole_arc", "VIS", 1, {"binning": (2, 2)}),
}


@pytest.fixture(scope="session")
def raws(tmp_path_factory):
    """Name -> paths of sound frames; not to be changed."""
    folder = tmp_path_factory.mktemp("sound")
    paths, index = {}, 0
    for name, (kind, arm, count, wishes) in FRAMES.items():
        for number in range(count):
            index += 1
            data, header, _ = simulate_frame(kind, arm, seed=SEED, index=index, **wishes)
            path = folder / f"{name}{number}.fits"
            fits.PrimaryHDU(data, header).writeto(path, checksum=True)
            paths.setdefault(name, []).append(path)
    return paths


class Answer:
    """What a command said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def error(self):
        """The one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("soxs: error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("soxs: error: ")


@pytest.fixture
def soxs(capfd):
    """Run the command in this process."""

    def run(*words):
        capfd.readouterr()
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def write_sof(tmp_path):
    """A set of frames from paths and (path, tag) pairs."""

    def write(*frames, name="x.sof"):
        rows = [frame if isinstance(frame, tuple) else (frame, "") for frame in frames]
        path = tmp_path / name
        path.write_text("".join(f"{one} {tag}".rstrip() + "\n" for one, tag in rows))
        return path

    return write


@pytest.fixture
def reduce_sof(soxs, write_sof, tmp_path):
    """One recipe on a set of frames, products to `tmp_path/out`."""

    def run(verb, *frames):
        return soxs(verb, write_sof(*frames), "-o", tmp_path / "out", "-x", "--no-plots")

    return run


@pytest.fixture
def left(tmp_path):
    """Names of all files in the output folder but the logs."""

    def names():
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        return sorted(path.name for path in files if path.parent.name != "logs")

    return names
