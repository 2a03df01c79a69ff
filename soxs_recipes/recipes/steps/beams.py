"""What soxs_nod and soxs_offset have in common: exposures subtracted from one another, extracted and combined.

Numerics are imported inside functions, so that listing recipes stays instant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import AlgorithmError, InputError, UnprocessableData
from soxs_recipes.instrument.times import observation_mjd
from soxs_recipes.memory import return_freed
from soxs_recipes.recipes.framework.declarations import Parameter
from soxs_recipes.recipes.framework.preparation import forget_masters
from soxs_recipes.recipes.framework.spool import Shelf
from soxs_recipes.recipes.steps.spectroscopy import (
    Exposure,
    Location,
    binning_of,
    extraction_settings,
    find_geometry,
    locate_exposure,
    mark_lost_bins,
    master_flat,
    prepare_exposures,
)
from soxs_recipes.recipes.steps.two_dimensional import BEAM_ERRORS

if TYPE_CHECKING:
    from soxs_recipes.data.frame import Frame
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.outputs import Outputs
    from soxs_recipes.reduction.exposures.beam_combination import Beam
    from soxs_recipes.reduction.exposures.beams import BeamPattern, Shot, SlitSamples, Subtraction
    from soxs_recipes.reduction.exposures.difference import Difference, DifferenceFit, DifferenceResult
    from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder

__all__ = ["BEAM_PARAMETERS", "BEAM_QC", "BeamSequence", "header_number", "reduce_beams", "shots_of"]

_LEAST_LIGHT = 0.1  # of the best: an exposure with less of the object's light has lost it

BEAM_PARAMETERS = (
    Parameter(
        "save-single-extractions",
        bool,
        False,
        "",
        "Keep the spectrum of every exposure in the TRACE product, too.",
        group="exposures",
    ),
)

BEAM_QC = (
    QCDefinition("N PAIRS", "", "Differences extracted."),
    QCDefinition("N PAIRS LOST", "", "Differences that failed."),
    QCDefinition("SKY RATIO", "", "Sky over the sky subtracted, median.", (0.5, 2.0)),
    QCDefinition("BEAM THROW", "arcsec", "Distance of the two beams."),
    QCDefinition("BEAM SIGN", "", "1: offsets run with the slit, -1: against it."),
)


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


class _Looked:
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


class _Bench:
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

    def __enter__(self) -> _Bench:
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

    def look(self) -> list[_Looked]:
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

    def _looked_at(self, subtraction: Subtraction, later: Sequence[Subtraction]) -> _Looked:
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
        return _Looked(subtraction, samples, pixels, None if later else fits)

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

    def extract(self, item: _Looked, pattern: BeamPattern) -> tuple[Frame, Location, DifferenceResult]:
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


def reduce_beams(
    inputs: Inputs, parameters, outputs: Outputs, sequence: BeamSequence, turned: BeamSequence | None = None
) -> None:
    """Subtract, find the target, extract every difference, combine, merge, calibrate.

    `turned` is what is done instead when the target proves to be in the exposures that were subtracted.
    """
    from soxs_recipes.recipes.steps.object_products import mark_targets

    mark_targets(inputs, sequence.paths)
    with _Bench(inputs, parameters, sequence, outputs.folder) as bench:
        looked = bench.look()
        if not _knows_offsets(sequence):
            _take_seen_offsets(bench, looked)
        pattern = _pattern(bench, looked)
        if not pattern.turned or turned is None:
            _tell(bench, looked, pattern)
            # From the last, whose pixels are in memory still.
            reduced = [_reduced(bench, item, pattern, outputs) for item in reversed(looked)]
            reduced = [part for part in reversed(reduced) if part is not None]
            if not reduced:
                raise UnprocessableData(
                    f"{inputs.declaration.name}: no difference of exposures could be extracted"
                )
            _combine(inputs, parameters, outputs, sequence, pattern, reduced, len(looked))
            return
    del bench, looked  # they hold images
    inputs.note("the target is in the exposures that should show sky: they are taken for those of the object")
    reduce_beams(inputs, parameters, outputs, turned)


def _combine(
    inputs, parameters, outputs, sequence: BeamSequence, pattern: BeamPattern, reduced, seen: int
) -> None:
    """Spectra of all differences together; `seen` is how many were looked at."""
    from soxs_recipes.recipes.steps.object_products import add_sky, add_spectra, combined_qc
    from soxs_recipes.reduction.exposures.beam_combination import combine_beams

    results, qc = [(pair, result) for pair, result, _ in reduced], reduced[-1][2]
    beams = _with_light(inputs, sequence, _beams(inputs, sequence, results))
    combined = combine_beams(beams, _correlations(results, beams[0].orders))
    used = [sequence.paths[index] for index in sorted({beam.exposure for beam in beams})]
    outputs.subtracted += [
        sequence.paths[index] for pair, _ in results for index in pair.minus if sequence.paths[index] not in used
    ]
    qc = [item for item in qc if item.name != "SKY RATIO"]
    qc = [*combined_qc(qc, combined), *_sequence_qc(results, beams, pattern, seen - len(results))]
    add_sky(outputs, combined, qc, used)
    _add_trace(outputs, sequence, beams, results, qc, used, single=parameters["save-single-extractions"])
    add_spectra(inputs, outputs, combined, sum(beam.time for beam in beams), qc, used)


def _reduced(
    bench: _Bench, item: _Looked, pattern: BeamPattern, outputs: Outputs
) -> tuple[Subtraction, DifferenceResult, list[QCParameter]] | None:
    """One difference extracted, its images among the products; None, and said, when that cannot be done.

    A function of its own, so that pixels and fits are let go before the next.
    """
    from soxs_recipes.recipes.steps.object_products import object_qc

    try:
        frame, location, result = bench.extract(item, pattern)
    except (AlgorithmError, UnprocessableData) as error:
        bench.inputs.mark_partial(f"left out: {bench.name(item.subtraction)}: {error}")
        return None
    mark_lost_bins(bench.inputs, bench.name(item.subtraction), result.result)
    qc = object_qc(None, location, bench.geometry, result.result)
    qc.append(QCParameter("SKY RATIO", result.sky_ratio))
    result = replace(result, result=result.result.without_fits())
    return_freed()
    _add_images(outputs, bench, item.subtraction, frame, result, qc)
    return item.subtraction, result.without_images(), qc


def _knows_offsets(sequence: BeamSequence) -> bool:
    return all(math.isfinite(shot.offset) for shot in sequence.shots)


def _take_seen_offsets(bench: _Bench, looked: Sequence[_Looked]) -> None:
    """Offsets along the slit as the light shows them, where headers do not tell."""
    from soxs_recipes.reduction.exposures.beams import seen_offsets

    both = [item.subtraction.both for item in looked]
    for item, samples in zip(looked, seen_offsets([i.samples for i in looked], bench.cells, both), strict=True):
        item.samples = samples


def _pattern(bench: _Bench, looked: Sequence[_Looked]) -> BeamPattern:
    from soxs_recipes.reduction.exposures.beams import find_pattern

    settings = bench.settings
    return find_pattern(
        [item.samples for item in looked],
        bench.cells,
        settings.expected_position,
        tolerance=settings.position_tolerance,
        forced=settings.forced_position is not None,
        forced_fwhm=settings.forced_fwhm,
    )


def _tell(bench: _Bench, looked: Sequence[_Looked], pattern: BeamPattern) -> None:
    inputs = bench.inputs
    inputs.note(f"all beams, shifted to an offset of zero: {pattern.choice.reason}")
    if pattern.choice.doubtful:
        inputs.mark_partial(pattern.choice.reason)
    told = _knows_offsets(bench.sequence) and any(item.subtraction.both for item in looked)
    if pattern.choice.detected and told:
        way = "with" if pattern.sign > 0 else "against"
        inputs.note(f"the beams show that offsets in the headers run {way} the slit")


def _beams(inputs: Inputs, sequence: BeamSequence, results) -> list[Beam]:
    """Beams of all differences, all with the same orders."""
    from soxs_recipes.recipes.steps.object_products import orders_of_all
    from soxs_recipes.reduction.exposures.beam_combination import Beam

    same = iter(orders_of_all(inputs, [orders for _, result in results for orders in result.beams]))
    times = [max(header_number(inputs, "EXPTIME", path), 1e-3) for path in sequence.paths]
    beams = []
    for number, (pair, result) in enumerate(results):
        parts = {pair.plus: (1.0, times[pair.plus])}
        for index, share in zip(pair.minus, pair.shares, strict=True):
            parts[index] = (-share * times[pair.plus] / times[index], times[index])
        exposures = (pair.plus, *pair.minus[:1])
        for sign, index, _ in zip((1.0, -1.0), exposures, result.beams, strict=False):
            beams.append(Beam(index, number, sign, times[index], tuple(next(same)), parts))
    return sorted(beams, key=lambda beam: (beam.exposure, beam.difference))


def _with_light(inputs: Inputs, sequence: BeamSequence, beams: list[Beam]) -> list[Beam]:
    """Without the beams that hold next to nothing of the object's light, which are named."""
    from soxs_recipes.reduction.exposures.beam_combination import caught_light

    ratio, error = caught_light(beams)
    kept = []
    for beam, caught, sigma in zip(beams, ratio, error, strict=True):
        if caught + 3.0 * sigma < _LEAST_LIGHT:
            name = sequence.paths[beam.exposure].name
            inputs.mark_partial(
                f"{name} is left out: it holds {100.0 * caught:.0f} % of the light of the best exposure"
            )
        else:
            kept.append(beam)
    return kept


