"""Which exposure is subtracted from which, and where on the slit the source stands in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.reduction.profiles.slit_sources import (
    SlitSource,
    TargetChoice,
    choose_target,
    mean_of_cells,
    positive_sources,
)

__all__ = [
    "BeamPattern",
    "Shot",
    "SlitSamples",
    "Subtraction",
    "beam_sources",
    "find_pattern",
    "pair_beams",
    "seen_offsets",
    "skies_of",
]

_LEAST_THROW = 1.0  # arcsec: nearer positions are the same beam, jittered
_CENTRED = 1.0  # arcsec: offsets whose middle is farther from zero may be counted from one of the beams
_NEAR_BEAM = 1.0  # arcsec: a source this near to where a beam should be is the beam
_MARGIN = 0.4  # arcsec from the slit's ends
_ASSUMED_FWHM = 1.0  # arcsec
_SHARE_OF_BEAM = 0.3  # of the mean of both beams, that a source has at least in either


@dataclass(frozen=True, slots=True)
class Shot:
    """What pairing needs to know of an exposure.

    Attributes
    ----------
    offset : float [arcsec]
        Along the slit; NaN when unknown.
    time : float [s]
        Mid-exposure.
    """

    offset: float
    time: float


@dataclass(frozen=True, slots=True)
class Subtraction:
    """One exposure minus others.

    Attributes
    ----------
    plus : int
        Index of the exposure whose source is positive.
    minus : tuple of int
        Those that are subtracted; empty when there is nothing to subtract.
    shares : tuple of float
        Of each in what is subtracted; their sum is 1.
    both : bool
        Whether the negative beam is a measurement of the source, too.
    """

    plus: int
    minus: tuple[int, ...]
    shares: tuple[float, ...]
    both: bool = True

    @property
    def indices(self) -> tuple[int, ...]:
        """All exposures that take part."""
        return (self.plus, *self.minus)


@dataclass(frozen=True, slots=True)
class SlitSamples:
    """Light along the slit in a difference: cells of `slit_sources.slit_samples`, all orders stacked.

    Attributes
    ----------
    values, weights : ndarray (n, m)
    plus, minus : float [arcsec]
        Offsets of the positive and of the negative beam; `minus` NaN when the target is in the positive one only.
    """

    values: np.ndarray
    weights: np.ndarray
    plus: float
    minus: float


@dataclass(frozen=True, slots=True)
class BeamPattern:
    """Where the target stands for an offset of zero, and which way offsets run.

    Attributes
    ----------
    choice : TargetChoice
        Positions are those for an offset of zero.
    sign : float
        Slit position per offset, +1 or -1.
    turned : bool
        Whether the target is rather in what was subtracted: nothing positive stands where it should be, but
        something negative does.
    """

    choice: TargetChoice
    sign: float
    turned: bool = False

    @property
    def target(self) -> SlitSource:
        """The target at offset zero."""
        return self.choice.sources[self.choice.index]

    def position(self, offset: float) -> float:
        """Where the target stands at an offset [arcsec]."""
        return self.target.position + self.sign * offset


def pair_beams(shots: Sequence[Shot], *, use_odd: bool = True) -> tuple[list[Subtraction], list[int]]:
    """Pairs of exposures of opposite beams, near in time.

    In order of time each exposure takes the nearest later one that is free and stands at least an arcsecond
    apart; the one of larger offset is the positive beam. Exposures without known offsets alternate.

    Parameters
    ----------
    shots : sequence of Shot
    use_odd : bool
        An exposure that is left over is reduced with the nearest one of another beam, which then serves twice;
        only its own beam is extracted.

    Returns
    -------
    pairs : list of Subtraction
        In order of time.
    left : list of int
        Exposures without a partner.
    """
    order = sorted(range(len(shots)), key=lambda i: (shots[i].time, i))
    known = all(np.isfinite(shot.offset) for shot in shots)
    free, pairs, odd = list(order), [], []
    while free:
        first = free.pop(0)
        partners = [i for i in free if not known or _apart(shots[first], shots[i])]
        if not partners:
            odd.append(first)
            continue
        second = min(partners, key=lambda i: (abs(shots[i].time - shots[first].time), i))
        free.remove(second)
        plus, minus = (first, second) if not known else _by_offset(shots, first, second)
        pairs.append(Subtraction(plus, (minus,), (1.0,)))
    left = []
    for index in odd:
        partners = [i for i in order if i != index and (not known or _apart(shots[index], shots[i]))]
        if partners and use_odd:
            near = min(partners, key=lambda i: (abs(shots[i].time - shots[index].time), i))
            pairs.append(Subtraction(index, (near,), (1.0,), both=False))
        else:
            left.append(index)
    return sorted(pairs, key=lambda pair: (shots[pair.plus].time, pair.plus)), left


def _apart(one: Shot, other: Shot) -> bool:
    return abs(one.offset - other.offset) >= _LEAST_THROW


def _by_offset(shots, first, second):
    return (first, second) if shots[first].offset > shots[second].offset else (second, first)


def skies_of(
    shots: Sequence[Shot], objects: Sequence[int], skies: Sequence[int], *, interpolate: bool
) -> list[Subtraction]:
    """Sky exposures for each exposure of the object: the nearest in time, or the two around it interpolated.

    Parameters
    ----------
    shots : sequence of Shot
        All exposures.
    objects, skies : sequence of int
        Which of them show the object, and the sky; without skies nothing is subtracted.
    """
    return [_with_skies(shots, index, skies, interpolate) for index in objects]


def _with_skies(shots, index, skies, interpolate) -> Subtraction:
    if not skies:
        return Subtraction(index, (), (), both=False)
    now = shots[index].time
    before = [k for k in skies if shots[k].time <= now]
    after = [k for k in skies if shots[k].time > now]
    if interpolate and before and after:
        first, last = max(before, key=lambda k: shots[k].time), min(after, key=lambda k: shots[k].time)
        share = (now - shots[first].time) / (shots[last].time - shots[first].time)
        if 0.01 < share < 0.99:
            return Subtraction(index, (first, last), (1.0 - share, share), both=False)
    nearest = min(skies, key=lambda k: (abs(shots[k].time - now), k))
    return Subtraction(index, (nearest,), (1.0,), both=False)


def seen_offsets(samples: Sequence[SlitSamples], slit_grid: np.ndarray, both: Sequence[bool]) -> list[SlitSamples]:
    """Samples with the offsets that the light itself shows, for headers that do not tell them.

    The strongest source of either sign in each difference is taken for its beam; offsets count from the middle of
    both beams. Where no difference shows both, nothing is changed.

    Parameters
    ----------
    samples : sequence of SlitSamples
    slit_grid : ndarray (m,) [arcsec]
    both : sequence of bool
        Whether the negative beam of a difference is to be extracted, too.
    """
    places = np.array([[_strongest(item, slit_grid, sign) for sign in (1.0, -1.0)] for item in samples])
    middles = places.mean(axis=1)
    middles = middles[np.isfinite(middles) & (np.abs(places[:, 0] - places[:, 1]) >= _LEAST_THROW)]
    if not middles.size:
        return list(samples)
    offsets = places - np.median(middles)
    return [
        replace(item, plus=float(plus), minus=float(minus) if has_both else np.nan)
        for item, (plus, minus), has_both in zip(samples, offsets, both, strict=True)
    ]


def _strongest(item: SlitSamples, grid, sign: float) -> float:
    """Slit position of the strongest source of a sign; NaN without any."""
    sources = positive_sources(sign * item.values, item.weights, grid)
    return max(sources, key=lambda source: source.significance).position if sources else np.nan


def find_pattern(
    samples: Sequence[SlitSamples],
    slit_grid: np.ndarray,
    expected: float,
    *,
    tolerance: float,
    forced: bool = False,
    forced_fwhm: float | None = None,
) -> BeamPattern:
    """The target's place on the slit from all differences shifted by their offsets and added.

    A source appears in each difference with the sign of its beam, so the sum is taken with that sign (double
    subtraction). Whether offsets run with the slit or against it is decided by which way the sum is stronger;
    offsets may count from the middle of the beams or from one of them.

    Parameters
    ----------
    samples : sequence of SlitSamples
    slit_grid : ndarray (m,) [arcsec]
    expected : float [arcsec]
        Where on the slit the target should be for an offset of zero, or at the middle of the beams.
    tolerance : float [arcsec]
    forced : bool
        Take the expected position, whatever is seen.
    forced_fwhm : float or None [arcsec]
    """
    offsets = [offset for item in samples for offset in (item.plus, item.minus) if np.isfinite(offset)]
    middle = 0.5 * (max(offsets) + min(offsets)) if offsets else 0.0
    found = {sign: _found(samples, slit_grid, sign) for sign in (1.0, -1.0)}
    sign = max(found, key=lambda s: (max((source.significance for source in found[s]), default=0.0), s))
    sources = found[sign]
    places = [expected]
    if abs(middle) > _CENTRED:
        places.append(expected - sign * middle)
    reachable = [place for place in places if _on_slit(place, sign, offsets, slit_grid)] or places[-1:]
    if forced:
        fwhm = forced_fwhm or (sources[0].fwhm if sources else _ASSUMED_FWHM)
        only = SlitSource(reachable[0], fwhm, 0.0, 0.0)
        return BeamPattern(
            TargetChoice(0, (only,), f"extracted at {expected:+.2f} arcsec as asked", False, False), sign
        )
    choices = [choose_target(sources, place, tolerance=tolerance) for place in reachable]
    best = max(choices, key=lambda choice: (choice.detected, not choice.doubtful))
    if forced_fwhm is not None:
        chosen = [replace(source, fwhm=forced_fwhm) for source in best.sources]
        best = replace(best, sources=tuple(chosen))
    negative = _found([replace(item, values=-item.values) for item in samples], slit_grid, sign)
    turned = not _stands(sources, reachable, tolerance) and _stands(negative, reachable, tolerance)
    return BeamPattern(best, sign, turned)


def _stands(sources, places, tolerance):
    return any(abs(source.position - place) <= tolerance for source in sources for place in places)


def _on_slit(place, sign, offsets, grid):
    positions = [place + sign * offset for offset in offsets] or [place]
    return min(positions) > grid[0] + _MARGIN and max(positions) < grid[-1] - _MARGIN


def _found(samples, grid, sign) -> tuple[SlitSource, ...]:
    """Sources of the differences added up; where beams of both signs are known, those that stand in both."""
    values, weights = zip(*(_folded(item, grid, sign) for item in samples), strict=True)
    values, weights = np.concatenate(values), np.concatenate(weights)
    known = np.flatnonzero(weights.sum(axis=0) > 0)
    if known.size == 0:
        return ()
    low, high = grid[known[0]] + _MARGIN, grid[known[-1]] - _MARGIN
    weaker = _weaker_beam(samples, grid, sign)
    return tuple(
        source
        for source in positive_sources(values, weights, grid)
        if low < source.position < high and _in_both(source, grid, values, weights, weaker)
    )


def _weaker_beam(samples, grid, sign):
    """Light at positions of offset zero in the beam that has less of it; infinite where there is one beam only."""
    beams = []
    for name, turn in (("plus", 1.0), ("minus", -1.0)):
        parts = [
            _shifted(item, grid, sign * getattr(item, name))
            for item in samples
            if np.isfinite(item.plus) and np.isfinite(item.minus)
        ]
        if parts:
            value, weight = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            beams.append(turn * mean_of_cells(value, weight))
    return np.minimum(*beams) if beams else np.full(grid.size, np.inf)


def _in_both(source: SlitSource, grid, values, weights, weaker) -> bool:
    near = np.abs(grid - source.position) < max(0.5 * min(source.fwhm, 2.0), 0.2)
    return bool(weaker[near].mean() > _SHARE_OF_BEAM * mean_of_cells(values, weights)[near].mean())


def _folded(item: SlitSamples, grid, sign):
    """Cells of a difference on positions at offset zero, the negative beam turned over and added."""
    first, first_weight = _shifted(item, grid, sign * item.plus if np.isfinite(item.plus) else 0.0)
    if not np.isfinite(item.minus):
        return first, first_weight
    second, second_weight = _shifted(item, grid, sign * item.minus)
    both = (first_weight > 0) & (second_weight > 0)
    weight = np.where(both, first_weight + second_weight, 0.0)
    value = (first * first_weight - second * second_weight) / np.where(both, weight, 1.0)
    return np.where(both, value, 0.0), weight


def _shifted(item: SlitSamples, grid, shift):
    """Cells at slit positions `grid + shift`, interpolated."""
    place = np.arange(grid.size) + shift / (grid[1] - grid[0])
    low = np.floor(place).astype(np.int64)
    part = place - low
    inside = (low >= 0) & (low + 1 < grid.size)
    left, right = np.clip(low, 0, grid.size - 1), np.clip(low + 1, 0, grid.size - 1)
    value = (1.0 - part) * item.values[:, left] + part * item.values[:, right]
    weight = np.minimum(item.weights[:, left], item.weights[:, right])
    return value, np.where(inside, weight, 0.0)


def beam_sources(
    samples: SlitSamples,
    slit_grid: np.ndarray,
    pattern: BeamPattern,
    *,
    maximum_sources: int,
    keep_place: bool,
    keep_width: bool,
) -> tuple[TargetChoice, list[float]]:
    """Sources of one difference: the target's beams first, then others of either sign.

    Parameters
    ----------
    keep_place, keep_width : bool
        Take the pattern's positions, or its width, exactly.

    Returns
    -------
    choice : TargetChoice
        `beams` of the first sources are the target.
    signs : list of float
        +1 or -1, of each source.
    """
    seen = {sign: positive_sources(sign * samples.values, samples.weights, slit_grid) for sign in (1.0, -1.0)}
    wanted = [(1.0, samples.plus if np.isfinite(samples.plus) else 0.0)]
    if np.isfinite(samples.minus):
        wanted.append((-1.0, samples.minus))
    beams = []
    for sign, offset in wanted:
        place = pattern.position(offset)
        near = [source for source in seen[sign] if abs(source.position - place) < _NEAR_BEAM]
        source = replace(pattern.target, position=place)
        if near and not keep_place:
            own = min(near, key=lambda item: abs(item.position - place))
            source = replace(
                own, fwhm=pattern.target.fwhm if keep_width else min(own.fwhm, 2.0 * pattern.target.fwhm)
            )
        beams.append((sign, source))
    others = [
        (sign, source)
        for sign, sources in seen.items()
        for source in sources
        if all(abs(source.position - beam.position) > 0.7 * max(source.fwhm, beam.fwhm) for _, beam in beams)
        and slit_grid[0] + _MARGIN < source.position < slit_grid[-1] - _MARGIN
    ]
    others = sorted(others, key=lambda pair: -pair[1].brightness)[:maximum_sources]
    chosen = [*beams, *others]
    choice = replace(pattern.choice, index=0, sources=tuple(source for _, source in chosen), beams=len(beams))
    return choice, [sign for sign, _ in chosen]
