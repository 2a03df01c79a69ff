import numpy as np
import pytest
from numpy.polynomial.legendre import legval, legvander

from soxs_recipes.reduction.dispersion.dispersion_fit import LineSample, fit_dispersion
from soxs_recipes.reduction.dispersion.line_detection import Peaks
from soxs_recipes.reduction.dispersion.line_levers import false_levers
from soxs_recipes.reduction.dispersion.line_matching import match_lines
from soxs_recipes.reduction.dispersion.offset_curves import search_curve, twist_penalty

ERROR = 0.01


def courses(layout, seed, size):
    """Legendre coefficients of each order's own departure along the dispersion."""
    random = np.random.default_rng(seed)
    return {number: random.normal(0.0, size * np.array([1.0, 1.0, 1.0, 0.6, 0.3])) for number in layout.ranges}


def true_place(layout, own, number, w):
    low, high = layout.ranges[number]
    x, y = layout.place(number, w, 0.0 * w)
    return x + legval((2.0 * w - low - high) / (high - low), own[number]), y


def sample(layout, own, seed, lines=40):
    random = np.random.default_rng(seed)
    parts = []
    for number, (low, high) in layout.ranges.items():
        w = np.sort(random.uniform(low, high, lines))
        parts.append((np.full(lines, number), w, *true_place(layout, own, number, w)))
    order, w, x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    noise, sigma = random.normal(0.0, ERROR, (2, x.size)), np.full(x.size, ERROR)
    return LineSample(order, w, 0.0 * w, x + noise[0], y + noise[1], sigma, sigma)


def errors_of(layout, own, solution):
    """Differences from truth along x, over what was predicted for them, inside the orders."""
    difference, predicted = [], []
    for number, (low, high) in layout.ranges.items():
        w = np.linspace(low + 0.06 * (high - low), high - 0.06 * (high - low), 40)
        difference.append(solution.surface(number).evaluate(w, 0.0 * w)[0] - true_place(layout, own, number, w)[0])
        predicted.append(solution.prediction_error(np.full(40, number), w, 0.0 * w)[0])
    return np.concatenate(difference), np.concatenate(predicted)


@pytest.mark.parametrize("size", [0.5, 2.0])
def test_orders_that_are_smooth_each_by_itself_only(arc_layout, size):
    layout = arc_layout("echelle", wobble=0.1)
    own = courses(layout, 1, size)
    fit = fit_dispersion(layout.prior().shifted(3.0, -2.0), sample(layout, own, 2), dispersion_axis=1)
    difference, predicted = errors_of(layout, own, fit.solution)
    assert np.sqrt(np.mean(difference**2)) < 0.01
    assert 0.7 < np.sqrt(np.mean((difference / predicted) ** 2)) < 1.5
    assert fit.kept.mean() > 0.98
    assert any("curve of their own" in note for note in fit.notes)


def test_one_surface_stays_one_surface(arc_layout):
    layout = arc_layout("echelle", wobble=0.1)
    none = {number: np.zeros(1) for number in layout.ranges}
    fit = fit_dispersion(layout.prior().shifted(3.0, -2.0), sample(layout, none, 3), dispersion_axis=1)
    assert len(fit.solution.blocks) == 1
    assert np.sqrt(np.mean(errors_of(layout, none, fit.solution)[0] ** 2)) < 0.01


def test_lines_of_orders_with_courses_of_their_own_are_identified(arc_layout):
    layout = arc_layout("echelle", wobble=0.1)
    own, random = courses(layout, 4, 0.7), np.random.default_rng(5)
    own[16] = own[16] + np.array([13.0, 0.0, 0.0, 0.0, 0.0])  # stands away from the others
    own[14] = own[14] + np.array([0.0, 0.0, 4.0, 0.0, 0.0])  # bends far more than the others
    lines = sample(layout, own, 6, lines=35)
    there = random.random(len(lines)) > 0.2
    extra = sample(layout, own, 7, lines=5)
    peaks = Peaks(
        np.concatenate([lines.x[there], extra.x]),
        np.concatenate([lines.y[there], extra.y]),
        *np.ones((2, there.sum() + len(extra))),
    )
    x, y = layout.prior().evaluate(lines.order, lines.wavelength, lines.slit)
    options = {"dispersion_axis": 1, "common_shift": True, "smooth_orders": True}
    matches = match_lines(lines.order, x, y, lines.slit, peaks, **options)
    away = np.hypot(peaks.x[matches.peak] - lines.x, peaks.y[matches.peak] - lines.y)
    right = matches.found & (away < 0.3)
    for number in layout.ranges:
        mine = lines.order == number
        assert (right & mine).sum() > 0.8 * (there & mine).sum()
    assert (matches.found & ~right).sum() <= 0.03 * right.sum()


