"""Cosmic rays are found; well-focused light is not."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from soxs_recipes.reduction.extraction import cosmic_rays
from soxs_recipes.reduction.extraction.cosmic_rays import HitImages, find_cosmic_rays, grow_hits, narrow_hits


@pytest.fixture
def blank():
    rng = np.random.default_rng(4)
    sigma = np.full((400, 300), 8.0)
    return rng.normal(0, 8.0, sigma.shape), sigma, np.ones(sigma.shape, bool), rng


def _hit(image, rng, count, low=90.0, high=3000.0):
    truth = np.zeros(image.shape, bool)
    for _ in range(count):
        y, x = rng.integers(4, image.shape[0] - 8), rng.integers(4, image.shape[1] - 8)
        dy, dx = ((0, 1), (1, 0), (1, 1))[rng.integers(3)]
        for k in range(rng.integers(1, 5)):
            image[y + k * dy, x + k * dx] += rng.uniform(low, high)
            truth[y + k * dy, x + k * dx] = True
    return truth


def test_hits_are_found_and_noise_is_not(blank):
    image, sigma, usable, rng = blank
    clean = image.copy()
    truth = _hit(image, rng, 200)
    found = find_cosmic_rays(image, sigma, usable)
    assert truth.sum() > 300
    assert (found & truth).sum() / truth.sum() > 0.97
    assert find_cosmic_rays(clean, sigma, usable).mean() <= 1e-5


def test_pure_noise_of_many_pixels():
    rng = np.random.default_rng(5)
    image = rng.standard_normal((2000, 1000))
    assert find_cosmic_rays(image, np.ones_like(image), np.ones(image.shape, bool)).mean() <= 1e-5


def _slanted_track(shape, angle, length, electrons):
    """What a particle leaves on its way (300 e-/px, say) across pixels, at an angle [degrees] to axis 1."""
    track = np.zeros(shape)
    steps = np.linspace(0.0, length, 200 * length)
    y = np.rint(100.3 + np.sin(np.radians(angle)) * steps).astype(int)
    x = np.rint(100.1 + np.cos(np.radians(angle)) * steps).astype(int)
    np.add.at(track, (y, x), electrons * length / steps.size)
    return track


@pytest.mark.parametrize("angle", [0.0, 20.0, 40.0, 45.0, 50.0, 90.0, 135.0])
def test_a_long_track_is_found_whole_at_any_angle(blank, angle):
    image, sigma, usable, _ = blank
    track = _slanted_track(image.shape, angle, 60, 1500.0)
    hit = track > 80.0
    assert 55 < hit.sum() < 130
    found = find_cosmic_rays(image + track, sigma, usable)
    assert (hit & ~found).sum() == 0
    assert (found & (track == 0)).sum() <= 2


def test_a_hit_beside_well_focused_light_does_not_take_it_along(blank):
    image, sigma, usable, rng = blank
    y, x = np.mgrid[:400, :300]
    truth, light = np.zeros(image.shape, bool), np.zeros(image.shape)
    for row in range(20, 390, 30):
        for column in range(20, 290, 30):
            centre = np.array([row, column]) + rng.uniform(-0.5, 0.5, 2)
            light += 2000.0 * np.exp(-0.5 * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2.2 / 2.3548) ** 2)
            truth[row + 2, column + 1] = True
    image += light + np.where(truth, 2500.0, 0.0)
    found = find_cosmic_rays(image, np.sqrt(sigma**2 + light), usable)
    assert truth.sum() == 117
    assert (found & truth).sum() > 110
    spots = (light > 200.0) & ~truth
    assert (found & spots).sum() < 0.65 * spots.sum()


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 3.0])
def test_undersampled_spots_and_lines_stay(blank, fwhm):
    image, sigma, usable, rng = blank
    y, x = np.mgrid[:400, :300]
    s = fwhm / 2.3548
    fine = (np.arange(5) - 2) / 5.0
    places = rng.uniform([10, 10], [390, 290], (40, 2))
    for cy, cx in places:
        near = (abs(y - cy) < 8) & (abs(x - cx) < 8)
        gy = np.mean([np.exp(-0.5 * ((y[near] + f - cy) / s) ** 2) for f in fine], axis=0)
        gx = np.mean([np.exp(-0.5 * ((x[near] + f - cx) / s) ** 2) for f in fine], axis=0)
        image[near] += 2000.0 * gy * gx
    image += 1500.0 * np.mean([np.exp(-0.5 * ((y + 0.2 * x - 200.3 + f) / s) ** 2) for f in fine], axis=0)
    sigma = np.sqrt(sigma**2 + np.maximum(image, 0))
    found = find_cosmic_rays(image, sigma, usable)
    assert found.sum() <= 2


def test_masked_pixels_are_never_reported(blank):
    image, sigma, usable, _ = blank
    image[50, 50], usable[50, 50] = 1e5, False
    assert not find_cosmic_rays(image, sigma, usable)[45:56, 45:56].any()


def _line(image, row, fwhm, peak):
    """Light of a line `fwhm` px wide along axis 0, averaged over pixels and uneven along axis 1."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    fine = (np.arange(9) - 4) / 9.0
    width = fwhm / 2.3548
    shape = np.mean([np.exp(-0.5 * ((y + f - row - 0.07 * x) / width) ** 2) for f in fine], axis=0)
    return peak * shape * np.exp(-0.5 * ((x - 150.0) / 4.0) ** 2)


