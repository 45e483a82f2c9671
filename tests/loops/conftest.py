"""Loops of tests, in files of their own, and a process that trains one."""

import os
from unittest.mock import Mock, patch

import pytest

from mnist_tune.execution.loops import OwnLoop
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.own_code.loading import load_own, own_code, register_own
from mnist_tune.own_code.registry import ENTRIES

LEVELS = '''
from pathlib import Path

from mnist_tune import Loop

LOG = Path(__file__).with_name("log.txt")


def say(line):
    with LOG.open("a") as file:
        file.write(line + "\\n")


def train(run):
    level = 0.0
    is_training = False

    def save(folder):
        assert not is_training
        (folder / "level").write_text(str(level))

    if run.arguments.get("saves", True):
        run.saves(save)
    if folder := run.restore():
        level = float((folder / "level").read_text())
    say(f"begin {run.trial_id} at {run.epochs_done}")
    try:
        for epoch in range(run.epochs_done, run.epochs):
            is_training = True
            level += run.learning_rate
            if epoch == run.arguments.get("fails_at"):
                raise ValueError("out of ideas")
            if epoch == run.arguments.get("pauses_at"):
                wait()
            is_training = False
            accuracy = 1 - 0.9 / (1 + level)
            yield {
                "train_loss": 2.3 / (1 + level),
                "train_accuracy": accuracy,
                "validation_loss": 2.3 / (1 + level),
                "validation_accuracy": accuracy,
                "test_loss": 2.4 / (1 + level),
                "test_accuracy": accuracy,
                "level": level,
            }
    finally:
        say(f"closed {run.trial_id}")


def wait():
    """Wait for ever, the first time."""
    import time

    if not LOG.with_name("waited").exists():
        LOG.with_name("waited").touch()
        time.sleep(1000)


levels = Loop(
    train,
    train_examples=1000,
    validation_examples=500,
    test_examples=500,
    chance=0.1,
    scores=("level",),
    env={"LEVELS": "set"},
)
none = 3
'''


@pytest.fixture
def levels(tmp_path):
    """The name of a loop whose accuracy rises with its rate. It needs no library, and
    logs what happens to it."""
    file = tmp_path / f"{tmp_path.name}.py"  # a module of its own
    file.write_text(LEVELS)
    return f"{file}:levels"


@pytest.fixture
def log(tmp_path):
    """A function that returns the lines of that log."""
    return lambda: (tmp_path / "log.txt").read_text().splitlines()


@pytest.fixture
def own_loop(levels):
    """A function that returns what trains that loop, in this process."""
    load_own({"loop": levels})
    facts = ENTRIES["loop"][levels].loop
    code = own_code()

    def made(**values):
        settings = WorkerSettings(loop=facts, **values)
        shared = Mock(register_code=lambda: register_own(code))
        return OwnLoop(settings, facts, shared)

    with patch.dict(os.environ):
        yield made
