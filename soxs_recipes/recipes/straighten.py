"""soxs_straighten: reduced 2-D frames and flats laid straight, wavelength against slit position."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import Declaration, Parameter, Product, RawInput
from soxs_recipes.recipes.steps.object_declarations import OBJECT_CALIBRATIONS, RESPONSE_CALIBRATIONS
from soxs_recipes.recipes.steps.spectroscopy import find_geometry
from soxs_recipes.recipes.steps.two_dimensional import geometry_as_stated

__all__ = ["Straighten"]

_log = logging.getLogger(__name__)
_CALIBRATIONS = (
    "MASTER_BIAS_<ARM>",
    "MASTER_DARK_<ARM>",
    "BP_MAP_REF_<ARM>",
    "ORDER_TAB_EDGES_<ARM>",
    "DISP_TAB_2D_<ARM>",
    "DISP_TAB_<ARM>",
    "SPECTRAL_FORMAT_<ARM>",
)
_LAMPS = {
    "FLAT_SLIT_<ARM>": "ccd",
    "FLAT_SLIT_<ARM>_QTH": "ccd",
    "FLAT_SLIT_<ARM>_D2": "ccd",
    "FLAT_SLIT_<ARM>_ON": "infrared",
}
_MARGIN = 1.5  # px: how far beyond an order's edges the corners of its pixels may lie
_CARDS = {
    "SPECSYS": ("TOPOCENT", "wavelengths as observed"),
    "ESO PRO WAVE MEDIUM": ("VACUUM", "of the wavelength axis"),
}


class Straighten(Recipe):
    """Resamples what stands on the detector to wavelength and slit position, once and by area."""

    declaration = Declaration(
        name="soxs_straighten",
        synopsis="Lay reduced frames or flats straight: wavelength against slit position, per order and merged.",
        description=(
            "Each pixel's corners are carried through the dispersion solution, moved by the shift that was found "
            "for the exposure, and its light is shared out among the bins of a linear grid by the exact area that "
            "they have in common. All orders of an arm share one grid, so that merging them needs no second "
            "resampling. Sums over bins are sums over pixels; a bin that lost pixels to masks is filled from the "
            "others as long as these hold half of it, and INTERPOLATED.\n\n"
            "ERRS is the error of a bin by itself. Neighbouring bins share pixels: ERRSUM, added in quadrature "
            "over many bins, gives the error of their sum with the covariance in it, CORREL the correlations "
            "themselves along the wavelength, NOISEFAC their effect on large sums.\n\n"
            "Sky-subtracted frames are divided by the master flat first; with the sky model the products hold the "
            "sky beside the light; with a RESP_TAB the merged image comes in flux, too, and its rows add up to a "
            "spectrum. Raw slit flats are reduced, divided by the master flat and laid straight, too, to show "
            "what flat-fielding leaves. With nothing else the master flat itself is laid straight, so that "
            "structure in it can be told from structure in the sky or the object."
        ),
        raws=(
            RawInput("<KIND>_SLIT_SKYSUB_<ARM>", "sky-subtracted exposure", 1, None, False, (), 1, "image"),
            RawInput("<KIND>_SLIT_SKYMODEL_<ARM>", "model of its sky", 1, None, False, (), 1, "image"),
            RawInput(
                "MASTER_FLAT_<ARM>",
                "master flat: divides the exposures; alone, laid straight itself",
                1,
                None,
                False,
                (),
                1,
                "image",
            ),
            *(
                RawInput(
                    tag, "raw slit flat, to see what flat-fielding leaves", 1, None, False, (), 1, "image", lamp
                )
                for tag, lamp in _LAMPS.items()
            ),
        ),
        calibrations=(
            *(entry for entry in OBJECT_CALIBRATIONS if entry.tag in _CALIBRATIONS),
            *RESPONSE_CALIBRATIONS,
        ),
        parameters=(
            Parameter("wavelength-step", float, "auto", "nm", "Width of a bin.", minimum=0.005, maximum=5.0),
            Parameter("slit-step", float, "auto", "arcsec", "Height of a bin.", minimum=0.05, maximum=3.0),
            Parameter(
                "correct-flexure",
                bool,
                True,
                "",
                "Move the solution by the shift that the exposure's header states.",
            ),
        ),
        products=(
            Product("<KIND>_SLIT_ORDER2D_<ARM>", "straightened orders, counts", always=False),
            Product("<KIND>_SLIT_MERGE2D_<ARM>", "straightened arm, counts", always=False),
            Product("<KIND>_SLIT_FLUX_MERGE2D_<ARM>", "straightened arm, flux", always=False),
            Product("FLAT_SLIT_ORDER2D_<ARM>", "straightened orders of a flat or lamp", always=False),
            Product("FLAT_SLIT_MERGE2D_<ARM>", "straightened flat or lamp of the arm", always=False),
        ),
        qc=(
            QCDefinition("N ORDERS", "", "Orders that were laid straight."),
            QCDefinition("NOISE FACTOR", "", "Error of large sums over the root sum of ERRS**2.", per_order=True),
            QCDefinition("FILLED FRAC", "", "Bins of the orders filled from part of their pixels.", (0.0, 0.2)),
            QCDefinition("BLANK FRAC", "", "Bins of the orders without a value.", (0.0, 0.2)),
            QCDefinition("DISP RUNG", "", "0 2-D solution, 1 first solution, 2 spectral format."),
            QCDefinition("ZP APPLIED", "px", "Shift of the solution along the dispersion."),
            QCDefinition("EDGE APPLIED", "px", "Shift of the solution across the dispersion."),
        ),
        algorithm_version=5,
    )

    def process(self, inputs, parameters, outputs):
        """Flat-field, lay straight, merge, calibrate."""
        flats = inputs.raw("MASTER_FLAT")
        exposures = _exposures(inputs)
        lamps = [path for tag in _LAMPS for path in inputs.raw(tag)]
        for paths in exposures:
            _straighten_exposure(inputs, parameters, outputs, paths, flats[0] if flats else None)
        for path in lamps:
            _straighten_lamp(inputs, parameters, outputs, path, flats[0] if flats else None)
        if not exposures and not lamps:
            for path in flats:
                _straighten_flat(inputs, parameters, outputs, path)


def _exposures(inputs) -> list[tuple[Path, Path | None]]:
    """Each sky-subtracted exposure with the model of its sky; models without an exposure stand for themselves."""
    models = {_moment(inputs, path): path for path in inputs.raw("SLIT_SKYMODEL")}
    pairs = [(path, models.pop(_moment(inputs, path), None)) for path in inputs.raw("SLIT_SKYSUB")]
    for path in models.values():
        inputs.note(f"{path.name} has no sky-subtracted exposure: its errors leave out the photons")
    return pairs + [(path, None) for path in models.values()]


def _moment(inputs, path: Path) -> str:
    return f"{inputs.header(path).get('DATE-OBS', '')} {inputs.header(path).get('MJD-OBS', '')}"


def _straighten_exposure(inputs, parameters, outputs, paths, flat_path) -> None:
    from soxs_recipes.fits_files import read_frame
    from soxs_recipes.recipes.steps.object_products import object_name

    path, sky_path = paths
    frame, sky = _with_sky(read_frame(path), sky_path)
    frame, sky = _flat_fielded(inputs, frame, sky, flat_path)
    orders, qc = _laid_straight(inputs, parameters, path, frame, sky)
    used = [item for item in (path, sky_path, flat_path) if item is not None]
    common = {"qc": qc, "reference": path, "used": used, "object_name": object_name(inputs, path)}
    _add(outputs, "SLIT", orders, common)
    _add_flux(inputs, outputs, orders, frame.meta.exposure_time, path, common)


def _with_sky(frame, sky_path: Path | None):
    """The frame, blank where no sky was subtracted (the ends of the slit), and the sky."""
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag
    from soxs_recipes.fits_files import read_frame

    if sky_path is None:
        return frame, None
    sky = read_frame(sky_path).data
    blank = np.where(sky == 0, np.int32(QualityFlag.NO_DATA), np.int32(0))
    return frame.with_arrays(quality=frame.quality | blank), sky


def _straighten_lamp(inputs, parameters, outputs, path: Path, flat_path: Path | None) -> None:
    from soxs_recipes.recipes.framework.preparation import prepare_frame

    bias = inputs.calibration("MASTER_BIAS") if inputs.arm.detector.has_bias else None
    darks = inputs.calibrations("MASTER_DARK")
    frame = prepare_frame(
        path, inputs.arm, master_bias=bias, dark=darks or None, bad_pixels=inputs.calibration("BP_MAP_REF")
    )
    frame, _ = _flat_fielded(inputs, frame, None, flat_path)
    orders, qc = _laid_straight(inputs, parameters, path, frame, None)
    used = [item for item in (path, flat_path) if item is not None]
    _add(outputs, "FLAT_SLIT", orders, {"qc": qc, "reference": path, "used": used})


def _straighten_flat(inputs, parameters, outputs, path: Path) -> None:
    from soxs_recipes.fits_files import read_frame

    orders, qc = _laid_straight(inputs, parameters, path, read_frame(path), None, average=True)
    _add(outputs, "FLAT_SLIT", orders, {"qc": qc, "reference": path, "used": [path]})


def _flat_fielded(inputs, frame, sky, flat_path):
    """Frame and sky over the pixels' response; the frame's errors hold the flat's own already."""
    import numpy as np

    from soxs_recipes.fits_files import read_frame
    from soxs_recipes.reduction.frames.preparation import divide_by_flat

    if flat_path is None:
        inputs.mark_partial("no MASTER_FLAT: the pixels' response is not corrected")
        return frame, sky
    flat = read_frame(flat_path)
    if flat.shape != frame.shape:
        raise InputError(f"{flat_path.name}: its pixels {flat.shape} do not fit the exposure's {frame.shape}")
    flat = flat.with_arrays(variance=np.zeros_like(flat.variance))
    if sky is not None:
        sky = divide_by_flat(frame.with_arrays(data=sky), flat).data
    return divide_by_flat(frame, flat), sky


