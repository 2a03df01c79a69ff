from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.reduction.flux.response_archive import archive_response, compare_with_archive, join_archive
from soxs_recipes.reduction.flux.response_combination import arm_response

GRID = np.linspace(400.0, 500.0, 200)


def curve(seed, sensitivity=1.0, tilt=0.0, orders=(1, 2), sigma=0.01):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([order * 1e-17 * np.exp(((GRID - 450.0) / 40.0) ** 2) for order in orders])
    wavelength = np.concatenate([GRID + 80.0 * (order - 1) for order in orders])
    value = truth / (sensitivity * (1.0 + tilt * (wavelength - 490.0) / 180.0))
    value = value * (1 + sigma * rng.normal(size=truth.size))
    order = np.repeat(np.array(orders, np.int16), len(GRID))
    photons = 2e-9 / wavelength
    return Response(order, wavelength, value, sigma * value, photons / value, np.zeros(truth.size, np.int32))


def build(count=6, levels=None, most=100):
    archive = None
    for night in range(count):
        level = 1.0 if levels is None else levels[night]
        archive = join_archive(archive, curve(night, level), 61000.0 + 30 * night, f"star {night}", most)
    return archive


def test_curves_are_kept_in_time_and_number():
    archive = build(6, most=4)
    assert archive.count == 4
    assert archive.mjd.tolist() == [61060.0, 61090.0, 61120.0, 61150.0]
    assert archive.stars == ("star 2", "star 3", "star 4", "star 5")
    early = join_archive(archive, curve(9), 61070.0, "late news", 10)
    assert early.stars == ("star 2", "late news", "star 3", "star 4", "star 5")


def test_the_same_night_is_replaced():
    archive = build(3)
    again = join_archive(archive, curve(77, 2.0), 61030.0, "again", 10)
    assert again.count == 3
    assert np.median(again.curves[1] / archive.curves[1]) == pytest.approx(0.5, rel=0.01)


def test_median_shape_at_the_median_level():
    levels = [1.0, 0.8, 1.0, 1.02, 0.98, 1.0]
    archive = build(6, levels)
    median = archive_response(archive)
    truth = curve(1, sigma=0.0)
    ratio = median.response / truth.response
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
    assert np.std(ratio) < 0.007
    np.testing.assert_allclose(median.efficiency * median.response, archive.photons)
    assert 0.01 < np.median(median.error / median.response) < 0.05
    one = archive_response(build(1))
    assert np.median(one.error / one.response) > 0.05


def test_curves_that_agree_leave_the_error_of_a_mean():
    archive = None
    for night in range(4):
        archive = join_archive(archive, curve(1), 61000.0 + night, "star", 10)
    median = archive_response(archive)
    assert median.error / median.response == pytest.approx(np.full(400, 0.005), rel=0.05)


def test_curves_of_more_orders_stand_at_the_level_of_the_others():
    archive = None
    for night, orders in enumerate([(1, 2), (1, 2, 3), (1, 2), (1, 2, 3)]):
        archive = join_archive(archive, curve(night, orders=orders), 61000.0 + night, "star", 10)
    median, truth = archive_response(archive), curve(1, orders=(1, 2, 3), sigma=0.0)
    assert np.median(median.response / truth.response) == pytest.approx(1.0, abs=0.005)
    assert np.median(median.error / median.response) < 0.015
    np.testing.assert_allclose(archive.photons, 2e-9 / archive.wavelength)


def test_a_new_order_joins():
    archive = build(3)
    wider = join_archive(archive, curve(5, orders=(1, 2, 3)), 61500.0, "wide", 10)
    assert set(np.unique(wider.order)) == {1, 2, 3}
    assert np.isnan(wider.curves[:3, wider.order == 3]).all()
    assert np.isfinite(archive_response(wider).response).all()
    # Once its only curve has gone the order goes, too.
    shorter = join_archive(wider, curve(6), 61600.0, "next", 1)
    assert set(np.unique(shorter.order)) == {1, 2}


