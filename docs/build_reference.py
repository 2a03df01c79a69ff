"""Write the reference pages from the declarations: one page a recipe, quality bits, the cascade.

python docs/build_reference.py            writes docs/reference/
python docs/build_reference.py --check    exits 1 when a page on disk differs
"""

from __future__ import annotations

from pathlib import Path

from soxs_recipes.data.quality import describe_quality
from soxs_recipes.integration.generated import build
from soxs_recipes.recipes.framework.man import man_page
from soxs_recipes.recipes.framework.registry import all_declarations

FOLDER = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    declarations = list(all_declarations())
    built = {f"{d.name}.md": f"# {d.name}\n\n```text\n{man_page(d)}```\n" for d in declarations}
    built["quality.md"] = quality_page()
    index = ["# Reference", "", "Made from the declarations by `make docs`.", ""]
    index += [f"- [{d.name}]({d.name}.md): {d.synopsis}" for d in declarations]
    index += ["- [quality bits](quality.md)", ""]
    built["index.md"] = "\n".join(index)
    return built


def quality_page() -> str:
    """The table of quality bits."""
    rows = [f"| {bit} | {1 << bit} | {name} | {text} |" for bit, name, text in describe_quality()]
    return "# Quality bits\n\n| bit | value | name | a pixel that |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    raise SystemExit(build(__doc__, FOLDER, pages()))
