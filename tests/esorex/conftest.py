"""EsoRex itself, where it is."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from real_programs import find_esorex


@pytest.fixture(scope="session")
def esorex(tmp_path_factory):
    return find_esorex(tmp_path_factory.mktemp("esorex"))
