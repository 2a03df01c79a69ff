"""Which detected spot is which predicted line, whatever the frame's shift, scale and smooth distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy import ndimage
from scipy.spatial import cKDTree

from soxs_recipes.reduction.dispersion.line_detection import Peaks
from soxs_recipes.reduction.dispersion.line_ends import bayesian_surface, settle_end
from soxs_recipes.reduction.dispersion.offset_curves import curve_score, search_curve, twist_penalty

__all__ = ["LineMatches", "match_lines"]

_FIRST_WINDOW, _LAST_WINDOW = 3.5, 1.0  # [px] about the expected place of a line
# Share of an order, from its middle, in which lines are taken in each turn: the ends come last, when the middle
# says where they are.
_GROWTH = (0.5, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.0, 1.0)
# Expected size [px] of the Legendre coefficients of an order's offset along the dispersion.
_EXPECTED = (30.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.7)
_END_SHARE = 0.15  # of the matched lines at each end, that are identified as a whole
_SEGMENT_LINES = 7
_LEAST_VOTES = 4.0
_POOR_SHARE = 0.5  # of an order's lines: with fewer matches it is looked for away from the other orders too
_LEAST_GAIN = 1.0  # lines that another curve of an order must put on spots beyond the usual one
# The same of their change with the order number, linear, quadratic, cubic: of the shift, and relative of the rest.
_EXPECTED_OVER_ORDERS = ((8.0, 0.7), (4.0, 0.4), (2.0, 0.2), (1.0, 0.1))
_TURNS_OVER_ORDERS = 4
_ORDER_SHIFT_SIGMA = 3.0  # [px] of an order against the other orders of its grating


@dataclass(frozen=True, slots=True)
class LineMatches:
    """What was found of the predicted lines.

    Attributes
    ----------
    peak : ndarray (n,) int
        Index of the detected spot, -1 for a line that was not found.
    x, y : ndarray (n,) float64 [px]
        Where each line is expected now: prediction moved by the smooth correction.
    shift_x, shift_y : float [px]
        Median of found minus predicted; NaN when nothing was found.
    votes : dict of int to float
        Share of each order's lines that agreed with its shift.
    """

    peak: np.ndarray
    x: np.ndarray
    y: np.ndarray
    shift_x: float
    shift_y: float
    votes: dict[int, float]

    @property
    def found(self) -> np.ndarray:
        """Boolean (n,): lines with a spot."""
        return self.peak >= 0


def match_lines(
    order: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    slit: np.ndarray,
    peaks: Peaks,
    *,
    dispersion_axis: int,
    common_shift: bool,
    smooth_orders: bool = False,
    weight: np.ndarray | None = None,
    search: float = 25.0,
    shift_sigma: float = np.inf,
) -> LineMatches:
    """Identify predicted lines among detected spots.

    Parameters
    ----------
    order : ndarray (n,) int
    x, y : ndarray (n,) float64 [px]
        Predicted places; may be off by `search` as a whole and by some pixels in a smooth way.
    slit : ndarray (n,) float64 [arcsec]
        0 everywhere for a single pinhole.
    peaks : Peaks
        May hold many spots that are not in the list, and lack many that are.
    dispersion_axis : int
    common_shift : bool
        All orders move together; otherwise each is looked for by itself.
    smooth_orders : bool
        The offsets are a smooth function of the order number too (one grating): neighbouring orders then help
        each other, above all at their ends.
    weight : ndarray (n,), optional
        How sure it is that each line is there at all (1: quite); decides at the ends of orders.
    search : float [px]
    shift_sigma : float [px]
        How far a shift across the orders is to be expected; only breaks ties, as between neighbouring pinholes.

    Returns
    -------
    LineMatches

    Notes
    -----
    Every pair (line, spot) votes for an offset, for a range of stretches along the dispersion; the offset with
    most votes wins, first for the arm, then per order, then per part of an order. Only then are lines taken one
    by one as mutual nearest neighbours about a robust low-degree surface, in shrinking windows. No intensity is
    used: lamps age.
    """
    weight = np.ones(np.size(x)) if weight is None else np.asarray(weight, dtype=np.float64)
    problem = _Problem.make(order, x, y, slit, peaks, dispersion_axis, weight)
    along, across = np.zeros(problem.count), np.zeros(problem.count)
    start = _arm_vote(problem, search, shift_sigma) if common_shift else None
    found = {number: _order_vote(problem, number, start, search, shift_sigma) for number in problem.orders}
    trusted = [vote for vote in found.values() if vote.trusted]
    if start is None and not trusted:
        trusted = list(found.values())
    consensus = start if start is not None else _median_vote(trusted)
    peak = np.full(problem.count, -1)
    for number in problem.orders:
        vote = found[number] if found[number].trusted else consensus
        lines = np.flatnonzero(problem.order == number)
        index, da, dc = _searched(problem, lines, *_refine(problem, lines, *_start(problem, lines, vote)))
        if start is not None and (index >= 0).mean() < _POOR_SHARE and np.ptp(problem.slit) == 0:
            index, da, dc = _away_from_the_others(problem, lines, (index, da, dc), search)
        if not smooth_orders:
            index, da, dc = _settle_ends(problem, lines, index, da, dc)
        peak[lines], along[lines], across[lines] = index, da, dc
    if smooth_orders and problem.orders.size >= 4:
        peak, along, across = _helped_by_neighbours(problem, peak, along, across)
    votes = {int(number): float((peak[problem.order == number] >= 0).mean()) for number in problem.orders}
    return _result(problem, peak, along, across, votes)


def _helped_by_neighbours(problem, *own):
    """Matches after all orders together, or an order's own (peak, along, across) where those serve it better."""
    peak, along, across = _over_orders(problem, *own)
    # A row of pinholes shifted by one still lies on spots: rows are told apart by all orders together only.
    for number in problem.orders if np.ptp(problem.slit) == 0 else ():
        lines = np.flatnonzero(problem.order == number)
        together = peak[lines], along[lines], across[lines]
        alone = tuple(values[lines] for values in own)
        peak[lines], along[lines], across[lines] = _better_curve(problem, lines, together, alone)
    return peak, along, across


