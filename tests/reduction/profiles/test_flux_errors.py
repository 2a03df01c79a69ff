"""Errors of fluxes from those of profiles, as all unknowns in one set of equations give them."""

from types import SimpleNamespace

import numpy as np

from soxs_recipes.reduction.profiles.flux_errors import error_of_mean, flux_errors
from soxs_recipes.reduction.profiles.object_trace import ChunkEquations
from soxs_recipes.reduction.profiles.profile_bend import Bend

ORDERS, CHUNKS, UNKNOWNS, BENT = 3, 5, 6, 4


def equations_of(rng):
    """Of one order: positive definite for shape and bend together."""
    raw = rng.normal(size=(CHUNKS, 12, 4 + BENT))
    joint = np.swapaxes(raw, 1, 2) @ raw
    inverse = np.linalg.inv(joint[:, 4:, 4:].sum(axis=0))
    bend = Bend(
        joint[:, :4, 4:], np.zeros(BENT), inverse, np.zeros(BENT), BENT, 0.4, 0.1 * rng.normal(size=(CHUNKS, BENT))
    )
    places = np.arange(CHUNKS) * 1.0
    response, information = rng.uniform(0.5, 1.5, (CHUNKS, 4)), rng.uniform(1.0, 5.0, CHUNKS)
    return ChunkEquations(joint[:, :4, :4], np.zeros((CHUNKS, 4)), response, information, places, places, bend)


def test_errors_are_those_of_all_unknowns_together():
    rng = np.random.default_rng(6)
    equations = [equations_of(rng) for _ in range(ORDERS)]
    transfer = rng.uniform(0.0, 0.1, (ORDERS, CHUNKS, 4, UNKNOWNS))
    normal, answers = np.eye(UNKNOWNS + ORDERS * BENT), np.zeros((ORDERS, UNKNOWNS + ORDERS * BENT))
    normal[UNKNOWNS:, UNKNOWNS:] = 0.0
    reduced = np.eye(UNKNOWNS)
    for order, (equation, moves) in enumerate(zip(equations, transfer, strict=True)):
        own, first = equation.bend, UNKNOWNS + order * BENT
        bent = slice(first, first + BENT)
        common = sum(moves[c].T @ equation.curvature[c] @ moves[c] for c in range(CHUNKS))
        crossed = sum(moves[c].T @ own.coupling[c] for c in range(CHUNKS))
        normal[:UNKNOWNS, :UNKNOWNS] += common
        normal[:UNKNOWNS, bent], normal[bent, :UNKNOWNS] = crossed, crossed.T
        normal[bent, bent] = np.linalg.inv(own.inverse)
        reduced += common - own.taken(moves)[0]
        weight = equation.information / equation.information.sum()
        answers[order, :UNKNOWNS] = sum(weight[c] * equation.response[c] @ moves[c] for c in range(CHUNKS))
        answers[order, bent] = weight @ own.response
    causes = flux_errors(equations, transfer, np.linalg.inv(reduced))
    found, told = causes @ causes.T, answers @ np.linalg.inv(normal) @ answers.T
    assert found.shape == (ORDERS, ORDERS)
    assert np.abs(told[0, 1]) > 0.01 * told[0, 0]
    np.testing.assert_allclose(found, told, rtol=1e-9, atol=1e-12)


def test_a_mean_goes_by_what_each_order_tells():
    def order(flux, causes):
        spectrum = SimpleNamespace(flux=np.full(5, flux), variance=np.array([4.0, 4.0, 4.0, 4.0, np.inf]))
        return SimpleNamespace(spectrum=spectrum, profile_errors=np.array(causes))

    bright, faint = order(20.0, [0.03, 0.01]), order(10.0, [0.03, -0.02])
    assert error_of_mean([bright, faint]) == np.hypot(0.03, 0.8 * 0.01 - 0.2 * 0.02)
    assert error_of_mean([bright, order(10.0, [])]) == np.hypot(0.8 * 0.03, 0.8 * 0.01)
