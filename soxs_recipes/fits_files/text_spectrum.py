"""A spectrum as plain text, as classification tools read it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soxs_recipes.data.spectrum import MergedSpectrum
from soxs_recipes.data.wavelengths import vacuum_to_air

__all__ = ["ascii_spectrum"]


def ascii_spectrum(spectrum: MergedSpectrum, comments: Sequence[str] = (), *, air: bool = False) -> str:
    """Three columns: wavelength [Angstrom], flux, error; bins without information are left out.

    Parameters
    ----------
    spectrum : MergedSpectrum
    comments : sequence of str
        Lines for the head, each behind a `#`; characters that could end a line are replaced.
    air : bool
        Air wavelengths; vacuum otherwise. The head says which.
    """
    known = np.isfinite(spectrum.variance) & np.isfinite(spectrum.flux)
    wavelength = (vacuum_to_air(spectrum.wavelength) if air else spectrum.wavelength)[known] * 10.0
    head = [f"# {''.join(c if c.isprintable() else ' ' for c in line)}" for line in comments]
    medium = "air" if air else "vacuum"
    head.append(f"# wavelength [Angstrom, {medium}, as observed]   flux [{spectrum.flux_unit}]   error (1 sigma)")
    rows = np.column_stack([wavelength, spectrum.flux[known], np.sqrt(spectrum.variance[known])])
    # All in one go: row by row takes twice as long.
    return "\n".join(head) + "\n" + ("%.4f %.6e %.6e\n" * len(rows)) % tuple(rows.ravel().tolist())
