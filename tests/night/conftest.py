"""One simulated night of both arms, reduced once per test run by the commands a user types."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))

from reduced_night import ReducedNight, run_soxs

from soxs_recipes.simulator import simulate_night

SEED = 7


@pytest.fixture(scope="session")
def soxs():
    return run_soxs


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """Raw frames with truth, and all that `soxs prep` and `soxs reduce all` make of them."""
    truth = simulate_night(tmp_path_factory.mktemp("night") / "raw", seed=SEED, plan="tiny")
    prep = run_soxs("prep", truth.folder)
    began = time.monotonic()
    reduced = run_soxs("reduce", "all", truth.folder, timeout=1800)
    return ReducedNight(truth, truth.folder / "soxs", prep, reduced, time.monotonic() - began)
