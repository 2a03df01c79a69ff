"""Which implementation `soxs_recipes.eso` gives."""

from __future__ import annotations

import os
import subprocess
import sys

FAKE = """
import sys, types
cpl = types.ModuleType("cpl"); cpl.__version__ = "1.2"
cpl.ui = types.ModuleType("cpl.ui"); cpl.core = types.ModuleType("cpl.core")
sys.modules.update({"cpl.ui": cpl.ui, "cpl.core": cpl.core})
"""


def printed(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ASK = "from soxs_recipes.eso import ui, drs_identifier; print(ui.__name__, drs_identifier())"


def test_the_stand_in_by_default():
    assert printed(ASK) == "soxs_recipes.eso.standin_ui no-cpl (soxs_recipes stand-in)"


def test_a_loaded_cpl_is_used():
    assert printed(f"{FAKE}sys.modules['cpl'] = cpl\n{ASK}") == "cpl.ui cpl-1.2"


def test_the_variable_asks_for_it(tmp_path):
    package = tmp_path / "cpl"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '3'\n")
    (package / "ui.py").write_text("")
    (package / "core.py").write_text("")
    python_path = {"PYTHONPATH": str(tmp_path)}
    assert printed(ASK, **python_path).startswith("soxs_recipes.eso.standin_ui")
    assert printed(ASK, SOXS_RECIPES_USE_CPL="1", **python_path) == "cpl.ui cpl-3"


def test_no_numpy_is_loaded():
    code = "import sys; from soxs_recipes.eso import ui, core, dfs, sof, rc, signing; "
    assert printed(code + "print([m for m in ('numpy', 'astropy') if m in sys.modules])") == "[]"
