"""Commands that are printed work where they are read."""

import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from mnist_tune import invocation
from mnist_tune.invocation import (
    COMMANDS,
    arguments,
    called,
    command,
    module_of,
    resume,
    started_by,
    words,
)

ROOT = Path(__file__).parent.parent


VALUES: list[tuple[Any, ...]] = [
    ("output",),
    ("data_dir", "a b"),
    ("seeds", 1, 2),
    ("resume", "-x", "-y"),
    ("x", "", "-"),
]


def test_a_printed_command_works_where_it_is_read(monkeypatch):
    for argv, address in (
        ("mnist-tune regimes --smoke", ""),
        ("sweeps/lr_regimes.py --address=auto;ls", " --address 'auto;ls'"),
    ):
        monkeypatch.setattr(sys, "argv", shlex.split(argv))
        installed = Mock(side_effect="/venv/bin/{}".format)
        monkeypatch.setattr(invocation.shutil, "which", installed)
        assert command("show") == "mnist-tune show"
        assert command("decide") == f"mnist-tune decide{address}"
        # the folder comes first
        assert resume("-a b") == f"mnist-tune resume './-a b'{address}"
        monkeypatch.setattr(invocation.shutil, "which", lambda name: None)
        assert command("show") == "python -m mnist_tune show"


@pytest.mark.parametrize(
    ("argv", "script", "flags"),
    [
        ("mnist-tune show -a", "sweeps/notebook.py", ""),
        ("'../my clone/sweeps/notebook.py'", "'../my clone/sweeps/notebook.py'", ""),
        ("sweeps/notebook.py --address a", "sweeps/notebook.py", " --address a"),
    ],
)
def test_a_script_goes_on_from_where_it_was_called(monkeypatch, argv, script, flags):
    monkeypatch.setattr(sys, "argv", shlex.split(argv))
    line = resume("-a", "sweeps/notebook.py")
    assert line == f"python {script} --resume ./-a{flags}"


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ("/venv/bin/mnist-tune regimes", "mnist-tune regimes"),
        ("/venv/mnist_tune/__main__.py regimes", "mnist-tune regimes"),
        ("'my sweeps/lr_regimes.py'", "python 'my sweeps/lr_regimes.py'"),
    ],
)
def test_how_a_command_was_called(monkeypatch, argv, command):
    monkeypatch.setattr(sys, "argv", [*shlex.split(argv), "--smoke"])
    assert arguments() == ["--smoke"]
    assert called() == command


def test_values_are_words_for_the_shell():
    lines = "\n".join(words(*values) for values in VALUES)
    assert lines == "--output\n--data-dir 'a b'\n--seeds 1 2\n--resume=-x -y\n--x '' -"


def test_every_command_has_a_module():
    assert all(callable(import_module(module_of(name)).main) for name in COMMANDS)


def test_a_sweep_has_the_name_of_the_module_that_starts_it():
    assert started_by("lr_regimes") == "regimes"
    for name in ("show", "range_test", "mine", ""):
        assert started_by(name) is None
    assert invocation.PROGRAM not in COMMANDS
