"""Two stars so near each other that the light along the slit shows one peak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from soxs_recipes.reduction.profiles.slit_blends import (
    LEAST_GAIN,
    SHAPE_ERROR,
    Component,
    explains_enough,
    fit_components,
)
from soxs_recipes.reduction.profiles.slit_profile import TAIL_RANGE, moffat

__all__ = ["resolve_pairs"]

_ALIKE = 1.3  # largest ratio of the widths of two stars
_NEAREST = 0.7  # FWHM between them: what is nearer is one star that is not round
_FAINTEST = 0.05  # of the brighter one's light
_WIDTHS = (0.5, 2.2)  # arcsec
_MOST = 4  # components
_NARROWER = 0.65  # first width of each, in widths of the peak ...
_APART = 0.75  # ... and between them
_STARTS = ((-0.5, 0.5), (0.0, 1.0), (0.0, -1.0))  # of that, from the peak, tried in turn


def resolve_pairs(
    grid: np.ndarray,
    light: tuple[np.ndarray, np.ndarray],
    orders: tuple[np.ndarray, np.ndarray],
    components: Sequence[Component],
) -> list[Component]:
    """Split each component that is two stars of one width.

    Parameters
    ----------
    grid : ndarray (n,) [arcsec]
    light : two ndarray (n,)
        Along the slit over all orders, and its error.
    orders : two ndarray (orders, n)
        The same in each order; infinite errors where nothing is known.
    components : sequence of Component
        What was found as peaks.

    Returns
    -------
    list of Component
        At least as many; as given when nothing is gained.
    """
    present = list(components)
    if not present:
        return present
    profile, error = light
    sigma = np.hypot(error, SHAPE_ERROR * np.maximum(profile, 0.0))
    chi_square, fitted = fit_components(grid, profile, sigma, present)
    index = 0
    # No star can gain more than all that is left.
    while chi_square > LEAST_GAIN and index < len(fitted) and len(fitted) < _MOST:
        found = _find_pair(grid, profile, sigma, fitted, index)
        if found and chi_square - found[0] > LEAST_GAIN:
            pair = found[1][index : index + 2]
            if _is_seen_in_orders(grid, *orders, *pair):
                chi_square, fitted = found
                present = fitted
                index += 1
        index += 1
    return present


def _find_pair(
    grid: np.ndarray, profile: np.ndarray, sigma: np.ndarray, components: Sequence[Component], index: int
) -> tuple[float, list[Component]] | None:
    """The best fit with two stars in place of a component, and its chi^2; None where they are no pair of stars."""
    here = components[index]
    trials = []
    for places in _STARTS:
        pair = [
            Component(here.position + place * _APART * here.fwhm, _NARROWER * here.fwhm, 0.5 * here.flux)
            for place in places
        ]
        start = [*components[:index], *pair, *components[index + 1 :]]
        trials.append(fit_components(grid, profile, sigma, start))
    chi_square, best = min(trials, key=lambda trial: trial[0])
    return (chi_square, best) if _is_pair(*best[index : index + 2]) else None


def _is_pair(one: Component, two: Component) -> bool:
    narrow, wide = sorted((one.fwhm, two.fwhm))
    faint, bright = sorted((one.flux, two.flux))
    apart = abs(one.position - two.position) > _NEAREST * wide
    alike = _WIDTHS[0] < narrow <= wide < min(_ALIKE * narrow, _WIDTHS[1])
    return apart and alike and faint > _FAINTEST * bright > 0


def _is_seen_in_orders(
    grid: np.ndarray, profiles: np.ndarray, errors: np.ndarray, one: Component, two: Component
) -> bool:
    """Whether two stars explain the orders one by one better than a single one of any width.

    All orders together cannot tell a pair from a star whose place changes with wavelength.
    """
    total = one.flux + two.flux
    middle = (one.position * one.flux + two.position * two.flux) / total
    near = np.abs(grid - middle) < 2.0 * max(one.fwhm, two.fwhm) + abs(one.position - two.position)
    apart = np.array([one.position - middle, two.position - middle])
    models = (np.zeros(1), np.ones(1)), (apart, np.array([one.flux, two.flux]) / total)
    widths = float(np.hypot(one.fwhm, np.abs(apart).sum())), one.fwhm
    gains, left = [], 0.0
    for profile, error in zip(profiles[:, near], errors[:, near], strict=True):
        known = np.isfinite(error)
        if known.sum() > 10:
            sigma = np.hypot(error[known], SHAPE_ERROR * np.maximum(profile[known], 0.0))
            single, pair = (
                _best_fit(grid[near][known], profile[known], 1.0 / sigma, middle, width, *model)
                for width, model in zip(widths, models, strict=True)
            )
            gains.append(single - pair)
            left += pair - known.sum()
    gains = np.array(gains)
    return bool(explains_enough(gains.sum(), left) and gains[gains > 0].sum() > 4.0 * -gains[gains < 0].sum())


def _best_fit(grid, light, weight, middle, width, places, shares):
    """chi^2 of the best place, width and wings of stars at fixed distances and of fixed relative brightness."""
    least, most = np.log(0.3), np.log(6.0)
    start = np.array([middle, np.clip(np.log(width), least + 0.01, most - 0.01), 0.25])
    found = least_squares(
        _group_misfit,
        start,
        args=(grid, light, weight, places, shares),
        bounds=([middle - 1.0, least, TAIL_RANGE[0]], [middle + 1.0, most, TAIL_RANGE[1]]),
        max_nfev=30,
    )
    return 2.0 * found.cost


def _group_misfit(parameters, grid, light, weight, places, shares):
    """What the best brightness and floor leave of the light, weighted (n,)."""
    place, log_width, tail = parameters
    stars = shares @ moffat(grid - place - places[:, None], np.exp(log_width), tail)
    floor = weight / np.linalg.norm(weight)
    star = stars * weight
    star -= (star @ floor) * floor
    star /= np.linalg.norm(star)
    rest = light * weight
    rest -= (rest @ floor) * floor
    return rest - (rest @ star) * star
