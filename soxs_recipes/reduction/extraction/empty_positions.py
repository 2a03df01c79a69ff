"""Places on the slit where a spectrum was asked for and nothing is seen: for limits, with no say in the shapes.

A flux that is free in every bin, and a sky above it, would share out the wings of the other sources at will. So
profiles are found without such places, and their fluxes at the end, with all that is on the slit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.requested_sources import are_blended
from soxs_recipes.reduction.profiles.slit_profile import SlitProfile
from soxs_recipes.reduction.profiles.slit_sources import TargetChoice

__all__ = ["empty_positions", "without_positions"]


def empty_positions(choice: TargetChoice) -> set[int]:
    """Numbers of the targets that are not seen, apart from all sources that are; none if nothing is seen."""
    seen = [source for source in choice.sources if source.significance > 0]
    return {
        k
        for k, source in enumerate(choice.sources[: choice.beams])
        if seen and source.significance == 0 and not any(are_blended((source, other)) for other in seen)
    }


@contextmanager
def without_positions(
    fits: Sequence[OrderFit], starts: Sequence[Sequence[SlitProfile]], choice: TargetChoice, empty: set[int]
) -> Iterator[tuple[list[Sequence[SlitProfile]], TargetChoice]]:
    """The first profiles and the choice without some places, which the fits get back, solved, at the end.

    Parameters
    ----------
    fits : sequence of OrderFit
        With profiles and first fluxes of all sources.
    starts : sequence of sequence of SlitProfile
        First profiles of each source, one an order.
    choice : TargetChoice
    empty : set of int
        Numbers of the places; they take the shape of the brightest of the others.
    """
    if not empty:
        yield list(starts), choice
        return
    kept = [k for k in range(len(starts)) if k not in empty]
    first_fluxes = [fit.first_fluxes for fit in fits]
    for fit in fits:
        fit.first_fluxes = fit.first_fluxes[kept]
    OrderFit.give_profiles(fits, [[fit.profiles[k] for fit in fits] for k in kept])
    sources, beams = tuple(choice.sources[k] for k in kept), sum(k < choice.beams for k in kept)
    yield [starts[k] for k in kept], replace(choice, sources=sources, beams=beams)
    brightest = max(range(len(kept)), key=lambda number: sources[number].brightness)
    profiles = {k: [fit.profiles[number] for fit in fits] for number, k in enumerate(kept)}
    for k in empty:
        profiles[k] = [
            replace(shape, centre=start.centre)
            for shape, start in zip(profiles[kept[brightest]], starts[k], strict=True)
        ]
    OrderFit.give_profiles(fits, [profiles[k] for k in range(len(starts))])
    for fit, first in zip(fits, first_fluxes, strict=True):
        fit.first_fluxes = first
        errors = fit.profile_errors
        fit.profile_errors = {k: errors[number] for number, k in enumerate(kept) if number in errors}
        if brightest in errors:
            fit.profile_errors |= dict.fromkeys(empty, errors[brightest])
        fit.solve_and_reject()
