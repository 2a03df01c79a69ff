import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flux.flux_calibration import ExtinctionCurve
from soxs_recipes.reduction.rectified.rectified_merge import flux_calibrate_image, merge_images


def smooth_light(order, nm, arcsec):
    """A sloping spectrum with an absorption band; sky and a wide object on the slit [per nm and arcsec]."""
    band = 0.4 * np.exp(-0.5 * ((nm - 901.0) / 1.5) ** 2)
    return 1e4 * (1.0 + 0.01 * (nm - 900.0) - band) * (0.2 + np.exp(-0.5 * ((arcsec - 0.8) / 1.5) ** 2))


def test_light_is_conserved_in_all_and_in_parts(straighten, optics):
    data = optics.pixel_values(smooth_light)
    images = straighten(data)
    assert [image.order for image in images] == [3, 4]
    assert [image.band for image in images] == ["a", "4"]
    boxes = 0
    for image in images:
        assert image.flux.sum(dtype=float) == pytest.approx(data[straighten.inside == image.order].sum(), rel=1e-5)
        truth = smooth_light(image.order, image.wavelength[None, :], image.slit[:, None])
        truth = truth * image.wavelength_step * image.slit_step
        whole = image.coverage > 0.999
        for left in range(20, image.shape[1] - 20, 15):
            box = (slice(4, -4), slice(left, left + 15))
            if whole[box].all():
                boxes += 1
                assert image.sum_box(*box)[0] == pytest.approx(truth[box].sum(), rel=1e-3)
    assert boxes > 30


def test_a_wrong_area_would_be_seen(straighten, optics, monkeypatch):
    from soxs_recipes.reduction.rectified import rectify

    data = optics.pixel_values(smooth_light)
    exact = rectify.overlap_areas

    def spoilt(column, row):
        found = exact(column, row)
        found.area[:, 0, 0] *= 1.02
        return found

    before = straighten(data)[0]
    monkeypatch.setattr(rectify, "overlap_areas", spoilt)
    after = straighten(data)[0]
    box = (slice(8, -8), slice(60, 70))
    assert abs(after.sum_box(*box)[0] / before.sum_box(*box)[0] - 1.0) > 1e-4


def test_lines_and_trace_stand_where_they_are(straighten, optics):
    def light(order, nm, arcsec):
        return np.exp(-0.5 * ((nm - 905.0 + 17.0 * (order - 3)) / 0.12) ** 2 - 0.5 * ((arcsec - 0.8) / 0.5) ** 2)

    for image in straighten(optics.pixel_values(light, steps=6)):
        total = image.flux.sum(dtype=float)
        wavelength = (image.flux.sum(axis=0) @ image.wavelength) / total
        slit = (image.flux.sum(axis=1) @ image.slit) / total
        assert wavelength == pytest.approx(905.0 - 17.0 * (image.order - 3), abs=0.02 * 0.055)
        assert slit == pytest.approx(0.8, abs=0.02 * 0.33)


def pulls(straighten, height, width, *, naive=False, variance=4.0):
    """(sum - truth) / error of boxes on frames of pure noise."""
    generator = np.random.default_rng(11)
    found = []
    for _ in range(12):
        noise = generator.normal(0.0, np.sqrt(variance), straighten.inside.shape)
        for image in straighten(noise, variance):
            whole = image.coverage > 0.999
            for top in range(2, image.shape[0] - height - 2, height):
                for left in range(10, image.shape[1] - width - 10, max(width, 25 if height == 1 else 7)):
                    box = (slice(top, top + height), slice(left, left + width))
                    if whole[box].all():
                        total, error = image.sum_box(*box)
                        if naive:
                            error = np.sqrt(image.variance[box].sum())
                        found.append(total / error)
    return np.array(found)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 4), (6, 20)])
def test_errors_of_boxes_are_right(straighten, height, width):
    values = pulls(straighten, height, width)
    assert values.size > 800
    allowed = 3.0 / np.sqrt(2 * values.size) * (2.5 if height == 1 else 1.5)
    assert np.std(values) == pytest.approx(1.0, abs=max(allowed, 0.03))


