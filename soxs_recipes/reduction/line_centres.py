"""Centres, widths and fluxes of many emission spots at once, by fits of a pixel-integrated Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

__all__ = ["FWHM_PER_SIGMA", "LineFits", "PlacePrior", "WidthPrior", "fit_lines", "smooth_widths"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

_FLUX, _X, _Y, _WX, _WY, _SHEAR, _B, _BX, _BY = range(9)
_PARAMETERS = 9
_HELD = np.array([_X, _Y, _WX, _WY, _SHEAR])  # parameters that may have a prior
_LARGEST_SHEAR = 0.8
_CHUNK = 192  # spots fitted together: their derivatives stay in the processor's cache
_WIDTH_RANGE = (np.log(0.25), np.log(6.0))  # of sigma [px]: beyond it a spot is not a spot
_MINIMUM_PIXELS = 12


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

    def part(self, chunk):
        return _Prior(self.mean[chunk], self.inverse[chunk])


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
    rounds: int = 4,
    steps: int = 3,
) -> LineFits:
    """Fit a pixel-integrated elliptical Gaussian on a plane to every spot.

    Each round takes the present models of all other spots off a spot's stamp, so that neighbours (pinholes,
    close lines) do not pull; then weights from the model's own variance are set, deviant pixels rejected, and
    `steps` Levenberg-Marquardt steps made, all spots side by side.

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
    parameters = _first_guess(stamps, x_start, y_start, prior.mean[:, 2:])
    damping = np.full(x_start.size, 1.0e-3)
    for turn in range(rounds):
        others = _others(stamps, parameters)
        for chunk in _chunks(x_start.size):
            part = stamps.part(chunk)
            target = part.data - others[chunk]
            weights = _weights(part, target, others[chunk], parameters[chunk], first=turn == 0)
            _marquardt(part, target, weights, parameters[chunk], damping[chunk], prior.part(chunk), steps)
    return _summary(stamps, parameters, prior, (x_start, y_start), fwhm)


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
    """Square cut-outs, (n, k, k); `index` into the flattened frame; corner in frame pixels."""

    data: np.ndarray
    base_variance: np.ndarray  # (n,), the part that does not come from the signal
    usable: np.ndarray
    index: np.ndarray
    x0: np.ndarray
    y0: np.ndarray
    size: int
    shape: tuple[int, int]

    @classmethod
    def cut(cls, data, variance, usable, x, y, half):
        ny, nx = data.shape
        size = 2 * half + 1
        x0, y0 = np.rint(x).astype(int) - half, np.rint(y).astype(int) - half
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
        return cls(values, base, mask, index, x0, y0, size, data.shape)

    def part(self, chunk):
        return _Stamps(
            self.data[chunk],
            self.base_variance[chunk],
            self.usable[chunk],
            self.index[chunk],
            self.x0[chunk],
            self.y0[chunk],
            self.size,
            self.shape,
        )


def _chunks(count):
    return [slice(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK)]


def _pixel_profile(corner, centre, sigma, size, *, derivatives):
    """Gaussian integrated over each pixel along one axis (..., size), and d/dcentre, d/dln(sigma)."""
    t = (corner[..., None] + np.arange(size + 1) - 0.5 - centre[..., None]) / sigma[..., None]
    profile = np.diff(0.5 * erf(t / np.sqrt(2.0)), axis=-1)
    if not derivatives:
        return profile
    density = np.exp(-0.5 * t * t) / np.sqrt(2.0 * np.pi)
    return profile, -np.diff(density, axis=-1) / sigma[..., None], -np.diff(t * density, axis=-1)


def _profiles(stamps, parameters, *, derivatives):
    """Profiles along x of each row (n, k, k) and along y (n, k), and the rows' distances from the centre."""
    height = stamps.y0[:, None] + np.arange(stamps.size) - parameters[:, _Y, None]
    centre = parameters[:, _X, None] + parameters[:, _SHEAR, None] * height
    sigma_x, sigma_y = np.exp(parameters[:, _WX]), np.exp(parameters[:, _WY])
    corner = np.broadcast_to(stamps.x0[:, None], centre.shape)
    sigma_x = np.broadcast_to(sigma_x[:, None], centre.shape)
    px = _pixel_profile(corner, centre, sigma_x, stamps.size, derivatives=derivatives)
    py = _pixel_profile(stamps.y0, parameters[:, _Y], sigma_y, stamps.size, derivatives=derivatives)
    return px, py, height


