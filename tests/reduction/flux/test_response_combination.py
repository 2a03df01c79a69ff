import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.reduction.flux.response_combination import combine_responses

GRID = np.linspace(400.0, 500.0, 200)


def curve(seed, level=1.0, sigma=0.02, orders=(1, 2)):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([order * 1e-17 * np.exp(((GRID - 450.0) / 40.0) ** 2) for order in orders])
    value = level * truth * (1 + sigma * rng.normal(size=truth.size))
    n = truth.size
    order = np.repeat(np.array(orders, np.int16), len(GRID))
    wavelength = np.tile(GRID, len(orders))
    return Response(order, wavelength, value, sigma * value, 0.1 / value * truth, np.zeros(n, np.int32)), truth


def test_one_response_stays_as_it_is():
    response, _ = curve(1)
    assert combine_responses([response]) == (response, 0.0)


def test_mean_of_several_at_the_level_of_the_clearest():
    responses = [curve(1, 1.00)[0], curve(2, 1.25)[0], curve(3, 1.40)[0], curve(4, 1.0)[0]]
    truth = curve(1)[1]
    combined, spread = combine_responses(responses)
    assert spread == pytest.approx(0.40, abs=0.02)
    pulls = (combined.response / truth - 1.0) / (combined.error / combined.response)
    assert len(pulls) == 400
    # The errors are those of a mean of four: half of one.
    assert np.median(combined.error / combined.response) == pytest.approx(0.01, rel=0.1)
    assert 0.85 < pulls.std() < 1.15
    # Mutation: without bringing the levels together the mean would be 15 % off.
    assert abs(np.median(combined.response / truth) - 1.0) < 0.01


def test_efficiency_follows_the_response():
    responses = [curve(1, 1.2)[0], curve(2, 1.0)[0]]
    combined, _ = combine_responses(responses)
    product = combined.efficiency * combined.response
    assert product == pytest.approx(responses[0].efficiency * responses[0].response)


def test_errors_grow_when_the_responses_disagree():
    quiet = [curve(seed)[0] for seed in (1, 2)]
    rough = [curve(1)[0], curve(2, sigma=0.2)[0]]
    rough[1] = Response(*(getattr(rough[1], name) if name != "error" else 0.02 * rough[1].response
                          for name in Response.__dataclass_fields__))  # fmt: skip
    small, large = (np.median(combine_responses(pair)[0].error / combine_responses(pair)[0].response)
                    for pair in (quiet, rough))  # fmt: skip
    assert large > 4 * small


def test_an_order_that_one_lacks_comes_from_the_other():
    full, _ = curve(1)
    part, truth = curve(2, orders=(1,))
    combined, _ = combine_responses([full, part])
    first, second = combined.order == 1, combined.order == 2
    assert np.median((combined.error / combined.response)[first]) == pytest.approx(0.02 / np.sqrt(2), rel=0.15)
    assert np.median((combined.error / combined.response)[second]) == pytest.approx(0.02, rel=0.15)
    assert np.median(combined.response[second] / full.response[second]) == pytest.approx(1.0, abs=0.01)
    assert truth.size == 200


def test_what_was_extrapolated_has_no_say_in_the_levels():
    first, truth = curve(1)
    second, _ = curve(2, 1.2)
    beyond = np.arange(truth.size) % 10 < 6
    quality = np.where(beyond, np.int32(QualityFlag.EXTRAPOLATED), np.int32(0)).astype(np.int32)
    wrong = np.where(beyond, 5.0 * first.response, first.response)
    spoilt = Response(first.order, first.wavelength, wrong, 0.02 * wrong, first.efficiency, quality)
    _, spread = combine_responses([spoilt, second])
    assert spread == pytest.approx(0.2, abs=0.01)
