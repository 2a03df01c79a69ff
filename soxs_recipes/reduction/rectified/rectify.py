"""Orders laid straight: every pixel's light shared out among bins of wavelength and slit position, by area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import UNUSABLE, QualityFlag
from soxs_recipes.data.rectified_image import RectifiedImage
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.rectified.pixel_overlap import PixelOverlaps, overlap_areas

__all__ = ["SEGMENT", "RectifiedGrid", "rectify_orders"]

SEGMENT = 64  # columns, or somewhat fewer, over which correlations are averaged
_WHOLE = 0.99  # share of a bin that pixels must cover for it to be whole
_LEAST_GOOD = 0.5  # share of a bin's covered area that good pixels must hold
_SLIVER = 1.0e-6  # of a bin: smaller overlaps carry nothing


@dataclass(frozen=True, slots=True)
class RectifiedGrid:
    """The bins that all orders of an arm share: centres at whole multiples of the steps.

    Attributes
    ----------
    wavelength_step : float [nm]
    slit_step : float [arcsec]
    """

    wavelength_step: float
    slit_step: float


@dataclass(frozen=True, slots=True)
class _Cut:
    """An order's pixels and where they fall: index into the flattened frame, overlaps, block of bins."""

    pixels: np.ndarray
    overlaps: PixelOverlaps
    origin: tuple[int, int]  # (row, column) of the first bin, in steps
    shape: tuple[int, int]


def rectify_orders(
    frame: Frame,
    maps: PixelMaps,
    corners: PixelMaps,
    grid: RectifiedGrid,
    *,
    bands: Mapping[int, str],
    sky: np.ndarray | None = None,
    average: bool = False,
) -> list[RectifiedImage]:
    """Lay all orders of a frame straight, each resampled once.

    Parameters
    ----------
    frame : Frame
        Pixels with an UNUSABLE bit take no part.
    maps : PixelMaps (ny, nx)
        Which pixels belong to which order.
    corners : PixelMaps (ny + 1, nx + 1)
        At the pixels' corners: entry (j, i) is the place (i - 1/2, j - 1/2). It must reach a little beyond the
        order.
    grid : RectifiedGrid
    bands : mapping order -> name
    sky : ndarray (ny, nx) or None
        The sky that was subtracted from the frame, resampled beside it.
    average : bool
        Bins hold the mean of what covers them (a flat, a ratio) rather than the sum (light).

    Returns
    -------
    list of RectifiedImage
        Ascending order number. As light, the sum over an order's bins is that over its pixels, wherever none is
        masked; a bin of which good pixels cover more than half of what all cover is filled from those and is
        INTERPOLATED, one with less has NO_DATA.

    Raises
    ------
    AlgorithmError
        The maps hold no order.

    Notes
    -----
    Light counts as spread evenly over its pixel. The covariance that this sharing leaves between bins is kept as
    its row sums (`sum_variance`) and as mean correlations.
    """
    cuts = {number: _cut_order(maps, corners, grid, number) for number in maps.orders}
    cuts = {number: cut for number, cut in cuts.items() if cut is not None}
    if not cuts:
        raise AlgorithmError("the pixel maps hold no order")
    first = min(cut.origin[0] for cut in cuts.values())
    rows = max(cut.origin[0] + cut.shape[0] for cut in cuts.values()) - first
    images = []
    for number, cut in sorted(cuts.items()):
        cut = _Cut(cut.pixels, cut.overlaps, (first, cut.origin[1]), (rows, cut.shape[1]))
        images.append(_rectified(frame, cut, grid, (number, bands.get(number, str(number))), sky, average))
    return images


def _cut_order(maps, corners, grid, number) -> _Cut | None:
    """The order's pixels all of whose corners are known, and the bins that they reach."""
    width = maps.order.shape[1]
    pixels = np.flatnonzero(maps.order == number)
    # Corners in turn around the pixel.
    first = pixels + pixels // width
    places = first[:, None] + np.array([0, 1, width + 2, width + 1])
    whole = (corners.order.ravel()[places] == number).all(axis=1)
    pixels, places = pixels[whole], places[whole]
    if not pixels.size:
        return None
    column = corners.wavelength.ravel()[places] / grid.wavelength_step
    row = corners.slit.ravel()[places] / grid.slit_step
    overlaps = overlap_areas(column, row)
    first = int(overlaps.first_row.min()), int(overlaps.first_column.min())
    last = (int(np.floor(values.max() + 0.5)) for values in (row, column))
    return _Cut(pixels, overlaps, first, tuple(end + 1 - start for start, end in zip(first, last, strict=True)))


