"""What soxs_nod and soxs_offset make of headers, shifts and beams before numerics begin and after they end."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.steps import beams
from soxs_recipes.recipes.steps.differences import BeamSequence, DifferenceBench, shots_of
from soxs_recipes.reduction.exposures.beams import Shot, Subtraction

PATHS = [Path(f"exposure{number}.fits") for number in range(3)]


class Inputs:
    """Headers by path, and what was complained of."""

    arm = load_instrument().arm("VIS")

    def __init__(self, *headers):
        self.headers = dict(zip(PATHS, headers, strict=False))
        self.reasons = []
        self.mark_partial = self.reasons.append

    def header(self, path):
        return self.headers[path]

    def keyword(self, name, path, default=None):
        return self.headers[path].get(name, default)


def test_exposures_stand_at_their_middles_and_offsets():
    inputs = Inputs(
        {"MJD-OBS": 61101.0, "EXPTIME": 600.0, "CUMULATIVE_OFFSET_Y": 2.5},
        {"MJD-OBS": 61101.0 + 1000.0 / 86400.0, "EXPTIME": 300.0, "CUMULATIVE_OFFSET_Y": -2.5},
        {"MJD-OBS": 61101.0 + 2000.0 / 86400.0},
    )
    first, second, third = shots_of(inputs, PATHS)
    assert second.time - first.time == pytest.approx(1150.0 - 300.0, abs=1e-3)
    assert third.time - first.time == pytest.approx(2000.0 - 300.0, abs=1e-3)
    assert (first.offset, second.offset) == (2.5, -2.5)
    assert np.isnan(third.offset)


def test_without_times_the_order_of_the_frames_has_to_do():
    times = [shot.time for shot in shots_of(Inputs({}, {}, {}), PATHS)]
    assert times == sorted(set(times))


def _bench(shifts):
    """Tiny exposures that their sky has by these shifts along the dispersion."""
    bench = object.__new__(DifferenceBench)
    ones = np.ones((4, 4), np.float32)

    def exposure(index, *, subtracted=False):
        frame = Frame(ones, ones, np.zeros((4, 4), np.int32), FrameMeta(name=str(index), exposure_time=60.0))
        return SimpleNamespace(frame=frame, base_variance=ones), SimpleNamespace(applied=(shifts[index], 0.0))

    bench.exposure = exposure
    return bench


def test_flexure_of_a_difference_is_that_of_what_is_subtracted_against_the_maps():
    bench = _bench([0.1, 0.5, 0.9])
    assert bench.subtract(Subtraction(0, (1,), (1.0,))).flexure == pytest.approx(0.4)
    assert bench.subtract(Subtraction(0, (1, 2), (0.25, 0.75), both=False)).flexure == pytest.approx(0.7)
    assert bench.subtract(Subtraction(0, (), (), both=False)).flexure == 0.0


def _order(level, number=1, size=200, seed=0):
    noise = np.random.default_rng(seed).normal(0.0, 5.0, size)
    spectrum = SimpleNamespace(order=number, flux=level + noise, variance=np.full(size, 25.0))
    return SimpleNamespace(spectrum=spectrum, profile_errors=np.zeros(2))


def _result(*levels):
    own = [tuple(_order(level, number, seed=number) for number in (1, 2, 3, 4)) for level in levels]
    return SimpleNamespace(result=SimpleNamespace(orders=own[0]), beams=own)


def _sequence():
    return BeamSequence(PATHS, [Shot(0.0, 0.0)] * 3, None)


def test_what_is_subtracted_counts_by_its_share_and_time():
    inputs = Inputs({"EXPTIME": 600.0}, {"EXPTIME": 300.0}, {"EXPTIME": 150.0})
    both = Subtraction(0, (1,), (1.0,)), _result(100.0, 50.0)
    shared = Subtraction(2, (0, 1), (0.25, 0.75), both=False), _result(25.0)
    found = beams._beams(inputs, _sequence(), [both, shared])
    assert [(beam.exposure, beam.difference, beam.sign, beam.time) for beam in found] == [
        (0, 0, 1.0, 600.0),
        (1, 0, -1.0, 300.0),
        (2, 1, 1.0, 150.0),
    ]
    # A sky of half the time is taken twice.
    assert found[0].parts == found[1].parts == {0: (1.0, 600.0), 1: (-2.0, 300.0)}
    assert found[2].parts == {2: (1.0, 150.0), 0: (-0.25 * 0.25, 600.0), 1: (-0.75 * 0.5, 300.0)}
    assert not inputs.reasons


@pytest.mark.parametrize(("level", "kept"), [(40.0, 3), (1.0, 2)])
def test_a_beam_without_light_is_left_out_and_named(level, kept):
    inputs = Inputs({"EXPTIME": 600.0}, {"EXPTIME": 600.0}, {"EXPTIME": 600.0})
    results = [
        (Subtraction(0, (1,), (1.0,)), _result(100.0, 90.0)),
        (Subtraction(2, (1,), (1.0,), both=False), _result(level)),
    ]
    found = beams._beams(inputs, _sequence(), results)
    assert len(found) == 3
    left = beams._with_light(inputs, _sequence(), found)
    assert len(left) == kept
    assert [reason.split(" is left out")[0] for reason in inputs.reasons] == ["exposure2.fits"] * (3 - kept)
