"""Where the numbers come from: files of public packages, read in place, named with their sha256."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table

SOXSPIPE = "soxspipe 0.17.4 (PyPI), resources/static_calibrations"
PYPEIT = "pypeit 2.0.1 (PyPI), data/arc_lines/lists"
DESISPEC = "desispec 0.70.0 (PyPI), data/arc_lines"
SCOPESIM = "scopesim 0.12.0 (PyPI), tests/mocks/photometry"


@dataclass
class Sources:
    """Folders and wheels that the builders read; every file read is remembered with its hash.

    Attributes
    ----------
    soxspipe : Path
        Folder `resources/static_calibrations` of an installed soxspipe.
    pypeit, desispec, scopesim : Path
        Wheels.
    used : dict
        "package, path" -> sha256 of what has been read since the last `take`.
    """

    soxspipe: Path
    pypeit: Path
    desispec: Path
    scopesim: Path
    used: dict[str, str] = field(default_factory=dict)

    def _remember(self, label: str, data: bytes) -> bytes:
        self.used[label] = hashlib.sha256(data).hexdigest()
        return data

    def take(self) -> dict[str, str]:
        """What was read since the last call, and forget it."""
        used, self.used = self.used, {}
        return used

    def soxspipe_table(self, name: str) -> Table:
        """A FITS table below soxspipe's static calibrations ("soxs/skylines.fits")."""
        data = self._remember(f"{SOXSPIPE}/{name}", (self.soxspipe / name).read_bytes())
        return Table.read(io.BytesIO(data), format="fits")

    def _member(self, wheel: Path, member: str, label: str) -> bytes:
        with zipfile.ZipFile(wheel) as archive:
            return self._remember(label, archive.read(member))

    def pypeit_lines(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(wavelength [nm, vacuum], ion, amplitude) of a PypeIt line list; a missing amplitude is 0."""
        text = self._member(self.pypeit, f"pypeit/data/arc_lines/lists/{name}", f"{PYPEIT}/{name}").decode()
        rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
        names = [cell.strip() for cell in rows[0]]
        columns = {key: [row[i].strip() for row in rows[1:]] for i, key in enumerate(names)}
        amplitude = np.array([float(cell or 0.0) for cell in columns["amplitude"]])
        return np.array(columns["wave"], float) / 10.0, np.array(columns["ion"]), amplitude

    def nist_lines(self, ion: str) -> tuple[np.ndarray, np.ndarray]:
        """(wavelength [nm, vacuum], relative intensity) of desispec's copy of the NIST list of an ion."""
        name = f"{ion}_vacuum.ascii"
        member = f"desispec/data/arc_lines/{name}"
        text = self._member(self.desispec, member, f"{DESISPEC}/{name}").decode("utf-8", "replace")
        rows = []
        for line in text.splitlines():
            cells = line.split("|")
            if line.startswith("#") or len(cells) < 5:
                continue
            wavelength = _leading_number(cells[0]) or _leading_number(cells[1])
            intensity = _leading_number(cells[2])
            if wavelength and intensity:
                rows.append((wavelength / 10.0, intensity))
        table = np.array(rows)
        return table[:, 0], table[:, 1]

    def skycalc(self) -> Table:
        """ESO SkyCalc at R = 6000, airmass 1, 2.5 mm of water."""
        name = "eso_skycalc_r_6000_wave_0.3_15nm_airmass_1_pwv_2.5.fits"
        data = self._member(self.scopesim, f"scopesim/tests/mocks/photometry/{name}", f"{SCOPESIM}/{name}")
        return Table.read(io.BytesIO(data), format="fits")


def _leading_number(cell: str) -> float:
    digits = ""
    for character in cell.strip():
        if not (character.isdigit() or character == "."):
            break
        digits += character
    return float(digits) if any(c.isdigit() for c in digits) else 0.0
