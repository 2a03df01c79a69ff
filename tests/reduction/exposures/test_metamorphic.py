"""Known changes of the input have their known effect on spectra, and no other."""

import numpy as np
import pytest

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions
from soxs_recipes.reduction.exposures.exposure_hits import exposure_residuals, hits_between
from soxs_recipes.reduction.exposures.frame_sum import FrameSum
from soxs_recipes.reduction.extraction.extraction import extract_exposure, make_grids

SCENE = {"flux_level": 900.0, "sky_level": 60.0, "line_peak": 6000.0, "response": 0.01}


@pytest.fixture(scope="module")
def scene(scene_of):
    return scene_of(**SCENE)


@pytest.fixture(scope="module")
def plain(scene):
    return run(scene)


def run(scene, *, frame=None, base=None, maps=None, flat=None):
    maps = maps or scene.maps
    return extract_exposure(
        frame or scene.frame,
        maps,
        0,
        bands={1: "a", 2: "b"},
        base_variance=scene.base_variance if base is None else base,
        flat=flat or scene.flat,
        grids=make_grids(maps, 0),
    )


def compared(one, other, *, factor=1.0):
    """(change of flux over its error, ratio of variances, common bins) of all orders; `factor` is expected."""
    change, ratio = [], []
    for a, b in zip(one.orders, other.orders, strict=True):
        a, b = a.spectrum, b.spectrum
        assert np.allclose(a.wavelength, b.wavelength, rtol=0, atol=1e-9)
        known = np.isfinite(a.variance) & np.isfinite(b.variance)
        assert known.sum() > 500
        change.append(((b.flux - factor * a.flux) / np.sqrt(b.variance))[known])
        ratio.append((b.variance / a.variance)[known])
    return np.concatenate(change), np.concatenate(ratio)


def test_twice_the_light_with_its_noise_is_twice_the_flux(scene, plain):
    doubled = scene.frame.with_arrays(data=2.0 * scene.frame.data)
    change, ratio = compared(plain, run(scene, frame=doubled, base=2.0 * scene.base_variance), factor=2.0)
    assert np.median(np.abs(change)) < 0.05
    assert np.percentile(np.abs(change), 99) < 0.5
    assert np.median(ratio) == pytest.approx(2.0, rel=0.01)
    wrong, _ = compared(plain, run(scene, frame=doubled, base=2.0 * scene.base_variance), factor=1.98)
    assert np.median(wrong) > 0.1


def test_twice_the_gain_is_twice_the_flux_with_the_noise_of_the_model(scene, plain):
    doubled = scene.frame.with_arrays(data=2.0 * scene.frame.data)
    result = run(scene, frame=doubled, base=4.0 * scene.base_variance)
    change, ratio = compared(plain, result, factor=2.0)
    assert np.median(np.abs(change)) < 0.1
    # Between what twice the photons and what four times the read noise would make.
    fit = next(fit for fit in plain.fits if fit.pixels.order == 1)
    near = np.abs(fit.pixels.slit - fit.profiles[0].centre_at(fit.pixels.position)) < 0.4
    photons = np.median((fit.variance - fit.base_variance)[near] / fit.variance[near])
    assert np.median(ratio) == pytest.approx(2.0 * photons + 4.0 * (1.0 - photons), rel=0.06)


def test_a_pedestal_is_sky(scene, plain):
    raised = scene.frame.with_arrays(data=scene.frame.data + np.float32(15.0))
    # The pedestal brings no noise of its own.
    result = run(scene, frame=raised, base=scene.base_variance - np.float32(15.0))
    change, ratio = compared(plain, result)
    assert np.percentile(np.abs(change), 99) < 0.3
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
    inside = plain.sky_model != 0
    assert np.median((result.sky_model - plain.sky_model)[inside]) == pytest.approx(15.0, abs=0.1)


def moved(image, fill):
    """Three rows on and two columns."""
    larger = np.full((image.shape[0] + 7, image.shape[1] + 5), fill, dtype=image.dtype)
    larger[3 : 3 + image.shape[0], 2 : 2 + image.shape[1]] = image
    return larger


def moved_frame(frame):
    quality = moved(frame.quality, np.int32(QualityFlag.NO_DATA))
    return Frame(moved(frame.data, 0), moved(frame.variance, 1), quality, frame.meta)


def moved_maps(maps):
    return PixelMaps(moved(maps.wavelength, np.nan), moved(maps.slit, np.nan), moved(maps.order, 0))