def _narrow(image, sigma, usable):
    return narrow_hits(image, sigma, usable, image.shape[1])


def test_a_track_along_the_slit_is_no_line(blank, monkeypatch):
    image, sigma, usable, rng = blank
    assert _narrow(image, sigma, usable).sum() == 0
    truth = np.zeros(image.shape, bool)
    truth[50:350:20, 145:156] = True
    hit = image + np.where(truth, rng.uniform(250.0, 3000.0, image.shape), 0.0)
    found = _narrow(hit, sigma, usable)
    assert truth.sum() == 165
    assert (found & truth).sum() > 160
    assert not (found & ~truth).any()
    # The same along the dispersion is the business of the other finder.
    assert narrow_hits(hit, sigma, usable, 1).sum() < 40


@pytest.mark.parametrize("fwhm", [1.7, 2.5, 4.0])
def test_lines_of_the_object_stay(blank, monkeypatch, fwhm):
    image, sigma, usable, rng = blank
    light = sum(_line(image, row, fwhm, 4000.0) for row in 30.0 + 37.13 * np.arange(9))
    noise = np.sqrt(sigma**2 + light)
    drawn = image + light + np.sqrt(light) * rng.standard_normal(image.shape)
    assert (light > 10.0 * noise).sum() > 200
    assert _narrow(drawn, noise, usable).sum() == 0
    if fwhm == 1.7:
        monkeypatch.setattr(cosmic_rays, "_LEAST_NEXT", 0.7)
        assert _narrow(drawn, noise, usable).sum() > 5


def test_a_pixel_between_masked_ones_is_left_alone(blank):
    image, sigma, usable, _ = blank
    image[100, 100] = 1000.0
    assert _narrow(image, sigma, usable)[100, 100]
    usable[[99, 101], 100] = False
    assert not _narrow(image, sigma, usable)[100, 100]


def test_neighbours_stay_below_by_the_noise_of_both(blank):
    image, sigma, usable, _ = blank
    image[:] = 0.0
    sigma[[99, 101], 100] = 0.38 * sigma[100, 100]
    for significance, is_hit in ((5.2, False), (6.0, True)):  # limit: 3 hypot(0.25, 0.38) / 0.25 = 5.46
        image[100, 100] = significance * sigma[100, 100]
        assert _narrow(image, sigma, usable)[100, 100] == is_hit


def test_hits_that_were_subtracted_are_found_by_their_sign(blank):
    image, sigma, usable, rng = blank
    _hit(image, rng, 100)
    image[200, 50:60] += 2000.0
    usable[::7, ::5] = False
    for find in (lambda light, **how: narrow_hits(light, sigma, usable, image.shape[1], **how),
                 lambda light, **how: find_cosmic_rays(light, sigma, usable, **how)):  # fmt: skip
        hits = find(image)
        assert hits.sum() > 50
        assert np.array_equal(find(-image, sign=-1.0), hits)
        assert not (find(image, sign=-1.0) & hits).any()


@pytest.mark.parametrize("threshold", [5.0, 12.0])
def test_hits_are_the_same_where_only_suspects_are_looked_at(blank, threshold):
    image, sigma, usable, rng = blank
    _hit(image, rng, 100)
    _hit(image, rng, 100, -3000.0, -90.0)
    usable[::7, ::5] = False
    order = np.arange(20 * 300, 380 * 300)
    inside = np.zeros(image.shape, bool)
    inside[20:380] = usable[20:380]
    images = HitImages(image.shape)
    suspects = images.put(order, image.ravel()[order], sigma.ravel()[order] ** 2, usable.ravel()[order], threshold)
    assert 300 < suspects.size < 1000
    assert images.usable.ravel()[suspects].all()
    for sign, places in ((1.0, suspects), (-1.0, suspects), (1.0, order)):  # `order` holds masked pixels, too
        how = {"sign": sign, "threshold": threshold}
        found = [
            find_cosmic_rays(np.where(inside, image, 0.0), sigma, inside, **how),
            narrow_hits(image, sigma, inside, 300, **how),
        ]
        arrays = images.light, images.sigma, images.usable
        again = [
            find_cosmic_rays(*arrays, **how, suspects=places),
            narrow_hits(*arrays, 300, **how, suspects=places),
        ]
        assert min(hits.sum() for hits in found) > 50
        assert np.array_equal(found, again)


def test_hits_grow_into_what_is_part_of_them_two_pixels_far():
    rng = np.random.default_rng(8)
    hits, part = rng.random((60, 50)) < 0.02, rng.random((60, 50)) < 0.4
    hits[0, 7] = hits[30, -1] = True
    plain = hits.copy()
    for _ in range(2):
        plain |= binary_dilation(plain, structure=np.ones((3, 3), bool)) & part
    assert plain.sum() > hits.sum() + 100
    grow_hits(hits, lambda y, x: part[y, x])
    assert np.array_equal(hits, plain)


def test_an_image_without_hits_stays_so():
    hits = np.zeros((20, 10), bool)
    grow_hits(hits, lambda y, x: np.ones(y.shape, bool))
    assert not hits.any()
