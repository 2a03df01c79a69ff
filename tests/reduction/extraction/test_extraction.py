"""Extraction against truth: flux, errors, signal-to-noise at the bound, sky residuals, traces, masks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import maximum_filter1d

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.extraction import extraction, order_fit, order_preview, source_fit, target_search
from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.request import ExtractionSettings

CASES = {
    "plain": {},
    "faint": {"flux_level": 60.0},
    "bright": {"flux_level": 1e5, "emission": False},
    "bright with wings": {"flux_level": 3e4, "beta": 2.8},
    "undersampled": {"fwhm": 1.8, "lsf_sigma": 0.62, "flux_level": 1000.0},
    "hardly tilted": {"tilts": (0.02, -0.24), "flux_level": 1000.0},
    "along x": {"dispersion_axis": 1, "seed": 5},
    "maps off": {"map_tilt_error": 0.1, "illumination": 0.02},
    "pixels differ": {"response": 0.02, "flux_level": 3000.0},
}


def extract(scene, frame=None, **settings):
    return extract_exposure(
        frame or scene.frame,
        scene.maps,
        scene.recipe.dispersion_axis,
        bands={1: "a", 2: "b"},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(**settings),
    )


def inner_bins(spectrum):
    known = (spectrum.quality & np.int32(QualityFlag.NO_DATA)) == 0
    known[:10] = known[-10:] = False
    return known


def pulls_of(scene, result):
    pulls, ratios = [], []
    for item in result.orders:
        spectrum, truth = item.spectrum, scene.truth(item.spectrum)
        kept = inner_bins(spectrum) & (truth > 0)
        pulls.append(((spectrum.flux - truth) / np.sqrt(spectrum.variance))[kept])
        ratios.append((spectrum.flux / np.maximum(truth, 1e-9))[kept])
    return np.concatenate(pulls), np.concatenate(ratios)


@pytest.fixture(scope="module")
def extracted(scene_of):
    made = {}

    def get(name):
        if name not in made:
            scene = scene_of(**CASES[name])
            made[name] = scene, extract(scene)
        return made[name]

    return get


@pytest.mark.parametrize("name", CASES)
def test_flux_and_errors_are_true(extracted, width_of, name):
    scene, result = extracted(name)
    pulls, ratios = pulls_of(scene, result)
    assert pulls.size > 1000
    # 1100 bins: the width's own error is 0.04, the median's 0.04.
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.median(pulls)) < 0.15
    scatter = 1.25 * np.std(np.clip(ratios, 0, 2)) / np.sqrt(ratios.size)
    assert abs(np.median(ratios) - 1.0) < 0.005 + 3.0 * scatter


def _faint_pulls(scene):
    """Of an order's summed flux, both orders."""
    result = extract(scene, find_cosmic_rays=False)
    assert result.choice.detected
    pulls = []
    for item in result.orders:
        kept = inner_bins(item.spectrum)
        difference = (item.spectrum.flux - scene.truth(item.spectrum))[kept].sum()
        pulls.append(difference / np.sqrt(item.spectrum.variance[kept].sum()))
    return np.abs(pulls)


def test_more_rounds_would_not_move_the_fluxes(scene_of, monkeypatch):
    """Of two stars with wings; where shape, bend and neighbour take up the same residuals the rounds swing."""
    two = {"beta": 3.0, "optics": 0.8, "fwhm": 3.5, "flux_level": 5000.0, "others": ((-3.0, 0.6, 1.0),)}
    scene = scene_of(**two)
    usual = extract(scene)
    monkeypatch.setattr(source_fit, "_ROUNDS", 12)
    settled = extract(scene)
    assert len(usual.others) == 1
    for one, other in zip((*usual.orders, *usual.others[0]), (*settled.orders, *settled.others[0]), strict=True):
        kept = inner_bins(one.spectrum)
        moved = ((one.spectrum.flux - other.spectrum.flux) / np.sqrt(other.spectrum.variance))[kept]
        assert moved.size > 500
        assert np.abs(moved).max() < 0.08
        assert abs(np.median(moved)) < 0.02