def test_without_the_covariance_they_would_not_be(straighten):
    naive = np.std(pulls(straighten, 6, 20, naive=True))
    assert naive > 1.25
    factor = straighten(np.zeros(straighten.inside.shape))[0].noise_factor
    assert naive == pytest.approx(factor, rel=0.15)


def test_masked_pixels_are_bridged_or_blank(straighten, optics):
    data = optics.pixel_values(lambda order, nm, arcsec: 100.0 + 0.0 * nm)
    clean = straighten(data)[0]
    quality = np.zeros(data.shape, np.int32)
    generator = np.random.default_rng(2)
    hit = generator.random(data.shape) < 0.01
    quality[hit] = int(QualityFlag.COSMIC_RAY)
    quality[10:28, 200:204] = int(QualityFlag.DEAD)
    quality[20, 100] = int(QualityFlag.TELLURIC)
    spoilt = np.where(quality & int(QualityFlag.COSMIC_RAY | QualityFlag.DEAD), 1e6, data)
    image = straighten(spoilt, quality=quality)[0]
    whole = (clean.coverage > 0.999) & image.known
    assert whole.sum() > 4000
    np.testing.assert_allclose(image.flux[whole], clean.flux[whole], rtol=0.02)
    filled = image.quality & int(QualityFlag.INTERPOLATED) != 0
    assert filled.sum() > 100
    lost = image.quality & int(QualityFlag.NO_DATA) != 0
    dead = image.quality & int(QualityFlag.DEAD) != 0
    assert dead.sum() > 20
    assert (lost | ~dead).all()
    assert (image.flux[~image.known] == 0).all()
    assert (image.quality & int(QualityFlag.TELLURIC) != 0).sum() in range(1, 10)
    # What is filled is as uncertain as what it rests on.
    assert np.median(image.variance[filled & image.known]) > np.median(clean.variance[clean.coverage > 0.999])


def test_bins_are_filled_from_half_of_their_pixels_and_their_errors_say_so(straighten):
    generator, ones = np.random.default_rng(3), np.ones(straighten.inside.shape)
    good = generator.random(ones.shape) > 0.3
    quality = np.where(good, 0, int(QualityFlag.HOT)).astype(np.int32)
    clean, masked = straighten(ones)[0], straighten(ones, quality=quality)[0]
    # Pixels of one size, nearly: the light of the good ones is their share of the area.
    whole = clean.coverage > 0.999
    share = straighten(good.astype(float))[0].flux[whole] / clean.flux[whole]
    assert (share < 0.45).sum() > 100
    assert not masked.known[whole][share < 0.45].any()
    assert masked.known[whole][share > 0.55].all()
    filled = (share > 0.55) & (share < 0.97)
    assert filled.sum() > 1000
    ratio = masked.sum_variance[whole][filled] / clean.sum_variance[whole][filled]
    assert ratio == pytest.approx(1.0 / share[filled], rel=0.03)
    flagged = (masked.quality & int(QualityFlag.INTERPOLATED) != 0)[whole]
    assert flagged[filled].all()
    assert not flagged[share > 0.9999].any()


def test_pixels_without_an_error_take_no_part(straighten):
    variance = np.where(np.random.default_rng(5).random(straighten.inside.shape) < 0.01, np.inf, 4.0)
    data = np.where(np.isfinite(variance), 1.0, 1e9)
    clean, image = straighten(np.ones(data.shape), 4.0)[0], straighten(data, variance)[0]
    whole = clean.coverage > 0.999
    assert whole.sum() > 4000
    assert image.known[whole].mean() > 0.98
    whole &= image.known
    np.testing.assert_allclose(image.flux[whole], clean.flux[whole], rtol=0.05)
    assert np.isfinite(image.sum_variance[whole]).all()


def test_bins_at_the_ends_of_the_slit_say_that_they_are_not_whole(straighten):
    image = straighten(np.ones(straighten.inside.shape))[0]
    flagged = image.quality & int(QualityFlag.PARTIAL_APERTURE) != 0
    partly = image.known & (image.coverage > 0.01) & (image.coverage < 0.98)
    assert partly.sum() > 300
    assert flagged[partly].all()
    assert not flagged[image.coverage > 0.995].any()


