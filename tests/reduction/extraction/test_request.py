"""What a person asks for, against truth: places, blends, a galaxy beneath, stretches of sky, given shapes."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.request import ExtractionRequest, ExtractionSettings
from soxs_recipes.reduction.profiles.flux_errors import error_of_mean

FWHM = 0.84  # arcsec, of the scenes


def extract(scene, request=None, **settings):
    return extract_exposure(
        scene.frame,
        scene.maps,
        0,
        bands={},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(request=request or ExtractionRequest(), **settings),
    )


def judged(scene, orders, factor=1.0):
    """Pulls, and the weighted ratio to truth with its error; the truth is the scene's times `factor`."""
    pulls, product, square = [], 0.0, 0.0
    for item in orders:
        spectrum, truth = item.spectrum, factor * scene.truth(item.spectrum)
        known = np.isfinite(spectrum.variance)
        known[:10] = known[-10:] = False
        flux, variance, truth = spectrum.flux[known], spectrum.variance[known], truth[known]
        pulls.append((flux - truth) / np.sqrt(variance))
        product += float((flux * truth / variance).sum())
        square += float((truth**2 / variance).sum())
    return np.concatenate(pulls), product / square, square**-0.5


@pytest.fixture(scope="module")
def pair(scene_of):
    """Two point sources 1.5 FWHM apart, the second half as bright."""
    return scene_of(seed=1, drift=0.0, position=-0.63, others=((0.63, 0.5, 1.0),))


def test_a_faint_source_is_measured_where_it_is_said_to_be(scene_of, width_of):
    pulls, ratios, errors = [], [], []
    for seed in (1, 2, 3):
        scene = scene_of(seed=seed, flux_level=25.0, emission=False, drift=0.0, position=-1.2)
        result = extract(scene, ExtractionRequest(gaussian=True), forced_position=-1.2, forced_fwhm=FWHM)
        assert all(np.allclose(item.spectrum.trace, -1.2) for item in result.orders)
        values, ratio, error = judged(scene, result.orders)
        pulls.append(values)
        ratios.append(ratio)
        errors.append(error)
    pulls = np.concatenate(pulls)
    assert pulls.size > 3000
    assert max(errors) < 0.03
    assert np.mean(ratios) == pytest.approx(1.0, abs=3.0 * errors[0] / np.sqrt(3))
    assert abs(np.median(pulls)) < 0.07
    assert width_of(pulls) == pytest.approx(1.0, abs=0.07)
    # At a place half a FWHM aside the same check fails.
    aside = extract(scene, ExtractionRequest(gaussian=True), forced_position=-1.2 + 0.5 * FWHM, forced_fwhm=FWHM)
    assert judged(scene, aside.orders)[1] < 0.8


@pytest.mark.parametrize(
    ("wish", "position"),
    [
        (ExtractionRequest(further_positions=(0.63,)), -0.63),
        (ExtractionRequest(further_positions=(0.7,), may_move=True), -0.6),
        (ExtractionRequest(further_positions=(0.63,), gaussian=True), -0.63),
    ],
)
def test_two_sources_at_one_and_a_half_fwhm_come_apart(pair, width_of, wish, position):
    result = extract(pair, wish, forced_position=position)
    assert len(result.choice.sources) == 2
    assert result.choice.beams == 2
    for orders, factor in ((result.orders, 1.0), (result.others[0], 0.5)):
        pulls, ratio, error = judged(pair, orders, factor)
        assert pulls.size > 1000
        assert ratio == pytest.approx(1.0, abs=0.005 + 3.0 * error)
        assert width_of(pulls) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("wings", [{}, {"beta": 3.0, "optics": 0.8, "flux_level": 3000.0}])