def test_grey_and_coloured_changes_are_told_apart():
    archive = build()
    same = compare_with_archive(curve(50), archive, 61300.0)
    assert (abs(same.drift) < 0.005, same.deviation < 0.006, same.count) == (True, True, 6)
    # Noise alone sets the earlier curves apart, too.
    assert same.usual == pytest.approx(same.deviation, rel=0.6)
    grey = compare_with_archive(curve(51, 0.9), archive, 61300.0)
    assert grey.drift == pytest.approx(-0.1, abs=0.005)
    assert grey.deviation < 0.006
    colour = compare_with_archive(curve(52, tilt=0.12), archive, 61300.0)
    assert abs(colour.drift) < 0.02
    assert colour.colour == pytest.approx(0.12, abs=0.02)
    assert colour.deviation > 5 * same.deviation
    assert abs(colour.worst) > 0.04
    assert not 440.0 < colour.worst_wavelength < 540.0


def test_a_dent_in_one_order_is_found_where_it_is():
    new = curve(60)
    dent = 1.0 + 0.2 * np.exp(-0.5 * ((new.wavelength - 545.0) / 6.0) ** 2)
    found = compare_with_archive(replace(new, response=new.response * dent), build(), 61300.0)
    assert abs(found.worst_wavelength - 545.0) < 6.0
    assert found.worst == pytest.approx(-0.13, abs=0.04)


def test_absorption_bands_take_no_part():
    archive = build()
    quality = np.where(np.abs(archive.wavelength - 545.0) < 25.0, int(QualityFlag.TELLURIC), 0).astype(np.int32)
    new = curve(60)
    dent = 1.0 + 0.2 * np.exp(-0.5 * ((new.wavelength - 545.0) / 6.0) ** 2)
    found = compare_with_archive(
        replace(new, response=new.response * dent), replace(archive, quality=quality), 61300.0
    )
    assert found.deviation < 0.01


def test_nearest_and_trend():
    archive = join_archive(build(4), curve(70, tilt=0.1), 61200.0, "tilted", 10)
    found = compare_with_archive(curve(71, tilt=0.1), archive, 61400.0)
    assert found.nearest_mjd == 61200.0
    assert found.nearest_deviation < 0.5 * found.deviation
    fading = build(6, 1.0 - 0.02 * np.arange(6))
    trend = compare_with_archive(curve(72, 0.88), fading, 61180.0).trend
    assert trend == pytest.approx(-0.02 / 30 * 365.25, rel=0.15)
    assert np.isnan(compare_with_archive(curve(73), build(2), 61300.0).trend)


def test_its_own_night_is_no_witness():
    assert compare_with_archive(curve(0), build(1), 61000.0) is None


def test_all_orders_together():
    response = curve(1, sigma=0.0)
    arm = arm_response(response)
    assert (arm.order == 0).all()
    assert np.all(np.diff(arm.wavelength) > 0)
    alone = arm.wavelength < 479.0
    np.testing.assert_allclose(
        arm.response[alone], np.interp(arm.wavelength[alone], GRID, response.response[:200]), rtol=1e-3
    )
    both = np.argmin(np.abs(arm.wavelength - 490.0))
    parts = [
        np.interp(arm.wavelength[both], GRID + 80 * k, 1 / response.response[200 * k : 200 * k + 200])
        for k in (0, 1)
    ]
    assert 1.0 / arm.response[both] == pytest.approx(sum(parts), rel=1e-3)


def test_what_all_orders_together_are_told_by():
    response = curve(1)
    quality = np.where(response.wavelength > 575.0, np.int32(QualityFlag.TELLURIC), np.int32(0))
    response = replace(response, quality=quality.astype(np.int32))
    arm = arm_response(response)
    alone, both = arm.wavelength < 479.0, int(np.argmin(np.abs(arm.wavelength - 490.0)))
    np.testing.assert_allclose((arm.error / arm.response)[alone], 0.01, rtol=1e-6)
    parts = [
        [
            np.interp(arm.wavelength[both], response.wavelength[own], values[own])
            for values in (1.0 / response.response, response.error / response.response, response.efficiency)
        ]
        for own in (response.order == 1, response.order == 2)
    ]
    (one, error_one, eff_one), (two, error_two, eff_two) = parts
    expected = np.hypot(one * error_one, two * error_two) / (one + two)
    assert (arm.error / arm.response)[both] == pytest.approx(expected, rel=1e-6)
    assert arm.efficiency[both] == pytest.approx(eff_one + eff_two, rel=1e-6)
    flagged = (arm.quality & int(QualityFlag.TELLURIC)) != 0
    assert flagged[arm.wavelength > 575.5].all()
    assert not flagged[arm.wavelength < 574.5].any()
