"""Positions of emission lines in a one-dimensional spectrum."""

from __future__ import annotations

import numpy as np

__all__ = ["line_positions"]

_HALF_WINDOW = 5  # bins on either side of a line
_STEPS = 12


def line_positions(
    spectrum: np.ndarray, error: np.ndarray, expected: np.ndarray, *, search: float = 3.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [bins] of emission lines in a spectrum, their errors and FWHM; NaN where a line is not seen.

    A Gaussian on a slope is fitted to each, all side by side, starting from the highest bin within `search`.
    """
    offsets = np.arange(-_HALF_WINDOW, _HALF_WINDOW + 1)
    reach = np.arange(-int(np.ceil(search)), int(np.ceil(search)) + 1)
    centre = np.rint(expected).astype(np.int64)
    last = spectrum.size - 1 - _HALF_WINDOW
    near = np.clip(centre[:, None] + reach, _HALF_WINDOW, last)
    peak = near[np.arange(centre.size), np.argmax(spectrum[near], axis=1)]
    values, sigma = spectrum[peak[:, None] + offsets], error[peak[:, None] + offsets]
    floor = np.percentile(values, 20, axis=1)
    p = np.stack(
        [spectrum[peak] - floor, np.zeros(peak.size), np.full(peak.size, 1.1), floor, np.zeros(peak.size)], 1
    )
    normal = np.zeros((peak.size, 5, 5))
    for _ in range(_STEPS):
        gauss = np.exp(-0.5 * ((offsets - p[:, 1:2]) / p[:, 2:3]) ** 2)
        pull = p[:, :1] * gauss * (offsets - p[:, 1:2]) / p[:, 2:3]
        jacobian = (
            np.stack(
                [
                    gauss,
                    pull / p[:, 2:3],
                    pull * (offsets - p[:, 1:2]) / p[:, 2:3] ** 2,
                    np.ones_like(gauss),
                    np.broadcast_to(offsets / 5.0, gauss.shape),
                ],
                axis=2,
            )
            / sigma[:, :, None]
        )
        residual = (values - p[:, :1] * gauss - p[:, 3:4] - p[:, 4:] * offsets / 5.0) / sigma
        normal = np.einsum("nki,nkj->nij", jacobian, jacobian)
        damped = normal + np.eye(5) * (1e-3 * np.einsum("nii->ni", normal)[:, None, :] + 1e-12)
        step = np.linalg.solve(damped, np.einsum("nki,nk->ni", jacobian, residual)[..., None])[..., 0]
        p += np.clip(step, [-1e9, -1.0, -0.4, -1e9, -1e9], [1e9, 1.0, 0.4, 1e9, 1e9])
        p[:, 2] = np.clip(p[:, 2], 0.4, 4.0)
    covariance = np.linalg.inv(normal + np.eye(5) * (1e-9 * np.einsum("nii->ni", normal)[:, None, :] + 1e-20))
    position_error = np.sqrt(np.maximum(covariance[:, 1, 1], 0.0))
    strength = p[:, 0] / np.sqrt(np.maximum(covariance[:, 0, 0], 1e-30))
    position = peak + p[:, 1]
    seen = (strength > 8.0) & (np.abs(p[:, 1]) < 1.5) & (np.abs(position - expected) < search + 0.5)
    seen &= (p[:, 2] > 0.45) & (p[:, 2] < 3.5) & (position_error < 0.3)
    return np.where(seen, position, np.nan), position_error, 2.3548 * p[:, 2]