def _rectified(frame, cut: _Cut, grid: RectifiedGrid, name, sky, average) -> RectifiedImage:
    good = (frame.quality.ravel()[cut.pixels] & np.int32(UNUSABLE)) == 0
    variance = frame.variance.ravel()[cut.pixels].astype(np.float64)
    good &= np.isfinite(variance)
    pixel, block = np.nonzero(cut.overlaps.area.reshape(cut.pixels.size, -1) > _SLIVER)
    shared = cut.overlaps.area.reshape(cut.pixels.size, -1)[pixel, block]
    columns = cut.overlaps.area.shape[2]
    row = cut.overlaps.first_row[pixel] + block // columns - cut.origin[0]
    column = cut.overlaps.first_column[pixel] + block % columns - cut.origin[1]
    bins = row * cut.shape[1] + column

    def gathered(values):
        return np.bincount(bins, values, cut.shape[0] * cut.shape[1])

    own = cut.overlaps.own_area
    cover, cover_good = gathered(shared), gathered(shared * good[pixel])
    filled = (cover_good >= _LEAST_GOOD * cover) & (cover_good > _SLIVER)
    target = 1.0 if average else cover
    scale = np.where(filled, target / np.maximum(cover_good, _SLIVER), 0.0)
    weight = np.where(good, 1.0 if average else 1.0 / own, 0.0)[pixel] * shared
    value = scale * gathered(weight * frame.data.ravel()[cut.pixels].astype(np.float64)[pixel])
    spread = weight * np.where(good, variance, 0.0)[pixel]
    reach = own[pixel] if average else 1.0  # what a pixel gives to all bins together
    single = np.where(filled, scale**2 * gathered(weight * spread), np.inf)
    summed = np.where(filled, scale**2 * gathered(reach * spread), np.inf)
    light = None
    if sky is not None:
        light = scale * gathered(weight * np.where(good, sky.ravel()[cut.pixels], 0.0)[pixel])
        light = light.astype(np.float32).reshape(cut.shape)
    quality = _quality(frame, cut, pixel, bins, shared, cover, cover_good, filled)
    return RectifiedImage(
        order=name[0],
        band=name[1],
        wavelength_start=cut.origin[1] * grid.wavelength_step,
        wavelength_step=grid.wavelength_step,
        slit_start=cut.origin[0] * grid.slit_step,
        slit_step=grid.slit_step,
        flux=value.astype(np.float32).reshape(cut.shape),
        variance=single.reshape(cut.shape),
        sum_variance=summed.reshape(cut.shape),
        quality=quality.reshape(cut.shape),
        coverage=np.minimum(cover, 1.0).astype(np.float32).reshape(cut.shape),
        correlation=_correlations(cut),
        unit="" if average else "electron",
        sky=light,
    )


def _quality(frame, cut, pixel, bins, shared, cover, cover_good, filled):
    """Bits that inform come along with any pixel; those that exclude only where they cost the bin its value."""
    size = cut.shape[0] * cut.shape[1]
    quality = np.zeros(size, np.int32)
    bits = frame.quality.ravel()[cut.pixels]
    flagged = np.flatnonzero(bits[pixel])
    present = int(np.bitwise_or.reduce(bits)) if flagged.size else 0
    for flag in QualityFlag:
        if not present & flag:
            continue
        touched = bins[flagged[((bits[pixel[flagged]] & flag) != 0) & (shared[flagged] > 0.01)]]
        if flag & UNUSABLE:
            touched = touched[~filled[touched]]
        quality[touched] |= np.int32(flag)
    quality[filled & (cover_good < cover - 0.01)] |= np.int32(QualityFlag.INTERPOLATED)
    quality[filled & (cover < _WHOLE)] |= np.int32(QualityFlag.PARTIAL_APERTURE)
    quality[~filled] |= np.int32(QualityFlag.NO_DATA)
    quality[cover <= _SLIVER] |= np.int32(QualityFlag.OUTSIDE_ORDER)
    return quality


def _correlations(cut: _Cut) -> np.ndarray:
    """Mean correlation (segments, rows, columns) between bins, for pixels of equal noise."""
    share = cut.overlaps.area / cut.overlaps.own_area[:, None, None]
    _, rows, columns = share.shape
    segments = -(-cut.shape[1] // SEGMENT)
    segment = (cut.overlaps.first_column - cut.origin[1]) // -(-cut.shape[1] // segments)
    kernel = np.zeros((segments, 2 * rows - 1, 2 * columns - 1))
    for row in range(rows):
        for column in range(1 - columns, columns):
            if row == 0 and column < 0:
                continue
            left, right = max(-column, 0), max(column, 0)
            near = share[:, : rows - row, left : columns - right]
            far = share[:, row:, right : columns - left]
            sums = np.bincount(segment, np.einsum("nij,nij->n", near, far), segments)
            kernel[:, rows - 1 + row, columns - 1 + column] = sums
            kernel[:, rows - 1 - row, columns - 1 - column] = sums
    middle = kernel[:, rows - 1, columns - 1]
    filled = middle > 0
    kernel[~filled] = kernel[filled].sum(axis=0)
    return (kernel / kernel[:, rows - 1 : rows, columns - 1 : columns]).astype(np.float32)
