"""Raw frames with known truth, written as the instrument writes them; never imported by the reduction.

Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module

_HOMES = {
    "Effects": "effects",
    "FrameMaker": "frames",
    "NightTruth": "truth",
    "OpticalModel": "optics",
    "PLANS": "night",
    "expected_light": "night",
    "load_truth": "truth",
    "reproduce": "night",
    "simulate_frame": "frames",
    "simulate_night": "night",
}

__all__ = [
    "PLANS",
    "Effects",
    "FrameMaker",
    "NightTruth",
    "OpticalModel",
    "expected_light",
    "load_truth",
    "reproduce",
    "simulate_frame",
    "simulate_night",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
