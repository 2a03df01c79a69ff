"""Several responses of one setup made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response

__all__ = ["arm_response", "combine_responses", "on_samples"]

_UNFIT = int(QualityFlag.EXTRAPOLATED)


def combine_responses(responses: Sequence[Response]) -> tuple[Response, float]:
    """Weighted mean of responses, brought to the level of the most sensitive.

    Parameters
    ----------
    responses : sequence of Response
        The first gives the samples; an order that it lacks is left out.

    Returns
    -------
    response : Response
        Errors are those of the mean, or the scatter of the responses where that is larger.
    spread : float
        Largest relative difference of level; 0 for one response.

    Notes
    -----
    Clouds and slit losses only dim, so the most sensitive exposure has the right level; the mean is of logarithms,
    in which a level is an offset.
    """
    first = responses[0]
    if len(responses) == 1:
        return first, 0.0
    logarithms, errors = (np.array(rows) for rows in zip(*(on_samples(r, first) for r in responses), strict=True))
    usable = np.isfinite(logarithms)
    both = usable.all(axis=0) & (first.quality & _UNFIT == 0)
    if not both.any():
        both = usable.all(axis=0)
    levels = np.median(logarithms[:, both] - logarithms[0, both], axis=1)
    logarithms = logarithms - (levels - levels.min())[:, None]
    weights = np.where(usable, 1.0 / np.square(errors), 0.0)
    total = weights.sum(axis=0)
    mean = np.where(usable, weights * logarithms, 0.0).sum(axis=0) / total
    squares = np.where(usable, weights * (logarithms - mean) ** 2, 0.0).sum(axis=0)
    freedom = np.maximum(usable.sum(axis=0) - 1, 1)
    # One factor for all samples: the chi-square of two or three values says nothing of a single one.
    inflation = max(float(np.mean(squares / freedom)), 1.0)
    value = np.exp(mean)
    return (
        replace(
            first,
            response=value,
            error=value * np.sqrt(inflation / total),
            efficiency=first.efficiency * first.response / value,
        ),
        float(np.expm1(np.ptp(levels))),
    )


def on_samples(response: Response, samples: Response) -> tuple[np.ndarray, np.ndarray]:
    """(ln response, relative error) of a response at another's samples; NaN where it has none.

    `samples` is anything with order and wavelength.
    """
    logarithm = np.full(samples.wavelength.shape, np.nan)
    error = np.full(samples.wavelength.shape, np.nan)
    for number in np.unique(samples.order):
        own, other = samples.order == number, response.order == number
        if not other.any():
            continue
        grid, at = response.wavelength[other], samples.wavelength[own]
        inside = (at >= grid[0]) & (at <= grid[-1])
        values = np.interp(at, grid, np.log(response.response[other]))
        relative = np.interp(at, grid, response.error[other] / response.response[other])
        logarithm[own] = np.where(inside, values, np.nan)
        error[own] = np.where(inside, relative, np.nan)
    return logarithm, error


def arm_response(response: Response, samples: int = 2000) -> Response:
    """Response and efficiency of the whole arm: of the light of all orders together, order number 0.

    Where orders overlap their sensitivities add up; errors count as independent.
    """
    grid = np.linspace(response.wavelength.min(), response.wavelength.max(), samples)
    sensitivity, variance, efficiency = np.zeros(samples), np.zeros(samples), np.zeros(samples)
    quality = np.zeros(samples, dtype=np.int32)
    for number in np.unique(response.order):
        own = response.order == number
        at = response.wavelength[own]
        inside = (grid >= at[0]) & (grid <= at[-1])
        part = np.interp(grid[inside], at, 1.0 / response.response[own])
        relative = np.interp(grid[inside], at, response.error[own] / response.response[own])
        sensitivity[inside] += part
        variance[inside] += (relative * part) ** 2
        efficiency[inside] += np.interp(grid[inside], at, response.efficiency[own])
        nearest = np.clip(np.searchsorted(0.5 * (at[1:] + at[:-1]), grid[inside]), 0, at.size - 1)
        quality[inside] |= response.quality[own][nearest]
    reached = sensitivity > 0
    value = 1.0 / sensitivity[reached]
    return Response(
        order=np.zeros(int(reached.sum()), dtype=np.int16),
        wavelength=grid[reached],
        response=value,
        error=value**2 * np.sqrt(variance[reached]),
        efficiency=efficiency[reached],
        quality=quality[reached],
    )