@dataclass(frozen=True, slots=True)
class _Vote:
    along: float
    across: float
    stretch: float
    trusted: bool


@dataclass(frozen=True, slots=True)
class _Problem:
    """Lines and spots in (along, across) coordinates; `t` runs from -1 to 1 over the detector."""

    order: np.ndarray
    along: np.ndarray
    across: np.ndarray
    slit: np.ndarray
    t: np.ndarray
    peak_along: np.ndarray
    peak_across: np.ndarray
    dispersion_axis: int
    weight: np.ndarray
    by_along: np.ndarray  # order of the spots along the dispersion
    spots: cKDTree | None  # of (along, across); None without spots

    @classmethod
    def make(cls, order, x, y, slit, peaks, dispersion_axis, weight):
        order = np.asarray(order, dtype=int)
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        slit = np.broadcast_to(np.asarray(slit, dtype=np.float64), order.shape)
        along, across = (y, x) if dispersion_axis == 0 else (x, y)
        p_along, p_across = (peaks.y, peaks.x) if dispersion_axis == 0 else (peaks.x, peaks.y)
        half = max(float(np.ptp(along)) / 2.0, 1.0) if along.size else 1.0
        middle = float(along.min() + along.max()) / 2.0 if along.size else 0.0
        t = (along - middle) / half
        spots = cKDTree(np.stack([p_along, p_across], axis=1)) if p_along.size else None
        by_along = np.argsort(p_along, kind="stable")
        return cls(order, along, across, slit, t, p_along, p_across, dispersion_axis, weight, by_along, spots)

    @property
    def count(self) -> int:
        return self.order.size

    @property
    def orders(self) -> np.ndarray:
        return np.unique(self.order)

    def pairs(self, lines, centre_along, centre_across, reach_along, reach_across):
        """(line, offset along, offset across) of all pairs within reach of an offset."""
        place = self.along[lines] + centre_along
        ascending = self.peak_along[self.by_along]
        first = np.searchsorted(ascending, place - reach_along, side="left")
        count = np.searchsorted(ascending, place + reach_along, side="right") - first
        row = np.repeat(np.arange(lines.size), count)
        begin = np.repeat(first - np.cumsum(count) + count, count)
        column = self.by_along[begin + np.arange(row.size)]
        dc = self.peak_across[column] - self.across[lines[row]] - centre_across
        near = np.abs(dc) <= reach_across
        row, column = row[near], column[near]
        return lines[row], self.peak_along[column] - place[row], dc[near]


