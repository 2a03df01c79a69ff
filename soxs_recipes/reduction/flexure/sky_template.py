"""Shift of a sky spectrum against a line list when a wide slit blends its lines: by a template of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from soxs_recipes.compiled import compiled

__all__ = ["TemplateShift", "template_shift"]

_CHUNK = 128  # bins that share one brightness and one sloping background
_STEP = 0.25  # bins
_BLUR = 1.1  # bins, Gaussian sigma of the optics
_WIDTHS = (0.8, 0.9, 1.0, 1.1, 1.25)  # tried, times the expected width
_LEAST_GAIN = 60.0  # fall of chi^2 from which a spectrum tells its shift
_FLOOR = 0.05  # bins: brightnesses of the list are those of another night


@dataclass(frozen=True, slots=True)
class TemplateShift:
    """Shift of one spectrum.

    Attributes
    ----------
    shift, error : float [bins]
        Observed minus listed; NaN when the spectrum does not tell.
    width : float [bins]
        Of the slit's image that fitted best.
    """

    shift: float
    error: float
    width: float


def template_shift(
    spectra: Sequence[tuple[np.ndarray, np.ndarray]],
    lines: Sequence[tuple[np.ndarray, np.ndarray]],
    width: float,
    *,
    search: float = 3.0,
) -> list[TemplateShift]:
    """Shifts of several spectra (orders) that share one width of the slit's image.

    Parameters
    ----------
    spectra : sequence of (sky, error)
        Per bin.
    lines : sequence of (position [bins], brightness)
        Of every line in each spectrum.
    width : float [bins]
        Expected width of the slit's image.
    search : float [bins]
    """
    shifts = np.arange(-search, search + 0.5 * _STEP, _STEP)
    gains = np.array(
        [
            [_gains(sky, error, *listed, factor * width, shifts) for factor in _WIDTHS]
            for (sky, error), listed in zip(spectra, lines, strict=True)
        ]
    )
    if gains.size == 0:
        return []
    best_width = int(np.argmax(gains.max(axis=2).sum(axis=0)))
    return [_peak(shifts, curve, _WIDTHS[best_width] * width) for curve in gains[:, best_width]]


def _gains(sky, error, position, brightness, width, shifts):
    """Fall of chi^2, summed over chunks, when the template at each shift is added to sloping backgrounds."""
    size = sky.size // _CHUNK * _CHUNK
    if size == 0 or position.size == 0:
        return np.zeros(shifts.size)
    sky, weight = np.ascontiguousarray(sky[:size]), 1.0 / error[:size] ** 2
    templates = _shifted_templates(size, position, brightness, width, shifts)
    return np.array([_gain(sky, weight, template / max(template.max(), 1e-30)) for template in templates])


@compiled
def _gain(sky, weight, template):
    """Fall of chi^2, summed over chunks, when a template, where it helps, is added to sloping backgrounds."""
    gain = 0.0
    for first in range(0, sky.size, _CHUNK):
        normal, target = np.zeros((3, 3)), np.zeros(3)
        for k in range(_CHUNK):
            basis = (1.0, 2.0 * k / (_CHUNK - 1.0) - 1.0, template[first + k])
            for i in range(3):
                target[i] += weight[first + k] * basis[i] * sky[first + k]
                for j in range(i + 1):
                    normal[i, j] += weight[first + k] * basis[i] * basis[j]
        # A chunk with a bin or two of use determines less than three unknowns, whatever its scale.
        ridge = 1e-9 * (normal[0, 0] + normal[1, 1] + normal[2, 2]) + 1e-30
        # What the background leaves of template and light, by elimination.
        for i in range(2):
            pivot = normal[i, i] + ridge
            for j in range(i + 1, 3):
                share = normal[j, i] / pivot
                target[j] -= share * target[i]
                for k in range(i + 1, j + 1):
                    normal[j, k] -= share * normal[k, i]
        left = normal[2, 2] + ridge
        if target[2] > 0:
            gain += target[2] ** 2 / left
    return gain


def _shifted_templates(size, position, brightness, width, shifts):
    """The template (size,) at each shift; those that are whole bins apart are parts of one longer template."""
    whole = np.floor(shifts).astype(np.int64)
    room = int(np.abs(whole).max(initial=0))
    longer: dict[float, np.ndarray] = {}
    for bins, part in zip(whole.tolist(), (shifts - whole).tolist(), strict=True):
        if part not in longer:
            longer[part] = _template(size + 2 * room, position + (part + room), brightness, width)
        yield longer[part][room - bins : room - bins + size]


def _template(size, position, brightness, width):
    """Boxes blurred by a Gaussian, summed over the lines."""
    reach = int(np.ceil(0.5 * width + 5.0 * _BLUR))
    offsets = np.arange(-reach, reach + 1)
    near = np.rint(position).astype(np.int64)
    distance = near[:, None] + offsets - position[:, None]
    shape = (ndtr((distance + 0.5 * width) / _BLUR) - ndtr((distance - 0.5 * width) / _BLUR)) / width
    bins = near[:, None] + offsets
    inside = (bins >= 0) & (bins < size)
    return np.bincount(bins[inside], (shape * brightness[:, None])[inside], minlength=size)


def _peak(shifts, gains, width) -> TemplateShift:
    top = int(np.argmax(gains))
    if gains[top] < _LEAST_GAIN or not 0 < top < shifts.size - 1:
        return TemplateShift(float("nan"), float("nan"), width)
    before, here, after = gains[top - 1 : top + 2]
    bend = before - 2.0 * here + after
    if bend >= 0:
        return TemplateShift(float("nan"), float("nan"), width)
    offset = 0.5 * (before - after) / bend
    # chi^2 rises by one at one sigma; neighbours at one step give the curvature.
    error = _STEP * np.sqrt(-2.0 / bend)
    return TemplateShift(float(shifts[top] + offset * _STEP), float(np.hypot(error, _FLOOR)), width)
