"""Exposures subtracted from one another one by one: prepared, looked at, extracted.

Numerics are imported inside functions, so that listing recipes stays instant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.instrument.times import observation_mjd
from soxs_recipes.memory import return_freed
from soxs_recipes.recipes.framework.preparation import forget_masters
from soxs_recipes.recipes.framework.spool import Shelf
from soxs_recipes.recipes.steps.spectroscopy import (
    Exposure,
    Location,
    binning_of,
    extraction_settings,
    find_geometry,
    locate_exposure,
    master_flat,
    prepare_exposures,
)

if TYPE_CHECKING:
    from soxs_recipes.data.frame import Frame
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.reduction.exposures.beams import BeamPattern, Shot, SlitSamples, Subtraction
    from soxs_recipes.reduction.exposures.difference import Difference, DifferenceFit, DifferenceResult

__all__ = ["BeamSequence", "DifferenceBench", "LookedDifference", "header_number", "shots_of"]


@dataclass(frozen=True, slots=True)
class BeamSequence:
    """Exposures and the rule by which they are subtracted from one another.

    Attributes
    ----------
    paths : list of Path
    shots : list of Shot
    rule : callable
        Indices of usable exposures -> differences, and exposures that stay unused.
    """

    paths: list[Path]
    shots: list[Shot]
    rule: Callable[[Sequence[int]], tuple[list[Subtraction], list[int]]]


def header_number(inputs: Inputs, name: str, path: Path) -> float:
    """A number of the header by our name; NaN when it is not there or none."""
    try:
        return float(str(inputs.keyword(name, path)))
    except ValueError:
        return math.nan


def shots_of(inputs: Inputs, paths: Sequence[Path]) -> list[Shot]:
    """Offset along the slit and mid-time [s] of exposures, by their headers."""
    from soxs_recipes.reduction.exposures.beams import Shot

    shots = []
    for number, path in enumerate(paths):
        start, length = observation_mjd(inputs.header(path)) * 86400.0, header_number(inputs, "EXPTIME", path)
        middle = start + 0.5 * (length if math.isfinite(length) else 0.0)
        # Without a time the order of the frames has to do.
        shots.append(
            Shot(
                header_number(inputs, "CUMULATIVE_OFFSET_Y", path),
                middle if math.isfinite(middle) else 600.0 * number,
            )
        )
    return shots


@dataclass(frozen=True, slots=True)
class _Pixels:
    difference: Difference
    location: Location
    flexure: float


class LookedDifference:
    """A difference at which a first look was taken; its pixels may wait on a shelf.

    `fits` are those of the last one, which is extracted next.
    """

    def __init__(
        self, subtraction: Subtraction, samples: SlitSamples, pixels: _Pixels, fits: list[DifferenceFit] | None
    ):
        self.subtraction, self.samples = subtraction, samples
        self._pixels: _Pixels | None = pixels
        self._fits = fits
        self._places: list = []

    def take_fits(self) -> list[DifferenceFit] | None:
        """The fits, if there are any, which are not kept here any longer."""
        fits, self._fits = self._fits, None
        return fits

    def put_aside(self, shelf: Shelf) -> None:
        """Put the pixels on the shelf; of what the fit alone needs, those inside orders."""
        import numpy as np

        if self._pixels is None:
            return
        self._fits = None
        difference, maps = self._pixels.difference, self._pixels.location.maps
        frame, inside = difference.frame, np.concatenate([lines.index for lines in maps.lines.values()])
        light = [difference.subtracted.take(inside), difference.photons.take(inside)]
        images = [frame.data, frame.variance, frame.quality, frame.shared_variance]
        self._places = shelf.put([*images, *light, *maps.arrays()])
        location = replace(self._pixels.location, maps=maps.without_arrays())
        self._rest = frame.meta, difference.scale, location, self._pixels.flexure
        self._pixels = None

    def take(self, shelf: Shelf) -> _Pixels:
        """The pixels, which are not kept here any longer."""
        import numpy as np

        from soxs_recipes.data.frame import Frame
        from soxs_recipes.reduction.exposures.difference import Difference

        pixels, self._pixels = self._pixels, None
        if pixels is not None:
            return pixels
        data, variance, quality, shared, *light = shelf.get(self._places[:6])
        meta, scale, location, flexure = self._rest
        maps = location.maps.with_arrays(shelf.get(self._places[6:]))
        inside, lights = np.concatenate([lines.index for lines in maps.lines.values()]), []
        for values in light:
            image = np.zeros(maps.shape, np.float32)
            image.put(inside, values)
            lights.append(image)
        difference = Difference(Frame(data, variance, quality, meta, shared), *lights, scale)
        return _Pixels(difference, replace(location, maps=maps), flexure)


class _BadExposure(Exception):
    """An exposure that cannot be used."""

    def __init__(self, index: int, cause: Exception):
        super().__init__(str(cause))
        self.index, self.cause = index, cause


class DifferenceBench:
    """Prepares, subtracts and extracts; holds what all differences share. Pixels wait in `folder`."""

    def __init__(self, inputs: Inputs, parameters, sequence: BeamSequence, folder: Path):
        from soxs_recipes.reduction.exposures.difference import slit_cells

        self._shelf = Shelf(folder)
        self.inputs, self.parameters, self.sequence = inputs, parameters, sequence
        self.geometry = find_geometry(inputs, binning_of(inputs, sequence.paths[0]), arcs=parameters["use-arcs"])
        self.settings, self.axis = extraction_settings(parameters), inputs.arm.dispersion_axis
        self.cells = slit_cells(0.5 * inputs.arm.slit_length + 0.5)
        self.flat = self.grids = None
        self._ready: dict[int, tuple[Exposure, Location]] = {}
        self._with_maps: set[int] = set()

    def __enter__(self) -> DifferenceBench:
        return self

    def __exit__(self, *_: object) -> None:
        self._shelf.close()

    def exposure(self, index: int, *, subtracted: bool = False) -> tuple[Exposure, Location]:
        """A prepared exposure and its location; the last two stay in memory.

        One that is only subtracted needs no maps: they make up half of what it takes.
        """
        from soxs_recipes.reduction.extraction.extraction import make_grids

        ready = self._ready.get(index)
        if ready is None or (ready[1].maps is None and not subtracted):
            path = self.sequence.paths[index]
            table = self.geometry.table if self.parameters["subtract-background"] else None
            try:
                exposure = next(prepare_exposures(self.inputs, [path], table, cancels=True))
            except (UnprocessableData, InputError) as error:
                raise _BadExposure(index, error) from error
            shape = exposure.frame.shape
            if self.grids is None:
                self.flat = master_flat(self.inputs, shape)
                self.grids = make_grids(self.geometry.maps(self.inputs, shape), self.axis)
            location = locate_exposure(
                self.inputs,
                exposure,
                self.geometry,
                self.grids,
                correct=self.parameters["correct-flexure"],
                wanted="nothing" if subtracted and index not in self._with_maps else "orders",
            )
            self._ready.pop(index, None)
            while len(self._ready) >= 2:
                self._ready.pop(next(iter(self._ready)))
            self._ready[index] = (exposure, location)
        return self._ready[index]

    def subtract(self, subtraction: Subtraction) -> _Pixels:
        """The difference's pixels."""
        from soxs_recipes.reduction.exposures.difference import subtract_exposures

        plus, location = self.exposure(subtraction.plus)
        others = [self.exposure(index, subtracted=True) for index in subtraction.minus]
        difference = subtract_exposures(
            (plus.frame, plus.base_variance),
            [(exposure.frame, exposure.base_variance) for exposure, _ in others],
            subtraction.shares,
        )
        moved = sum(share * other.applied[0] for share, (_, other) in zip(subtraction.shares, others, strict=True))
        return _Pixels(difference, location, moved - location.applied[0] if others else 0.0)

    def look(self) -> list[LookedDifference]:
        """A first look at every difference; bad exposures are named and the rest is paired anew.

        The pixels of the last one stay in memory.
        """
        usable, looked = list(range(len(self.sequence.paths))), {}
        while usable:
            subtractions, left = self.sequence.rule(usable)
            self._with_maps = {subtraction.plus for subtraction in subtractions}
            try:
                for number, subtraction in enumerate(subtractions):
                    if subtraction not in looked:
                        for earlier in looked.values():
                            earlier.put_aside(self._shelf)
                        return_freed()  # their fits
                        looked[subtraction] = self._looked_at(subtraction, subtractions[number + 1 :])
            except _BadExposure as bad:
                usable.remove(bad.index)
                if not usable:
                    raise bad.cause from None
                self.inputs.mark_partial(f"left out: {bad}")
                continue
            break
        # Everything is prepared; the fits to come need the room.
        self._ready.clear()
        self.geometry.forget_maps()
        forget_masters()
        return_freed()
        for index in left:
            name = self.sequence.paths[index].name
            self.inputs.mark_partial(f"{name} is left out: no exposure of another beam goes with it")
        for subtraction in subtractions:
            if not subtraction.minus:
                name = self.sequence.paths[subtraction.plus].name
                self.inputs.mark_partial(f"{name}: nothing to subtract, its own sky is fitted as in stare mode")
        return [looked[subtraction] for subtraction in subtractions]

    def _looked_at(self, subtraction: Subtraction, later: Sequence[Subtraction]) -> LookedDifference:
        from soxs_recipes.reduction.exposures.difference import difference_samples

        pixels = self.subtract(subtraction)
        wanted = {index for other in later for index in other.indices}
        self._ready = {index: ready for index, ready in self._ready.items() if index in wanted}
        return_freed()
        shots = self.sequence.shots
        negative = shots[subtraction.minus[0]].offset if subtraction.both else math.nan
        offsets = shots[subtraction.plus].offset, negative
        try:
            fits = self._fits(pixels)
        except UnprocessableData as error:
            raise self._bad_one_of(subtraction) from error
        samples = difference_samples(fits, self.cells, offsets)
        return LookedDifference(subtraction, samples, pixels, None if later else fits)

    def _bad_one_of(self, subtraction: Subtraction) -> _BadExposure:
        """Of the exposures of a difference whose orders cannot be used, the one with fewest pixels that can."""

        def usable(index):
            frame = self.exposure(index, subtracted=True)[0].frame
            return frame.usable[self.geometry.maps(self.inputs, frame.shape).order > 0].mean()

        index = min(subtraction.indices, key=usable)
        cause = f"{self.sequence.paths[index].name}: hardly a pixel of its orders can be used"
        return _BadExposure(index, UnprocessableData(cause))

    def _fits(self, pixels: _Pixels) -> list[DifferenceFit]:
        from soxs_recipes.reduction.exposures.difference import set_up_difference

        maps, common = pixels.location.maps, {"flat": self.flat, "grids": self.grids, "settings": self.settings}
        return set_up_difference(pixels.difference, maps, self.axis, **common)

    def extract(self, item: LookedDifference, pattern: BeamPattern) -> tuple[Frame, Location, DifferenceResult]:
        """Spectra of the beams of one difference; the difference and where it lies, without its maps."""
        from soxs_recipes.reduction.exposures.beams import beam_sources
        from soxs_recipes.reduction.exposures.difference import extract_difference

        choice, signs = beam_sources(
            item.samples,
            self.cells,
            pattern,
            maximum_sources=self.settings.maximum_sources,
            keep_place=self.settings.forced_position is not None,
            keep_width=self.settings.forced_fwhm is not None,
        )
        pixels = item.take(self._shelf)
        fits = item.take_fits() or self._fits(pixels)
        frame, location, flexure = pixels.difference.frame, replace(pixels.location, maps=None), pixels.flexure
        del pixels  # the fits need the room
        result = extract_difference(
            frame,
            fits,
            self.axis,
            bands={order.number: order.band for order in self.inputs.arm.orders},
            settings=self.settings,
            choice=choice,
            signs=signs,
            flexure=flexure,
        )
        return frame, location, result

    def name(self, subtraction: Subtraction) -> str:
        """The difference in words."""
        names = [self.sequence.paths[index].name for index in subtraction.indices]
        return " minus ".join(names)
