"""Where the target and the other sources stand on the slit: sought in the light above the first sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.extraction.requested_sources import forced_choice
from soxs_recipes.reduction.profiles.slit_sources import (
    SlitSource,
    TargetChoice,
    choose_target,
    find_sources,
    light_along_slit,
    positive_sources,
    slit_samples,
)

__all__ = ["find_target", "sources_on_slit", "with_negative_beams"]


def find_target(fits: list[OrderFit], settings: ExtractionSettings) -> TargetChoice:
    """The target and the other sources on the slit, from the light above the first sky."""
    cells, beams = _slit_cells(fits), settings.request.negative_beams
    sources = _inner_sources(cells, beams=beams)
    if settings.forced_position is not None:
        positions = (settings.forced_position, *settings.request.further_positions)
        light = light_along_slit(*cells)
        return forced_choice(light, sources, positions, settings.forced_fwhm, settings.maximum_sources)
    where = {"expected": settings.expected_position, "tolerance": settings.position_tolerance}
    choice = choose_target(sources, **where)
    if not choice.detected:  # a fainter one shows when pixels count by what they know
        fainter = choose_target(_inner_sources(_slit_cells(fits, weighted=True), beams=beams), **where)
        choice = fainter if fainter.detected and not fainter.doubtful else choice
    if settings.forced_fwhm is not None:
        changed = list(choice.sources)
        changed[choice.index] = replace(changed[choice.index], fwhm=settings.forced_fwhm)
        choice = replace(choice, sources=tuple(changed))
    return _limit(choice, settings.maximum_sources)


def with_negative_beams(choice: TargetChoice, fits: Sequence[OrderFit]) -> TargetChoice:
    """The choice with the light of a subtracted exposure behind it.

    Beams of the other sign look like a broad trough around a source, so what is broad is left out.
    """
    values, weights, grid = _slit_cells(fits)
    negative = [replace(s, brightness=-s.brightness) for s in _inner_sources((-values, weights, grid), beams=True)]
    for fit in fits:
        fit.hit_signs = (1.0, -1.0)
    others = [*choice.sources[choice.beams :], *negative]
    widest = 1.8 * min((source.fwhm for source in (*choice.sources[:1], *others)), default=0.0)
    kept = [source for source in others if source.fwhm < widest]
    return replace(choice, sources=(*choice.sources[: choice.beams], *kept))


def sources_on_slit(fits: Sequence[OrderFit], *, beams: bool = False) -> tuple[SlitSource, ...]:
    """Every source that stands out above the first sky, by falling significance; `beams`: of a difference."""
    return _inner_sources(_slit_cells(fits), beams=beams)


def _inner_sources(cells, *, beams: bool = False):
    """Sources off the slit's ends; `beams`: others of the other sign stand beside them."""
    low, high = cells[2][0], cells[2][-1]
    margin = 0.4
    found = positive_sources(*cells) if beams else find_sources(*cells)
    return tuple(s for s in found if low + margin < s.position < high - margin)


def _slit_cells(fits, *, weighted=False):
    """Brightness above the sky and its weight in cells of (part of an order, slit position), and the positions."""
    low = min(fit.pixels.slit_range[0] for fit in fits)
    high = max(fit.pixels.slit_range[1] for fit in fits)
    grid = np.arange(low, high, 0.15)
    values, weights = [], []
    for fit in fits:
        residual = np.where(fit.good, (fit.data - fit.model) / fit.sensitivity, np.nan)
        # Where the binned sky is steep it is wrong; let those pixels count less.
        steep = fit.pixels.interpolate(np.abs(np.gradient(fit.binned_sky)))
        value, weight = slit_samples(
            fit.pixels, residual, fit.variance / fit.sensitivity**2 + steep**2, grid, weighted=weighted
        )
        values.append(value)
        weights.append(weight)
    return np.concatenate(values), np.concatenate(weights), grid


def _limit(choice: TargetChoice, most: int) -> TargetChoice:
    target = choice.sources[choice.index]
    others = [s for i, s in enumerate(choice.sources) if i != choice.index]
    others = sorted(others, key=lambda s: -s.brightness)[:most]
    return replace(choice, index=0, sources=(target, *others))
