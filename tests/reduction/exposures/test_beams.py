"""Which exposure is subtracted from which, and where the target stands in all of them."""

import numpy as np
import pytest

from soxs_recipes.reduction.exposures.beams import (
    BeamPattern,
    Shot,
    SlitSamples,
    beam_sources,
    find_pattern,
    pair_beams,
    seen_offsets,
    skies_of,
)
from soxs_recipes.reduction.profiles import slit_sources
from soxs_recipes.reduction.profiles.slit_sources import SlitSource, TargetChoice, find_sources

GRID = 0.15 * np.arange(-43, 44)


def shots(offsets, times=None):
    times = [700.0 * i for i in range(len(offsets))] if times is None else times
    return [Shot(offset, time) for offset, time in zip(offsets, times, strict=True)]


@pytest.mark.parametrize(
    ("offsets", "wanted"),
    [
        ((2.5, -2.5), [(0, 1)]),
        ((2.5, -2.5, -2.5, 2.5), [(0, 1), (3, 2)]),
        ((2.5, -2.5, 2.5, -2.5), [(0, 1), (2, 3)]),
        ((2.1, 2.9, -2.8, -2.2), [(0, 2), (1, 3)]),
        ((2.4, -2.6, -2.2, 2.7, 2.2, -2.9), [(0, 1), (3, 2), (4, 5)]),
        ((0.0, -5.0, -4.8, 0.3), [(0, 1), (3, 2)]),
        ((-4.0, 0.0, 4.0, -4.0), [(1, 0), (2, 3)]),
    ],
)
def test_pairs_follow_time_and_offset(offsets, wanted):
    pairs, left = pair_beams(shots(offsets))
    assert sorted((pair.plus, pair.minus[0]) for pair in pairs) == sorted(wanted)
    assert all(pair.both and pair.shares == (1.0,) for pair in pairs)
    assert not left


def test_one_that_is_left_over_goes_with_the_nearest_of_another_beam():
    pairs, left = pair_beams(shots((2.5, -2.5, 2.4)))
    assert [(pair.plus, pair.minus, pair.both) for pair in pairs] == [(0, (1,), True), (2, (1,), False)]
    assert not left
    pairs, left = pair_beams(shots((2.5, -2.5, 2.4)), use_odd=False)
    assert len(pairs) == 1
    assert left == [2]


def test_one_beam_alone_has_no_pair():
    pairs, left = pair_beams(shots((2.5, 2.9, 2.2)))
    assert not pairs
    assert left == [0, 1, 2]


def test_without_offsets_exposures_alternate():
    pairs, _ = pair_beams(shots((np.nan,) * 4))
    assert [(pair.plus, pair.minus[0]) for pair in pairs] == [(0, 1), (2, 3)]


def test_order_of_the_list_does_not_matter():
    offsets, times = np.array([2.4, -2.6, -2.2, 2.7, 2.0]), np.arange(5) * 640.0
    plain, _ = pair_beams(shots(offsets, times))
    turned, _ = pair_beams(shots(offsets[::-1], times[::-1]))
    named = [(offsets[pair.plus], offsets[pair.minus[0]]) for pair in plain]
    assert named == [(offsets[::-1][pair.plus], offsets[::-1][pair.minus[0]]) for pair in turned]


def test_sky_is_the_nearest_or_interpolated():
    exposures = shots((0, 0, 0, 0), (0.0, 100.0, 300.0, 500.0))
    (one,) = skies_of(exposures, [1], [0, 2], interpolate=False)
    assert (one.minus, one.both) == ((0,), False)
    (one,) = skies_of(exposures, [1], [0, 2], interpolate=True)
    assert one.minus == (0, 2)
    assert one.shares == pytest.approx((2 / 3, 1 / 3))
    (last,) = skies_of(exposures, [3], [0, 2], interpolate=True)
    assert (last.minus, last.shares) == ((2,), (1.0,))
    (alone,) = skies_of(exposures, [3], [], interpolate=True)
    assert (alone.minus, alone.shares) == ((), ())


def cells(positive, negative, offsets, rng, flux=40.0, fwhm=1.0):
    """Cells of a difference: sources of one sign and of the other on noise of width 1."""
    sigma = fwhm / 2.3548
    profile = np.zeros(GRID.size)
    for sign, places in ((1.0, positive), (-1.0, negative)):
        for place in places:
            profile += sign * flux * np.exp(-0.5 * ((GRID - place) / sigma) ** 2)
    values = profile + rng.normal(0, 3.0, (24, GRID.size))
    weights = np.where(np.abs(GRID) < 5.8, 1.0 / 9.0, 0.0) * np.ones((24, 1))
    return SlitSamples(values, weights, *offsets)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("zero", [0.0, 2.5])
