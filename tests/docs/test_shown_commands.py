"""The commands that the pages name: each exists, and takes the flags that it is shown
with."""

import re
import shlex
from pathlib import Path

import pytest

from docs.pages import options_of
from examples.phase_diagram import Diagram
from examples.predictors import Predictors
from examples.stability import Stability
from mnist_tune import cli
from mnist_tune.invocation import COMMANDS
from validation.notebook import Notebook

ROOT = Path(__file__).parents[2]
SCRIPTS = {"sweeps/lr_regimes.py": "regimes"}
EXAMPLES = {
    "sweeps/notebook.py": Notebook,
    "examples/phase_diagram.py": Diagram,
    "examples/predictors.py": Predictors,
    "examples/stability.py": Stability,
}


COMMAND = re.compile(
    r"^(?: {4,}|\| `)(?:python ((?:sweeps|analysis|examples)/\w+\.py)|mnist-tune ([a-z]+))([^\n`]*)",
    re.MULTILINE,
)
"""A command in a block of code or in the first column of a table."""


PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("cluster/*.md")),
]


def shown():
    """The page, the name and the flags of each command, once."""
    commands = {}
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for script, name, arguments in COMMAND.findall(text):
            flags = arguments.partition(" # ")[0].strip()
            commands[str(page.relative_to(ROOT)), script or name, flags] = None
    return list(commands)


@pytest.mark.parametrize(("page", "name", "flags"), shown())
def test_a_command_of_the_docs_takes_its_flags(
    page, name, flags, tmp_path, monkeypatch
):
    name = SCRIPTS.get(name, name)
    assert name in COMMANDS or name in EXAMPLES
    monkeypatch.chdir(tmp_path)
    arguments = flags.replace("TOOL", "csv")
    words = [word for word in shlex.split(arguments) if word not in ("...", "[DIR")]
    if name != "resume":
        cli.parse(EXAMPLES[name] if name in EXAMPLES else options_of(name), words)
