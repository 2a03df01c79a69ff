"""Centres, widths and fluxes of many emission spots at once, by fits of a pixel-integrated Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soxs_recipes.reduction.numerics.gaussian_kernels import (
    FLUX,
    LEVEL,
    MINIMUM_PIXELS,
    SHEAR,
    WIDTH_RANGE,
    WX,
    WY,
    X,
    Y,
    first_fluxes,
    fit_round,
    judge_spots,
    paint_spots,
)

__all__ = ["FWHM_PER_SIGMA", "LineFits", "PlacePrior", "WidthPrior", "fit_lines", "smooth_widths"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True, slots=True)
class WidthPrior:
    """What is expected of the spots' widths before they are fitted.

    Attributes
    ----------
    sigma_x, sigma_y : ndarray (n,) float64 [px]
        Gaussian sigma without the pixel's own width.
    shear : ndarray (n,) float64
        Change of the centre in x with y inside a spot.
    relative_error : float
        1 sigma of ln(sigma).
    shear_error : float
        1 sigma of `shear`.
    """

    sigma_x: np.ndarray
    sigma_y: np.ndarray
    shear: np.ndarray
    relative_error: float
    shear_error: float

    @classmethod
    def typical(cls, sigma: float, count: int) -> WidthPrior:
        """A loose prior of round spots."""
        return cls(np.full(count, sigma), np.full(count, sigma), np.zeros(count), 0.4, 0.2)

    def select(self, index: np.ndarray | slice) -> WidthPrior:
        """Chosen spots."""
        return WidthPrior(
            self.sigma_x[index], self.sigma_y[index], self.shear[index], self.relative_error, self.shear_error
        )


@dataclass(frozen=True, slots=True)
class PlacePrior:
    """Where spots are expected before they are fitted.

    Attributes
    ----------
    x, y : ndarray (n,) float64 [px]
    error : ndarray (n,) float64 [px]
        1 sigma along each axis; large for a spot that is to speak for itself.
    """

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, slots=True)
class _Prior:
    """Prior means (n, 5) of x, y, ln(sigma_x), ln(sigma_y), shear, and their inverse variances."""

    mean: np.ndarray
    inverse: np.ndarray


@dataclass(frozen=True, slots=True)
class LineFits:
    """Fitted spots, an entry each; a spot that could not be fitted is NaN with `good` False.

    Attributes
    ----------
    x, y : ndarray (n,) float64 [px]
        0-based pixel centres.
    x_error, y_error : ndarray (n,) float64 [px]
        1 sigma from the covariance with model variance.
    flux, flux_error : ndarray (n,) float64 [e-]
    sigma_x, sigma_y : ndarray (n,) float64 [px]
        Gaussian sigma, pixel width taken out; in x along one row.
    shear : ndarray (n,) float64
        Change of the centre in x with y: a tilted slit's image is no ellipse along the axes.
    width_error : ndarray (n,) float64
        1 sigma of ln(sigma), mean of both axes.
    background : ndarray (n,) float64 [e- per px]
    chi_square : ndarray (n,) float64
        Per degree of freedom.
    peak : ndarray (n,) float64 [e-]
        Largest pixel of the fitted spot above its background.
    good : ndarray (n,) bool
        Converged inside its stamp on enough pixels.
    """

    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray
    y_error: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    sigma_x: np.ndarray
    sigma_y: np.ndarray
    shear: np.ndarray
    width_error: np.ndarray
    background: np.ndarray
    chi_square: np.ndarray
    peak: np.ndarray
    good: np.ndarray

    @property
    def fwhm(self) -> np.ndarray:
        """Geometric mean of both axes' FWHM [px], pixel width taken out."""
        return FWHM_PER_SIGMA * np.sqrt(self.full_sigma_x * self.sigma_y)

    @property
    def full_sigma_x(self) -> np.ndarray:
        """Sigma in x over all rows [px], shear included."""
        return np.hypot(self.sigma_x, self.shear * self.sigma_y)

    def __len__(self) -> int:
        return self.x.size

    def select(self, index: np.ndarray) -> LineFits:
        """Chosen entries, in the order of `index` (integers or boolean)."""
        return LineFits(*(getattr(self, name)[index] for name in self.__slots__))