def _histogram(da, dc, reach_along, reach_across, step, weights=None):
    """Smoothed vote counts over offsets, with the bin centres."""
    bins = [max(int(np.ceil(2.0 * reach / step)), 1) for reach in (reach_along, reach_across)]
    i = ((da + reach_along) / step).astype(int).clip(0, bins[0] - 1)
    j = ((dc + reach_across) / step).astype(int).clip(0, bins[1] - 1)
    counts = np.bincount(i * bins[1] + j, weights=weights, minlength=bins[0] * bins[1]).reshape(bins)
    # Smoothed by a pixel: offsets vary smoothly over the detector by about so much.
    return ndimage.gaussian_filter(counts.astype(np.float64), max(1.0 / step, 1.0), mode="constant", truncate=2.0)


def _bin_centre(index, reach, step):
    return (index + 0.5) * step - reach


def _stretches(reach_along):
    """Displacement of the ends of the dispersion axis against its middle [px]."""
    return np.arange(-8.0, 8.5, 1.0) if reach_along > 10.0 else np.arange(-4.0, 4.5, 1.0)


def _best_offset(problem, pairs, reach_along, reach_across, shift_sigma):
    """Offset and stretch with most votes; its votes, and the best votes elsewhere."""
    lines, da, dc = pairs
    # Pinholes stand close: the place of a bin's border must not decide between them.
    step = 1.0 if np.ptp(problem.slit) == 0 else 0.5
    across_bins = max(int(np.ceil(2.0 * reach_across / step)), 1)
    prior = np.exp(-0.5 * (_bin_centre(np.arange(across_bins), reach_across, step) / shift_sigma) ** 2)
    best = (-1.0, 0.0, 0.0, 0.0)
    histograms = []
    for stretch in _stretches(reach_along):
        counts = _histogram(da - stretch * problem.t[lines], dc, reach_along, reach_across, step) * prior
        # Of equal votes the least stretched wins.
        top = float(counts.max()) * (1.0 - 1.0e-3 * abs(stretch))
        histograms.append((stretch, counts))
        if top > best[0]:
            i, j = np.unravel_index(int(counts.argmax()), counts.shape)
            best = (top, _bin_centre(i, reach_along, step), _bin_centre(j, reach_across, step), stretch)
    elsewhere = 0.0
    for stretch, counts in histograms:
        if stretch == best[3]:
            # A row of pinholes repeats across the orders: only offsets along the dispersion are rivals.
            i, near = int((best[1] + reach_along) / step), int(4.0 / step)
            counts = np.delete(counts, slice(max(i - near, 0), i + near + 1), axis=0)
            elsewhere = float(counts.max()) if counts.size else 0.0
    return best, elsewhere


def _arm_vote(problem, search, shift_sigma):
    """One offset and stretch for all orders together."""
    parts = []
    for number in problem.orders:
        lines = np.flatnonzero(problem.order == number)
        parts.append(problem.pairs(lines, 0.0, 0.0, search + 8.0, search))
    pairs = tuple(np.concatenate([part[k] for part in parts]) for k in range(3))
    best, elsewhere = _best_offset(problem, pairs, search + 8.0, search, shift_sigma)
    return _Vote(best[1], best[2], best[3], best[0] > 1.1 * elsewhere)


def _order_vote(problem, number, start, search, shift_sigma):
    """Offset of one order, about the arm's when there is one."""
    lines = np.flatnonzero(problem.order == number)
    if start is None:
        centre, reach_along, reach_across = _Vote(0.0, 0.0, 0.0, trusted=False), search + 8.0, search
    else:
        centre, reach_along, reach_across = start, 8.0, 5.0
    index, da, dc = problem.pairs(lines, centre.along, centre.across, reach_along + 8.0, reach_across)
    da = da - centre.stretch * problem.t[index]
    near = np.abs(da) <= reach_along
    pairs = (index[near], da[near], dc[near])
    sigma = shift_sigma if start is None else _ORDER_SHIFT_SIGMA
    best, elsewhere = _best_offset(problem, pairs, reach_along, reach_across, sigma)
    # The smoothing kernel keeps some 16 % of the votes of a single bin of a pixel.
    trusted = best[0] > 0.16 * _LEAST_VOTES and best[0] > 1.15 * elsewhere
    return _Vote(centre.along + best[1], centre.across + best[2], centre.stretch + best[3], trusted)


def _median_vote(votes):
    values = np.array([(vote.along, vote.across, vote.stretch) for vote in votes])
    along, across, stretch = np.median(values, axis=0) if len(values) else (0.0, 0.0, 0.0)
    return _Vote(float(along), float(across), float(stretch), trusted=False)


