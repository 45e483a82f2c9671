"""Commands that are printed work where they are read."""

import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

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
        ("sweeps/lr_regimes.py --address=auto;ls", "'auto;ls'"),
    ):
        monkeypatch.setattr(sys, "argv", shlex.split(argv))
        monkeypatch.setattr(
            invocation.shutil, "which", lambda name: f"/venv/bin/{name}"
        )
        assert command("show") == "mnist-tune show"
        assert command(
            "decide"
        ) == "mnist-tune decide" + f" --address {address}" * bool(address)
        assert resume(
            "-a b"
        ) == "mnist-tune resume './-a b'" + f" --address {address}" * bool(address), (
            "folder first"
        )
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
    found = resume("-a", "sweeps/notebook.py")
    assert found == f"python {script} --resume ./-a{flags}"


@pytest.mark.parametrize(
    ("argv", "words", "said"),
    [
        ("/venv/bin/mnist-tune regimes --smoke", ["--smoke"], "mnist-tune regimes"),
        (
            "/venv/mnist_tune/__main__.py regimes --smoke",
            ["--smoke"],
            "mnist-tune regimes",
        ),
        (
            "'my sweeps/lr_regimes.py' --smoke",
            ["--smoke"],
            "python 'my sweeps/lr_regimes.py'",
        ),
    ],
)
def test_how_a_command_was_called(monkeypatch, argv, words, said):
    monkeypatch.setattr(sys, "argv", shlex.split(argv))
    assert (arguments(), called()) == (words, said)


def test_values_are_words_for_the_shell():
    found = "\n".join(words(*values) for values in VALUES)
    assert found == "--output\n--data-dir 'a b'\n--seeds 1 2\n--resume=-x -y\n--x '' -"


def test_every_command_has_a_module():
    assert all(callable(import_module(module_of(name)).main) for name in COMMANDS)


def test_a_sweep_has_the_name_of_the_module_that_starts_it():
    assert started_by("lr_regimes") == "regimes"
    assert [started_by(name) for name in ("show", "range_test", "mine", "")] == [
        None
    ] * 4
    assert invocation.PROGRAM not in COMMANDS