def _summed_flux(result):
    return np.array([item.spectrum.flux[inner_bins(item.spectrum)].sum() for item in result.orders])


def test_rounds_go_on_until_the_profile_has_settled(scene_of, monkeypatch):
    """As after a track over the target that the first rounds had to find out."""
    scene = scene_of(beta=3.0, fwhm=3.5, flux_level=500.0, seed=31)
    settled = extract(scene)
    error = np.sqrt([item.spectrum.variance[inner_bins(item.spectrum)].sum() for item in settled.orders])
    update, bent = source_fit.update_profiles, []

    def misled(profiles, equations, **changes):
        step = update(profiles, equations, **changes)
        if equations[0].bend is None or bent:
            return step
        bent.append(True)
        wrong = [profile.moved(log_width=0.25) for profile in step.profiles]
        return step._replace(profiles=[replace(profile, tail=0.02) for profile in wrong])

    def distance(most):
        bent.clear()
        with monkeypatch.context() as patch:
            patch.setattr(source_fit, "update_profiles", misled)
            patch.setattr(source_fit, "_MOST_ROUNDS", most)
            result = extract(scene)
        assert bent
        return np.abs((_summed_flux(result) - _summed_flux(settled)) / error).max()

    assert distance(source_fit._MOST_ROUNDS) < 0.2
    assert distance(source_fit._ROUNDS) > 0.5


def test_noise_does_not_widen_a_faint_source(scene_of, monkeypatch):
    scene = scene_of(seed=13, flux_level=25.0, emission=False, fwhm=7.0, line_count=8, line_peak=2000.0)
    assert _faint_pulls(scene).max() < 3.0
    for module in (order_fit, order_preview):
        monkeypatch.setattr(module, "shrunk_flux", lambda flux, information: flux)
    assert _faint_pulls(scene).max() > 4.0


def test_the_check_of_errors_can_fail(extracted, width_of):
    scene, result = extracted("plain")
    pulls, _ = pulls_of(scene, result)
    assert width_of(1.2 * pulls) != pytest.approx(1.0, abs=0.1)
    other = replace(scene.recipe, flux_level=scene.recipe.flux_level * 1.03)
    for order in scene.orders.values():
        order.recipe = other
    wrong, _ = pulls_of(scene, result)
    for order in scene.orders.values():
        order.recipe = scene.recipe
    assert abs(np.median(wrong)) > 0.15


@pytest.mark.parametrize("name", ["plain", "faint", "undersampled", "along x"])
def test_sky_residuals_are_noise(extracted, name):
    _, result = extracted(name)
    assert len(result.orders) == 2
    for item in result.orders:
        assert 0.85 < item.sky_residual_off < 1.05
        assert 0.8 < item.sky_residual_on < 1.3


def test_a_sky_model_without_refinement_leaves_lines(scene_of):
    scene = scene_of(**CASES["maps off"])
    result = extract(scene, refine_sky=False)
    assert max(item.sky_residual_on for item in result.orders) > 1.3


def _bound(scene, fit, line_profile):
    """Variance per bin of the best unbiased estimate with a free sky and a free flux in every bin: dense algebra.

    An independent calculation: true means, true profile, each pixel in the bin that its centre falls into.
    """
    recipe, grid = scene.recipe, fit.pixels.grid
    order = scene.orders[grid.order]
    variance = fit.pixels.take(scene.mean) + recipe.read_noise**2 + 1.0 / 12.0
    row = order.row_of(np.interp(fit.pixels.position, np.arange(grid.size), grid.wavelength))
    offset = (fit.pixels.slit - order.trace(row)) / 0.28
    shape = np.mean([line_profile(offset + e, recipe.fwhm) for e in (np.arange(9) - 4) / 9.0], axis=0)
    bins = np.rint(fit.pixels.position).astype(int)
    bound = np.full(grid.size, np.nan)
    for i in range(10, grid.size - 10):
        chosen = bins == i
        design = np.stack([shape[chosen], np.ones(chosen.sum())], axis=1)
        fisher = design.T @ (design / variance[chosen, None])
        bound[i] = np.linalg.inv(fisher)[0, 0]
    return bound


@pytest.mark.parametrize("name", ["plain", "faint", "undersampled", "hardly tilted"])
def test_signal_to_noise_reaches_the_joint_bound(extracted, line_profile, name):
    scene, result = extracted(name)
    for item, fit in zip(result.orders, result.fits, strict=True):
        bound = _bound(scene, fit, line_profile)
        ratio = np.sqrt(bound / item.spectrum.variance)[10:-10]
        lit = (fit.binned_sky > 5 * np.percentile(fit.binned_sky, 30))[10:-10]
        assert lit.sum() > 20
        assert np.median(ratio[lit]) > 0.95
        assert np.median(ratio[~lit]) > 0.95


def test_the_stated_covariance_is_the_scatter_of_repeats(scene_of):
    scene = scene_of(seed=9, length=300, noise=False, flux_level=500.0)
    rng, fluxes, result = np.random.default_rng(8), [], None
    for _ in range(20):
        data = rng.poisson(scene.mean) + rng.normal(0, 5.0, scene.mean.shape)
        result = extract(scene, scene.frame.with_arrays(data=data.astype(np.float32)), find_cosmic_rays=False)
        fluxes.append(result.orders[0].spectrum.flux)
    fluxes, spectrum = np.array(fluxes)[:, 15:-15], result.orders[0].spectrum
    scatter = fluxes.var(axis=0, ddof=1) / spectrum.variance[15:-15]
    assert scatter.mean() == pytest.approx(1.0, abs=0.06)
    deviation = (fluxes - fluxes.mean(axis=0)) / np.sqrt(spectrum.variance[15:-15])
    measured = (deviation[:, 1:] * deviation[:, :-1]).mean(axis=0) * 20 / 19
    stated = spectrum.correlation[0, 15:-16]
    sky = result.fits[0].binned_sky[15:-16]
    lit = sky > 5 * np.percentile(sky, 30)
    assert lit.sum() > 60
    # 20 draws of 87 and 180 bins: 0.024 and 0.017.
    assert measured[lit].mean() == pytest.approx(stated[lit].mean(), abs=0.06)
    assert measured[~lit].mean() == pytest.approx(stated[~lit].mean(), abs=0.04)
    # One number for the order would not do.
    assert measured[lit].mean() != pytest.approx(np.median(stated), abs=0.06)


def test_boxcar_agrees_with_optimal_where_its_aperture_holds_the_light(extracted):
    _, result = extracted("bright")
    for item in result.orders:
        kept = inner_bins(item.spectrum)
        ratio = np.median((item.spectrum.boxcar_flux / item.spectrum.flux)[kept])
        assert ratio == pytest.approx(0.997, abs=0.004)  # of a Gaussian within +-1.25 FWHM
        assert np.all(item.spectrum.boxcar_variance[kept] > 0.98 * item.spectrum.variance[kept].min())


def test_cosmic_rays_leave_no_mark(scene_of, width_of):
    scene = scene_of(seed=3)
    rng = np.random.default_rng(2)
    data = scene.frame.data.copy()
    truth = np.zeros(data.shape, bool)
    for y, x in rng.integers([3, 3], np.array(data.shape) - 3, (250, 2)):
        data[y, x] += rng.uniform(200, 5000)
        truth[y, x] = True
    result = extract(scene, scene.frame.with_arrays(data=data))
    pulls, _ = pulls_of(scene, result)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.median(pulls)) < 0.15
    assert np.abs(pulls).max() < 6.5
    flagged = (result.quality & np.int32(QualityFlag.COSMIC_RAY | QualityFlag.OUTLIER)) != 0
    inside = truth & (result.variance != scene.frame.variance)
    assert (flagged & inside).sum() / inside.sum() > 0.95
    clean = extract(scene)
    false = (clean.quality & np.int32(QualityFlag.COSMIC_RAY)) != 0
    assert false.sum() <= 2


