"""One recipe for EsoRex and Reflex: the name of the file says which.

ESOREX_PLUGIN_DIR points to the folder of these files, one a recipe (EsoRex warns of a file with several). They may
be copied elsewhere; soxs-recipes must be installed for the `python` that stands first on PATH.
"""

import sys

try:
    from soxs_recipes.plugins import esorex_plugin
except ImportError as error:
    if __name__ == "soxs_mbias":  # once, not for every file
        sys.stderr.write(
            f"soxs-recipes: no recipes for EsoRex: {sys.executable or 'python'} cannot import them ({error}); "
            "put the python of the environment in which soxs-recipes is installed first on PATH\n"
        )
else:
    globals().update(esorex_plugin.plugin_class(__name__))
