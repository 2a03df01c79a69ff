"""Pixels of finished products wait on disk, so that a call with many exposures needs the memory of a few."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["HELD_BYTES", "Shelf", "Spool"]

HELD_BYTES = 100_000_000  # what may wait in memory
_LEAST_BYTES = 1_000_000  # smaller arrays are not worth a file
_KINDS = ("f", "i")


class Spool:
    """Image HDUs whose pixels go to hidden files once more than `HELD_BYTES` wait in memory.

    Call `discard` at the end, whatever happened; what a killed process leaves behind has the name of a file that
    was being written and may be deleted.
    """

    def __init__(self, folder: Path, held_bytes: int = HELD_BYTES):
        self._folder = folder
        self._room = held_bytes
        self._files: list[Path] = []

    def put(self, hdus: Sequence) -> list:
        """HDUs, or what stands for them: hand the list to `get`."""
        return [self._put(hdu) for hdu in hdus]

    def _put(self, hdu):
        import numpy as np
        from astropy.io import fits

        data = hdu.data if isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU)) else None
        if data is None or data.nbytes < _LEAST_BYTES:
            return hdu
        if data.nbytes <= self._room or data.dtype.kind not in _KINDS:
            self._room -= data.nbytes
            return hdu
        from soxs_recipes.fits_files.writing import TEMPORARY_PREFIX

        path = self._folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}.npy"
        self._files.append(path)
        with path.open("xb") as stream:
            np.save(stream, data, allow_pickle=False)
        return _Waiting(type(hdu), hdu.header.copy(), path)

    def get(self, waiting: Sequence) -> list:
        """The HDUs as they were put; their files are gone then."""
        return [item.restored() if isinstance(item, _Waiting) else item for item in waiting]

    def discard(self) -> None:
        """Remove all files that are left."""
        for path in self._files:
            path.unlink(missing_ok=True)
        self._files.clear()


class _Waiting:
    """An image HDU without its pixels."""

    __slots__ = ("header", "kind", "path")

    def __init__(self, kind: type, header, path: Path):
        self.kind, self.header, self.path = kind, header, path

    def restored(self):
        import numpy as np

        with self.path.open("rb") as stream:
            data = np.load(stream, allow_pickle=False)
        self.path.unlink(missing_ok=True)
        return self.kind(data, self.header)


class Shelf:
    """Arrays that wait between two passes over the exposures, in a file without a name that ends with its user."""

    def __init__(self, folder: Path):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the shelf

    def put(self, arrays: Sequence) -> list[int | None]:
        """Write arrays (or None); hand what comes back to `get`."""
        import numpy as np

        places = []
        for array in arrays:
            self._file.seek(0, os.SEEK_END)
            places.append(None if array is None else self._file.tell())
            if array is not None:
                np.save(self._file, array, allow_pickle=False)
        return places

    def get(self, places: Sequence[int | None]) -> list:
        """The arrays again."""
        import numpy as np

        arrays = []
        for place in places:
            if place is not None:
                self._file.seek(place)
            arrays.append(None if place is None else np.load(self._file, allow_pickle=False))
        return arrays

    def close(self) -> None:
        """Give the room back."""
        self._file.close()
