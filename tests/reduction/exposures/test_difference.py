"""Beams in differences against truth: flux, errors, signal-to-noise at the bound, and what must not matter."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.reduction.exposures.beam_combination import Beam, caught_light, combine_beams
from soxs_recipes.reduction.exposures.beams import Shot, beam_sources, find_pattern, pair_beams, skies_of
from soxs_recipes.reduction.exposures.difference import (
    difference_samples,
    extract_difference,
    set_up_difference,
    slit_cells,
    subtract_exposures,
)
from soxs_recipes.reduction.extraction.extraction import make_grids
from soxs_recipes.reduction.extraction.request import ExtractionSettings

SETTINGS = ExtractionSettings()
CELLS = slit_cells(6.0)
COMMON = {"length": 500, "line_count": 15, "flux_level": 700.0, "emission": False, "drift": 0.1}


def expose(scene_of, position, seed, *, airglow=1.0, time=1.0, lit=True, **changes):
    """A scene with noise of its own, its sky changed, exposed for `time` times 600 s."""
    scene = scene_of(position=position, **(COMMON | changes))
    rng = np.random.default_rng(seed)
    mean = time * (scene.sky * airglow + lit * (scene.mean - scene.sky))
    data = np.round(rng.poisson(mean) + rng.normal(0, scene.recipe.read_noise, mean.shape)).astype(np.float32)
    meta = replace(scene.frame.meta, exposure_time=600.0 * time, name=f"exposure {seed}")
    return scene, scene.frame.with_arrays(data=data, meta=meta)


def reduce(exposures, subtractions, offsets, settings=SETTINGS, change=None, flexure=0.0):
    """(combined, results) of exposures, as the recipes do it."""
    scene = exposures[0][0]
    axis, grids = scene.recipe.dispersion_axis, make_grids(scene.maps, scene.recipe.dispersion_axis)
    ready, samples = [], []
    for pair in subtractions:
        parts = [(exposures[i][1], exposures[i][0].base_variance) for i in (pair.plus, *pair.minus)]
        difference = subtract_exposures(parts[0], parts[1:], pair.shares)
        difference = change(difference) if change else difference
        beams = (offsets[pair.plus], offsets[pair.minus[0]] if pair.both else np.nan)
        common = {"flat": scene.flat, "grids": grids, "settings": settings}
        samples.append(difference_samples(set_up_difference(difference, scene.maps, axis, **common), CELLS, beams))
        ready.append(difference)
    pattern = find_pattern(samples, CELLS, 0.0, tolerance=2.0)
    beams, correlations, results = [], {}, []
    for number, (pair, difference, sample) in enumerate(zip(subtractions, ready, samples, strict=True)):
        choice, signs = beam_sources(sample, CELLS, pattern, maximum_sources=2, keep_place=False, keep_width=False)
        fits = set_up_difference(difference, scene.maps, axis, **common)
        result = extract_difference(
            difference.frame,
            fits,
            axis,
            bands={1: "a", 2: "b"},
            choice=choice,
            signs=signs,
            flexure=flexure,
            settings=settings,
        )
        times = [exposure[1].meta.exposure_time for exposure in exposures]
        parts = {pair.plus: (1.0, times[pair.plus])}
        parts |= {
            i: (-s * times[pair.plus] / times[i], times[i]) for i, s in zip(pair.minus, pair.shares, strict=True)
        }
        for sign, index, orders in zip((1.0, -1.0), (pair.plus, *pair.minus), result.beams, strict=False):
            beams.append(Beam(index, number, sign, times[index], orders, parts))
        if result.correlation:
            correlations[number] = result.correlation
        results.append(result)
    return combine_beams(beams, correlations), results, beams


def bare_frame(seed, time, *, masters):
    """Random pixels, the noise of masters below zero in some, and their base variance."""
    rng = np.random.default_rng(seed)
    shape = (6, 7)
    light, base, shared = (
        rng.normal(50.0, 60.0, shape),
        rng.uniform(20.0, 30.0, shape),
        rng.normal(2.0, 2.0, shape),
    )
    quality = np.int32(1) << rng.integers(0, 5, shape, np.int32)
    kept = np.float32(shared) if masters else None
    return Frame(np.float32(light), np.float32(base), quality, FrameMeta(exposure_time=time), kept), np.float32(
        base
    )


@pytest.mark.parametrize("masters", [True, False])
def test_pixels_of_a_difference_are_those_of_plain_sums(masters):
    """Two exposures of other lengths subtracted: light, photons, noise, and what masters leave of theirs."""
    parts = [bare_frame(seed, time, masters=masters) for seed, time in ((1, 600.0), (2, 300.0), (3, 900.0))]
    shares = 0.25, 0.75
    found = subtract_exposures(parts[0], parts[1:], shares)
    weights = [
        1.0,
        *(share * 600.0 / frame.meta.exposure_time for share, (frame, _) in zip(shares, parts[1:], strict=True)),
    ]
    frames, own, amplitude = [frame for frame, _ in parts], 0.0, 0.0
    for k, (weight, (frame, base)) in enumerate(zip(weights, parts, strict=True)):
        common = np.maximum(frame.shared_variance, 0.0) if masters else np.zeros(frame.shape)
        own = own + weight**2 * (base - common)
        amplitude = amplitude + (-1.0 if k else 1.0) * weight * np.sqrt(common)
    total = sum(weight * frame.data for weight, frame in zip(weights[1:], frames[1:], strict=True))
    assert found.scale == pytest.approx(sum(weights[1:]))
    assert np.allclose(found.subtracted, total, rtol=1e-5, atol=1e-4)
    assert np.allclose(found.frame.data, frames[0].data - total, rtol=1e-5, atol=1e-4)
    photons = sum(weight**2 * frame.data for weight, frame in zip(weights, frames, strict=True))
    assert np.allclose(found.photons, photons, rtol=1e-5, atol=1e-3)
    assert np.allclose(found.frame.variance, own + amplitude**2, rtol=1e-5)
    assert np.array_equal(found.frame.quality, frames[0].quality | frames[1].quality | frames[2].quality)
    if masters:
        assert np.allclose(found.frame.shared_variance, amplitude**2, rtol=1e-3, atol=1e-5)
    else:
        assert found.frame.shared_variance is None


def nod(scene_of, seed=1, **changes):
    """A pair: 2.5 arcsec up and down, airglow an eighth weaker in the second."""
    second = {"airglow": changes.pop("airglow", 0.88), "time": changes.pop("time", 1.0)}
    return [
        expose(scene_of, 2.8, 2 * seed, **changes),
        expose(scene_of, -2.3, 2 * seed + 1, **second, **changes),
    ]


def pairs_of(offsets):
    pairs, left = pair_beams([Shot(offset, 700.0 * i) for i, offset in enumerate(offsets)])
    assert not left
    return pairs


def compared(scene, combined, total):
    """(pulls, ratios, spectra) against the truth of exposures of `total` times 600 s."""
    pulls, ratios = [], []
    for item in combined.orders:
        spectrum = item.spectrum
        truth = total * scene.truth(spectrum)
        kept = (spectrum.quality & np.int32(QualityFlag.NO_DATA)) == 0
        kept[:10] = kept[-10:] = False
        pulls.append(((spectrum.flux - truth) / np.sqrt(spectrum.variance))[kept])
        ratios.append((spectrum.flux / truth)[kept])
    return np.concatenate(pulls), np.concatenate(ratios)


@pytest.fixture(scope="module")
def nodded(scene_of):
    exposures = nod(scene_of)
    return exposures, *reduce(exposures, pairs_of((2.5, -2.5)), (2.5, -2.5))


def test_flux_and_errors_of_a_pair_are_true(nodded, width_of):
    exposures, combined, (result,), _ = nodded
    pulls, ratios = compared(exposures[0][0], combined, 2.0)
    assert pulls.size > 900
    # 960 bins: the width's own error is 0.04.
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.median(pulls)) < 0.15
    assert abs(np.mean(ratios) - 1.0) < 0.01
    assert result.sky_ratio == pytest.approx(1.0 / 0.88, rel=0.01)
    assert [beam[0].spectrum.trace.mean() for beam in result.beams] == pytest.approx([2.8, -2.3], abs=0.05)
    ons = [item.sky_residual_on for item in result.result.orders]
    assert np.nanmax(ons) < 1.15


@pytest.mark.parametrize("optics", [0.6, 0.8, 1.0])
def test_two_bright_beams_share_their_wings_rightly(scene_of, optics):
    """Also where the optics are not the 0.8 px that are held; what each beam fitted for itself made them swing."""
    exposures = nod(scene_of, flux_level=20000.0, beta=3.0, optics=optics, fwhm=4.5, drift=0.0)
    combined, _, _ = reduce(exposures, pairs_of((2.5, -2.5)), (2.5, -2.5))
    _, ratios = compared(exposures[0][0], combined, 2.0)
    assert ratios.size > 900
    assert np.median(ratios) == pytest.approx(1.0, abs=0.005)


def test_noise_of_the_subtracted_light_is_missed_when_left_out(scene_of, width_of):
    """The mutation: without most of the photons errors are too small."""
    exposures = nod(scene_of)

    def forget(difference):
        return replace(difference, photons=0.25 * difference.photons)

    combined, _, _ = reduce(exposures, pairs_of((2.5, -2.5)), (2.5, -2.5), change=forget)
    pulls, _ = compared(exposures[0][0], combined, 2.0)
    assert width_of(pulls) > 1.15


def test_signal_to_noise_is_at_the_bound_of_differences(nodded):
    """With both profiles and the change of the sky known, a difference holds sum(p^2/V) in either beam."""
    exposures, combined, _, _ = nodded
    scene = exposures[0][0]
    variance = sum(frame_mean(scene, scene_of_beam) for scene, scene_of_beam in exposures)
    for item in combined.orders:
        order = scene.orders[item.spectrum.order]
        information = 0.0
        rows = order.row_of(item.spectrum.wavelength)
        inner = np.flatnonzero((rows > 60) & (rows < scene.recipe.length - 60))[::7]
        bound = []
        for index in inner:
            row = round(float(rows[index]))
            information = 0.0
            for beam_scene, _ in exposures:
                trace = beam_scene.orders[item.spectrum.order].trace(row)
                across = np.arange(scene.maps.slit.shape[1])
                slit = scene.maps.slit[row]
                inside = np.isfinite(slit) & (scene.maps.order[row] == item.spectrum.order)
                x = (slit[inside] - trace) / 0.28
                sigma = scene.recipe.fwhm / 2.3548
                profile = np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
                information += (profile**2 / variance[row, across[inside]]).sum()
            bound.append(4.0 / information)
        measured = item.spectrum.variance[inner]
        assert inner.size > 40
        ratio = np.sqrt(np.median(np.array(bound) / measured))
        # The variance at the tilted line differs a little from that at the detector's row.
        assert 0.95 < ratio < 1.04


def frame_mean(scene, frame):
    """Expected variance of an exposure's pixels, from its own noise-free light."""
    return np.where(np.isfinite(frame.data), scene.mean, 0.0) + scene.base_variance


