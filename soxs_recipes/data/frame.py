"""A detector frame that carries its own truth: signal, variance, quality."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from soxs_recipes.data.quality import is_usable

__all__ = ["Frame", "FrameMeta"]


@dataclass(frozen=True, slots=True)
class FrameMeta:
    """What algorithms may know of an exposure; no header, no arm name.

    Attributes
    ----------
    name : str
        File stem, for messages only.
    exposure_time : float
        Seconds.
    mjd_start, mjd_end : float
        Modified Julian dates (UTC) of start and end.
    gain : float
        e-/ADU.
    read_noise : float
        e-, of one readout.
    saturation : float
        e-, above the bias; inf when unknown.
    binning : tuple of int
        (y, x).
    airmass : float
        Mean over the exposure; NaN when unknown.
    combined : int
        How many raw frames went in.
    """

    name: str = ""
    exposure_time: float = 0.0
    mjd_start: float = float("nan")
    mjd_end: float = float("nan")
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float = float("inf")
    binning: tuple[int, int] = (1, 1)
    airmass: float = float("nan")
    combined: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """Signal, variance and quality of a trimmed detector frame.

    Attributes
    ----------
    data : ndarray (ny, nx) float32 [e-]
        NaN never: a pixel without a value is 0 with `QualityFlag.NO_DATA`.
    variance : ndarray (ny, nx) float32 [e-^2]
        Total variance of `data`, shared part included.
    quality : ndarray (ny, nx) int32
        `QualityFlag` bits.
    meta : FrameMeta
    shared_variance : ndarray (ny, nx) float32 [e-^2] or None
        The part of `variance` that comes from masters (bias, dark, flat): the same error, not a new one, in
        every frame that used the same masters, so combining N frames does not reduce it.
    """

    data: np.ndarray
    variance: np.ndarray
    quality: np.ndarray
    meta: FrameMeta = field(default_factory=FrameMeta)
    shared_variance: np.ndarray | None = None

    def __post_init__(self):
        shape = self.data.shape
        if self.variance.shape != shape or self.quality.shape != shape:
            raise ValueError(
                f"data {shape}, variance {self.variance.shape} and quality {self.quality.shape} differ in shape"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.data.shape

    @property
    def usable(self) -> np.ndarray:
        """Boolean (ny, nx): pixels that may take part in a measurement."""
        return is_usable(self.quality)

    def with_arrays(self, **arrays: np.ndarray) -> Frame:
        """A copy with some arrays (or `meta`) replaced; the others are shared, not copied."""
        return replace(self, **arrays)
