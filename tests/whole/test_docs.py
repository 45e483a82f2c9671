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


PAGES = [
    path
    for folder in ("", "docs", "cluster")
    for path in sorted((ROOT / folder).glob("*.md"))
]


def named(path):
    return str(path.relative_to(ROOT))


def anchors(path):
    """Return the anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head).lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path):
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not link.startswith("http") and (
            not target.exists() or (anchor and anchor not in anchors(target))
        ):
            lost.append(link)
    assert lost == []


def test_each_page_stands_on_one_shelf():
    found = [
        path
        for path in (*PAGES, *(ROOT / "docs").glob("*.ipynb"))
        if path.name != "README.md"
    ]
    first = ROOT / "cluster" / "README.md"
    on_shelves = Counter(page for pages in shelves().values() for page in pages)
    assert on_shelves == Counter(path.relative_to(ROOT) for path in [*found, first])


def test_each_picture_is_in_a_page():
    text = "".join(path.read_text() for path in PAGES)
    assert [
        path.name
        for path in (ROOT / "docs").glob("*.png")
        if f"{path.name})" not in text
    ] == []


def test_files_that_contributors_are_sent_to_exist():
    named = re.findall(r"`([\w.]+/[\w./]*\w)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert [
        name for name in named if "NAME" not in name and not (ROOT / name).exists()
    ] == []


def test_every_field_of_the_files_is_on_their_page():
    """Those that are read, and those that a recorded sweep has. Columns, flags and
    configs have pages of their own."""
    meta = json.loads((RECORDED / "sweep.json").read_text())
    del meta["driver"]  # which is recorded no longer
    parts = [
        _META,
        *_EVENTS.values(),
        _CODE,
        meta,
        meta["dataset"],
        meta["environment"],
    ]
    names = {getattr(one, "name", one) for part in parts for one in part}
    names |= {one.name for one in fields(TaskSpec)} | {
        META,
        JOURNAL,
        *TABLES,
        SEGMENTS + "/",
        SIGN,
    }
    text = (ROOT / "docs" / "files.md").read_text()
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_what_is_too_long_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr("docs.words.ROOT", tmp_path)
    (tmp_path / "page.md").write_text(
        f"Short one. {'A word ' * 18}ends here.\n\n    {'code ' * 2000}\n"
    )
    assert list(warnings(Path("page.md"))) == [
        f"page.md: a sentence of 38 words: {('A word ' * 9)[:60]}…"
    ]
    (tmp_path / "page.md").write_text("Word. " * 1801)
    assert list(warnings(Path("page.md"))) == ["page.md: 1801 words, more than 1800"]


def test_the_rules_are_in_the_order_of_the_code():
    asked = [regime for regime, _ in QUESTIONS]
    told = re.findall(
        r"^### \d\. (\w+):", (ROOT / "docs" / "regimes.md").read_text(), re.MULTILINE
    )
    assert told == asked == ["diverged", "overfit", "oscillating", "converged"]