def test_tracks_along_the_slit_leave_no_mark(scene_of, monkeypatch):
    scene = scene_of(seed=3, emission=False, flux_level=400.0)
    data = scene.frame.data.copy()
    centre = round(float(scene.table[1].centre[0]))
    rows = np.arange(40, 560, 40)
    data[rows, centre - 5 : centre + 6] += 900.0

    def worst():
        """Off bright sky lines, whose steepness hides a track."""
        result = extract(scene, scene.frame.with_arrays(data=data))
        item, sky = result.orders[0], result.fits[0].binned_sky
        dark = maximum_filter1d(sky, 7) < 5000.0
        assert dark[rows].sum() == 10
        kept = inner_bins(item.spectrum) & dark
        pulls = (item.spectrum.flux - scene.truth(item.spectrum)) / np.sqrt(item.spectrum.variance)
        return np.abs(pulls[kept]).max()

    assert worst() < 5.0
    # What they leave in the fit would be found there, too.
    monkeypatch.setattr(order_fit, "suspected_runs", lambda *_: [])
    assert worst() < 5.0
    monkeypatch.setattr(source_fit, "narrow_hits", lambda excess, *_, **__: np.zeros(excess.shape, dtype=bool))
    assert worst() > 20.0


def test_first_fluxes_believe_the_pixels_that_a_track_leaves(scene_of, monkeypatch):
    scene = scene_of(seed=3, emission=False, flux_level=400.0, fwhm=5.0, line_count=0)
    data = scene.frame.data.copy()
    rows = np.arange(40, 560, 40)
    for row in rows:
        trace = scene.orders[1].trace(float(row)) / 0.28
        centre = round(float(scene.table[1].centre_at(row) + trace))
        data[row, centre - 1 : centre + 4] += 3000.0

    def excess():
        result = extract(scene, scene.frame.with_arrays(data=data), find_cosmic_rays=False)
        truth = scene.truth(result.orders[0].spectrum)
        return np.median((result.fits[0].first_fluxes[0] / truth)[rows])

    assert rows.size == 13
    assert excess() < 2.0
    monkeypatch.setattr(order_preview, "_DISAGREEMENT", 1e9)
    assert excess() > 4.0


def test_dead_columns_across_the_object_only_cost_information(scene_of, width_of):
    scene = scene_of(seed=3)
    quality = scene.frame.quality.copy()
    centre = round(float(scene.table[1].centre[0] + 0.35 / 0.28))
    quality[100:300, centre] |= np.int32(QualityFlag.DEAD)
    quality[400:403, :] |= np.int32(QualityFlag.DEAD)
    data = np.where(quality != 0, 60_000.0, scene.frame.data).astype(np.float32)
    result = extract(scene, scene.frame.with_arrays(quality=quality, data=data))
    spectrum = result.orders[0].spectrum
    assert (spectrum.quality[110:290] & np.int32(QualityFlag.PARTIAL_APERTURE)).astype(bool).mean() > 0.8
    pulls, _ = pulls_of(scene, result)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert np.isfinite(spectrum.flux).all()


def test_a_trace_is_followed_where_there_is_no_light(scene_of):
    scene = scene_of(seed=4, lit_until=300.0, length=600, flux_level=200.0)
    result = extract(scene)
    for item in result.orders:
        spectrum = item.spectrum
        rows = scene.orders[spectrum.order].row_of(spectrum.wavelength)
        truth = scene.orders[spectrum.order].trace(rows)
        assert np.abs(spectrum.trace - truth)[rows < 300].max() < 0.08
        assert np.abs(spectrum.trace - truth).max() < 0.25
        dark = (rows > 310) & inner_bins(spectrum)
        pull = (spectrum.flux / np.sqrt(spectrum.variance))[dark]
        assert dark.sum() > 200
        assert abs(pull.mean()) < 0.25


def test_nothing_on_the_slit_gives_upper_limits(scene_of, width_of):
    scene = scene_of(seed=6, flux_level=1e-6, emission=False)
    result = extract(scene)
    assert not result.choice.detected
    assert result.choice.doubtful
    for item in result.orders:
        pull = (item.spectrum.flux / np.sqrt(item.spectrum.variance))[inner_bins(item.spectrum)]
        assert width_of(pull) == pytest.approx(1.0, abs=0.12)
        assert result.traces[item.spectrum.order].rung != "own"


