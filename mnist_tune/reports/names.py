"""Long names, cut so that those that differ still do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

FOLDERS = re.compile(r"^.*?([^/]*\.py:)")
"""The folders of a file that is named, and the file."""

WORDS = re.compile(r"[^\s/:(),]+|[\s/:(),]")
"""What a name is taken apart into: words, and what separates them."""


def shortened(names: Iterable[str], most: int) -> dict[str, str]:
    """Return each name in at most so many letters; names that differ are told apart.

    A long name loses its folders and then its middle. Where names would become the
    same, they first lose the words that they share. As a last resort they are numbered.

    Args:
        names: in any number; equal ones count once.
        most: at least 6, for up to 999 names.
    """
    texts = {name: name for name in names}
    without_folders = dict(texts)
    for name, text in texts.items():
        if len(text) > most:
            without_folders[name] = FOLDERS.sub(r"\1", text)
    if _differ(without_folders):
        texts = without_folders
    for candidates in (texts, _without_shared_words(texts, most)):
        cut = {name: _without_middle(text, most) for name, text in candidates.items()}
        if _differ(cut):
            return cut
    return _numbered(texts, most)


def _differ(texts: Mapping[str, str]) -> bool:
    return len(set(texts.values())) == len(texts)


def _without_middle(text: str, most: int) -> str:
    """Return the beginning and the end of a text, if it is too long."""
    if len(text) <= most:
        return text
    first = (most - 1) // 2
    last = most - 1 - first
    return f"{text[:first]}…{text[-last:]}"


def _without_shared_words(texts: Mapping[str, str], most: int) -> dict[str, str]:
    """Return the long texts without the words that others of equally many words have in
    the same place."""
    alike = defaultdict[int, dict[str, list[str]]](dict)
    for name, text in texts.items():
        if len(text) > most:
            words = WORDS.findall(text)
            alike[len(words)][name] = words
    shorter = dict(texts)
    for group in alike.values():
        columns = zip(*group.values(), strict=True)
        is_shared = [len(set(column)) == 1 for column in columns]
        for name, words in group.items():
            parts = []
            for word, shared in zip(words, is_shared, strict=True):
                parts.append("…" if shared else word)
            shorter[name] = re.sub("…+", "…", "".join(parts))
    return shorter


def _numbered(texts: Mapping[str, str], most: int) -> dict[str, str]:
    """Return the long texts cut at their ends, with a number each."""
    numbered, count = dict(texts), 0
    for name, text in texts.items():
        if len(text) > most:
            count += 1
            number = f"…#{count}"
            numbered[name] = text[: most - len(number)] + number
    return numbered
