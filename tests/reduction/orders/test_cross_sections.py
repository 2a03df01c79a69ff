"""Many small fits at once."""

import numpy as np

from soxs_recipes.reduction.cross_sections import fit_batch


def _gaussian(parameters, offset):
    height, centre, sigma = (parameters[:, k : k + 1] for k in range(3))
    z = (offset - centre) / sigma
    shape = np.exp(-0.5 * z * z)
    jacobian = np.stack([shape, height * shape * z / sigma, height * shape * z * z / sigma], axis=-1)
    return height * shape, jacobian


def test_a_fit_does_not_depend_on_its_company():
    rng = np.random.default_rng(1)
    count = 60
    truth = np.stack(
        [rng.uniform(50, 5000, count), rng.uniform(-2, 2, count), rng.uniform(0.8, 2.5, count)], axis=1
    )
    offset = np.broadcast_to(np.arange(-8.0, 9.0), (count, 17))
    light = _gaussian(truth, offset)[0]
    value = light + rng.normal(0, np.sqrt(light + 25.0))
    value[7] = rng.normal(0, 5, 17)  # nothing to fit: never arrives, or late
    weight = 1.0 / (light + 25.0)
    bounds = (np.array([0.0, -6.0, 0.3]), np.array([1e5, 6.0, 6.0]))
    start = np.tile([300.0, 0.0, 1.5], (count, 1))
    together = fit_batch(_gaussian, start, offset, value, weight, bounds=bounds)
    alone = [
        fit_batch(
            _gaussian, start[k : k + 1], offset[k : k + 1], value[k : k + 1], weight[k : k + 1], bounds=bounds
        )
        for k in range(count)
    ]
    good = together.converged & (np.arange(count) != 7)
    assert good.sum() > 55
    errors = together.errors[good]
    apart = np.concatenate([fit.parameters for fit in alone])[good] - together.parameters[good]
    assert np.abs(apart / errors).max() < 0.01
    pulls = (together.parameters[good] - truth[good]) / errors
    assert 0.8 < np.std(pulls) < 1.2
