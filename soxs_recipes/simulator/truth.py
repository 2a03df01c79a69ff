"""Truth beside the frames: writing it, loading it, asking it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.detector import DetectorState, detector_state
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.optics import OpticalModel

__all__ = ["FrameRecord", "NightTruth", "TableTruth", "load_truth"]

_NIGHT_FILE = "night.json"


@dataclass(frozen=True, slots=True)
class TableTruth:
    """Truth tables of a frame (the arrays of its truth file), and questions to them.

    Attributes
    ----------
    tables : {name: ndarray}
        `line_*` (arc), `lamp_*` (flat), `sky_*`, `airglow_*` and `object_*` (on sky); one row a line, or a pixel
        of the dispersion coordinate of one order. Electrons are those of the whole exposure.
    """

    tables: dict[str, np.ndarray]

    def truth_counts(
        self, order: int, wavelength_edges: np.ndarray, which: str = "object", *, through_jaws: bool = False
    ) -> np.ndarray:
        """Electrons expected between wavelength edges, summed over the slit.

        Jaws are uneven along the slit (0.3 %), and so are flats, which are 1 at mid-slit: a spectrum that was
        divided by one holds what the object would give there.

        Parameters
        ----------
        order : int
        wavelength_edges : ndarray (n + 1,) [nm]
            Ascending or descending.
        which : {"object", "object2", "lamp", "sky"}
            Lamp and sky are per arcsec of slit.
        through_jaws : bool
            An object's electrons as the detector gets them, rather than as a flat-fielded spectrum holds them.

        Returns
        -------
        ndarray (n,) float64 [e-]
            NaN where an edge lies off the detector.
        """
        wavelength, cumulative = self._cumulative(order, which, through_jaws=through_jaws)
        inner = CubicSpline(wavelength, cumulative, extrapolate=False)
        return np.abs(np.diff(inner(np.asarray(wavelength_edges, float))))

    def slit_position(self, order: int, wavelength: np.ndarray, which: str = "object") -> np.ndarray:
        """Slit position [arcsec] of a source."""
        return self._column(order, f"{which}_slit_position", wavelength, which)

    def _column(self, order: int, name: str, wavelength: np.ndarray, which: str) -> np.ndarray:
        rows = self._rows(order, which)
        known = self.tables[f"{which}_wavelength"][rows]
        sort = np.argsort(known)
        return np.interp(wavelength, known[sort], self.tables[name][rows][sort])

    def _rows(self, order: int, which: str) -> np.ndarray:
        key = f"{which}_order"
        if key not in self.tables:
            raise InputError(f"this frame has no {which} truth; it has {', '.join(sorted(self.tables))}")
        rows = np.flatnonzero(self.tables[key] == order)
        if rows.size == 0:
            raise InputError(f"order {order} has no {which} truth in this frame")
        return rows

    def _cumulative(self, order: int, which: str, *, through_jaws: bool) -> tuple[np.ndarray, np.ndarray]:
        """Wavelengths of pixel edges, ascending, and electrons below each."""
        rows = self._rows(order, which)
        centre = self.tables[f"{which}_wavelength"][rows]
        counts = self.tables[f"{which}_electrons"][rows]
        jaws = f"{which}_jaws"
        if jaws in self.tables and not through_jaws:
            counts = counts / self.tables[jaws][rows]
        if centre[0] > centre[-1]:
            centre, counts = centre[::-1], counts[::-1]
        # Edges between pixel centres to fourth order, one pixel shorter at both ends.
        edges = (9.0 * (centre[1:-2] + centre[2:-1]) - (centre[:-3] + centre[3:])) / 16.0
        return edges, np.concatenate([[0.0], np.cumsum(counts[2:-2])])


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame of a simulated night.

    Attributes
    ----------
    file : str
        Name of the raw file.
    kind, arm, slit, lamp : str
    exposure_time : float [s]
    flexure : (dx, dy) [px]
    lamps_off : bool
    target : str
    airmass, seeing, transparency : float
    index : int
    mode, beam : str
        As in `headers.Offset`; "" for frames that are not on sky.
    offset : (x, y) [arcsec]
        Displacement of the target across and along the slit.
    slit_position, cross_position : float or None [arcsec]
        Of the first source at the guiding wavelength; None without one.
    position_angle : float [deg]
    mjd_middle : float [d]
        Middle of the exposure.
    """

    file: str
    kind: str
    arm: str
    slit: str
    lamp: str
    exposure_time: float
    flexure: tuple[float, float]
    lamps_off: bool
    target: str
    airmass: float
    seeing: float
    transparency: float
    index: int
    mode: str = ""
    beam: str = ""
    offset: tuple[float, float] = (0.0, 0.0)
    slit_position: float | None = None
    cross_position: float | None = None
    position_angle: float = 0.0
    mjd_middle: float = 0.0

    @property
    def stem(self) -> str:
        """File name without extension."""
        return self.file.removesuffix(".fits")


