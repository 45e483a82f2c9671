"""The pages of the docs that follow from code and tests, and where they are named."""

import re
from dataclasses import fields

import pytest

from docs.pages import DOCS, PAGES, flag, options_of
from mnist_tune.invocation import COMMANDS


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_up_to_date(page):
    """To update it: python docs/pages.py"""
    assert (DOCS / page).read_text() == PAGES[page]()


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"resume"}))
def test_every_flag_of_a_command_is_on_the_page(name):
    """In its own section, or in that of every sweep, up to the flag that its section names."""
    page, kind = (DOCS / "flags.md").read_text(), options_of(name)
    every, own = (page.partition(f"\n## {title}\n")[2].partition("\n## ")[0] for title in ("Of every sweep", name))
    if "has the flags of every sweep" in own:
        own += every.partition("| `--epochs`")[0] if "up to `--quiet`" in own else every
    missing = {flag(kind, one) for one in fields(kind)} - set(re.findall(r"^\| `(\S+)` \|", own, re.M))
    assert missing == set()


@pytest.mark.parametrize("page", ["docs/resume.md", "docs/own_network.md", "docs/report.md", "cluster/README.md"])
def test_each_page_that_promises_leads_to_the_tests(page):
    assert "promises.md" in (DOCS.parent / page).read_text()
