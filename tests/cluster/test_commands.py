"""Each sweep command that `cluster/` tells or runs is one that the sweep takes: a renamed flag breaks these tests."""

import dataclasses
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

from mnist_tune import cli

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"python \S*((?:sweeps|analysis)/\w+\.py)((?: +[^\s`|;&]+)*)")
FILES = ("README.md", "rayjob.yaml", "slurm.sbatch")


def commands(text):
    """Script and arguments of each command in a text."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(script, tuple(shlex.split(arguments))) for script, arguments in COMMAND.findall(joined)]


def parsed(script, arguments, monkeypatch):
    """The config that a script makes of its arguments; `SystemExit` where it refuses them."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where the flags' descriptions are looked up
    spec.loader.exec_module(module)
    mine = (value for value in vars(module).values() if getattr(value, "__module__", None) == spec.name)
    (config,) = filter(dataclasses.is_dataclass, mine)
    return cli.parse(config, arguments)


TOLD = [(name, *command) for name in FILES for command in commands((ROOT / "cluster" / name).read_text())]


@pytest.mark.parametrize(("name", "script", "arguments"), TOLD)
def test_a_command_of_the_cluster_is_understood(name, script, arguments, monkeypatch):
    config = parsed(script, arguments, monkeypatch)
    if hasattr(config, "address") and not config.smoke:  # a launch: what goes on is the same command
        assert None not in (config.address, config.output)
        assert str(config.resume) == "auto"


def test_all_are_found():
    assert {name for name, *_ in TOLD} == set(FILES)
    assert commands("python sweeps/b.py --one $two \\\n   -t & wait") == [("sweeps/b.py", ("--one", "$two", "-t"))]
    assert commands("see `python analysis/c.py DIR`, and") == [("analysis/c.py", ("DIR",))]


@pytest.mark.parametrize("flag", ["--adress auto", "--resume", "--learning-rate 0.1"])
def test_a_renamed_flag_is_found(flag, monkeypatch):
    _, script, arguments = next(told for told in TOLD if "--address" in told[2])
    with pytest.raises(SystemExit):
        parsed(script, (*arguments, *flag.split()), monkeypatch)
