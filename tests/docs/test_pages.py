"""The pages of the docs that follow from code and tests, and where they are named."""

import re
from collections import defaultdict
from dataclasses import fields

import pytest

from docs.pages import DIFFERS, DOCS, PAGES, flag, options_of, several_defaults
from mnist_tune import Task
from mnist_tune.invocation import COMMANDS


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_up_to_date(page):
    """To update it: python docs/pages.py"""
    assert (DOCS / page).read_text() == PAGES[page]()


def test_every_flag_of_every_command_is_on_the_page():
    text = (DOCS / "flags.md").read_text()
    row = r"^\| `(\S+)` \| .*? \| ([a-z, ]+) \| .+ \|$"
    shown = defaultdict(set)
    for name, commands in re.findall(row, text, re.MULTILINE):
        for command in commands.split(", "):
            shown[command].add(name)
    for command in COMMANDS.keys() - {"resume"}:
        options = options_of(command)
        flags = {flag(options, field) for field in fields(options)}
        assert flags <= shown[command]


def test_every_function_of_a_task_is_on_the_page():
    text = (DOCS / "python.md").read_text()
    section = text.partition("\n## Task\n")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)
    assert names == [field.name for field in fields(Task)]


def test_a_default_that_is_not_that_of_other_commands_has_a_reason():
    assert several_defaults() <= DIFFERS.keys()


@pytest.mark.parametrize(
    "page",
    ["docs/resume.md", "docs/own_network.md", "docs/report.md", "cluster/README.md"],
)
def test_each_page_that_promises_leads_to_the_tests(page):
    assert "promises.md" in (DOCS.parent / page).read_text()