def _laid_straight(inputs, parameters, path: Path, frame, sky, *, average: bool = False):
    """(straightened orders, QC parameters) of a frame."""
    from soxs_recipes.reduction.rectified.rectify import RectifiedGrid, rectify_orders

    geometry = find_geometry(inputs, frame.meta.binning)
    applied = _applied_shift(inputs, path) if parameters["correct-flexure"] else (0.0, 0.0)
    geometry, shift = geometry_as_stated(inputs, geometry, path, applied)
    maps, corners = _maps(inputs, geometry, frame.shape, shift)
    grid = RectifiedGrid(parameters["wavelength-step"], parameters["slit-step"])
    bands = {order.number: order.band for order in inputs.arm.orders}
    orders = rectify_orders(frame, maps, corners, grid, bands=bands, sky=sky, average=average)
    qc = [
        QCParameter("DISP RUNG", geometry.rung),
        QCParameter("ZP APPLIED", applied[0]),
        QCParameter("EDGE APPLIED", applied[1]),
        *_image_qc(orders),
    ]
    return orders, qc


def _maps(inputs, geometry, shape, shift):
    """Maps at the pixels' centres and at their corners."""
    from soxs_recipes.recipes.steps.order_geometry import full_ranges
    from soxs_recipes.reduction.dispersion.pixel_maps import pixel_maps

    corners = pixel_maps(
        geometry.solution,
        (shape[0] + 1, shape[1] + 1),
        dispersion_axis=inputs.arm.dispersion_axis,
        order_table=geometry.table,
        slit_half_length=0.5 * inputs.arm.slit_length,
        wavelength_ranges=full_ranges(inputs),
        margin=_MARGIN,
        shift=(shift[0] + 0.5, shift[1] + 0.5),
    )
    return geometry.maps(inputs, shape, shift), corners


