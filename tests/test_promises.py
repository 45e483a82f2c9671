"""Each promise of the docs names a test that there is, and each page that promises leads there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "promises.md"
LINES = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line != "| promise | test |"]


@cache
def names_in(path):
    """Return the names of the tests in a file."""
    return {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_each_promise_names_tests_that_there_are():
    missing = {}
    for line in LINES:
        promise, named = line.strip("| ").split(" | ")
        found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", named)
        if not found or not all((ROOT / path).exists() and name in names_in(path) for path, name in found):
            missing[promise] = named
    assert len(LINES) > 50
    assert missing == {}


@pytest.mark.parametrize("page", ["docs/resume.md", "docs/own_network.md", "docs/report.md", "cluster/README.md"])
def test_each_page_that_promises_leads_to_the_tests(page):
    assert "promises.md" in (ROOT / page).read_text()