def fit_lines(
    data: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    x_start: np.ndarray,
    y_start: np.ndarray,
    *,
    fwhm: float = 2.2,
    width_prior: WidthPrior | None = None,
    place_prior: PlacePrior | None = None,
    begin: LineFits | None = None,
    rounds: int = 4,
    steps: int = 3,
) -> LineFits:
    """Fit a pixel-integrated elliptical Gaussian on a plane to every spot.

    In each round, spot by spot, the present models of all other spots are taken off its stamp, so that neighbours
    (pinholes, close lines) do not pull; then weights from the model's own variance are set, deviant pixels
    rejected, and up to `steps` Levenberg-Marquardt steps made.

    Parameters
    ----------
    data : ndarray (ny, nx) [e-]
    variance : ndarray (ny, nx) [e-^2]
        Used for its part that does not come from the signal; the spot's own Poisson noise is of the model.
    usable : ndarray (ny, nx) bool
        Pixels that take part; NaN data never do.
    x_start, y_start : ndarray (n,) [px]
        Within about a FWHM of the spots.
    fwhm : float [px]
        Typical, sets the stamps' size and the starting width.
    width_prior : WidthPrior, optional
        Without it widths are only held loosely to `fwhm`.
    place_prior : PlacePrior, optional
        For spots that overlap: a faint one next to a bright one keeps to its place.
    begin : LineFits, optional
        Earlier fits of these spots, all good, from whose fluxes, widths and levels this one starts.
    rounds, steps : int

    Returns
    -------
    LineFits
        Same order as the starts.

    Notes
    -----
    The mean of a Gaussian over a pixel is a difference of error functions, so that undersampled spots are
    measured without a pixel-phase error. Quasi-likelihood weights (model variance, refreshed every round)
    leave no bias at low counts.
    """
    x_start = np.atleast_1d(np.asarray(x_start, dtype=np.float64))
    y_start = np.atleast_1d(np.asarray(y_start, dtype=np.float64))
    if x_start.size == 0:
        return LineFits(*([np.zeros(0)] * 13), good=np.zeros(0, dtype=bool))
    stamps = _Stamps.cut(data, variance, usable, x_start, y_start, max(4, int(np.ceil(1.6 * fwhm))))
    prior = _joint_prior(x_start, y_start, fwhm, width_prior, place_prior)
    parameters = _first_guess(stamps, x_start, y_start, prior.mean[:, 2:], begin)
    damping = np.full(x_start.size, 1.0e-3)
    image, marks = np.zeros(data.shape), np.zeros(data.shape, dtype=np.uint8)
    settled = np.zeros(x_start.size, dtype=bool)
    paint_spots(image, parameters, stamps.x0, stamps.y0, stamps.size)
    first_turn = 0 if begin is None else 1  # the first one knows of no places
    for turn in range(first_turn, first_turn + rounds):
        held = (prior.mean, prior.inverse)
        fit_round(*stamps.arrays, image, marks, parameters, damping, settled, *held, turn, steps)
    return _summary(stamps, image, parameters, prior, (x_start, y_start), fwhm)


def _joint_prior(x, y, fwhm, widths, places):
    if widths is None:
        widths = WidthPrior.typical(fwhm / FWHM_PER_SIGMA, x.size)
    if places is None:
        places = PlacePrior(x, y, np.full(x.size, np.inf))
    mean = np.stack([places.x, places.y, np.log(widths.sigma_x), np.log(widths.sigma_y), widths.shear], axis=1)
    inverse = np.empty_like(mean)
    inverse[:, :2] = 1.0 / np.maximum(places.error, 1.0e-3)[:, None] ** 2
    inverse[:, 2:4] = 1.0 / widths.relative_error**2
    inverse[:, 4] = 1.0 / widths.shear_error**2
    return _Prior(mean, inverse)