def _applied_shift(inputs, path: Path) -> tuple[float, float]:
    """(along, across) [px] by which the exposure's maps were moved when it was reduced."""
    header = inputs.header(path)
    values = [header.get(f"ESO QC {name} APPLIED", 0.0) for name in ("ZP", "EDGE")]
    known = [float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0 for value in values]
    if any(known):
        _log.info("%s: the solution is moved by (%.3f, %.3f) px along and across", path.name, *known)
    return known[0], known[1]


def _image_qc(orders) -> list[QCParameter]:
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag

    covered = np.concatenate([order.coverage.ravel() > 0.5 for order in orders])
    quality = np.concatenate([order.quality.ravel() for order in orders])[covered]
    factors = [QCParameter("NOISE FACTOR", order.noise_factor, order.order) for order in orders]
    return [
        QCParameter("N ORDERS", len(orders)),
        QCParameter("FILLED FRAC", float(np.mean((quality & int(QualityFlag.INTERPOLATED)) != 0))),
        QCParameter("BLANK FRAC", float(np.mean((quality & int(QualityFlag.NO_DATA)) != 0))),
        QCParameter("NOISE FACTOR", float(np.median([factor.value for factor in factors]))),
        *factors,
    ]


def _add(outputs, prefix: str, orders, common) -> None:
    from soxs_recipes.fits_files import rectified_hdus
    from soxs_recipes.reduction.rectified.rectified_merge import merge_images

    outputs.add(f"{prefix}_ORDER2D", rectified_hdus(orders), header=_CARDS, **common)
    outputs.add(f"{prefix}_MERGE2D", rectified_hdus(merge_images(orders)), header=_CARDS, **common)


def _add_flux(inputs, outputs, orders, exposure_time: float, path: Path, common) -> None:
    from soxs_recipes.fits_files import rectified_hdus
    from soxs_recipes.recipes.steps.flux_tables import flux_tables
    from soxs_recipes.reduction.rectified.rectified_merge import flux_calibrate_image, merge_images

    tables = flux_tables(inputs, [path])
    if tables is None:
        inputs.note("no RESP_TAB: the straightened images are in counts")
        return
    calibrated = [flux_calibrate_image(order, *tables, exposure_time) for order in orders]
    outputs.add("SLIT_FLUX_MERGE2D", rectified_hdus(merge_images(calibrated)), header=_CARDS, **common)
