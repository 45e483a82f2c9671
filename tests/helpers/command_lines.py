"""Command lines, run in this process."""

import sys
from unittest.mock import Mock

import pytest


@pytest.fixture
def main_of(monkeypatch, capsys, tmp_path):
    """A function that runs a command's `main` in an empty folder, and returns its exit
    code and what it printed to stdout and stderr. `run` replaces what would train."""

    def call(module, *arguments, **run):
        for name, answer in run.items():
            monkeypatch.setattr(module, name, Mock(return_value=answer))
        script = module.__name__.rpartition(".")[2] + ".py"
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        return module.main() or 0, *capsys.readouterr()

    return call
