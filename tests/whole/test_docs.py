"""The pages: what they show of a sweep is what it prints, links lead somewhere, and pages and sentences are short."""

import inspect
import re
from pathlib import Path

import pytest

from mnist_tune import load_sweep
from mnist_tune.regimes.labels import curve_regime

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks" / "records" / "2026-11-28-main-sweep-amd-epyc-avx2"


@pytest.fixture
def main_sweep(capsys):
    """The lines that the main command printed on the processor of its record."""
    load_sweep(RECORDED).table()
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("page", "count"), [("README.md", 4), ("docs/numbers.md", 16)])
def test_a_page_shows_what_the_main_command_prints(page, count, main_sweep):
    block = next(part for part in (ROOT / page).read_text().split("\n\n") if part.lstrip().startswith("rate  regime"))
    said = [line.strip() for line in block.splitlines()]
    known = [re.sub(r"(--sweep|Results:) .*", r"\1 results/lr_regimes/TIME", line).strip() for line in main_sweep]
    assert [line for line in said if line not in known] == []
    assert len([line for line in said if re.match(r"[\d.]+  ", line)]) == count


PAGES = [path for folder in ("", "docs", "cluster") for path in sorted((ROOT / folder).glob("*.md"))]
GENERATED = {"tables.md", "flags.md", "python.md", "CHANGELOG.md"}
WRITTEN = [path for path in PAGES if path.name not in GENERATED]


def named(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    """Return a page's text without its blocks of code, which may have anything in them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n\n".join(part for part in re.split(r"\n{2,}", text) if not part.startswith("    "))


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
        if not link.startswith("http") and (not target.exists() or (anchor and anchor not in anchors(target))):
            lost.append(link)
    assert lost == []


def test_each_page_and_picture_is_in_a_page():
    text = "".join(path.read_text() for path in PAGES)
    shown = [path.name for kind in ("md", "png") for path in (ROOT / "docs").glob(f"*.{kind}")]
    assert [name for name in shown if f"{name})" not in text] == []


def words(text):
    return [word for word in text.split() if re.search(r"\w", word)]


@pytest.mark.parametrize(("page", "most"), [("README.md", 900), ("docs/regimes.md", 1800), ("docs/edge.md", 1200)])
def test_a_page_is_short(page, most):
    assert len(words((ROOT / page).read_text())) <= most


def test_all_pages_together_are_short():
    """Blocks of code, the README, the list of tests and what is for contributors are not counted."""
    counted = [path for path in WRITTEN if path.parent != ROOT and path.name != "promises.md"]
    assert sum(len(words(without_code(path.read_text()))) for path in counted) <= 17_600


def sentences(text):
    """Yield the sentences of a page that are in no table and no heading."""
    for part in re.split(r"\n{2,}|\n(?= *(?:[-*]|\d+\.) )", without_code(text)):
        lines = [line for line in part.splitlines() if not line.lstrip().startswith(("|", "#", "!"))]
        plain = re.sub(r"`[^`]*`", "Code", re.sub(r"\]\([^)]*\)", "]", " ".join(lines)))
        yield from re.split(r"(?<=[.!?])[)\"*]* +(?=[A-Z\"(*\[0-9λ])", plain)


@pytest.mark.parametrize("path", WRITTEN, ids=named)
def test_sentences_are_short(path):
    assert [said for said in sentences(path.read_text()) if len(said.split()) > 35] == []


def test_the_rules_are_in_the_order_of_the_code():
    asked = re.findall(r'\("(\w+)", \w+\)', inspect.getsource(curve_regime))
    told = re.findall(r"^### \d\. (\w+):", (ROOT / "docs" / "regimes.md").read_text(), re.MULTILINE)
    assert told == asked == ["diverged", "overfit", "oscillating", "converged"]
