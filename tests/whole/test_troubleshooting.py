"""The page of troubles quotes messages that the code still has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUESTIONS = re.findall(r"^\*\*(.+?)\*\*", PAGE, re.MULTILINE)
MESSAGES = [question for question in QUESTIONS if question[0] == "`"]
QUOTED = re.findall("`([^`]+)`", "\n".join(MESSAGES))


def pattern_of(node):
    """Return the text of an f-string, with `…` for what is filled in."""
    parts = []
    for part in node.values:
        parts.append(part.value if isinstance(part, ast.Constant) else "…")
    return "".join(parts)


def messages():
    """Return the texts of the package, with `…` for what is filled in."""
    for path in (ROOT / "mnist_tune").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield pattern_of(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


TEXTS = [re.sub("…+", "…", text) for text in messages()]


def test_there_are_many():
    assert len(QUOTED) >= 20


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_one_of_the_code(quoted):
    """Each `…` stands for a part that differs, also one that has several words in the
    code."""
    parts = [re.escape(part) for part in quoted.split("…")]
    pattern = re.compile(".*".join(parts))
    assert any(pattern.search(text) for text in TEXTS), quoted
