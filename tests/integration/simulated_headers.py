"""Headers of simulated nights without their pixels."""

from functools import lru_cache

from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.frames import pointing_of
from soxs_recipes.simulator.hardware import arm_hardware
from soxs_recipes.simulator.headers import raw_header
from soxs_recipes.simulator.schedule import exposures


@lru_cache
def night_headers(plan, seed=1):
    """(file name, header) of every frame of a plan, in the order of the night."""
    return tuple(_header(exposure) for exposure in exposures(plan, seed, Effects()))


def _header(exposure):
    request = exposure.request
    hardware = arm_hardware(request.arm)
    header = raw_header(
        request.kind,
        hardware,
        request.exposure_time,
        exposure.sequence,
        pointing_of(request),
        request.slit,
        request.lamp,
        request.binning,
    )
    rows, columns = hardware.raw_shape
    header["NAXIS1"], header["NAXIS2"] = columns // request.binning[1], rows // request.binning[0]
    return f"SOXS.{exposure.sequence.start.isot}.fits", header
