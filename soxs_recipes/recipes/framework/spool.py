"""Pixels of finished products wait on disk, so that a call with many exposures needs the memory of a few."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["HELD_BYTES", "Shelf", "Spool"]

HELD_BYTES = 20_000_000  # what may wait in memory: the peak of a call counts it
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
        from soxs_recipes.fits_files.writing import TEMPORARY_PREFIX, refusals_told

        path = self._folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}.npy"
        self._files.append(path)
        with refusals_told(self._folder), path.open("xb") as stream:
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

        # Read as it is written out, piece by piece, it needs no room of its own; nameless, the file stays as long.
        data = np.load(self.path, mmap_mode="r", allow_pickle=False)
        self.path.unlink(missing_ok=True)
        return self.kind(data, self.header)


class Shelf:
    """Arrays that wait between two passes over the exposures, in a file without a name that ends with its user."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as the shelf
        self._end = 0

    def put(self, arrays: Sequence) -> list[_Place | None]:
        """Write arrays of numbers (or None); hand what comes back to `get`."""
        return [None if array is None else self._put(array) for array in arrays]

    def _put(self, array) -> _Place:
        import numpy as np

        from soxs_recipes.fits_files.writing import refusals_told

        array = np.ascontiguousarray(array)
        place = _Place(self._end, array.shape, array.dtype)
        left = memoryview(array.reshape(-1).view(np.uint8))
        self._file.seek(place.start)
        with refusals_told(self._folder):
            while left:  # one call writes 2 GB at most
                left = left[self._file.write(left) :]
        self._end += array.nbytes
        return place

    def get(self, places: Sequence[_Place | None]) -> list:
        """The arrays again."""
        return [None if place is None else self._get(place) for place in places]

    def _get(self, place: _Place):
        import numpy as np

        array = np.empty(place.shape, place.dtype)
        left = memoryview(array.reshape(-1).view(np.uint8))
        self._file.seek(place.start)
        while left:
            read = self._file.readinto(left)
            if not read:
                raise OSError("the file in which images wait has been cut short")
            left = left[read:]
        return array

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an array begins in the file, and what it is."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype
