"""From an arc frame through pinholes to a dispersion solution: find, identify, measure and fit the lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from soxs_recipes.data.dispersion_solution import DispersionSolution
from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.reduction.dispersion.arc_tables import ArcLineList, LineStatus, MeasuredLines, PredictedSpots
from soxs_recipes.reduction.dispersion.dispersion_fit import DispersionFit, LineSample, fit_dispersion
from soxs_recipes.reduction.dispersion.line_blends import measure_lines
from soxs_recipes.reduction.dispersion.line_centres import FWHM_PER_SIGMA, fit_lines, smooth_widths
from soxs_recipes.reduction.dispersion.line_detection import detect_peaks
from soxs_recipes.reduction.dispersion.line_matching import LineMatches, match_lines

__all__ = ["ArcSettings", "ArcSolution", "solve_arc"]

_TYPICAL_FWHM = 2.2
_SEPARATE = 1.3  # FWHM: a spot nearer to a brighter one is no spot of its own when lines are first looked for
_STRIP = 40.0  # px: detected spots so near to a predicted one count for its order
_LEAST_LINES = 30  # of an order: so many are looked for even when fewer spots were detected
_SIGNIFICANT = 5.0
_CENTRE_FLOOR = 0.004  # px: pixel response, and profiles that are not quite Gaussian
_CHANCE_RESIDUAL = 0.2  # px: real lines agree five times better, spots at random worse
_LARGEST_ERROR = 0.3  # px


@dataclass(frozen=True, slots=True)
class ArcSettings:
    """How lines are looked for and fitted.

    Attributes
    ----------
    search : float [px]
        Largest shift of the frame against the prior.
    threshold : float
        Detection limit in sigma of the filtered frame.
    wavelength_degrees, order_degrees, slit_degrees : (low, high)
        Bounds of the correction to the prior.
    shift_sigma : float [px]
        Expected shift along the slit; tells neighbouring pinholes apart.
    """

    search: float = 25.0
    threshold: float = 6.0
    wavelength_degrees: tuple[int, int] = (2, 7)
    order_degrees: tuple[int, int] = (2, 6)
    slit_degrees: tuple[int, int] = (1, 2)
    shift_sigma: float = float("inf")


@dataclass(frozen=True, slots=True)
class ArcSolution:
    """A dispersion solution with the lines that hold it.

    Attributes
    ----------
    fit : DispersionFit
    lines : MeasuredLines
    shift : (dx, dy) [px]
        Found minus predicted, median.
    notes : tuple of str
    """

    fit: DispersionFit
    lines: MeasuredLines
    shift: tuple[float, float]
    notes: tuple[str, ...]

    @property
    def solution(self) -> DispersionSolution:
        """The solution itself."""
        return self.fit.solution


def solve_arc(
    data: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    prior: DispersionSolution,
    lines: ArcLineList,
    *,
    slit_positions: tuple[float, ...] = (0.0,),
    dispersion_axis: int,
    common_shift: bool,
    smooth_orders: bool = False,
    settings: ArcSettings | None = None,
) -> ArcSolution:
    """Dispersion solution of an arc frame.

    Parameters
    ----------
    data : ndarray (ny, nx) [e-], variance : ndarray (ny, nx) [e-^2], usable : ndarray (ny, nx) bool
    prior : DispersionSolution
        In the pixels of this frame.
    lines : ArcLineList
    slit_positions : tuple of float [arcsec]
        Of the pinholes.
    dispersion_axis : int
    common_shift : bool
        All orders are looked for with one shift (one grating, or a prior of the same night).
    smooth_orders : bool
        The frame's distortion is smooth over the orders too (one grating).
    settings : ArcSettings

    Returns
    -------
    ArcSolution

    Raises
    ------
    UnprocessableData
        Hardly any usable pixel, or no spot at all.
    AlgorithmError
        Too few lines identified.
    """
    settings = settings or ArcSettings()
    if usable.mean() < 0.05 or not np.any(data[usable]):
        raise UnprocessableData("the frame holds no usable signal: all pixels are flagged, empty or zero")
    frame = (data, variance, usable)
    spots = PredictedSpots.predict(prior, lines, slit_positions, data.shape, settings.search)
    peaks, fwhm = _find_peaks(*frame, settings.threshold)
    matches = _identify(spots, peaks, fwhm, dispersion_axis, (common_shift, smooth_orders), settings)
    moved = prior.shifted(matches.shift_x, matches.shift_y)
    first, widths = _first_solution(frame, spots, peaks, matches, moved, fwhm, dispersion_axis, settings)
    fits, sources, unresolved = measure_lines(frame, spots, peaks, first.solution, widths, fwhm, dispersion_axis)
    status = np.full(spots.x.size, int(LineStatus.NOT_FOUND))
    status[unresolved] = LineStatus.BLENDED
    return _final(
        moved, spots, fits, sources, status, (matches.shift_x, matches.shift_y), dispersion_axis, settings
    )


def _find_peaks(data, variance, usable, threshold):
    """Detected spots and their FWHM; detection is repeated when the spots are not of the width first thought."""
    fwhm = _TYPICAL_FWHM
    peaks = detect_peaks(data, variance, usable, fwhm=fwhm, threshold=threshold)
    if len(peaks) < 4:
        raise UnprocessableData("hardly a spot was detected: is this an arc exposure through pinholes, lamps on?")
    bright = peaks.select(np.arange(min(len(peaks), 400)))
    fits = fit_lines(data, variance, usable, bright.x, bright.y, fwhm=fwhm, rounds=2)
    trusted = fits.good & (fits.fwhm > 0.6)
    if trusted.sum() >= 4:
        fwhm = float(np.clip(np.median(fits.fwhm[trusted]), 0.8, 6.0))
    if not 0.75 < fwhm / _TYPICAL_FWHM < 1.3:
        peaks = detect_peaks(data, variance, usable, fwhm=fwhm, threshold=threshold)
    return peaks, fwhm


def _likeliest(spots, separate, peaks):
    """Of the spots, about as many an order as peaks were detected near it: the sure and the bright ones first."""
    places = np.stack([spots.x[separate], spots.y[separate]], axis=1)
    distance, nearest = cKDTree(places).query(np.stack([peaks.x, peaks.y], axis=1))
    chosen = []
    for number in np.unique(spots.order[separate]):
        own = separate[spots.order[separate] == number]
        wavelengths, first = np.unique(spots.wavelength[own], return_index=True)
        pinholes = max(round(own.size / wavelengths.size), 1)
        detected = ((spots.order[separate][nearest] == number) & (distance < _STRIP)).sum() / pinholes
        limit = max(_LEAST_LINES, int(1.3 * detected))
        lines = own[first]
        best = np.lexsort((-spots.lines.intensity[lines], ~spots.lines.seen[lines]))[:limit]
        chosen.append(own[np.isin(spots.wavelength[own], wavelengths[best])])
    return np.sort(np.concatenate(chosen))


def _identify(spots, peaks, fwhm, dispersion_axis, together, settings):
    """Matches of all spots: those too near to brighter ones get a place but no peak."""
    separate = _likeliest(spots, spots.thinned(_SEPARATE * fwhm)[0], peaks)
    matches = match_lines(
        spots.order[separate],
        spots.x[separate],
        spots.y[separate],
        spots.slit[separate],
        peaks,
        dispersion_axis=dispersion_axis,
        common_shift=together[0],
        smooth_orders=together[1],
        weight=np.where(spots.lines.seen[separate], 1.0, 0.5),
        search=settings.search,
        shift_sigma=settings.shift_sigma,
    )
    if matches.found.sum() < 4:
        raise AlgorithmError(
            "the arc lines could not be identified", detected=len(peaks), identified=int(matches.found.sum())
        )
    peak = np.full(spots.x.size, -1)
    peak[separate] = matches.peak
    return LineMatches(
        peak,
        spots.x + matches.shift_x,
        spots.y + matches.shift_y,
        matches.shift_x,
        matches.shift_y,
        matches.votes,
    )


def _first_solution(frame, spots, peaks, matches, moved, fwhm, dispersion_axis, settings):
    """Solution from the identified spots as they are, and the frame's smooth line widths."""
    rows = np.flatnonzero(matches.found)
    x, y = peaks.x[matches.peak[rows]], peaks.y[matches.peak[rows]]
    fits = fit_lines(*frame, x, y, fwhm=fwhm, rounds=2)
    if fits.good.sum() < 4:
        raise AlgorithmError("too few identified lines could be measured", measured=int(fits.good.sum()))
    widths = smooth_widths(fits, spots.order[rows], x, y)
    ratio = 0.5 * np.log(fits.sigma_x * fits.sigma_y / (widths.sigma_x * widths.sigma_y))
    sound = fits.good & (np.abs(np.nan_to_num(ratio, nan=9.0)) < 0.35)
    rows, fits = rows[sound], fits.select(sound)
    sample = _sample(spots, rows, fits.x, fits.y, fits.x_error, fits.y_error)
    first = fit_dispersion(
        moved,
        sample,
        dispersion_axis=dispersion_axis,
        wavelength_degrees=settings.wavelength_degrees,
        order_degrees=settings.order_degrees,
        slit_degrees=settings.slit_degrees,
        choose_degrees=False,
    )
    return first, (spots.order[rows], fits)


