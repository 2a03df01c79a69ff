"""Products and QC parameters of an extraction: images, trace, spectra in counts and in flux."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCParameter
from soxs_recipes.recipes.steps.object_declarations import TRACE_RUNGS
from soxs_recipes.recipes.steps.two_dimensional import BASE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soxs_recipes.data.spectrum import OrderSpectrum
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.outputs import Outputs
    from soxs_recipes.recipes.steps.spectroscopy import Exposure, Geometry, Location
    from soxs_recipes.reduction.exposures.exposure_combination import CombinedExposures
    from soxs_recipes.reduction.extraction.extraction import ExposureResult
    from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder
    from soxs_recipes.reduction.flexure.zero_point import ZeroPoint

__all__ = [
    "add_images",
    "add_sky",
    "add_spectra",
    "add_trace",
    "combined_qc",
    "mark_targets",
    "mid_times_told",
    "object_name",
    "object_qc",
    "orders_of_all",
    "spectrum_qc",
    "time_qc",
]


def object_qc(
    exposure: Exposure | None, location: Location, geometry: Geometry, result: ExposureResult
) -> list[QCParameter]:
    """QC parameters of one exposure."""
    import numpy as np

    qc = spectrum_qc(result.orders)
    inner = [(fit.pixels.order, fit.data[fit.usable]) for fit in result.fits]
    qc += [QCParameter("INNER ORDER PIX MEAN", float(values.mean()), order) for order, values in inner]
    everything = np.concatenate([values for _, values in inner])
    qc.append(QCParameter("INNER ORDER PIX MEAN", float(everything.mean())))
    qc.append(QCParameter("INNER ORDER PIX SUM", float(everything.sum())))
    detected = sum(source.significance > 0 for source in result.choice.sources)
    qc.append(QCParameter("N SOURCES", max(detected - result.choice.beams + 1, 0)))
    qc.append(QCParameter("TARGET FOUND", result.choice.detected))
    qc.append(QCParameter("CR FRAC", result.cosmic_fraction))
    qc.append(QCParameter("DISP RUNG", geometry.rung))
    worst = 0
    for order, trace in result.traces.items():
        rung = TRACE_RUNGS[trace.rung]
        worst = max(worst, rung)
        qc.append(QCParameter("TRACE RUNG", rung, order))
        qc.append(QCParameter("TRACE ERR", trace.centre_error, order))
        qc.append(QCParameter("TRACE RES", trace.residual, order))
    if result.traces:
        qc.append(QCParameter("TRACE RUNG", worst))
        qc.append(QCParameter("TRACE RES", float(np.median([t.residual for t in result.traces.values()]))))
    return [*qc, *_location_qc(location)]


def mid_times_told(inputs: Inputs, synchronised_with: str) -> list[float]:
    """Mid-times [MJD] of exposures of the other arm, given as files or as such times with commas between.

    One whose header does not tell marks the products; InputError for a file that cannot be read.
    """
    words = [word.strip() for word in synchronised_with.split(",") if word.strip()]
    times = {word: mjd if math.isfinite(mjd := _number(word)) else inputs.mid_time(Path(word)) for word in words}
    for word, mjd in times.items():
        if not math.isfinite(mjd):
            inputs.mark_partial(f"{Path(word).name}: its mid-time is unknown and is not compared with this arm's")
    return [mjd for mjd in times.values() if math.isfinite(mjd)]


def time_qc(inputs: Inputs, used: Sequence[Path], others: Sequence[float] = ()) -> list[QCParameter]:
    """Mid-time of the exposures and, where the other arm's are told, how far from theirs it is at most.

    Parameters
    ----------
    inputs : Inputs
    used : sequence of Path
    others : sequence of float [MJD]
        Mid-times of the other arm.
    """
    from soxs_recipes.instrument.times import mean_mid_time, mid_time_differences

    times = [_number(inputs.keyword("EXPTIME", path)) for path in used]
    middles = [inputs.mid_time(path) for path in used]
    qc = [QCParameter("MJD MID", mean_mid_time(middles, [max(time, 1e-3) for time in times]))]
    apart = [seconds for seconds in mid_time_differences(middles, others) if math.isfinite(seconds)]
    return [*qc, QCParameter("SYNC DIFF", max(apart, key=abs))] if apart else qc


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _location_qc(location: Location) -> list[QCParameter]:
    zero = location.zero_point
    qc = [
        QCParameter("ZP APPLIED", location.applied[0]),
        QCParameter("EDGE APPLIED", location.applied[1]),
    ]
    if any(location.by_arcs):
        qc += [QCParameter("ARCS ALONG", location.by_arcs[0]), QCParameter("ARCS ACROSS", location.by_arcs[1])]
    if zero is not None:
        qc += _zero_point_qc(zero)
    if location.edges is not None:
        qc.append(QCParameter("EDGE SHIFT", location.edges.shift))
        qc.append(QCParameter("EDGE ERR", location.edges.error))
    return qc


def _zero_point_qc(zero: ZeroPoint) -> list[QCParameter]:
    qc = [
        QCParameter("ZP SHIFT", zero.shift),
        QCParameter("ZP ERR", zero.error),
        QCParameter("ZP N LINES", zero.lines),
        QCParameter("SKY FWHM", zero.fwhm),
    ]
    for order, (shift, error, lines) in zero.order_shift.items():
        qc.append(QCParameter("ZP SHIFT", shift, order))
        qc.append(QCParameter("ZP ERR", error, order))
        qc.append(QCParameter("ZP N LINES", lines, order))
    return qc


def spectrum_qc(orders: Sequence[ExtractedOrder]) -> list[QCParameter]:
    """QC parameters that come from the spectra alone, per order and their medians."""
    import numpy as np

    qc = [QCParameter("N ORDERS", len(orders))]
    columns: dict[str, list[float]] = {}
    for item in orders:
        spectrum = item.spectrum
        known = np.isfinite(spectrum.variance) & (spectrum.variance > 0)
        values = {
            "SEEING": item.seeing,
            "SLIT POSITION": float(np.median(spectrum.trace)),
            "SKYRES ON": item.sky_residual_on,
            "SKYRES OFF": item.sky_residual_off,
        }
        if known.any():
            variance = spectrum.variance[known]
            values["SNR MEDIAN"] = float(np.median(spectrum.flux[known] / np.sqrt(variance)))
            kept = np.clip(1.0 - item.shared_variance[known] / variance, 0.0, 1.0)
            values["MASTER COST"] = float(100.0 * np.median(1.0 - np.sqrt(kept)))
        for name, value in values.items():
            qc.append(QCParameter(name, value, spectrum.order))
            columns.setdefault(name, []).append(value)
    qc += _profile_qc(orders)
    for name, values in columns.items():
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            qc.append(QCParameter(name, float(np.median(finite))))
    return qc


def _profile_qc(orders: Sequence[ExtractedOrder]) -> list[QCParameter]:
    """Errors that all bins have in common, of each order and of all together, weighted by what they tell."""
    from soxs_recipes.reduction.profiles.flux_errors import error_of_mean

    told = [item for item in orders if item.profile_errors.size]
    qc = [QCParameter("PROFILE ERR", 100.0 * error_of_mean([item]), item.spectrum.order) for item in told]
    return [*qc, QCParameter("PROFILE ERR", 100.0 * error_of_mean(told))] if told else qc


def orders_of_all(inputs: Inputs, exposures: Sequence[Sequence[ExtractedOrder]]) -> list[list[ExtractedOrder]]:
    """The same orders of all exposures, empty where one has lost them; what lacks marks the products."""
    from soxs_recipes.reduction.extraction.order_spectrum import empty_order

    every = [{item.spectrum.order: item for item in orders} for orders in exposures]
    found = {number: item for orders in reversed(every) for number, item in orders.items()}
    missing = {order.number for order in inputs.arm.orders} - set(found)
    if missing:
        inputs.mark_partial(f"orders without a spectrum: {', '.join(str(order) for order in sorted(missing))}")
    partly = [number for number in sorted(found) if not all(number in orders for orders in every)]
    if partly:
        inputs.mark_partial(f"orders that not all exposures show: {', '.join(str(order) for order in partly)}")
    causes = [max((item.profile_errors.size for item in orders), default=0) for orders in exposures]
    return [
        [own.get(number) or empty_order(found[number], count) for number in sorted(found)]
        for own, count in zip(every, causes, strict=True)
    ]


# Of one exposure; with several they stand in each exposure's image products.
_OF_ONE_EXPOSURE = (
    "SNR MEDIAN",
    "PROFILE ERR",
    "SEEING",
    "SLIT POSITION",
    "SKYRES ON",
    "SKYRES OFF",
    "MASTER COST",
    "N ORDERS",
)


def combined_qc(last: Sequence[QCParameter], combined: CombinedExposures) -> list[QCParameter]:
    """QC parameters of the combined spectra; `last` are those of the last exposure."""
    count = combined.throughput.size
    qc = [
        QCParameter("N EXPOSURES", count),
        QCParameter("THROUGHPUT MIN", float(combined.throughput.min())),
        QCParameter("COMBINE REJ NUM", combined.rejected),
    ]
    if count == 1:
        return [*last, *qc]
    return [*(item for item in last if item.name not in _OF_ONE_EXPOSURE), *qc, *spectrum_qc(combined.orders)]


def add_images(
    inputs: Inputs,
    outputs: Outputs,
    exposure: Exposure,
    result: ExposureResult,
    qc: list[QCParameter],
    used: Sequence[Path] | None = None,
) -> None:
    """Sky-subtracted exposure (its cosmic rays and outliers in the quality map) and the sky model.

    The model's ERRS is the noise that is there without sky and objects, its QUAL what was known before the fit:
    both products together hold all that an extraction starts from.
    """
    from soxs_recipes.fits_files import image_hdus

    frame = exposure.frame
    common = {"reference": exposure.path, "used": used or [exposure.path], "qc": qc}
    subtracted = frame.with_arrays(
        data=frame.data - result.sky_model, variance=result.variance, quality=result.quality
    )
    outputs.add("SLIT_SKYSUB", image_hdus(subtracted), **common)
    model = frame.with_arrays(data=result.sky_model, variance=exposure.base_variance, shared_variance=None)
    hdus = image_hdus(model)
    keyword, value, comment = BASE_ERRORS
    hdus[1].header[keyword] = (value, comment)
    outputs.add("SLIT_SKYMODEL", hdus, **common)


def add_trace(
    outputs: Outputs,
    combined: CombinedExposures,
    results: Sequence[ExposureResult],
    qc: list[QCParameter],
    used: Sequence[Path],
    *,
    source: int = 0,
    label: str = "",
    further: Sequence = (),
) -> None:
    """Trace of a source per order, the sources of each exposure, the profiles and the light along the slit.

    Parameters
    ----------
    source : int
        Which of the exposures' sources this is.
    label : str
        For the file's name, where a call gives the spectra of several sources.
    further : sequence of HDU
        Put behind these tables.
    """
    import numpy as np

    from soxs_recipes.fits_files import table_hdu
    from soxs_recipes.recipes.framework.trace_tables import profile_table, slit_light_table, sources_table

    spectra = [item.spectrum for item in combined.orders]
    number = np.concatenate([np.full(s.wavelength.size, s.order, np.int16) for s in spectra])
    wave = np.concatenate([s.wavelength for s in spectra])
    trace = table_hdu(
        "TRACE",
        {"ORDER": number, "WAVE": wave, "SLIT_POSITION": np.concatenate([s.trace for s in spectra])},
        {"WAVE": "nm", "SLIT_POSITION": "arcsec"},
    )
    rows = [(i + 1, k == source, item) for i, r in enumerate(results) for k, item in enumerate(r.choice.sources)]
    sources = sources_table(rows, "EXPOSURE")
    profiles = results[0].profiles
    tables = [
        profile_table(profiles[source]) if source < len(profiles) else None,
        slit_light_table([result.slit_light for result in results]),
    ]
    tables = [table for table in tables if table is not None]
    outputs.add("SLIT_TRACE", [trace, sources, *tables, *further], qc=qc, used=used, object_name=label)


def add_sky(
    outputs: Outputs,
    combined: CombinedExposures,
    qc: list[QCParameter],
    used: Sequence[Path],
    *,
    label: str = "",
) -> None:
    """The spectrum of the sky under the target; `label` as for `add_trace`."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    spectra = [item.spectrum for item in combined.orders]
    sky = table_hdu(
        "SKY",
        {
            "ORDER": np.concatenate([np.full(s.wavelength.size, s.order, np.int16) for s in spectra]),
            "WAVE": np.concatenate([s.wavelength for s in spectra]),
            "WIDTH": np.concatenate([s.bin_width for s in spectra]),
            "SKY": np.concatenate([s.sky for s in spectra]),
        },
        {"WAVE": "nm", "WIDTH": "nm", "SKY": "electron"},
        {"SKY": "sky in the noise-equivalent width of a profile"},
    )
    outputs.add("SLIT_SKY1D", [sky], qc=qc, used=used, object_name=label)


