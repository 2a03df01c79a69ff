"""The SOXS recipes for pyesorex, which finds them when PYESOREX_PLUGIN_DIR names the folder of this file.

Every recipe class stands here by its name, and no other class does: pyesorex takes all it finds.
"""

import sys

try:
    # First, so that the recipes are PyCPL's own kind.
    import cpl.ui  # noqa: F401

    from soxs_recipes.eso import uses_cpl
    from soxs_recipes.recipes.framework.registry import RECIPES

    globals().update({entry.class_name: entry.load() for entry in RECIPES.values()})
    problem = "" if uses_cpl else "soxs_recipes was imported before cpl: import cpl (or pyesorex) first"
except ImportError as error:
    problem = (
        f"{error}; this Python, {sys.executable}, needs PyCPL and soxs-recipes: "
        f"{sys.executable} -m pip install soxs-recipes, or take the folder of {__file__} off PYESOREX_PLUGIN_DIR"
    )
if problem:
    # pyesorex keeps errors of plugins to itself; recipes that just are not there would puzzle.
    sys.stderr.write(f"no SOXS recipes: {problem}\n")
    raise ImportError(problem)
