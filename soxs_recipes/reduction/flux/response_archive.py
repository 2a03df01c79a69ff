"""Responses of earlier nights: their median, how a new one compares, and how it joins them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.data.response_archive import ResponseArchive
from soxs_recipes.reduction.flux.response_combination import on_samples

__all__ = ["ArchiveComparison", "archive_response", "compare_with_archive", "join_archive"]

_POOR = int(QualityFlag.EXTRAPOLATED | QualityFlag.TELLURIC)
_BINS = 10  # an order: over which deviations are taken, so that noise and narrow features do not count
_FEW = 3  # curves: with fewer, the scatter of level is not told by them
_USUAL_SCATTER = 0.05  # relative, of the level: what thin clouds and slit losses do
_SHORTEST = 30.0  # days over which a trend can be told
_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class ArchiveComparison:
    """A response beside those of earlier nights.

    Attributes
    ----------
    count : int
        Earlier curves.
    drift : float
        Sensitivity over that of the archive's median, less 1, the same at all wavelengths.
    deviation : float
        What is left after that: relative, rms over tenths of orders.
    worst, worst_wavelength : float
        The largest of these with its sign, and where [nm].
    colour : float
        Sensitivity at the arm's red end over that at its blue end, against the archive, less 1: of a straight line
        through them.
    nearest_mjd : float
        Time of the earlier curve that is most alike in shape.
    nearest_deviation : float
        As `deviation`, against that one.
    usual : float
        Median deviation of the earlier curves from their own median; NaN for fewer than three.
    trend : float
        Change of sensitivity a year, all curves and this one; NaN when they are few or lie close together.
    """

    count: int
    drift: float
    deviation: float
    worst: float
    worst_wavelength: float
    colour: float
    nearest_mjd: float
    nearest_deviation: float
    usual: float
    trend: float


def archive_response(archive: ResponseArchive) -> Response:
    """The median of the curves: of their shapes, at the median of their levels.

    The error is their scatter, level included; for fewer than three curves their own error with a scatter of level
    of 5 %.
    """
    logarithms, levels, shape = _levelled(archive)
    level = float(np.median(levels))
    spread = np.nanmedian(np.abs(logarithms - levels[:, None] - shape), axis=0)
    relative = np.nanmedian(archive.errors / archive.curves, axis=0)
    scatter = _USUAL_SCATTER
    if archive.count >= _FEW:
        relative = np.maximum(1.4826 * spread, relative / np.sqrt(archive.count))
        scatter = 1.4826 * float(np.median(np.abs(levels - level)))
    value = np.exp(shape + level)
    return Response(
        order=archive.order,
        wavelength=archive.wavelength,
        response=value,
        error=value * np.hypot(relative, scatter),
        efficiency=archive.photons / value,
        quality=archive.quality,
    )


def compare_with_archive(response: Response, archive: ResponseArchive, mjd: float) -> ArchiveComparison | None:
    """How a response differs from earlier ones; None when they share no sample.

    Parameters
    ----------
    response : Response
    archive : ResponseArchive
        A curve of the same time is left out.
    mjd : float
    """
    archive = _without(archive, mjd)
    if not archive.count:
        return None
    new = on_samples(response, archive)[0]
    logarithms, levels, shape = _levelled(archive)
    use = np.isfinite(new) & np.isfinite(shape) & (archive.quality & _POOR == 0)
    if not use.any():
        return None
    level = float(np.median((new - shape)[use]))
    bins = _bins(archive)
    # A response is the inverse of a sensitivity.
    centres, values = _binned(archive.wavelength, level + shape - new, bins, use)
    earlier = [_binned(archive.wavelength, shape - row, bins, use)[1] for row in logarithms - levels[:, None]]
    distances = [_rms(values - row) for row in earlier]
    worst = int(np.nanargmax(np.abs(values)))
    line = np.polyfit(centres, values, 1) if values.size > 2 else np.zeros(2)
    levels_and_times = np.append(-levels, -level), np.append(archive.mjd, mjd)
    return ArchiveComparison(
        count=archive.count,
        drift=float(np.expm1(np.median(levels) - level)),
        deviation=_rms(values),
        worst=float(np.expm1(values[worst])),
        worst_wavelength=float(centres[worst]),
        colour=float(np.expm1(line[0] * np.ptp(centres))),
        nearest_mjd=float(archive.mjd[int(np.argmin(distances))]),
        nearest_deviation=float(np.min(distances)),
        usual=float(np.median([_rms(row) for row in earlier])) if archive.count >= _FEW else float("nan"),
        trend=_trend(*levels_and_times),
    )


def join_archive(
    archive: ResponseArchive | None, response: Response, mjd: float, star: str, most: int
) -> ResponseArchive:
    """The archive with one more curve, its oldest ones left out beyond `most`.

    A curve of the same time is replaced; orders that the archive lacks are added.
    """
    if archive is None or not _without(archive, mjd).count:
        return ResponseArchive(
            response.order,
            response.wavelength,
            response.efficiency * response.response,
            response.quality,
            response.response[None, :].copy(),
            response.error[None, :].copy(),
            np.array([float(mjd)]),
            (star,),
        )
    archive = _with_orders(_without(archive, mjd), response)
    logarithm, relative = on_samples(response, archive)
    curve = np.exp(logarithm)
    ranked = np.argsort(np.append(archive.mjd, mjd), kind="stable")[-most:]
    curves = np.vstack([archive.curves, curve])[ranked]
    errors = np.vstack([archive.errors, curve * relative])[ranked]
    stars = (*archive.stars, star)
    held = np.isfinite(curves).any(axis=0)
    return ResponseArchive(
        *(getattr(archive, name)[held] for name in ("order", "wavelength", "photons", "quality")),
        curves[:, held],
        errors[:, held],
        np.append(archive.mjd, mjd)[ranked],
        tuple(stars[index] for index in ranked),
    )


def _without(archive: ResponseArchive, mjd: float) -> ResponseArchive:
    kept = np.flatnonzero(np.abs(archive.mjd - mjd) > 1.0e-4)
    if kept.size == archive.count:
        return archive
    return replace(
        archive,
        curves=archive.curves[kept],
        errors=archive.errors[kept],
        mjd=archive.mjd[kept],
        stars=tuple(archive.stars[index] for index in kept),
    )


def _with_orders(archive: ResponseArchive, response: Response) -> ResponseArchive:
    new = ~np.isin(response.order, archive.order)
    if not new.any():
        return archive
    blank = np.full((archive.count, int(new.sum())), np.nan)
    joined = np.concatenate([archive.order, response.order[new]])
    ranked = np.argsort(joined, kind="stable")
    photons = (response.efficiency * response.response)[new]
    return replace(
        archive,
        order=joined[ranked],
        wavelength=np.concatenate([archive.wavelength, response.wavelength[new]])[ranked],
        photons=np.concatenate([archive.photons, photons])[ranked],
        quality=np.concatenate([archive.quality, response.quality[new]])[ranked],
        curves=np.hstack([archive.curves, blank])[:, ranked],
        errors=np.hstack([archive.errors, blank])[:, ranked],
    )


def _levelled(archive: ResponseArchive):
    """(logarithms (m, n), level of each curve (m,), median shape (n,))."""
    logarithms = np.log(archive.curves)
    use = archive.quality & _POOR == 0
    common = np.isfinite(logarithms).all(axis=0) & use
    common = common if common.any() else use
    levels = np.nanmedian(logarithms[:, common], axis=1)
    shape = np.nanmedian(logarithms - levels[:, None], axis=0)
    return logarithms, levels, shape


def _bins(archive: ResponseArchive) -> np.ndarray:
    """Number (n,) of the tenth of an order that each sample lies in."""
    number = np.zeros(archive.order.size, dtype=int)
    for position, order in enumerate(np.unique(archive.order)):
        own = archive.order == order
        low, high = archive.wavelength[own].min(), archive.wavelength[own].max()
        part = np.minimum((archive.wavelength[own] - low) / (high - low) * _BINS, _BINS - 1)
        number[own] = position * _BINS + part.astype(int)
    return number


def _binned(wavelength, values, bins, use):
    """(mean wavelength, mean value) of each bin that holds samples in use."""
    count = np.bincount(bins[use])
    held = count > 0
    centres = np.bincount(bins[use], wavelength[use])[held] / count[held]
    return centres, np.bincount(bins[use], np.nan_to_num(values)[use])[held] / count[held]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _trend(levels: np.ndarray, mjd: np.ndarray) -> float:
    if levels.size <= _FEW or np.ptp(mjd) < _SHORTEST:
        return float("nan")
    return float(np.polyfit((mjd - mjd.mean()) / _YEAR, levels, 1)[0])
