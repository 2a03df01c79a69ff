"""What the recipes that extract objects have in common: exposures, geometry with its ladder, flexure, products.

Numerics are imported inside functions, so that listing recipes stays instant.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import AlgorithmError, InputError, UnprocessableData
from soxs_recipes.recipes.framework.preparation import forget_masters
from soxs_recipes.recipes.steps.order_geometry import full_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from soxs_recipes.data.dispersion_solution import DispersionSolution
    from soxs_recipes.data.frame import Frame
    from soxs_recipes.data.order_table import OrderTable
    from soxs_recipes.data.pixel_maps import OrderMaps, PixelMaps
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.recipes.steps.user_arcs import MeasuredArc
    from soxs_recipes.reduction.extraction.extraction import ExposureResult
    from soxs_recipes.reduction.extraction.request import ExtractionSettings
    from soxs_recipes.reduction.flexure.flexure import SkyPixels
    from soxs_recipes.reduction.flexure.slit_ends import EdgeShift
    from soxs_recipes.reduction.flexure.zero_point import SkyLines, SkySpectrum, ZeroPoint
    from soxs_recipes.reduction.sky.order_pixels import OrderGrid

__all__ = [
    "Exposure",
    "Geometry",
    "Location",
    "binning_of",
    "extraction_settings",
    "find_geometry",
    "locate_exposure",
    "mark_lost_bins",
    "master_flat",
    "measure_flexure",
    "moved_orders",
    "prepare_exposures",
    "sky_lines",
    "slit_image_width",
    "tell_choice",
]

_log = logging.getLogger(__name__)
_MANY_LOST = 0.1  # share of an order's bins
_LONGEST_TO_ARC = 3.0  # h: flexure between arcs further away is not linear


@dataclass(frozen=True, slots=True)
class Exposure:
    """A prepared exposure.

    Attributes
    ----------
    path : Path
    frame : Frame
        Bias, dark and scattered light subtracted, not flat-fielded [e-].
    base_variance : ndarray (ny, nx) [e-^2]
        Without the photon noise of sky and objects.
    """

    path: Path
    frame: Frame
    base_variance: np.ndarray


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where wavelengths fall, and on which rung of the ladder that knowledge stands.

    Attributes
    ----------
    solution : DispersionSolution
    table : OrderTable or None
    rung : int
        0 two-dimensional solution, 1 first solution, 2 spectral format.
    arcs : tuple of MeasuredArc
        The user's own, which tell the shift at the time of an exposure.
    """

    solution: DispersionSolution
    table: OrderTable | None
    rung: int
    arcs: tuple[MeasuredArc, ...] = ()
    _unshifted: dict[tuple[int, int], PixelMaps] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _sky_pixels: dict[tuple[int, int], tuple[Sequence[OrderGrid], list[SkyPixels]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def maps(self, inputs: Inputs, shape: tuple[int, int], shift: tuple[float, float] = (0.0, 0.0)) -> PixelMaps:
        """Pixel maps of an exposure shifted by (dx, dy) [px]; those without a shift are kept for the next."""
        if any(shift):
            return self._maps(inputs, shape, shift)
        if shape not in self._unshifted:
            self._unshifted[shape] = self._maps(inputs, shape, shift)
        return self._unshifted[shape]

    def sky_pixels(self, inputs: Inputs, maps: PixelMaps, grids: Sequence[OrderGrid]) -> list[SkyPixels]:
        """Where the sky is read; on maps without a shift kept for the next exposure."""
        from soxs_recipes.reduction.flexure.flexure import sky_pixels

        shape = maps.order.shape
        if maps is not self._unshifted.get(shape):
            return sky_pixels(maps, grids, inputs.arm.dispersion_axis)
        kept_grids, places = self._sky_pixels.get(shape, (None, []))
        if kept_grids is not grids:
            places = sky_pixels(maps, grids, inputs.arm.dispersion_axis)
            self._sky_pixels[shape] = grids, places
        return places

    def forget_maps(self) -> None:
        """Let go of the maps that are kept."""
        self._unshifted.clear()
        self._sky_pixels.clear()

    def order_maps(self, inputs: Inputs, shape: tuple[int, int], shift: tuple[float, float]) -> OrderMaps:
        """The same of the orders' pixels alone."""
        from soxs_recipes.reduction.dispersion.pixel_maps import order_maps

        return order_maps(self.solution, shape, shift=shift, **self._settings(inputs))

    def _maps(self, inputs, shape, shift) -> PixelMaps:
        from soxs_recipes.reduction.dispersion.pixel_maps import pixel_maps

        return pixel_maps(self.solution, shape, shift=shift, **self._settings(inputs))

    def _settings(self, inputs) -> dict[str, object]:
        return {
            "dispersion_axis": inputs.arm.dispersion_axis,
            "order_table": self.table,
            "slit_half_length": 0.5 * inputs.arm.slit_length,
            "wavelength_ranges": full_ranges(inputs),
        }


@dataclass(frozen=True, slots=True)
class Location:
    """An exposure's maps and the shift that they hold.

    Attributes
    ----------
    maps : PixelMaps, OrderMaps or None
        None where they are let go.
    zero_point : ZeroPoint or None
        None where the shift was known beforehand.
    edges : EdgeShift or None
    applied : (along, across) [px]
    by_arcs : (along, across) [px]
        What of it the user's own arcs tell.
    """

    maps: PixelMaps | OrderMaps | None = field(repr=False)
    zero_point: ZeroPoint | None
    edges: EdgeShift | None
    applied: tuple[float, float]
    by_arcs: tuple[float, float] = (0.0, 0.0)


def extraction_settings(parameters) -> ExtractionSettings:
    """The parameters as the algorithm takes them."""
    from soxs_recipes.reduction.extraction.request import ExtractionSettings

    return ExtractionSettings(
        expected_position=parameters["target-position"],
        position_tolerance=parameters["position-tolerance"],
        forced_position=parameters["target-position"] if parameters["force-position"] else None,
        forced_fwhm=parameters["force-fwhm"] or None,
        edge_margin=parameters["clip-slit-edge"],
        aperture=parameters["boxcar-aperture"],
        find_cosmic_rays=parameters["use-lacosmic"],
        cosmic_ray_threshold=parameters["lacosmic-sigma"],
        maximum_sources=parameters["maximum-sources"],
        refine_sky=parameters["refine-sky"],
    )


def binning_of(inputs: Inputs, path: Path) -> tuple[int, int]:
    """(y, x) of a raw frame."""
    values = [inputs.keyword(name, path, 1) for name in ("BINNING_Y", "BINNING_X")]
    return tuple(int(float(str(value))) for value in values)


def tell_choice(inputs: Inputs, exposure: Exposure, result: ExposureResult) -> None:
    """Say which source was taken for the target, and mark the products where that is doubtful."""
    name, choice = exposure.path.name, result.choice
    inputs.note(f"{name}: {choice.reason}")
    if choice.doubtful:
        inputs.mark_partial(f"{name}: {choice.reason}")
    mark_lost_bins(inputs, name, result)
    for source in choice.sources[1:]:
        _log.info("%s: another source at %+.2f arcsec, FWHM %.2f", name, source.position, source.fwhm)


def mark_lost_bins(inputs: Inputs, name: str, result: ExposureResult) -> None:
    """Mark the products where the target left many bins without a value, as a saturated star does."""
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag

    shares = {item.spectrum.order: float(np.mean(np.isinf(item.spectrum.variance))) for item in result.orders}
    lost = [f"{order} ({100.0 * share:.0f} %)" for order, share in shares.items() if share > _MANY_LOST]
    if lost:
        saturated = np.count_nonzero(result.quality & np.int32(QualityFlag.SATURATED))
        why = f"; {saturated} pixels are saturated" if saturated else ""
        inputs.mark_partial(f"{name}: many bins hold no measurement in orders {', '.join(lost)}{why}")


def prepare_exposures(
    inputs: Inputs, paths: Sequence[Path], table: OrderTable | None, *, cancels: bool = False
) -> Iterator[Exposure]:
    """Prepared exposures, one in memory at a time; one that cannot be used is named and left out.

    `cancels`: bias and dark are the same in an exposure that is subtracted, so that nothing is lost without them.
    With a single path its error is raised; UnprocessableData when none of several can be used.
    """
    prepared = 0
    for path in paths:
        try:
            exposure = _prepare(inputs, path, table, cancels)
        except (UnprocessableData, InputError) as error:
            if len(paths) == 1:
                raise
            inputs.mark_partial(f"left out: {error}")
            continue
        prepared += 1
        if path == paths[-1] and len(paths) > 1:
            forget_masters()  # what a series keeps needs the room
        yield exposure
        del exposure
    if not prepared:
        raise UnprocessableData(f"{inputs.declaration.name}: no exposure holds anything to work on")


def _prepare(inputs: Inputs, path: Path, table: OrderTable | None, cancels: bool) -> Exposure:
    import numpy as np

    from soxs_recipes.recipes.framework.preparation import prepare_detailed
    from soxs_recipes.recipes.steps.linearity_correction import curves_of, known_bad_pixels

    detector = inputs.arm.detector
    bias = inputs.calibration("MASTER_BIAS") if detector.has_bias else None
    darks = inputs.calibrations("MASTER_DARK")
    tell = inputs.note if cancels else inputs.mark_partial
    if detector.has_bias and bias is None:
        tell("no MASTER_BIAS: only the overscan level is subtracted")
    if not detector.has_bias and not darks:
        tell("no MASTER_DARK: dark current is not subtracted")
    prepared = prepare_detailed(
        path,
        inputs.arm,
        master_bias=bias,
        dark=darks or None,
        bad_pixels=known_bad_pixels(inputs),
        linearity=curves_of(inputs),
        poisson=False,
    )
    for note in prepared.notes:
        inputs.note(note)
    if prepared.shortcoming:
        inputs.mark_partial(prepared.shortcoming)
    frame = prepared.frame
    if not frame.meta.exposure_time > 0:
        raise UnprocessableData(
            f"{frame.meta.name}: EXPTIME is {frame.meta.exposure_time:g} s, no exposure to light"
        )
    base = (frame.variance + _dark_charge(darks, frame.meta.exposure_time)).astype(np.float32, copy=False)
    if table is None:
        return Exposure(Path(path), frame, base)
    return Exposure(Path(path), *_without_scattered_light(inputs, frame, base, table))


def _dark_charge(darks, exposure_time: float):
    """Expected dark charge [e-]: its Poisson noise stays when the dark is subtracted."""
    import numpy as np

    from soxs_recipes.recipes.framework.preparation import read_master

    if not darks:
        return np.float32(0.0)
    frames = [read_master(dark).frame for dark in darks]
    nearest = min(frames, key=lambda frame: abs(frame.meta.exposure_time - exposure_time))
    own = nearest.meta.exposure_time
    scale = exposure_time / own if own > 0 else 1.0
    return np.maximum(np.float32(scale) * nearest.data, np.float32(0.0))


def _without_scattered_light(inputs, frame: Frame, base, table: OrderTable):
    import numpy as np

    from soxs_recipes.reduction.flat.scattered_light import fit_scattered_light

    try:
        light = fit_scattered_light(frame, table, with_variance=False).model
    except AlgorithmError as error:
        inputs.note(f"{frame.meta.name}: light between the orders is not subtracted ({error})")
        return frame, base
    # The surface's own error is smooth like the sky, which takes it up.
    base += np.maximum(light, np.float32(0.0))
    return frame.with_arrays(data=np.subtract(frame.data, light, out=light)), base


def find_geometry(inputs: Inputs, binning: tuple[int, int], *, arcs: bool = False) -> Geometry:
    """Solution and edges in the exposure's pixels, by the ladder; with `arcs`, the user's own arcs as well."""
    from soxs_recipes.fits_files import read_dispersion_solution, read_order_table

    edges = inputs.calibration("ORDER_TAB_EDGES")
    table = read_order_table(edges).rebinned(binning) if edges is not None else None
    if table is not None and not table.has_edges:
        table = None
    if table is None:
        inputs.mark_partial("no ORDER_TAB_EDGES: orders are taken as wide as the slit is long")
    for rung, tag in enumerate(("DISP_TAB_2D", "DISP_TAB", "SPECTRAL_FORMAT")):
        path = inputs.calibration(tag)
        if path is None:
            continue
        solution = read_dispersion_solution(path).rebinned(binning)
        if any(block.terms[:, 2].max() == 0 for block in solution.blocks):
            continue  # without a slit term pixels have no slit position
        if rung == 1:
            inputs.mark_partial("no DISP_TAB_2D: the first solution with the tilt of the spectral format is used")
        if rung == 2:
            inputs.mark_partial("no dispersion solution: the spectral format is shifted to the sky lines")
        geometry = Geometry(solution, table, rung)
        return _with_arcs(inputs, geometry) if arcs else geometry
    raise InputError(f"{inputs.declaration.name}: no dispersion solution; add DISP_TAB_2D_{inputs.arm.name}")


def _with_arcs(inputs: Inputs, geometry: Geometry) -> Geometry:
    """Geometry with the arcs taken near the exposures; those of the day are no arcs of the user's own."""
    from soxs_recipes.recipes.steps.user_arcs import ARC_TAGS, measure_arcs

    known = {entry.short for entry in inputs.declaration.calibrations if entry.serves(inputs.arm)}
    times = [inputs.mid_time(path) for path in inputs.all_raw]
    paths = [path for tag in ARC_TAGS if tag in known for path in inputs.calibrations(tag)]
    near = [
        path
        for path in paths
        if any(24.0 * abs(inputs.mid_time(path) - time) <= _LONGEST_TO_ARC for time in times)
    ]
    if len(near) < len(paths):
        inputs.note(
            f"arcs more than {_LONGEST_TO_ARC:g} h from the exposures are not used: {len(paths) - len(near)}"
        )
    try:
        return replace(geometry, arcs=tuple(measure_arcs(inputs, near, geometry)))
    except UnprocessableData as error:
        inputs.mark_partial(f"the arcs beside the exposures are not used: {error}")
        return geometry


def master_flat(inputs: Inputs, shape: tuple[int, int]) -> Frame | None:
    """The flat, None (and said) without one."""
    from soxs_recipes.fits_files import read_frame

    path = inputs.calibration("MASTER_FLAT")
    if path is None:
        inputs.mark_partial("no MASTER_FLAT: the pixels' response is not corrected")
        return None
    flat = read_frame(path)
    if flat.shape != shape:
        raise InputError(f"{Path(path).name}: its pixels {flat.shape} do not fit the exposure's {shape}")
    return flat


def measure_flexure(
    inputs: Inputs,
    exposure: Exposure,
    geometry: Geometry,
    maps: PixelMaps,
    grids: Sequence[OrderGrid],
    *,
    across_known: bool = True,
    search: float | None = None,
) -> tuple[ZeroPoint, EdgeShift | None, list[SkySpectrum]]:
    """Shift of an exposure against its maps: along by sky lines, across by the slit's ends; and its sky.

    Where `across_known`, a significant shift across is taken out of that along; one along is out of that across.
    """
    from soxs_recipes.reduction.flexure.flexure import sky_spectra, zero_point_of_spectra
    from soxs_recipes.reduction.flexure.slit_ends import edge_shift

    frame = exposure.frame
    places = geometry.sky_pixels(inputs, maps, grids)
    spectra = sky_spectra(frame, places, base_variance=exposure.base_variance)
    edges = None
    if geometry.table is not None:
        edges = edge_shift(frame, geometry.table, maps, spectra, base_variance=exposure.base_variance)
    zero = zero_point_of_spectra(
        spectra,
        sky_lines(inputs),
        search=search or (3.0 if geometry.rung == 0 else 10.0),
        slit_image=slit_image_width(inputs, exposure.path, frame.meta.binning),
        across=edges.shift if across_known and edges is not None and edges.is_significant else 0.0,
    )
    if edges is not None and zero.is_significant:
        edges = edges.given_along(zero.shift)
    if not math.isfinite(zero.shift):
        inputs.note(f"{frame.meta.name}: no sky line is seen, wavelengths have no zero point of their own")
    return zero, edges, spectra


def locate_exposure(
    inputs: Inputs,
    exposure: Exposure,
    geometry: Geometry,
    grids: Sequence[OrderGrid] | None,
    *,
    correct: bool,
    wanted: str = "images",
) -> Location:
    """Pixel maps of an exposure, moved to its sky lines and slit ends where they say so.

    `wanted`: maps as "images", of the "orders" alone, or "nothing" but the shift.
    """
    from soxs_recipes.reduction.extraction.extraction import make_grids

    axis, frame = inputs.arm.dispersion_axis, exposure.frame
    by_arcs = (0.0, 0.0)
    if geometry.arcs and correct:
        from soxs_recipes.recipes.steps.user_arcs import geometry_at, shift_at

        point = shift_at(inputs, geometry.arcs, inputs.mid_time(exposure.path), frame.meta.name)
        by_arcs, geometry = (point.along, point.across), geometry_at(inputs, geometry, point)
    maps = geometry.maps(inputs, frame.shape)
    grids = grids or make_grids(maps, axis)
    zero, edges, _ = measure_flexure(inputs, exposure, geometry, maps, grids, across_known=correct)
    if correct and geometry.rung > 0 and not inputs.arm.echelle and zero.is_significant:
        # A poor solution of several gratings is off by another amount in each.
        moved = moved_orders(geometry, zero, axis)
        applied = (by_arcs[0] + zero.shift, by_arcs[1])
        return Location(_wanted_maps(inputs, moved, frame.shape, wanted), zero, None, applied, by_arcs)
    across = edges.shift if correct and edges is not None and edges.is_significant else 0.0
    along = zero.shift if correct and zero.is_significant else 0.0
    shift = (across, along) if axis == 0 else (along, across)
    if any(shift):
        _log.info("%s: maps shifted by (%.3f, %.3f) px", frame.meta.name, *shift)
    maps = _wanted_maps(inputs, geometry, frame.shape, wanted, shift)
    return Location(maps, zero, edges, (by_arcs[0] + along, by_arcs[1] + across), by_arcs)


def _wanted_maps(inputs, geometry: Geometry, shape, wanted: str, shift=(0.0, 0.0)) -> PixelMaps | OrderMaps | None:
    """Maps as `locate_exposure` takes `wanted`."""
    if wanted == "nothing":
        return None
    return (geometry.maps if wanted == "images" else geometry.order_maps)(inputs, shape, shift)


def moved_orders(geometry: Geometry, zero: ZeroPoint, axis: int) -> Geometry:
    """Each order moved by its own sky lines, or by those of the arm where it has too few."""
    blocks = []
    for block in geometry.solution.blocks:
        own = [zero.order_shift[order] for order in block.orders if order in zero.order_shift]
        known = [shift for shift, error, lines in own if lines >= 3 and error < 0.25]
        shift = sum(known) / len(known) if known else zero.shift
        single = replace(geometry.solution, blocks=(block,))
        blocks += single.shifted(*((0.0, shift) if axis == 0 else (shift, 0.0))).blocks
    return replace(geometry, solution=replace(geometry.solution, blocks=tuple(blocks)))


def slit_image_width(inputs: Inputs, path: Path, binning: tuple[int, int]) -> float:
    """Width of the slit on the detector along the dispersion [px]; 0 when the slit is unknown."""
    name = str(inputs.keyword("SLIT", path, "") or "").strip().upper()
    widths = {slit.name.upper(): slit.width for slit in inputs.arm.slits}
    return widths.get(name, 0.0) / (inputs.arm.pixel_scale * binning[inputs.arm.dispersion_axis])


def sky_lines(inputs: Inputs) -> SkyLines:
    """The list of sky lines."""
    import numpy as np

    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.flexure.zero_point import SkyLines

    table = read_table(inputs.calibration("SKY_LINE_LIST"), 1)
    wavelength = np.asarray(table["WAVELENGTH"], dtype=np.float64)
    error = table.get("WAVELENGTH_ERROR")
    sigma = np.full(wavelength.size, 0.002) if error is None else np.asarray(error, dtype=np.float64)
    brightness = table.get("FLUX")
    return SkyLines(
        wavelength,
        sigma,
        np.asarray(table["ISOLATED"], dtype=bool),
        None if brightness is None else np.asarray(brightness, dtype=np.float64),
    )