def test_the_data_tell_which_way_offsets_run_and_from_where_they_count(sign, zero):
    rng = np.random.default_rng(4)
    samples = []
    for jitter in (0.0, 0.4):
        first, second = 2.5 + jitter, -2.5 + jitter
        # `zero`: offsets are counted from the first beam, which stands where the slit's middle is not.
        samples.append(cells([0.3 + sign * first], [0.3 + sign * second], (first - zero, second - zero), rng))
    pattern = find_pattern(samples, GRID, 0.0, tolerance=2.0)
    assert pattern.sign == sign
    assert pattern.choice.detected
    assert not pattern.choice.doubtful
    assert pattern.position(2.5 - zero) == pytest.approx(0.3 + sign * 2.5, abs=0.08)
    choice, signs = beam_sources(samples[1], GRID, pattern, maximum_sources=3, keep_place=False, keep_width=False)
    assert choice.beams == 2
    assert signs[:2] == [1.0, -1.0]
    places = [source.position for source in choice.sources[:2]]
    assert places == pytest.approx([0.3 + sign * 2.9, 0.3 - sign * 2.1], abs=0.08)


def test_offsets_that_no_header_tells_are_seen():
    rng = np.random.default_rng(9)
    unknown = (np.nan, np.nan)
    samples = [cells([2.9], [-2.1], unknown, rng), cells([-2.0], [2.8], unknown, rng), cells([], [], unknown, rng)]
    seen = seen_offsets(samples, GRID, [True, False, True])
    assert (seen[0].plus, seen[0].minus) == pytest.approx((2.5, -2.5), abs=0.1)
    assert seen[1].plus == pytest.approx(-2.4, abs=0.1)
    assert np.isnan([seen[1].minus, seen[2].plus, seen[2].minus]).all()
    pattern = find_pattern(seen[:1], GRID, 0.0, tolerance=2.0)
    assert pattern.choice.detected
    assert pattern.target.position == pytest.approx(0.4, abs=0.1)
    choice, signs = beam_sources(seen[0], GRID, pattern, maximum_sources=3, keep_place=False, keep_width=False)
    assert (choice.beams, signs[:2]) == (2, [1.0, -1.0])
    assert seen_offsets(samples[2:], GRID, [True])[0] is samples[2]


def test_a_brighter_neighbour_is_not_the_target():
    rng = np.random.default_rng(5)
    sample = cells([2.6, 5.2], [-2.4, 0.2], (2.5, -2.5), rng)
    values = sample.values + 40.0 * np.exp(-0.5 * ((GRID - 5.2) / 0.42) ** 2)
    values -= 40.0 * np.exp(-0.5 * ((GRID - 0.2) / 0.42) ** 2)
    sample = SlitSamples(values, sample.weights, 2.5, -2.5)
    pattern = find_pattern([sample], GRID, 0.0, tolerance=2.5)
    assert pattern.target.position == pytest.approx(0.1, abs=0.1)
    choice, signs = beam_sources(sample, GRID, pattern, maximum_sources=3, keep_place=False, keep_width=False)
    assert sorted(round(source.position, 0) for source in choice.sources[2:]) == [0.0, 5.0]
    assert signs == [1.0, -1.0, *signs[2:]]
    assert sorted(signs[2:]) == [-1.0, 1.0]


def test_what_stands_in_one_beam_alone_is_not_the_target():
    flaw = cells([1.7] * 5, [], (2.5, -2.5), np.random.default_rng(9))
    assert not find_pattern([flaw], GRID, 0.0, tolerance=2.0).choice.detected
    # In both beams, it is.
    both = cells([1.7] * 5, [-3.3] * 5, (2.5, -2.5), np.random.default_rng(9))
    pattern = find_pattern([both], GRID, 0.0, tolerance=2.0)
    assert pattern.choice.detected
    assert pattern.target.position == pytest.approx(-0.8, abs=0.1)


