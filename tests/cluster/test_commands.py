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
    name = next(
        name
        for name, (known, _) in invocation.COMMANDS.items()
        if known == Path(script).stem
    )
    return cli.parse(options_of(name), arguments)


COMMANDS = [
    (name, *command)
    for name in FILES
    for command in commands((ROOT / "cluster" / name).read_text())
]


@pytest.mark.promise("Every documented command parses")
@pytest.mark.parametrize(("name", "script", "arguments"), COMMANDS)
def test_every_documented_command_parses(name, script, arguments):
    config = parsed(script, arguments)
    # a launch, which is also the command that resumes
    if hasattr(config, "address") and not config.smoke:
        assert None not in (config.address, config.output)
        assert str(config.resume) == "auto"


PAGES = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "flags.md"),
]
SHOWN = sorted(
    {
        command
        for path in PAGES
        for command in commands(path.read_text())
        if "..." not in command[1]
    }
)


@pytest.mark.parametrize(("script", "arguments"), SHOWN)
def test_every_command_of_the_pages_parses(script, arguments):
    assert parsed(script, tuple("csv" if one == "TOOL" else one for one in arguments))


def test_commands_are_found_in_every_file():
    assert {name for name, *_ in COMMANDS} == set(FILES)
    assert commands("python sweeps/b.py --one $two \\\n   -t & wait") == [
        ("sweeps/b.py", ("--one", "$two", "-t"))
    ]
    assert commands("see `python analysis/c.py DIR`, and") == [
        ("analysis/c.py", ("DIR",))
    ]
