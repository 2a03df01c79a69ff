"""Sums between slit positions against truth and against one another."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.extraction.aperture import extract_apertures
from soxs_recipes.reduction.extraction.request import ExtractionRequest, ExtractionSettings

SCENE = {"drift": 0.0, "length": 300}
WHOLE = (-2.65, 3.35)


def sums(scene, *apertures, request=None, frame=None, **settings):
    return extract_apertures(
        frame or scene.frame,
        scene.maps,
        0,
        apertures,
        bands={1: "a"},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(request=request or ExtractionRequest(), **settings),
    )


def inner(spectrum):
    known = np.isfinite(spectrum.variance)
    known[:10] = known[-10:] = False
    return known


def test_sums_and_their_errors_are_true(scene_of, width_of):
    pulls, empty, tens = [], [], []
    for seed in range(1, 6):
        scene = scene_of(seed=seed, response=0.02, **SCENE)
        result = sums(scene, (-1.65, 2.35), (3.0, 4.0))
        assert len(result.others) == 1
        for kept, items, factor in ((pulls, result.orders, 1.0), (empty, result.others[0], 0.0)):
            for item in items:
                spectrum = item.spectrum
                known = inner(spectrum)
                deviation = spectrum.flux - factor * scene.truth(spectrum)
                kept.append((deviation / np.sqrt(spectrum.variance))[known])
                for first in range(10, 280, 10):
                    ten = slice(first, first + 10)
                    variance = spectrum.variance[ten].sum()
                    variance += 2.0 * sum(
                        item.covariance[k - 1, first : first + 10 - k].sum() for k in range(1, 5)
                    )
                    tens.append(deviation[ten].sum() / np.sqrt(variance))
    for values in (np.concatenate(pulls), np.concatenate(empty)):
        assert values.size > 2500
        assert abs(np.mean(values)) < 0.1
        assert width_of(values) == pytest.approx(1.0, abs=0.08)
    assert len(tens) > 500
    assert np.std(tens) == pytest.approx(1.0, abs=0.1)


def test_an_aperture_is_the_sum_of_its_parts(scene_of):
    scene = scene_of(seed=1, **SCENE)
    whole = sums(scene, WHOLE, find_cosmic_rays=False)
    parts = sums(scene, (WHOLE[0], 0.41), (0.41, WHOLE[1]), find_cosmic_rays=False)
    share = []
    for all_of_it, low, high in zip(whole.orders, parts.orders, parts.others[0], strict=True):
        known = inner(all_of_it.spectrum)
        assert known.sum() > 200
        total = (low.spectrum.flux + high.spectrum.flux)[known]
        # The sky around the parts is fitted on the same pixels.
        np.testing.assert_allclose(total, all_of_it.spectrum.flux[known], rtol=1e-9, atol=1e-6)
        share.append(low.spectrum.flux[known].sum() / total.sum())
    # The edge stands 0.06 arcsec above the middle of a Gaussian with sigma 0.357 arcsec.
    assert np.mean(share) == pytest.approx(0.567, abs=0.025)


def test_masked_pixels_are_filled_from_the_rest(scene_of):
    scene = scene_of(seed=2, **SCENE)
    rng = np.random.default_rng(5)
    hit = rng.random(scene.frame.shape) < 0.02
    data = np.where(hit, scene.frame.data + 5e4, scene.frame.data).astype(np.float32)
    quality = np.where(hit, np.int32(QualityFlag.HOT), scene.frame.quality).astype(np.int32)
    frame = scene.frame.with_arrays(data=data, quality=quality)
    pulls = []
    for item in sums(scene, WHOLE, frame=frame).orders:
        known = inner(item.spectrum)
        assert known.sum() > 270
        assert (item.spectrum.quality & np.int32(QualityFlag.PARTIAL_APERTURE))[known].any()
        pulls.append(((item.spectrum.flux - scene.truth(item.spectrum)) / np.sqrt(item.spectrum.variance))[known])
    pulls = np.concatenate(pulls)
    assert abs(np.median(pulls)) < 0.15
    assert np.std(pulls) < 1.3


def test_cosmic_rays_in_an_aperture_are_found(scene_of):
    scene = scene_of(seed=3, **SCENE)
    slit = np.nan_to_num(scene.maps.slit, nan=99.0)
    rows, columns = np.nonzero(np.abs(slit - 0.35) < 0.5)
    chosen = np.random.default_rng(1).choice(rows.size, 30, replace=False)
    data = scene.frame.data.copy()
    data[rows[chosen], columns[chosen]] += 4000.0
    result = sums(scene, WHOLE, frame=scene.frame.with_arrays(data=data))
    flagged = (result.quality & np.int32(QualityFlag.COSMIC_RAY)) != 0
    assert flagged[rows[chosen], columns[chosen]].sum() >= 24
    assert flagged.sum() < 60


def test_stretches_of_sky_are_heard(scene_of):
    scene = scene_of(seed=4, others=((-4.0, 8.0, 1.0),), **SCENE)
    clean = sums(scene, WHOLE, request=ExtractionRequest(background=((3.8, 5.4),)), maximum_sources=0)
    spoilt = sums(scene, WHOLE, maximum_sources=0)
    ratios = [
        sum(item.spectrum.flux[inner(item.spectrum)].sum() for item in result.orders)
        / sum(scene.truth(item.spectrum)[inner(item.spectrum)].sum() for item in result.orders)
        for result in (clean, spoilt)
    ]
    assert clean.slit_light[0].sources.shape[0] == 1
    assert not np.isfinite(clean.slit_light[0].sources).any()
    known = np.isfinite(clean.slit_light[0].light)
    assert known.sum() > 40
    assert ratios[0] == pytest.approx(1.0, abs=0.15)
    assert abs(ratios[1] - 1.0) > 2.0 * abs(ratios[0] - 1.0)


@pytest.mark.parametrize(("aperture", "told"), [((8.0, 9.0), "off the slit"), ((-6.0, 6.0), "too few pixels")])
def test_apertures_that_cannot_be_are_refused(scene_of, aperture, told):
    with pytest.raises(UnprocessableData, match=told):
        sums(scene_of(seed=1, **SCENE), aperture)


def test_an_order_without_sky_beside_the_aperture_is_left_out(scene_of):
    scene, aperture = scene_of(seed=1, **SCENE), (-1.65, 2.35)
    beside = (scene.maps.slit < aperture[0]) | (scene.maps.slit > aperture[1])
    quality = scene.frame.quality.copy()
    quality[(scene.maps.order == 2) & beside] |= QualityFlag.NO_DATA
    whole = sums(scene, aperture, find_cosmic_rays=False)
    part = sums(scene, aperture, frame=replace(scene.frame, quality=quality), find_cosmic_rays=False)
    assert [item.spectrum.order for item in whole.orders] == [1, 2]
    (left,) = part.orders
    theirs = whole.orders[0].spectrum
    assert left.spectrum.order == 1
    known = inner(theirs)
    assert known.sum() > 200
    apart = (left.spectrum.flux - theirs.flux)[known] / np.sqrt(theirs.variance[known])
    assert np.abs(apart).max() < 0.1
