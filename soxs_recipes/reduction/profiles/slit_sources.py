"""Which sources lie on the slit, and which of them is the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from soxs_recipes.reduction.profiles.slit_blends import Component, resolve_blends
from soxs_recipes.reduction.profiles.slit_pairs import resolve_pairs
from soxs_recipes.reduction.sky.order_pixels import OrderPixels
from soxs_recipes.reduction.sky.sky_model import binned_median

__all__ = [
    "SlitSource",
    "TargetChoice",
    "choose_target",
    "find_sources",
    "light_along_slit",
    "mean_of_cells",
    "positive_sources",
    "slit_samples",
]

_STEP = 0.15  # arcsec
_CHUNKS = 12
_DETECTION = 6.0  # sigma
_CLIP = 3.0  # sigma from the median of a cell
_DETECTION_AT_END = 25.0
_PRIOR_FWHM = 0.9  # arcsec
_NEGATIVE = 3.0  # sigma of the mean of five cells


@dataclass(frozen=True, slots=True)
class SlitSource:
    """A source on the slit.

    Attributes
    ----------
    position : float [arcsec]
    fwhm : float [arcsec]
    brightness : float [e-/bin]
        Mean over the orders, weighted by information.
    significance : float
        Of the detection, in sigma; 0 for a position that was only given.
    """

    position: float
    fwhm: float
    brightness: float
    significance: float


@dataclass(frozen=True, slots=True)
class TargetChoice:
    """The target among the sources.

    Attributes
    ----------
    index : int
        Into `sources`.
    sources : tuple of SlitSource
        The forced position is appended when nothing was found there.
    reason : str
        One sentence for the log.
    detected : bool
        Whether the target was seen at all.
    doubtful : bool
        Whether a person should look: nothing stands at the expected position, yet something was taken.
    beams : int
        How many of the first sources are the target: several where exposures are subtracted from one another.
    """

    index: int
    sources: tuple[SlitSource, ...]
    reason: str
    detected: bool
    doubtful: bool
    beams: int = 1


def slit_samples(
    pixels: OrderPixels,
    brightness: np.ndarray,
    variance: np.ndarray,
    slit_grid: np.ndarray,
    *,
    weighted: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of an order above the sky, without outliers, in cells of (part of the order, slit position).

    Parameters
    ----------
    brightness, variance : ndarray (pixels,)
        Sky-subtracted, in e-/bin/arcsec; NaN where masked.
    slit_grid : ndarray (m,) [arcsec]
        Uniform cell centres.

    Returns
    -------
    value, weight : ndarray (12, m)
        Weight is 1/variance of the value, 0 in empty cells.
    """
    chunk = np.clip((pixels.position / pixels.grid.size * _CHUNKS).astype(np.int64), 0, _CHUNKS - 1)
    cell = np.rint((pixels.slit - slit_grid[0]) / (slit_grid[1] - slit_grid[0])).astype(np.int64)
    inside = (cell >= 0) & (cell < slit_grid.size) & np.isfinite(brightness)
    key = chunk * slit_grid.size + cell
    total = _CHUNKS * slit_grid.size
    cell, light, noise = key[inside], brightness[inside], variance[inside]
    median, count = binned_median(cell.astype(float), light, total)
    enough = count > 8
    if weighted:
        value, weight = _weighted_cells(cell, light, noise, median)
    else:
        value, weight = median, count**2 / (1.57 * np.maximum(np.bincount(cell, noise, minlength=total), 1e-30))
    weight, value = np.where(enough, weight, 0.0), np.where(enough, np.nan_to_num(value), 0.0)
    return value.reshape(_CHUNKS, -1), weight.reshape(_CHUNKS, -1)


