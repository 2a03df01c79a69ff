"""MD5 of raw frames, found while workers start: every product names its raw frames with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from soxs_recipes.errors import SoxsError
from soxs_recipes.eso.signing import Md5, data_md5, known_md5s

__all__ = ["SumsAhead"]


class SumsAhead:
    """A thread that finds the MD5 of raw frames, one after the other; see `running`.

    Parameters
    ----------
    paths : collection of str
        Raw frames, those that are needed first in front.
    """

    def __init__(self, paths: Collection[str]):
        self._left = dict.fromkeys(paths)
        self._stopped = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The thread runs in this block, which does not wait for frames that are left."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def hand_out(self, paths: Iterable[str]) -> list[Md5]:
        """What has been found of these files so far; who takes them finds the rest by itself."""
        paths = list(paths)
        for path in paths:
            self._left.pop(path, None)
        return known_md5s(paths)

    def _run(self) -> None:
        from soxs_recipes.fits_files import primary_values

        while self._left and not self._stopped.is_set():
            try:
                path = next(iter(self._left))
                del self._left[path]
            except (KeyError, StopIteration, RuntimeError):
                continue  # handed out in this moment
            # A frame that cannot be read is told of by the recipe that takes it.
            with contextlib.suppress(SoxsError, OSError):
                if not primary_values(path, ("DATAMD5",)):
                    data_md5(path)
