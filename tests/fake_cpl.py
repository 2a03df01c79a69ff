"""A package `cpl` made of the stand-in's own lines: other classes than the stand-in's, as PyCPL's are."""

from __future__ import annotations

from pathlib import Path

import soxs_recipes.eso

VERSION = "7.3.2"


def write_fake_cpl(folder: Path) -> Path:
    """Write the package below `folder`; returns `folder`, to be put on PYTHONPATH."""
    package = folder / "cpl"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'__version__ = "{VERSION}"\nfrom cpl import core, ui\n')
    sources = sorted(Path(soxs_recipes.eso.__file__).parent.glob("standin_*.py"))
    assert len(sources) == 4
    for path in sources:
        text = path.read_text()
        for name in ("core", "ui", "frames", "parameters"):
            text = text.replace(f"soxs_recipes.eso.standin_{name}", f"cpl.{name}")
            text = text.replace(
                f"from soxs_recipes.eso import standin_{name} as {name}", f"from cpl import {name}"
            )
        (package / path.name.removeprefix("standin_")).write_text(text)
    return folder
