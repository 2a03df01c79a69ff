"""How well a curve of offsets along an order puts its lines on spots, and the curve that does so best."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.spatial import cKDTree

from soxs_recipes.compiled import compiled

__all__ = ["curve_score", "search_curve", "twist_penalty"]

_STEP = 0.25  # px of the table of nearness
_STRIP = 3.5  # px across the dispersion within which a spot may belong to the order
# Half range, step and expected size [px] of the curve's Legendre coefficients.
_SEARCHED = ((6.0, 0.8, 4.0), (5.0, 0.8, 3.0), (9.0, 0.8, 5.0), (4.0, 0.8, 2.0))
_KERNELS = (0.8, 0.4)  # px: of the search, of the comparison
_PENALTY = 0.25  # lines that a coefficient of 1 sigma costs
_TWIST = (0.5, 0.4, 0.3)  # px: expected size of the coefficients of degree 4 to 6


def curve_score(
    spots: cKDTree, along: np.ndarray, across: np.ndarray, weight: np.ndarray, kernel: float = _KERNELS[1]
) -> float:
    """Summed weight of the lines that lie on a spot, each by a Gaussian of its distance.

    Parameters
    ----------
    spots : cKDTree
        Detected spots, (along, across) [px].
    along, across : ndarray (n,) [px]
        Where the lines are expected.
    weight : ndarray (n,)
    kernel : float [px]
    """
    distance, _ = spots.query(np.stack([along, across], axis=1), distance_upper_bound=4.0 * kernel)
    return float((weight * np.exp(-0.5 * (distance / kernel) ** 2)).sum())


def twist_penalty(t: np.ndarray, curve: np.ndarray) -> float:
    """What a curve's bends of higher degree cost, in lines: of equal curves the smoother one is likelier."""
    degrees = 3 + len(_TWIST)
    if t.size <= 2 * degrees:
        return 0.0
    coefficients = np.linalg.lstsq(legvander(t, degrees), curve, rcond=None)[0]
    return float(_PENALTY * np.log1p((coefficients[4:] / _TWIST) ** 2).sum())


def search_curve(
    peaks: np.ndarray, along: np.ndarray, across: np.ndarray, t: np.ndarray, weight: np.ndarray
) -> np.ndarray | None:
    """The cubic curve along the dispersion that puts most lines on spots, whatever single lines say.

    Parameters
    ----------
    peaks : ndarray (m, 2) [px]
        Detected spots, (along, across).
    along, across : ndarray (n,) [px]
        Where the lines are expected so far.
    t : ndarray (n,)
        Place along the order, -1 to 1.
    weight : ndarray (n,)
        How sure it is that each line is there at all.

    Returns
    -------
    ndarray (n,) [px] or None
        What to add to `along`; None without spots near the order.

    Notes
    -----
    All combinations of shift, slope, bend and twist on a grid; a table of the distance to the nearest spot makes
    each cost no more than a look-up per line. Larger coefficients cost a little: of equals the flattest wins.
    """
    by_along = np.argsort(along)
    curve = np.interp(peaks[:, 0], along[by_along], across[by_along])
    near = peaks[np.abs(peaks[:, 1] - curve) < _STRIP, 0]
    if near.size < 4:
        return None
    low = along.min() - 30.0
    table = _nearness(near, low, along.max() + 30.0)
    shift, slope, bend, twist = (np.arange(-reach, reach + 0.5 * step, step) for reach, step, _ in _SEARCHED)
    sizes = np.array([size for _, _, size in _SEARCHED])
    basis = np.ascontiguousarray(legvander(t, len(_SEARCHED) - 1))
    first = np.asarray(along - low, dtype=np.float64)
    return basis @ _best_curve(table, first, basis, np.asarray(weight), (shift, slope, bend, twist), sizes)


@compiled(any_order=True)
def _best_curve(table, place, basis, weight, axes, sizes):
    """Coefficients (4,) of the curve with the highest score; places (n,) from the table's beginning [px]."""
    best, chosen = -np.inf, np.zeros(4)
    bent = np.empty(place.size)
    for twist in axes[3]:
        for bend in axes[2]:
            for i in range(place.size):
                bent[i] = place[i] + bend * basis[i, 2] + twist * basis[i, 3]
            for slope in axes[1]:
                for shift in axes[0]:
                    penalty = (shift / sizes[0]) ** 2 + (slope / sizes[1]) ** 2
                    penalty += (bend / sizes[2]) ** 2 + (twist / sizes[3]) ** 2
                    score = -_PENALTY * penalty
                    for i in range(place.size):
                        step = int((bent[i] + shift + slope * basis[i, 1]) / _STEP)
                        score += weight[i] * table[min(max(step, 0), table.size - 1)]
                    if score > best:
                        best = score
                        chosen[0], chosen[1], chosen[2], chosen[3] = shift, slope, bend, twist
    return chosen


def _nearness(places, low, high):
    """Gaussian of the distance to the nearest place, in steps from `low` to `high`."""
    grid = np.arange(low, high, _STEP) + 0.5 * _STEP
    distance, _ = cKDTree(places[:, None]).query(grid[:, None])
    return np.exp(-0.5 * (distance / _KERNELS[0]) ** 2).astype(np.float32)