def test_forced_position_and_width_are_kept(scene_of):
    result = extract(scene_of(), forced_position=-1.5, forced_fwhm=0.7)
    for item in result.orders:
        assert np.allclose(item.spectrum.trace, -1.5)
        assert item.seeing == pytest.approx(0.7, rel=0.02)


def test_a_frame_without_good_pixels_is_named(scene_of):
    scene = scene_of()
    dead = np.full(scene.frame.shape, QualityFlag.DEAD, np.int32)
    with pytest.raises(UnprocessableData, match="scene"):
        extract(scene, scene.frame.with_arrays(quality=dead))


def test_the_same_input_gives_the_same_spectrum(scene_of):
    scene = scene_of(length=300)
    first, second = extract(scene), extract(scene)
    for a, b in zip(first.orders, second.orders, strict=True):
        assert np.array_equal(a.spectrum.flux, b.spectrum.flux)
        assert np.array_equal(a.spectrum.variance, b.spectrum.variance)


@pytest.mark.parametrize("width", [0.6, 1.0])
@pytest.mark.parametrize("fwhm", [1.6, 2.5])
def test_narrow_bright_emission_lines_are_not_eaten(scene_of, monkeypatch, width, fwhm):
    # Good seeing and unresolved lines look much like cosmic rays.
    order_light = type(scene_of().orders[1])
    heights = (3000.0, 8000.0, 1000.0, 20_000.0)

    def flux(order, row):
        lines = np.subtract.outer(np.asarray(row, float), order.object_lines)
        return 30.0 + (np.array(heights) * np.exp(-0.5 * (lines / width) ** 2)).sum(axis=-1)

    monkeypatch.setattr(order_light, "flux", flux)
    scene = scene_of(seed=21, fwhm=fwhm, length=601, line_peak=200.0, others=((9.0, 0.0, width),))
    result = extract(scene)
    for item in result.orders:
        spectrum, truth = item.spectrum, scene.truth(item.spectrum)
        rows = scene.orders[spectrum.order].row_of(spectrum.wavelength)
        for place in scene.orders[spectrum.order].object_lines:
            near = np.abs(rows - place) < 6
            assert spectrum.flux[near].sum() == pytest.approx(truth[near].sum(), rel=0.04, abs=250.0)


def first_look(scene):
    """Profiles of the target after the previews alone, and how many there were."""
    settings, axis = ExtractionSettings(), scene.recipe.dispersion_axis
    grids = extraction.make_grids(scene.maps, axis)
    fits = extraction.set_up_fits(scene.frame, scene.maps, axis, scene.base_variance, scene.flat, grids, settings)
    for fit in fits:
        fit.estimate_sky()
    choice = target_search.find_target(fits, settings)
    assert len(choice.sources) == 1
    starts = [source_fit._start(fits, choice.sources[0], settings, is_target=True)]
    source_fit.OrderFit.give_profiles(fits, starts)
    source_fit._first_model(fits, choice)
    rounds, update = [], source_fit.update_profiles

    def counted(*arguments, **changes):
        rounds.append(1)
        return update(*arguments, **changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_fit, "update_profiles", counted)
        source_fit._preview_profiles(fits, starts, choice, settings)
    return [fit.profiles[0] for fit in fits], len(rounds)


@pytest.mark.parametrize("name", ["plain", "bright with wings", "along x"])
def test_the_first_look_ends_once_more_of_it_would_change_next_to_nothing(scene_of, monkeypatch, name):
    scene = scene_of(**CASES[name])
    ended, rounds = first_look(scene)
    assert 1 < rounds < source_fit._PREVIEWS
    settled = source_fit._SETTLED
    monkeypatch.setattr(source_fit, "_SETTLED", 0.0)
    monkeypatch.setattr(source_fit, "_PREVIEWS", 12)
    longer, more = first_look(scene)
    assert more == 12
    steps = [one.differs(other) for one, other in zip(ended, longer, strict=True)]
    assert max(steps) < 2.0 * settled
