"""Write the Reflex workflow's files from the declarations.

python workflows/build_workflows.py            writes soxs.oca and soxs.xml
python workflows/build_workflows.py --check    exits 1 when a file on disk differs
"""

from __future__ import annotations

from pathlib import Path

from soxs_recipes.integration.generated import build
from soxs_recipes.integration.oca import oca_rules
from soxs_recipes.integration.reflex import workflow_text

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """File name -> text."""
    return {"soxs.oca": oca_rules(), "soxs.xml": workflow_text()}


if __name__ == "__main__":
    raise SystemExit(build(__doc__, FOLDER, files()))
