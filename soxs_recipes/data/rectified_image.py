"""An order, or a whole arm, laid straight: wavelength along one axis, slit position along the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag

__all__ = ["RectifiedImage"]


@dataclass(frozen=True, slots=True)
class RectifiedImage:
    """Light in equal bins of wavelength and slit position.

    Attributes
    ----------
    order : int
        0 for the merged orders of an arm.
    band : str
        Name of the order.
    wavelength_start, wavelength_step : float [nm, vacuum, as observed]
        Centre of the first column, width of each.
    slit_start, slit_step : float [arcsec]
        Centre of the first row, height of each.
    flux : ndarray (rows, columns) float32
        In `unit`: "electron" in the bin, "electron / nm" or "erg / (s cm2 Angstrom)" in the row, "" for a flat.
        0 where nothing is known.
    variance : ndarray (rows, columns) float64
        Of one bin; inf where nothing is known.
    sum_variance : ndarray (rows, columns) float64
        What a bin adds to the variance of a sum over many, covariance with its neighbours included; inf as above.
    quality : ndarray (rows, columns) int32
    coverage : ndarray (rows, columns) float32
        Share of the bin that pixels of the order cover.
    correlation : ndarray (segments, 2 k + 1, 2 l + 1) float32
        Mean correlation of a bin with that (row, column) steps away, in equal stretches of columns.
    unit : str
    sky : ndarray (rows, columns) float32 or None
        The sky that was subtracted, in the same unit.
    """

    order: int
    band: str
    wavelength_start: float
    wavelength_step: float
    slit_start: float
    slit_step: float
    flux: np.ndarray = field(repr=False)
    variance: np.ndarray = field(repr=False)
    sum_variance: np.ndarray = field(repr=False)
    quality: np.ndarray = field(repr=False)
    coverage: np.ndarray = field(repr=False)
    correlation: np.ndarray = field(repr=False)
    unit: str = "electron"
    sky: np.ndarray | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.flux.shape

    @property
    def wavelength(self) -> np.ndarray:
        """Centres of the columns [nm]."""
        return self.wavelength_start + self.wavelength_step * np.arange(self.shape[1])

    @property
    def slit(self) -> np.ndarray:
        """Centres of the rows [arcsec]."""
        return self.slit_start + self.slit_step * np.arange(self.shape[0])

    @property
    def known(self) -> np.ndarray:
        """Boolean (rows, columns): bins that hold a value."""
        return np.isfinite(self.variance)

    @property
    def noise_factor(self) -> float:
        """Error of a large sum over the root of the bins' summed variances, median of the columns' stretches."""
        return float(np.sqrt(np.median(self.correlation.sum(axis=(1, 2)))))

    def scaled(
        self, scale: np.ndarray, relative_error: np.ndarray, quality: np.ndarray, unit: str
    ) -> RectifiedImage:
        """The image in another unit.

        Parameters
        ----------
        scale, relative_error : ndarray (columns,) float64
            A column whose scale is not above 0 is lost.
        quality : ndarray (columns,) int32
        unit : str
        """
        reached = self.known & (scale > 0)
        flux = np.where(reached, self.flux * scale, 0.0)
        own = (flux * relative_error) ** 2
        variances = (
            np.where(reached, np.where(reached, plane, 0.0) * scale**2 + own, np.inf)
            for plane in (self.variance, self.sum_variance)
        )
        lost = np.where(scale > 0, 0, int(QualityFlag.NO_DATA)).astype(np.int32)
        return replace(
            self,
            flux=flux.astype(np.float32),
            variance=next(variances),
            sum_variance=next(variances),
            quality=self.quality | quality.astype(np.int32) | lost,
            sky=None if self.sky is None else np.where(reached, self.sky * scale, 0.0).astype(np.float32),
            unit=unit,
        )

    def sum_box(self, rows: slice, columns: slice) -> tuple[float, float]:
        """(sum, 1 sigma) of the known bins of a box.

        Notes
        -----
        What a bin shares with its neighbours, `sum_variance` less `variance`, is spread over them as
        `correlation` is; what goes to bins outside the box is left out.
        """
        known = self.known[rows, columns]
        total = float(self.flux[rows, columns][known].sum(dtype=np.float64))
        own = np.where(known, self.variance[rows, columns], 0.0)
        shared = np.where(known, self.sum_variance[rows, columns], 0.0) - own
        variance = float((own + shared * self._share_inside(known, columns)).sum())
        return total, float(np.sqrt(max(variance, 0.0)))

    def _share_inside(self, known: np.ndarray, columns: slice) -> np.ndarray:
        """Of what each bin of a box shares with neighbours, the part that goes to known ones of the box."""
        left, right, _ = columns.indices(self.shape[1])
        length = -(-self.shape[1] // self.correlation.shape[0])
        kernels = self.correlation[np.arange(left, right) // length].copy()
        _, rows, width = kernels.shape
        kernels[:, rows // 2, width // 2] = 0.0
        kernels /= np.maximum(kernels.sum(axis=(1, 2), keepdims=True), 1e-30)
        inside = np.zeros(known.shape)
        padded = np.pad(known, ((rows // 2, rows // 2), (width // 2, width // 2)))
        for row in range(rows):
            for column in range(width):
                there = padded[row : row + known.shape[0], column : column + known.shape[1]]
                inside += kernels[:, row, column] * there
        return inside
