import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flux import response as module
from soxs_recipes.reduction.flux.flux_calibration import ExtinctionCurve
from soxs_recipes.reduction.flux.response import (
    PHOTON_ENERGY,
    StandardObservation,
    StandardSpectrum,
    TelluricTransmission,
    derive_response,
)

AREA = 89000.0
BAND = (626.5, 634.5)
BALMER = np.array([410.29, 434.17, 486.27])


def derive(scene, **changes):
    observation = StandardObservation(
        changes.get("orders", scene.orders), scene.exposure_time, changes.get("airmass", scene.airmass), 5000.0
    )
    telluric = TelluricTransmission(*scene.telluric) if changes.get("telluric", True) else None
    return derive_response(
        observation, StandardSpectrum(*scene.star), ExtinctionCurve(*scene.extinction), AREA, telluric
    )


def bin_errors(fit, scene, width=10.0):
    """Relative errors of sensitivity in 10 nm means of the inner 80 % of each order, outside the strong band."""
    errors = []
    for number, truth in scene.sensitivity.items():
        own = fit.response.order == number
        grid = fit.response.wavelength[own]
        low, high = grid[0] + 0.1 * np.ptp(grid), grid[-1] - 0.1 * np.ptp(grid)
        keep = (grid > low) & (grid < high) & ~((grid > BAND[0]) & (grid < BAND[1]))
        error = 1.0 / fit.response.response[own] / truth(grid) - 1.0
        bins = ((grid - low) // width).astype(int)
        errors += [error[keep & (bins == number)].mean() for number in np.unique(bins[keep])]
    return np.array(errors)


@pytest.fixture(scope="module")
def fit(scene):
    return derive(scene)


def test_sensitivity_is_recovered(fit, scene):
    errors = bin_errors(fit, scene)
    assert len(errors) > 25
    assert np.sqrt(np.mean(errors**2)) < 0.003
    assert np.abs(errors).max() < 0.01
    assert fit.failed == ()


def test_steep_ends_of_the_blaze_are_followed(fit, scene):
    for number, truth in scene.sensitivity.items():
        own = fit.response.order == number
        grid = fit.response.wavelength[own]
        ends = np.r_[5:40, -40:-5]
        sensitivity = truth(grid)[ends]
        assert sensitivity.min() < 0.1 * truth(grid).max()
        assert np.abs(1.0 / fit.response.response[own][ends] / sensitivity - 1.0).max() < 0.03


def _with_a_cut(scene, centre=483.0, width=0.7):
    """The first order behind a dichroic that cuts within some nanometres, and its truth."""
    from dataclasses import replace

    order = scene.orders[0]

    def transmission(wavelength):
        return 1.0 / (1.0 + np.exp((wavelength - centre) / width))

    rng = np.random.default_rng(8)
    expected = np.maximum(order.flux, 0.0) * transmission(order.wavelength)
    flux = expected + rng.normal(size=len(expected)) * np.sqrt(expected + 30.0)
    cut = replace(order, flux=flux, variance=expected + 30.0)
    return cut, lambda wavelength: scene.sensitivity[1](wavelength) * transmission(wavelength)


def _errors_along_a_cut(scene):
    cut, truth = _with_a_cut(scene)
    found = derive(scene, orders=[cut]).response
    # Down to a twentieth, from where nothing has been cut.
    along = (found.wavelength > 460.0) & (found.wavelength < 485.0)
    assert along.sum() > 50
    return np.abs(1.0 / found.response[along] / truth(found.wavelength[along]) - 1.0)


def test_a_steep_cut_is_followed(scene, monkeypatch):
    assert _errors_along_a_cut(scene).max() < 0.03
    from soxs_recipes.reduction.numerics import penalised_spline

    monkeypatch.setattr(penalised_spline, "_REFINEMENTS", 0)
    assert _errors_along_a_cut(scene).max() > 0.06


def test_velocity_of_the_star(fit, scene):
    assert fit.velocity_error < 10.0
    assert abs(fit.velocity - scene.velocity) < 4.0 * fit.velocity_error + 2.0


def test_wrong_airmass_is_seen(scene):
    """Mutation: one tenth of an airmass less must spoil the colour of the response."""
    errors = bin_errors(derive(scene, airmass=scene.airmass - 0.3), scene)
    assert np.ptp(errors) > 0.02


def _prepared(scene, order, velocity=0.0, airmass=None):
    """Order of the scene ready to fit, and the transmission at the zenith in each bin."""
    observation = StandardObservation(scene.orders, scene.exposure_time, airmass or scene.airmass, 5000.0)
    tables = (
        StandardSpectrum(*scene.star),
        ExtinctionCurve(*scene.extinction),
        TelluricTransmission(*scene.telluric),
    )
    return module._prepare(scene.orders[order - 1], observation, *tables, velocity)


def test_cores_of_hydrogen_are_left_out_where_the_stars_velocity_puts_them(scene):
    for velocity in (0.0, 400.0):
        prepared = _prepared(scene, 2, velocity)
        from_core = (prepared.spectrum.wavelength / 486.27 - 1.0) * 299792.458 - velocity
        assert not prepared.use[np.abs(from_core) < 220.0].any()
        assert prepared.use[np.abs(np.abs(from_core) - 330.0) < 60.0].all()


def test_absorption_counts_as_strong_at_the_airmass(scene, fit):
    through = _prepared(scene, 3).transmission
    assert ((through > 0.4) & (through < 0.65)).sum() > 5
    assert not _prepared(scene, 3, airmass=3.0).use[through**3.0 < 0.29].any()
    own = fit.response.order == 3
    at = np.interp(fit.response.wavelength[own], scene.orders[2].wavelength, through) ** scene.airmass
    flagged = (fit.response.quality[own] & int(QualityFlag.TELLURIC)) != 0
    assert flagged.sum() > 10
    assert np.array_equal(flagged, at < 0.95)


def test_a_star_without_lines_has_no_velocity(scene):
    from dataclasses import replace

    rng, orders = np.random.default_rng(3), []
    for order in scene.orders:
        air = 10 ** (-0.4 * scene.airmass * np.interp(order.wavelength, *scene.extinction))
        light = 6e-14 * (order.wavelength / 550.0) ** -3.6 * air * order.bin_width * scene.exposure_time
        expected = light * scene.sensitivity[order.order](order.wavelength)
        orders.append(replace(order, flux=expected + rng.normal(size=len(expected)) * np.sqrt(order.variance)))
    smooth = replace(scene, orders=orders, star=(scene.star[0], 6e-14 * (scene.star[0] / 550.0) ** -3.6))
    found = derive(smooth, telluric=False)
    assert found.velocity == 0.0
    assert found.velocity_error > 50.0


def _errors_near_lines(found, scene):
    errors = []
    for number in (1, 2):
        own = found.response.order == number
        grid = found.response.wavelength[own]
        near = np.min(np.abs(grid[:, None] / BALMER - 1.0), axis=1) < 0.006
        errors.append(1.0 / found.response.response[own][near] / scene.sensitivity[number](grid[near]) - 1.0)
    return np.concatenate(errors)


def test_a_wrong_velocity_spoils_the_response_at_the_lines(scene, fit, monkeypatch):
    right = _errors_near_lines(fit, scene)
    assert len(right) > 40
    assert np.abs(right).max() < 0.01
    monkeypatch.setattr(module, "_velocity", lambda *_: (-220.0, 1.0))
    wrong = _errors_near_lines(derive(scene), scene)
    assert np.abs(wrong).max() > 2.0 * np.abs(right).max()


def test_errors_are_true(scene_maker):
    """Pulls over seeds: (estimate - truth) / error at places far apart, faint star so that noise rules."""
    pulls = []
    for seed in range(6):
        scene = scene_maker(seed=seed, brightness=0.02, bins=900)
        found = derive(scene)
        for number, truth in scene.sensitivity.items():
            own = np.flatnonzero(found.response.order == number)[40:-40:40]
            estimate = np.log(1.0 / found.response.response[own])
            relative = found.response.error[own] / found.response.response[own]
            pulls += list((estimate - np.log(truth(found.response.wavelength[own]))) / relative)
    assert len(pulls) >= 100
    assert 0.7 < 1.4826 * np.median(np.abs(pulls)) < 1.4
    assert abs(np.median(pulls)) < 0.4


def test_strong_absorption_does_not_enter(fit, scene):
    blind = derive(scene, telluric=False)

    def error_in_band(found):
        own = (found.response.order == 3) & (np.abs(found.response.wavelength - np.mean(BAND)) < 4.0)
        assert own.sum() > 10
        truth = scene.sensitivity[3](found.response.wavelength[own])
        return np.abs(1.0 / found.response.response[own] / truth - 1.0).max()

    assert error_in_band(fit) < 0.02
    assert error_in_band(blind) > 3.0 * error_in_band(fit)
    own = (fit.response.order == 3) & (np.abs(fit.response.wavelength - np.mean(BAND)) < 2.0)
    assert np.all(fit.response.quality[own] & int(QualityFlag.TELLURIC))


def test_efficiency_counts_photons(fit, scene):
    own = fit.response.order == 2
    grid = fit.response.wavelength[own]
    middle = np.argmin(np.abs(grid - 530.0))
    photons_per_flux = 10.0 * AREA / (PHOTON_ENERGY / grid[middle])
    assert fit.response.efficiency[own][middle] == pytest.approx(
        scene.sensitivity[2](grid[middle]) / photons_per_flux, rel=0.01
    )


def test_descending_wavelengths_give_the_same(scene, fit):
    from dataclasses import replace

    names = ("wavelength", "bin_width", "flux", "variance", "quality")
    turned = [replace(o, **{name: getattr(o, name)[::-1] for name in names}) for o in scene.orders]
    found = derive(scene, orders=turned)
    assert found.response.response == pytest.approx(fit.response.response, rel=1e-6)


def test_an_order_without_light_fails_alone(scene):
    from dataclasses import replace

    dead = scene.orders[1]
    quality = np.full_like(dead.quality, int(QualityFlag.NO_DATA))
    dead = replace(dead, flux=np.zeros_like(dead.flux), variance=np.full_like(dead.flux, np.inf), quality=quality)
    found = derive(scene, orders=[scene.orders[0], dead, scene.orders[2]])
    assert [number for number, _ in found.failed] == [2]
    assert sorted(np.unique(found.response.order)) == [1, 3]
    with pytest.raises(AlgorithmError, match="no order"):
        derive(scene, orders=[dead])


def test_missing_data_are_flagged_as_extrapolated(scene):
    from dataclasses import replace

    cut = scene.orders[0]
    quality = cut.quality.copy()
    quality[cut.wavelength > 485.0] |= int(QualityFlag.SATURATED)
    found = derive(scene, orders=[replace(cut, quality=quality)])
    beyond = found.response.wavelength > 486.0
    assert beyond.sum() > 20
    assert np.all(found.response.quality[beyond] & int(QualityFlag.EXTRAPOLATED))
    assert not np.any(found.response.quality[found.response.wavelength < 484.0] & int(QualityFlag.EXTRAPOLATED))


def test_identical_input_gives_identical_response(scene, fit):
    assert np.array_equal(derive(scene).response.response, fit.response.response)
