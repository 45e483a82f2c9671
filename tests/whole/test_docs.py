"""The pages: links lead somewhere, and each stands on one shelf."""

import json
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from docs.words import ROOT, shelves, warnings, without_code
from mnist_tune.data_spec import TaskSpec
from mnist_tune.regimes.labels import QUESTIONS
from mnist_tune.results.folder import JOURNAL, META, SEGMENTS, TABLES
from mnist_tune.results.journal import _EVENTS
from mnist_tune.results.meta import _CODE, _META
from mnist_tune.results.signs import SIGN

RECORDED = ROOT / "benchmarks" / "records" / "2026-11-28-main-sweep-amd-epyc-avx2"


DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    *sorted((ROOT / "cluster").glob("*.md")),
]


def named(path):
    return str(path.relative_to(ROOT))


def anchor_of(heading):
    """Return the anchor of a page's heading, as code hosts make it."""
    without_links = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    letters = re.sub(r"[^\w\- ]", "", without_links.lower())
    return letters.replace(" ", "-")


def anchors(path):
    text = without_code(path.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {anchor_of(heading) for heading in headings}


def leads_somewhere(link, page):
    if link.startswith("http"):
        return True
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text()))
    assert [link for link in links if not leads_somewhere(link, path)] == []


def test_each_page_stands_on_one_shelf():
    pages = [*PAGES, *DOCS.glob("*.ipynb")]
    shelved = [page for page in pages if page.name != "README.md"]
    shelved.append(ROOT / "cluster" / "README.md")
    on_shelves = Counter()
    for shelf in shelves().values():
        on_shelves.update(shelf)
    assert on_shelves == Counter(page.relative_to(ROOT) for page in shelved)


def test_each_picture_is_in_a_page():
    text = "".join(page.read_text() for page in PAGES)
    pictures = [picture.name for picture in DOCS.glob("*.png")]
    assert [picture for picture in pictures if f"{picture})" not in text] == []


def test_files_that_contributors_are_sent_to_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = re.findall(r"`([\w.]+/[\w./]*\w)`", text)
    files = [name for name in names if "NAME" not in name]
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_field_of_the_files_is_on_their_page():
    """Those that are read, and those that a recorded sweep has. Columns, flags and
    configs have pages of their own."""
    meta = json.loads((RECORDED / "sweep.json").read_text())
    del meta["driver"]  # which is recorded no longer
    names = {*meta, *meta["dataset"], *meta["environment"]}
    for described in (_META, *_EVENTS.values(), _CODE):
        names |= {getattr(field, "name", field) for field in described}
    names |= {field.name for field in fields(TaskSpec)}
    names |= {META, JOURNAL, *TABLES, SEGMENTS + "/", SIGN}
    text = (DOCS / "files.md").read_text()
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_what_is_too_long_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr("docs.words.ROOT", tmp_path)
    page = tmp_path / "page.md"
    sentence = f"{'A word ' * 18}ends here."
    page.write_text(f"Short one. {sentence}\n\n    {'code ' * 2000}\n")
    [warning] = warnings(Path("page.md"))
    beginning = ("A word " * 9)[:60]
    assert warning == f"page.md: a sentence of 38 words: {beginning}…"
    page.write_text("Word. " * 1801)
    [warning] = warnings(Path("page.md"))
    assert warning == "page.md: 1801 words, more than 1800"


def test_the_rules_are_in_the_order_of_the_code():
    in_code = [regime for regime, _ in QUESTIONS]
    text = (DOCS / "regimes.md").read_text()
    in_docs = re.findall(r"^### \d\. (\w+):", text, re.MULTILINE)
    assert in_docs == in_code
    assert in_code == ["diverged", "overfit", "oscillating", "converged"]
