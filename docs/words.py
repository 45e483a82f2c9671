"""Warn of pages and sentences that are too long to be read, and count the words of each
shelf.

    python docs/words.py

A shelf is a section of docs/README.md: the pages that it links to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

LISTS = ("flags.md", "python.md", "tables.md", "promises.md")
"""Pages that nobody reads from beginning to end."""

MOST_WORDS = 1800
"""The most words of a page that is read. The README's readers have not decided to read
it yet."""

MOST_WORDS_OF_README = 900

MOST_WORDS_OF_A_SENTENCE = 35


def shelves() -> dict[str, list[Path]]:
    """Return the pages of each shelf, in their order."""
    found = {}
    for section in (ROOT / "docs" / "README.md").read_text().split("\n## ")[1:]:
        links = re.findall(r"\]\(([^)]+)\)", section)
        found[section.splitlines()[0]] = [
            (ROOT / "docs" / link).resolve().relative_to(ROOT) for link in links
        ]
    return found


def without_code(text: str) -> str:
    """Return a page's text without its blocks of code, which may have anything in
    them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n\n".join(
        part for part in re.split(r"\n{2,}", text) if not part.startswith("    ")
    )


def count(text: str) -> int:
    """Return the number of words outside blocks of code."""
    return sum(bool(re.search(r"\w", word)) for word in without_code(text).split())


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page that are in no table and no heading."""
    for part in re.split(r"\n{2,}|\n(?= *(?:[-*]|\d+\.) )", without_code(text)):
        lines = [
            line
            for line in part.splitlines()
            if not line.lstrip().startswith(("|", "#", "!"))
        ]
        plain = re.sub(r"`[^`]*`", "Code", re.sub(r"\]\([^)]*\)", "]", " ".join(lines)))
        yield from re.split(r"(?<=[.!?])[)\"*]* +(?=[A-Z\"(*\[0-9λ])", plain)


def warnings(page: Path) -> Iterator[str]:
    """Yield what is too long in a page."""
    text = (ROOT / page).read_text()
    most = MOST_WORDS_OF_README if page.name == "README.md" else MOST_WORDS
    if (words := count(text)) > most:
        yield f"{page}: {words} words, more than {most}"
    for said in sentences(text):
        if (words := len(said.split())) > MOST_WORDS_OF_A_SENTENCE:
            yield f"{page}: a sentence of {words} words: {said[:60]}…"


def main() -> None:
    for name, pages in {"README": [Path("README.md")], **shelves()}.items():
        written = [page for page in pages if page.suffix == ".md"]
        print(
            f"{name}: {sum(count((ROOT / page).read_text()) for page in written):,} words, {len(written)} pages"
        )
        for page in written:
            if page.name not in LISTS:
                for warning in warnings(page):
                    print(f"  warning: {warning}")


if __name__ == "__main__":
    main()