def test_a_flat_keeps_its_level(straighten):
    generator = np.random.default_rng(4)
    flat = 1.0 + 0.01 * generator.standard_normal(straighten.inside.shape)
    image = straighten(flat, 1e-4, average=True)[0]
    assert image.unit == ""
    assert image.flux[image.known].mean(dtype=float) == pytest.approx(1.0, abs=1e-3)
    assert 0.4 < np.std(image.flux[image.coverage > 0.999]) / 0.01 < 0.9
    whole = image.coverage > 0.999
    pull = (image.flux[whole] - 1.0) / np.sqrt(image.variance[whole])
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)


def test_merging_gives_density_without_holes(straighten, optics):
    images = straighten(
        optics.pixel_values(smooth_light), sky=optics.pixel_values(lambda order, nm, arcsec: 50.0 + 0 * nm)
    )
    merged = merge_images(images)
    assert merged.unit == "electron / nm"
    middle = np.abs(merged.slit) < 3.0
    assert merged.known[middle].all(axis=0).mean() > 0.95
    whole = merged.known & (merged.coverage > 0.999)
    wavelength = np.broadcast_to(merged.wavelength, merged.shape)
    slit = np.broadcast_to(merged.slit[:, None], merged.shape)
    truth = smooth_light(0, wavelength, slit) * merged.slit_step
    assert whole.sum() > 8000
    np.testing.assert_allclose(merged.flux[whole], truth[whole], rtol=0.015)
    inside = whole & (np.abs(slit) < 3)
    np.testing.assert_allclose(merged.sky[inside], 50.0 * merged.slit_step, rtol=0.01)
    assert not np.isnan(merged.flux).any()
    assert (merged.quality[~merged.known] == int(QualityFlag.NO_DATA)).all()


def test_partly_covered_bins_hold_the_density_of_whole_ones(straighten, optics):
    merged = merge_images(straighten(optics.pixel_values(lambda order, nm, arcsec: 100.0 + 0 * nm)))
    partly = merged.known & (merged.coverage < 0.9)
    assert partly.sum() > 100
    np.testing.assert_allclose(merged.flux[partly], 100.0 * merged.slit_step, rtol=0.03)


def test_errors_of_merged_bins_are_right_where_orders_overlap_and_elsewhere(straighten):
    """Also where one order is far noisier than the other."""
    generator, shape = np.random.default_rng(6), straighten.inside.shape
    variance = np.where(straighten.inside == 4, 36.0, 4.0)
    bins, boxes = [], []
    for _ in range(10):
        images = straighten(generator.normal(0.0, np.sqrt(variance), shape), variance)
        merged = merge_images(images)
        whole = merged.known & (merged.coverage > 0.999)
        both = (merged.wavelength > images[0].wavelength[20]) & (merged.wavelength < images[1].wavelength[-20])
        assert both.sum() > 20
        for where in (both, ~both):
            rows = np.arange(4, merged.shape[0] - 4, 3)
            chosen = whole & where[None, :]
            bins.append((merged.flux / np.sqrt(np.where(chosen, merged.variance, 1.0)))[rows][chosen[rows]][::3])
        for left in range(0, merged.shape[1] - 12, 12):
            for top in range(4, merged.shape[0] - 10, 6):
                box = (slice(top, top + 6), slice(left, left + 12))
                if whole[box].all():
                    total, error = merged.sum_box(*box)
                    boxes.append(total / error)
    for values in (np.concatenate(bins[::2]), np.concatenate(bins[1::2])):
        assert values.size > 500
        assert np.std(values) == pytest.approx(1.0, abs=0.07)
    assert len(boxes) > 400
    assert np.std(boxes) == pytest.approx(1.0, abs=0.1)