def _weighted_cells(cell, light, noise, median):
    """Mean and weight of each cell, pixels weighted by what they know; the median keeps hits out.

    Pixels on lines know little, so that this tells far more than the median, but of a wrong sky, too.
    """
    middle = median[cell]
    noise = noise + (0.5 * middle) ** 2  # bright objects differ from pixel to pixel by what they are
    reach = _CLIP * np.sqrt(noise)
    light = middle + np.clip(light - middle, -reach, reach)
    weight = np.bincount(cell, 1.0 / noise, minlength=median.size)
    return np.bincount(cell, light / noise, minlength=median.size) / np.maximum(weight, 1e-30), weight


def find_sources(
    values: np.ndarray,
    weights: np.ndarray,
    slit_grid: np.ndarray,
    *,
    limit: int = 4,
    hidden: np.ndarray | None = None,
    pairs: bool = True,
) -> tuple[SlitSource, ...]:
    """Sources from the cells of `slit_samples`, of any number of orders stacked along the first axis.

    Parameters
    ----------
    values, weights : ndarray (n, m)
        The parts of an order one behind the other.
    slit_grid : ndarray (m,) [arcsec]
    limit : int
        Most sources.
    hidden : ndarray (m,) bool or None
        Where something else stands, of which background and scatter shall not be judged.
    pairs : bool
        Whether a peak may be two stars.

    Returns
    -------
    tuple of SlitSource
        By falling significance; empty when nothing stands out.
    """
    grid, profile, error = light_along_slit(values, weights, slit_grid, hidden)
    if grid.size < 10:
        return ()
    open_cells = np.ones(grid.size, dtype=bool) if hidden is None else ~hidden[np.isin(slit_grid, grid)]
    sigma = _PRIOR_FWHM / 2.3548 / _STEP
    smooth = gaussian_filter1d(profile, sigma, mode="nearest")
    noise = np.sqrt(gaussian_filter1d(error**2, sigma, mode="nearest") / (2.0 * np.sqrt(np.pi) * sigma))
    background = _background_scatter(smooth[open_cells] if open_cells.sum() >= 10 else smooth)
    significance = smooth / np.hypot(noise, background)
    peaks = np.flatnonzero(_is_peak(smooth) & (significance > _needed_significance(grid)))
    found: list[SlitSource] = []
    for peak in sorted(peaks, key=lambda i: -smooth[i]):
        ends = _ends(smooth, noise, peak, peaks)
        source = _measure(grid, profile, smooth, peak, float(significance[peak]), ends)
        apart = all(abs(source.position - other.position) > 0.7 * max(other.fwhm, 0.6) for other in found)
        if apart and _stands_out(smooth, grid, peak, found, noise):
            found.append(source)
    components = [Component(source.position, source.fwhm, source.brightness) for source in found[:limit]]
    if pairs:
        orders = _by_order(values, weights, np.isin(slit_grid, grid))
        components = resolve_pairs(grid, (profile, error), orders, components)
    components = resolve_blends(grid, profile, error, components)
    return _with_components(found[:limit], components)


def positive_sources(values: np.ndarray, weights: np.ndarray, slit_grid: np.ndarray) -> tuple[SlitSource, ...]:
    """Sources of cells in which others are negative: those would count as scatter of the background.

    A bright source lifts the sky that is subtracted a little, so that the rest of the slit is not about zero: what
    is negative is so against the middle of all cells, and has no part in the level that sources stand on.
    Arguments as `find_sources`.
    """
    kernel = np.ones(5)
    mean, weight = mean_of_cells(values, weights), weights.sum(axis=0)
    known = weight > 0
    level = float(np.median(mean[known])) if known.any() else 0.0
    scatter = 1.4826 * float(np.median(np.abs(mean[known] - level))) if known.any() else 0.0
    noise = np.sqrt(1.0 / np.where(known, weight, 1.0) + scatter**2)
    pull = np.convolve(np.where(known, (mean - level) / noise, 0.0), kernel, mode="same") / np.sqrt(kernel.size)
    negative = np.convolve(pull < -_NEGATIVE, kernel, mode="same") > 0
    return find_sources(np.where(negative, level, values), weights, slit_grid, hidden=negative, pairs=False)


