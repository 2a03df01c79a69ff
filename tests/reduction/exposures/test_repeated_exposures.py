"""Exposures of one field under changing seeing, clouds and airglow: hits, refits, sums on the detector."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.reduction.exposures.exposure_hits import exposure_residuals, hits_between
from soxs_recipes.reduction.exposures.frame_sum import FrameSum, exposure_weights
from soxs_recipes.reduction.extraction.extraction import extract_exposure, make_grids
from soxs_recipes.reduction.extraction.refit import exposure_state, refit_exposure
from soxs_recipes.reduction.extraction.request import ExtractionSettings

NIGHT = (  # what changes: seeing [px], clouds, airglow
    {"fwhm": 3.0, "flux_level": 300.0, "line_peak": 9000.0, "sky_level": 30.0},
    {"fwhm": 3.6, "flux_level": 210.0, "line_peak": 10500.0, "sky_level": 36.0},
    {"fwhm": 2.7, "flux_level": 330.0, "line_peak": 8000.0, "sky_level": 27.0},
)
THROUGHPUT = np.array([300.0, 210.0, 330.0]) / 280.0
BLUNT = np.exp(-0.5 * (np.arange(-2, 3)[:, None] ** 2 + np.arange(-2, 3) ** 2) / 1.3**2)


@dataclass
class Series:
    """Scenes of the same field, their frames, what hit them, and first extractions."""

    scenes: list
    frames: list
    hits: list
    results: list
    grids: list

    def arguments(self, k):
        scene = self.scenes[k]
        return {
            "bands": {1: "a", 2: "b"},
            "base_variance": scene.base_variance,
            "flat": scene.flat,
            "grids": self.grids,
        }


def take(scene_of, count, hit_every=80):
    """`count` exposures with hits as blunt as a star, and sharp ones of one pixel."""
    rng = np.random.default_rng(11)
    scenes = [scene_of(seed=3, **NIGHT[k]) for k in range(count)]
    grids = make_grids(scenes[0].maps, 0)
    frames, truth, results = [], [], []
    for k, scene in enumerate(scenes):
        data = rng.poisson(scene.mean) + rng.normal(0, scene.recipe.read_noise, scene.mean.shape)
        sigma = np.sqrt(scene.mean + scene.recipe.read_noise**2)
        light = np.zeros(scene.mean.shape)
        for y in range(20 + 25 * k, scene.mean.shape[0] - 10, hit_every):
            for x in np.flatnonzero(scene.maps.order[y])[8:-6:16]:
                light[y - 10, x] += 40.0 * sigma[y - 10, x]
                light[y - 2 : y + 3, x - 2 : x + 3] += BLUNT * rng.uniform(9, 25) * sigma[y, x]
        frame = scene.frame.with_arrays(data=np.round(data + light).astype(np.float32))
        frames.append(frame)
        truth.append(light / sigma)
    series = Series(scenes, frames, truth, results, grids)
    for k, frame in enumerate(frames):
        results.append(extract_exposure(frame, scenes[k].maps, 0, **series.arguments(k)))
    return series


@pytest.fixture(scope="module", params=[2, 3])
def series(request, scene_of):
    return take(scene_of, request.param)


def _places(scene, results):
    """Masks: on the trace, on bright lines, elsewhere; pixels of the fits only."""
    inside, trace, line = (np.zeros(scene.mean.shape, bool) for _ in range(3))
    for fit in results.fits:
        near = np.abs(fit.pixels.slit - fit.profiles[0].centre_at(fit.pixels.position)) < 0.8
        inside.ravel()[fit.pixels.index] = fit.usable
        trace.ravel()[fit.pixels.index] = near
        line.ravel()[fit.pixels.index] = ~near & (fit.sky > 300.0)
    return {"trace": inside & trace, "line": inside & line, "elsewhere": inside & ~trace & ~line}


def test_blunt_hits_are_found_between_exposures_and_little_else(series):
    found = hits_between([exposure_residuals(result) for result in series.results], [600.0] * len(series.frames))
    alone, together, there = 0, 0, 0
    for k, result in enumerate(series.results):
        core = (series.hits[k] > 8.0) & (series.hits[k] < 30.0)  # blunt ones
        for name, place in _places(series.scenes[k], result).items():
            clean = place & ~binary_dilation(series.hits[k] > 0.05, iterations=2)
            assert clean.sum() > 1000
            assert (found[k] & clean).sum() / clean.sum() < 1e-3, name
            hit = place & core
            assert hit.sum() > 5
            there += hit.sum()
            together += (found[k] & hit).sum()
            alone += ((result.quality & np.int32(QualityFlag.COSMIC_RAY)) > 0)[hit].sum()
    assert together / there > (0.97 if len(found) > 2 else 0.9)
    assert alone < 0.7 * together


def test_without_the_models_the_changing_sky_would_be_taken_for_hits(series):
    parts = [exposure_residuals(result) for result in series.results]
    for k, (part, result) in enumerate(zip(parts, series.results, strict=True)):
        total = result.sky_model + result.object_model
        for number, order in part.orders.items():
            raw = order.residual + total.ravel()[order.index]
            parts[k].orders[number] = replace(order, residual=raw.astype(np.float32))
    found = hits_between(parts, [600.0] * len(parts))
    place = _places(series.scenes[1], series.results[1])["line"] & (series.hits[1] < 0.05)
    assert (found[1] & place).sum() / place.sum() > 0.05


def test_an_exposure_alone_keeps_what_it_found(series):
    result = series.results[0]
    (found,) = hits_between([exposure_residuals(result)], [600.0])
    expected = np.zeros(found.shape, bool)
    for fit in result.fits:
        expected.ravel()[fit.pixels.index] = fit.hits
    assert expected.sum() > 20
    assert np.array_equal(found, expected)


def test_extracting_again_without_the_hits_gives_true_spectra(series, width_of):
    found = hits_between([exposure_residuals(result) for result in series.results], [600.0] * len(series.frames))
    before, after, pulls = [], [], []
    for k, result in enumerate(series.results):
        again = refit_exposure(
            series.frames[k],
            series.scenes[k].maps,
            0,
            settings=ExtractionSettings(),
            state=exposure_state(result),
            hits=found[k],
            **series.arguments(k),
        )
        for old, new in zip(result.orders, again.orders, strict=True):
            truth = series.scenes[k].truth(new.spectrum)
            spoilt = _spoilt_bins(series, k, new.spectrum)
            known = np.isfinite(new.spectrum.variance) & np.isfinite(old.spectrum.variance)
            before.append(((old.spectrum.flux - truth) / np.sqrt(old.spectrum.variance))[spoilt & known])
            after.append(((new.spectrum.flux - truth) / np.sqrt(new.spectrum.variance))[spoilt & known])
            pulls.append(((new.spectrum.flux - truth) / np.sqrt(new.spectrum.variance))[known & ~spoilt][5:-5])
    before, after, pulls = (np.concatenate(values) for values in (before, after, pulls))
    assert after.size > 40
    assert np.sqrt(np.mean(before**2)) > 2.0
    # With two exposures only what stands over the noise of both can be told from the object.
    assert np.sqrt(np.mean(after**2)) < (1.6 if len(found) > 2 else 2.3)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.median(pulls)) < 0.15


def _spoilt_bins(series, k, spectrum):
    """Bins with light of a hit within the target's core."""
    fit = next(fit for fit in series.results[k].fits if fit.pixels.order == spectrum.order)
    near = np.abs(fit.pixels.slit - fit.profiles[0].centre_at(fit.pixels.position)) < 0.5
    hit = near & (fit.pixels.take(series.hits[k]) > 4.0)
    return np.bincount(np.rint(fit.pixels.position[hit]).astype(int), minlength=spectrum.flux.size) > 0


