"""A point source on an extended one (a supernova on its galaxy) told apart in the light along the slit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from soxs_recipes.compiled import compiled
from soxs_recipes.reduction.profiles.slit_profile import TAIL_RANGE

__all__ = ["LEAST_GAIN", "SHAPE_ERROR", "Component", "explains_enough", "fit_components", "resolve_blends"]

_NARROW = 0.9  # arcsec, first guess of the seeing
_BROAD = 3.2  # arcsec, first guess of what lies beneath
_SHIFTS = (-1.2, 0.0, 1.2)  # arcsec from the peak to the extended light, tried in turn
_WIDTH_LIMITS = (0.35, 9.0)  # arcsec
SHAPE_ERROR = 0.01  # by which a Moffat function misses real profiles, as share of the light
LEAST_GAIN = 60.0  # fall of chi^2 that a further component must bring ...
_LEAST_SHARE = 0.1  # ... and its brightness over that of the point source: wings of a star stay below
_MOST_LEFT = 0.5  # of the gain: what may stay unexplained, which comes of hits, pixels, optics and other orders
_WIDER = 2.0  # times the width of the point source
_WORST_SEEING = 2.0  # arcsec: what is narrower is no galaxy, but a star whose place differs from order to order
_STEP = 1e-7  # of parameters, for derivatives
_BEST_SEEING = 0.5  # arcsec, pixel included


@dataclass(frozen=True, slots=True)
class Component:
    """One of several overlapping pieces of light.

    Attributes
    ----------
    position, fwhm : float [arcsec]
    flux : float
        Integral, in the profile's unit times arcsec.
    """

    position: float
    fwhm: float
    flux: float


def resolve_blends(
    grid: np.ndarray, profile: np.ndarray, error: np.ndarray, components: Sequence[Component]
) -> list[Component]:
    """Split each component under which extended light lies.

    Parameters
    ----------
    grid : ndarray (n,) [arcsec]
    profile, error : ndarray (n,)
        Light along the slit over all orders.
    components : sequence of Component
        What was found as peaks.

    Returns
    -------
    list of Component
        At least as many; a point source stays first, what lies under it follows. As given when nothing is gained.
    """
    present = list(components)
    if not present:
        return present
    sigma = np.hypot(error, SHAPE_ERROR * np.maximum(profile, 0.0))
    chi_square, fitted = fit_components(grid, profile, sigma, present)
    index = 0
    # No component can gain more than all that is left.
    while chi_square > LEAST_GAIN and index < len(fitted) and len(fitted) < 5:
        trials = [fit_components(grid, profile, sigma, start) for start in _starts(fitted, index)]
        best_chi, best = min(trials, key=lambda trial: trial[0])
        enough = explains_enough(chi_square - best_chi, best_chi - grid.size)
        if enough and _is_blend(best[index], best[index + 1]):
            chi_square, fitted, present = best_chi, best, best
            index += 1
        index += 1
    return present


def _starts(components, index):
    here = components[index]
    for shift in _SHIFTS:
        pair = [
            Component(here.position, min(here.fwhm, _NARROW), 0.5 * here.flux),
            Component(here.position + shift, max(here.fwhm, _BROAD), 0.5 * here.flux),
        ]
        yield [*components[:index], *pair, *components[index + 1 :]]


def _is_blend(point: Component, extended: Component) -> bool:
    wider = extended.fwhm > max(_WIDER * point.fwhm, _WORST_SEEING) and point.fwhm > _BEST_SEEING
    brightness = extended.flux / extended.fwhm / max(point.flux / point.fwhm, 1e-30)
    return wider and brightness > _LEAST_SHARE and point.flux > 0.02 * extended.flux


def explains_enough(gain: float, left: float) -> bool:
    """Whether a further component lowers chi^2 by enough, beside what is left of it above its expectation."""
    return gain > max(LEAST_GAIN, left / _MOST_LEFT)


def fit_components(
    grid: np.ndarray, profile: np.ndarray, sigma: np.ndarray, components: Sequence[Component]
) -> tuple[float, list[Component]]:
    """(chi^2, fitted components): positions, widths and one tail by least squares, fluxes and floor linear.

    Parameters
    ----------
    grid, profile, sigma : ndarray (n,)
        As for `resolve_blends`, `sigma` with the error of the shape.
    components : sequence of Component
        Where to start: positions move by 1.5 arcsec at most.
    """
    count = len(components)
    positions = np.array([component.position for component in components])
    widths = np.log([np.clip(component.fwhm, *_WIDTH_LIMITS) for component in components])
    start = np.concatenate([positions, widths, [0.25]])
    low = np.concatenate([positions - 1.5, np.full(count, np.log(_WIDTH_LIMITS[0]) - 0.01), [TAIL_RANGE[0]]])
    high = np.concatenate([positions + 1.5, np.full(count, np.log(_WIDTH_LIMITS[1]) + 0.01), [TAIL_RANGE[1]]])

    weight = 1.0 / sigma
    found = least_squares(
        lambda parameters: _misfit(parameters, grid, profile, weight),
        start,
        jac=lambda parameters: _misfit_changes(parameters, grid, profile, weight, high),
        bounds=(low, high),
        max_nfev=40,
    )
    columns = [_moffat(grid, found.x[k], np.exp(found.x[count + k]), found.x[-1]) for k in range(count)]
    design = np.stack([*columns, np.ones_like(grid)], axis=1)
    fluxes = np.linalg.lstsq(design * weight[:, None], profile * weight, rcond=None)[0]
    fitted = [
        Component(float(found.x[k]), float(np.exp(found.x[count + k])), float(fluxes[k])) for k in range(count)
    ]
    return float(2.0 * found.cost), fitted


@compiled
def _moffat(grid, centre, fwhm, tail):
    """As `slit_profile.moffat`, about a centre."""
    beta = 1.0 / tail
    alpha = 0.5 * fwhm / np.sqrt(np.expm1(tail * np.log(2.0)))
    norm = np.exp(math.lgamma(beta) - math.lgamma(beta - 0.5)) / (np.sqrt(np.pi) * alpha)
    return norm * np.exp(-beta * np.log1p(((grid - centre) / alpha) ** 2))


@compiled
def _misfit(parameters, grid, light, weight):
    """What the best fluxes and floor leave of the light, weighted (n,); the parameters as in `_fit`."""
    count = (parameters.size - 1) // 2
    columns, rest = np.empty((count + 1, grid.size)), light * weight
    columns[0] = weight
    for k in range(count):
        columns[k + 1] = weight * _moffat(grid, parameters[k], np.exp(parameters[count + k]), parameters[-1])
    for k in range(count + 1):
        own = columns[k]
        for _ in range(2):  # twice, as the columns may be much alike
            for other in columns[:k]:
                own -= (own * other).sum() * other
        own /= np.sqrt((own * own).sum())
        rest -= (own * rest).sum() * own
    return -rest


@compiled
def _misfit_changes(parameters, grid, light, weight, high):
    """Derivatives of `_misfit` (n, parameters), by steps that stay below the highest values."""
    here = _misfit(parameters, grid, light, weight)
    result, moved = np.empty((grid.size, parameters.size)), parameters.copy()
    for k in range(parameters.size):
        step = _STEP if parameters[k] + _STEP < high[k] else -_STEP
        moved[k] = parameters[k] + step
        result[:, k] = (_misfit(moved, grid, light, weight) - here) / step
        moved[k] = parameters[k]
    return result
