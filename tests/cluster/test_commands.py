"""Every command in the pages and in `cluster/` parses. If a flag is renamed, these
tests fail."""

import re
import shlex
from pathlib import Path

import pytest

from docs.pages import options_of
from mnist_tune import cli, invocation
from validation.notebook import Notebook

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"python \S*((?:sweeps|analysis)/\w+\.py)((?: +[^\s`|;&']+)*)")
FILES = (
    "README.md",
    "aws.md",
    "gcp.md",
    "machines.md",
    "slurm.md",
    "rayjob.yaml",
    "slurm.sbatch",
)


def commands(text):
    """Return the script and the arguments of each command in a text."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        (script, tuple(shlex.split(arguments)))
        for script, arguments in COMMAND.findall(joined)
    ]


def parsed(script, arguments):
    """Return the config that a script parses from its arguments. Raises `SystemExit` if
    they are invalid."""
    if script == "sweeps/notebook.py":
        return cli.parse(Notebook, arguments)
    names = {module: name for name, (module, _) in invocation.COMMANDS.items()}
    name = names[Path(script).stem]
    return cli.parse(options_of(name), arguments)


COMMANDS = []
for name in FILES:
    text = (ROOT / "cluster" / name).read_text()
    COMMANDS += [(name, *command) for command in commands(text)]


@pytest.mark.promise("Every documented command parses")
@pytest.mark.parametrize(("name", "script", "arguments"), COMMANDS)
def test_every_documented_command_parses(name, script, arguments):
    config = parsed(script, arguments)
    # a launch, which is also the command that resumes
    if hasattr(config, "address") and not config.smoke:
        assert None not in (config.address, config.output)
        assert str(config.resume) == "auto"


PAGES = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")}
SHOWN = set()
for page in PAGES - {ROOT / "docs" / "flags.md"}:
    SHOWN.update(commands(page.read_text()))


@pytest.mark.parametrize(
    ("script", "arguments"),
    sorted(command for command in SHOWN if "..." not in command[1]),
)
def test_every_command_of_the_pages_parses(script, arguments):
    words = ["csv" if word == "TOOL" else word for word in arguments]
    assert parsed(script, tuple(words))


def test_commands_are_found_in_every_file():
    assert {name for name, *_ in COMMANDS} == set(FILES)


def test_what_a_command_of_a_text_is():
    over_two_lines = "python sweeps/b.py --one $two \\\n   -t & wait"
    [(script, arguments)] = commands(over_two_lines)
    assert script == "sweeps/b.py"
    assert arguments == ("--one", "$two", "-t")
    [(script, arguments)] = commands("see `python analysis/c.py DIR`, and")
    assert script == "analysis/c.py"
    assert arguments == ("DIR",)
