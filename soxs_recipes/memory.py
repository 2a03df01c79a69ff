"""Room that images leave: kept for the next images during a call, given back after it (glibc)."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["keep_freed", "return_freed"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt
_GREATEST_MMAP_THRESHOLD = 32 * 1024**2  # glibc takes no greater one
_SPARE_BYTES = 2_000_000_000


def keep_freed() -> None:
    """Keep the room of freed images within the process until `return_freed`.

    What the system hands out is cleared page by page: with each image anew, a tenth of a night's CPU time.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _GREATEST_MMAP_THRESHOLD)
        library.mallopt(_TRIM_THRESHOLD, _SPARE_BYTES)


def return_freed() -> None:
    """Hand freed memory back to the system.

    Large images leave holes between small arrays that are still in use; the next images go on top of them all.
    Takes some 20 ms.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