def test_rows_of_pinholes_are_not_shifted_by_one_at_an_orders_end(arc_layout):
    layout = arc_layout("echelle", shift=(0.2, -0.3), wobble=0.1)
    slits, random = 1.2 * np.arange(-4, 5), np.random.default_rng(10)
    columns = []
    for number, (low, high) in layout.ranges.items():
        # The last third of each order holds two lines only, and pinholes stand 4 px apart.
        w = np.concatenate(
            [random.uniform(low, low + 0.6 * (high - low), 20), high - np.array([0.06, 0.02]) * 100]
        )
        w = np.clip(w, low, high)
        columns.append([(number, line, s) for line in w for s in slits])
    order, w, s = np.array([row for rows in columns for row in rows]).T
    order = order.astype(int)
    places = np.array([layout.place(n, line, z) for n, line, z in zip(order, w, s, strict=True)])
    places += random.normal(0.0, 0.05, places.shape)
    peaks = Peaks(places[:, 0], places[:, 1], *np.ones((2, order.size)))
    x, y = layout.prior().evaluate(order, w, s)
    y = y + 0.12 * s * (w - np.median(w)) / np.ptp(w)  # the format's scale along the slit is a little wrong
    options = {
        "dispersion_axis": 1,
        "common_shift": True,
        "smooth_orders": True,
        "search": 6.0,
        "shift_sigma": 1.5,
    }
    matches = match_lines(order, x, y, s, peaks, **options)
    assert matches.found.sum() > 0.8 * order.size
    assert np.array_equal(matches.peak[matches.found], np.flatnonzero(matches.found))


def test_search_finds_a_course_that_no_single_line_tells():
    random = np.random.default_rng(8)
    along = np.sort(random.uniform(0.0, 2000.0, 25))
    t = along / 1000.0 - 1.0
    true = legval(t, [3.0, -2.0, -8.0, 2.0])
    peaks = np.stack([along + true, np.full(25, 50.0)], axis=1)
    peaks = np.concatenate([peaks, np.stack([random.uniform(0.0, 2000.0, 10), np.full(10, 51.0)], axis=1)])
    found = search_curve(peaks, along, np.full(25, 50.5), t, np.ones(25))
    assert np.abs(found - true).max() < 1.0
    assert search_curve(peaks + np.array([0.0, 30.0]), along, np.full(25, 50.5), t, np.ones(25)) is None


def test_of_two_courses_the_twisted_one_costs_more():
    t = np.linspace(-1.0, 1.0, 20)
    assert twist_penalty(t, legval(t, [9.0, 5.0, 4.0, 2.0])) == pytest.approx(0.0, abs=1e-9)
    assert twist_penalty(t, legval(t, [0.0, 0.0, 0.0, 0.0, 2.0])) > 0.5


def gap_lines(seed, wrong):
    """Lines at both ends of an order and one in the gap, whose place is off by `wrong` px."""
    random = np.random.default_rng(seed)
    t = np.concatenate([np.linspace(-0.95, -0.35, 10), [0.1], [0.7, 0.85, 0.95]])
    value = legval(t, [1.0, 2.0, 5.0, 1.0]) + random.normal(0.0, ERROR, t.size)
    value[10] += wrong
    return legvander(t, 7), value, np.full(t.size, ERROR)


@pytest.mark.parametrize("seed", range(4))
def test_a_false_line_in_a_gap_is_told_from_the_true_ones_beside_it(seed):
    assert np.flatnonzero(false_levers(*gap_lines(seed, 5.0))).tolist() == [10]
    assert not false_levers(*gap_lines(seed, 0.0)).any()


def test_lines_left_out_as_false_are_written_down(arc_layout):
    layout = arc_layout("bands", wobble=0.05)
    none = {number: np.zeros(1) for number in layout.ranges}
    lines = sample(layout, none, 9)
    low, high = layout.ranges[1]
    share = (lines.wavelength - low) / (high - low)
    lines = lines.select(~((lines.order == 1) & (share > 0.35) & (share < 0.9)))
    middle = np.array([low + 0.62 * (high - low)])
    x, y = layout.place(1, middle, np.zeros(1))
    added = LineSample(np.array([1]), middle, np.zeros(1), x, y + 5.0, *np.full((2, 1), ERROR))
    both = LineSample(*(np.concatenate([getattr(lines, n), getattr(added, n)]) for n in LineSample.__slots__))
    fit = fit_dispersion(layout.prior().shifted(3.0, -2.0), both, dispersion_axis=0)
    assert fit.kept.shape == fit.weight.shape == (len(both),)
    assert not fit.kept[-1]
    assert fit.weight[-1] == 0.0
    assert fit.y_residual[-1] == pytest.approx(5.0, abs=1.0)
    assert fit.kept[:-1].mean() > 0.97
