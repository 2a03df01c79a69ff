"""Write the EDPS workflow's parameter file from the declarations.

python edps_workflow/build_parameters.py            writes soxs/soxs_parameters.yaml
python edps_workflow/build_parameters.py --check    exits 1 when the file on disk differs
"""

from __future__ import annotations

from pathlib import Path

from soxs_recipes.integration.edps import parameters_yaml
from soxs_recipes.integration.generated import build

FOLDER = Path(__file__).parent / "soxs"


def files() -> dict[str, str]:
    """File name -> text."""
    return {"soxs_parameters.yaml": parameters_yaml()}


if __name__ == "__main__":
    raise SystemExit(build(__doc__, FOLDER, files()))