def mean_of_cells(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean (m,) of cells (n, m) along the first axis; 0 where nothing is known."""
    total = weights.sum(axis=0)
    return (values * weights).sum(axis=0) / np.where(total > 0, total, 1.0)


def light_along_slit(
    values: np.ndarray, weights: np.ndarray, slit_grid: np.ndarray, hidden: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(grid, light, error) where anything is known, light above its lower part; arguments as `find_sources`."""
    profile, error = _combine(values, weights)
    known = np.isfinite(error)
    if not known.any():
        return np.zeros(0), np.zeros(0), np.zeros(0)
    grid, profile, error = slit_grid[known], profile[known], error[known]
    seen = profile if hidden is None or hidden[known].sum() > profile.size - 10 else profile[~hidden[known]]
    return grid, profile - np.percentile(seen, 30), error


def _is_peak(smooth):
    """Local maxima; an end counts as one when the profile rises up to it."""
    padded = np.concatenate([[-np.inf], smooth, [-np.inf]])
    return (smooth >= padded[:-2]) & (smooth > padded[2:])


def _needed_significance(grid):
    """Higher at the slit's ends, where what is left of the sky may rise as well as a star's flank."""
    needed = np.full(grid.size, _DETECTION)
    needed[[0, -1]] = _DETECTION_AT_END
    return needed


def _by_order(values, weights, known):
    """Light along the slit in each order, and its error, infinite where nothing is known: (orders, cells)."""
    values, weights = (cells[:, known].reshape(-1, _CHUNKS, known.sum()) for cells in (values, weights))
    total = weights.sum(axis=1)
    seen = np.where(total > 0, total, 1.0)
    return (values * weights).sum(axis=1) / seen, np.where(total > 0, 1.0 / np.sqrt(seen), np.inf)


def _with_components(found: list[SlitSource], components: list[Component]) -> tuple[SlitSource, ...]:
    """The sources, or what they were resolved into: stars apart, and extended light behind the star on it."""
    if len(components) == len(found):
        return tuple(found)
    sources = []
    for component in components:
        nearest = min(found, key=lambda source: abs(source.position - component.position))
        sources.append(SlitSource(component.position, component.fwhm, component.flux, nearest.significance))
    return tuple(sources)


def _combine(values, weights):
    """Weighted mean over cells with the strongest outliers cut, and its error (inf where nothing is known)."""
    total = weights.sum(axis=0)
    mean = (values * weights).sum(axis=0) / np.where(total > 0, total, 1.0)
    for _ in range(2):
        pull = (values - mean) * np.sqrt(weights)
        kept = np.where(np.abs(pull) < 12.0 + 0.5 * np.abs(mean) * np.sqrt(weights), weights, 0.0)
        total = kept.sum(axis=0)
        mean = (values * kept).sum(axis=0) / np.where(total > 0, total, 1.0)
    return mean, np.where(total > 0, 1.0 / np.sqrt(np.where(total > 0, total, 1.0)), np.inf)


def _background_scatter(smooth):
    """Scatter of the lower half of the profile: what else than photon noise moves it."""
    lower = np.sort(smooth)[: max(smooth.size // 2, 4)]
    return 1.4826 * float(np.median(np.abs(lower - np.median(lower))))


def _stands_out(smooth, grid, peak, found, noise):
    """Whether the profile dips between this peak and every brighter one by more than its noise."""
    for other in found:
        brighter = int(np.argmin(np.abs(grid - other.position)))
        low, high = sorted((peak, brighter))
        dip = smooth[low : high + 1].min()
        if not _dips(dip, smooth[peak], noise[peak]):
            return False
    return True


def _ends(smooth, noise, peak, peaks):
    """First and last cell of a peak: where the light is least towards its neighbours, if it dips by much."""
    low, high = 0, smooth.size - 1
    for other in peaks:
        between = slice(min(peak, other), max(peak, other) + 1)
        fainter = peak if smooth[peak] < smooth[other] else other
        if other == peak or not _dips(smooth[between].min(), smooth[fainter], noise[fainter]):
            continue
        least = between.start + int(np.argmin(smooth[between]))
        low, high = (max(low, least), high) if other < peak else (low, min(high, least))
    return low, high


def _dips(least, height, noise) -> bool:
    """Whether light falls between two peaks by more than its noise; `height` is that of the fainter."""
    return height - least >= max(5.0 * noise, 0.1 * height)


def _measure(grid, profile, smooth, peak, significance, ends):
    offset = 0.0
    if 0 < peak < smooth.size - 1:
        curvature = smooth[peak - 1] - 2.0 * smooth[peak] + smooth[peak + 1]
        offset = 0.5 * (smooth[peak - 1] - smooth[peak + 1]) / curvature if curvature < 0 else 0.0
    position = grid[peak] + np.clip(offset, -1, 1) * _STEP
    width = _half_width(grid, smooth, peak, *ends)
    fwhm = float(np.sqrt(max(width**2 - _PRIOR_FWHM**2, 0.16)))
    near = np.abs(grid - position) < 1.5 * max(fwhm, 0.6)
    return SlitSource(float(position), fwhm, float(profile[near].sum() * _STEP), significance)


def _half_width(grid, smooth, peak, low, high):
    half = 0.5 * smooth[peak]
    left = peak
    while left > low and smooth[left] > half:
        left -= 1
    right = peak
    while right < high and smooth[right] > half:
        right += 1
    before, behind = float(grid[peak] - grid[left]), float(grid[right] - grid[peak])
    if left == low and right < high:  # cut off at an end: twice the side that is seen
        before = behind
    elif right == high and left > low:
        behind = before
    return before + behind - _STEP


def choose_target(
    sources: tuple[SlitSource, ...], expected: float, *, tolerance: float = 2.0, assumed_fwhm: float = 1.0
) -> TargetChoice:
    """The source at the expected position; never simply the brightest.

    Parameters
    ----------
    sources : tuple of SlitSource
    expected : float [arcsec]
        Where the target should be: header, acquisition or the middle of the slit.
    tolerance : float [arcsec]
        A source this near counts as the target. A lone bright source farther away is taken too, but marked.
    assumed_fwhm : float [arcsec]
        Width of a forced extraction when nothing was found.
    """
    distances = np.array([abs(source.position - expected) for source in sources])
    if distances.size and distances.min() <= tolerance:
        index = _point_source_of(sources, int(distances.argmin()))
        source = sources[index]
        text = (
            f"target: the source at {source.position:+.2f} arcsec, {distances[index]:.2f} arcsec from the "
            f"expected position ({len(sources)} on the slit)"
        )
        return TargetChoice(index, sources, text, True, False)
    if len(sources) == 1 and sources[0].significance > 25.0:
        text = (
            f"target: the only source on the slit, at {sources[0].position:+.2f} arcsec, although "
            f"{expected:+.2f} arcsec was expected"
        )
        return TargetChoice(0, sources, text, True, True)
    fwhm = float(np.min([source.fwhm for source in sources])) if sources else assumed_fwhm
    forced = SlitSource(expected, fwhm, 0.0, 0.0)
    text = f"no source within {tolerance:.1f} arcsec of {expected:+.2f} arcsec: extracted there all the same"
    return TargetChoice(len(sources), (*sources, forced), text, False, True)


def _point_source_of(sources, nearest: int) -> int:
    """The narrowest of the sources that overlap with the nearest: the object, not the galaxy that it lies on."""
    here = sources[nearest]
    overlapping = [
        i
        for i, source in enumerate(sources)
        if abs(source.position - here.position) < 0.7 * max(source.fwhm, here.fwhm)
    ]
    return min(overlapping, key=lambda i: sources[i].fwhm)
