"""What has a name is named on the pages that list such names, and in the help."""

import re
from pathlib import Path

import pytest

from mnist_tune.data.dataset import DATASETS
from mnist_tune.invocation import COMMANDS
from mnist_tune.training.architectures import BUILT_IN

DOCS = Path(__file__).parents[2] / "docs"


def row_of(flag, page):
    """The first row of a table that begins with this flag."""
    text = (DOCS / page).read_text()
    row = re.search(rf"^\| `{flag}\b.*$", text, re.MULTILINE)
    return row[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_on_the_page_of_commands(name):
    assert f"`mnist-tune {name}" in (DOCS / "commands.md").read_text()


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_architecture_is_in_the_help_and_in_its_row(name):
    for page in ("flags.md", "commands.md"):
        assert re.search(rf"\b{name}\b", row_of("--architecture", page))


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_is_in_the_help_and_on_its_pages(name):
    assert re.search(rf"\b{name}\b", row_of("--dataset", "flags.md"))
    assert f"`{name}`" in (DOCS / "own_network.md").read_text()
    if name != "mnist":
        assert f"`--dataset {name}`" in (DOCS / "commands.md").read_text()