def test_two_stars_are_told_apart_without_being_asked(scene_of, width_of, wings):
    """One has half the light of the other; they share one shape."""
    scene = scene_of(seed=1, drift=0.0, position=-0.63, others=((0.63, 0.5, 1.0),), **wings)
    result = extract(scene, expected_position=-0.6)
    assert len(result.choice.sources) == 2
    assert result.choice.beams == 1
    assert result.choice.sources[0].position == pytest.approx(-0.63, abs=0.1)
    for orders, factor in ((result.orders, 1.0), (result.others[0], 0.5)):
        pulls, ratio, error = judged(scene, orders, factor)
        assert pulls.size > 1000
        own = error_of_mean(orders)
        assert ratio == pytest.approx(1.0, abs=0.002 + 3.0 * np.hypot(error, own))
        assert width_of(pulls) == pytest.approx(1.0, abs=0.1)


def test_a_pair_taken_for_one_source_is_not_right(pair):
    result = extract(pair, forced_position=-0.63, maximum_sources=0)
    assert abs(judged(pair, result.orders)[1] - 1.0) > 0.1


@pytest.mark.parametrize(
    ("wish", "bound"),
    [(ExtractionRequest(), 0.015), (ExtractionRequest(host_degree=3, host_window=2.0), 0.03)],
    ids=["source", "polynomial"],
)
def test_a_supernova_on_its_galaxy_at_a_given_place(scene_of, width_of, wish, bound):
    # Three times as bright, 3.4 arcsec wide and 0.85 arcsec aside; profiles with wings and a blurred core.
    scene = scene_of(seed=1, drift=0.0, fwhm=2.4, beta=4.0, optics=0.8, others=((1.2, 3.0, 4.0),))
    result = extract(scene, wish, forced_position=0.35)
    assert len(result.choice.sources) == (2 if wish.host_degree < 0 else 1)
    pulls, ratio, _ = judged(scene, result.orders)
    assert ratio == pytest.approx(1.0, abs=bound)
    assert abs(np.median(pulls)) < 0.2
    assert width_of(pulls) == pytest.approx(1.0, abs=0.12)


def test_sky_from_stretches_of_the_slit(scene_of, width_of):
    scene = scene_of(seed=7, others=((3.0, 5.0, 1.0),))
    request = ExtractionRequest(background=((-5.0, -2.0),))
    result = extract(scene, request, maximum_sources=0)
    pulls, ratio, error = judged(scene, result.orders)
    assert ratio == pytest.approx(1.0, abs=0.005 + 3.0 * error)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    # The neighbour took no part, though it was not modelled.
    for fit in result.fits:
        assert not (fit.usable & (np.abs(fit.pixels.slit - 3.0) < 0.8)).any()
        assert fit.usable.sum() > 5000
    spoilt = extract(scene, ExtractionRequest(background=((2.0, 4.0),)), maximum_sources=0)
    assert judged(scene, spoilt.orders)[1] < 0.9


def test_stretches_without_pixels_are_refused(scene_of):
    with pytest.raises(UnprocessableData, match="stretches"):
        extract(scene_of(seed=7), ExtractionRequest(background=((7.0, 8.0),)))


def test_the_profile_of_another_exposure_serves(scene_of):
    bright = scene_of(seed=4, flux_level=3e4, beta=2.8, position=1.0)
    (shape,) = extract(bright).profiles
    assert set(shape) == {1, 2}
    faint = scene_of(seed=5, flux_level=100.0, beta=2.8, position=-0.5)
    given = extract(faint, ExtractionRequest(profiles=shape), forced_position=-0.5)
    _, ratio, error = judged(faint, given.orders)
    assert error < 0.01
    assert ratio == pytest.approx(1.0, abs=0.01 + 2.0 * error)
    # The trace came along: these traces are not straight.
    trace = given.orders[0].spectrum.trace
    assert trace[-30] - trace[30] == pytest.approx(0.9 * 0.25, abs=0.06)
    wider = extract(faint, ExtractionRequest(profiles=shape), forced_position=-0.5, forced_fwhm=2.0 * FWHM)
    assert wider.orders[0].seeing == pytest.approx(2.0 * FWHM, rel=0.05)


