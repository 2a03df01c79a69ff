"""Both implementations of `cpl.ui`: ours always, PyCPL where it can be imported."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import hypothesis
import pytest

hypothesis.settings.register_profile("soxs", deadline=None)  # a busy machine is no error
hypothesis.settings.load_profile("soxs")


@pytest.fixture(params=["stand-in", "PyCPL"])
def cpl(request):
    """Namespace with `ui` and `core`."""
    if request.param == "PyCPL":
        pytest.importorskip("cpl", reason="PyCPL is not installed")
        return SimpleNamespace(ui=importlib.import_module("cpl.ui"), core=importlib.import_module("cpl.core"))
    prefix = "soxs_recipes.eso.standin_"
    return SimpleNamespace(
        ui=importlib.import_module(f"{prefix}ui"), core=importlib.import_module(f"{prefix}core")
    )


@pytest.fixture
def frame_file(tmp_path):
    """Make an empty file; returns its path as str."""

    def make(name: str = "a.fits") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return str(path)

    return make
