"""Shift of a sky spectrum against a line list when a wide slit blends its lines: by a template of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

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
    weight = (1.0 / error[:size] ** 2).reshape(-1, _CHUNK)
    data = sky[:size].reshape(-1, _CHUNK)
    # Outliers of a robust sky (a bad column, a hit) must not lead.
    ramp = np.broadcast_to(np.linspace(-1.0, 1.0, _CHUNK), data.shape)
    basis = [np.ones_like(data), ramp]
    gains = np.zeros(shifts.size)
    templates = _shifted_templates(size, position, brightness, width, shifts)
    for k, template in enumerate(templates):
        scaled = template.reshape(-1, _CHUNK) / max(template.max(), 1e-30)
        design = np.stack([*basis, scaled], axis=2)
        weighted = (design * weight[:, :, None]).transpose(0, 2, 1)
        normal = weighted @ design
        # A chunk with a bin or two of use determines less than three unknowns, whatever its scale.
        normal += (1e-9 * np.trace(normal, axis1=1, axis2=2) + 1e-30)[:, None, None] * np.eye(3)
        solution = np.linalg.solve(normal, weighted @ data[:, :, None])[..., 0]
        spread = np.linalg.inv(normal)[:, 2, 2]
        gain = np.where(solution[:, 2] > 0, solution[:, 2] ** 2 / spread, 0.0)
        gains[k] = gain.sum()
    return gains


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
