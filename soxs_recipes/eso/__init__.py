"""CPL's world: `ui` and `core` of CPL or their stand-in, product headers, SOF and rc files.

`from soxs_recipes.eso import ui, core` gives the real modules when the interpreter already has `cpl` loaded
(pyesorex does) or when the environment variable `SOXS_RECIPES_USE_CPL` is 1; the stand-in otherwise, so that
the pipeline needs nothing of ESO's and behaves alike everywhere.
"""

from __future__ import annotations

import os
import sys

__all__ = ["core", "drs_identifier", "ui", "uses_cpl"]

uses_cpl = "cpl" in sys.modules or os.environ.get("SOXS_RECIPES_USE_CPL") == "1"

if uses_cpl:
    from cpl import core, ui
else:
    from soxs_recipes.eso import standin_core as core
    from soxs_recipes.eso import standin_ui as ui


def drs_identifier() -> str:
    """What `PRO REC DRS ID` says: CPL's version, or that there was none."""
    if not uses_cpl:
        return "no-cpl (soxs_recipes stand-in)"
    import cpl

    return f"cpl-{getattr(cpl, '__version__', 'unknown')}"
