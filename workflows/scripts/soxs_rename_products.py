"""Reflex's PythonActor that brings the results of a data set where a person looks for them: see docs/reflex.md.

`in_sof` are the products, `settings` lines `folder=...`, `subfolder=...` and `mode=copy|link`; `out_sof` are the
products where they are then.
"""

import sys
from dataclasses import replace
from pathlib import Path

from soxs_recipes.errors import InputError
from soxs_recipes.integration.end_products import keep_products
from soxs_recipes.review.ports import act
from soxs_recipes.review.tokens import file_set, sof_token


def rename(values: dict[str, object]) -> dict[str, object]:
    """What is put to the output ports."""
    files = file_set(values["in_sof"], "in_sof")
    settings = dict(line.partition("=")[::2] for line in str(values["settings"]).splitlines() if line)
    if set(settings) != {"folder", "subfolder", "mode"} or not settings["folder"]:
        raise InputError(f"settings: must tell folder, subfolder and mode, not {values['settings']!r}")
    paths = [Path(file.name) for file in files.files]
    kept = keep_products(paths, Path(settings["folder"]), settings["subfolder"], settings["mode"])
    moved = (replace(file, name=str(kept[Path(file.name)])) for file in files.files if Path(file.name) in kept)
    return {"out_sof": sof_token(replace(files, files=tuple(moved)))}


if __name__ == "__main__":
    inputs, outputs = {"in_sof": "i", "settings": "s"}, {"out_sof": "o"}
    sys.exit(act("soxs_rename_products", __doc__, (inputs, outputs), tuple(inputs), rename))
