"""Shifts between arcs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soxs_recipes.reduction.flexure.wave_drift import ArcShift, interpolated_shift


def arc(time, along=0.0, across=0.0, error=0.01):
    return ArcShift(time, along, error, across, 2 * error)


@given(
    slope=st.floats(-5, 5),
    start=st.floats(-3, 3),
    moments=st.lists(st.floats(0, 0.3), min_size=2, max_size=6),
    part=st.floats(0, 1),
)
def test_a_linear_drift_is_followed_exactly_between_any_arcs(slope, start, moments, part):
    arcs = [arc(61000 + t, start + slope * t, -start + 2 * slope * t) for t in moments]
    time = 61000 + min(moments) + part * (max(moments) - min(moments))
    point = interpolated_shift(arcs, time)
    # Arcs at nearly one time count as one: they are not told apart beyond their spread.
    tolerance = 1e-9 + 1e-4 * abs(slope)
    assert point.along == pytest.approx(start + slope * (time - 61000), abs=tolerance)
    assert point.across == pytest.approx(-start + 2 * slope * (time - 61000), abs=2 * tolerance)
    assert point.along_error <= 0.01 * (1 + 1e-9)


def test_the_two_that_enclose_the_time_are_taken():
    arcs = [arc(1.0, 5.0), arc(2.0, 0.0), arc(3.0, 1.0), arc(4.0, -7.0)]
    point = interpolated_shift(arcs, 2.25)
    assert (point.how, point.along) == ("interpolated", pytest.approx(0.25))
    assert point.distance == pytest.approx(6.0)
    assert point.along_error == pytest.approx(0.01 * np.hypot(0.75, 0.25))


def test_each_arc_brings_its_error_with_its_share():
    point = interpolated_shift([arc(1.0, error=0.01), arc(2.0, error=0.05)], 1.75)
    assert point.along_error == pytest.approx(np.hypot(0.25 * 0.01, 0.75 * 0.05))
    assert point.across_error == pytest.approx(np.hypot(0.25 * 0.02, 0.75 * 0.1))


@pytest.mark.parametrize(("time", "expected"), [(1.0, 5.0), (4.0, -7.0)])
def test_at_the_time_of_the_first_or_last_arc_nothing_lies_outside(time, expected):
    point = interpolated_shift([arc(1.0, 5.0), arc(4.0, -7.0)], time)
    assert (point.how, point.along, point.distance) == ("interpolated", expected, 0.0)


@pytest.mark.parametrize(("time", "expected"), [(0.5, 5.0), (9.0, -7.0)])
def test_outside_the_nearest_is_taken_and_said(time, expected):
    point = interpolated_shift([arc(1.0, 5.0), arc(4.0, -7.0)], time)
    assert (point.how, point.along) == ("nearest", expected)


def test_one_arc_alone_is_taken_as_it_is():
    point = interpolated_shift([arc(1.0, 5.0, 2.0)], 1.5)
    assert (point.how, point.along, point.across, point.distance) == ("single", 5.0, 2.0, 12.0)


def test_arcs_of_one_time_are_averaged():
    arcs = [arc(1.0, 0.0), arc(1.0, 0.1), arc(2.0, 1.05)]
    point = interpolated_shift(arcs, 1.5)
    assert point.along == pytest.approx(0.55)
    assert point.along_error == pytest.approx(0.5 * 0.01 * np.sqrt(1.5))


def test_without_arc_or_time_there_is_no_answer():
    with pytest.raises(ValueError, match="an arc and the time"):
        interpolated_shift([], 1.0)
    with pytest.raises(ValueError, match="an arc and the time"):
        interpolated_shift([arc(1.0)], float("nan"))