# -- sums on the detector -----------------------------------------------------------------------------


def test_a_sum_of_exposures_is_extracted_truly(series, width_of):
    count = len(series.frames)
    hits = hits_between([exposure_residuals(result) for result in series.results], [600.0] * count)
    share = THROUGHPUT[:count] / THROUGHPUT[:count].mean()
    weights = exposure_weights([600.0] * count, share, [80.0] * count)
    total = FrameSum(weights, 600.0 * share)
    for k, result in enumerate(series.results):
        model = result.sky_model + result.object_model
        total.add(series.frames[k], series.scenes[k].base_variance, model, hits[k])
    frame, base = total.result()
    assert frame.meta.exposure_time == 600.0 * count
    arguments = series.arguments(0) | {"base_variance": base}
    settings = ExtractionSettings(find_cosmic_rays=False)
    summed = extract_exposure(frame, series.scenes[0].maps, 0, settings=settings, **arguments)
    pulls, ratios = [], []
    for item in summed.orders:
        spectrum = item.spectrum
        truth = sum(w * scene.truth(spectrum) for w, scene in zip(weights, series.scenes, strict=True))
        known = np.isfinite(spectrum.variance)
        pulls.append(((spectrum.flux - truth) / np.sqrt(spectrum.variance))[known][5:-5])
        ratios.append((spectrum.flux / truth)[known][5:-5])
    pulls, ratios = np.concatenate(pulls), np.concatenate(ratios)
    assert pulls.size > 1000
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert np.median(ratios) == pytest.approx(1.0, abs=0.01)


