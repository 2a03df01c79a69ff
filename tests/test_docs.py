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


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    files = [link for link in links if "://" not in link]
    assert len(files) > 3
    assert [link for link in files if not (ROOT / link).exists()] == []