@dataclass(frozen=True)
class NightTruth:
    """Truth of a simulated night.

    Attributes
    ----------
    folder : Path
        That of the raw frames.
    seed : int
    plan : str
    effects : Effects
    frames : tuple of FrameRecord
    """

    folder: Path
    seed: int
    plan: str
    effects: Effects
    frames: tuple[FrameRecord, ...]

    def select(self, kind: str | None = None, arm: str | None = None, **properties: object) -> list[FrameRecord]:
        """Frames of a kind, an arm and other properties."""
        wanted = {"kind": kind, "arm": arm, **properties}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return [f for f in self.frames if all(getattr(f, name) == value for name, value in wanted.items())]

    def record(self, name: str | Path) -> FrameRecord:
        """The record of a raw file, by its name, path or stem."""
        stem = Path(name).name.removesuffix(".fits")
        for frame in self.frames:
            if frame.stem == stem:
                return frame
        raise InputError(f"{stem}: not a frame of the simulated night in {self.folder}")

    def path(self, frame: FrameRecord | str) -> Path:
        """Path of a raw frame."""
        return self.folder / (frame if isinstance(frame, FrameRecord) else self.record(frame)).file

    def model(self, frame: FrameRecord | str) -> OpticalModel:
        """Where light falls in a frame, its flexure included."""
        frame = frame if isinstance(frame, FrameRecord) else self.record(frame)
        return OpticalModel.of_seed(frame.arm, self.seed, self.effects).shifted(*frame.flexure)

    def detector(self, arm: str) -> DetectorState:
        """Pixel response, dark rates, bad pixels and bias pattern of an arm."""
        return detector_state(arm, self.seed, self.effects)

    def tables(self, frame: FrameRecord | str) -> TableTruth:
        """Truth tables of a frame."""
        frame = frame if isinstance(frame, FrameRecord) else self.record(frame)
        path = self.folder / "truth" / f"{frame.stem}.npz"
        if not path.is_file():
            raise InputError(f"{path}: no such truth file; dark frames and lamp-off frames have none")
        with np.load(path) as arrays:
            return TableTruth({name: arrays[name] for name in arrays.files})

    def save(self) -> None:
        """Write `truth/night.json`."""
        content = {
            "seed": self.seed,
            "plan": self.plan,
            "effects": self.effects.as_dict(),
            "frames": [{name: getattr(f, name) for name in FrameRecord.__slots__} for f in self.frames],
        }
        (self.folder / "truth").mkdir(parents=True, exist_ok=True)
        (self.folder / "truth" / _NIGHT_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_truth(folder: str | Path) -> NightTruth:
    """The truth of a simulated night, from the folder of its raw frames."""
    folder = Path(folder)
    path = folder / "truth" / _NIGHT_FILE
    if not path.is_file():
        raise InputError(f"{path}: not there; {folder} is no simulated night")
    content = json.loads(path.read_text(encoding="utf-8"))
    frames = tuple(
        FrameRecord(**{name: tuple(value) if isinstance(value, list) else value for name, value in f.items()})
        for f in content["frames"]
    )
    return NightTruth(folder, content["seed"], content["plan"], Effects(**content["effects"]), frames)