def _flat_exposures(levels, rng, lost, model_error=1.0):
    """Flat fields of light at these levels [e-], a share of whose pixels is lost; and models that are off."""
    shape = (200, 200)
    for level in levels:
        variance = np.full(shape, 25.0, np.float32)
        data = (rng.poisson(level, shape) + rng.normal(0, 5.0, shape)).astype(np.float32)
        quality = np.where(rng.random(shape) < lost, np.int32(QualityFlag.COSMIC_RAY), 0).astype(np.int32)
        data[quality > 0] += 5000.0
        meta = FrameMeta(name="flat", exposure_time=300.0, mjd_start=1.0, mjd_end=2.0, read_noise=5.0)
        model = np.full(shape, level * model_error, np.float32)
        yield Frame(data, variance, quality, meta), variance, model


@pytest.mark.parametrize(
    ("use_model", "weights"), [(True, (1, 1, 1)), (True, (0.6, 1.5, 0.9)), (False, (1, 1, 1))]
)
def test_the_sum_and_its_noise_are_true_where_exposures_are_lost(use_model, weights, width_of):
    rng, levels = np.random.default_rng(5), (100.0, 400.0, 900.0)
    total = FrameSum(weights, [300.0] * 3)
    quality = np.zeros((200, 200), np.int32)
    for frame, variance, model in _flat_exposures(levels, rng, 0.2, model_error=1.0 if use_model else 0.0):
        total.add(frame, variance, model, np.zeros(frame.shape, bool))
        quality += frame.quality > 0
    frame, base = total.result()
    expected = np.dot(weights, levels)
    pulls = (frame.data - expected) / np.sqrt(base + expected)
    for lost in (0, 1, 2):
        chosen = pulls[quality == lost]
        assert chosen.size > 1000
        # Where faint exposures stand for a bright one the noise is stated a little too large.
        narrow = 0.05 if lost == 0 else 0.12
        bad = abs(chosen.mean()) > 4.0 / np.sqrt(chosen.size) or not -narrow < width_of(chosen) - 1.0 < 0.05
        assert bad == (not use_model and lost > 0), (lost, chosen.mean(), width_of(chosen))
    assert np.all(frame.usable == (quality < 3))
    assert np.all(frame.data[quality == 3] == 0)


def test_noise_that_exposures_share_is_added_up_and_not_averaged():
    shape, shared = (4, 4), np.full((4, 4), 9.0, np.float32)
    total = FrameSum([1.0] * 4, [300.0] * 4)
    for _ in range(4):
        meta = FrameMeta(name="one", exposure_time=300.0, mjd_start=1.0, mjd_end=2.0)
        variance = np.full(shape, 25.0, np.float32)
        frame = Frame(np.zeros(shape, np.float32), variance, np.zeros(shape, np.int32), meta, shared)
        total.add(frame, variance, np.zeros(shape, np.float32), np.zeros(shape, bool))
    frame, base = total.result()
    assert np.allclose(frame.shared_variance, 16 * 9.0)
    assert np.allclose(base, 4 * (25.0 - 9.0) + 16 * 9.0)


def test_clouds_get_less_weight():
    weights = exposure_weights([600.0, 600.0], [1.6, 0.4], [100.0, 100.0])
    assert weights[0] / weights[1] == pytest.approx(4.0)
    assert (weights * 600.0 * np.array([1.6, 0.4])).sum() == pytest.approx(1200.0)
    assert exposure_weights([600.0, 600.0], [1.0, 1.0], [50.0, 50.0]) == pytest.approx([1.0, 1.0])


def test_bright_stars_in_changing_seeing_are_not_taken_for_hits(scene_of):
    rng, light = np.random.default_rng(4), {"beta": 2.8, "emission": True}
    scenes = [
        scene_of(seed=3, **light, **{**night, "flux_level": 100 * night["flux_level"]}) for night in NIGHT[:2]
    ]
    grids, results = make_grids(scenes[0].maps, 0), []
    for scene in scenes:
        data = np.round(rng.poisson(scene.mean) + rng.normal(0, scene.recipe.read_noise, scene.mean.shape))
        frame = scene.frame.with_arrays(data=data.astype(np.float32))
        options = {"base_variance": scene.base_variance, "flat": scene.flat, "grids": grids}
        results.append(extract_exposure(frame, scene.maps, 0, bands={1: "a", 2: "b"}, **options))
    found = hits_between([exposure_residuals(result) for result in results], [600.0] * 2)
    for scene, result, hits in zip(scenes, results, found, strict=True):
        trace = _places(scene, result)["trace"]
        assert trace.sum() > 5000
        assert (hits & trace).sum() / trace.sum() < 1e-3
