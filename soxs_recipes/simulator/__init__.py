"""Raw frames with known truth, written as the instrument writes them; never imported by the reduction.

    from soxs_recipes.simulator import simulate_night, simulate_frame, load_truth
    night = simulate_night("night", seed=1, plan="demo")
    frame = simulate_frame("pinhole_arc", "NIR", seed=1)  # (data, header, truth) in memory

Module by module: `plans` says what a night observes and `schedule` when, `conditions` what sky it then has,
`optics` says where an (order, wavelength, slit position) falls, `geometry` inverts it on the pixels, `spectra`,
`catalogues` and `throughput` say how much light there is, `light` puts it through slit and line spread, `render`
integrates it over pixels, `detector` exposes and reads them, `headers` describes the frame, `night` writes files,
`truth` keeps what is known.

What no source documents and was chosen here [I]: the shape of the bias pattern and the NIR pedestal of 17 ADU, the
order of lamp-on and lamp-off frames in a NIR template, names of the templates for nodding, offsets, mapping, slit
arcs and linearity, the signs of SEQ CUMOFF and FIXOFF (see `plans`, `headers`), `DET READ CURID` 1 (UV-VIS) and 3
(NIR), the lamps' brightness, fringes, scattered light and persistence within the published bounds.

Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module

_HOMES = {
    "Effects": "effects",
    "FrameMaker": "frames",
    "NightTruth": "truth",
    "OpticalModel": "optics",
    "PLANS": "plans",
    "PLAN_EFFECTS": "plans",
    "expected_light": "night",
    "load_truth": "truth",
    "reproduce": "night",
    "simulate_frame": "frames",
    "simulate_night": "night",
}

__all__ = [
    "PLANS",
    "PLAN_EFFECTS",
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
