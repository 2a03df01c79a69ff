"""The steps of soxs_line_check: what is measured of spectra and of raw exposures, and how it is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCParameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.io.fits import Header

    from soxs_recipes.data.dispersion_solution import DispersionSolution
    from soxs_recipes.data.spectrum import OrderSpectrum
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.framework.outputs import Outputs
    from soxs_recipes.reduction.flexure.slit_ends import EdgeShift
    from soxs_recipes.reduction.flexure.zero_point import ZeroPoint

__all__ = ["Check", "check_exposures", "check_spectra", "write_check"]

_LIGHT_SPEED = 299792.458  # km/s
_NAN = float("nan")
_FEWEST_LINES = 2  # an order with fewer takes the shift of the arm


@dataclass(frozen=True, slots=True)
class Check:
    """What was measured of one product or exposure.

    Attributes
    ----------
    path : Path
    zero_point : ZeroPoint
    across : EdgeShift or None
        Of raw exposures.
    tellurics : mapping of order -> (shift, error) [px, towards rising coordinate]
    pixels : mapping of order -> (wavelength, width of a pixel with the sign of its direction) [nm]
        At mid-order.
    templates : mapping of order -> (shift, error, width) [px]
        By all their lines together, of orders without lines that stand alone.
    boxes : int
        How often a pixel's width is in the lines' FWHM.
    earlier : (along, across) [px]
        Corrected when the product was made.
    solution : DispersionSolution or None
        Of raw exposures, not moved.
    spectra : sequence of OrderSpectrum
        Of products.
    """

    path: Path
    zero_point: ZeroPoint
    across: EdgeShift | None
    tellurics: Mapping[int, tuple[float, float]]
    pixels: Mapping[int, tuple[float, float]]
    templates: Mapping[int, tuple[float, float, float]]
    boxes: int
    earlier: tuple[float, float] = (_NAN, _NAN)
    solution: DispersionSolution | None = field(default=None, repr=False)
    spectra: Sequence[OrderSpectrum] = field(default=(), repr=False)

    @property
    def arm_shift(self) -> tuple[float, float, str]:
        """(shift, error [px], by what): sky lines, else tellurics, else unknown."""
        zero = self.zero_point
        if math.isfinite(zero.shift) and zero.error < 0.25:
            return zero.shift, zero.error, "lines"
        if self.tellurics:
            import numpy as np

            from soxs_recipes.reduction.flexure.zero_point import robust_mean

            shift, error, _ = robust_mean(*np.array(list(self.tellurics.values())).T)
            return shift, error, "tellurics"
        return zero.shift, zero.error, "lines" if math.isfinite(zero.shift) else "none"

    @property
    def correction(self) -> float:
        """Significant shift along the dispersion [px], else 0."""
        shift, error, source = self.arm_shift
        told = self.zero_point.is_significant if source == "lines" else abs(shift) > max(2.0 * error, 0.05)
        return shift if told else 0.0


def check_spectra(inputs: Inputs, paths: Sequence[Path], parameters: Mapping) -> list[Check]:
    """Measure extracted spectra; InputError when a file holds none."""
    from soxs_recipes.fits_files import read_order_spectra
    from soxs_recipes.recipes.steps.spectroscopy import binning_of, sky_lines, slit_image_width
    from soxs_recipes.reduction.flexure.flexure import zero_point_of_spectra
    from soxs_recipes.reduction.flexure.zero_point import SkySpectrum

    checks = []
    for path in paths:
        spectra = [item for item in read_order_spectra(path) if item.wavelength.size > 50]
        pixels = _pixels(inputs, spectra)
        skies = [
            SkySpectrum(item.order, item.wavelength, item.bin_width, *_sky_of(item), math.copysign(1.0, width))
            for item in spectra
            for _, width in (pixels[item.order],)
        ]
        width = slit_image_width(inputs, path, binning_of(inputs, path))
        lines = sky_lines(inputs)
        zero = zero_point_of_spectra(skies, lines, search=parameters["search"], slit_image=width)
        templates = _templates(skies, lines, zero, width)
        tellurics = _tellurics(inputs, path, spectra, pixels, zero) if parameters["use-tellurics"] else {}
        header = inputs.header(path)
        earlier = tuple(_number(header.get(f"ESO QC {name} APPLIED")) for name in ("ZP", "EDGE"))
        checks.append(Check(path, zero, None, tellurics, pixels, templates, 1, earlier, spectra=spectra))
    return checks


def check_exposures(inputs: Inputs, paths: Sequence[Path], parameters: Mapping) -> list[Check]:
    """Measure raw exposures; one that cannot be used is named and left out."""
    from soxs_recipes.recipes.steps.spectroscopy import (
        binning_of,
        find_geometry,
        measure_flexure,
        prepare_exposures,
        sky_lines,
        slit_image_width,
    )
    from soxs_recipes.reduction.extraction.extraction import make_grids

    if not paths:
        return []
    geometry = find_geometry(inputs, binning_of(inputs, paths[0]))
    table = geometry.table if parameters["subtract-background"] else None
    maps = grids = None
    checks = []
    for exposure in prepare_exposures(inputs, paths, table):
        if maps is None:
            maps = geometry.maps(inputs, exposure.frame.shape)
            grids = make_grids(maps, inputs.arm.dispersion_axis)
        zero, edges, skies = measure_flexure(inputs, exposure, geometry, maps, grids, search=parameters["search"])
        pixels = {sky.order: _middle(sky.wavelength, sky.bin_width, sky.direction) for sky in skies}
        width = slit_image_width(inputs, exposure.path, exposure.frame.meta.binning)
        across = edges.shift if edges is not None and edges.is_significant else 0.0
        templates = _templates(skies, sky_lines(inputs), zero, width, across)
        checks.append(Check(exposure.path, zero, edges, {}, pixels, templates, 2, solution=geometry.solution))
    return checks


def _templates(skies, lines, zero: ZeroPoint, width: float, across: float = 0.0):
    """What orders without lines that stand alone tell by all their faint ones together."""
    from soxs_recipes.reduction.flexure.flexure import template_shifts

    if zero.by_template:
        return {}
    poor = [sky for sky in skies if zero.order_shift.get(sky.order, (0, 0, 0))[2] < _FEWEST_LINES]
    return template_shifts(poor, lines, slit_image=width, across=across)


def _middle(wavelength, width, direction) -> tuple[float, float]:
    half = wavelength.size // 2
    return float(wavelength[half]), float(direction * width[half])


def _pixels(inputs: Inputs, spectra) -> dict[int, tuple[float, float]]:
    """The run of wavelength with the pixel coordinate comes from the spectral format."""
    import numpy as np

    from soxs_recipes.fits_files import read_dispersion_solution

    solution = read_dispersion_solution(inputs.calibration("SPECTRAL_FORMAT"))
    found = {}
    for item in spectra:
        middle = np.array([item.wavelength[item.wavelength.size // 2]])
        slope = solution.surface(item.order).wavelength_derivative(middle, np.zeros(1))
        rise = float(slope[1 - inputs.arm.dispersion_axis][0])
        found[item.order] = _middle(item.wavelength, item.bin_width, math.copysign(1.0, rise))
    return found


def _sky_of(spectrum: OrderSpectrum):
    """(sky, error): the background's noise under the target is more than the sky's own, never less."""
    import numpy as np

    variance = spectrum.background_variance
    known = np.isfinite(spectrum.sky) & np.isfinite(variance) & (variance > 0)
    if not known.any():
        return np.zeros(spectrum.sky.size), np.ones(spectrum.sky.size)
    error = np.sqrt(np.where(known, variance, variance[known].max()))
    return np.where(np.isfinite(spectrum.sky), spectrum.sky, 0.0), error


def _tellurics(inputs: Inputs, path: Path, spectra, pixels, zero: ZeroPoint) -> dict[int, tuple[float, float]]:
    from soxs_recipes.recipes.steps.flux_tables import airmass_of, read_transmission
    from soxs_recipes.reduction.flexure.telluric_shift import telluric_shift

    template = read_transmission(inputs.calibration("TELLURIC_TRANSMISSION"))
    airmass = airmass_of(inputs, path)
    fwhm = zero.fwhm if math.isfinite(zero.fwhm) and not zero.by_template else 3.0
    found = {}
    for item in spectra:
        result = telluric_shift(
            item.wavelength,
            item.flux,
            item.variance,
            (template.wavelength, template.transmission),
            airmass=airmass if math.isfinite(airmass) else 1.2,
            blur=0.3 * fwhm,  # the template is not sharp itself
        )
        if math.isfinite(result.shift):
            found[item.order] = (math.copysign(1.0, pixels[item.order][1]) * result.shift, result.error)
    return found


def write_check(inputs: Inputs, outputs: Outputs, check: Check, *, correct: bool) -> None:
    """The table with its QC parameters, and what is corrected."""
    from soxs_recipes.fits_files import dispersion_solution_hdus, spectra_hdus

    source = check.arm_shift[2]
    name = check.path.name
    if source == "none":
        inputs.mark_partial(f"{name}: neither sky lines nor telluric bands are seen; wavelengths are unchecked")
    if source == "tellurics":
        inputs.note(f"{name}: no sky lines; the target's telluric bands tell the zero point")
    applied = check.correction if correct else 0.0
    across = check.across.shift if correct and check.across is not None and check.across.is_significant else 0.0
    qc = _quality(inputs, check, applied, across)
    common = {"qc": qc, "reference": check.path, "used": [check.path], "object_name": _stem(inputs, check)}
    outputs.add("LINE_CHECK", [_line_table(inputs, check), _order_table(inputs, check)], **common)
    if check.solution is not None and (applied or across):
        moves = (across, applied) if inputs.arm.dispersion_axis == 0 else (applied, across)
        outputs.add("DISP_TAB_2D", dispersion_solution_hdus(check.solution.shifted(*moves)), **common)
    if check.spectra and applied:
        inputs.note(f"{name}: wavelengths moved by {-applied:+.3f} px")
        moved = [_moved(item, applied * math.copysign(1.0, check.pixels[item.order][1])) for item in check.spectra]
        outputs.add("SLIT_ORDER1D", spectra_hdus(moved), **common)


def _stem(inputs: Inputs, check: Check) -> str:
    from soxs_recipes.recipes.steps.object_products import object_name

    return object_name(inputs, check.path)


def _moved(spectrum: OrderSpectrum, shift: float) -> OrderSpectrum:
    """Wavelengths of a spectrum whose lines stand `shift` bins too far up."""
    return replace(spectrum, wavelength=spectrum.wavelength - shift * spectrum.bin_width)


def _quality(inputs: Inputs, check: Check, applied: float, across: float) -> list[QCParameter]:
    zero = check.zero_point
    qc = [
        QCParameter("SHIFT", zero.shift),
        QCParameter("ERR", zero.error),
        QCParameter("N LINES", zero.lines),
        QCParameter("LINE SCATTER", zero.scatter),
        QCParameter("SCALE", zero.scale),
        QCParameter("SCALE ERR", zero.scale_error),
        QCParameter("N ORDERS BY ARM", sum(not _has_own(check, order) for order in check.pixels)),
        # Of spectra, the correction made with them counts, too.
        QCParameter("APPLIED", applied + (check.earlier[0] if math.isfinite(check.earlier[0]) else 0.0)),
        QCParameter("APPLIED ACROSS", across if check.across is not None else check.earlier[1]),
    ]
    if check.across is not None:
        qc += [QCParameter("ACROSS", check.across.shift), QCParameter("ACROSS ERR", check.across.error)]
    for order, (shift, error, lines) in zero.order_shift.items():
        qc += [
            QCParameter("SHIFT", shift, order),
            QCParameter("ERR", error, order),
            QCParameter("N LINES", lines, order),
        ]
    for order, (shift, error) in check.tellurics.items():
        qc += [QCParameter("TELL SHIFT", shift, order), QCParameter("TELL ERR", error, order)]
    for order, (shift, error, _) in check.templates.items():
        qc += [QCParameter("TEMPLATE SHIFT", shift, order), QCParameter("TEMPLATE ERR", error, order)]
    if check.tellurics:
        import numpy as np

        from soxs_recipes.reduction.flexure.zero_point import robust_mean

        shift, error, _ = robust_mean(*np.array(list(check.tellurics.values())).T)
        qc += [QCParameter("TELL SHIFT", shift), QCParameter("TELL ERR", error)]
    resolutions = _resolving_powers(check)
    qc += [QCParameter("R SKY", value, order) for order, value in resolutions.items()]
    if resolutions:
        qc.append(QCParameter("R SKY", sorted(resolutions.values())[len(resolutions) // 2]))
    other = _of_other_arm(inputs)
    return [*qc, *_velocities(check, applied, other), *_times(inputs, check, other)]


def _resolving_powers(check: Check) -> dict[int, float]:
    from soxs_recipes.reduction.flexure.zero_point import resolving_powers

    return resolving_powers(check.zero_point, check.boxes)


def _of_other_arm(inputs: Inputs) -> Header | None:
    """Header of the other arm's line check."""
    checks = [file for file in inputs.calibration_files if file.tag.startswith("LINE_CHECK_")]
    other = next((file for file in checks if file.tag != f"LINE_CHECK_{inputs.arm.name}"), None)
    if checks and other is None:
        inputs.mark_partial(f"{checks[0].path.name}: is of this arm, too; arms are not compared")
    return None if other is None else other.header


