"""A response beside those of earlier nights: what is told of it, and the archive that it joins."""

from __future__ import annotations

import math

from soxs_recipes.data.qc import QCParameter

__all__ = ["add_archive", "compare_with_earlier"]

_DRIFT_NAMED = 0.05  # change of level that is worth a word


def compare_with_earlier(inputs, parameters, response, mjd: float) -> tuple[list, list[QCParameter]]:
    """(table of the comparison, QC parameters) against earlier nights; drift is named, a deviant shape marked."""
    from soxs_recipes.fits_files import read_response_archive
    from soxs_recipes.reduction.flux.response_archive import archive_response, compare_with_archive

    path = inputs.calibration("RESP_ARCHIVE")
    if path is None:
        return [], []
    archive = read_response_archive(path)
    found = compare_with_archive(response, archive, mjd)
    if found is None:
        inputs.note(f"{path.name} holds no other response of these orders")
        return [], []
    _judge(inputs, parameters, found)
    qc = [
        QCParameter("ARCHIVE N CURVES", found.count),
        QCParameter("ARCHIVE DRIFT", found.drift),
        QCParameter("ARCHIVE DEVIATION", found.deviation),
        QCParameter("ARCHIVE WORST", found.worst),
        QCParameter("ARCHIVE WORST WAVE", found.worst_wavelength),
        QCParameter("ARCHIVE COLOUR", found.colour),
        QCParameter("ARCHIVE NEAREST", found.nearest_deviation),
        QCParameter("ARCHIVE NEAREST MJD", found.nearest_mjd),
        QCParameter("ARCHIVE USUAL", found.usual),
        QCParameter("ARCHIVE TREND", found.trend),
    ]
    return [_comparison_hdu(archive_response(archive))], qc


def _judge(inputs, parameters, found) -> None:
    earlier = f"{found.count} earlier response{'s' if found.count > 1 else ''}"
    side = "below" if found.drift < 0 else "above"
    change = f"sensitivity is {100 * abs(found.drift):.0f} % {side} that of {earlier}"
    if abs(found.drift) > parameters["drift-limit"]:
        inputs.mark_partial(f"{change}: too far for drift; clouds or losses at the slit")
    elif abs(found.drift) > _DRIFT_NAMED:
        inputs.note(f"drift: {change} at all wavelengths alike (mirrors, clouds or losses at the slit)")
    if found.deviation > parameters["deviation-limit"]:
        inputs.mark_partial(
            f"the response's shape deviates from {earlier} by {100 * found.deviation:.1f} % rms "
            f"({100 * found.worst:+.0f} % at {found.worst_wavelength:.0f} nm, "
            f"{100 * found.colour:+.0f} % from blue to red)"
        )


def _comparison_hdu(median):
    from soxs_recipes.fits_files import table_hdu

    columns = {
        "WAVE": median.wavelength,
        "MEDIAN": median.response,
        "SCATTER": median.error,
        "ORDER": median.order,
    }
    comments = {"MEDIAN": "response of the archive", "SCATTER": "1 sigma of one night, level included"}
    return table_hdu("ARCHIVE", columns, {"WAVE": "nm"}, comments)


def add_archive(inputs, parameters, outputs, response, star: str, mjd: float) -> None:
    """The archive with this response; as it was, where something is wrong with the response."""
    from soxs_recipes.fits_files import read_response_archive, response_archive_hdus
    from soxs_recipes.reduction.flux.response_archive import archive_response, join_archive

    path = inputs.calibration("RESP_ARCHIVE")
    archive = None if path is None else read_response_archive(path)
    if inputs.partial_reasons or not math.isfinite(mjd):
        inputs.note("the response does not join the archive")
        if archive is None:
            return
    else:
        archive = join_archive(archive, response, mjd, star, parameters["archive-size"])
    hdus = response_archive_hdus(archive, archive_response(archive))
    header = {"ESO QC ARCHIVE SIZE": (archive.count, "responses in the archive")}
    outputs.add("RESP_ARCHIVE", hdus, header=header)