def _correlations(results, orders: Sequence[ExtractedOrder]):
    """Of the two beams of each difference in the same orders; 0 in those that it lost."""
    import numpy as np

    correlations = {}
    for number, (_, result) in enumerate(results):
        if result.correlation:
            own = [item.spectrum.order for item in result.result.orders]
            by_order = dict(zip(own, result.correlation, strict=True))
            sizes = {item.spectrum.order: item.spectrum.flux.size for item in orders}
            correlations[number] = [by_order.get(order, np.zeros((5, size))) for order, size in sizes.items()]
    return correlations


def _sequence_qc(results, beams: Sequence[Beam], pattern: BeamPattern, lost: int) -> list[QCParameter]:
    import numpy as np

    qc = [QCParameter("N PAIRS", len(results)), QCParameter("N PAIRS LOST", lost)]
    qc.append(QCParameter("SKY RATIO", float(np.median([result.sky_ratio for _, result in results]))))
    throws = []
    for _, result in results:
        if len(result.beams) > 1:
            places = [np.mean([np.median(item.spectrum.trace) for item in beam]) for beam in result.beams]
            throws.append(abs(places[0] - places[1]))
    if throws:
        qc.append(QCParameter("BEAM THROW", float(np.mean(throws))))
        qc.append(QCParameter("BEAM SIGN", int(pattern.sign)))
    return qc


