"""The lowest versions that pyproject.toml allows of what the package and its tests need, as lines for pip."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"([\w.-]+)>=([\w.]+)(?:,<[\w.]+)?", re.ASCII)


def lowest_versions() -> Iterator[str]:
    """`name==version` of each requirement; ValueError for one without a lowest version."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None:
            raise ValueError(f"pyproject.toml: {requirement!r} is not name>=version")
        yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lowest_versions())
