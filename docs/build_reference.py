"""Write the reference pages from the declarations: one page a recipe, quality bits, the cascade.

python docs/build_reference.py            writes docs/reference/
python docs/build_reference.py --check    exits 1 when a page on disk differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from soxs_recipes.data.quality import describe_quality
from soxs_recipes.recipes.man import man_page
from soxs_recipes.recipes.registry import all_declarations

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


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(stale)} pages {'differ' if check else 'written'}: {', '.join(stale) or 'none'}\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
