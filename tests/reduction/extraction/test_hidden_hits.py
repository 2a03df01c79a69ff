"""Hits that a fit takes for lines: found beside real lines, which stay."""

import numpy as np
import pytest

from soxs_recipes.reduction.extraction import order_fit, source_fit
from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.hidden_hits import course_beside, explained_better, suspected_runs
from soxs_recipes.reduction.extraction.request import ExtractionSettings

ROWS = np.arange(45, 560, 45)


def extract(scene, data):
    return extract_exposure(
        scene.frame.with_arrays(data=np.asarray(data, np.float32)),
        scene.maps,
        scene.recipe.dispersion_axis,
        bands={1: "a", 2: "b"},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(),
    )


def tracks_across(scene, height):
    """Light of tracks that cross the object at a slant [e-], as an image."""
    light = np.zeros(scene.frame.shape)
    for number, order in scene.orders.items():
        for row in ROWS:
            for step in np.arange(-5.0, 5.0, 0.1):
                along = row + 0.7 * step
                across = scene.table[number].centre_at(along) + order.trace(along) / 0.28 + step
                light[int(along), int(across)] += 0.1 * height
    return light


def forgotten(monkeypatch):
    monkeypatch.setattr(order_fit, "suspected_runs", lambda *_: [])


def test_runs_stand_out_beside_masked_pixels_only():
    rng = np.random.default_rng(4)
    flux, information = 50.0 + rng.normal(0.0, 10.0, 400), np.full(400, 0.01)
    flux[[100, 101]] += (90.0, 120.0)
    flux[250] -= 100.0
    doubted = rng.permutation(np.append(np.arange(0, 400, 9), 102))
    assert suspected_runs(flux, information, doubted) == [(98, 103), (248, 252)]
    assert suspected_runs(flux, information, np.array([103, 104])) == [(99, 103)]
    assert suspected_runs(flux, information, np.array([106, 260])) == []
    assert suspected_runs(flux, information, np.array([], int)) == []
    assert suspected_runs(flux, np.zeros(400), doubted) == []


def test_runs_at_the_ends_stay_inside():
    flux = np.array([900.0, *np.full(30, 5.0), 900.0])
    assert suspected_runs(flux, np.ones(32), np.array([0, 31])) == [(0, 2), (29, 31)]
    assert course_beside(flux, 0, 2) == course_beside(flux, 29, 31) == 5.0


def test_the_course_is_that_of_the_neighbours():
    flux = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 900.0, 800.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 500.0])
    assert course_beside(flux, 6, 7) == 7.0
    assert course_beside(flux[:3], 0, 2) == 0.0


def test_outliers_count_alike_however_bad():
    line = np.array([1e4, 1.0, 1.0]), np.ones(3)
    assert explained_better((np.array([7.0, 7.0, 0.0]), np.ones(3)), line)
    assert not explained_better(line, (np.array([7.0, 7.0, 0.0]), np.ones(3)))
    assert not explained_better(line, line)


@pytest.mark.parametrize("height", [600.0, 2000.0])
def test_tracks_across_a_star_do_not_shape_it(scene_of, monkeypatch, height):
    scene = scene_of(seed=5, emission=False, flux_level=100.0, line_count=0)
    light = tracks_across(scene, height)

    def judged(data):
        """Pixels hit over 5 sigma near the star, share left in; widths [px]; errors of the light [sigma]."""
        result, hit, left, widths, pulls = extract(scene, data), 0, 0, [], []
        for fit, item in zip(result.fits, result.orders, strict=True):
            distance = fit.pixels.slit - fit.profiles[0].centre_in_bins()[fit.pixels.nearest]
            struck = (np.abs(distance) < 1.5) & (light.ravel()[fit.pixels.index] > 5.0 * np.sqrt(fit.variance))
            hit, left = hit + struck.sum(), left + (struck & fit.good).sum()
            widths.append(np.median(fit.profiles[0].fwhm_in_bins()) / 0.28)
            spectrum = item.spectrum
            truth, weight = (
                scene.truth(spectrum),
                1.0 / np.maximum(spectrum.variance, np.median(spectrum.variance)),
            )
            pulls.append((truth * (spectrum.flux - truth) * weight).sum() / np.sqrt((truth**2 * weight).sum()))
        return hit, left / hit, np.array(widths), np.array(pulls)

    hit, left, widths, pulls = judged(scene.frame.data + light)
    assert hit > 300
    assert left < 0.03
    undisturbed = judged(scene.frame.data)
    assert np.abs(widths - undisturbed[2]).max() < 0.1
    assert np.abs(pulls).max() < 3.0
    forgotten(monkeypatch)
    _, _, widths, pulls = judged(scene.frame.data + light)
    assert np.abs(widths - undisturbed[2]).min() > 0.3
    assert np.abs(pulls).max() > 5.0


