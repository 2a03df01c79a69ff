"""Memory that is free within the process goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["return_freed"]


def return_freed() -> None:
    """Hand freed memory back, where the system can (glibc).

    Large images leave holes between small arrays that are still in use; the next images go on top of them all.
    Takes some 20 ms.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