def _add_images(outputs, bench: _Bench, pair: Subtraction, frame: Frame, result: DifferenceResult, qc) -> None:
    """The difference without what is left of the sky, and that rest.

    The rest's ERRS is the noise without the beams' own photons: both together hold all that an extraction starts
    from.
    """
    from soxs_recipes.fits_files import image_hdus

    path = bench.sequence.paths[pair.plus]
    counted = [path, *(bench.sequence.paths[index] for index in pair.minus)]
    common = {"reference": path, "used": counted, "qc": qc}
    inner = result.result
    subtracted = frame.with_arrays(
        data=frame.data - inner.sky_model, variance=inner.variance, quality=inner.quality
    )
    outputs.add("SLIT_SKYSUB", image_hdus(subtracted), **common)
    rest = frame.with_arrays(data=inner.sky_model, variance=result.background_variance, shared_variance=None)
    hdus = image_hdus(rest)
    hdus[1].header["ERRKIND"] = (BEAM_ERRORS, "photons of the beams left out")
    outputs.add("SLIT_SKYMODEL", hdus, **common)


def _add_trace(outputs, sequence, beams: Sequence[Beam], results, qc, used, *, single: bool) -> None:
    """Trace of the target in every beam, sources of every difference, and single spectra when asked."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    columns: dict[str, list] = {name: [] for name in ("EXPOSURE", "BEAM", "ORDER", "WAVE", "SLIT_POSITION")}
    spectra: dict[str, list] = {name: [] for name in ("FLUX", "ERR", "QUAL")}
    numbers = {path: number for number, path in enumerate(used, start=1)}
    for beam in beams:
        for item in beam.orders:
            spectrum = item.spectrum
            if not np.isfinite(spectrum.variance).any():
                continue  # lost in this exposure
            size = spectrum.wavelength.size
            columns["EXPOSURE"].append(np.full(size, numbers[sequence.paths[beam.exposure]], np.int16))
            columns["BEAM"].append(np.full(size, int(beam.sign), np.int16))
            columns["ORDER"].append(np.full(size, spectrum.order, np.int16))
            columns["WAVE"].append(spectrum.wavelength)
            columns["SLIT_POSITION"].append(spectrum.trace)
            spectra["FLUX"].append(spectrum.flux)
            spectra["ERR"].append(np.where(np.isfinite(spectrum.variance), np.sqrt(spectrum.variance), np.inf))
            spectra["QUAL"].append(spectrum.quality)
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    units = {"WAVE": "nm", "SLIT_POSITION": "arcsec"}
    comments = {"BEAM": "1 positive, -1 negative in its difference"}
    hdus = [table_hdu("TRACE", joined, units, comments), _sources_hdu(results)]
    if single:
        more = {name: np.concatenate(values) for name, values in spectra.items()}
        keys = {name: values for name, values in joined.items() if name != "SLIT_POSITION"}
        hdus.append(
            table_hdu("EXTRACTIONS", keys | more, {"WAVE": "nm", "FLUX": "electron", "ERR": "electron"}, comments)
        )
    outputs.add("SLIT_TRACE", hdus, qc=qc, used=used)


def _sources_hdu(results):
    from soxs_recipes.recipes.framework.trace_tables import sources_table

    rows = [
        (number, k < result.result.choice.beams, source)
        for number, (_, result) in enumerate(results, start=1)
        for k, source in enumerate(result.result.choice.sources)
    ]
    return sources_table(rows, "DIFFERENCE")