def test_swapping_the_beams_changes_nothing(nodded, scene_of):
    exposures, combined, _, _ = nodded
    turned, _, _ = reduce(exposures[::-1], pairs_of((-2.5, 2.5)), (-2.5, 2.5))
    # Same pair, counted the other way round: the second becomes the positive beam.
    mirrored = [replace(pair, plus=pair.minus[0], minus=(pair.plus,)) for pair in pairs_of((2.5, -2.5))]
    opposite, _, _ = reduce(exposures, mirrored, (2.5, -2.5))
    for one, two, three in zip(combined.orders, turned.orders, opposite.orders, strict=True):
        assert np.array_equal(one.spectrum.flux, two.spectrum.flux)
        change = np.abs(one.spectrum.flux - three.spectrum.flux) / np.sqrt(one.spectrum.variance)
        assert np.median(change[20:-20]) < 0.02
        assert np.percentile(change[20:-20], 99) < 0.3


def test_masked_pixels_bring_no_bias(nodded, width_of):
    exposures, combined, _, _ = nodded
    rng = np.random.default_rng(9)
    lost = rng.random(exposures[0][1].shape) < 0.01

    def mask(difference):
        quality = np.where(lost, np.int32(QualityFlag.DEAD), difference.frame.quality)
        data = np.where(lost, np.float32(1e5), difference.frame.data)
        return replace(difference, frame=difference.frame.with_arrays(quality=quality, data=data))

    masked, _, _ = reduce(exposures, pairs_of((2.5, -2.5)), (2.5, -2.5), change=mask)
    pulls, ratios = compared(exposures[0][0], masked, 2.0)
    plain, _ = compared(exposures[0][0], combined, 2.0)
    assert pulls.size == plain.size
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.median(pulls - plain)) < 0.02
    assert abs(np.mean(ratios) - 1.0) < 0.01
    loss = [
        np.median(a.spectrum.variance / b.spectrum.variance)
        for a, b in zip(masked.orders, combined.orders, strict=True)
    ]
    assert all(1.0 < value < 1.05 for value in loss)