def _times(inputs: Inputs, check: Check, other: Header | None) -> list[QCParameter]:
    """Middle of the exposure, and by how much it lies after that of the other arm."""
    middle = _number(inputs.header(check.path).get("ESO QC MJD MID"))
    if not math.isfinite(middle):
        middle = inputs.mid_time(check.path)
    qc = [QCParameter("MJD MID", middle)]
    apart = 86400.0 * (middle - _number(other.get("ESO QC MJD MID"))) if other is not None else math.nan
    return [*qc, QCParameter("SYNC DIFF", apart)] if math.isfinite(apart) else qc


def _velocities(check: Check, applied: float, other: Header | None) -> list[QCParameter]:
    """Velocity that the wavelengths are off by after the correction, and how the other arm's compares."""
    shift, error, _ = check.arm_shift
    if not math.isfinite(shift):
        return []
    # Where wavelengths fall with the coordinate a shift has the other sign: the arm's zero point is a mean of
    # what its orders show, each weighted by its lines.
    weights = {order: lines for order, (_, _, lines) in check.zero_point.order_shift.items()}
    weights = weights or dict.fromkeys(check.tellurics, 1)
    total = sum(weights.values())
    per_pixel = sum(
        lines * _LIGHT_SPEED * check.pixels[order][1] / check.pixels[order][0] for order, lines in weights.items()
    )
    velocity, sigma = (shift - applied) * per_pixel / total, error * abs(per_pixel) / total
    qc = [QCParameter("VELOCITY", velocity), QCParameter("VELOCITY ERR", sigma)]
    if other is not None:
        theirs = [_number(other.get(f"ESO QC {name}")) for name in ("VELOCITY", "VELOCITY ERR")]
        qc.append(QCParameter("ARMS DIFF", velocity - theirs[0]))
        qc.append(QCParameter("ARMS DIFF ERR", math.hypot(sigma, theirs[1])))
    return qc


