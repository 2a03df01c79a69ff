"""Sky and objects in one fit, beside dense linear algebra."""

import numpy as np
import pytest

from soxs_recipes.reduction.extraction.order_fit import _sharpness, _tolerances
from soxs_recipes.reduction.numerics.banded import SplineBasis, uniform_basis
from soxs_recipes.reduction.sky.joint_fit import JointModel
from soxs_recipes.reduction.sky.order_pixels import bins_around

_BINS = 60


@pytest.fixture(name="scene")
def _scene():
    """Pixels of a tilted slit, two objects that overlap and a sky whose knots are uneven."""
    rng = np.random.default_rng(3)
    slit = np.tile(np.linspace(-5.5, 5.5, 40), _BINS)
    position = np.repeat(np.arange(_BINS), 40) + 0.15 * slit + rng.uniform(-0.3, 0.3, slit.size)
    position = np.clip(position, -0.99, _BINS - 0.01)
    profiles = np.array([np.exp(-0.5 * ((slit - at) / 0.5) ** 2) / 1.2533 for at in (-0.2, 0.6)])
    inner = np.concatenate([np.arange(-1.0, 20.0, 4.0), np.arange(20.5, 40.0, 0.6), [44.0, 48.0, 52.0, _BINS]])
    knots = SplineBasis(np.concatenate([[-1.0] * 3, inner, [_BINS] * 3]))
    sensitivity = rng.uniform(0.2, 0.3, slit.size)
    return position, sensitivity, profiles, knots, rng


def _solved(scene, data, weight, offsets=None):
    position, sensitivity, profiles, knots, _ = scene
    model = JointModel(position, _BINS, sensitivity, np.ones(position.size), profiles, knots, offsets=offsets)
    return model, model.solve(data, weight)


def test_fluxes_scatter_about_the_truth_as_their_covariance_says(scene):
    position, sensitivity, profiles, _, rng = scene
    truth = [1000.0 + 200.0 * np.sin(np.arange(_BINS) / 8.0), np.full(_BINS, 500.0)]
    light = [np.interp(position, np.arange(_BINS), flux) for flux in truth]
    clean = sensitivity * (50.0 + sum(p * flux for p, flux in zip(profiles, light, strict=True)))
    pulls, together = [], []
    for _ in range(60):
        data = clean + rng.normal(0, 5.0, clean.size)
        weight = np.where(rng.random(clean.size) > 0.05, 0.04, 0.0)
        model, solution = _solved(scene, np.where(weight > 0, data, 1e6), weight)
        first, second = (model.flux_covariance(k)[0] for k in (0, 1))
        off = [(solution.flux[k] - truth[k])[4:-4] for k in (0, 1)]
        pulls.append([off[0] / np.sqrt(first[4:-4]), off[1] / np.sqrt(second[4:-4])])
        together.append(np.mean(off[0] * off[1]) / np.mean(model.flux_covariance(0, 1)[0][4:-4]))
    pulls = np.array(pulls)
    assert pulls.size == 60 * 2 * 52
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1.0, abs=0.03)
    assert np.mean(together) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("offsets", [None, [0.0, -0.4]])
def test_covariances_are_those_of_the_whole_inverse(scene, offsets):
    _, _, _, knots, rng = scene
    size = scene[0].size
    model, _ = _solved(scene, rng.normal(size=size), rng.uniform(0.5, 1.0, size), offsets)
    full = model._system.covariance(model._system.size)
    whole = sum(np.diag(full[: len(full) - k, k], k) for k in range(len(full)))
    whole = whole + np.tril(whole.T, -1)

    def dense(basis, x, rank):
        first, values = basis.evaluate(x)
        result = np.zeros((x.size, len(whole)))
        for k in range(4):
            result[np.arange(x.size), rank[first + k]] += values[k]
        return result

    flux = uniform_basis(_BINS, 1.04)
    rows = [dense(flux, np.arange(float(_BINS)), model._ranks[1 + k]) for k in (0, 1)]
    model.release_covariance()
    for source, other, own in ((0, None, rows[0]), (0, 1, rows[1]), (1, None, rows[1])):
        variance, later = model.flux_covariance(source, other)
        truth = rows[source] @ whole @ own.T
        assert np.allclose(variance, np.diag(truth), rtol=1e-6)
        for lag in (1, 4):
            assert np.allclose(later[lag - 1, :-lag], np.diag(truth, lag), rtol=1e-5, atol=1e-9 * truth.max())
    sky = dense(knots, 0.5 * np.arange(2 * _BINS), model._ranks[0])
    lattice, truth = model.sky_covariance(), sky @ whole @ sky.T
    for lag in (0, 3, 10):
        found = lattice[lag, : 2 * _BINS - lag]
        assert np.allclose(found, np.diag(truth, lag), rtol=1e-5, atol=1e-9 * truth.max())


def test_what_the_model_may_be_wrong_by(scene):
    position, rng = scene[0], scene[4]
    errors, objects = rng.uniform(size=(2, _BINS)), rng.normal(size=(2, position.size))
    model = rng.normal(size=position.size)
    found = _tolerances(*bins_around(position, _BINS), errors, objects, model, 0.01)
    shares = [np.interp(position, np.arange(_BINS), row) for row in errors]
    light = np.abs(objects)
    truth = (shares * light).sum(axis=0) + 0.01 * np.abs(model - light.sum(axis=0))
    assert np.allclose(found, truth, rtol=1e-10)


def test_sharpness_is_the_largest_bend_over_the_largest_flux_about_a_bin():
    flux = np.random.default_rng(9).normal(5.0, 3.0, 50)
    beyond = np.pad(flux, 1, mode="edge")
    bend = np.abs(beyond[:-2] - 2.0 * flux + beyond[2:])
    largest = [np.pad(values, 1, mode="edge") for values in (bend, np.abs(flux))]
    bend, size = (np.max([values[:-2], values[1:-1], values[2:]], axis=0) for values in largest)
    assert _sharpness(flux) == pytest.approx(0.5 * bend / size)
    # A line of one bin is as sharp as can be, a slope is not sharp.
    assert _sharpness(np.array([0.0, 0, 0, 4, 0, 0, 0]))[2:5] == pytest.approx(1.0)
    assert _sharpness(np.arange(1.0, 9.0))[2:6] == pytest.approx(0.0)