def test_unequal_exposure_times_are_scaled(scene_of, width_of):
    exposures = nod(scene_of, seed=4, time=0.5)
    combined, (result,), _ = reduce(exposures, pairs_of((2.5, -2.5)), (2.5, -2.5))
    pulls, ratios = compared(exposures[0][0], combined, 1.5)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.mean(ratios) - 1.0) < 0.015
    negative = np.median(result.beams[1][0].spectrum.flux) / np.median(result.beams[0][0].spectrum.flux)
    assert negative == pytest.approx(0.5, abs=0.03)


def test_narrow_lines_of_a_beam_with_other_flexure_stay_in_their_bins(scene_of, width_of):
    """The second exposure lies 0.4 px farther along; in one order wavelength falls with the pixels."""
    common = {"emission": True, "flux_level": 3000.0, "line_peak": 2000.0}
    exposures = [
        expose(scene_of, 2.8, 51, **common),
        expose(scene_of, -2.3, 52, shift=(0.4, 0.0), airglow=0.9, **common),
    ]
    worst = {}
    for flexure in (0.4, 0.0, -0.4):
        _, (result,), _ = reduce(exposures, pairs_of((2.5, -2.5)), (2.5, -2.5), flexure=flexure)
        pulls = []
        for item in result.beams[1]:
            spectrum, truth = item.spectrum, exposures[0][0].truth(item.spectrum)
            bend = np.abs(np.gradient(truth)) > 0.1 * truth
            bend[:20] = bend[-20:] = False
            pulls.append(((spectrum.flux - truth) / np.sqrt(spectrum.variance))[bend])
        pulls = np.concatenate(pulls)
        assert pulls.size > 20
        worst[flexure] = np.sqrt(np.mean(pulls**2))
    assert worst[0.4] < 1.4
    assert worst[0.0] > 2.5 * worst[0.4]
    assert worst[-0.4] > worst[0.0]