def test_the_other_beam_of_a_difference_is_fitted_too(scene_of, width_of):
    here = scene_of(seed=1, length=800, position=2.0, flux_level=1000.0)
    there = scene_of(seed=2, length=800, position=-2.0, flux_level=2000.0)
    counted = 2.0 * here.base_variance + here.sky + there.mean
    lined = there.frame.data - there.sky + here.sky  # one night's airglow in both
    scene = replace(
        here,
        frame=here.frame.with_arrays(data=(here.frame.data - lined).astype(np.float32)),
        base_variance=counted.astype(np.float32),
    )
    pulls, ratio, error = judged(
        scene, extract(scene, ExtractionRequest(negative_beams=True), expected_position=2.0).orders
    )
    assert ratio == pytest.approx(1.0, abs=0.005 + 3.0 * error)
    assert abs(np.median(pulls)) < 0.15
    assert width_of(pulls) == pytest.approx(1.0, abs=0.12)
    spoilt = judged(scene, extract(scene, expected_position=2.0).orders)
    assert abs(np.median(spoilt[0])) > 2.0 * abs(np.median(pulls)) + 0.05


def test_wishes_are_checked():
    with pytest.raises(ValueError, match="host_degree"):
        ExtractionRequest(host_degree=20)
    settings = ExtractionSettings(forced_position=1.0)
    assert settings.holds_position
    assert not replace(settings, request=ExtractionRequest(may_move=True)).holds_position


@pytest.mark.parametrize("places", [(0.7, -4.0), (-4.0, 0.7)])
def test_a_place_where_nothing_is_seen_has_no_say_in_the_shape_of_a_star(scene_of, places):
    scene = scene_of(seed=1, drift=0.0, position=0.7, flux_level=3000.0, beta=3.0, fwhm=4.0, optics=0.8)
    alone = extract(scene, forced_position=0.7)
    result = extract(scene, ExtractionRequest(further_positions=places[1:]), forced_position=places[0])
    star, empty = (0, 1) if places[0] > 0 else (1, 0)
    assert [source.significance > 0 for source in result.choice.sources] == [star == 0, star == 1]
    assert sorted(result.traces) == (sorted(alone.traces) if star == 0 else [])
    spectra = [result.orders, result.others[0]]
    _, ratio, error = judged(scene, spectra[star])
    assert ratio == pytest.approx(1.0, abs=0.001 + 3.0 * error)
    for fit, other in zip(result.fits, alone.fits, strict=True):
        assert len(fit.profiles) == fit.solution.flux.shape[0] == 2
        # Whether its sky is told by a flux more or less moves a shape a little.
        assert fit.profiles[star].tail == pytest.approx(other.profiles[0].tail, abs=0.002)
        assert fit.profiles[empty].tail == fit.profiles[star].tail
        assert np.all(fit.profiles[empty].log_width == fit.profiles[star].log_width)
        assert fit.profiles[empty].centre[0] == -4.0
        assert fit.profile_errors[star] @ fit.profile_errors[star] > 0
        assert np.all(fit.profile_errors[empty] == fit.profile_errors[star])
    pulls = np.concatenate([item.spectrum.flux / np.sqrt(item.spectrum.variance) for item in spectra[empty]])
    pulls = pulls[np.isfinite(pulls)]
    assert pulls.size > 1000
    assert abs(np.mean(pulls)) < 4.0 / np.sqrt(pulls.size)


def test_an_empty_place_takes_the_shape_of_the_brightest_star(scene_of):
    # The fainter one is half as wide again.
    scene = scene_of(seed=2, drift=0.0, position=3.0, flux_level=3000.0, others=((0.0, 0.3, 1.5),))
    result = extract(scene, ExtractionRequest(further_positions=(0.0, 3.0)), forced_position=-4.0)
    assert [source.significance > 0 for source in result.choice.sources] == [False, True, True]
    for fit in result.fits:
        empty, faint, bright = fit.profiles
        assert np.all(empty.log_width == bright.log_width)
        assert np.median(faint.fwhm_in_bins() / bright.fwhm_in_bins()) == pytest.approx(1.5, rel=0.15)
