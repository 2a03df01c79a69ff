import numpy as np
import pytest

from soxs_recipes.reduction.numerics.grouped_regression import GroupedRegression, Scatter


def problem(random, *, groups=60, members=9, shared=0.05, own=0.02, outliers=0):
    group = np.repeat(np.arange(groups), members)
    t = np.repeat(random.uniform(-1.0, 1.0, groups), members)
    s = np.tile(np.linspace(-1.0, 1.0, members), groups)
    design = np.stack([np.ones_like(t), t, t * t, s, s * t], axis=1)
    lever = 20.0 + 5.0 * t
    truth = np.array([1.0, -2.0, 0.5, 0.3, 0.1])
    line = random.normal(0.0, shared / 20.0, groups)
    line[:outliers] += 0.1
    error = np.full(group.size, 0.02)
    value = design @ truth + lever * line[group] + random.normal(0.0, 1.0, group.size) * np.hypot(error, own)
    return GroupedRegression(design, value, error, lever, group, np.full(5, 100.0)), truth


def test_pulls_are_of_unit_width_although_pinholes_share_errors():
    pulls = []
    naive = []
    for seed in range(40):
        regression, truth = problem(np.random.default_rng(seed))
        coefficients, covariance, _, scatter = regression.robust_fit(np.arange(5))
        pulls.append((coefficients - truth) / np.sqrt(np.diag(covariance)))
        one, covariance = regression.solve(
            *regression.normal(np.ones((regression.value.size, 2)), Scatter(0.05, 0.0)), np.arange(5)
        )
        naive.append((one - truth) / np.sqrt(np.diag(covariance)))
    pulls, naive = np.array(pulls), np.array(naive)
    assert pulls.shape == (40, 5)
    assert np.sqrt((pulls**2).mean()) == pytest.approx(1.0, abs=0.2)
    assert scatter.shared * 20.0 == pytest.approx(0.05, rel=0.4)
    assert scatter.own == pytest.approx(0.02, rel=0.4)
    # Taking the pinholes of a line for independent understates the error of the dispersion's terms.
    assert np.sqrt((naive[:, :3] ** 2).mean()) > 1.5


def test_displaced_lines_hardly_count():
    regression, truth = problem(np.random.default_rng(3), outliers=6)
    coefficients, _, weight, _ = regression.robust_fit(np.arange(5))
    assert weight.prod(axis=1)[regression.group < 6].max() < 0.2
    assert np.abs(coefficients - truth).max() < 0.05
    plain = np.linalg.lstsq(regression.design, regression.value, rcond=None)[0]
    assert np.abs(plain - truth).max() > 0.1


def test_validation_finds_the_degree():
    random = np.random.default_rng(7)
    t = random.uniform(-1, 1, 80)
    design = np.polynomial.legendre.legvander(t, 8)
    value = design[:, :4] @ np.array([1.0, 2.0, -1.0, 0.3]) + random.normal(0.0, 0.05, 80)
    regression = GroupedRegression(
        design, value, np.full(80, 0.05), np.zeros(80), np.argsort(np.argsort(t)), np.full(9, 100.0)
    )
    sets = [np.arange(k + 1) for k in range(9)]
    losses = np.array([loss for loss, _ in regression.validation_losses(sets, np.ones((80, 2)), Scatter())])
    assert losses.shape == (9,)
    assert losses[:3].min() > 1.5 * losses[3]
    assert losses[8] > losses[3]