def _spots(stamps, parameters):
    """The fitted spots without their background (n, k, k)."""
    px, py, _ = _profiles(stamps, parameters, derivatives=False)
    return (parameters[:, _FLUX, None] * py)[:, :, None] * px


def _offsets(stamps):
    """Distance from the stamp's centre in units of its half size, for the background plane."""
    return np.linspace(-1.0, 1.0, stamps.size)


def _others(stamps, parameters):
    """What all other spots put on each stamp (n, k, k), from one model image of all spots."""
    own = _spots(stamps, parameters)
    rows = stamps.y0[:, None] + np.arange(stamps.size)
    columns = stamps.x0[:, None] + np.arange(stamps.size)
    inside = ((rows >= 0) & (rows < stamps.shape[0]))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < stamps.shape[1]))[:, None, :]
    own = np.where(inside, own, 0.0)
    image = np.bincount(stamps.index.ravel(), own.ravel(), minlength=stamps.shape[0] * stamps.shape[1])
    return image[stamps.index] - own


def _first_guess(stamps, x, y, expected):
    n = x.size
    parameters = np.zeros((n, _PARAMETERS))
    background = _masked_quantile(stamps.data, stamps.usable, 0.25)
    parameters[:, _X], parameters[:, _Y] = x, y
    parameters[:, _WX], parameters[:, _WY], parameters[:, _SHEAR] = expected.T
    parameters[:, _B] = background
    parameters[:, _FLUX] = 1.0
    shape = _spots(stamps, parameters) * stamps.usable
    norm = (shape * shape).sum(axis=(1, 2))
    excess = ((stamps.data - background[:, None, None]) * shape).sum(axis=(1, 2))
    parameters[:, _FLUX] = np.maximum(excess / np.maximum(norm, 1.0e-12), 1.0)
    return parameters


def _masked_quantile(stamps, mask, share):
    """Quantile of the chosen pixels of each stamp (n,); 0 where none is chosen."""
    flat = np.sort(np.where(mask, stamps, np.inf).reshape(len(stamps), -1), axis=1)
    count = mask.reshape(len(stamps), -1).sum(axis=1)
    index = (share * np.maximum(count - 1, 0)).astype(int)
    return np.where(count > 0, flat[np.arange(len(stamps)), index], 0.0)


def _plane(stamps, parameters):
    u = _offsets(stamps)
    return (
        parameters[:, _B, None, None]
        + parameters[:, _BX, None, None] * u[None, None, :]
        + parameters[:, _BY, None, None] * u[None, :, None]
    )


def _weights(stamps, target, others, parameters, *, first):
    """Inverse model variance (n, k, k); deviant pixels (cosmic rays, undetected neighbours) get none."""
    spot = _spots(stamps, parameters)
    model = spot + _plane(stamps, parameters)
    variance = stamps.base_variance[:, None, None] + np.maximum(model + others, 0.0)
    residual = target - model
    if first:  # only what stands in the wings and outshines half the spot: places are not known yet
        peak = spot.max(axis=(1, 2), keepdims=True)
        deviant = (spot < 0.2 * peak) & (residual > 0.5 * peak) & (residual**2 > 36.0 * variance)
    else:
        deviant = _deviant(stamps, residual, variance, spot, others, parameters)
    keep = stamps.usable & ~deviant
    enough = keep.sum(axis=(1, 2), keepdims=True) >= max(_MINIMUM_PIXELS, 0.6 * stamps.size**2)
    keep = np.where(enough, keep, stamps.usable)
    return np.where(keep, 1.0 / variance, 0.0)