def test_whole_pixels_on_frame_and_calibrations_move_nothing_else(scene, plain):
    base, flat = moved(scene.base_variance, 1), moved_frame(scene.flat)
    shifted = run(scene, frame=moved_frame(scene.frame), base=base, maps=moved_maps(scene.maps), flat=flat)
    change, ratio = compared(plain, shifted)
    assert np.abs(change).max() < 1e-3
    assert np.allclose(ratio, 1.0, rtol=1e-3)
    assert np.array_equal(moved(plain.quality, np.int32(QualityFlag.NO_DATA)), shifted.quality)
    # Calibrations that stay behind do not go unnoticed.
    left = run(
        scene,
        frame=moved_frame(scene.frame),
        base=base,
        maps=moved_maps(scene.maps),
        flat=_unmoved(scene.flat),
    )
    change, _ = compared(plain, left)
    assert np.median(np.abs(change)) > 0.05


def _unmoved(frame):
    """The frame in the larger format, where it was."""
    back = (slice(0, -7), slice(0, -5))
    whole = moved_frame(frame)
    arrays = {}
    for name in ("data", "variance", "quality"):
        image = getattr(whole, name).copy()
        image[back] = getattr(frame, name)
        arrays[name] = image
    return whole.with_arrays(**arrays)


def test_one_pixel_in_a_hundred_costs_one_part_in_a_hundred(scene, plain, width_of):
    rng = np.random.default_rng(8)
    lost = rng.random(scene.frame.shape) < 0.01
    quality = np.where(lost, np.int32(QualityFlag.HOT), 0).astype(np.int32)
    data = np.where(lost, np.float32(30_000.0), scene.frame.data)
    result = run(scene, frame=scene.frame.with_arrays(data=data, quality=quality))
    change, ratio = compared(plain, result)
    assert np.mean(ratio) == pytest.approx(1.01, abs=0.01)
    assert abs(np.mean(change)) < 0.02
    # What an efficient estimate loses is independent of what it keeps.
    hurt = ratio > 1.01
    assert hurt.sum() > 50
    expected = np.sqrt(1.0 - 1.0 / ratio[hurt])
    assert width_of(change[hurt] / expected) == pytest.approx(1.0, abs=0.25)
    assert (result.quality[lost] & np.int32(QualityFlag.HOT)).all()


@pytest.fixture(scope="module")
def exposures(scene):
    """Three exposures of different noise, one of them hit."""
    rng = np.random.default_rng(9)
    frames = []
    for number in range(3):
        data = np.round(rng.poisson(scene.mean) + rng.normal(0, scene.recipe.read_noise, scene.mean.shape))
        data[200 + 5 * number, 20:100:9] += 4000.0
        frames.append(scene.frame.with_arrays(data=data.astype(np.float32)))
    return frames, [run(scene, frame=frame) for frame in frames]


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
def test_the_order_of_exposures_is_of_no_account(scene, exposures, order):
    frames, results = exposures
    times = [600.0, 500.0, 700.0]
    hits = hits_between([exposure_residuals(result) for result in results], times)
    assert all(item.sum() > 5 for item in hits)
    turned = hits_between([exposure_residuals(results[k]) for k in order], [times[k] for k in order])
    assert all(np.array_equal(hits[k], item) for k, item in zip(order, turned, strict=True))
    mean = combine_extractions([result.orders for result in results], times)
    again = combine_extractions([results[k].orders for k in order], [times[k] for k in order])
    for a, b in zip(mean.orders, again.orders, strict=True):
        assert np.allclose(a.spectrum.flux, b.spectrum.flux, rtol=1e-9, atol=1e-9)
        assert np.allclose(a.spectrum.variance, b.spectrum.variance, rtol=1e-9)
        assert np.array_equal(a.spectrum.quality, b.spectrum.quality)
    sums = [FrameSum([1.0] * 3, [600.0] * 3) for _ in range(2)]
    for total, sequence in zip(sums, (range(3), order), strict=True):
        for k in sequence:
            model = results[k].sky_model + results[k].object_model
            total.add(frames[k], scene.base_variance, model, hits[k])
    (one, base), (other, other_base) = (total.result() for total in sums)
    assert np.allclose(one.data, other.data, rtol=1e-5, atol=1e-2)
    assert np.allclose(base, other_base, rtol=1e-4, atol=1e-2)
    assert np.array_equal(one.quality, other.quality)


def test_a_spectrum_less_changes_the_mean_by_its_share(exposures):
    _, results = exposures
    three = combine_extractions([result.orders for result in results], [600.0] * 3)
    two = combine_extractions([result.orders for result in results[:2]], [600.0] * 2)
    for a, b in zip(three.orders, two.orders, strict=True):
        known = np.isfinite(a.spectrum.variance) & np.isfinite(b.spectrum.variance)
        light = a.spectrum.flux[known].sum() / b.spectrum.flux[known].sum()
        noise = np.median(a.spectrum.variance[known] / b.spectrum.variance[known])
        assert (light, noise) == pytest.approx((1.5, 1.5), rel=0.03)
