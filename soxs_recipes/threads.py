"""One thread of linear algebra a process: recipes run side by side, and results must not depend on threads."""

from __future__ import annotations

import os

__all__ = ["THREAD_VARIABLES", "settle_environment"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def settle_environment() -> None:
    """Ask for one thread and no display unless the user says otherwise; works before numpy is loaded only."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("MPLBACKEND", "Agg")
