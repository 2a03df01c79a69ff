"""Several exposures of one object: extracted, compared with one another, extracted again, combined.

Numerics are imported inside functions, so that listing recipes stays instant.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.memory import return_freed
from soxs_recipes.recipes.framework.preparation import forget_masters
from soxs_recipes.recipes.framework.spool import Shelf
from soxs_recipes.recipes.steps.spectroscopy import (
    Exposure,
    Geometry,
    Location,
    extraction_settings,
    locate_exposure,
    master_flat,
)

if TYPE_CHECKING:
    import numpy as np

    from soxs_recipes.data.frame import Frame, FrameMeta
    from soxs_recipes.recipes.framework.inputs import Inputs
    from soxs_recipes.reduction.exposures.exposure_hits import ExposureResiduals
    from soxs_recipes.reduction.extraction.extraction import ExposureResult
    from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder
    from soxs_recipes.reduction.extraction.refit import ExposureState
    from soxs_recipes.reduction.extraction.request import ExtractionSettings
    from soxs_recipes.reduction.sky.order_pixels import OrderGrid

__all__ = ["NOTHING_LEFT", "Extractor", "Series", "or_left_out"]

_log = logging.getLogger(__name__)
_REGISTERED = 0.1  # px of flexure below which exposures are added on the detector
_ALIKE = 0.5  # px below which the sum shows where a faint object stands
_SAME_PLACE = 0.15  # arcsec along the slit
NOTHING_LEFT = "no exposure could be extracted; the reasons stand in the log"
_FAINT = 0.05  # arcsec: error of a trace beyond which the other exposures are asked


@contextmanager
def or_left_out(inputs: Inputs, exposure: Exposure) -> Iterator[None]:
    """What no algorithm could do to an exposure is said, and the others go on."""
    try:
        yield
    except (UnprocessableData, AlgorithmError) as error:
        inputs.mark_partial(f"left out: {exposure.path.name}: {error}")


class Extractor:
    """What all extractions of a call share: geometry, bins, flat, settings."""

    def __init__(self, inputs: Inputs, parameters, geometry: Geometry):
        self.inputs = inputs
        self.geometry = geometry
        self.settings: ExtractionSettings = extraction_settings(parameters)
        self.axis = inputs.arm.dispersion_axis
        self.bands = {order.number: order.band for order in inputs.arm.orders}
        self.grids: list[OrderGrid] | None = None
        self._flat: Frame | None = None
        self._correct = parameters["correct-flexure"]

    def locate(self, exposure: Exposure) -> Location:
        """Where the exposure's light falls; the first one's frame sets bins and flat of all."""
        from soxs_recipes.reduction.extraction.extraction import make_grids

        if self.grids is None:
            shape = exposure.frame.shape
            self._flat = master_flat(self.inputs, shape)  # first: no exposure goes on where it cannot be read
            self.grids = make_grids(self.geometry.maps(self.inputs, shape), self.axis)
        return self.place(exposure, self.geometry, self.grids)

    def place(self, exposure: Exposure, geometry: Geometry, grids: list[OrderGrid]) -> Location:
        """Pixel maps of an exposure, once bins are set."""
        return locate_exposure(self.inputs, exposure, geometry, grids, correct=self._correct, wanted="orders")

    def flexure_of(self, location: Location) -> tuple[tuple[float, float], tuple[float, float]]:
        """(shift, error) along and across the dispersion against the calibrations [px]; NaN where not measured."""
        shifts = []
        for applied, found in zip(location.applied, (location.zero_point, location.edges), strict=True):
            if found is None:
                shifts.append((math.nan, math.nan))
                continue
            # What was applied before it was measured, by arcs of the user's own.
            before = applied - (found.shift if self._correct and found.is_significant else 0.0)
            shifts.append((before + found.shift, found.error))
        return tuple(shifts)

    def extract(self, exposure: Exposure, location: Location, **changes: object) -> ExposureResult:
        """Find and fit what is on the slit; `changes` are those of settings."""
        from soxs_recipes.reduction.extraction.extraction import extract_exposure

        settings = replace(self.settings, **changes)
        return extract_exposure(
            exposure.frame, location.maps, self.axis, settings=settings, **self._common(exposure)
        )

    def extract_single(self, exposure: Exposure, location: Location) -> ExposureResult:
        """Extract an exposure that has no others to lean on."""
        from soxs_recipes.data.quality import QualityFlag
        from soxs_recipes.reduction.extraction.refit import exposure_state

        result = self.extract(exposure, location)
        if result.choice.detected:
            return result
        state = exposure_state(result)
        moved = self.on_the_rung_of_a_standard(state, exposure.path)
        hits = (result.quality & int(QualityFlag.COSMIC_RAY)) > 0
        return result if moved is state else self.refit(exposure, location, moved, hits)

    def refit(self, exposure: Exposure, location: Location, state: ExposureState, hits) -> ExposureResult:
        """Extract again with known profiles and hits."""
        from soxs_recipes.reduction.extraction.refit import refit_exposure

        return refit_exposure(
            exposure.frame,
            location.maps,
            self.axis,
            settings=self.settings,
            state=state,
            hits=hits,
            **self._common(exposure),
        )

    def on_the_rung_of_a_standard(self, state: ExposureState, path: Path) -> ExposureState:
        """The state of an exposure that shows no target, moved to a standard's trace where one is given."""
        from soxs_recipes.fits_files import read_table

        table = self.inputs.calibration("SLIT_TRACE")
        chosen = self.settings.forced_position is not None or self.settings.expected_position != 0.0
        if table is None or state.choice.detected or chosen:
            return state
        columns = read_table(table, "TRACE")
        moved = _offset_along_slit(self.inputs, path) - _offset_along_slit(self.inputs, table)
        centres = {
            grid.order: self._on_grid(columns, grid, moved)
            for grid in self.grids
            if (columns["ORDER"] == grid.order).sum() > 1
        }
        if not centres:
            return state
        reason = f"no source where the target is expected: extracted along the trace of a standard ({table.name})"
        return state.with_trace(centres, reason)

    @staticmethod
    def _on_grid(columns, grid: OrderGrid, moved: float):
        import numpy as np

        own = columns["ORDER"] == grid.order
        return moved + np.interp(grid.wavelength, columns["WAVE"][own], columns["SLIT_POSITION"][own])

    def _common(self, exposure: Exposure) -> dict[str, object]:
        return {
            "bands": self.bands,
            "base_variance": exposure.base_variance,
            "flat": self._flat,
            "grids": self.grids,
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    """An exposure after its first extraction; its images wait on the shelf."""

    path: Path
    meta: FrameMeta
    images: list
    location: Location
    state: ExposureState
    spectra: tuple[ExtractedOrder, ...]
    variance: float

    @property
    def time(self) -> float:
        return max(self.meta.exposure_time, 1e-3)


class Series:
    """Exposures of one object between the first and the last look at them.

    Parameters
    ----------
    extractor : Extractor
    folder : Path
        Where images may wait.
    """

    def __init__(self, extractor: Extractor, folder: Path):
        self._extractor = extractor
        self._shelf = Shelf(folder)
        self._seen: list[_Seen] = []
        self._residuals: list[ExposureResiduals] = []
        self._pixels = 0
        self.hits: list[np.ndarray] = []

    def __enter__(self) -> Series:
        return self

    def __exit__(self, *_: object) -> None:
        self._shelf.close()

    @property
    def paths(self) -> list[Path]:
        """The exposures, in the order in which they were added."""
        return [item.path for item in self._seen]

    @property
    def times(self) -> list[float]:
        """Their exposure times [s]."""
        return [item.time for item in self._seen]

    def add(self, exposure: Exposure) -> None:
        """Locate and extract an exposure, keep what comparing needs; one that defies it is left out and named."""
        with or_left_out(self._extractor.inputs, exposure):
            self._add(exposure)
        return_freed()

    def _add(self, exposure: Exposure) -> None:
        import numpy as np

        from soxs_recipes.reduction.exposures.exposure_hits import exposure_residuals
        from soxs_recipes.reduction.extraction.refit import exposure_state
        from soxs_recipes.reduction.sky.order_pixels import without_images

        location = self._extractor.locate(exposure)
        return_freed()
        result = self._extractor.extract(exposure, location)
        residuals, pixels = exposure_residuals(result), sum(fit.data.size for fit in result.fits)
        noise = float(np.median([np.median(fit.variance) for fit in result.fits]))
        state, spectra, model = exposure_state(result), result.orders, result.sky_model
        model += result.object_model
        del result
        return_freed()  # what waits needs room
        frame, maps = exposure.frame, without_images(location.maps, self._extractor.axis)
        images = [frame.data, frame.variance, frame.quality, frame.shared_variance, exposure.base_variance]
        places = self._shelf.put([*images, model, *maps.arrays()])
        location = replace(location, maps=maps.without_arrays())
        self._residuals.append(residuals)
        self._pixels += pixels
        self._seen.append(_Seen(exposure.path, frame.meta, places, location, state, spectra, noise))

    def find_hits(self) -> None:
        """Cosmic rays by comparing the exposures; none when the settings ask for none.

        UnprocessableData when all exposures were left out.
        """
        import numpy as np

        from soxs_recipes.reduction.exposures.exposure_hits import hits_between

        if not self._seen:
            raise UnprocessableData(f"{self._extractor.inputs.declaration.name}: {NOTHING_LEFT}")
        settings = self._extractor.settings
        if settings.find_cosmic_rays:
            self.hits = hits_between(self._residuals, self.times, threshold=settings.cosmic_ray_threshold)
        else:
            self.hits = [np.zeros(item.shape, dtype=bool) for item in self._residuals]
        self._residuals.clear()
        # Everything is prepared and located; the fits to come need the room.
        self._extractor.geometry.forget_maps()
        forget_masters()
        return_freed()

    def refit(self, number: int, state: ExposureState) -> tuple[Exposure, Location, ExposureResult]:
        """An exposure extracted again with all that the series has shown."""
        exposure, location, _ = self._fetch(number)
        return exposure, location, self._extractor.refit(exposure, location, state, self.hits[number])

    def _fetch(self, number: int) -> tuple[Exposure, Location, np.ndarray]:
        from soxs_recipes.data.frame import Frame

        item = self._seen[number]
        data, variance, quality, shared, base, model, *arrays = self._shelf.get(item.images)
        frame = Frame(data, variance, quality, item.meta, shared)
        maps = item.location.maps.with_arrays(arrays)
        return Exposure(item.path, frame, base), replace(item.location, maps=maps), model

    def throughput(self) -> np.ndarray:
        """Relative throughput of the exposures."""
        import numpy as np

        from soxs_recipes.reduction.exposures.exposure_combination import relative_throughput

        common = set.intersection(*({order.spectrum.order for order in item.spectra} for item in self._seen))
        spectra = [[order for order in item.spectra if order.spectrum.order in common] for item in self._seen]
        return relative_throughput(spectra, np.array(self.times))

    def why_not_added(self, limit: float = _REGISTERED) -> str:
        """Why the exposures cannot be added on the detector; empty when they can."""
        places = [self._extractor.flexure_of(item.location) for item in self._seen]
        flexure = max(_significant_spread([place[axis] for place in places]) for axis in (0, 1))
        if flexure > limit:
            return f"flexure between the exposures is {flexure:.2f} px, more than {limit:g} px"
        targets = [item.state.choice.sources[0] for item in self._seen if item.state.choice.detected]
        motion = _significant_spread(
            [(target.position, 0.03 + target.fwhm / max(target.significance, 1.0)) for target in targets]
        )
        if limit <= _REGISTERED and motion > _SAME_PLACE:
            return f"the object moved by {motion:.2f} arcsec along the slit"
        return ""

    def added(self) -> tuple[Exposure, Location, ExposureResult]:
        """The sum of the exposures on the detector, extracted with the maps of the one nearest to their mean."""
        frame, base = self._sum()
        location = self._fetch(self._middle())[1]
        summed = Exposure(self._seen[0].path, frame, base)
        result = self._extractor.extract(summed, location, find_cosmic_rays=False)
        lost = sum(int(hits.sum()) for hits in self.hits) / self._pixels
        return summed, location, replace(result, cosmic_fraction=lost)

    def _sum(self) -> tuple[Frame, np.ndarray]:
        from soxs_recipes.reduction.exposures.frame_sum import FrameSum, exposure_weights

        throughput = self.throughput()
        weights = exposure_weights(self.times, throughput, [item.variance for item in self._seen])
        total = FrameSum(weights, [time * share for time, share in zip(self.times, throughput, strict=True)])
        for number, hits in enumerate(self.hits):
            exposure, _, model = self._fetch(number)
            total.add(exposure.frame, exposure.base_variance, model, hits)
        return total.result()

    def _middle(self) -> int:
        """The exposure whose maps are nearest to the mean of all."""
        shifts = [item.location.applied for item in self._seen]
        mean = [sum(values) / len(values) for values in zip(*shifts, strict=True)]
        return min(range(len(shifts)), key=lambda k: math.dist(shifts[k], mean))

    def states(self) -> list[ExposureState]:
        """What each exposure is extracted with the second time: its own, or what all show of a faint target.

        A target that not even all together show is taken where a standard's trace runs, when one is given.
        """
        standard = self._extractor.on_the_rung_of_a_standard
        return [standard(state, path) for state, path in zip(self._joint_states(), self.paths, strict=True)]

    def _joint_states(self) -> list[ExposureState]:
        states = [item.state for item in self._seen]
        if self._extractor.settings.forced_position is not None or not any(_is_faint(state) for state in states):
            return states
        why = self.why_not_added(_ALIKE) if len(states) > 1 else "there is one exposure"
        if why:
            _log.info("the target is faint, and is not sought in the sum of the exposures: %s", why)
            return states
        from soxs_recipes.reduction.extraction.refit import exposure_state

        joint = exposure_state(self.added()[2])
        if not joint.choice.detected:
            return states
        self._extractor.inputs.note("the target is faint: its trace and width are those of all exposures together")
        return [state.with_target_of(joint, "exposures") for state in states]


def _offset_along_slit(inputs: Inputs, path: Path) -> float:
    """Offset of the telescope along the slit [arcsec]; 0 when the header does not tell."""
    value = inputs.keyword("CUMULATIVE_OFFSET_Y", path, 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _is_faint(state: ExposureState) -> bool:
    """Whether an exposure by itself does not show well where the target stands."""
    errors = sorted(trace.centre_error for trace in state.traces.values())
    return not state.choice.detected or not errors or errors[len(errors) // 2] > _FAINT


def _significant_spread(measured: Sequence[tuple[float, float]]) -> float:
    """Largest difference among (value, error), 0 where it is less than twice its error."""
    known = sorted(pair for pair in measured if all(math.isfinite(number) for number in pair))
    if len(known) < 2:
        return 0.0
    (low, low_error), (high, high_error) = known[0], known[-1]
    return high - low if high - low > 2.0 * math.hypot(low_error, high_error) else 0.0
