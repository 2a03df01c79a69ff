"""Memory that is free within the process goes back to the system, where that can (glibc)."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["keep_images_apart", "return_freed"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt
_IMAGE_BYTES = 4_000_000
_SPARE_BYTES = 64_000_000


def keep_images_apart() -> None:
    """Take the room of each image from the system and give it back with the image.

    Otherwise glibc begins, after the first images, to cut them from one heap: what is small and stays in use keeps
    holes between them, and a second recipe call needs a quarter more than the first.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _IMAGE_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _SPARE_BYTES)


def return_freed() -> None:
    """Hand freed memory back.

    Large images leave holes between small arrays that are still in use; the next images go on top of them all.
    Takes some 20 ms.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