def last_step(scene, data):
    """By how much the last round moves a bin at most [sigma]."""
    results = []
    for rounds in (3, 4):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("_ROUNDS", "_MOST_ROUNDS"):
                patch.setattr(source_fit, name, rounds)
            results.append([item.spectrum for item in extract(scene, data).orders])
    steps = [(b.flux - a.flux) / np.sqrt(b.variance) for a, b in zip(*results, strict=True)]
    assert len(steps) == 2
    return np.abs(np.concatenate([step[15:-15] for step in steps])).max()


def test_no_bin_moves_in_the_last_round_where_tracks_cross(scene_of, monkeypatch):
    scene = scene_of(seed=5, emission=False, flux_level=100.0, line_count=0)
    data = scene.frame.data + tracks_across(scene, 600.0)
    assert last_step(scene, data) < 0.3
    forgotten(monkeypatch)
    assert last_step(scene, data) > 0.8


def test_a_fit_without_hits_follows_at_once(scene_of, monkeypatch):
    """Not in the next round, when a bin whose hits were found in this one would jump."""
    scene = scene_of(seed=6, emission=False, flux_level=100.0, line_count=0)
    data = scene.frame.data + tracks_across(scene, 800.0)
    assert last_step(scene, data) < 0.3

    def later(fit):
        fit.solve()
        fit.reject()

    monkeypatch.setattr(order_fit.OrderFit, "solve_and_reject", later)
    assert last_step(scene, data) > 0.8


@pytest.mark.parametrize("height", [250.0, 1500.0])
def test_lines_beside_hits_stay(scene_of, monkeypatch, height):
    """A pixel of each line and one of its flank are struck."""
    order_light = type(scene_of().orders[1])

    def flux(order, row):
        lines = np.subtract.outer(np.asarray(row, float), ROWS)
        return 40.0 + height * np.exp(-0.5 * lines**2).sum(axis=-1)

    monkeypatch.setattr(order_light, "flux", flux)
    # Scenes are kept by their recipe, which does not know of this flux: a star without light tells them apart.
    scene = scene_of(seed=8, line_count=0, others=((9.0, 0.0, height),))
    data = scene.frame.data.copy()
    for number, order in scene.orders.items():
        for row in ROWS:
            middle = round(float(scene.table[number].centre_at(row) + order.trace(float(row)) / 0.28))
            data[row, middle + 1] += 2000.0
            data[row + 1, middle + 2] += 2000.0

    def pulls():
        """Errors of the lines' light over six bins on either side [sigma]."""
        found = []
        for item in extract(scene, data).orders:
            spectrum = item.spectrum
            rows = scene.orders[spectrum.order].row_of(spectrum.wavelength)
            near = (np.abs(rows - ROWS[:, None]) < 6.0) & np.isfinite(spectrum.variance)
            error, variance = spectrum.flux - scene.truth(spectrum), spectrum.variance
            found += [error[line].sum() / np.sqrt(variance[line].sum()) for line in near]
        return np.array(found)

    kept = pulls()
    assert kept.size == 2 * ROWS.size
    assert np.abs(kept).max() < 4.0
    with monkeypatch.context() as patch:
        forgotten(patch)
        assert np.abs(kept - pulls()).max() < 0.1
    monkeypatch.setattr(order_fit, "explained_better", lambda *_: True)
    doubted = pulls()
    assert np.abs(kept - doubted).max() > 1.0
    assert np.abs(doubted).max() < 5.0  # what cannot be settled stays as it is fitted