def _start(problem, lines, vote):
    """Offsets (along, across) of an order's lines as they were voted for."""
    return vote.along + vote.stretch * problem.t[lines], np.full(lines.size, vote.across)


def _searched(problem, lines, index, da, dc):
    """The matches, or those about the best of all cubic curves when that puts clearly more lines on spots."""
    if np.ptp(problem.slit) > 0 or lines.size < 8:
        return index, da, dc
    along, across = problem.along[lines] + da, problem.across[lines] + dc
    spots = np.stack([problem.peak_along, problem.peak_across], axis=1)
    curve = search_curve(spots, along, across, problem.t[lines], problem.weight[lines])
    if curve is None:
        return index, da, dc
    return _better_curve(problem, lines, (index, da, dc), _refine(problem, lines, da + curve, dc))


def _away_from_the_others(problem, lines, usual, search):
    """The matches, or those about an offset of the order alone when that puts clearly more lines on spots."""
    vote = _order_vote(problem, problem.order[lines[0]], None, search, np.inf)
    if not vote.trusted:
        return usual
    other = _searched(problem, lines, *_refine(problem, lines, *_start(problem, lines, vote)))
    return _better_curve(problem, lines, usual, other)


def _better_curve(problem, lines, usual, other):
    """Whichever (matches, offsets along, across) puts more lines on spots; the usual one when it is close."""
    spots = cKDTree(np.stack([problem.peak_along, problem.peak_across], axis=1))
    scores = [
        curve_score(spots, problem.along[lines] + da, problem.across[lines] + dc, problem.weight[lines])
        - twist_penalty(problem.t[lines], da)
        for _, da, dc in (usual, other)
    ]
    return other if scores[1] > 1.05 * scores[0] + _LEAST_GAIN else usual


def _refine(problem, lines, base_a, base_c):
    """Matches of one order's lines and the smooth offsets (along, across) at them, from offsets to begin with."""
    t, slit = problem.t[lines], problem.slit[lines]
    segment_a, segment_c = _segment_offsets(problem, lines, base_a, base_c)
    base_a, base_c = base_a + segment_a, base_c + segment_c
    terms, expected = _terms(t, slit)
    distance = np.abs(t - 0.5 * (t.min() + t.max())) / max(0.5 * float(np.ptp(t)), 1.0e-6)
    da, dc = base_a, base_c
    error, index = np.full(lines.size, 0.3), np.full(lines.size, -1)
    window = np.full(lines.size, _FIRST_WINDOW)
    for reach in _GROWTH:
        index = _nearest(problem, lines, da, dc, np.where(distance <= reach, window, 0.0), error)
        matched = index >= 0
        if matched.sum() < 3:
            continue
        found_a = problem.peak_along[index[matched]] - problem.along[lines[matched]]
        found_c = problem.peak_across[index[matched]] - problem.across[lines[matched]]
        shift_a, error_a = _robust_surface(terms, expected, matched, found_a - base_a[matched])
        shift_c, error_c = _robust_surface(terms, expected, matched, found_c - base_c[matched])
        da, dc = base_a + shift_a, base_c + shift_c
        error = np.hypot(error_a, error_c)
        window = np.clip(3.0 * error, _LAST_WINDOW, _FIRST_WINDOW)
    index = _nearest(problem, lines, da, dc, window, error)
    return _consistent(problem, lines, index, da, dc), da, dc


def _settle_ends(problem, lines, index, da, dc):
    """Matches again, with the ends of the order identified as a whole instead of line by line."""
    t, along = problem.t[lines], problem.along[lines]
    if (index >= 0).sum() < 12 or problem.peak_along.size == 0:
        return index, da, dc
    terms, expected = _terms(t, problem.slit[lines])
    spots = cKDTree(np.stack([problem.peak_along, problem.peak_across], axis=1))
    places = np.stack([along, problem.across[lines] + dc], axis=1)
    for side in (-1.0, 1.0):
        matched = index >= 0
        limit = np.quantile(side * t[matched], 1.0 - _END_SHARE)
        outer = side * t > limit
        inner = matched & ~outer
        if inner.sum() < 8 or not outer.any():
            continue
        found = problem.peak_along[index[inner]] - along[inner]
        fit = bayesian_surface(terms[inner], found, expected)
        da = da.copy()
        da[outer] = settle_end(spots, places, outer, terms, fit, problem.weight[lines])
        index = _nearest(problem, lines, da, dc, np.full(lines.size, _LAST_WINDOW), np.full(lines.size, 0.3))
    for _ in range(2):
        matched = index >= 0
        found_a = problem.peak_along[index[matched]] - along[matched]
        found_c = problem.peak_across[index[matched]] - problem.across[lines][matched]
        da, error_a = _robust_surface(terms, expected, matched, found_a)
        dc, error_c = _robust_surface(terms, expected, matched, found_c)
        error = np.hypot(error_a, error_c)
        window = np.clip(3.0 * error, _LAST_WINDOW, _FIRST_WINDOW)
        index = _nearest(problem, lines, da, dc, window, error)
    return _consistent(problem, lines, index, da, dc), da, dc