def _sample(spots, rows, x, y, x_error, y_error):
    return LineSample(spots.order[rows], spots.wavelength[rows], spots.slit[rows], x, y, x_error, y_error)


def _final(moved, spots, fits, sources, everything, shift, dispersion_axis, settings):
    """Choose the lines that may hold the solution, fit it, and write down what became of each."""
    listed = sources.spot >= 0
    fits, sources = fits.select(listed), sources.select(listed)
    status = _status_before_fit(fits, sources)
    use = status == LineStatus.KEPT
    error_x = np.sqrt(fits.x_error**2 + sources.confusion[:, 0] ** 2 + _CENTRE_FLOOR**2)
    error_y = np.sqrt(fits.y_error**2 + sources.confusion[:, 1] ** 2 + _CENTRE_FLOOR**2)
    rows = sources.spot[use]
    sample = _sample(spots, rows, fits.x[use], fits.y[use], error_x[use], error_y[use])
    fit = fit_dispersion(
        moved,
        sample,
        dispersion_axis=dispersion_axis,
        wavelength_degrees=settings.wavelength_degrees,
        order_degrees=settings.order_degrees,
        slit_degrees=settings.slit_degrees,
    )
    _refuse_chance(fit, dispersion_axis)
    status[np.flatnonzero(use)[~fit.kept]] = LineStatus.DEVIANT
    everything[sources.spot] = status
    weight = np.zeros(status.size)
    weight[use] = fit.weight
    errors = (error_x, error_y)
    return ArcSolution(
        fit,
        _table(fit.solution, spots, fits, sources.spot, errors, everything, weight, dispersion_axis),
        shift,
        fit.notes,
    )


