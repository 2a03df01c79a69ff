import os
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from soxs_recipes.recipes.mflat import MasterFlat
from soxs_recipes.review.session import ReviewSession
from soxs_recipes.simulator import simulate_frame

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def flat_frames(tmp_path_factory):
    """Two slit flats, as (path, tag)."""
    folder = tmp_path_factory.mktemp("flats")
    frames = []
    for index in range(2):
        data, header, _ = simulate_frame("slit_flat", "VIS", seed=11, slit="SLIT1.0", index=index)
        path = folder / f"flat{index}.fits"
        fits.PrimaryHDU(data, header).writeto(path)
        frames.append((str(path), "FLAT_SLIT_VIS"))
    return frames


@pytest.fixture(scope="session")
def real_session(flat_frames, tmp_path_factory):
    """A session on soxs_mflat with one run made; tests may add runs."""
    with ReviewSession(MasterFlat.declaration, flat_frames, {}, tmp_path_factory.mktemp("kept")) as session:
        run = session.start()
        while session.poll(1.0) is None:
            pass
        assert run.status in ("COMPLETE", "PARTIAL"), run.error
        yield session


@pytest.fixture
def fake_session(flat_frames, tmp_path, monkeypatch):
    """A session whose runs are made by `fake_call`."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    with ReviewSession(
        MasterFlat.declaration, flat_frames, {}, tmp_path / "out", target="fake_call:run"
    ) as session:
        yield session


@pytest.fixture
def finish():
    """Wait until the run that is under way has ended."""

    def wait(session, seconds=60):
        for _ in range(seconds):
            run = session.poll(1.0)
            if run is not None:
                return run
        raise AssertionError("the run did not end")

    return wait
