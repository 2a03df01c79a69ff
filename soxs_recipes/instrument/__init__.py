"""What the instruments are, as data."""

from __future__ import annotations

from importlib import import_module

__all__ = [
    "edps_workflow_folder",
    "header_keywords",
    "header_value",
    "load_instrument",
    "reflex_workflow_folder",
    "static_calibration_folder",
    "static_calibration_path",
    "static_calibration_tags",
]

_HOME = {
    "edps_workflow_folder": "paths",
    "load_instrument": "load",
    "header_keywords": "keywords",
    "header_value": "keywords",
    "reflex_workflow_folder": "paths",
    "static_calibration_folder": "paths",
    "static_calibration_path": "paths",
    "static_calibration_tags": "paths",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