def _refuse_chance(fit, dispersion_axis):
    """AlgorithmError when lines and spots agree no better than spots thrown at random would."""
    residual = np.abs(fit.y_residual if dispersion_axis == 0 else fit.x_residual)[fit.kept]
    typical = float(np.median(residual)) if residual.size else float("inf")
    if typical > _CHANCE_RESIDUAL:
        raise AlgorithmError(
            "the spots are not where the lamps' lines should be: is this an arc exposure through pinholes?",
            median_residual_pixels=typical,
            lines=residual.size,
        )


def _status_before_fit(fits, sources):
    status = np.full(sources.spot.size, int(LineStatus.KEPT))
    width = np.abs(np.log(np.where(fits.good, fits.fwhm, 1.0) / np.median(fits.fwhm[fits.good])))
    confusion = sources.confusion.max(axis=1)
    status[(confusion > _LARGEST_ERROR) | sources.faint] = LineStatus.BLENDED
    status[width > 0.6] = LineStatus.ODD_WIDTH
    error = np.hypot(np.maximum(fits.x_error, fits.y_error), confusion)
    status[(status == LineStatus.KEPT) & ~(error < _LARGEST_ERROR)] = LineStatus.UNCERTAIN
    status[(status == LineStatus.KEPT) & ~(fits.flux > _SIGNIFICANT * fits.flux_error)] = LineStatus.NOT_FOUND
    away = np.hypot(fits.x - sources.x, fits.y - sources.y) > sources.tolerance
    status[(status == LineStatus.KEPT) & away] = LineStatus.DEVIANT
    status[~fits.good] = LineStatus.UNUSABLE_PIXELS
    return status


def _table(solution, spots, fits, rows, errors, everything, weight, dispersion_axis):
    n = spots.x.size
    x_fit, y_fit = solution.evaluate(spots.order, spots.wavelength, spots.slit)

    def spread(values, fill=np.nan):
        column = np.full(n, fill)
        column[rows] = values
        return column

    everything[~spots.inside(x_fit, y_fit)] = LineStatus.OUTSIDE
    sigma_along, sigma_across = (
        (fits.sigma_y, fits.full_sigma_x) if dispersion_axis == 0 else (fits.full_sigma_x, fits.sigma_y)
    )
    fwhm_along = spread(FWHM_PER_SIGMA * sigma_along)
    return MeasuredLines(
        order=spots.order,
        wavelength=spots.wavelength,
        ion=spots.lines.ion,
        blend=spots.lines.blend,
        slit=spots.slit,
        pinhole=spots.pinhole,
        x_predicted=spots.x,
        y_predicted=spots.y,
        x=spread(fits.x),
        y=spread(fits.y),
        x_error=spread(errors[0]),
        y_error=spread(errors[1]),
        x_fit=x_fit,
        y_fit=y_fit,
        flux=spread(fits.flux),
        flux_error=spread(fits.flux_error),
        fwhm_along=fwhm_along,
        fwhm_across=spread(FWHM_PER_SIGMA * sigma_across),
        resolving_power=_resolving_power(solution, spots, fwhm_along, dispersion_axis),
        chi_square=spread(fits.chi_square),
        weight=spread(weight, 0.0),
        status=everything,
    )


def _resolving_power(solution, spots, fwhm_along, dispersion_axis):
    power = np.full(spots.x.size, np.nan)
    for number in np.unique(spots.order):
        own = spots.order == number
        slope = solution.surface(int(number)).wavelength_derivative(spots.wavelength[own], spots.slit[own])
        power[own] = spots.wavelength[own] * np.abs(slope[1 - dispersion_axis]) / fwhm_along[own]
    return power
