"""Measuring lines that stand close to others: all are fitted together, and what cannot be told apart is said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from soxs_recipes.data.dispersion_solution import DispersionSolution
from soxs_recipes.reduction.dispersion.arc_tables import PredictedSpots
from soxs_recipes.reduction.dispersion.line_centres import (
    FWHM_PER_SIGMA,
    LineFits,
    PlacePrior,
    fit_lines,
    smooth_widths,
)
from soxs_recipes.reduction.dispersion.line_detection import Peaks

__all__ = ["FittedSources", "measure_lines"]

_RESOLVED = 0.75  # FWHM: nearer pairs are not told apart at all
_WIDTH_DOUBT = 0.03  # relative, of a line's expected width
_HELD_PLACE = 0.03  # px: how far a faint neighbour may leave its predicted place
_FAINTEST_NEIGHBOUR = 0.02  # of the line it touches; fainter ones pull by less than 0.01 px
_TOLERANCE = 0.6  # px: of a line against the first solution, besides that solution's own error


@dataclass(frozen=True, slots=True)
class FittedSources:
    """Everything fitted together: listed spots (`spot` >= 0) and detected spots that no list knows (-1)."""

    spot: np.ndarray
    x: np.ndarray
    y: np.ndarray
    order: np.ndarray
    tolerance: np.ndarray  # [px] how far from its predicted place a line can be
    partner: np.ndarray  # [px] distance of the nearest fainter listed line that is not fitted, inf without one
    faint: np.ndarray
    confusion: np.ndarray  # (n, 2) [px] errors of x and y that close neighbours may cause

    def select(self, index: np.ndarray) -> FittedSources:
        """Chosen sources (integers or boolean)."""
        return FittedSources(*(getattr(self, name)[index] for name in self.__slots__))


def measure_lines(
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
    spots: PredictedSpots,
    peaks: Peaks,
    solution: DispersionSolution,
    widths: tuple[np.ndarray, LineFits],
    fwhm: float,
    dispersion_axis: int,
) -> tuple[LineFits, FittedSources, np.ndarray]:
    """Fit every listed line at its predicted place, overlapping ones and unlisted spots with it.

    Parameters
    ----------
    frame : (data, variance, usable)
        As for `fit_lines`.
    spots : PredictedSpots
    peaks : Peaks
    solution : DispersionSolution
        Good to a fraction of a pixel.
    widths : (order, LineFits)
        Fits of sound lines, for the smooth curve of their widths.
    fwhm : float [px]
    dispersion_axis : int

    Returns
    -------
    fits : LineFits
    sources : FittedSources
        Of `fits`, row by row.
    unresolved : ndarray (k,) int
        Spots that were not fitted because a brighter one stands too near.
    """
    x, y = solution.evaluate(spots.order, spots.wavelength, spots.slit)
    spots = replace(spots, x=x, y=y)
    rows, partner = spots.thinned(_RESOLVED * fwhm)
    unresolved = np.setdiff1d(np.arange(x.size), rows)
    inside = spots.inside(x[rows], y[rows])
    rows, partner = rows[inside], partner[inside]
    uncertain = np.hypot(*solution.prediction_error(spots.order, spots.wavelength, spots.slit))
    sources = _with_unlisted(spots, rows, x[rows], y[rows], uncertain[rows], partner, peaks, fwhm)
    prior = _widths_at(widths, sources, fwhm)
    held = PlacePrior(sources.x, sources.y, np.full(sources.x.size, 0.1))
    trial = fit_lines(
        *frame, sources.x, sources.y, fwhm=fwhm, width_prior=prior, place_prior=held, rounds=3, steps=2
    )
    seen = trial.good & ~_phantom(sources, trial, fwhm)
    sources = _rank_neighbours(sources.select(seen), trial.select(seen), fwhm)
    prior = prior.select(seen)
    held = PlacePrior(sources.x, sources.y, np.where(sources.faint, _HELD_PLACE, 1.0))
    start = trial.select(seen)
    fits = fit_lines(
        *frame,
        np.where(sources.faint, sources.x, start.x),
        np.where(sources.faint, sources.y, start.y),
        fwhm=fwhm,
        width_prior=prior,
        place_prior=held,
        begin=start,
        rounds=8,
        steps=2,
    )
    pull = np.zeros_like(sources.confusion)
    along = 1 - dispersion_axis
    pull[:, along] = np.nan_to_num(_unresolved_pull(fits, sources, prior, along_y=along == 1))
    return fits, replace(sources, confusion=np.hypot(sources.confusion, pull)), unresolved


def _with_unlisted(spots, rows, x, y, uncertain, partner, peaks, fwhm):
    """Listed spots and the detected ones that are none of them."""
    tree = cKDTree(np.stack([x, y], axis=1))
    distance, nearest = tree.query(np.stack([peaks.x, peaks.y], axis=1))
    unlisted = (distance > fwhm) & (distance < 6.0 * fwhm)
    count = int(unlisted.sum())
    return FittedSources(
        np.concatenate([rows, np.full(count, -1)]),
        np.concatenate([x, peaks.x[unlisted]]),
        np.concatenate([y, peaks.y[unlisted]]),
        np.concatenate([spots.order[rows], spots.order[rows][nearest[unlisted]]]),
        np.concatenate([_TOLERANCE + 3.0 * uncertain, np.full(count, np.inf)]),
        np.concatenate([partner, np.full(count, np.inf)]),
        np.zeros(x.size + count, dtype=bool),
        np.zeros((x.size + count, 2)),
    )


def _widths_at(widths, sources, fwhm):
    """Smooth widths of the first fits, at the places of all sources."""
    order, fits = widths
    known = LineFits(
        *(
            np.concatenate([getattr(fits, name), _blank(getattr(fits, name), sources.x.size)])
            for name in fits.__slots__
        )
    )
    prior = smooth_widths(
        known,
        np.concatenate([order, sources.order]),
        np.concatenate([fits.x, sources.x]),
        np.concatenate([fits.y, sources.y]),
    )
    return prior.select(slice(order.size, None))


def _blank(like, count):
    return np.zeros(count, dtype=bool) if like.dtype == bool else np.full(count, np.nan)


def _close_pairs(sources, reach):
    pairs = cKDTree(np.stack([sources.x, sources.y], axis=1)).query_pairs(reach, output_type="ndarray")
    return np.concatenate([pairs, pairs[:, ::-1]]) if pairs.size else np.zeros((0, 2), dtype=int)


def _phantom(sources, fits, fwhm):
    """Listed lines that are not there: hardly significant, or a trifle in the wing of a bright line."""
    flux = np.nan_to_num(fits.flux)
    phantom = ~(flux > 3.0 * np.nan_to_num(fits.flux_error, nan=np.inf))
    pairs = _close_pairs(sources, 2.0 * fwhm)
    trifle = flux[pairs[:, 0]] < _FAINTEST_NEIGHBOUR * flux[pairs[:, 1]]
    phantom[pairs[trifle, 0]] = True
    return phantom


def _rank_neighbours(sources, fits, fwhm):
    """Which sources only stand beside a brighter one, and what close neighbours may do to a centre."""
    flux, error = fits.flux, fits.flux_error
    faint = np.zeros(flux.size, dtype=bool)
    confusion = np.zeros((flux.size, 2))
    sigma = fwhm / FWHM_PER_SIGMA
    pairs = _close_pairs(sources, 2.0 * fwhm)
    if pairs.size:
        this, other = pairs[:, 0], pairs[:, 1]
        offset = np.stack([sources.x[other] - sources.x[this], sources.y[other] - sources.y[this]])
        distance = np.maximum(np.hypot(*offset), 1.0e-3)
        faint[this[(flux[this] < flux[other]) & (distance < fwhm)]] = True
        overlap = np.exp(-((distance / sigma) ** 2) / 4.0)
        unknown = np.hypot(error[other] / _distinct(distance / sigma), _WIDTH_DOUBT * flux[this] * overlap)
        pull = offset * overlap * unknown / flux[this]
        confusion = np.sqrt(np.stack([np.bincount(this, p**2, minlength=flux.size) for p in pull], axis=1))
    return replace(sources, faint=faint, confusion=confusion)


def _distinct(distance):
    """Share of a neighbour's light that neither flux nor centre of a line can imitate; distance in sigma.

    Projection of a displaced Gaussian on those modes of the first that are of second order and above (coherent
    state of amplitude distance / sqrt 2).
    """
    square = distance**2 / 2.0
    return np.sqrt(np.maximum(1.0 - np.exp(-square) * (1.0 + square), 1.0e-3))


def _unresolved_pull(fits, sources, prior, along_y):
    """How far an unresolved partner may pull a centre [px], from the excess of the line's width.

    Two lines of flux ratio r at distance d add d^2 r / (1 + r)^2 to sigma^2 and move the centre by d r / (1 + r).
    """
    expected, measured = (prior.sigma_y, fits.sigma_y) if along_y else (prior.sigma_x, fits.sigma_x)
    doubt = 2.0 * expected**2 * np.hypot(fits.width_error, _WIDTH_DOUBT)
    excess = np.maximum(measured**2 - expected**2, 0.0) + doubt
    distance = np.where(np.isfinite(sources.partner), np.maximum(sources.partner, 1.0e-3), 1.0)
    return np.where(np.isfinite(sources.partner), np.minimum(excess / distance, distance), 0.0)