def _line_table(inputs: Inputs, check: Check):
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    bands = {order.number: order.band for order in inputs.arm.orders}
    lines = check.zero_point.residuals
    empty = np.zeros(0)
    names = ("order", "wavelength", "shift", "error", "pixel", "fwhm", "used", "coordinate")
    values = {name: empty if lines is None else getattr(lines, name) for name in names}
    residual = values["shift"] * values["pixel"]
    columns = {
        "ORDER": values["order"].astype(np.int16),
        "BAND": np.array([bands.get(int(number), "") for number in values["order"]], dtype="U8"),
        "WAVELENGTH": values["wavelength"],
        "MEASURED": values["wavelength"] + residual,
        "RESIDUAL": residual,
        "ERROR": values["error"] * np.abs(values["pixel"]),
        "SHIFT": values["shift"],
        "SHIFT_ERROR": values["error"],
        "COORDINATE": values["coordinate"],
        "FWHM": values["fwhm"],
        "USED": values["used"].astype(bool),
    }
    units = dict.fromkeys(("WAVELENGTH", "MEASURED", "RESIDUAL", "ERROR"), "nm")
    units |= dict.fromkeys(("SHIFT", "SHIFT_ERROR", "FWHM"), "pix")
    comments = {
        "SHIFT": "towards rising pixel coordinate",
        "COORDINATE": "place along the order, -1 to 1",
        "ERROR": "of centring and of the listed wavelength",
    }
    return table_hdu("LINES", columns, units, comments)