def test_beams_have_a_width_of_their_own_up_to_twice_that_of_all_together():
    rng, together = np.random.default_rng(3), SlitSource(0.0, 0.7, 40.0, 9.0)
    pattern = BeamPattern(TargetChoice(0, (together,), "", True, False), 1.0)
    arguments = {"maximum_sources": 3, "keep_place": False}
    for fwhm, expected in ((1.0, 1.0), (2.0, 1.4)):
        sample = cells([2.5], [-2.5], (2.5, -2.5), rng, fwhm=fwhm)
        choice, _ = beam_sources(sample, GRID, pattern, keep_width=False, **arguments)
        assert [source.fwhm for source in choice.sources[:2]] == pytest.approx([expected] * 2, abs=0.15)
        held, _ = beam_sources(sample, GRID, pattern, keep_width=True, **arguments)
        assert [source.fwhm for source in held.sources[:2]] == [0.7, 0.7]


def test_a_place_that_would_throw_a_beam_off_the_slit_is_not_taken():
    # Offsets count from the first beam: at the expected place for that, the second one would lie off the slit.
    sample = cells([], [], (0.0, -8.0), np.random.default_rng(7))
    pattern = find_pattern([sample], GRID, 0.0, tolerance=2.0, forced=True)
    assert [pattern.position(offset) for offset in (0.0, -8.0)] == pytest.approx([4.0, -4.0])


def test_faint_beams_are_found_by_all_differences_together():
    rng = np.random.default_rng(6)
    samples = [cells([2.8], [-2.2], (2.5, -2.5), rng, flux=0.9) for _ in range(12)]
    alone = [find_pattern([sample], GRID, 0.0, tolerance=2.0).choice.detected for sample in samples]
    pattern = find_pattern(samples, GRID, 0.0, tolerance=2.0)
    assert np.mean(alone) < 0.5
    assert pattern.choice.detected
    assert pattern.target.position == pytest.approx(0.3, abs=0.2)


def test_nothing_seen_is_said():
    rng = np.random.default_rng(7)
    pattern = find_pattern([cells([], [], (2.5, -2.5), rng)], GRID, 0.4, tolerance=2.0)
    assert not pattern.choice.detected
    assert pattern.choice.doubtful
    assert pattern.position(2.5) == pytest.approx(2.9)


def test_a_target_in_what_was_subtracted_is_noticed():
    rng = np.random.default_rng(8)
    assert find_pattern([cells([], [0.3], (0.0, np.nan), rng)], GRID, 0.0, tolerance=2.0).turned
    assert not find_pattern([cells([0.3], [], (0.0, np.nan), rng)], GRID, 0.0, tolerance=2.0).turned


def _star_in_one_beam(rng):
    """Cells of a bright star minus a sky that its wings have lifted, uneven by a few per cent."""
    star = 1000.0 * np.exp(-2.77 * ((GRID + 0.7) / 1.2) ** 2)
    left = -8.0 * (1.0 + 0.04 * np.sin(3.1 * GRID) - 0.02 * np.abs(GRID))
    values = (star + left)[None, :] + rng.normal(0.0, 0.1, (24, GRID.size))
    return SlitSamples(values, np.full(values.shape, 100.0), 0.0, np.nan)


def test_a_star_lifts_no_companions_out_of_what_is_subtracted(monkeypatch):
    sample = _star_in_one_beam(np.random.default_rng(3))
    pattern = find_pattern([sample], GRID, -0.5, tolerance=2.0)
    arguments = {"maximum_sources": 3, "keep_place": False, "keep_width": False}
    choice, signs = beam_sources(sample, GRID, pattern, **arguments)
    assert signs == [1.0]
    assert choice.sources[0].position == pytest.approx(-0.7, abs=0.05)

    def zero_where_hidden(values, weights, grid, *, hidden, pairs):
        return find_sources(np.where(hidden, 0.0, values), weights, grid, pairs=pairs)

    monkeypatch.setattr(slit_sources, "find_sources", zero_where_hidden)
    assert len(beam_sources(sample, GRID, pattern, **arguments)[1]) > 1


def test_a_companion_of_the_other_sign_is_still_seen():
    rng = np.random.default_rng(4)
    sample = _star_in_one_beam(rng)
    values = sample.values - 30.0 * np.exp(-2.77 * ((GRID - 3.5) / 1.2) ** 2)
    pattern = find_pattern([sample], GRID, -0.5, tolerance=2.0)
    both = SlitSamples(values, sample.weights, 0.0, np.nan)
    choice, signs = beam_sources(both, GRID, pattern, maximum_sources=3, keep_place=False, keep_width=False)
    assert signs == [1.0, -1.0]
    assert choice.sources[1].position == pytest.approx(3.5, abs=0.1)