def _over_orders(problem, peak, along, across):
    """Matches about one surface of offsets over all orders, robust against an order's own mistakes."""
    terms, expected = _terms(problem.t, problem.slit)
    orders = 2.0 * (problem.order - problem.order.min()) / max(float(np.ptp(problem.order)), 1.0) - 1.0
    parts, sizes = [terms], [expected]
    for degree, (shift, shape) in enumerate(_EXPECTED_OVER_ORDERS, start=1):
        basis = legvander(orders, degree)[:, degree]
        chosen = terms[:, : len(_EXPECTED) - degree]
        parts.append(chosen * basis[:, None])
        sizes.append(np.concatenate([[shift], shape * expected[1 : chosen.shape[1]]]))
    terms, expected = np.concatenate(parts, axis=1), np.concatenate(sizes)
    for _ in range(_TURNS_OVER_ORDERS):
        matched = peak >= 0
        if matched.sum() < 20:
            return peak, along, across
        found_a = problem.peak_along[peak[matched]] - problem.along[matched]
        found_c = problem.peak_across[peak[matched]] - problem.across[matched]
        along, error_a = _robust_surface(terms, expected, matched, found_a)
        across, error_c = _robust_surface(terms, expected, matched, found_c)
        error = np.hypot(error_a, error_c)
        window = np.clip(3.0 * error, _LAST_WINDOW, _FIRST_WINDOW)
        peak = np.full(problem.count, -1)
        for number in problem.orders:
            lines = np.flatnonzero(problem.order == number)
            index = _nearest(problem, lines, along[lines], across[lines], window[lines], error[lines])
            peak[lines] = _consistent(problem, lines, index, along[lines], across[lines])
    return peak, along, across