def test_hits_in_either_exposure_are_found(nodded, scene_of):
    exposures, combined, (plain,), _ = nodded
    rng = np.random.default_rng(11)
    struck, places = [], []
    for scene, frame in exposures:
        on_slit = np.flatnonzero(np.isfinite(scene.maps.slit))
        where = rng.choice(on_slit, 40, replace=False)
        data = frame.data.copy()
        data.reshape(-1)[where] += 4000.0
        struck.append((scene, frame.with_arrays(data=data)))
        places.append(where)
    hit, (result,), _ = reduce(struck, pairs_of((2.5, -2.5)), (2.5, -2.5))
    bits = np.int32(QualityFlag.COSMIC_RAY | QualityFlag.OUTLIER)
    found = (result.result.quality.reshape(-1) & bits) != 0
    fitted = plain.result.variance.reshape(-1) != exposures[0][0].base_variance.reshape(-1) * 2
    for where in places:
        inside = where[fitted[where]]
        assert inside.size > 25
        assert found[inside].mean() > 0.97
    for one, two in zip(combined.orders, hit.orders, strict=True):
        change = (two.spectrum.flux - one.spectrum.flux) / np.sqrt(one.spectrum.variance)
        assert np.abs(change[20:-20]).max() < 4.0


def test_tracks_beside_a_faint_beam_do_not_draw_it_away(scene_of):
    """Each takes half of the pixels that a first flux comes from; believed, it would be all the light there."""
    changes = {"flux_level": 60.0, "fwhm": 4.5, "airglow": 1.0, "line_count": 0}
    struck = []
    for scene, frame in nod(scene_of, **changes):
        data = frame.data.copy()
        for number, part in scene.orders.items():
            for row in range(60, 460, 80):
                middle = round(float(scene.table[number].centre_at(row) + part.trace(float(row)) / 0.28))
                for step in range(8):
                    data[row + step // 2, middle + step : middle + step + 2] += 6000.0
        struck.append((scene, frame.with_arrays(data=data)))
    _, (result,), _ = reduce(struck, pairs_of((2.5, -2.5)), (2.5, -2.5))
    traces = np.array([[item.spectrum.trace for item in beam] for beam in result.beams])
    assert traces.shape[:2] == (2, 2)
    assert np.abs(traces - np.array([2.8, -2.3])[:, None, None]).max() < 0.1


def test_first_fluxes_of_the_subtracted_beam_believe_the_pixels_that_a_track_leaves(scene_of):
    rows, struck = np.arange(60, 460, 40), []
    for scene, frame in nod(scene_of, flux_level=400.0, fwhm=5.0, airglow=1.0, line_count=0):
        data = frame.data.copy()
        for row in rows:
            middle = round(float(scene.table[1].centre_at(row) + scene.orders[1].trace(float(row)) / 0.28))
            data[row, middle - 1 : middle + 3] += 3000.0
        struck.append((scene, frame.with_arrays(data=data)))
    settings = replace(SETTINGS, find_cosmic_rays=False)
    _, (result,), _ = reduce(struck, pairs_of((2.5, -2.5)), (2.5, -2.5), settings)
    truth = struck[0][0].truth(result.beams[0][0].spectrum)
    # Lines are tilted, so that a track lies in the bins beside its row.
    around = rows[:, None] + np.arange(-5, 6)
    ratios = np.abs((result.result.fits[0].first_fluxes[1] / truth)[around]).max(axis=1)
    assert ratios.size == 10
    assert ratios.max() < 2.0


def test_an_exposure_that_serves_twice_is_counted_once_in_the_noise(scene_of, width_of):
    """A B A: the stated error is that of the scatter; as if the three were independent it would not be."""
    offsets = (2.5, -2.5, 2.5)
    pairs, _ = pair_beams([Shot(offset, 700.0 * i) for i, offset in enumerate(offsets)])
    assert [pair.both for pair in pairs] == [True, False]
    exposures = [*nod(scene_of, seed=20), expose(scene_of, 2.8, 99)]
    combined, _, beams = reduce(exposures, pairs, offsets)
    pulls, ratios = compared(exposures[0][0], combined, 3.0)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.mean(ratios) - 1.0) < 0.01
    independent = combine_beams([replace(beam, parts={}) for beam in beams], {})
    share = np.median(
        combined.orders[0].spectrum.variance[50:-50] / independent.orders[0].spectrum.variance[50:-50]
    )
    assert 1.05 < share < 1.45


def test_sky_from_apart_serves_object_exposures(scene_of, width_of):
    exposures = [
        expose(scene_of, 0.35, 31),
        expose(scene_of, 0.35, 32, airglow=0.9, lit=False),
        expose(scene_of, 0.35, 33, airglow=0.8),
    ]
    shots = [Shot(0.0, 700.0 * i) for i in range(3)]
    pairs = skies_of(shots, [0, 2], [1], interpolate=True)
    combined, results, beams = reduce(exposures, pairs, (0.0, 0.0, 0.0))
    assert [len(result.beams) for result in results] == [1, 1]
    pulls, ratios = compared(exposures[0][0], combined, 2.0)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.1)
    assert abs(np.mean(ratios) - 1.0) < 0.01
    caught, error = caught_light(beams)
    assert caught == pytest.approx(np.ones(2), abs=0.03)
    lost, _ = caught_light([beams[0], replace(beams[1], orders=_dimmed(beams[1].orders))])
    assert lost.min() < 0.1
    assert error.max() < 0.05


def _dimmed(orders):
    return tuple(replace(item, spectrum=replace(item.spectrum, flux=0.02 * item.spectrum.flux)) for item in orders)