def add_spectra(
    inputs: Inputs,
    outputs: Outputs,
    combined: CombinedExposures,
    exposure_time: float,
    qc: list[QCParameter],
    used: Sequence[Path],
    *,
    label: str = "",
) -> list[OrderSpectrum] | None:
    """Spectra per order and merged, in counts and, with a response, in flux, which are returned.

    `label` as for `add_trace`.
    """
    from soxs_recipes.fits_files import spectra_hdus
    from soxs_recipes.recipes.steps.barycentre import mean_barycentric_velocity
    from soxs_recipes.reduction.exposures.merge_orders import merge_orders

    spectra = [item.spectrum for item in combined.orders]
    step, name = inputs.arm.wavelength_step, " ".join(filter(None, (object_name(inputs, used[0]), label)))
    calibrated, reason = _calibrated(inputs, spectra, exposure_time, used)
    qc = [*qc, QCParameter("VRAD BARYCOR", mean_barycentric_velocity(inputs, used))]
    cards = _SPECTRAL_CARDS | _last_airmass(inputs, used) | _seconds_of_light(exposure_time, len(used))
    common = {"qc": qc, "used": used, "object_name": name, "header": cards}
    outputs.add("SLIT_ORDER1D", spectra_hdus(spectra), partial=reason, **common)
    outputs.add("SLIT_MERGE1D", spectra_hdus(merge_orders(spectra, step)), partial=reason, **common)
    if calibrated is not None:
        outputs.add("SLIT_FLUX_ORDER1D", spectra_hdus(calibrated), **common)
        outputs.add("SLIT_FLUX_MERGE1D", spectra_hdus(merge_orders(calibrated, step)), **common)
    return calibrated


