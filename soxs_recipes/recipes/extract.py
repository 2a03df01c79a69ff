"""soxs_extract: spectra from the pipeline's own 2-D products, the way a person wants them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, RawInput
from soxs_recipes.recipes.steps.exposure_series import NOTHING_LEFT, Extractor, Series, or_left_out
from soxs_recipes.recipes.steps.object_declarations import (
    EXTRACTION_PARAMETERS,
    GEOMETRY_CALIBRATIONS,
    OBJECT_QC,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
)
from soxs_recipes.recipes.steps.spectroscopy import binning_of, find_geometry, tell_choice
from soxs_recipes.recipes.steps.two_dimensional import are_differences, locate_again, product_exposures

__all__ = ["Extract"]

_REPLACED = ("subtract-background", "force-position", "force-fwhm")  # raw frames' own, or said otherwise here
_PLAIN = {"at": "", "fwhm": 0.0, "aperture": "", "background": "", "profile": "fitted", "host-degree": -1}
_SLIT = 8.0  # arcsec from mid-slit beyond which a position is a slip of the pen

_WISHES = (
    Parameter("at", str, "", "arcsec", "Extract at these slit positions, between commas, whatever is seen there."),
    Parameter(
        "fwhm",
        float,
        0.0,
        "arcsec",
        "Width of the profile; 0 lets the data tell.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter("follow-trace", bool, False, "", "Let positions of `at` move to where the data see the source."),
    Parameter(
        "profile",
        str,
        "fitted",
        "",
        "Shape and trace: by the data, a Gaussian, or those of a standard's TRACE.",
        choices=("fitted", "gaussian", "standard"),
    ),
    Parameter(
        "aperture",
        str,
        "",
        "arcsec",
        "Sum the light between slit positions: from,to or several pairs, instead of fitting profiles.",
    ),
    Parameter(
        "background", str, "", "arcsec", "Stretches of the slit that tell the sky: from,to or several pairs."
    ),
    Parameter(
        "host-degree",
        int,
        -1,
        "",
        "Degree of a polynomial along the slit under the target, for a galaxy; -1 for none.",
        minimum=-1,
        maximum=8,
    ),
    Parameter(
        "host-window",
        float,
        2.0,
        "arcsec",
        "How far on either side of the target that polynomial holds; light beyond takes no part.",
        minimum=0.5,
        maximum=12.0,
    ),
    Parameter(
        "limit-sigma", float, 3.0, "sigma", "Of the limits where nothing is seen.", minimum=0.5, maximum=10.0
    ),
    Parameter(
        "limit-width",
        float,
        0.0,
        "nm",
        "Width of the bands of the limits; 0 for a whole order.",
        minimum=0.0,
        maximum=2000.0,
    ),
    Parameter("measure-shift", bool, False, "", "Find the shift of the pixel maps anew, against the header's."),
)

_LIMIT_QC = (
    QCDefinition("SIGNIFICANCE", "sigma", "Of the source's light, all bands together.", per_order=True),
    QCDefinition("LIMIT COUNTS", "e-/nm", "Counts not exceeded, median of bands.", per_order=True),
    QCDefinition("LIMIT AB", "mag", "AB magnitude of the flux not exceeded, median of bands.", per_order=True),
)


class Extract(Recipe):
    """Extracts again what stands on the slit of sky-subtracted exposures."""

    declaration = Declaration(
        name="soxs_extract",
        synopsis="Extract spectra from the pipeline's own sky-subtracted exposures.",
        description=(
            "Takes sky-subtracted exposures with their sky models, puts each pair together to the prepared "
            "exposure and fits sky and sources again, as the recipes do that work on raw frames: with the same "
            "parameters the spectrum is the same to a millionth of its error.\n\n"
            "Positions given with `at` are extracted exactly there, with the width of what is found near them, of "
            "the brightest point source, or as given with `fwhm`; several give a spectrum each, fitted together, "
            "and those that overlap share one profile. What else is seen on the slit, extended light under a "
            "source too, is fitted with them. With `host-degree` the light under the target follows a polynomial "
            "along the slit, free at each wavelength, within `host-window`. With `aperture` the light between two "
            "slit positions is summed along the true slit direction; sky comes from beside it, or from the "
            "stretches of `background`; an order that shows no sky beside it is left out and named. Pixels masked "
            "by hand in QUAL of either file (256 is NO_DATA) stay so.\n\n"
            "The TRACE product holds, beside trace and sources, the profiles, the light along the slit with its "
            "model, and LIMITS: the mean flux in bands, its error and significance, and what a source has at "
            "most; flux-calibrated with a RESP_TAB."
        ),
        raws=(RawInput("<KIND>_SLIT_SKYSUB_<ARM>", "sky-subtracted exposure", agree=("READ_MODE_ID", "SLIT")),),
        calibrations=(
            CalibrationInput(
                "<KIND>_SLIT_SKYMODEL_<ARM>",
                "sky model of the same exposure",
                ladder="the sky cannot be fitted again and errors are too large",
                made_by="soxs_stare",
            ),
            *GEOMETRY_CALIBRATIONS,
            *RESPONSE_CALIBRATIONS,
            CalibrationInput(
                "<KIND>_SLIT_TRACE_<ARM>",
                "trace and profiles of a standard, for profile=standard",
                ladder="the data tell the profile",
                made_by="soxs_stare",
                agree_binning=False,
            ),
        ),
        parameters=(*(p for p in EXTRACTION_PARAMETERS if p.name not in _REPLACED), *_WISHES),
        products=SPECTRUM_PRODUCTS,
        qc=(*OBJECT_QC, *_LIMIT_QC),
        algorithm_version=25,
    )

    def process(self, inputs, parameters, outputs):
        """Read, locate, extract, combine, merge, calibrate."""
        from soxs_recipes.recipes.steps.object_products import mark_targets, object_qc

        paths = inputs.all_raw
        mark_targets(inputs, paths)
        extractor = _ProductExtractor(inputs, parameters, find_geometry(inputs, binning_of(inputs, paths[0])))
        results, times, used, qc = [], [], [], []
        for exposure, location, result in _extracted(inputs, extractor, outputs.folder):
            tell_choice(inputs, exposure, result)
            qc = [object_qc(exposure, location, extractor.geometry, part) for part in _sources(result)]
            results.append([part.without_images() for part in _sources(result)])
            times.append(max(exposure.frame.meta.exposure_time, 1e-3))
            used.append(exposure.path)
        for number, (parts, own) in enumerate(zip(zip(*results, strict=True), qc, strict=True)):
            label = f"S{number + 1}" if len(qc) > 1 else ""
            _add_source(inputs, parameters, outputs, (number, label), parts, times, used, own)


class _ProductExtractor(Extractor):
    """Extracts from 2-D products, with all that the parameters ask for."""

    def __init__(self, inputs, parameters, geometry):
        plain = {**parameters, "force-position": False, "force-fwhm": parameters["fwhm"]}
        super().__init__(inputs, plain, geometry)
        self.settings = _settings(inputs, parameters, self.settings)
        self.apertures = _pairs(parameters, "aperture")
        if self.apertures and parameters["at"]:
            raise InputError("soxs_extract: give either positions (at) or apertures, not both")
        self._measure = parameters["measure-shift"]
        # Whether nothing is asked for but what the recipes on raw frames do.
        self.is_plain = all(parameters[name] == _PLAIN[name] for name in _PLAIN) and not are_differences(inputs)

    def place(self, exposure, geometry, grids):
        return locate_again(self.inputs, exposure, geometry, grids, correct=self._correct, measure=self._measure)

    def extract(self, exposure, location, **changes):
        from soxs_recipes.reduction.extraction.aperture import extract_apertures

        if not self.apertures:
            return super().extract(exposure, location, **changes)
        place = (exposure.frame, location.maps, self.axis, self.apertures)
        return extract_apertures(*place, settings=replace(self.settings, **changes), **self._common(exposure))


def _extracted(inputs, extractor, folder):
    """(exposure, location, result) of each product.

    Several are compared with one another as raw exposures are; where a wish stands against that, the cosmic rays
    that were found so earlier stay masked.
    """
    several = len(inputs.all_raw) > 1
    exposures = product_exposures(inputs, inputs.all_raw, keep_hits=several and not extractor.is_plain)
    if not several or not extractor.is_plain:
        single = extractor.extract_single if extractor.is_plain else extractor.extract
        extracted = 0
        for exposure in exposures:
            result = None
            with or_left_out(inputs, exposure) if several else nullcontext():
                location = extractor.locate(exposure)
                result = single(exposure, location)
            if result is not None:
                extracted += 1
                yield exposure, location, result
        if not extracted:
            raise UnprocessableData(f"{inputs.declaration.name}: {NOTHING_LEFT}")
        return
    with Series(extractor, folder) as series:
        for exposure in exposures:
            series.add(exposure)
        series.find_hits()
        for number, state in enumerate(series.states()):
            yield series.refit(number, state)


def _settings(inputs, parameters, plain):
    """Settings with the wishes in them."""
    from soxs_recipes.recipes.framework.trace_tables import read_profiles
    from soxs_recipes.reduction.extraction.request import ExtractionRequest

    positions, profiles = _numbers(parameters, "at"), None
    if parameters["profile"] == "standard":
        trace = inputs.calibration("SLIT_TRACE")
        if trace is None:
            raise InputError("soxs_extract: profile=standard needs the SLIT_TRACE of a standard star; add it")
        profiles = read_profiles(trace)
    request = ExtractionRequest(
        further_positions=tuple(positions[1:]),
        may_move=parameters["follow-trace"],
        gaussian=parameters["profile"] == "gaussian",
        profiles=profiles,
        background=tuple(_pairs(parameters, "background")),
        host_degree=parameters["host-degree"],
        host_window=parameters["host-window"],
        negative_beams=are_differences(inputs),
    )
    return replace(plain, forced_position=positions[0] if positions else None, request=request)


def _numbers(parameters, name: str) -> list[float]:
    """A comma string's numbers; InputError says what is wrong with it."""
    words = [word.strip() for word in parameters[name].split(",") if word.strip()]
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise InputError(
            f"soxs_extract: {name} = {parameters[name]}: write numbers with commas between, such as -1.2,2.3"
        ) from None
    for value in values:
        if not abs(value) <= _SLIT:
            raise InputError(f"soxs_extract: {name}: {value:g} arcsec from mid-slit lies off the slit")
    return values