def _segment_offsets(problem, lines, da, dc):
    """Local offsets found by voting in parts of the order, joined by a stiff curve."""
    t = problem.t[lines]
    different = np.unique(problem.along[lines][problem.slit[lines] == np.median(problem.slit[lines])]).size
    parts = int(np.clip(different // _SEGMENT_LINES, 1, 9))
    if parts < 2:
        return np.zeros(lines.size), np.zeros(lines.size)
    shifted = np.zeros(problem.count)
    shifted_c = np.zeros(problem.count)
    shifted[lines], shifted_c[lines] = da, dc
    index, pair_a, pair_c = _pairs_about(problem, lines, shifted, shifted_c, 4.0)
    centres = np.quantile(t, (np.arange(parts) + 0.5) / parts)
    width = 0.75 * (t.max() - t.min()) / parts
    offsets = np.zeros((parts, 2))
    weights = np.zeros(parts)
    for k, centre in enumerate(centres):
        near = np.exp(-0.5 * ((problem.t[index] - centre) / width) ** 2)
        # A small offset is likelier than a large one; lines alone decide between them.
        near *= np.exp(-0.5 * (pair_a**2 + pair_c**2) / 3.0**2)
        counts = _histogram(pair_a, pair_c, 4.0, 4.0, 0.8, weights=near)
        i, j = np.unravel_index(int(counts.argmax()), counts.shape)
        offsets[k] = _bin_centre(i, 4.0, 0.8), _bin_centre(j, 4.0, 0.8)
        weights[k] = counts.max()
    basis = np.stack([np.ones(parts), centres, centres**2], axis=1)[:, : min(parts, 3)]
    full = np.stack([np.ones(t.size), t, t**2], axis=1)[:, : min(parts, 3)]
    heavy = weights >= 0.3 * weights.max()
    if heavy.sum() < basis.shape[1]:
        return np.zeros(lines.size), np.zeros(lines.size)
    curves = [full @ _robust_ridge(basis[heavy], offsets[heavy, k]) for k in range(2)]
    return tuple(curve.clip(-4.0, 4.0) for curve in curves)


def _pairs_about(problem, lines, da, dc, reach):
    """Pairs within reach of each line's present place: (line, offset along, offset across)."""
    tree = cKDTree(np.stack([problem.peak_along, problem.peak_across], axis=1))
    places = np.stack([problem.along[lines] + da[lines], problem.across[lines] + dc[lines]], axis=1)
    near = tree.query_ball_point(places, reach * np.sqrt(2.0))
    sizes = [len(group) for group in near]
    row = np.repeat(np.arange(lines.size), sizes)
    column = np.array([peak for group in near for peak in group], dtype=int)
    offset = np.stack([problem.peak_along[column], problem.peak_across[column]], axis=1) - places[row]
    inside = (np.abs(offset) <= reach).all(axis=1)
    return lines[row[inside]], offset[inside, 0], offset[inside, 1]


def _nearest(problem, lines, da, dc, window, error):
    """Peak of each line: mutual nearest neighbours within the window, and no other line likely; else -1."""
    if problem.spots is None:
        return np.full(lines.size, -1)
    places = np.stack([problem.along[lines] + da, problem.across[lines] + dc], axis=1)
    by_place = cKDTree(places)
    distance, to_peak = problem.spots.query(places, distance_upper_bound=_FIRST_WINDOW)
    index = np.full(lines.size, -1)
    near = np.flatnonzero(distance < window)
    seen = problem.spots.data[to_peak[near]]
    mutual = near[by_place.query(seen, distance_upper_bound=_FIRST_WINDOW)[1] == near]
    if mutual.size:
        seen = problem.spots.data[to_peak[mutual]]
        rivals = by_place.query_ball_point(seen, 3.0 * error[mutual], return_length=True)
        mutual = mutual[rivals <= 1]
    index[mutual] = to_peak[mutual]
    return index


def _terms(t, slit):
    """Surface in (along, slit) and how large each coefficient is expected to be [px]."""
    columns = list(legvander(t, len(_EXPECTED) - 1).T)
    expected = list(_EXPECTED)
    if np.ptp(slit) > 0:
        s = slit / np.abs(slit).max()
        columns += [s, s * t, s * s, s * t * t]
        expected += [3.0, 1.0, 1.0, 0.5]
    return np.stack(columns, axis=1), np.array(expected)


def _robust_surface(terms, expected, matched, value):
    """Surface through the matched offsets, at all lines, and its error there [px].

    Bayesian linear fit: Gaussian priors on the coefficients, heavy-tailed noise by reweighting. Where no line
    supports the surface its error grows, and with it the window in which the next lines are looked for.
    """
    coefficients, covariance, typical = bayesian_surface(terms[matched], value, expected)
    error = np.sqrt(np.maximum(((terms @ covariance) * terms).sum(axis=1), 0.0))
    return terms @ coefficients, np.hypot(error, typical)


def _robust_ridge(design, value):
    """Coefficients by iteratively reweighted least squares with Tukey-like weights and a slight ridge."""
    weights = np.ones(value.size)
    ridge = np.diag(1.0e-6 + 0.02 * np.arange(design.shape[1]))
    coefficients = np.zeros(design.shape[1])
    for _ in range(8):
        weighted = design * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ value)
        residual = np.abs(value - design @ coefficients)
        typical = max(1.4826 * float(np.median(residual)), 0.1)
        weights = 1.0 / (1.0 + (residual / (2.0 * typical)) ** 2) ** 2
    return coefficients


def _consistent(problem, lines, index, da, dc):
    """Without the matches that stand apart from the order's smooth offsets."""
    matched = index >= 0
    if matched.sum() < 4:
        return index
    along = problem.peak_along[index] - problem.along[lines] - da
    across = problem.peak_across[index] - problem.across[lines] - dc
    for offset in (along, across):
        typical = 1.4826 * float(np.median(np.abs(offset[matched])))
        index = np.where(np.abs(offset) > max(6.0 * typical, 0.8), -1, index)
    return index


def _result(problem, peak, along, across, votes):
    dx, dy = (across, along) if problem.dispersion_axis == 0 else (along, across)
    x, y = (problem.across, problem.along) if problem.dispersion_axis == 0 else (problem.along, problem.across)
    found = peak >= 0
    shift_x = float(np.median(dx[found])) if found.any() else float("nan")
    shift_y = float(np.median(dy[found])) if found.any() else float("nan")
    return LineMatches(peak, x + dx, y + dy, shift_x, shift_y, votes)
