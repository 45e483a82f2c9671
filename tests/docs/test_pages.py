"""The pages of the docs that follow from code and tests, and where they are named."""

import re
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
    lines = re.findall(
        r"^\| `(\S+)` \| .*? \| ([a-z, ]+) \| .+ \|$",
        (DOCS / "flags.md").read_text(),
        re.M,
    )
    shown = {
        (name, command) for name, commands in lines for command in commands.split(", ")
    }
    for command in COMMANDS.keys() - {"resume"}:
        kind = options_of(command)
        assert {(flag(kind, one), command) for one in fields(kind)} <= shown


def test_every_function_of_a_task_is_on_the_page():
    section = (
        (DOCS / "python.md")
        .read_text()
        .partition("\n## Task\n")[2]
        .partition("\n## ")[0]
    )
    assert re.findall(r"^\| `(\w+)`", section, re.M) == [
        one.name for one in fields(Task)
    ]


def test_a_default_that_is_not_that_of_other_commands_has_a_reason():
    assert several_defaults() <= DIFFERS.keys()


@pytest.mark.parametrize(
    "page",
    ["docs/resume.md", "docs/own_network.md", "docs/report.md", "cluster/README.md"],
)
def test_each_page_that_promises_leads_to_the_tests(page):
    assert "promises.md" in (DOCS.parent / page).read_text()