@dataclass(frozen=True, slots=True)
class _Stamps:
    """Square cut-outs of the frame."""

    data: np.ndarray  # (n, k, k) float64
    usable: np.ndarray  # (n, k, k) bool
    base_variance: np.ndarray  # (n,), the part that does not come from the signal
    x0: np.ndarray  # (n,) int64: corner in frame pixels
    y0: np.ndarray

    @classmethod
    def cut(cls, data, variance, usable, x, y, half):
        ny, nx = data.shape
        size = 2 * half + 1
        x0, y0 = np.rint(x).astype(np.int64) - half, np.rint(y).astype(np.int64) - half
        columns = x0[:, None] + np.arange(size)
        rows = y0[:, None] + np.arange(size)
        inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
        index = rows.clip(0, ny - 1)[:, :, None] * nx + columns.clip(0, nx - 1)[:, None, :]
        values = data.ravel()[index].astype(np.float64)
        finite = np.isfinite(values)
        mask = inside & usable.ravel()[index] & finite
        values[~finite] = 0.0
        surplus = variance.ravel()[index].astype(np.float64) - np.maximum(values, 0.0)
        base = np.maximum(_masked_quantile(surplus, mask & np.isfinite(surplus), 0.5), 1.0)
        return cls(values, mask, base, x0, y0)

    @property
    def size(self) -> int:
        return self.data.shape[1]

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the kernels take them."""
        return self.data, self.usable, self.base_variance, self.x0, self.y0


def _first_guess(stamps, x, y, expected, begin):
    parameters = np.zeros((x.size, 9))
    parameters[:, X], parameters[:, Y] = x, y
    if begin is not None:
        parameters[:, FLUX], parameters[:, LEVEL] = begin.flux, begin.background
        parameters[:, WX], parameters[:, WY] = np.log(begin.sigma_x), np.log(begin.sigma_y)
        parameters[:, SHEAR] = begin.shear
        return parameters
    parameters[:, WX], parameters[:, WY], parameters[:, SHEAR] = expected.T
    parameters[:, LEVEL] = _masked_quantile(stamps.data, stamps.usable, 0.25)
    first_fluxes(stamps.data, stamps.usable, stamps.x0, stamps.y0, parameters)
    return parameters


def _masked_quantile(stamps, mask, share):
    """Quantile of the chosen pixels of each stamp (n,); 0 where none is chosen."""
    flat = np.sort(np.where(mask, stamps, np.inf).reshape(len(stamps), -1), axis=1)
    count = mask.reshape(len(stamps), -1).sum(axis=1)
    index = (share * np.maximum(count - 1, 0)).astype(int)
    return np.where(count > 0, flat[np.arange(len(stamps)), index], 0.0)


def _summary(stamps, image, parameters, prior, start, fwhm):
    """Errors at the end, and which spots are to be believed."""
    error, chi, pixels, peak, seen = judge_spots(*stamps.arrays, image, parameters, prior.mean, prior.inverse)
    moved = np.hypot(parameters[:, X] - start[0], parameters[:, Y] - start[1])
    edge = (parameters[:, [WX, WY]] <= WIDTH_RANGE[0]) | (parameters[:, [WX, WY]] >= WIDTH_RANGE[1])
    good = (pixels >= max(MINIMUM_PIXELS, 0.4 * stamps.size**2)) & ~edge.any(axis=1)
    good &= (parameters[:, FLUX] > 3.0 * error[:, FLUX]) & (moved < max(2.0, fwhm))
    good &= seen >= 0.75 * np.maximum(parameters[:, FLUX], 1.0e-12)  # of its light, on usable pixels
    good &= np.isfinite(parameters).all(axis=1) & np.isfinite(error).all(axis=1)

    def column(values):
        return np.where(good, values, np.nan)

    return LineFits(
        x=column(parameters[:, X]),
        y=column(parameters[:, Y]),
        x_error=column(error[:, X]),
        y_error=column(error[:, Y]),
        flux=column(parameters[:, FLUX]),
        flux_error=column(error[:, FLUX]),
        sigma_x=column(np.exp(parameters[:, WX])),
        sigma_y=column(np.exp(parameters[:, WY])),
        shear=column(parameters[:, SHEAR]),
        width_error=column(0.5 * (error[:, WX] + error[:, WY])),
        background=column(parameters[:, LEVEL]),
        chi_square=column(chi / np.maximum(pixels - 6.0, 1.0)),
        peak=column(peak),
        good=good,
    )


def smooth_widths(
    fits: LineFits, group: np.ndarray, x: np.ndarray, y: np.ndarray, *, floor: float = 0.04
) -> WidthPrior:
    """Widths as a smooth function of place in each group, for a second, stiffer fit.

    Parameters
    ----------
    fits : LineFits
    group : ndarray (n,)
        Order numbers: each gets a quadratic in (x, y), held to the arm's median.
    x, y : ndarray (n,) [px]
        Where to evaluate (the starts; fitted places may be NaN).
    floor : float
        Least relative error given to the prior.

    Returns
    -------
    WidthPrior
        For every spot, fitted or not; its errors are the robust scatter about the surfaces.
    """
    good = fits.good & (fits.flux > 10.0 * fits.flux_error)
    if not good.any():
        good = fits.good
    if not good.any():
        raise ValueError("no spot was fitted: there is no width to smooth")
    surfaces, scatter = [], []
    for values, reach in ((np.log(fits.sigma_x), 0.7), (np.log(fits.sigma_y), 0.7), (fits.shear, 0.5)):
        values = np.where(good, values, 0.0)
        centre = float(np.median(values[good]))
        surface = np.full(x.size, centre)
        for number in np.unique(group):
            member = group == number
            surface[member] += _quadratic(x[member], y[member], values[member] - centre, good[member])
        surfaces.append(surface.clip(centre - reach, centre + reach))
        scatter.append(1.4826 * float(np.median(np.abs(values[good] - surface[good]))))
    errors = max(floor, 0.5 * (scatter[0] + scatter[1])), max(floor, scatter[2])
    return WidthPrior(np.exp(surfaces[0]), np.exp(surfaces[1]), surfaces[2], *errors)


def _quadratic(x, y, value, good):
    """Robust ridge-regularised quadratic surface, evaluated at all points."""
    u, v = (2.0 * (c - c.min()) / max(float(np.ptp(c)), 1.0) - 1.0 for c in (x, y))
    design = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    weights = good.astype(np.float64)
    ridge = np.diag([0.02, 0.3, 0.3, 1.0, 1.0, 1.0])
    coefficients = np.zeros(6)
    for _ in range(6):
        weighted = design * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ value)
        residual = np.abs(value - design @ coefficients)
        typical = max(1.4826 * float(np.median(residual[good])) if good.any() else 1.0, 0.01)
        weights = good / np.maximum(residual / (1.5 * typical), 1.0) ** 2
    return design @ coefficients