def _has_own(check: Check, order: int) -> bool:
    lines = check.zero_point.order_shift.get(order, (_NAN, _NAN, 0))[2]
    return lines >= (1 if check.zero_point.by_template else _FEWEST_LINES)


def _order_table(inputs: Inputs, check: Check):
    """An entry an order; those without lines take the arm's shift and say so."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    bands = {order.number: order.band for order in inputs.arm.orders}
    shift, error, source = check.arm_shift
    resolutions = _resolving_powers(check)
    rows = []
    for order, (wavelength, pixel) in sorted(check.pixels.items()):
        value, sigma, lines = check.zero_point.order_shift.get(order, (shift, error, 0))
        own = _has_own(check, order)
        if not own:
            value, sigma = shift, error
        tell = (*check.tellurics.get(order, (_NAN, _NAN)), *check.templates.get(order, (_NAN, _NAN, _NAN))[:2])
        told_by = ("template" if check.zero_point.by_template else "lines") if own else f"arm ({source})"
        velocity = _LIGHT_SPEED * pixel / wavelength
        row = (order, bands.get(order, ""), wavelength, value, sigma, value * velocity, sigma * abs(velocity))
        rows.append((*row, lines, resolutions.get(order, _NAN), *tell, told_by))
    names = (
        "ORDER", "BAND", "WAVELENGTH", "SHIFT", "ERROR", "VELOCITY", "VELOCITY_ERROR", "N_LINES", "R_SKY",
        "TELL_SHIFT", "TELL_ERROR", "TEMPLATE_SHIFT", "TEMPLATE_ERROR", "SOURCE",
    )  # fmt: skip
    columns = {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    columns |= {name: columns[name].astype(np.int16) for name in ("ORDER", "N_LINES")}
    units = dict.fromkeys([name for name in names if name.endswith(("SHIFT", "ERROR")) and name[0] != "V"], "pix")
    units |= {"WAVELENGTH": "nm", "VELOCITY": "km/s", "VELOCITY_ERROR": "km/s"}
    return table_hdu("ORDERS", columns, units, {"SOURCE": "the order's own lines, or the arm's shift"})


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else _NAN
