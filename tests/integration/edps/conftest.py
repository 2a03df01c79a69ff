import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from edps_standin import load_workflow

from soxs_recipes.instrument import edps_workflow_folder


@pytest.fixture(scope="session")
def workflow():
    """The workflow as its builders recorded it."""
    return load_workflow(edps_workflow_folder(), "soxs")
