import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_night import Night


@pytest.fixture
def night(tmp_path):
    """An empty night to which frames are added."""
    return Night(tmp_path / "raw")


@pytest.fixture
def complete_night(night):
    """Both arms, two slits, a standard and a science target of three exposures."""
    return night.complete()
