"""Where the positions of a map lie, and the product that holds them with their sources and spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soxs_recipes.data.qc import QCParameter
from soxs_recipes.data.slit_map import SlitMap
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.fits_files import slit_map_hdus, table_hdu
from soxs_recipes.recipes.framework.inputs import Inputs
from soxs_recipes.recipes.framework.outputs import Outputs
from soxs_recipes.recipes.steps.flux_tables import flux_tables, pointing_of
from soxs_recipes.recipes.steps.object_products import object_name, time_qc
from soxs_recipes.recipes.steps.spectroscopy import Exposure
from soxs_recipes.reduction.exposures.slit_map import (
    SlitLight,
    build_map,
    offsets_on_slit,
    place_on_sky,
    slit_light,
)
from soxs_recipes.reduction.extraction.extraction import ExposureResult
from soxs_recipes.reduction.flux.flux_calibration import FLUX_UNIT, flux_calibrate
from soxs_recipes.reduction.profiles.slit_sources import SlitSource

__all__ = ["MapGrid", "Position", "add_map"]

_SAME_ANGLE = 1.0  # degree by which the slit may turn within a map
_COUNT_RATE = "electron / (s nm)"


@dataclass(frozen=True, slots=True)
class Position:
    """One exposure of a map.

    Attributes
    ----------
    path : Path
    time : float [s]
    lights : tuple of SlitLight
        Light along the slit, one an order.
    sources : tuple of SlitSource
        The target first.
    spectra : tuple of tuple of OrderSpectrum
        Of each source in each order, in counts.
    factors : mapping order -> ndarray (bins,)
        From counts to the map's unit.
    """

    path: Path
    time: float
    lights: tuple[SlitLight, ...]
    sources: tuple[SlitSource, ...]
    spectra: tuple[tuple[OrderSpectrum, ...], ...]
    factors: dict[int, np.ndarray]


class MapGrid:
    """Where each exposure of a map looked.

    Attributes
    ----------
    centre : (ra, dec) [deg]
        Mean of the positions.
    position_angle : float [deg]
    along : ndarray (rows,) [arcsec]
        Cells along the slit, a detector pixel high, that hold all positions.
    """

    def __init__(self, inputs: Inputs, paths: Sequence[Path]):
        self._inputs = inputs
        self.position_angle = self._angle(paths)
        points = np.array([pointing_of(inputs, path) for path in paths])
        self.centre, across, along = self._laid_out(paths, points)
        self.place = {path: (float(x), float(y)) for path, x, y in zip(paths, across, along, strict=True)}
        binning = "BINNING_X" if inputs.arm.dispersion_axis == 0 else "BINNING_Y"
        step = inputs.arm.pixel_scale * float(str(inputs.keyword(binning, paths[0], 1)))
        half = 0.5 * inputs.arm.slit_length
        rows = math.ceil((np.ptp(along) + 2.0 * half) / step)
        self.along = 0.5 * (along.min() + along.max()) + step * (np.arange(rows) - 0.5 * (rows - 1))

    def _angle(self, paths: Sequence[Path]) -> float:
        stated = [self._inputs.keyword("POSITION_ANGLE", path) for path in paths]
        angles = [float(value) for value in stated if isinstance(value, (int, float))]
        if not angles:
            self._inputs.mark_partial("no position angle in the headers: the slit is taken to point to the north")
            return 0.0
        turned = np.ptp([(angle - angles[0] + 180.0) % 360.0 for angle in angles])
        if turned > _SAME_ANGLE:
            self._inputs.mark_partial(f"the slit turned by {turned:.1f} degrees within the map")
        return angles[0]

    def _laid_out(self, paths, points):
        """(centre, across, along): from the pointings, else from the cumulative offsets."""
        offsets = np.array([self._offsets(path) for path in paths])
        if np.isfinite(points).all():
            across, along = offsets_on_slit(*points.T, tuple(points[0]), self.position_angle)
            if np.ptp(across) + np.ptp(along) > 0.05 or np.ptp(offsets) == 0:
                middle = (float(across.mean()), float(along.mean()))
                centre = place_on_sky(*middle, tuple(points[0]), self.position_angle)
                return tuple(float(v) for v in centre), across - middle[0], along - middle[1]
        known = np.isfinite(points).all(axis=1)
        self._inputs.mark_partial(
            "positions come from the cumulative offsets: the pointings do not tell them apart"
        )
        centre = tuple(float(v) for v in points[known][0]) if known.any() else (0.0, 0.0)
        # An offset moves the target on the slit, and so the slit the other way.
        across, along = -offsets.T
        return centre, across - across.mean(), along - along.mean()

    def _offsets(self, path: Path) -> tuple[float, float]:
        values = [self._inputs.keyword(f"CUMULATIVE_OFFSET_{axis}", path, 0.0) for axis in "XY"]
        return tuple(float(value) if isinstance(value, (int, float)) else 0.0 for value in values)

    def position(self, exposure: Exposure, result: ExposureResult) -> Position:
        """What the map needs of an extraction, which must still hold its fits."""
        path, time = exposure.path, max(exposure.frame.meta.exposure_time, 1e-3)
        tables = flux_tables(self._inputs, [path])
        factors, lights = {}, []
        for fit, item in zip(result.fits, result.orders, strict=True):
            factor = _factor(item.spectrum, tables, time)
            factors[item.spectrum.order] = factor
            moved = self.place[path][1]
            lights.append(slit_light(fit, item.spectrum.band, self.along, factor, moved=moved))
        spectra = tuple(tuple(item.spectrum for item in orders) for orders in (result.orders, *result.others))
        return Position(path, time, tuple(lights), result.choice.sources, spectra, factors)

    def on_sky(self, path: Path, slit_position: float) -> tuple[float, float]:
        """(ra, dec) [deg] of a point of the slit [arcsec]."""
        across, along = self.place[path]
        ra, dec = place_on_sky(across, along + slit_position, self.centre, self.position_angle)
        return float(ra), float(dec)


def _factor(spectrum: OrderSpectrum, tables, time: float) -> np.ndarray:
    """What turns counts of a bin into flux density, or into counts per second and nm; 0 where nothing is known."""
    if tables is None:
        return 1.0 / (time * spectrum.bin_width)
    ones = np.ones(spectrum.flux.size)
    calibrated = flux_calibrate(replace(spectrum, flux=ones, variance=ones), *tables, time)
    return np.where(np.isfinite(calibrated.variance), calibrated.flux, 0.0)


def add_map(inputs: Inputs, outputs: Outputs, grid: MapGrid, positions: Sequence[Position]) -> None:
    """The map, its positions, the sources of each and their spectra."""
    unit = FLUX_UNIT if flux_tables(inputs, [positions[0].path]) else _COUNT_RATE
    across = np.array([grid.place[position.path][0] for position in positions])
    width = _slit_width(inputs, positions[0].path)
    slit_map, regular = build_map(
        [position.lights for position in positions],
        across,
        grid.along,
        grid.centre,
        grid.position_angle,
        _per_arcsec(unit),
        width=width,
    )
    if not regular:
        inputs.note("the positions are not evenly spaced: each stands in the nearest column of the map")
    used = [position.path for position in positions]
    tables = [_positions_table(inputs, grid, positions), _sources_table(slit_map, grid, positions, unit)]
    outputs.add(
        "SCI_MAP",
        [*slit_map_hdus(slit_map), *tables, _spectra_table(positions)],
        qc=[*_map_qc(slit_map, len(positions), across, width), *time_qc(inputs, used)],
        used=used,
        object_name=object_name(inputs, used[0]),
    )


def _per_arcsec(unit: str) -> str:
    return f"{unit.removesuffix(')')} arcsec)"


def _slit_width(inputs: Inputs, path: Path) -> float:
    name = str(inputs.keyword("SLIT", path, "") or "").strip().upper()
    return next((slit.width for slit in inputs.arm.slits if slit.name.upper() == name), 1.0)


def _map_qc(slit_map: SlitMap, count: int, across: np.ndarray, width: float) -> list[QCParameter]:
    qc = [
        QCParameter("MAP N POSITIONS", count),
        QCParameter("MAP WIDTH", float(np.ptp(across) + width)),
        QCParameter("MAP STEP", slit_map.across_step if slit_map.across.size > 1 else float("nan")),
    ]
    for plane, order in enumerate(slit_map.orders):
        flux, error = slit_map.flux[plane], slit_map.error[plane]
        if np.isfinite(flux).any() and np.nanmax(flux) > 0:
            qc.append(QCParameter("MAP NOISE", float(100.0 * np.nanmedian(error) / np.nanmax(flux)), order))
    return qc


def _positions_table(inputs: Inputs, grid: MapGrid, positions: Sequence[Position]):
    places = [grid.place[position.path] for position in positions]
    points = [grid.on_sky(position.path, 0.0) for position in positions]
    middles = [time_qc(inputs, [position.path])[0].value for position in positions]
    return table_hdu(
        "POSITIONS",
        {
            "EXPOSURE": np.arange(1, len(positions) + 1, dtype=np.int16),
            "FILE": np.array([position.path.name for position in positions]),
            "RA": np.array([point[0] for point in points]),
            "DEC": np.array([point[1] for point in points]),
            "ACROSS": np.array([place[0] for place in places]),
            "ALONG": np.array([place[1] for place in places]),
            "MJD_MID": np.array(middles, dtype=np.float64),
            "EXPTIME": np.array([position.time for position in positions]),
        },
        {"RA": "deg", "DEC": "deg", "ACROSS": "arcsec", "ALONG": "arcsec", "MJD_MID": "d", "EXPTIME": "s"},
        {"RA": "of mid-slit", "DEC": "of mid-slit", "ACROSS": "from the map's centre"},
    )


def _sources_table(slit_map: SlitMap, grid: MapGrid, positions: Sequence[Position], unit: str):
    rows = [
        (number, index, source, position)
        for number, position in enumerate(positions, start=1)
        for index, source in enumerate(position.sources)
    ]
    points = [grid.on_sky(position.path, source.position) for _, _, source, position in rows]
    photometry = np.array([_in_bands(slit_map.orders, position, index) for _, index, _, position in rows])
    return table_hdu(
        "SOURCES",
        {
            "EXPOSURE": np.array([row[0] for row in rows], np.int16),
            "SOURCE": np.array([row[1] + 1 for row in rows], np.int16),
            "TARGET": np.array([row[1] == 0 for row in rows]),
            "RA": np.array([point[0] for point in points]),
            "DEC": np.array([point[1] for point in points]),
            "SLIT_POSITION": np.array([row[2].position for row in rows]),
            "FWHM": np.array([row[2].fwhm for row in rows]),
            "SIGNIFICANCE": np.array([row[2].significance for row in rows]),
            "FLUX": photometry[:, 0],
            "ERR": photometry[:, 1],
            "SNR": photometry[:, 2],
        },
        {"RA": "deg", "DEC": "deg", "SLIT_POSITION": "arcsec", "FWHM": "arcsec", "FLUX": unit, "ERR": unit},
        {
            "TARGET": "nearest to the expected position on the slit",
            "SIGNIFICANCE": "of the detection [sigma]; 0: position was given",
            "FLUX": "mean of each order of the table PLANES",
            "SNR": "median per bin of each order",
        },
    )


def _in_bands(orders: Sequence[int], position: Position, index: int) -> np.ndarray:
    """(flux, error, signal-to-noise) by orders; NaN where an order has no spectrum."""
    result = np.full((3, len(orders)), np.nan)
    for spectrum in position.spectra[index]:
        factor = position.factors[spectrum.order]
        known = np.isfinite(spectrum.variance) & (spectrum.variance > 0) & (factor > 0)
        if not known.any():
            continue
        flux, variance = spectrum.flux[known] * factor[known], spectrum.variance[known] * factor[known] ** 2
        total = (1.0 / variance).sum()
        snr = np.median(spectrum.flux[known] / np.sqrt(spectrum.variance[known]))
        result[:, orders.index(spectrum.order)] = (flux / variance).sum() / total, 1.0 / np.sqrt(total), snr
    return result


def _spectra_table(positions: Sequence[Position]):
    parts = [
        (number, index, spectrum)
        for number, position in enumerate(positions, start=1)
        for index, orders in enumerate(position.spectra, start=1)
        for spectrum in orders
    ]
    sizes = [spectrum.flux.size for _, _, spectrum in parts]
    return table_hdu(
        "SPECTRA",
        {
            "EXPOSURE": np.repeat(np.array([part[0] for part in parts], np.int16), sizes),
            "SOURCE": np.repeat(np.array([part[1] for part in parts], np.int16), sizes),
            "ORDER": np.repeat(np.array([part[2].order for part in parts], np.int16), sizes),
            "WAVE": np.concatenate([part[2].wavelength for part in parts]),
            "FLUX": np.concatenate([part[2].flux for part in parts]).astype(np.float32),
            "ERR": np.sqrt(np.concatenate([part[2].variance for part in parts])).astype(np.float32),
        },
        {"WAVE": "nm", "FLUX": "electron", "ERR": "electron"},
        {"WAVE": "vacuum, as observed", "FLUX": "in the bin", "SOURCE": "as in the table SOURCES"},
    )
