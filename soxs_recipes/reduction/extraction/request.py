"""What a person asks of an extraction beyond the target: positions, shapes, where the sky is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.polynomial.chebyshev import chebvander

from soxs_recipes.errors import UnprocessableData
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.profiles.slit_profile import TAIL_RANGE, SlitProfile
from soxs_recipes.reduction.profiles.slit_sources import TargetChoice
from soxs_recipes.reduction.sky.order_pixels import OrderGrid

__all__ = ["ExtractionRequest", "ExtractionSettings", "given_profiles", "restrict_pixels"]

_CORE = 1.2  # FWHM around a source that always take part
_MOST_HOST_DEGREE = 8
_WIDER = 1.8  # times the width of the target: extended light


@dataclass(frozen=True, slots=True)
class ExtractionRequest:
    """What a person asks for.

    Attributes
    ----------
    further_positions : tuple of float [arcsec]
        Extracted too, together with the forced position and as exactly.
    may_move : bool
        Forced positions only start the trace, which then follows the data.
    gaussian : bool
        Profiles are Gaussians along the slit, whatever the data say of wings.
    profiles : mapping order -> SlitProfile, or None
        Shape and trace of the target's light, from another exposure; only their position is set anew.
    background : tuple of (low, high) [arcsec]
        Stretches of the slit that tell the sky, beside the sources' own cores; empty for all of it.
    host_degree : int
        Degree of the polynomial along the slit that light under the target follows, at each wavelength; -1 for
        none, so that extended light is a source with a profile of its own.
    host_window : float [arcsec]
        How far on either side of the target that polynomial holds; what is beyond takes no part.
    negative_beams : bool
        The frame is a difference, in which light of the subtracted exposure stands below the sky: it is fitted as
        sources, too.
    """

    further_positions: tuple[float, ...] = ()
    may_move: bool = False
    gaussian: bool = False
    profiles: Mapping[int, SlitProfile] | None = None
    background: tuple[tuple[float, float], ...] = ()
    host_degree: int = -1
    host_window: float = 3.0
    negative_beams: bool = False

    def __post_init__(self):
        if not -1 <= self.host_degree <= _MOST_HOST_DEGREE:
            raise ValueError(f"host_degree must lie between -1 and {_MOST_HOST_DEGREE}, not {self.host_degree}")

    def without_host(self, choice: TargetChoice) -> TargetChoice:
        """The choice without what the polynomial under the target takes up, or its window leaves out."""
        if self.host_degree < 0:
            return choice
        target = choice.sources[0]
        kept = [
            source
            for source in choice.sources[choice.beams :]
            if source.fwhm < _WIDER * max(target.fwhm, 0.6)
            and abs(source.position - target.position) < self.host_window + source.fwhm
        ]
        return replace(choice, sources=(*choice.sources[: choice.beams], *kept))

    @property
    def frees_tail(self) -> bool:
        """Whether the data may tell the profile's wings; a polynomial under the target would take their light."""
        return not self.gaussian and self.profiles is None and self.host_degree < 0

    @property
    def tail(self) -> float:
        """First 1/beta of the profiles."""
        return TAIL_RANGE[0] if self.gaussian else 0.2


def given_profiles(
    grids: Sequence[OrderGrid], profiles: Mapping[int, SlitProfile], position: float, fwhm: float | None
) -> list[SlitProfile]:
    """Profiles of another exposure, moved so that their middle stands at `position`, and widened to `fwhm`.

    An order that the other exposure lacks takes the profile of the nearest one.
    """
    numbers = np.array(sorted(profiles))
    middle = np.median([profiles[n].centre_at(0.5 * profiles[n].bins) for n in numbers])
    width = np.median([profiles[n].fwhm_at(0.5 * profiles[n].bins) for n in numbers])
    swell = 0.0 if fwhm is None else float(np.log(fwhm / width))
    moved = []
    for grid in grids:
        profile = profiles[int(numbers[np.argmin(np.abs(numbers - grid.order))])]
        moved.append(replace(profile.moved(centre=position - middle, log_width=swell), bins=grid.size))
    return moved


def restrict_pixels(fits: Sequence[OrderFit], choice: TargetChoice, request: ExtractionRequest) -> None:
    """Leave out of the fits what shall not tell the background; set up the host's polynomial.

    Raises
    ------
    UnprocessableData
        No order keeps enough pixels.
    """
    if not request.background and request.host_degree < 0:
        return
    target = choice.sources[0].position if choice.sources else 0.0
    left = 0
    for fit in fits:
        slit = fit.pixels.slit
        stretches, cores = np.zeros(slit.size, dtype=bool), np.zeros(slit.size, dtype=bool)
        for low, high in request.background or (fit.pixels.slit_range,):
            stretches |= (slit >= low) & (slit <= high)
        for source in choice.sources:
            cores |= np.abs(slit - source.position) < _CORE * source.fwhm
        fit.usable &= stretches | cores
        if request.host_degree >= 0:
            distance = (slit - target) / request.host_window
            fit.usable &= np.abs(distance) < 1.0
            fit.background = _host_polynomials(distance, request.host_degree)
        telling = fit.usable if request.host_degree >= 0 else fit.usable & ~cores
        left += int(np.count_nonzero(telling) > (2 + 2 * max(request.host_degree, 0)) * fit.pixels.grid.size)
    if not left:
        raise UnprocessableData("the stretches of the slit that were asked for hold too few usable pixels")


def _host_polynomials(distance: np.ndarray, degree: int) -> np.ndarray:
    """Chebyshev polynomials 1 ... degree of the distance in windows, made to vanish at the target."""
    inside = np.clip(distance, -1.0, 1.0)
    return (chebvander(inside, degree) - chebvander(np.zeros(1), degree)).T[1:].copy()


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """What a person may choose.

    Attributes
    ----------
    expected_position : float [arcsec]
        Where on the slit the target should be.
    position_tolerance : float [arcsec]
    forced_position, forced_fwhm : float or None [arcsec]
        Extract exactly there, or with that width, whatever is seen.
    edge_margin : float [px]
        Left out at either slit end.
    aperture : float
        Half-width of the boxcar in FWHM.
    find_cosmic_rays : bool
    cosmic_ray_threshold : float [sigma]
    maximum_sources : int
        Sources beside the target that are fitted with it.
    refine_sky : bool
        Fit illumination, tilt and line width along the slit.
    request : ExtractionRequest
        Further wishes.
    """

    expected_position: float = 0.0
    position_tolerance: float = 2.0
    forced_position: float | None = None
    forced_fwhm: float | None = None
    edge_margin: float = 1.5
    aperture: float = 1.25
    find_cosmic_rays: bool = True
    cosmic_ray_threshold: float = 5.0
    maximum_sources: int = 3
    refine_sky: bool = True
    request: ExtractionRequest = field(default_factory=ExtractionRequest)

    @property
    def holds_position(self) -> bool:
        """Whether the target's trace stays where it was put."""
        return self.forced_position is not None and not self.request.may_move

    @property
    def holds_width(self) -> bool:
        """Whether the target's width stays as it was given."""
        return self.forced_fwhm is not None or self.request.profiles is not None
