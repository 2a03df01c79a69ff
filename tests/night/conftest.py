"""The commands a user types, on the night that is made once per test run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))

from reduced_night import run_soxs


@pytest.fixture(scope="session")
def soxs():
    return run_soxs