def _deviant(stamps, residual, variance, spot, others, parameters):
    """Pixels that a spot cannot explain (n, k, k).

    A real spot is not exactly Gaussian: some per cent of its peak is no sign of a cosmic ray where the pixel
    opposite, seen from the spot's centre, deviates alike; where it does not, less is allowed.
    """
    peak = spot.max(axis=(1, 2), keepdims=True)
    far = residual**2 > 36.0 * variance + (0.15 * spot) ** 2 + (0.06 * peak) ** 2 + (0.1 * others) ** 2
    pixels = np.arange(stamps.size)
    columns, rows = (
        np.rint(2.0 * (parameters[:, index] - corner)).astype(int)[:, None] - pixels
        for index, corner in ((_X, stamps.x0), (_Y, stamps.y0))
    )
    last = stamps.size - 1
    inside = ((rows >= 0) & (rows <= last))[:, :, None] & ((columns >= 0) & (columns <= last))[:, None, :]
    mirror = (
        np.arange(len(residual))[:, None, None],
        rows.clip(0, last)[:, :, None],
        columns.clip(0, last)[:, None, :],
    )
    opposite = np.where(inside & stamps.usable[mirror], residual[mirror], residual)
    allowed = 25.0 * variance + (0.02 * peak) ** 2 + (0.05 * spot) ** 2 + (0.05 * others) ** 2
    lopsided = (residual - opposite) ** 2 > allowed + 25.0 * np.where(inside, variance[mirror], 0.0)
    return far | ((residual > 0) & (residual**2 > allowed) & lopsided)


def _jacobian(stamps, parameters):
    """Model (n, k*k) and its derivatives (n, 9, k*k)."""
    n, k = len(parameters), stamps.size
    (px, px_c, px_w), (py, py_c, py_w), height = _profiles(stamps, parameters, derivatives=True)
    flux = parameters[:, _FLUX, None]
    light = (flux * py)[:, :, None]
    jacobian = np.empty((n, _PARAMETERS, k, k))
    jacobian[:, _FLUX] = py[:, :, None] * px
    jacobian[:, _X] = light * px_c
    jacobian[:, _Y] = (flux * py_c)[:, :, None] * px - parameters[:, _SHEAR, None, None] * jacobian[:, _X]
    jacobian[:, _WX] = light * px_w
    jacobian[:, _WY] = (flux * py_w)[:, :, None] * px
    jacobian[:, _SHEAR] = jacobian[:, _X] * height[:, :, None]
    u = _offsets(stamps)
    jacobian[:, _B] = 1.0
    jacobian[:, _BX] = u[None, None, :]
    jacobian[:, _BY] = u[None, :, None]
    model = flux[:, :, None] * jacobian[:, _FLUX] + _plane(stamps, parameters)
    return model.reshape(n, k * k), jacobian.reshape(n, _PARAMETERS, k * k)


def _normal_equations(stamps, target, weights, parameters, prior):
    n = len(parameters)
    flat_weights = weights.reshape(n, -1)
    model, jacobian = _jacobian(stamps, parameters)
    residual = target.reshape(n, -1) - model
    weighted = jacobian * flat_weights[:, None, :]
    normal = weighted @ jacobian.transpose(0, 2, 1)
    gradient = (weighted @ residual[:, :, None])[:, :, 0]
    chi = (flat_weights * residual * residual).sum(axis=1)
    pull = prior.mean - parameters[:, _HELD]
    normal[:, _HELD, _HELD] += prior.inverse
    gradient[:, _HELD] += pull * prior.inverse
    return normal, gradient, chi + (pull * pull * prior.inverse).sum(axis=1)


def _solve(normal, gradient, damping):
    """Damped step, each parameter scaled to unit diagonal."""
    scale = 1.0 / np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1.0e-30))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    diagonal = np.einsum("nii->ni", scaled)
    diagonal[...] = 1.0 + damping[:, None] + 1.0e-9
    return np.linalg.solve(scaled, (gradient * scale)[:, :, None])[:, :, 0] * scale


