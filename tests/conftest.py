"""What every test may count on."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import soxs_recipes

sys.path.insert(0, str(Path(__file__).parent))

from fake_cpl import write_fake_cpl
from real_programs import find_fitsverify
from reduced_night import ReducedNight, run_soxs

ROOT = Path(soxs_recipes.__file__).parent.parent
SEED = 7


@pytest.fixture(autouse=True)
def quiet_package_logger():
    """A command under test sets up the package's log on its own streams; the next test starts without."""
    package = logging.getLogger("soxs_recipes")
    handlers, level = list(package.handlers), package.level
    yield
    package.handlers[:] = handlers
    package.setLevel(level)


@pytest.fixture(scope="session")
def fake_cpl(tmp_path_factory):
    """A folder with a package `cpl`, whose classes are not those of the stand-in."""
    return write_fake_cpl(tmp_path_factory.mktemp("fake_cpl"))


@pytest.fixture
def python(tmp_path):
    """Run Python in a process of its own; `path` is its PYTHONPATH, `environment` what is set beside."""

    def run(*words, path=(ROOT,), cwd=tmp_path, **environment):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYESOREX", "ESOREX"))}
        environment = {**kept, **environment, "PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)

    return run


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """Raw frames with truth of one night of both arms, and what `soxs prep` and `soxs reduce all` make of them."""
    from soxs_recipes.simulator import simulate_night

    truth = simulate_night(tmp_path_factory.mktemp("night") / "raw", seed=SEED, plan="tiny")
    prep = run_soxs("prep", truth.folder)
    began = time.monotonic()
    reduced = run_soxs("reduce", "all", truth.folder, timeout=1800)
    return ReducedNight(truth, truth.folder / "soxs", prep, reduced, time.monotonic() - began)


@pytest.fixture(scope="session")
def fitsverify():
    """The program that knows the FITS standard."""
    return find_fitsverify()
