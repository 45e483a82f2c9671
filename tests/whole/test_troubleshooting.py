"""The page of troubles quotes messages that the code still has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUESTIONS = re.findall(r"^\*\*(.+?)\*\*", PAGE, re.MULTILINE)
QUOTED = [
    text
    for question in QUESTIONS
    if question[0] == "`"
    for text in re.findall(r"`([^`]+)`", question)
]


def messages():
    """Return the texts of the package, with `…` for what is filled in."""
    for path in (ROOT / "mnist_tune").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


TEXTS = [re.sub("…+", "…", text) for text in messages()]


def test_there_are_many():
    assert len(QUOTED) >= 20


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_one_of_the_code(quoted):
    """Each `…` stands for a part that differs, also one that has several words in the
    code."""
    wanted = re.compile(".*".join(re.escape(part) for part in quoted.split("…")))
    assert any(wanted.search(text) for text in TEXTS), quoted