_SPECTRAL_CARDS = {
    "SPECSYS": ("TOPOCENT", "wavelengths as observed"),
    "ESO PRO WAVE MEDIUM": ("VACUUM", "of the column WAVE"),
}


def _seconds_of_light(exposure_time: float, number: int) -> dict[str, tuple]:
    """Over what the counts were collected: files that are sums or differences of exposures state another time."""
    return {
        "EXPTIME": (exposure_time / number, "[s] Exposure time, mean of the frames"),
        "TEXPTIME": (exposure_time, "[s] Total exposure time"),
    }


def _last_airmass(inputs: Inputs, used: Sequence[Path]) -> dict[str, tuple]:
    """The header is the first exposure's; where the airmass ended is the last one's to say."""
    value = inputs.keyword("AIRMASS_END", used[-1])
    return {"ESO TEL AIRM END": (value, "Airmass at end")} if isinstance(value, float) else {}


def object_name(inputs: Inputs, path: Path) -> str:
    """What was observed, as the header calls it; empty when it does not."""
    for key in ("OBS_TARGET", "OBJECT"):
        value = str(inputs.keyword(key, path, "") or "").strip()
        if value:
            return value
    return ""


def mark_targets(inputs: Inputs, paths: Sequence[Path]) -> None:
    """Mark the products when the headers of exposures that become one spectrum name several targets."""
    stated = [str(inputs.keyword("OBS_TARGET", path, "") or "").strip() for path in paths]
    names = list(dict.fromkeys(filter(None, stated)))
    if len(names) > 1:
        inputs.mark_partial(f"exposures of different targets become one spectrum: {', '.join(names)}")


def _calibrated(inputs: Inputs, spectra, exposure_time: float, used: Sequence[Path]):
    """(spectra in flux or None, why the counts are all there is or None)."""
    from soxs_recipes.recipes.steps.flux_tables import flux_tables
    from soxs_recipes.reduction.flux.flux_calibration import flux_calibrate

    tables = flux_tables(inputs, used)
    if tables is None:
        # A standard is what the response is made from; science without one is not what was asked for.
        return None, "no RESP_TAB: spectra are in counts" if inputs.kind == "SCI" else None
    return [flux_calibrate(item, *tables, exposure_time) for item in spectra], None
