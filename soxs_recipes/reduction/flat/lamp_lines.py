"""Sharp features of a lamp's own spectrum (emission lines, water absorbed in the lamp's light path).

They are the same at all slit positions of a wavelength, as pixel response is not; fringes are weaker than the
limit that tells them apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import binary_dilation, binary_propagation, median_filter

from soxs_recipes.reduction.flat.blaze import OrderPixels, SmoothFlat
from soxs_recipes.reduction.flat.blaze_kernels import ranked_middles

__all__ = ["with_lamp_lines"]

_BASELINE = 101  # px of the running median that a line stands on
_CERTAIN = 8.0  # sigma
_MOST_OF_ORDER = 0.3  # more than this is no lines but a smooth model that failed
_AS_ONE = 6.0  # sigma; a defect of detector rows does not follow the slit's tilt, and scatters by more
_STEP = 0.125  # px, of the table of factors


def with_lamp_lines(model: SmoothFlat, pixels: OrderPixels, limit: float) -> SmoothFlat:
    """The model with the lamp's sharp features in its blaze.

    Parameters
    ----------
    model : SmoothFlat
    pixels : OrderPixels
        `along` must follow the slit's tilt.
    limit : float
        Relative height over the smooth blaze from which a feature counts; 0 leaves the model as it is.
    """
    if limit <= 0:
        return model
    ratio, variance = np.empty((2, pixels.value.size))
    pixels.compare(*model.light(pixels.along, pixels.slit), ratio, variance)
    ratio += 1.0
    variance += model.spread**2
    first = int(np.floor(pixels.along.min()))
    row = np.rint(pixels.along).astype(np.int64) - first
    profile, error = _row_medians(ratio, variance, row, pixels.usable)
    lines = _line_rows(profile, error, limit)
    if not lines.any() or lines.mean() > _MOST_OF_ORDER:
        return model
    weight = np.where(pixels.usable & (variance < 1.0), 1.0 / variance, 0.0)
    along, factor = [], []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lines.astype(np.int8), [0]])))
    for low, high in edges.reshape(-1, 2):
        part = (row >= low - 2) & (row < high + 2) & (weight > 0)
        grid = np.arange(first + low - 1.0, first + high, _STEP)
        along.append(grid)
        factor.append(_factor(pixels.along[part], ratio[part], weight[part], grid))
    return replace(model, line_along=np.concatenate(along), line_factor=np.concatenate(factor))


def _row_medians(ratio, variance, row, usable):
    """(median ratio of each row of wavelengths, its error); 1 and inf where too few pixels are."""
    size = int(row.max()) + 1
    median, count = ranked_middles(ratio[usable], row[usable], size)
    enough, number = count >= 8, np.maximum(count, 1)
    mean_variance = np.bincount(row[usable], weights=variance[usable], minlength=size) / number
    return np.where(enough, median, 1.0), np.where(enough, 1.25 * np.sqrt(mean_variance / number), np.inf)


def _line_rows(profile, error, limit):
    height = np.abs(profile - median_filter(profile, size=_BASELINE, mode="nearest"))
    seed = (height > limit) & (height > _CERTAIN * error)
    # A feature ends where it sinks into the noise, not where it falls below the limit.
    skirt = height > np.maximum(0.05 * limit, 2.0 * error)
    return binary_dilation(binary_propagation(seed, mask=skirt | seed), iterations=3)


def _factor(along, ratio, weight, grid):
    """Cubic spline through the ratio with a knot a pixel, 1 at both ends; 1 where no such curve describes it."""
    low, high = grid[0], grid[-1]
    knots = np.concatenate([[low] * 3, np.linspace(low, high, max(round(high - low), 1) + 1), [high] * 3])
    inside = (along >= low) & (along <= high)
    design = BSpline.design_matrix(along[inside], knots, 3).toarray()
    count = design.shape[1]
    kept = weight[inside].copy()
    excess = ratio[inside] - 1.0
    solution = np.zeros(count)
    for _ in range(3):
        normal = design.T @ (design * kept[:, None])
        scale = max(np.trace(normal) / count, 1e-12)
        normal = normal + 1e-4 * scale * np.eye(count)
        solution = np.linalg.solve(normal, design.T @ (kept * excess))
        pull = np.abs(excess - design @ solution) * np.sqrt(weight[inside])
        kept = np.where(pull < 6.0 * max(1.0, 1.4826 * float(np.median(pull))), weight[inside], 0.0)
    if np.percentile(pull, 75) > _AS_ONE:
        return np.ones_like(grid)
    factor = 1.0 + BSpline(knots, solution, 3)(grid)
    taper = np.clip(np.minimum(grid - low, high - grid), 0.0, 1.0)
    return np.maximum(1.0 + taper * (factor - 1.0), 0.05)
