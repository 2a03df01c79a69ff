"""One thread of linear algebra a process: recipes run side by side, and results must not depend on threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["THREAD_VARIABLES", "one_thread", "settle_environment"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def settle_environment() -> None:
    """Ask for one thread and no display unless the user says otherwise; works before numpy is loaded only."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("MPLBACKEND", "Agg")


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra in one thread meanwhile, although it was loaded with more, as in a notebook or pyesorex.

    Sums in another order differ in their last bits: a recipe's products would depend on who runs it.
    """
    import scipy.linalg  # noqa: F401 - brings a library of its own, which must be there to be held
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
