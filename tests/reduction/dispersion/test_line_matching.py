import numpy as np
import pytest

from soxs_recipes.reduction.dispersion.line_detection import Peaks
from soxs_recipes.reduction.dispersion.line_matching import match_lines


def scattered(layout, seed, *, lines=35, missing=0.2, unlisted=40, slits=(0.0,)):
    """Predicted lines and detected peaks (true places with 0.1 px of noise, some missing, many unlisted)."""
    random = np.random.default_rng(seed)
    order, wavelength, slit = [], [], []
    x, y = [], []
    for number, (low, high) in layout.ranges.items():
        w = np.sort(random.uniform(low, high, lines))
        there = w[random.random(lines) >= missing]
        extra = random.uniform(low, high, unlisted)
        for s in slits:
            order.append(np.full(lines, number))
            wavelength.append(w)
            slit.append(np.full(lines, s))
            place = layout.place(number, np.concatenate([there, extra]), np.full(there.size + unlisted, s))
            x.append(place[0])
            y.append(place[1])
    x, y = (np.concatenate(v) + random.normal(0.0, 0.1, sum(map(len, v))) for v in (x, y))
    order, wavelength, slit = (np.concatenate(v) for v in (order, wavelength, slit))
    peaks = Peaks(x, y, np.ones(x.size), np.ones(x.size))
    return order, wavelength, slit, peaks


def wrong_and_found(layout, order, wavelength, slit, peaks, matches):
    distance = np.full(order.size, np.nan)
    for number in np.unique(order):
        own = (order == number) & matches.found
        true = layout.place(number, wavelength[own], slit[own])
        distance[own] = np.hypot(peaks.x[matches.peak[own]] - true[0], peaks.y[matches.peak[own]] - true[1])
    return int((distance > 0.8).sum()), int((distance <= 0.8).sum())


@pytest.mark.parametrize("kind", ["bands", "echelle"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (15.0, -12.0), (-14.0, 15.0)])
def test_identifies_lines_of_a_displaced_frame(arc_layout, kind, shift):
    layout = arc_layout(kind, shift=shift, wobble=1.0)
    order, wavelength, slit, peaks = scattered(layout, seed=11)
    x, y = layout.prior().evaluate(order, wavelength, slit)
    matches = match_lines(
        order, x, y, slit, peaks, dispersion_axis=layout.dispersion_axis, common_shift=layout.echelle
    )
    wrong, found = wrong_and_found(layout, order, wavelength, slit, peaks, matches)
    assert found > 0.66 * order.size
    assert wrong <= 0.02 * found
    along, across = (matches.shift_y, matches.shift_x) if kind == "bands" else (matches.shift_x, matches.shift_y)
    assert along == pytest.approx(shift[0], abs=1.5)
    assert across == pytest.approx(shift[1], abs=1.5)


def test_a_pinhole_more_or_less_is_not_confused(arc_layout):
    layout = arc_layout("echelle", shift=(0.3, -0.4), wobble=0.3)
    slits = tuple(1.3 * np.arange(-4, 5))
    order, wavelength, slit, peaks = scattered(layout, seed=2, slits=slits, unlisted=5)
    # The pinhole at one end is blocked: seen from outside, the row could be moved by one.
    true_y = peaks.y
    keep = np.ones(len(peaks), dtype=bool)
    for number in layout.ranges:
        low, high = layout.ranges[number]
        blocked = layout.place(number, np.linspace(low, high, 300), np.full(300, slits[-1]))
        near = np.abs(true_y - np.interp(peaks.x, *blocked)) < 1.5
        keep &= ~near
    peaks = peaks.select(keep)
    x, y = layout.prior().evaluate(order, wavelength, slit)
    matches = match_lines(order, x, y, slit, peaks, dispersion_axis=1, common_shift=True, shift_sigma=12.0)
    wrong, found = wrong_and_found(layout, order, wavelength, slit, peaks, matches)
    assert found > 0.6 * order.size
    assert wrong <= 0.02 * found
    assert not matches.found[slit == slits[-1]].any()


def test_no_spots_no_matches(arc_layout):
    layout = arc_layout("bands")
    order, wavelength, slit, peaks = scattered(layout, seed=3)
    x, y = layout.prior().evaluate(order, wavelength, slit)
    matches = match_lines(
        order, x, y, slit, peaks.select(np.zeros(0, dtype=int)), dispersion_axis=0, common_shift=False
    )
    assert not matches.found.any()
    assert np.isnan(matches.shift_x)