def _pairs(parameters, name: str) -> list[tuple[float, float]]:
    values = _numbers(parameters, name)
    pairs = list(zip(values[::2], values[1::2], strict=False))
    if len(values) % 2 or any(high <= low for low, high in pairs):
        raise InputError(
            f"soxs_extract: {name} = {parameters[name]}: write pairs, each from a lower to a higher position"
        )
    return pairs


def _sources(result):
    """The result as each source sees it that was asked for."""
    spectra = (result.orders, *result.others)[: max(result.choice.beams, 1)]
    return [
        result if k == 0 else replace(result, orders=orders, others=(), traces={})
        for k, orders in enumerate(spectra)
    ]


def _add_source(inputs, parameters, outputs, named, parts, times, used, qc) -> None:
    """Products of one source: number among those asked for, label in the names of its files."""
    from soxs_recipes.recipes.framework.trace_tables import limit_table
    from soxs_recipes.recipes.steps.object_products import (
        add_sky,
        add_spectra,
        add_trace,
        combined_qc,
        orders_of_all,
        time_qc,
    )
    from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions

    number, label = named
    combined = combine_extractions(orders_of_all(inputs, [part.orders for part in parts]), times)
    qc = [*combined_qc(qc, combined), *time_qc(inputs, used)]
    calibrated = add_spectra(inputs, outputs, combined, sum(times), qc, used, label=label)
    counts = [item.spectrum for item in combined.orders]
    limits, limit_qc = limit_table(counts, calibrated, parameters["limit-sigma"], parameters["limit-width"])
    add_trace(outputs, combined, parts, [*qc, *limit_qc], used, further=[limits], source=number, label=label)
    add_sky(outputs, combined, qc, used, label=label)
