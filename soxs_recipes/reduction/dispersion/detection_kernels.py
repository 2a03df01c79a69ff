"""Loops over the pixels of a frame in which spots are looked for: a matched filter in one sweep, its maxima."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["filtered_frame", "local_maxima"]


@compiled
def _along_row(row, kernel, half_box, smooth, boxed):
    """A row with zeros on both sides of it (n + 2 m) smoothed by a kernel, and summed in boxes: (n,) each."""
    margin = (row.size - smooth.size) // 2
    first = margin - kernel.size // 2
    for x in range(smooth.size):
        smooth[x] = 0.0
    for k in range(kernel.size):
        for x in range(smooth.size):
            smooth[x] += kernel[k] * row[first + k + x]
    total = 0.0
    for x in range(margin - half_box, margin + half_box):
        total += row[x]
    for x in range(boxed.size):
        total += row[margin + x + half_box]
        boxed[x] = total
        total -= row[margin + x - half_box]


@compiled
def filtered_frame(data, good, kernel, half_box):
    """A frame smoothed by a Gaussian minus its mean in a box about each pixel, both over its good pixels only.

    Rows are taken one by one; of what the filter needs before and after, only those rows are held that it reaches.

    Parameters
    ----------
    data : ndarray (ny, nx) float32
    good : ndarray (ny, nx) bool
        What other pixels hold, NaN too, does not matter.
    kernel : ndarray (odd,) float64
        Along each axis; of sum 1.
    half_box : int
        The box is 2 half_box + 1 wide, and no narrower than the kernel.

    Returns
    -------
    filtered : ndarray (ny, nx) float32
    weight : ndarray (ny, nx) float32
        Share of the kernel that fell on good pixels.
    """
    ny, nx = data.shape
    size, box, half = kernel.size, 2 * half_box + 1, kernel.size // 2
    filtered, weight = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
    rows = np.zeros((2, nx + 2 * half_box))  # values and ones of the good pixels
    smooth, boxed = np.zeros((2, box, nx)), np.zeros((2, box, nx))
    sums, mean = np.zeros((2, nx)), np.zeros((2, nx))
    for last in range(ny + half_box):
        place = last % box
        for i in range(2):
            for x in range(nx):
                sums[i, x] -= boxed[i, place, x]
                seen = last < ny and good[min(last, ny - 1), x]
                rows[i, half_box + x] = (data[last, x] if i == 0 else 1.0) if seen else 0.0
            _along_row(rows[i], kernel, half_box, smooth[i, place], boxed[i, place])
            for x in range(nx):
                sums[i, x] += boxed[i, place, x]
                mean[i, x] = 0.0
        y = last - half_box
        if y < 0:
            continue
        for k in range(size):
            place = (y + k - half) % box
            for i in range(2):
                for x in range(nx):
                    mean[i, x] += kernel[k] * smooth[i, place, x]
        for x in range(nx):
            share = max(sums[1, x] / box**2, 0.1)
            filtered[y, x] = mean[0, x] / max(mean[1, x], 0.3) - sums[0, x] / box**2 / share
            weight[y, x] = mean[1, x]
    return filtered, weight


@compiled
def local_maxima(filtered, weight, variance, good, typical, area, threshold):
    """Pixels that none of their eight neighbours exceeds and that stand out from the noise.

    Parameters
    ----------
    filtered, weight : ndarray (ny, nx) float32
        From `filtered_frame`; less than 0.6 of the kernel is too little.
    variance : ndarray (ny, nx) float32
        Its mean over 5 x 5 pixels about a maximum counts.
    good : ndarray (ny, nx) bool
    typical : float
        Variance in place of that of other pixels.
    area : float
        Noise of the filtered frame is the root of the variance over this.
    threshold : float
        In units of the noise.

    Returns
    -------
    rows, columns : ndarray (n,) int64
    noise : ndarray (n,) float64
        There is no maximum on the frame's border.
    """
    ny, nx = filtered.shape
    rows, columns, noises = [0], [0], [0.0]
    for y in range(1, ny - 1):
        for x in range(1, nx - 1):
            value = filtered[y, x]
            if not (value > 0.0 and value >= filtered[y, x - 1] and value >= filtered[y, x + 1]):
                continue
            highest = True
            for i in range(-1, 2):
                highest = highest and value >= filtered[y - 1, x + i] and value >= filtered[y + 1, x + i]
            if not highest or weight[y, x] <= 0.6:
                continue
            total = 0.0
            for i in range(-2, 3):
                for j in range(-2, 3):
                    row, column = min(max(y + i, 0), ny - 1), min(max(x + j, 0), nx - 1)
                    total += variance[row, column] if good[row, column] else typical
            noise = np.sqrt(max(total / 25.0, 1.0e-6) / area)
            if value > threshold * noise:
                rows.append(y)
                columns.append(x)
                noises.append(noise)
    return np.array(rows[1:]), np.array(columns[1:]), np.array(noises[1:])
