"""The response of an arm from an extracted standard star, order by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.data.response import Response
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flux.flux_calibration import ExtinctionCurve
from soxs_recipes.reduction.numerics.penalised_spline import LogSpline, fit_log_spline

__all__ = [
    "HYDROGEN_LINES",
    "OrderResponse",
    "ResponseFit",
    "StandardObservation",
    "StandardSpectrum",
    "TelluricTransmission",
    "derive_response",
]

LIGHT_SPEED = 299792.458  # km/s
PHOTON_ENERGY = 1.98644586e-9  # erg nm: h c
_RYDBERG = 91.17634  # nm, hydrogen, vacuum

SAMPLES_PER_ORDER = 400
CORE_HALF_WIDTH = 250.0  # km/s around hydrogen lines: non-LTE cores, where models and resolution matter most
WING_HALF_WIDTH = 800.0  # km/s around hydrogen lines: no knots are added here
TELLURIC_LIMIT = 0.3  # lower transmission is masked, higher is fitted
TELLURIC_ERROR = 0.3  # of the optical depth: what the reference knows of the night's
LINE_ERROR = 10.0  # km/s: how far a line's slope is not to be trusted
TELLURIC_FLAG = 0.95  # lower transmission is flagged
VELOCITY_PRIOR = 150.0  # km/s
VELOCITY_SMOOTHING = 0.01  # of the spline while the velocity is sought: no need to search each time
MODEL_ERROR = 0.005  # of the template, a bin


def _hydrogen_lines() -> np.ndarray:
    series = ((2, 12), (3, 14), (4, 20))
    lines = [_RYDBERG / (1.0 / n**2 - 1.0 / np.arange(n + 1, last + 1) ** 2) for n, last in series]
    return np.sort(np.concatenate(lines))


HYDROGEN_LINES = _hydrogen_lines()
"""Balmer, Paschen and Brackett lines [nm, vacuum]."""


@dataclass(frozen=True, slots=True)
class StandardSpectrum:
    """What the catalogue says of the star, at rest: wavelength [nm, vacuum] ascending, flux [erg/s/cm2/A]."""

    wavelength: np.ndarray
    flux: np.ndarray


@dataclass(frozen=True, slots=True)
class TelluricTransmission:
    """Transmission of the molecules at the zenith: wavelength [nm, vacuum] ascending, transmission (0..1)."""

    wavelength: np.ndarray
    transmission: np.ndarray


@dataclass(frozen=True, slots=True)
class StandardObservation:
    """A standard as observed.

    Attributes
    ----------
    orders : sequence of OrderSpectrum, in electrons
    exposure_time : float [s]
    airmass : float
    resolution : float
        Resolving power of the observation, to bring the catalogue to.
    """

    orders: Sequence[OrderSpectrum]
    exposure_time: float
    airmass: float
    resolution: float


@dataclass(frozen=True, slots=True)
class OrderResponse:
    """How the fit of one order went.

    Attributes
    ----------
    order : int
    residual : float
        Robust scatter of data over model in 10 nm (or finer) means, relative.
    reduced_chi_square : float
    used, rejected : int
        Bins that took part, and those of them that robust weights left out.
    telluric_exponent : float
        Power of the zenith transmission that fits best (airmass when the column is the reference's).
    """

    order: int
    residual: float
    reduced_chi_square: float
    used: int
    rejected: int
    telluric_exponent: float


@dataclass(frozen=True, slots=True)
class ResponseFit:
    """A response and what was found on the way.

    Attributes
    ----------
    response : Response
    velocity, velocity_error : float [km/s]
        Of the star's lines against the catalogue at rest.
    orders : tuple of OrderResponse
    failed : tuple of (order, reason)
        Orders without a response.
    """

    response: Response
    velocity: float
    velocity_error: float
    orders: tuple[OrderResponse, ...]
    failed: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One order's data, ready to fit."""

    spectrum: OrderSpectrum
    template: np.ndarray
    columns: np.ndarray
    use: np.ndarray
    transmission: np.ndarray
    away_from_lines: np.ndarray


def derive_response(
    observation: StandardObservation,
    star: StandardSpectrum,
    extinction: ExtinctionCurve,
    telescope_area: float,
    telluric: TelluricTransmission | None = None,
) -> ResponseFit:
    """Response and efficiency of each order from a standard star.

    Parameters
    ----------
    observation : StandardObservation
    star : StandardSpectrum
    extinction : ExtinctionCurve
    telescope_area : float [cm2]
        For the efficiency.
    telluric : TelluricTransmission or None
        Absorption is fitted as a power of this, weighs less the stronger it is, and is masked where it is very
        strong; without it, nothing is masked.

    Returns
    -------
    ResponseFit

    Raises
    ------
    AlgorithmError
        No order could be fitted.

    Notes
    -----
    In each order the counts of a bin are modelled as catalogue flux (at the instrument's resolution and the star's
    velocity) times extinction times transmission to a free power times the exponential of a penalised spline. The
    velocity is one for all orders. Hydrogen cores are masked; elsewhere lines weigh less the steeper they are.
    """
    velocity, error = _velocity(observation, star, extinction, telluric)
    parts, summaries, failed = [], [], []
    for spectrum in observation.orders:
        try:
            prepared = _prepare(spectrum, observation, star, extinction, telluric, velocity)
            fit = _fit(prepared, observation.airmass)
        except AlgorithmError as problem:
            failed.append((spectrum.order, str(problem)))
            continue
        parts.append(_sampled(prepared, fit, observation, telescope_area))
        summaries.append(_summary(prepared, fit))
    if not parts:
        raise AlgorithmError(f"no order gives a response: {failed[0][1] if failed else 'no order given'}")
    return ResponseFit(_joined(parts), velocity, error, tuple(summaries), tuple(failed))


# --- template ------------------------------------------------------------------------------------------------


def _smoothed(grid_step: float, values: np.ndarray, resolution: float) -> np.ndarray:
    """Convolve with a Gaussian of FWHM 1/resolution on a grid of ln(wavelength); the ends are held."""
    sigma = 1.0 / (2.3548 * resolution) / grid_step
    half = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _at_resolution(
    wavelength: np.ndarray, table: tuple[np.ndarray, np.ndarray], resolution: float, velocity: float
) -> tuple[np.ndarray, np.ndarray]:
    """(values, d ln values / d ln wavelength) of a table, smoothed and moved by a velocity, at `wavelength`."""
    step = 1.0 / (6.0 * resolution)
    margin = 30.0 * step
    grid = np.arange(np.log(wavelength.min()) - margin, np.log(wavelength.max()) + margin, step)
    shift = np.log1p(velocity / LIGHT_SPEED)
    values = _smoothed(step, np.interp(np.exp(grid - shift), *table), resolution)
    slope = np.gradient(np.log(np.maximum(values, 1e-300)), step)
    position = np.log(wavelength)
    return np.interp(position, grid, values), np.interp(position, grid, slope)


def _prepare(
    spectrum: OrderSpectrum,
    observation: StandardObservation,
    star: StandardSpectrum,
    extinction: ExtinctionCurve,
    telluric: TelluricTransmission | None,
    velocity: float,
) -> _Prepared:
    spectrum = _ascending(spectrum)
    wavelength = spectrum.wavelength
    covered = (wavelength >= star.wavelength[0]) & (wavelength <= star.wavelength[-1])
    flux, slope = _at_resolution(wavelength, (star.wavelength, star.flux), observation.resolution, velocity)
    expected = flux * spectrum.bin_width * observation.exposure_time
    expected = expected / extinction.factor(wavelength, observation.airmass)
    transmission = np.ones_like(wavelength)
    if telluric is not None:
        table = (telluric.wavelength, telluric.transmission)
        transmission = np.clip(_at_resolution(wavelength, table, observation.resolution, 0.0)[0], 1e-3, 1.0)
    cores = HYDROGEN_LINES * (1.0 + velocity / LIGHT_SPEED)
    index = np.clip(np.searchsorted(cores, wavelength), 1, len(cores) - 1)
    nearest = np.where(wavelength - cores[index - 1] < cores[index] - wavelength, cores[index - 1], cores[index])
    from_line = np.abs(wavelength / nearest - 1.0) * LIGHT_SPEED
    use = is_usable(spectrum.quality) & np.isfinite(spectrum.variance) & (spectrum.variance > 0) & covered
    use &= (from_line > CORE_HALF_WIDTH) & (transmission**observation.airmass > TELLURIC_LIMIT) & (expected > 0)
    return _Prepared(
        spectrum=spectrum,
        template=np.maximum(expected, 1e-300),
        columns=np.stack([np.log(transmission), -slope], axis=1),
        use=use,
        transmission=transmission,
        away_from_lines=from_line > WING_HALF_WIDTH,
    )


def _ascending(spectrum: OrderSpectrum) -> OrderSpectrum:
    if spectrum.wavelength[0] <= spectrum.wavelength[-1]:
        return spectrum
    arrays = {
        name: getattr(spectrum, name)[::-1] for name in ("wavelength", "bin_width", "flux", "variance", "quality")
    }
    return replace(spectrum, **arrays)


# --- fit -----------------------------------------------------------------------------------------------------


def _fit(prepared: _Prepared, airmass: float, with_velocity: bool = False) -> LogSpline:
    """Spline of one order, exponent of the transmission, and velocity (in units of c) when asked."""
    spectrum = prepared.spectrum
    count = int(prepared.use.sum())
    intervals = int(np.clip(count // 40, 8, 30))
    columns = prepared.columns if with_velocity else prepared.columns[:, :1]
    mean, sigma = np.array([airmass, 0.0]), np.array([0.5 * airmass, VELOCITY_PRIOR / LIGHT_SPEED])
    priors = (mean[: columns.shape[1]], sigma[: columns.shape[1]])
    depth, slope = prepared.columns.T
    model_error = np.sqrt(
        MODEL_ERROR**2 + (TELLURIC_ERROR * airmass * depth) ** 2 + (LINE_ERROR / LIGHT_SPEED * slope) ** 2
    )
    return fit_log_spline(
        spectrum.wavelength,
        np.where(prepared.use, spectrum.flux, 0.0),
        np.where(prepared.use, spectrum.variance, 1.0),
        prepared.template,
        use=prepared.use,
        intervals=intervals,
        columns=columns,
        priors=priors,
        model_error=model_error,
        smoothing=VELOCITY_SMOOTHING if with_velocity else None,
        # A line or an absorption band that the template misses is not to be followed.
        may_refine=None if with_velocity else (model_error < 1.5 * MODEL_ERROR) & prepared.away_from_lines,
    )


def _velocity(
    observation: StandardObservation,
    star: StandardSpectrum,
    extinction: ExtinctionCurve,
    telluric: TelluricTransmission | None,
) -> tuple[float, float]:
    """(velocity, error) [km/s] of the star's lines, all orders together; 0 where no line helps."""
    velocity, error = 0.0, VELOCITY_PRIOR
    for _ in range(3):
        numerator, denominator = 0.0, 0.0
        for spectrum in observation.orders:
            try:
                prepared = _prepare(spectrum, observation, star, extinction, telluric, velocity)
                fit = _fit(prepared, observation.airmass, with_velocity=True)
            except AlgorithmError:
                continue
            # Each order's estimate holds the prior once; it may count once in all.
            weight = 1.0 / fit.linear_error[1] ** 2 - (LIGHT_SPEED / VELOCITY_PRIOR) ** 2
            if weight > 0:
                numerator += fit.linear[1] / fit.linear_error[1] ** 2
                denominator += weight
        denominator += (LIGHT_SPEED / VELOCITY_PRIOR) ** 2
        change = numerator / denominator * LIGHT_SPEED
        velocity, error = velocity + change, LIGHT_SPEED / np.sqrt(denominator)
        if abs(change) < max(0.5, 0.2 * error):
            break
    # Lines that do not fix it by themselves had better not move.
    return (float(velocity), float(error)) if abs(velocity) > 2.0 * error else (0.0, float(error))


# --- results -------------------------------------------------------------------------------------------------


def _sampled(prepared: _Prepared, fit: LogSpline, observation: StandardObservation, area: float) -> Response:
    spectrum = prepared.spectrum
    grid = np.linspace(spectrum.wavelength[0], spectrum.wavelength[-1], SAMPLES_PER_ORDER)
    logarithm, sigma = fit.evaluate(grid)
    sensitivity = np.exp(logarithm)
    used = spectrum.wavelength[fit.weight > 0]
    quality = np.zeros(SAMPLES_PER_ORDER, dtype=np.int32)
    step = grid[1] - grid[0]
    outside = (grid < used.min() - step) | (grid > used.max() + step)
    quality[outside] |= int(QualityFlag.EXTRAPOLATED)
    transmission = np.interp(grid, spectrum.wavelength, prepared.transmission) ** observation.airmass
    quality[transmission < TELLURIC_FLAG] |= int(QualityFlag.TELLURIC)
    response = 1.0 / sensitivity
    return Response(
        order=np.full(SAMPLES_PER_ORDER, spectrum.order, dtype=np.int16),
        wavelength=grid,
        response=response,
        error=response * sigma,
        # Sensitivity is e-/s/nm per erg/s/cm2/A; 10 A are a nm, and a photon carries h c / wavelength.
        efficiency=sensitivity * PHOTON_ENERGY / grid / (10.0 * area),
        quality=quality,
    )


def _summary(prepared: _Prepared, fit: LogSpline) -> OrderResponse:
    spectrum, good = prepared.spectrum, fit.weight > 0
    width = min(10.0, 0.1 * (spectrum.wavelength[-1] - spectrum.wavelength[0]))
    bins = ((spectrum.wavelength - spectrum.wavelength[0]) / width).astype(int)
    data = np.bincount(bins[good], spectrum.flux[good])
    model = np.bincount(bins[good], fit.model[good])
    # A bin counts when the star does: at the order's faint ends there is only noise to compare.
    bright = model > 0.02 * model.max()
    ratio = data[bright] / model[bright] - 1.0
    return OrderResponse(
        order=spectrum.order,
        residual=float(np.sqrt(np.mean(ratio**2))),
        reduced_chi_square=fit.reduced_chi_square,
        used=int(prepared.use.sum()),
        rejected=int((prepared.use & ~good).sum()),
        telluric_exponent=float(fit.linear[0]),
    )


def _joined(parts: Sequence[Response]) -> Response:
    parts = sorted(parts, key=lambda part: int(part.order[0]))
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in Response.__dataclass_fields__
    }
    return replace(parts[0], **arrays)
