"""What every test may count on."""

import logging

import pytest


@pytest.fixture(autouse=True)
def quiet_package_logger():
    """A command under test sets up the package's log on its own streams; the next test starts without."""
    package = logging.getLogger("soxs_recipes")
    handlers, level = list(package.handlers), package.level
    yield
    package.handlers[:] = handlers
    package.setLevel(level)
