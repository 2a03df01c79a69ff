"""The reference pages say what the declarations say; the README names only what is there."""

import importlib
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "docs" / "build_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_those_of_the_declarations(builder):
    pages = builder.pages()
    assert len(pages) >= 10
    stale = [name for name, text in pages.items() if (builder.FOLDER / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


@pytest.fixture
def benchmarks(monkeypatch):
    """Names the benchmarks know each other by."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_the_accuracy_page_shows_the_stored_figures(benchmarks):
    accuracy = benchmarks("accuracy")
    assert len(accuracy.topics()) >= 8
    assert accuracy.PAGE.read_text(encoding="utf-8") == accuracy.page(), "run `benchmarks/accuracy.py --page`"


def test_the_performance_page_and_the_readme_show_the_stored_figures(benchmarks):
    page = benchmarks("bench_page")
    stored = json.loads((ROOT / "benchmarks" / "results" / "bench.json").read_text(encoding="utf-8"))
    readme = page.README.read_text(encoding="utf-8")
    assert page.PERFORMANCE.read_text(encoding="utf-8") == page.performance_page(stored)
    assert "soxspipe" in readme
    assert readme == page.with_table(readme, stored), "run `benchmarks/bench.py --page`"


def anchors(text):
    """What headings may be linked by, as the usual viewers of Markdown call them."""
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    lost = []
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            lost.append(link)
    assert lost == []
    assert links or page.name in {"accuracy.md", "performance.md", "simulator.md"}


def test_every_page_is_linked_from_the_readme():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    linked = re.findall(r"\(docs/([a-z-]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(pages) > 8
    assert pages == set(linked)


def test_the_page_of_the_simulator_names_all_plans_and_effects():
    from soxs_recipes.simulator import PLANS, Effects

    named = set(re.findall(r"`([a-z_-]+)`", (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")))
    assert len(PLANS) > 15
    assert set(PLANS) - named == set()
    assert set(Effects().as_dict()) - named == set()
