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
    pages = {}
    _, *sections = (ROOT / "docs" / "README.md").read_text().split("\n## ")
    for section in sections:
        title = section.splitlines()[0]
        links = re.findall(r"\]\(([^)]+)\)", section)
        files = [(ROOT / "docs" / link).resolve() for link in links]
        pages[title] = [file.relative_to(ROOT) for file in files]
    return pages


def without_code(text: str) -> str:
    """Return a page's text without its blocks of code, which may have anything in
    them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    paragraphs = re.split(r"\n{2,}", text)
    return "\n\n".join(part for part in paragraphs if not part.startswith("    "))


def count(text: str) -> int:
    """Return the number of words outside blocks of code."""
    words = without_code(text).split()
    return sum(1 for word in words if re.search(r"\w", word))


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page that are in no table and no heading."""
    # a paragraph, or an item of a list
    parts = re.split(r"\n{2,}|\n(?= *(?:[-*]|\d+\.) )", without_code(text))
    for part in parts:
        lines = part.splitlines()
        prose = [
            line for line in lines if not line.lstrip().startswith(("|", "#", "!"))
        ]
        # An address or a name in code is no words to read.
        plain = re.sub(r"\]\([^)]*\)", "]", " ".join(prose))
        plain = re.sub(r"`[^`]*`", "Code", plain)
        yield from re.split(r"(?<=[.!?])[)\"*]* +(?=[A-Z\"(*\[0-9λ])", plain)


def warnings(page: Path) -> Iterator[str]:
    """Yield what is too long in a page."""
    text = (ROOT / page).read_text()
    most = MOST_WORDS
    if page.name == "README.md":
        most = MOST_WORDS_OF_README
    words = count(text)
    if words > most:
        yield f"{page}: {words} words, more than {most}"
    for sentence in sentences(text):
        words = len(sentence.split())
        if words > MOST_WORDS_OF_A_SENTENCE:
            yield f"{page}: a sentence of {words} words: {sentence[:60]}…"


def main() -> None:
    pages_of_shelves = {"README": [Path("README.md")], **shelves()}
    for title, paths in pages_of_shelves.items():
        pages = [path for path in paths if path.suffix == ".md"]
        words = sum(count((ROOT / page).read_text()) for page in pages)
        print(f"{title}: {words:,} words, {len(pages)} pages")
        for page in pages:
            if page.name in LISTS:
                continue
            for warning in warnings(page):
                print(f"  warning: {warning}")


if __name__ == "__main__":
    main()
