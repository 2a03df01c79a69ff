"""What soxs_nod and soxs_offset have in common: exposures subtracted from one another, extracted and combined.

Numerics are imported inside functions, so that listing recipes stays instant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.memory import return_freed
from soxs_recipes.recipes.framework.declarations import Parameter
from soxs_recipes.recipes.steps.differences import (
    BeamSequence,
    DifferenceBench,
    LookedDifference,
    header_number,
)
from soxs_recipes.recipes.steps.spectroscopy import mark_lost_bins
from soxs_recipes.recipes.steps.two_dimensional import BEAM_ERRORS

if TYPE_CHECKING:
    from soxs_recipes.data.frame import Frame
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.outputs import Outputs
    from soxs_recipes.reduction.exposures.beam_combination import Beam
    from soxs_recipes.reduction.exposures.beams import BeamPattern, Subtraction
    from soxs_recipes.reduction.exposures.difference import DifferenceResult
    from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder

__all__ = ["BEAM_PARAMETERS", "BEAM_QC", "reduce_beams"]

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


def reduce_beams(
    inputs: Inputs, parameters, outputs: Outputs, sequence: BeamSequence, turned: BeamSequence | None = None
) -> None:
    """Subtract, find the target, extract every difference, combine, merge, calibrate.

    `turned` is what is done instead when the target proves to be in the exposures that were subtracted.
    """
    from soxs_recipes.recipes.steps.object_products import mark_targets

    mark_targets(inputs, sequence.paths)
    with DifferenceBench(inputs, parameters, sequence, outputs.folder) as bench:
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
    bench: DifferenceBench, item: LookedDifference, pattern: BeamPattern, outputs: Outputs
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


def _take_seen_offsets(bench: DifferenceBench, looked: Sequence[LookedDifference]) -> None:
    """Offsets along the slit as the light shows them, where headers do not tell."""
    from soxs_recipes.reduction.exposures.beams import seen_offsets

    both = [item.subtraction.both for item in looked]
    for item, samples in zip(looked, seen_offsets([i.samples for i in looked], bench.cells, both), strict=True):
        item.samples = samples


def _pattern(bench: DifferenceBench, looked: Sequence[LookedDifference]) -> BeamPattern:
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


def _tell(bench: DifferenceBench, looked: Sequence[LookedDifference], pattern: BeamPattern) -> None:
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


def _add_images(
    outputs, bench: DifferenceBench, pair: Subtraction, frame: Frame, result: DifferenceResult, qc
) -> None:
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