def _marquardt(stamps, target, weights, current, factor, prior, steps):
    """Some damped steps, in place; a step that does not lower chi-square is not taken."""
    normal, gradient, chi = _normal_equations(stamps, target, weights, current, prior)
    for _ in range(steps):
        step = _solve(normal, gradient, factor)
        step[:, [_X, _Y]] = step[:, [_X, _Y]].clip(-1.0, 1.0)
        step[:, [_WX, _WY]] = step[:, [_WX, _WY]].clip(-0.4, 0.4)
        trial = current + step
        trial[:, [_WX, _WY]] = trial[:, [_WX, _WY]].clip(*_WIDTH_RANGE)
        trial[:, _SHEAR] = trial[:, _SHEAR].clip(-_LARGEST_SHEAR, _LARGEST_SHEAR)
        new_normal, new_gradient, new_chi = _normal_equations(stamps, target, weights, trial, prior)
        better = new_chi <= chi
        current[better] = trial[better]
        normal[better], gradient[better], chi[better] = new_normal[better], new_gradient[better], new_chi[better]
        factor[:] = np.where(better, np.maximum(factor * 0.1, 1.0e-7), np.minimum(factor * 10.0, 1.0e4))


def _summary(stamps, parameters, prior, start, fwhm):
    """Covariances at the end, and which spots are to be believed."""
    n = len(parameters)
    covariance = np.full((n, _PARAMETERS, _PARAMETERS), np.nan)
    chi_square = np.full(n, np.nan)
    pixels = np.zeros(n, dtype=int)
    others = _others(stamps, parameters)
    for chunk in _chunks(n):
        part = stamps.part(chunk)
        target = part.data - others[chunk]
        weights = _weights(part, target, others[chunk], parameters[chunk], first=False)
        normal, _, chi = _normal_equations(part, target, weights, parameters[chunk], prior.part(chunk))
        scale = 1.0 / np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1.0e-30))
        scaled = normal * scale[:, :, None] * scale[:, None, :] + 1.0e-10 * np.eye(_PARAMETERS)
        covariance[chunk] = np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :]
        pixels[chunk] = (weights > 0).sum(axis=(1, 2))
        chi_square[chunk] = chi / np.maximum(pixels[chunk] - 6.0, 1.0)
    error = np.sqrt(np.maximum(np.einsum("nii->ni", covariance), 0.0))
    spot = _spots(stamps, parameters)
    moved = np.hypot(parameters[:, _X] - start[0], parameters[:, _Y] - start[1])
    edge = (parameters[:, [_WX, _WY]] <= _WIDTH_RANGE[0]) | (parameters[:, [_WX, _WY]] >= _WIDTH_RANGE[1])
    good = (pixels >= max(_MINIMUM_PIXELS, 0.4 * stamps.size**2)) & ~edge.any(axis=1)
    good &= (
        (parameters[:, _FLUX] > 3.0 * error[:, _FLUX]) & (moved < max(2.0, fwhm)) & _core_seen(stamps, parameters)
    )
    good &= np.isfinite(parameters).all(axis=1) & np.isfinite(error).all(axis=1)

    def column(values):
        return np.where(good, values, np.nan)

    return LineFits(
        x=column(parameters[:, _X]),
        y=column(parameters[:, _Y]),
        x_error=column(error[:, _X]),
        y_error=column(error[:, _Y]),
        flux=column(parameters[:, _FLUX]),
        flux_error=column(error[:, _FLUX]),
        sigma_x=column(np.exp(parameters[:, _WX])),
        sigma_y=column(np.exp(parameters[:, _WY])),
        shear=column(parameters[:, _SHEAR]),
        width_error=column(0.5 * (error[:, _WX] + error[:, _WY])),
        background=column(parameters[:, _B]),
        chi_square=column(chi_square),
        peak=column(spot.max(axis=(1, 2))),
        good=good,
    )


def _core_seen(stamps, parameters):
    """At least three quarters of a spot's light fell on usable pixels."""
    spot = _spots(stamps, parameters)
    seen = (spot * stamps.usable).sum(axis=(1, 2))
    return seen >= 0.75 * np.maximum(parameters[:, _FLUX], 1.0e-12)


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