def test_the_cover_of_merged_bins_is_the_best_of_the_orders(straighten):
    images = straighten(np.ones(straighten.inside.shape))
    merged = merge_images(images)
    used = 0
    for image in images:
        begin = round((image.wavelength_start - merged.wavelength_start) / merged.wavelength_step)
        cover = merged.coverage[:, begin : begin + image.shape[1]]
        whole = image.known & (image.coverage > 0.999)
        used += whole.sum()
        assert np.all(cover[whole] > 0.999)
    assert used > (merged.coverage > 0.999).sum()


def test_overlap_lowers_the_noise(straighten):
    images = straighten(np.zeros(straighten.inside.shape), 4.0)
    merged = merge_images(images)
    row = int(np.argmin(np.abs(merged.slit)))
    both = (merged.wavelength > images[0].wavelength[20]) & (merged.wavelength < images[1].wavelength[-20])
    assert both.sum() > 20
    alone = merged.wavelength > images[1].wavelength[-1] + 1
    ratio = np.median(merged.variance[row, both]) / np.median(merged.variance[row, alone])
    assert 0.4 < ratio < 0.65


def test_the_faint_end_of_one_order_fills_no_gap_of_the_other(straighten):
    shape = straighten.inside.shape
    quality = np.zeros(shape, np.int32)
    quality[:, 30:33] = np.where(straighten.inside[:, 30:33] == 3, int(QualityFlag.COSMIC_RAY), 0)
    variance = np.where(straighten.inside == 4, 4e6, 4.0)
    images = straighten(np.where(straighten.inside == 4, 1e3, 1.0), variance, quality)
    merged = merge_images(images)
    blank = np.isinf(images[0].variance) & (images[0].coverage > 0.99)
    assert blank.sum() > 20
    begin = round((images[0].wavelength_start - merged.wavelength_start) / merged.wavelength_step)
    assert not merged.known[:, begin : begin + images[0].shape[1]][blank].any()
    assert merged.flux[merged.known & (merged.wavelength > images[0].wavelength[12])].max() < 100.0


def response(order=(3, 4)):
    wavelength = np.linspace(870, 930, 50)
    number = np.repeat(order, 50).astype(np.int16)
    value = 1e-17 * (1 + 0.01 * (np.tile(wavelength, len(order)) - 900))
    zeros = np.zeros(number.size, np.int32)
    return Response(number, np.tile(wavelength, len(order)), value, 0.01 * value, 0 * value, zeros)


def test_flux_calibrated_rows_add_up_to_the_spectrum(straighten, optics):
    data = optics.pixel_values(lambda order, nm, arcsec: 1e4 * np.exp(-0.5 * (arcsec / 0.5) ** 2) + 0 * nm)
    curve = ExtinctionCurve(np.array([300.0, 2000.0]), np.array([0.1, 0.1]))
    calibrated = [flux_calibrate_image(image, response(), curve, 1.5, 100.0) for image in straighten(data)]
    merged = merge_images(calibrated)
    assert merged.unit == "erg / (s cm2 Angstrom)"
    electrons = 1e4 * 0.5 * np.sqrt(2 * np.pi)
    expected = electrons / 100.0 * 1e-17 * (1 + 0.01 * (merged.wavelength - 900)) * 10 ** (0.4 * 0.15)
    found = merged.flux.sum(axis=0, dtype=float)
    inner = slice(30, -30)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=2e-3)
    # Errors as small as fluxes of 1e-17 make them must not underflow.
    assert np.all(merged.variance[merged.known] > 0)


def test_orders_without_response_are_lost_and_said(straighten):
    curve = ExtinctionCurve(np.array([300.0, 2000.0]), np.array([0.1, 0.1]))
    images = straighten(np.ones(straighten.inside.shape))
    lost = flux_calibrate_image(images[0], response((4,)), curve, 1.0, 10.0)
    assert not lost.known.any()
    assert (lost.quality & int(QualityFlag.NO_DATA) != 0).all()
    with pytest.raises(AlgorithmError, match="no order"):
        merge_images([lost])
    with pytest.raises(ValueError, match="electrons"):
        flux_calibrate_image(lost, response(), curve, 1.0, 10.0)
