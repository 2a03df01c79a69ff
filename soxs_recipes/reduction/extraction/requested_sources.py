"""The sources that a person asks for, at given places, told from what else lies on the slit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from soxs_recipes.reduction.profiles.slit_profile import TAIL_RANGE, moffat
from soxs_recipes.reduction.profiles.slit_sources import SlitSource, TargetChoice

__all__ = ["are_blended", "forced_choice", "is_star_beside"]

_SAME = 0.7  # FWHM within which a source that was found is the one that was asked for
_BLENDED = 2.2  # FWHM within which sources disturb one another
_ALIKE = 1.5  # times the width of another star, as first measured
_ASSUMED_FWHM = 1.0  # arcsec
_WIDTHS = (0.45, 2.2)  # arcsec, of point sources ...
_EXTENDED = (2.0, 9.0)  # ... and of what is none
_SHIFTS = (-1.2, 0.0, 1.2)  # arcsec from the mean of the places to extended light
_LEAST_GAIN = 60.0  # fall of chi^2 that extended light must bring
_LEAST_SHARE = 0.1  # ... and its brightness over that of the point sources: wings of a star stay below
_WIDER = 2.0  # times the width of the point sources
_SHAPE_ERROR = 0.01  # by which a Moffat function misses real profiles, as share of the light
_SEEN = 4.0  # sigma


def are_blended(sources: Sequence[SlitSource]) -> bool:
    """Whether two of the sources stand so near that they must share one shape."""
    return any(
        abs(one.position - other.position) < _BLENDED * max(one.fwhm, other.fwhm)
        for i, one in enumerate(sources)
        for other in sources[:i]
    )


def is_star_beside(source: SlitSource, star: SlitSource) -> bool:
    """Whether a source is as wide as a star that it stands near: a star, too, and so of the same shape."""
    narrow, wide = sorted((source.fwhm, star.fwhm))
    return wide < _ALIKE * narrow and are_blended((source, star))


def forced_choice(
    light: tuple[np.ndarray, np.ndarray, np.ndarray],
    found: Sequence[SlitSource],
    positions: Sequence[float],
    fwhm: float | None,
    most: int,
) -> TargetChoice:
    """The positions that were asked for, first, and the other sources that are fitted with them.

    The light along the slit is fitted with point sources of one width at the positions, the other sources that
    were found, and extended light where that makes the fit much better.

    Parameters
    ----------
    light : (grid [arcsec], profile, error)
        Along the slit over all orders, as `slit_sources.light_along_slit` gives it.
    found : sequence of SlitSource
    positions : sequence of float [arcsec]
    fwhm : float or None [arcsec]
        None lets the data tell.
    most : int
        Others beside those asked for.
    """
    start = fwhm or min((s.fwhm for s in found if s.fwhm < _WIDTHS[1]), default=_ASSUMED_FWHM)
    others = [s for s in found if all(abs(s.position - p) > max(_SAME * s.fwhm, 0.7 * start) for p in positions)]
    others = sorted(others, key=lambda s: -s.brightness)[:most]
    forced = [SlitSource(position, start, 0.0, 0.0) for position in positions]
    if light[0].size > 10 and most > 0:
        forced, others = _fitted(light, list(positions), others, start, fwhm is not None)
    places = ", ".join(f"{position:+.2f}" for position in positions)
    seen = any(source.significance > 0 for source in forced)
    reason = f"extracted at {places} arcsec as asked"
    return TargetChoice(0, (*forced, *others), reason, seen, False, beams=len(forced))


def _fitted(light, positions, others, start, width_held):
    """Sources asked for and others, by the best model of the light along the slit."""
    plain = _Model(light, positions, others, width_held)
    best, chi_square = plain, plain.fit(start)
    for shift in _SHIFTS if others == [] or len(others) < 3 else ():
        host = SlitSource(float(np.mean(positions)) + shift, 3.0, 0.0, 1.0)
        trial = _Model(light, positions, [host, *others], width_held)
        value = trial.fit(start)
        if value < min(chi_square, plain.chi_square - _LEAST_GAIN) and trial.has_host():
            best, chi_square = trial, value
    return best.sources()


class _Model:
    """Point sources of one width at given places, others with places and widths of their own, and a floor."""

    def __init__(self, light, positions, others, width_held):
        self.grid, self.profile, error = light
        self.error = np.hypot(error, _SHAPE_ERROR * np.maximum(self.profile, 0.0))
        self.positions, self.others, self.width_held = positions, others, width_held
        self.chi_square = np.inf

    def fit(self, start: float) -> float:
        count = len(self.others)
        low_fwhm, high_fwhm = (start * 0.999, start * 1.001) if self.width_held else _WIDTHS
        places = np.array([s.position for s in self.others])
        wide = [s.fwhm >= _EXTENDED[0] for s in self.others]
        low = np.array([_EXTENDED[0] if w else _WIDTHS[0] for w in wide])
        high = np.array([_EXTENDED[1] if w else _EXTENDED[0] for w in wide])
        first = np.clip([s.fwhm for s in self.others], low * 1.01, high * 0.99) if count else np.zeros(0)
        begin = np.concatenate([[np.clip(start, low_fwhm, high_fwhm), 0.2], places, first])
        bounds = (
            np.concatenate([[low_fwhm - 1e-6, TAIL_RANGE[0]], places - 1.5, low - 1e-6]),
            np.concatenate([[high_fwhm + 1e-6, TAIL_RANGE[1]], places + 1.5, high + 1e-6]),
        )
        self.found = least_squares(lambda p: self._solve(p)[1], begin, bounds=bounds, max_nfev=60).x
        fluxes, residual, covariance = self._solve(self.found)
        self.fluxes, self.sigma = fluxes, np.sqrt(np.diag(covariance))
        self.chi_square = float(residual @ residual)
        return self.chi_square

    def _solve(self, parameters):
        count = len(self.others)
        fwhm, tail = parameters[:2]
        columns = [moffat(self.grid - position, fwhm, tail) for position in self.positions]
        columns += [moffat(self.grid - parameters[2 + k], parameters[2 + count + k], tail) for k in range(count)]
        design = np.stack([*columns, np.ones_like(self.grid)], axis=1) / self.error[:, None]
        normal = design.T @ design
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        covariance = np.linalg.inv(normal)
        fluxes = covariance @ (design.T @ (self.profile / self.error))
        return fluxes, design @ fluxes - self.profile / self.error, covariance

    def has_host(self) -> bool:
        """Whether the first of the others is more than the wings of what was asked for."""
        asked, count = len(self.positions), len(self.others)
        fwhm, host_fwhm = self.found[0], self.found[2 + count]
        brightest = max(float(self.fluxes[:asked].max()), 0.0) / fwhm
        return host_fwhm > _WIDER * fwhm and self.fluxes[asked] / host_fwhm > _LEAST_SHARE * brightest

    def sources(self) -> tuple[list[SlitSource], list[SlitSource]]:
        count, asked = len(self.others), len(self.positions)
        fwhm = float(self.found[0])
        ratio = self.fluxes / self.sigma
        forced = [
            SlitSource(position, fwhm, float(self.fluxes[k]), float(ratio[k]) if ratio[k] > _SEEN else 0.0)
            for k, position in enumerate(self.positions)
        ]
        others = [
            SlitSource(
                float(self.found[2 + k]),
                float(self.found[2 + count + k]),
                float(self.fluxes[asked + k]),
                float(max(ratio[asked + k], 1.0)),
            )
            for k in range(count)
            if self.fluxes[asked + k] > 0
        ]
        return forced, others
